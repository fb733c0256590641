"""Episodes: nothing is lost or made, they end as they should, and counts add up."""

import numpy as np
import pytest

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.episode import OUTCOMES, PickingBin
from rlkit_envs.bin_picking.oracle import find_pick
from rlkit_envs.bin_picking.scene import Scene, UnstablePhysicsError
from rlkit_envs.bin_picking.tiers import TIERS

PIXELS = 24


def begun(seed: int = 0, **settings) -> PickingBin:
    settings = {"tier": "mixed", "parts": 5, "pixels": PIXELS, "bin_side_m": 0.14, **settings}
    bin_ = PickingBin(BinPickingConfig(**settings), (seed,))
    bin_.begin()
    return bin_


def on_part(bin_: PickingBin, random: np.random.Generator) -> int:
    """A pixel on something that a magnet lifts, away from walls and from marks."""
    ferrous = np.append(bin_.ferrous, False)[bin_.picture.part]
    inside = np.abs(bin_.points_m).max(-1) < bin_.config.bin_side_m / 2 - 0.011
    good = np.flatnonzero(ferrous & inside & (bin_.observation[-1] == 0))
    return int(random.choice(good)) if len(good) else int(random.integers(bin_.config.actions))


@pytest.mark.parametrize("tier", TIERS)
def test_parts_in_are_parts_out_and_parts_left(tier):
    """40 attempts on parts and anywhere, in full or emptying bins of each tier."""
    random = np.random.default_rng(list(TIERS).index(tier))
    bin_ = begun(tier=tier, failures_in_a_row=8, leans=2)
    seen, rewards = set(), 0.0
    in_, out = len(bin_.parts), 0
    for _ in range(40):
        before = bin_.scene.present.copy()
        anywhere = random.random() < 0.3
        action = int(random.integers(bin_.config.actions)) if anywhere else on_part(bin_, random)
        result = bin_.attempt(action)
        done, scene = result.attempt, bin_.scene
        seen.add(done.outcome)
        out += int(done.out.sum())
        assert not (done.out & ~before).any()
        np.testing.assert_array_equal(scene.present, before & ~done.out)
        assert in_ == out + scene.present.sum()
        assert result.reward == (done.outcome is Outcome.OK)
        assert not result.reward or done.out.any()
        assert not scene.outside().any()
        assert scene.deepest_penetration_m() < 0.0005
        assert np.isfinite(bin_.observation).all()
        rewards += result.reward
        counts = bin_.episode_counts()
        assert sum(counts[outcome.value] for outcome in OUTCOMES) == bin_.attempts
        assert counts["parts_left"] == scene.present.sum()
        if result.terminated or result.truncated:
            bin_.begin()
            in_, out = len(bin_.parts), 0
    assert rewards > 0
    assert len(seen) > 1


def test_an_episode_terminates_when_only_aluminium_is_left():
    bin_ = begun(1, parts=5, tier="mixed", force_n=30.0, failures_in_a_row=100)
    random = np.random.default_rng(0)
    result = None
    for _ in range(10):
        assert (bin_.scene.present & bin_.ferrous).any()
        result = bin_.attempt(on_part(bin_, random))
        if result.terminated or result.truncated:
            break
    assert result is not None
    assert result.terminated
    assert not result.truncated
    assert not (bin_.scene.present & bin_.ferrous).any()
    assert bin_.episode_counts()["cleared"] == 1.0


def test_an_episode_is_truncated_after_failures_in_a_row():
    bin_ = begun(failures_in_a_row=3)
    ends = [bin_.attempt(0).truncated for _ in range(3)]
    assert ends == [False, False, True]


def test_an_episode_is_truncated_after_two_attempts_a_part():
    bin_ = begun(parts=2, failures_in_a_row=100)
    ends = [bin_.attempt(0).truncated for _ in range(4)]
    assert ends == [False, False, False, True]


def test_clearing_the_bin_with_the_last_attempt_is_no_truncation():
    bin_ = begun(parts=1, tier="single", force_n=30.0, shake_after=0)
    bin_.attempt(0)
    found = find_pick(bin_, 60, np.random.default_rng(0))
    result = bin_.attempt(found.action)
    assert (result.reward, result.terminated, result.truncated) == (1.0, True, False)


def test_a_success_begins_the_count_of_failures_anew():
    bin_ = begun(parts=6, tier="single", failures_in_a_row=3, shake_after=0, force_n=20.0)
    random = np.random.default_rng(0)
    bin_.attempt(0)
    bin_.attempt(0)
    while not bin_.attempt(on_part(bin_, random)).reward:
        bin_.failures_in_a_row = 2
    assert bin_.failures_in_a_row == 0
    assert not bin_.attempt(0).truncated


def test_the_bin_is_shaken_after_failures_and_that_takes_time():
    plain, shaken = begun(shake_after=0), begun(shake_after=2)
    for bin_ in (plain, shaken):
        before = bin_.scene.poses()
        first, second = bin_.attempt(0).attempt, bin_.attempt(0).attempt
        moved = np.abs(bin_.scene.poses() - before)[:, :3].max()
        assert (moved > 0.001) == (bin_ is shaken)
        extra = second.cycle_s - first.cycle_s
        assert extra == pytest.approx(2.0 if bin_ is shaken else 0.0, abs=1e-3)


def test_counts_of_an_episode_by_hand():
    bin_ = begun(parts=3, tier="single", force_n=20.0, failures_in_a_row=100, shake_after=0)
    random = np.random.default_rng(0)
    results = [bin_.attempt(0), *(bin_.attempt(on_part(bin_, random)) for _ in range(3))]
    ok = sum(result.reward for result in results)
    seconds = sum(result.attempt.cycle_s for result in results)
    counts = bin_.episode_counts()
    assert ok >= 1
    assert counts["success"] == ok / 4
    assert counts["ok"] == ok
    assert counts["picks_per_hour"] == pytest.approx(3600 * ok / seconds)
    assert counts["parts_left"] == 3 - sum(result.attempt.out.sum() for result in results)


def test_a_bin_too_small_for_its_parts_holds_fewer():
    bin_ = begun(parts=40, tier="single", bin_side_m=0.064)
    left = int(bin_.scene.present.sum())
    assert 3 < left < 40
    assert not bin_.scene.outside().any()


def test_a_bin_smaller_than_its_parts_is_refused():
    with pytest.raises(ValueError, match="not fit into a bin of 25 mm"):
        begun(bin_side_m=0.025, tier="entangled")


def pushed_together(bin_: PickingBin) -> None:
    """Two parts lie in each other, and a third beyond the wall."""
    poses = bin_.scene.poses()
    poses[1] = poses[0] + [0.002, 0, 0, 0, 0, 0, 0]
    poses[2, :2] = 0.3
    bin_.scene.place(poses, bin_.scene.present)


def test_what_sank_in_or_jumped_out_is_thrown_in_again(monkeypatch: pytest.MonkeyPatch):
    bin_, again = begun(parts=5, tier="single"), begun(parts=5, tier="single")
    for each in (bin_, again):
        attempt = each.controller.attempt

        def disturbed(*arguments, of: PickingBin = each, attempt=attempt):
            done = attempt(*arguments)
            pushed_together(of)
            assert of.scene.deepest_penetration_m() > 0.0005
            return done

        monkeypatch.setattr(each.controller, "attempt", disturbed)
    corner = 0  # where the tool meets the wall, and lifts nothing
    result = bin_.attempt(corner)
    assert result.attempt.outcome is Outcome.COLLISION
    assert result.put_back == 2
    assert not result.attempt.out.any()
    assert bin_.scene.present.all()
    assert not bin_.scene.outside().any()
    assert bin_.scene.deepest_penetration_m() < 0.0005
    again.attempt(corner)
    np.testing.assert_array_equal(again.scene.poses(), bin_.scene.poses())


def breaking(times: int):
    """What settles parts, and breaks the physics down the first so many times."""
    settle, left = Scene.settle, [times]

    def broken(self: Scene, *arguments, **named):
        if left[0]:
            left[0] -= 1
            raise UnstablePhysicsError("broken for a test")
        return settle(self, *arguments, **named)

    return broken


def test_physics_that_breaks_down_while_parts_fall_in(monkeypatch: pytest.MonkeyPatch):
    plain = begun()
    monkeypatch.setattr(Scene, "settle", breaking(3))
    bin_ = begun()
    assert bin_.episode == 0
    assert bin_.scene.present.all()
    monkeypatch.setattr(Scene, "settle", breaking(8))  # in all tries: this bin cannot be filled
    bin_ = begun()
    assert bin_.episode == 1
    assert bin_.scene.present.all()
    monkeypatch.undo()
    again = PickingBin(bin_.config, (0,))
    again.set_state(bin_.state())
    np.testing.assert_array_equal(again.observation, bin_.observation)
    assert not np.array_equal(plain.observation, bin_.observation)


def test_physics_that_breaks_down_while_a_part_is_thrown_in_again(
    monkeypatch: pytest.MonkeyPatch,
):
    bin_ = begun(parts=4, tier="single")
    poses = bin_.scene.poses()
    badly = np.array([False, True, False, False])
    monkeypatch.setattr(bin_, "_lie_badly", lambda: badly)
    monkeypatch.setattr(Scene, "pour", broken_pouring)
    result = bin_.attempt(0)
    assert result.attempt.outcome is Outcome.UNSTABLE
    assert result.truncated
    np.testing.assert_array_equal(bin_.scene.poses(), poses)
    assert bin_.scene.present.all()


def broken_pouring(self: Scene, seconds: float) -> None:
    raise UnstablePhysicsError("broken for a test")


def test_what_a_bin_does_not_hold_is_out(monkeypatch: pytest.MonkeyPatch):
    bin_ = begun(parts=4, tier="single")
    outside = np.array([False, True, False, False])
    monkeypatch.setattr(bin_.scene, "outside", lambda: outside & bin_.scene.present)
    result = bin_.attempt(0)
    assert result.put_back == 1
    np.testing.assert_array_equal(result.attempt.out, outside)
    np.testing.assert_array_equal(bin_.scene.present, ~outside)


@pytest.mark.parametrize("lean", range(5))
def test_actions_count_leans_then_rows_then_columns(lean):
    """lean * pixels^2 + row * pixels + column; the tool goes there, and leans that way."""
    bin_ = begun(parts=1, leans=4, lean_deg=20.0)
    row, column = 9, 15
    axes, faces = [], []

    def watch() -> None:
        axes.append(bin_.scene.tool_axis.copy())
        faces.append(bin_.scene.tool_position)

    bin_.attempt((lean * PIXELS + row) * PIXELS + column, watch)
    sideways = np.sin(np.deg2rad(20.0))
    expected = {
        0: (0.0, 0.0),
        1: (sideways, 0.0),
        2: (0.0, sideways),
        3: (-sideways, 0.0),
        4: (0.0, -sideways),
    }[lean]
    np.testing.assert_allclose(axes[0][:2], expected, atol=1e-9)
    side = (0.14 + 0.024) / PIXELS
    x, y = (column + 0.5) * side - 0.082, 0.082 - (row + 0.5) * side
    # the tool comes along its own axis, so at first it is at most 2 mm away from the point
    np.testing.assert_allclose(faces[0][:2], (x, y), atol=0.001)
