"""Made-up utilisation: what each kind promises."""

import dataclasses

import numpy as np
import pytest

from rlkit_envs.data_center.load_traces import (
    LOADS,
    BatchLoad,
    BurstyLoad,
    DiurnalLoad,
    StepLoad,
    make_load,
)
from rlkit_envs.data_center.weather import STEPS_PER_YEAR


@pytest.mark.parametrize("kind", LOADS)
def test_a_year_of_any_kind(kind):
    load = make_load(kind, 0)
    assert load.shape == (STEPS_PER_YEAR,)
    assert load.dtype == np.float64
    assert load.min() >= 0.0
    assert load.max() <= 1.0
    np.testing.assert_array_equal(load, make_load(LOADS[kind], 0))
    assert np.abs(load - make_load(kind, 1)).mean() > 0.01
    one, two = (make_load(kind, sequence) for sequence in np.random.SeedSequence(0).spawn(2))
    assert np.abs(one - two).mean() > 0.01
    with pytest.raises(ValueError, match="read-only"):
        load[0] = 0.5


def test_working_days_have_the_stated_night_and_peak():
    load = make_load(DiurnalLoad(noise=0.0), 0).reshape(365, 288)
    wednesday = load[2]
    assert wednesday.max() == pytest.approx(0.80)
    assert wednesday.min() == pytest.approx(0.30)
    assert wednesday.argmax() == 15 * 12
    assert wednesday.argmin() == 3 * 12


@pytest.mark.parametrize(("first_weekday", "saturday"), [(0, 5), (6, 6), (5, 0)])
def test_weekends_are_quieter(first_weekday, saturday):
    load = make_load(DiurnalLoad(noise=0.0, first_weekday=first_weekday), 0).reshape(365, 288)
    noon = load[:, 144] / load[2, 144] if first_weekday == 0 else load[:, 144] / load[:, 144].max()
    weekend = np.isin((np.arange(365) - saturday) % 7, (0, 1))
    np.testing.assert_allclose(noon[weekend], 0.80, rtol=1e-9)
    np.testing.assert_allclose(noon[~weekend], 1.0, rtol=1e-9)


def test_people_change_smoothly_and_noise_is_of_the_stated_size():
    calm = make_load(DiurnalLoad(noise=0.0), 0)
    assert np.abs(np.diff(calm)).max() < 0.01
    noise = make_load("diurnal", 0) - calm
    assert noise.std() == pytest.approx(0.03, rel=0.1)
    two_hours = np.corrcoef(noise[:-24], noise[24:])[0, 1]
    assert two_hours == pytest.approx(np.exp(-1.0), abs=0.06)


def test_batch_jobs_make_plateaus_about_the_stated_mean():
    loads = np.array([make_load("batch", seed) for seed in range(4)])
    assert loads.mean() == pytest.approx(0.55, abs=0.05)
    assert loads.min() == pytest.approx(0.15)
    flat = np.diff(loads) == 0.0
    assert 0.7 < flat.mean() < 0.97
    assert loads.std() > 0.1


def test_batch_jobs_last_and_take_what_is_stated():
    # Jobs so rare that they hardly meet: 0.5 h at least, each alone on the servers.
    rare = BatchLoad(idle=0.0, mean=0.02, job_share=0.2, job_hours=5.0, job_hours_spread=0.0)
    load = np.concatenate([make_load(rare, seed) for seed in range(5)])
    edges = np.flatnonzero(np.diff(load, prepend=0.0, append=0.0))
    lengths, heights = np.diff(edges), load[edges[:-1]]
    jobs = heights > 1e-9
    assert jobs.sum() > 500
    assert np.median(lengths[jobs]) == 60
    alone = jobs & (lengths == 60)
    assert heights[alone].mean() == pytest.approx(0.2, rel=0.15)


def test_jobs_that_pass_midnight_of_new_years_eve_go_on():
    always = BatchLoad(idle=0.0, mean=0.5, job_share=0.01, job_hours=200.0, job_hours_spread=0.0)
    load = make_load(always, 0)
    assert load[0] == pytest.approx(load[-1], abs=0.05)
    assert load[:2400].mean() == pytest.approx(0.5, abs=0.15)
    assert load[-2400:].mean() == pytest.approx(0.5, abs=0.15)


def test_bursts_are_heavy_tailed():
    load = np.concatenate([make_load("bursty", seed) for seed in range(3)]) - 0.20
    assert load.min() == pytest.approx(0.0, abs=1e-9)
    deviation = load - load.mean()
    kurtosis = (deviation**4).mean() / (deviation**2).mean() ** 2
    assert kurtosis > 5.0  # a Gaussian has 3
    assert np.quantile(load, 0.99) > 5.0 * np.median(load)
    assert (load > 0.75).any()


def test_single_bursts_are_pareto():
    rare = BurstyLoad(idle=0.0, bursts_per_day=1.0, height_tail=2.0, length_tail=1.4)
    load = np.concatenate([make_load(rare, seed) for seed in range(5)])
    edges = np.flatnonzero(np.diff(load, prepend=0.0, append=0.0))
    lengths, heights = np.diff(edges), load[edges[:-1]]
    lengths, heights = lengths[heights > 1e-9], heights[heights > 1e-9]
    assert 1500 < len(lengths) < 2200
    assert heights.min() >= 0.05 - 1e-9
    assert lengths.max() <= 288 + 60
    # P(height > 2 * smallest) = 2^-2; P(length > 4 * shortest) = 4^-1.4, on steps of 5 minutes.
    assert (heights > 0.10).mean() == pytest.approx(0.25, abs=0.04)
    assert (lengths > 8).mean() == pytest.approx(4**-1.4, abs=0.04)


def test_no_burst_outlasts_a_day():
    longest = BurstyLoad(idle=0.0, bursts_per_day=0.05, shortest_minutes=1440.0)
    load = make_load(longest, 0)
    lengths = np.diff(np.flatnonzero(np.diff(load)))
    assert (lengths == 288).sum() > 5


def test_steps_hold_and_jump_by_turns():
    load = make_load("step", 0)
    jumps = np.diff(load, append=load[0])
    at = np.flatnonzero(jumps)
    assert len(at) == 730
    assert (np.diff(at) == 144).all()
    assert (np.abs(jumps[at]) >= 0.30).all()
    assert (np.sign(jumps[at][1:]) == -np.sign(jumps[at][:-1])).all()
    assert load.min() >= 0.20
    assert load.max() <= 0.90
    assert len(np.unique(load)) == 730


def test_an_odd_hold_is_shortened_to_an_even_number_of_levels():
    at = np.flatnonzero(np.diff(make_load(StepLoad(hold_hours=100.0), 0)))
    assert len(at) + 1 == 88  # 87.6 levels of 100 h
    assert set(np.diff(at)) <= {1194, 1195}


def test_an_unknown_load_is_named():
    with pytest.raises(ValueError, match="no load 'idle'; there are diurnal, batch, bursty, step"):
        make_load("idle", 0)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("diurnal", {"night": 0.9}, "night is 0.9 and peak 0.8: expected 0 <= night < peak <= 1"),
        ("diurnal", {"peak": 1.1}, "peak 1.1"),
        ("diurnal", {"first_weekday": 7}, "first_weekday is 7, but must be from 0 to 6"),
        ("diurnal", {"weekend": float("nan")}, "weekend is nan"),
        ("batch", {"mean": 0.1}, "idle is 0.15 and mean 0.1"),
        ("batch", {"job_share": 0.0}, "job_share is 0.0, but must be from 0.01 to 1"),
        ("bursty", {"length_tail": 0.5}, "length_tail is 0.5, but must be from 1 to 5"),
        ("step", {"smallest_step": 0.8}, "smallest_step is 0.8, but must be from 0 to 0.7"),
        ("step", {"hold_hours": 0.0}, "hold_hours is 0.0, but"),
    ],
)
def test_parameters_that_cannot_be_are_refused(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LOADS[kind], **changes)
