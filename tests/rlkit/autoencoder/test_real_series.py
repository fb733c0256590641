"""Real series out of other packages: which steps are normal, where events are, and what if not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rlkit.autoencoder.anomalies.real_series import REAL_SERIES, load_real_series
from rlkit.autoencoder.anomalies.series import Event, Series
from rlkit.autoencoder.anomalies.synthetic_anomalies import (
    SYNTHETIC_ANOMALIES,
    with_synthetic_anomalies,
)


def installed(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a package that cannot be imported, and stands before an installed one."""

    def make(name: str, **files: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("raise RuntimeError('nobody needs to import this')\n")
        for file, text in files.items():
            path = folder / "datasets/data" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    return make


UCR = "KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16"


def test_the_published_normal_part_is_cut_off_the_front(package):
    training = "timestamp,value,is_anomaly\n0,5.0,0\n1,6.5,0\n"
    test = training + "2,7.0,0\n3,-1.0,1\n4,-2.0,1\n5,7.5,0\n6,9.0,1\n"
    package("aeon", **{f"{UCR}_TRAIN.csv": training, f"{UCR}_TEST.csv": test})
    series = load_real_series("internal_bleeding")
    assert_array_equal(series.normal.values, [[5.0], [6.5]])
    assert series.normal.events == ()
    assert series.normal.context["role"] == "normal"
    assert_array_equal(series.test.values[:, 0], [7.0, -1.0, -2.0, 7.5, 9.0])
    assert series.test.events == (Event(1, 3), Event(4, 5))
    assert series.test.context["role"] == "test"
    assert "UCR" in series.test.context["source"]


def test_a_normal_part_with_an_event_is_refused(package):
    lines = [f"{value},{int(value == 100)}" for value in range(1000)]
    package("sktime", **{"yahoo/yahoo.csv": "\n".join(["data,label", *lines])})
    with pytest.raises(ValueError, match="an event begins before step 400"):
        load_real_series("web_traffic")


def test_absent_packages_are_named_with_what_brings_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"'arrhythmia' .* sktime, which is absent: pip install"):
        load_real_series("arrhythmia")
    with pytest.raises(ImportError, match=r"'.\[anomalies\]'"):
        load_real_series("ecg_with_synthetic_anomalies")
    with pytest.raises(ImportError, match=r"--no-deps 'aeon"):
        load_real_series("internal_bleeding")


def test_a_version_without_the_series_is_told(package):
    package("aeon")
    with pytest.raises(
        FileNotFoundError, match=r"not in this version of aeon, .*S06R02E0.csv"
    ) as e:
        load_real_series("gait_with_synthetic_anomalies")
    assert "\n" not in str(e.value)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no real series 'moon': there are internal_bleeding, "):
        load_real_series("moon")
    assert "arrhythmia" in REAL_SERIES


@installed("aeon")
def test_aeon_holds_what_was_published():
    bleeding = load_real_series("internal_bleeding")
    # 1,200 steps to train on, and one anomaly at 4187 to 4199.
    assert (len(bleeding.normal), len(bleeding.test)) == (1200, 6301)
    assert bleeding.test.events == (Event(4187 - 1200, 4199 - 1200),)
    ecg = load_real_series("gutentag_ecg")
    assert (len(ecg.normal), len(ecg.test), len(ecg.test.events)) == (10_000, 10_000, 3)
    gait = load_real_series("gait_with_synthetic_anomalies")
    assert gait.normal.values.shape == gait.test.values.shape == (3520, 9)
    assert gait.normal.step_seconds == pytest.approx(1 / 64)
    assert gait.normal.values[0, :2].tolist() == [101.0, 1000.0]


@installed("sktime")
def test_sktime_holds_what_was_published():
    arrhythmia = load_real_series("arrhythmia")
    assert (len(arrhythmia.normal), len(arrhythmia.test)) == (3000, 4500)
    assert arrhythmia.test.events == (Event(3936, 4288),)
    traffic = load_real_series("web_traffic")
    assert (len(traffic.normal), len(traffic.test), len(traffic.test.events)) == (400, 600, 7)
    assert traffic.test.context["split"] == "ours"


@installed("pywt")
def test_pywavelets_ecg_says_that_its_anomalies_are_made_up():
    ecg = load_real_series("ecg_with_synthetic_anomalies")
    assert (len(ecg.normal), len(ecg.test)) == (512, 512)
    assert {event.kind for event in ecg.test.events} == {
        f"synthetic {kind}" for kind in SYNTHETIC_ANOMALIES
    }
    assert ecg.test.context["labels"] == "synthetic"
    assert_array_equal(
        ecg.test.values, load_real_series("ecg_with_synthetic_anomalies").test.values
    )


@given(steps=st.integers(40, 200), length=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_synthetic_anomalies_change_their_events_and_nothing_else(
    steps: int, length: int, seed: int
):
    generator = np.random.default_rng(steps)
    series = Series(generator.normal(size=(steps, 2)).cumsum(axis=0), ("a", "b"))
    broken = with_synthetic_anomalies(series, length, seed)
    assert sorted(event.kind.removeprefix("synthetic ") for event in broken.events) == sorted(
        SYNTHETIC_ANOMALIES
    )
    assert_array_equal(broken.values[~broken.labels], series.values[~broken.labels])
    quarter = steps // 4
    for number, event in enumerate(broken.events):
        assert event.stop - event.start == length
        assert number * quarter <= event.start < event.stop <= (number + 1) * quarter
        was, now = (each.values[event.start : event.stop] for each in (series, broken))
        kind = event.kind.removeprefix("synthetic ")
        if kind == "held":
            assert_array_equal(now, np.tile(was[0], (length, 1)))
        elif kind == "reversed":
            assert_array_equal(now[::-1], was)
        elif kind == "stretched":
            np.testing.assert_allclose(np.ptp(now, axis=0), 1.5 * np.ptp(was, axis=0))
            np.testing.assert_allclose(now.mean(axis=0), was.mean(axis=0), atol=1e-9)
        else:
            assert (now != was).all()


def test_synthetic_anomalies_need_room_and_a_clean_series():
    series = Series(np.arange(40.0)[:, np.newaxis], ("a",))
    with pytest.raises(
        ValueError, match=r"anomalies of 6 steps do not fit into 40 .*: 2 to 5 would"
    ):
        with_synthetic_anomalies(series, 6, 0)
    labelled = Series(series.values, ("a",), events=(Event(0, 1),))
    with pytest.raises(ValueError, match="has 1 events already"):
        with_synthetic_anomalies(labelled, 2, 0)
    missing = Series(np.full((40, 1), np.nan), ("a",))
    with pytest.raises(ValueError, match="missing values"):
        with_synthetic_anomalies(missing, 2, 0)
