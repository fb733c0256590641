"""Every picker in the same bins: a policy, heuristics and the oracle, tier by tier.

A picker's episode depends on the bin's seed and nothing else, so that whoever else is evaluated,
and in how many processes, changes no number. What is told of an episode is up to
`bin_picking_results`.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from rlkit.bin_picking_pickers import Choice, Picker
from rlkit.environment_ids import BIN_PICKING
from rlkit.environments import Environment, environment_configuration
from rlkit.torch_threads import torch_threads
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.episode import OUTCOMES, PickingBin
from rlkit_envs.bin_picking.oracle import view_of
from rlkit_envs.bin_picking.tiers import EVERY_TIER, TIERS

HELD_OUT = "held-out"
"""The mixed tier with shapes that no training sees."""
SETTINGS = (*TIERS, HELD_OUT)
"""What can be evaluated: each tier, then the shapes held out."""
RANDOM_PIXEL_EVERY = 4
"""Attempts from one random pixel that is tried out to the next."""

OnEpisode = Callable[[int, int], None]
"""Called with the episodes done and those in all."""


@dataclass(frozen=True)
class Episode:
    """What came of a picker in one bin.

    outcomes: (attempts,) numbers in OUTCOMES. cycle_s: (attempts,) by the cycle model. counts: as
    the environment counts. chances: (attempts,) of success that the picker gave to the pixels that
    it chose. random_chances, random_successes: (tried,) the same of random pixels on parts, and
    whether they would have succeeded. These three are empty for pickers that tell no chances.
    """

    outcomes: NDArray[np.int64]
    cycle_s: NDArray[np.float64]
    counts: dict[str, float]
    chances: NDArray[np.float64]
    random_chances: NDArray[np.float64]
    random_successes: NDArray[np.bool_]

    @property
    def successes(self) -> NDArray[np.bool_]:
        """(attempts,) which brought out exactly one part."""
        return self.outcomes == OUTCOMES.index(Outcome.OK)


def config_of(environment: Environment) -> BinPickingConfig:
    """The configuration of a recipe's, run's or policy's environment.

    Raises ValueError for another environment than bin picking, and for arguments that do not fit.
    """
    return environment_configuration(environment, BIN_PICKING, BinPickingConfig)


def setting_of(config: BinPickingConfig) -> str | None:
    """Which of SETTINGS a configuration belongs to; None for shapes held out in other tiers."""
    if config.shapes == "training":
        return "mixed" if config.tier == EVERY_TIER else config.tier
    return HELD_OUT if config.tier == "mixed" else None


def with_setting(config: BinPickingConfig, name: str) -> BinPickingConfig:
    """`config` with tier and shapes of one of SETTINGS. Raises ValueError for another name."""
    if name == HELD_OUT:
        return replace(config, tier="mixed", shapes="held_out")
    return replace(config, tier=name, shapes="training")


def play_episode(
    bin_: PickingBin, picker: Picker, random_pixel_every: int = RANDOM_PIXEL_EVERY
) -> Episode:
    """The next episode of a bin, picked from by `picker` until it ends.

    random_pixel_every: attempts from one try-out of a random pixel to the next, of pickers that
    tell chances; these change nothing.
    """
    random = np.random.default_rng([*bin_.seed, 1])
    picker.begin((*bin_.seed, 2))
    bin_.begin()
    outcomes, cycle_s, chances, tried = [], [], [], []
    over = False
    while not over:
        choice = picker.choose(bin_)
        if choice.chances is not None:
            chances.append(float(choice.chances[choice.action]))
            if bin_.attempts % random_pixel_every == 0:
                tried += _try_random_pixel(bin_, choice, random)
        result = bin_.attempt(choice.action)
        outcomes.append(OUTCOMES.index(result.attempt.outcome))
        cycle_s.append(result.attempt.cycle_s)
        over = result.terminated or result.truncated
    return Episode(
        np.array(outcomes),
        np.array(cycle_s),
        bin_.episode_counts(),
        np.array(chances, np.float64),
        np.array([chance for chance, _ in tried], np.float64),
        np.array([success for _, success in tried], bool),
    )


def _try_random_pixel(
    bin_: PickingBin, choice: Choice, random: np.random.Generator
) -> list[tuple[float, bool]]:
    """The chance at a pixel on a part where no failure is marked, and what came of it, if any is.

    With the tool upright.
    """
    assert choice.chances is not None
    pixels = np.flatnonzero(view_of(bin_).on_part & (bin_.observation[-1] == 0))
    if not len(pixels):
        return []
    pixel = int(random.choice(pixels))
    return [(float(choice.chances[pixel]), bin_.try_out(pixel).outcome is Outcome.OK)]


def evaluate_bin_picking(
    pickers: Mapping[str, Picker],
    configs: Mapping[str, BinPickingConfig],
    episodes: Mapping[str, int],
    *,
    seed: int = 0,
    processes: int = 1,
    on_episode: OnEpisode = lambda done, of: None,
) -> dict[str, dict[str, list[Episode]]]:
    """Let each picker clear the first so many bins of each configuration.

    pickers: by name (`bin_picking_pickers`). configs: by name, such as `with_setting` gives.
    episodes: picker -> how many, at least 1. seed: of the bins, which are those of
    `BinPickingEnvs(...).reset(seed=seed)`. processes: among which episodes are shared out, with the
    same results; more than one needs a script that starts under `if __name__ == "__main__"`.
    Returns configuration -> picker -> episodes, bin by bin. Raises ValueError without pickers.
    """
    if not pickers:
        raise ValueError("an evaluation needs at least one picker")
    few = [name for name in pickers if episodes[name] < 1]
    if few:
        raise ValueError(f"{few[0]} needs at least 1 episode, got {episodes[few[0]]}")
    first = _first_of_seed(seed)
    jobs = [  # the last picker's first, the oracle's usually, which take longest
        (setting, name, bin_)
        for name in reversed(list(pickers))
        for setting in configs
        for bin_ in range(episodes[name])
    ]
    done: dict[tuple[str, str, int], Episode] = {}
    if processes == 1:
        with torch_threads(1):  # as in processes: with more, a network's last digits may differ
            for setting, name, number in jobs:
                bin_ = PickingBin(configs[setting], (first, number))
                done[setting, name, number] = play_episode(bin_, pickers[name])
                on_episode(len(done), len(jobs))
    else:
        _play_in_processes(pickers, configs, jobs, first, processes, done, on_episode)
    return {
        setting: {name: [done[setting, name, k] for k in range(episodes[name])] for name in pickers}
        for setting in configs
    }


def _first_of_seed(seed: int) -> int:
    """What begins the seeds of all bins, as `BinPickingEnvs.reset` has it."""
    return int(np_random(seed)[0].integers(2**31))


# In processes


def _play_in_processes(
    pickers: Mapping[str, Picker],
    configs: Mapping[str, BinPickingConfig],
    jobs: list[tuple[str, str, int]],
    first: int,
    processes: int,
    done: dict[tuple[str, str, int], Episode],
    on_episode: OnEpisode,
) -> None:
    """Fill `done`. Raises what a process raised, BrokenProcessPool where one was killed."""
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        min(processes, len(jobs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
        initargs=(dict(pickers), dict(configs)),
    )
    try:
        futures = {executor.submit(_play, *job, first): job for job in jobs}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            on_episode(len(done), len(jobs))
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()  # the oracle's episodes take too long to wait for
        raise
    finally:
        executor.shutdown(cancel_futures=True)


_in_process: dict[str, Any] = {}  # what a process works with, sent once


def _prepare(pickers: dict[str, Picker], configs: dict[str, BinPickingConfig]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends this one
    torch.set_num_threads(1)
    _in_process.update(pickers=pickers, configs=configs)


def _play(setting: str, name: str, number: int, first: int) -> Episode:
    bin_ = PickingBin(_in_process["configs"][setting], (first, number))
    return play_episode(bin_, _in_process["pickers"][name])
