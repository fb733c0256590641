"""Photographs show what lies where, its shadow, and nothing of the past; films change nothing."""

from collections.abc import Callable
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from rlkit_envs.bin_picking import photography
from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.parts import Part, Solid
from rlkit_envs.bin_picking.photography import Photographer, Pose
from rlkit_envs.bin_picking.scene import BinConfig, Scene
from rlkit_envs.bin_picking.single_environment import BinPickingEnv

RADIUS_M = 0.014
BALL = Part("marble", (Solid("sphere", (RADIUS_M,)),), ferrous=False)
BIN = BinConfig(side_m=0.2, wall_height_m=0.05)
EYE, TARGET = np.array([0.025, -0.36, 0.47]), np.array([0.025, 0.0, 0.05])
SMALL = {"parts": 4, "pixels": 32, "tier": "single"}


@pytest.fixture(autouse=True)
def few_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ray for sixteen, so that tests are fast."""
    monkeypatch.setattr(photography, "_RAYS", (240, 180))


def seen_at(point: np.ndarray) -> tuple[float, float]:
    """Row and column at which a pinhole camera sees a point."""
    ahead = (TARGET - EYE) / np.linalg.norm(TARGET - EYE)
    up = np.array([0.0, -ahead[2], ahead[1]])
    x, y, z = point[0] - EYE[0], (point - EYE) @ up, (point - EYE) @ ahead
    scale = 240.0 / np.tan(np.deg2rad(17.5))
    return 240.0 - scale * y / z, 320.0 + scale * x / z


@pytest.mark.parametrize("place", [(-0.05, -0.06, RADIUS_M), (0.06, 0.05, 0.03)])
def test_a_part_is_seen_where_a_pinhole_camera_sees_it(lay: Callable[..., Scene], place):
    photographer = Photographer(lay([BALL], [place], bin_=BIN))
    with_ball = photographer.take(Pose.of(lay([BALL], [place], bin_=BIN))).astype(int)
    bright = with_ball.min(-1) > 110  # aluminium is bright and grey, the bin blue
    rows, columns = np.nonzero(bright)
    row, column = seen_at(np.array(place))
    across = 2 * 240.0 / np.tan(np.deg2rad(17.5)) * RADIUS_M / np.linalg.norm(EYE - place)
    assert np.ptp(columns) == pytest.approx(across, rel=0.25)
    assert rows.mean() == pytest.approx(row, abs=across / 4)  # its lower side is in the dark
    assert columns.mean() == pytest.approx(column, abs=across / 4)


def test_a_part_throws_its_shadow_away_from_the_lamp(lay: Callable[..., Scene]):
    place = np.array([0.0, 0.0, 0.03])
    scene = lay([BALL], [place], bin_=BIN)
    with_ball = Photographer(scene).take(Pose.of(scene)).astype(int)
    scene.place(scene.poses(), np.zeros(1, bool))
    without = Photographer(scene).take(Pose.of(scene)).astype(int)
    lamp = np.array([-0.35, -0.25, 0.85])
    foot = lamp + (place - lamp) * lamp[2] / (lamp[2] - place[2])  # on the floor
    row, column = (round(i) for i in seen_at(foot + np.array([0.012, 0.008, 0.0])))
    assert with_ball[row, column].sum() < 0.75 * without[row, column].sum()
    row, column = (round(i) for i in seen_at(-3.0 * foot))
    assert with_ball[row, column].sum() == pytest.approx(without[row, column].sum(), abs=6)


def test_one_sees_in_through_the_front_wall(lay: Callable[..., Scene]):
    tall = BinConfig(side_m=0.2, wall_height_m=0.14)
    scene = lay([BALL], [(0.0, -0.08, RADIUS_M)], bin_=tall)
    row, column = (round(i) for i in seen_at(np.array([0.0, -0.08, 2 * RADIUS_M])))
    assert Photographer(scene).take(Pose.of(scene))[row, column].min() > 110


def test_what_stood_still_need_not_be_cast_anew(lay: Callable[..., Scene]):
    scene = lay([BALL, BALL], [(-0.05, -0.05, RADIUS_M), (0.05, 0.05, 0.04)], bin_=BIN)
    photographer = Photographer(scene)
    poses = [Pose.of(scene)]
    for height in (0.06, 0.1, 0.03):
        scene.move_tool_to(np.array([0.05, 0.05, height]))
        poses.append(Pose.of(scene))
    moved = scene.poses()
    moved[1, :3] = (-0.02, 0.06, 0.02)
    scene.place(moved, np.array([True, True]))
    poses.append(Pose.of(scene))
    scene.place(moved, np.array([False, True]))
    poses.append(Pose.of(scene))
    pictures = [photographer.take(pose) for pose in poses]
    for before, after in pairwise(pictures):
        assert (before != after).any()
    for pose, picture in zip(poses, pictures, strict=True):
        np.testing.assert_array_equal(picture, Photographer(scene).take(pose))


def test_a_bin_that_is_filmed_goes_the_same_way():
    """Bit for bit, whenever pictures are drawn."""
    plain, filmed = BinPickingEnv(**SMALL), BinPickingEnv(**SMALL, render_mode="rgb_array")
    first, second = plain.reset(seed=5)[0], filmed.reset(seed=5)[0]
    random = np.random.default_rng(0)
    for _ in range(4):
        np.testing.assert_array_equal(first, second)
        action = int(random.choice(np.flatnonzero((first[0] > 5) & (first[0] < 60))))
        first, reward, *ends, info = plain.step(action)
        second, other_reward, *other_ends, other_info = filmed.step(action)
        filmed.render()
        next(filmed.pictures_of_last_step())
        assert (reward, ends, info) == (other_reward, other_ends, other_info)
        if any(ends):
            break
    assert plain.render() is None
    assert list(plain.pictures_of_last_step()) == []


def test_an_attempt_is_shown_from_its_beginning_to_its_end():
    env = BinPickingEnv(**SMALL, render_mode="rgb_array")
    observation, _ = env.reset(seed=5)
    full = env.render()
    assert full is not None
    assert full.shape == (576, 1000, 3)
    assert full.dtype == np.uint8
    assert list(env.pictures_of_last_step()) == []
    heights = np.where(observation[0] < 60, observation[0], 0)
    _, _, _, _, info = env.step(int(heights.argmax()))
    pictures = list(env.pictures_of_last_step())
    rate = env.metadata["pictures_per_second"]
    assert 0.8 < len(pictures) / rate < 2.5
    assert {picture.shape for picture in pictures} == {full.shape}
    np.testing.assert_array_equal(pictures[-1], env.render())
    view = np.s_[10:490, 10:650]
    moving = [(one[view] != other[view]).any() for one, other in pairwise(pictures)]
    assert sum(moving) > 15
    assert info["outcome"] in (list(Outcome).index(Outcome.OK), list(Outcome).index(Outcome.MISS))
    again = list(env.pictures_of_last_step())
    np.testing.assert_array_equal(again[3], pictures[3])
    state = env.state()
    env.set_state(state)
    assert list(env.pictures_of_last_step()) == [], "what came before a state is not known"


def test_an_off_grid_pixel_leaves_the_film_as_it_was():
    env = BinPickingEnv(**SMALL, render_mode="rgb_array")
    env.reset(seed=5)
    with pytest.raises(ValueError, match="off the grid"):
        env.step(32 * 32)
    assert list(env.pictures_of_last_step()) == []
    assert env.render() is not None


def test_gymnasiums_own_wrappers_collect_pictures():
    made = gym.make("rlkit/BinPicking-v0", render_mode="rgb_array", **SMALL)
    env = gym.wrappers.RenderCollection(made)
    env.reset(seed=1)
    env.step(0)
    pictures = env.render()
    assert isinstance(pictures, list)
    assert [np.shape(picture) for picture in pictures] == [(576, 1000, 3)] * 2
    env.close()


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ResetNeeded, match=r"call reset\(\) before render\(\)"):
        BinPickingEnv(**SMALL, render_mode="rgb_array").render()
    with pytest.raises(ValueError, match="in a process of its own is not drawn"):
        BinPickingEnv(**SMALL, render_mode="rgb_array", processes=1)
