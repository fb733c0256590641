"""The benchmark of bin picking with tiny windows and bins: what it measures and reports."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from rlkit.bench import bin_picking, picking_speed
from rlkit.bench.picking_training import Watch, attempts_to_goal
from rlkit.cli.main import main
from rlkit.environments import GymnasiumEnvironment
from rlkit.recipe import Recipe
from rlkit.recipes import find_recipe
from rlkit_agents.pick import PickConfig
from rlkit_agents.pick_policy import PickNetworkConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.scene import Scene

SMALL = BinPickingConfig(parts=3, pixels=16)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    yield
    torch.set_num_threads(1)


def recipe_in(bins: dict[str, Any], num_envs: int, **changes: Any) -> Recipe:
    """The recipe in other bins, with changes of its agent."""
    recipe = find_recipe("bin-picking")
    assert isinstance(recipe.algorithm, PickConfig)
    return replace(
        recipe,
        environment=GymnasiumEnvironment("rlkit/BinPicking-v0", bins),
        algorithm=replace(recipe.algorithm, **changes),
        num_envs=num_envs,
    )


def small_recipe() -> Recipe:
    return recipe_in(
        {"tier": "all", "parts": 3, "pixels": 16},
        2,
        network=PickNetworkConfig(channels=(4, 4, 4), members=1),
        window=8,
        batch_size=4,
        samples_per_step=0.5,
        learning_starts=4,
        replay_capacity=100,
    )


def test_speeds_physics_and_ratios_are_reported(monkeypatch: pytest.MonkeyPatch):
    lines: list[str] = []
    tiers: set[str] = set()

    class WatchedBin(PickingBin):
        def __init__(self, config: BinPickingConfig, seed: tuple[int, ...]) -> None:
            tiers.add(config.tier)
            super().__init__(config, seed)

    monkeypatch.setattr(bin_picking, "PickingBin", WatchedBin)
    result = bin_picking.run_benchmark(
        0.05,
        attempts=12,
        tier="single",
        parts=3,
        recipe=small_recipe(),
        window_seconds=0.05,
        repeats=3,
        on_progress=lines.append,
    )
    json.dumps(result, allow_nan=False)
    assert {"machine", "rows", "ratios"} <= set(result)
    assert tiers == {result["tier"]} == {"single"}
    full, episodes = result["rows"]
    assert full["name"] == "attempts in a full bin of 3"
    for row, name in ((full, "attempt"), (episodes, "environment")):
        assert row["steps_per_second"] == sorted(row["windows"])[1] > 0
        ratio = result["ratios"][f"{name}_to_attempts_per_second_goal"]
        assert ratio == row["steps_per_second"] / 12
    assert 0 < result["shares"]["sensing"] < 1
    assert sum(result["shares"].values()) == pytest.approx(1)
    assert 0 < result["seconds"]["picture"] < result["seconds"]["fill"]
    ratio = result["physics"]["deepest_mm"] / 0.5
    assert result["ratios"]["penetration_to_limit"] == ratio
    assert result["training"]["attempts"] > 0
    assert any("round 3 of 3" in line for line in lines)
    stream = io.StringIO()
    bin_picking.print_table(result, Console(file=stream, width=100))
    text = " ".join(stream.getvalue().split())
    assert "attempts in a full bin of 3" in text
    assert "12 attempts in" in text
    assert "0 lost; 0 thrown in again, of which 0 had left" in text
    assert ", 0 lost; 0 thrown in again" in text
    assert "trained for" in text


def test_every_attempt_meets_a_full_bin(monkeypatch: pytest.MonkeyPatch):
    full = picking_speed.FullBin(SMALL, seed=1)
    monkeypatch.setattr(picking_speed, "_PER_BIN", 10)
    met: list[int] = []
    taken: list[int] = []
    attempt = PickingBin.attempt

    def watched(bin_: PickingBin, action: int) -> Any:
        met.append(int(bin_.scene.present.sum()))
        result = attempt(bin_, action)
        taken.append(int(result.attempt.out.sum()))
        return result

    monkeypatch.setattr(PickingBin, "attempt", watched)
    full.warm_up()
    rate = full.window(0.5)
    assert set(met) == {3}
    assert sum(taken) > 0
    assert len(met) == pytest.approx(1 + rate * 0.5, rel=0.5)
    assert full._bin.episode == (len(met) - 1) // 10  # another bin every ten attempts


def test_parts_are_counted_in_and_out():
    lines: list[str] = []
    found = bin_picking.settled_physics(SMALL, 30, 3, lines.append)
    assert found["attempts"] == sum(found["outcomes"].values()) == 30
    assert found["parts_in"] == 3 * found["bins"]
    assert found["parts_in"] == found["parts_out"] + found["parts_left"]
    assert (found["parts_lost"], found["escaped"]) == (0, 0)
    assert found["parts_out"] == found["outcomes"]["ok"] + 2 * found["outcomes"]["double"]
    assert 0 < found["median_mm"] <= found["p99_mm"] <= found["deepest_mm"] < 0.5
    assert found["deepest_mm"] <= found["deepest_before_mm"]
    assert lines[-1] == "physics: 30 of 30 attempts"


def test_what_sinks_in_or_gets_lost_is_told(monkeypatch: pytest.MonkeyPatch):
    depths = iter(np.arange(1, 100) * 1e-4)
    monkeypatch.setattr(Scene, "deepest_penetration_m", lambda _: next(depths))
    outside = Scene.outside
    attempt = PickingBin.attempt

    def throws_one_out(bin_: PickingBin, action: int) -> Any:
        result = attempt(bin_, action)
        lost = bin_.scene.present.copy()
        monkeypatch.setattr(
            Scene, "outside", lambda scene: lost if scene is bin_.scene else outside
        )
        return replace(result, truncated=True)

    monkeypatch.setattr(PickingBin, "attempt", throws_one_out)
    found = bin_picking.settled_physics(SMALL, 1, 3, lambda line: None)
    assert found["deepest_before_mm"] == pytest.approx(0.1)
    assert found["deepest_mm"] == pytest.approx(0.2)
    assert found["parts_lost"] == 3 - found["parts_out"] > 0


def test_training_stops_at_its_goal():
    found = attempts_to_goal(small_recipe(), 5.0, lambda line: None, goal=0.5, window=4)
    assert found["reached"]["attempts"] >= 4
    assert found["reached"]["seconds"] <= found["seconds"] < 200
    assert found["attempts"] - found["reached"]["attempts"] < 4  # it ends with the step under way
    assert [row[0] for row in found["curve"]] == list(range(4, found["attempts"] + 1, 4))
    assert found["settings"]["minutes"] == 5.0
    assert found["settings"]["environment"]["arguments"]["tier"] == "mixed"
    never = attempts_to_goal(small_recipe(), 0.01, lambda line: None, goal=1.1, window=4)
    assert never["reached"] is None
    assert 0 <= never["success"] <= 1


def test_steps_that_begin_an_episode_are_no_attempts():
    stopped: list[bool] = []
    training: Any = SimpleNamespace(seconds=7.0, stop=lambda: stopped.append(True))
    watch = Watch(1.0, 3, lambda line: None)
    step: Any = SimpleNamespace(
        rewards=np.array([1.0, 0.0, 1.0]), valid=np.array([True, False, True])
    )
    watch.on_step(training, step, {})
    assert (watch.attempts, watch.success, watch.reached) == (2, 1.0, None)
    watch.on_step(training, step, {})
    assert watch.reached == {"attempts": 3, "seconds": 7.0}
    assert watch.curve == [(3, 7.0, 1.0)]
    assert stopped == [True]


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="attempts must be at least 1, got 0"):
        bin_picking.run_benchmark(attempts=0)
    with pytest.raises(ValueError, match="parts must be at least 1, got 0"):
        bin_picking.run_benchmark(parts=0)


def test_the_command_passes_on_what_to_run(monkeypatch: pytest.MonkeyPatch):
    told: dict[str, Any] = {}

    def measure(minutes: float | None = None, **settings: Any) -> dict[str, Any]:
        told.update(settings, minutes=minutes)
        return {}

    monkeypatch.setattr(bin_picking, "run_benchmark", measure)
    arguments = "--attempts 10000 --tier all --minutes 15 --json"
    assert main(["bench", "bin-picking", *arguments.split()]) == 0
    del told["on_progress"]
    assert told == {"attempts": 10_000, "tier": "all", "minutes": 15.0}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("bin-picking --attempts 0", "--attempts must be at least 1, got 0"),
        ("bin-picking --tier full", "no tier is called 'full'; there are single, mixed"),
        ("bin-picking --days 3", "--days is only for data-center, and this is bin-picking"),
        ("storage --attempts 3", "--attempts is only for bin-picking, and this is storage"),
        ("data-center --attempts=3", "--attempts is only for bin-picking"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    complaint: str,
):
    monkeypatch.setattr(bin_picking, "run_benchmark", lambda **_: pytest.fail("it ran"))
    assert main(["bench", *arguments.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert complaint in said.err


def test_it_learns_where_to_pick_in_a_tiny_bin():
    """From random attempts on parts, of which half fail, within some hundred."""
    recipe = recipe_in(
        {"tier": "single", "parts": 4, "pixels": 32, "bin_side_m": 0.12},
        4,
        network=PickNetworkConfig(channels=(8, 16, 16), members=2),
        window=24,
        learning_starts=60,
        epsilon=LinearSchedule(0.3, 0.0, 300),
        learning_rate_steps=1_000,
        batch_size=32,
        samples_per_step=16.0,
    )
    found = attempts_to_goal(recipe, 6.0, lambda line: None, goal=0.75, window=80)
    assert found["curve"][0][2] < 0.6
    assert found["reached"] is not None
    assert found["reached"]["attempts"] < 800
