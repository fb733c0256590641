"""Pickers meet the same bins, and what is told of their episodes can be worked out by hand."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from scipy import ndimage

from rlkit.bin_picking_evaluation import (
    HELD_OUT,
    SETTINGS,
    Episode,
    config_of,
    evaluate_bin_picking,
    setting_of,
    with_setting,
)
from rlkit.bin_picking_pickers import (
    Choice,
    HeuristicPicker,
    OraclePicker,
    Picker,
    PolicyPicker,
    baselines,
)
from rlkit.bin_picking_results import describe_episodes, success_interval
from rlkit.calibration import wilson_interval
from rlkit.environments import GymnasiumEnvironment
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_envs.atari import AtariProtocol
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.environment import BinPickingEnvs
from rlkit_envs.bin_picking.episode import OUTCOMES, PickingBin
from rlkit_envs.bin_picking.heuristics import HEURISTICS
from rlkit_envs.bin_picking.oracle import inside_of, view_of

SMALL = BinPickingConfig(tier="mixed", parts=3, pixels=32)
OK = [outcome.value for outcome in OUTCOMES].index("ok")


class FloorPicker:
    """Always picks the floor, as far away from all parts and walls as can be."""

    def begin(self, seed: tuple[int, ...]) -> None: ...

    def choose(self, bin_: PickingBin) -> Choice:
        view = view_of(bin_)
        distance = np.asarray(ndimage.distance_transform_edt(view.height_mm < 2.0))
        return Choice(int(np.where(view.inside, distance, 0.0).argmax()))


class Believer(HeuristicPicker):
    """Goes where the centred magnet quality is best, and gives every pixel the same chance."""

    def __init__(self, chance: float | None) -> None:
        super().__init__("centred magnet quality")
        self.chance = chance

    def choose(self, bin_: PickingBin) -> Choice:
        action = super().choose(bin_).action
        if self.chance is None:
            return Choice(action)
        return Choice(action, np.full(bin_.config.actions, self.chance, np.float32))


def evaluated(
    pickers: dict[str, Picker], episodes: int = 2, **settings: Any
) -> dict[str, list[Episode]]:
    found = evaluate_bin_picking(
        pickers, {"small": SMALL}, dict.fromkeys(pickers, episodes), seed=5, **settings
    )
    assert list(found) == ["small"]
    return found["small"]


def test_bins_are_those_of_the_environment_after_a_reset_with_the_seed():
    seen: list[np.ndarray] = []

    class Highest(HeuristicPicker):
        def choose(self, bin_: PickingBin) -> Choice:
            seen.append(bin_.observation)
            return Choice(int(np.where(view_of(bin_).inside, bin_.observation[0], -1).argmax()))

    (first, second) = evaluated({"highest": Highest("highest")})["highest"]
    envs = BinPickingEnvs(2, config=SMALL)
    observations, _ = envs.reset(seed=5)
    inside = np.where(inside_of(PickingBin(SMALL, (0,))), 0, -2000.0)
    outcomes: list[list[int]] = [[], []]
    cycles: list[list[float]] = [[], []]
    counts: list[dict[str, float]] = [{}, {}]
    over = np.zeros(2, bool)
    np.testing.assert_array_equal(observations[0], seen[0])
    while not over.all():
        actions = (observations[:, 0] + inside).reshape(2, -1).argmax(1)
        observations, _, terminated, truncated, info = envs.step(actions)
        for i in np.flatnonzero(~over):
            outcomes[i].append(info["outcome"][i])
            cycles[i].append(info["cycle_s"][i])
            counts[i] = {name: values[i] for name, values in info["episode_counts"].items()}
        over |= terminated | truncated
    for i, episode in enumerate((first, second)):
        assert episode.outcomes.tolist() == outcomes[i]
        assert episode.cycle_s.tolist() == cycles[i]
        assert episode.counts == counts[i]
    assert first.outcomes.tolist() != second.outcomes.tolist() or first.counts != second.counts


def test_who_picks_the_floor_misses_until_it_is_told_to_stop():
    row = describe_episodes(evaluated({"floor": FloorPicker()})["floor"])
    assert row["outcomes"]["miss"] == 1.0
    assert sum(row["outcomes"].values()) == 1.0
    assert (row["success"], row["picks_per_hour"], row["cleared"]) == (0.0, 0.0, 0.0)
    assert row["parts_left"] == 3.0
    assert row["lengths"] == [5, 5]
    assert row["returns"] == [0.0, 0.0]
    assert row["success_ci95"] == list(wilson_interval(0, 10))
    assert row["calibration"] is None


@pytest.mark.parametrize("name", list(HEURISTICS))
def test_heuristics_keep_away_from_remembered_failures(name: str):
    bin_ = PickingBin(SMALL, (5, 0))
    bin_.begin()
    bin_.observation[-1] = 1.0
    bin_.observation[-1, 14, 17] = 0.0
    assert HeuristicPicker(name).choose(bin_).action == 14 * 32 + 17


def test_nobody_beats_the_oracle():
    heuristics: dict[str, Picker] = {name: HeuristicPicker(name) for name in HEURISTICS}
    found = evaluated({**heuristics, "oracle": OraclePicker()})
    rows = {name: describe_episodes(episodes) for name, episodes in found.items()}
    assert rows["oracle"]["success"] >= max(row["success"] for row in rows.values()) - 0.1
    assert rows["oracle"]["success"] > rows["random"]["success"]
    assert rows["oracle"]["cleared"] == 1.0


def test_an_episode_is_the_same_whoever_else_picks_and_in_however_many_processes():
    pickers = baselines()
    few = {name: pickers[name] for name in ("random on part", "oracle")}
    alone = evaluated({"oracle": pickers["oracle"]}, episodes=1)
    done: list[tuple[int, int]] = []
    together = evaluated(few, processes=2, on_episode=lambda *told: done.append(told))
    again = evaluated(few)
    assert done == [(number, 4) for number in range(1, 5)]
    for name, episodes in together.items():
        assert describe_episodes(episodes) == describe_episodes(again[name])
    assert describe_episodes(together["oracle"][:1]) == describe_episodes(alone["oracle"])
    assert alone["oracle"][0].outcomes.tolist() != together["random on part"][0].outcomes.tolist()


def test_what_goes_wrong_in_a_process_is_told():
    broken = HeuristicPicker("random")
    broken.name = "gone"
    with pytest.raises(KeyError, match="gone"):
        evaluated({"broken": broken, "oracle": OraclePicker()}, processes=2)


@pytest.mark.parametrize("discount", [0.0, 0.5])
def test_values_of_what_an_attempt_leaves_are_no_chances(discount):
    bin_ = PickingBin(SMALL, (0,))
    bin_.begin()
    spaces = Box(0.0, 1e3, (2, 32, 32), np.float32), Discrete(32 * 32)
    policy = PickPolicy(*spaces, PickNetworkConfig((2, 2, 2)), discount=discount)
    choice = PolicyPicker(policy).choose(bin_)
    assert 0 <= choice.action < 32 * 32
    assert (choice.chances is None) == (discount > 0)


def test_chances_are_held_against_what_came_of_them():
    found = evaluated({"silent": Believer(None), "believer": Believer(0.7)})
    for silent, believer in zip(found["silent"], found["believer"], strict=True):
        assert believer.outcomes.tolist() == silent.outcomes.tolist()  # trying out changes nothing
        assert believer.counts == silent.counts
        assert len(believer.chances) == len(believer.outcomes)
        assert len(silent.chances) == len(silent.random_chances) == 0
        assert len(believer.random_chances) == -(-len(believer.outcomes) // 4)
    row = describe_episodes(found["believer"])
    chosen = row["calibration"]["chosen"]
    share = row["success"]
    assert chosen["count"] == row["attempts"]
    assert chosen["success"] == share
    assert chosen["brier"] == pytest.approx(share * 0.09 + (1 - share) * 0.49)
    assert chosen["ece"] == pytest.approx(abs(0.7 - share))
    assert [bin_["count"] for bin_ in chosen["reliability"]] == [
        *(0 for _ in range(10)),
        *(row["attempts"], 0, 0, 0, 0),
    ]
    random = row["calibration"]["random_pixels"]
    successes = np.concatenate([e.random_successes for e in found["believer"]])
    assert random["success"] == successes.mean()
    json.dumps(row, allow_nan=False)


def test_random_pixels_are_tried_out_where_parts_lie_and_succeed_at_times():
    class Asks(Believer):
        def choose(self, bin_: PickingBin) -> Choice:
            # Only pixels on parts that are not marked have this chance.
            on_part = view_of(bin_).on_part & (bin_.observation[-1] == 0)
            action = super().choose(bin_).action
            return Choice(action, np.where(on_part.ravel(), 0.25, 0.0).astype(np.float32))

    episodes = evaluated({"asks": Asks(0.0)}, episodes=4)["asks"]
    chances = np.concatenate([episode.random_chances for episode in episodes])
    successes = np.concatenate([episode.random_successes for episode in episodes])
    assert (chances == 0.25).all()
    assert 0 < successes.mean() < 1


def episode(outcomes: list[int], cycle_s: float, cleared: float, left: float) -> Episode:
    none = np.zeros(0)
    return Episode(
        np.array(outcomes),
        np.full(len(outcomes), cycle_s),
        {"cleared": cleared, "parts_left": left},
        *(none, none, none.astype(bool)),
    )


def test_two_episodes_worked_by_hand():
    miss = [outcome.value for outcome in OUTCOMES].index("miss")
    row = describe_episodes([episode([OK] * 3, 6.0, 1.0, 0.0), episode([miss], 9.0, 0.0, 5.0)])
    assert row["success"] == 0.75  # of all attempts, not the mean of 1 and 0
    assert (row["outcomes"]["ok"], row["outcomes"]["miss"]) == (0.75, 0.25)
    assert row["picks_per_hour"] == pytest.approx(3 / (27 / 3600))
    assert (row["cleared"], row["parts_left"]) == (0.5, 2.5)
    assert (row["returns"], row["lengths"]) == ([3.0, 0.0], [3, 1])


def test_the_interval_is_over_episodes():
    # Drawing two of these two gives shares 0, 1/2 and 1, at 25, 50 and 25 %.
    assert success_interval([10, 0], [10, 10]) == (0.0, 1.0)
    assert success_interval([10, 0], [10, 10], level=0.4) == (0.5, 0.5)
    # As many attempts in episodes that are alike tell more.
    low, high = success_interval([5, 5, 4, 6] * 5, [10] * 20)
    assert 0.4 < low < 0.5 < high < 0.6
    assert high - low < np.diff(wilson_interval(100, 200))[0]
    # Where drawing episodes shows nothing.
    assert success_interval([9, 9], [9, 9]) == wilson_interval(18, 18)
    assert success_interval([3], [9]) == wilson_interval(3, 9)


def test_settings_are_the_tiers_and_the_shapes_held_out():
    assert SETTINGS == ("single", "mixed", "heavy", "entangled", "walled", "held-out")
    for name in SETTINGS:
        config = with_setting(SMALL, name)
        assert setting_of(config) == name
        assert (config.parts, config.pixels) == (3, 32)
    assert with_setting(SMALL, HELD_OUT) == replace(SMALL, shapes="held_out")
    assert setting_of(BinPickingConfig(tier="all")) == "mixed"
    assert setting_of(BinPickingConfig(tier="heavy", shapes="held_out")) is None
    with pytest.raises(ValueError, match="no tier is called 'hard'"):
        with_setting(SMALL, "hard")


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="at least one picker"):
        evaluated({})
    with pytest.raises(ValueError, match="floor needs at least 1 episode, got 0"):
        evaluated({"floor": FloorPicker()}, episodes=0)
    with pytest.raises(KeyError, match="lowest"):
        HeuristicPicker("lowest")
    site = GymnasiumEnvironment("rlkit/BinPicking-v0", {"tier": "single", "parts": 4})
    assert config_of(site) == BinPickingConfig(tier="single", parts=4)
    with pytest.raises(ValueError, match=r"'ALE/Boxing-v5' is not rlkit"):
        config_of(AtariProtocol("boxing"))
    with pytest.raises(ValueError, match=r"does not take these arguments.*teir"):
        config_of(GymnasiumEnvironment("rlkit/BinPicking-v0", {"teir": "single"}))
