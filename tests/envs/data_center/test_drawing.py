"""Pictures of an episode: what is red, where colours lie, and that they grow as they should."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import rlkit_envs  # noqa: F401 (registers the environment)
from rlkit_envs.data_center.charts import Plot
from rlkit_envs.data_center.drawing import EpisodePicture, draw_episode
from rlkit_envs.data_center.presets import PRESETS, chilled_water_hall, small_room
from rlkit_envs.data_center.recording import Kind, Recording, rows_of
from rlkit_envs.data_center.sheet import (
    MODES,
    RIGHT,
    VIOLATION,
    Caption,
    _in_legend,
    _lines,
    inlet_ranges,
    layout,
    times,
)
from rlkit_envs.data_center.single_environment import DataCenterEnv

ID = "rlkit/DataCenterCooling-v0"
CAPTION = Caption("a hall", "its weather", start_step=288 * 40, allowable_degc=(15.0, 32.0))


def info(hottest_degc=24.0, *, economiser=0, powers_w=(), faults=None, begun=True):
    """What an environment of the chilled-water hall tells, all as it should be."""
    quantities = {
        "hottest_inlet_degc": hottest_degc,
        "return_air_degc": 30.0,
        "supply_air_degc": 20.0,
        "chilled_water_degc": 16.0,
        "it_power_w": 800e3,
        "server_fan_power_w": 20e3,
        "mechanical_power_w": 90e3,
        "facility_power_w": 930e3,
        "air_handler_fan_power_w": 20e3,
        "chiller_power_w": 50e3,
        "pump_power_w": 10e3,
        "tower_fan_power_w": 10e3,
        "outdoor_dry_bulb_degc": 15.0,
        "outdoor_wet_bulb_degc": 12.0,
        "utilisation": 0.5,
        **dict(powers_w),
    }
    told = {"quantities": quantities, "faults": faults or {}}
    if begun:
        actions = {"supply_air_degc": 20.0, "air_flow_ratio": 0.8, "chilled_water_degc": 16.0}
        told["actions"] = {**actions, "tower_fan_ratio": 0.5, "economiser": economiser}
    return told


def recorded(infos, steps=288):
    recording = Recording(rows_of(chilled_water_hall()), steps)
    for age, told in enumerate(infos):
        recording.add(age, told)
    return recording


def plot_of(recording, kind=Kind.LINES) -> Plot:
    """Of the first row of a kind: lines are temperatures."""
    which = next(number for number, row in enumerate(recording.rows) if row.kind is kind)
    return layout(recording)[which]


def drawn(env) -> np.ndarray:
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    return picture


def kept(env: DataCenterEnv) -> tuple[Caption, Recording]:
    """What its picture is drawn from."""
    assert env._picture is not None
    assert env._picture._caption is not None
    return env._picture._caption, env._picture._recording


def reds(picture):
    """(HEIGHT, WIDTH) where a picture is red, of whatever lightness."""
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (red - np.maximum(green, blue) > 60) & (np.abs(green - blue) < 40)


@pytest.mark.parametrize(
    ("site", "discrete"), [*((site, False) for site in PRESETS), ("chilled_water_hall", True)]
)
def test_every_site_is_drawn_and_passes_gymnasiums_checks(site, discrete):
    env = gym.make(ID, site=site, discrete=discrete, episode_days=1, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=3)
    first = drawn(env)
    env.action_space.seed(0)
    for _ in range(30):
        env.step(env.action_space.sample())
    picture = drawn(env)
    for each in (first, picture):
        assert (each.shape, each.dtype) == ((720, 1280, 3), np.uint8)
        edge = np.concatenate([each[:4].reshape(-1, 3), each[-4:].reshape(-1, 3)])
        sides = np.concatenate([each[:, :4].reshape(-1, 3), each[:, -4:].reshape(-1, 3)])
        assert len(np.unique(np.concatenate([edge, sides]), axis=0)) == 1, "text leaves the picture"
    assert not np.array_equal(first, picture)
    env.close()


@pytest.mark.parametrize("site", PRESETS)
def test_legends_do_not_run_into_each_other(site):
    recording = Recording(rows_of(PRESETS[site]()), 2016)
    plots = layout(recording)
    for row, plot, after in zip(recording.rows, plots, [*plots[1:], None], strict=True):
        lines = 1 + len(_in_legend(row)) + 4 * row.inlet + bool(row.so_far)
        ends = [y for y, _ in zip(_lines(plot), range(lines), strict=False)][-1] + 6
        assert ends < (720 if after is None else next(_lines(after)) - 6)


def test_a_growing_picture_is_that_of_the_whole_recording():
    design = small_room()
    env = DataCenterEnv(
        site=design, episode_days=1, render_mode="rgb_array", weather="hot_dry", discrete=True
    )
    env.reset(seed=0)
    env.action_space.seed(0)
    axes = set()
    for step in range(1, 289):
        env.step(env.action_space.sample())
        if step % 37 and step < 284:  # several steps between two pictures, too
            continue
        grown = drawn(env)
        caption, recording = kept(env)
        axes.add(tuple(recording.axis(number) for number in range(len(recording.rows))))
        np.testing.assert_array_equal(grown, draw_episode(caption, recording))
        np.testing.assert_array_equal(grown, drawn(env))
    assert len(axes) > 1, "an axis has to grow"
    before = drawn(env)
    env.reset(seed=0)
    env.action_space.seed(0)
    assert not np.array_equal(drawn(env), before)
    for _ in range(288):
        env.step(env.action_space.sample())
    np.testing.assert_array_equal(drawn(env), before)


def test_a_new_episode_begins_on_a_new_sheet():
    picture = EpisodePicture(chilled_water_hall(), 288)
    for caption in (CAPTION, replace(CAPTION, site="another", start_step=300)):
        picture.restart(caption)
        picture.add(0, info(begun=False))
        picture.add(1, info())
        whole = draw_episode(caption, recorded([info(begun=False), info()]))
        np.testing.assert_array_equal(picture.draw(), whole)


def test_nothing_is_red_while_inlets_stay_in_the_recommended_range():
    steady = recorded([info(27.0 - 9.0 * (age % 2)) for age in range(200)])
    legend = draw_episode(CAPTION, recorded([info()]))
    assert np.array_equal(reds(draw_episode(CAPTION, steady)), reds(legend))  # the swatches
    assert not reds(legend)[:, : RIGHT + 1].any()


@pytest.mark.parametrize(("violating", "band"), [(29.0, 0), (17.0, 0), (34.0, 1), (14.0, 1)])
def test_a_violation_is_red_where_and_only_where_it_lasts(violating, band):
    infos = [info(violating if 100 <= age < 140 else 24.0) for age in range(200)]
    recording = recorded(infos)
    plot = plot_of(recording)
    picture = draw_episode(CAPTION, recording)
    columns = np.flatnonzero(reds(picture)[: plot.bottom, : plot.right].any(axis=0))
    assert columns[0] == pytest.approx(plot.x(99), abs=4)
    assert columns[-1] == pytest.approx(plot.x(140), abs=4)
    middle = round(plot.x(120))
    line = picture[int(plot.y(violating)), middle]
    assert tuple(line) == VIOLATION
    mark = picture[plot.top - 5, middle]
    assert tuple(mark) == inlet_ranges(CAPTION)[band].outside
    filled = picture[round(float(plot.y(28.0 if violating > 27 else 17.5))), middle]
    assert tuple(filled) == inlet_ranges(CAPTION)[0].outside
    calm = draw_episode(CAPTION, recorded([info()] * 200))
    assert not reds(calm)[: plot.bottom, : plot.right].any()


def test_five_minutes_outside_are_marked_even_in_a_year():
    steps = 365 * 288
    recording = Recording(rows_of(chilled_water_hall()), steps)
    for age in range(5000):
        recording.add(age, info(28.0 if age == 3333 else 24.0))
    picture = draw_episode(CAPTION, recording)
    plot = plot_of(recording)
    marked = np.flatnonzero(reds(picture)[plot.top - 5, : plot.right])
    assert marked.tolist() == [int(plot.x(3333))]


def test_the_powers_lie_on_top_of_one_another():
    recording = recorded([info()] * 289)
    plot = plot_of(recording, Kind.STACK)
    row = next(row for row in recording.rows if row.kind is Kind.STACK)
    picture = draw_episode(CAPTION, recording)
    tops = np.cumsum([20, 20, 50, 10, 10, 0, 40])  # kW, as `info` has them
    assert [series.label for series in row.series[:-1]] == [
        *("server fans", "air-handler fans", "chiller", "pumps", "tower fan"),
        *("humidification", "UPS, transformers"),
    ]
    assert recording.of_row(1)[-1, 100] == pytest.approx(tops[-1])  # together
    for series, top, thickness in zip(row.series, tops, np.diff(tops, prepend=0), strict=False):
        if thickness:
            y = round(float(plot.y(top - thickness / 2)))
            assert tuple(picture[y, 600]) == series.colour, series.label


def test_the_economisers_mode_is_a_band_of_colours():
    modes = [0] * 50 + [1] * 50 + [2] * 50
    recording = recorded([info(begun=False), *(info(economiser=mode) for mode in modes)])
    plot = plot_of(recording, Kind.MODES)
    picture = draw_episode(CAPTION, recording)
    for mode, colour in MODES.items():
        assert tuple(picture[plot.top + 9, round(plot.x(25 + 50 * mode))]) == colour
    assert tuple(picture[plot.top + 9, round(plot.x(200))]) not in MODES.values()


def test_axes_grow_in_steps_to_hold_what_is_seen():
    recording = recorded([info(24.0)])
    assert recording.axis(0) == (15.0, 35.0)
    recording.add(1, info(36.0))
    recording.add(2, info(12.0))
    recording.add(3, info(24.0))
    assert recording.axis(0) == (10.0, 40.0)
    assert recording.axis(1) == (0.0, 150.0)
    recording.add(4, info(powers_w={"facility_power_w": 1000e3}))  # 220 kW besides computing
    assert recording.axis(1) == (0.0, 250.0)
    recording.restart(0)
    assert recording.axis(0) == (15.0, 35.0)


def test_a_ratio_that_says_nothing_is_not_drawn():
    recording = recorded([info(), info(powers_w={"it_power_w": 100e3})])
    assert recording.of_row(2)[0, :2] == pytest.approx([930 / 800, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("start_day", "days", "expected"),
    [
        (40.25, 1, [(0, "06:00"), (36, "09:00"), (216, "11 Feb"), (288, "06:00")]),
        (40.25, 7, [(216, "11 Feb"), (504, "12 Feb"), (1944, "17 Feb")]),
        (364.0, 2, [(0, "31 Dec"), (72, "06:00"), (288, "1 Jan"), (576, "2 Jan")]),
        (58.0, 30, [(1440, "5 Mar"), (3456, "12 Mar")]),
        (0.0, 365, [(0, "1 Jan"), (31 * 288, "1 Feb"), (59 * 288, "1 Mar"), (365 * 288, "1 Jan")]),
        (200.0, 365, [(12 * 288, "1 Aug"), (165 * 288, "1 Jan"), (346 * 288, "1 Jul")]),
    ],
)
def test_times_are_marked_by_their_date(start_day, days, expected):
    marked = list(times(round(start_day * 288), days * 288))
    assert set(expected) <= set(marked)
    assert 4 <= len(marked) <= 13
    assert all(0 <= step <= days * 288 for step, _ in marked)


def test_long_names_and_faults_stay_in_their_place():
    usual = draw_episode(CAPTION, recorded([info()]))
    caption = replace(CAPTION, site="site " * 30, outdoors="weather " * 60)
    faults = {f"sensor_drift:sensor_{number}_degc": -1.25 for number in range(20)}
    picture = draw_episode(caption, recorded([info(faults=faults)]))
    assert not np.array_equal(picture[:48, :RIGHT], usual[:48, :RIGHT])
    np.testing.assert_array_equal(picture[:, RIGHT + 2 :], usual[:, RIGHT + 2 :])
    assert reds(picture)[10:40, RIGHT - 340 : RIGHT].any()
    assert not reds(picture)[10:40, : RIGHT - 335].any()


def test_what_came_before_a_state_is_not_drawn():
    env = DataCenterEnv(episode_days=1, start_day=10.0, render_mode="rgb_array")
    env.reset(seed=0)
    action = np.zeros(5, np.float32)
    for _ in range(100):
        env.step(action)
    state = env.state()
    env.reset(seed=1)
    env.set_state(state)
    drawn(env)
    for _ in range(50):
        env.step(action)
    caption, recording = kept(env)
    np.testing.assert_array_equal(drawn(env), draw_episode(caption, recording))
    assert caption.start_step == 10 * 288
    values = recording.of_row(0)
    assert np.isnan(values[:, :101]).all()
    assert np.isfinite(values[:, 101:151]).all()


def test_pictures_are_asked_for_and_come_after_a_reset():
    with pytest.raises(ValueError, match="render_mode must be 'rgb_array' or None, not 'human'"):
        DataCenterEnv(render_mode="human")
    env = DataCenterEnv(render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="before render"):
        env.render()
    with pytest.raises(ValueError, match="restart"):
        EpisodePicture(small_room(), 288).draw()
    silent = DataCenterEnv()
    silent.reset(seed=0)
    assert silent.render() is None


def test_actions_have_names_to_be_shown():
    assert DataCenterEnv(site="small_room").action_meanings == ("supply air", "air flow")
    env = DataCenterEnv(discrete=True, levels={"economiser": ["full", "off"]})
    assert len(env.action_meanings) == 4 * 3 * 3 * 2 * 2
    assert env.action_meanings[1] == {
        "supply air": "18 °C",
        "air flow": "50 %",
        "chilled water": "8 °C",
        "tower fan": "50 %",
        "economiser": "off",
    }
