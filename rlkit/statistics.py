"""Statistics of episode returns: interquartile mean with its interval, human-normalised score.

Follows Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice". Which episodes are played, and under which protocol, is left to the evaluation.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Mean scores of random play and of a professional human tester, as published with the 57-game
# benchmark (Mnih et al. 2015, extended table 2; Wang et al. 2016, "Dueling Network
# Architectures", table 2; the same numbers in Badia et al. 2020, "Agent57").
# fmt: off
ATARI_RANDOM_AND_HUMAN: dict[str, tuple[float, float]] = {
    "alien": (227.8, 7127.7), "amidar": (5.8, 1719.5), "assault": (222.4, 742.0),
    "asterix": (210.0, 8503.3), "asteroids": (719.1, 47388.7), "atlantis": (12850.0, 29028.1),
    "bank_heist": (14.2, 753.1), "battle_zone": (2360.0, 37187.5), "beam_rider": (363.9, 16926.5),
    "berzerk": (123.7, 2630.4), "bowling": (23.1, 160.7), "boxing": (0.1, 12.1),
    "breakout": (1.7, 30.5), "centipede": (2090.9, 12017.0), "chopper_command": (811.0, 7387.8),
    "crazy_climber": (10780.5, 35829.4), "defender": (2874.5, 18688.9),
    "demon_attack": (152.1, 1971.0), "double_dunk": (-18.6, -16.4), "enduro": (0.0, 860.5),
    "fishing_derby": (-91.7, -38.7), "freeway": (0.0, 29.6), "frostbite": (65.2, 4334.7),
    "gopher": (257.6, 2412.5), "gravitar": (173.0, 3351.4), "hero": (1027.0, 30826.4),
    "ice_hockey": (-11.2, 0.9), "jamesbond": (29.0, 302.8), "kangaroo": (52.0, 3035.0),
    "krull": (1598.0, 2665.5), "kung_fu_master": (258.5, 22736.3),
    "montezuma_revenge": (0.0, 4753.3), "ms_pacman": (307.3, 6951.6),
    "name_this_game": (2292.3, 8049.0), "phoenix": (761.4, 7242.6), "pitfall": (-229.4, 6463.7),
    "pong": (-20.7, 14.6), "private_eye": (24.9, 69571.3), "qbert": (163.9, 13455.0),
    "riverraid": (1338.5, 17118.0), "road_runner": (11.5, 7845.0), "robotank": (2.2, 11.9),
    "seaquest": (68.4, 42054.7), "skiing": (-17098.1, -4336.9), "solaris": (1236.3, 12326.7),
    "space_invaders": (148.0, 1668.7), "star_gunner": (664.0, 10250.0), "surround": (-10.0, 6.5),
    "tennis": (-23.8, -8.3), "time_pilot": (3568.0, 5229.2), "tutankham": (11.4, 167.6),
    "up_n_down": (533.4, 11693.2), "venture": (0.0, 1187.5), "video_pinball": (16256.9, 17667.9),
    "wizard_of_wor": (563.5, 4756.5), "yars_revenge": (3092.9, 54576.9), "zaxxon": (32.5, 9173.3),
}
# fmt: on


def interquartile_mean(returns: ArrayLike) -> float:
    """Mean of the middle half: floor(n / 4) values are cut off at each end (Agarwal et al. 2021).

    returns: any shape, pooled; at least one value.
    Raises ValueError if there is no value, or one that is not finite.
    """
    return float(_trimmed_mean(_checked(returns)))


def interquartile_mean_interval(
    *runs: ArrayLike, level: float = 0.95, resamples: int = 5000, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the pooled interquartile mean, stratified by run.

    runs: the episode returns of each run, (episodes,) each; every resample draws each run's
        episodes from that run alone, with replacement. One run gives the plain bootstrap.
    level: coverage, in (0, 1). The same seed gives the same interval.
    Returns (low, high), or None where no run holds two episodes, so that nothing can be resampled.
    Raises ValueError if a run is empty or holds a value that is not finite.
    """
    if not runs:
        raise ValueError("an interval needs the returns of at least one run")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    strata = [_checked(run) for run in runs]
    if all(len(stratum) < 2 for stratum in strata):
        return None
    random = np.random.default_rng(seed)
    drawn = [random.choice(stratum, size=(resamples, len(stratum))) for stratum in strata]
    estimates = _trimmed_mean(np.concatenate(drawn, axis=1))
    low, high = np.quantile(estimates, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float | None]:
    """Mean of few measurements, such as one for each seed, and half its interval by Student's t.

    values: (measurements,), at least one. level: coverage, in (0, 1).
    The half width is None for a single value. Raises ValueError for none, or one not finite.
    """
    from scipy.special import stdtrit  # in a tenth of the time that scipy.stats takes to import

    checked = _checked(values)
    mean = float(checked.mean())
    if checked.size < 2:
        return mean, None
    quantile = stdtrit(checked.size - 1, 0.5 + 0.5 * level)
    return mean, float(quantile * checked.std(ddof=1) / math.sqrt(checked.size))


def human_normalised(score: float, environment: str) -> float | None:
    """The score on a scale where random play is 0 and the human tester is 1.

    environment: a registered id ("ALE/Boxing-v5", "BoxingNoFrameskip-v4") or ale-py's name of the
        game ("boxing").
    Returns None for anything that is not one of the 57 games with published scores.
    """
    scores = ATARI_RANDOM_AND_HUMAN.get(_game_name(environment))
    if scores is None:
        return None
    random, human = scores
    return (score - random) / (human - random)


@dataclass(frozen=True)
class ReturnSummary:
    """What is reported about the returns of one or more runs."""

    returns: tuple[float, ...]
    """Undiscounted return of each episode, run after run."""
    mean: float
    """Arithmetic mean."""
    iqm: float
    """Interquartile mean of the pooled returns."""
    iqm_ci95: tuple[float, float] | None
    """95 % stratified-bootstrap interval of the interquartile mean; None for single episodes."""
    minimum: float
    """Worst episode."""
    maximum: float
    """Best episode."""
    human_normalised: float | None
    """Mean with random play at 0 and a human tester at 1; None where no such scores are known."""

    def to_json(self) -> dict[str, Any]:
        """The summary as it stands in `rlkit evaluate --json`: plain lists, numbers and None."""
        return {
            "returns": list(self.returns),
            "episodes": len(self.returns),
            "mean": self.mean,
            "iqm": self.iqm,
            "iqm_ci95": None if self.iqm_ci95 is None else list(self.iqm_ci95),
            "min": self.minimum,
            "max": self.maximum,
            "human_normalised": self.human_normalised,
        }


def summarise_returns(*runs: ArrayLike, environment: str | None = None) -> ReturnSummary:
    """Summary over the episode returns of one or more runs (one argument a run, (episodes,) each).

    environment: what the returns come from, for the human-normalised score.
    Raises ValueError if there is no run, or a run is empty or holds a value that is not finite.
    """
    interval = interquartile_mean_interval(*runs)
    pooled = np.concatenate([_checked(run) for run in runs])
    mean = float(pooled.mean())
    return ReturnSummary(
        returns=tuple(pooled.tolist()),
        mean=mean,
        iqm=interquartile_mean(pooled),
        iqm_ci95=interval,
        minimum=float(pooled.min()),
        maximum=float(pooled.max()),
        human_normalised=None if environment is None else human_normalised(mean, environment),
    )


def _checked(returns: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(returns, dtype=np.float64).ravel()
    if values.size == 0:
        raise ValueError("statistics need at least one value, got none")
    if not np.isfinite(values).all():
        raise ValueError(f"values must be finite, got {values[~np.isfinite(values)][0]}")
    return values


def _trimmed_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis without its lowest and highest quarters.

    Equal to scipy.stats.trim_mean(values, 0.25), whose import alone takes half a second.
    """
    cut = values.shape[-1] // 4
    if cut == 0:
        return values.mean(axis=-1)
    return np.sort(values, axis=-1)[..., cut:-cut].mean(axis=-1)


def _game_name(environment: str) -> str:
    name = re.sub(r"(NoFrameskip|Deterministic)?-v\d+$", "", environment.rsplit("/", 1)[-1])
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
