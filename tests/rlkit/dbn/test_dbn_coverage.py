"""Coverage of states: numbers worked out by hand, a slow reference, and what changes nothing."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlkit.dbn.coverage import (
    CoverageConfig,
    compare_collectors,
    coverage,
    neighbour_coverage,
    spread,
)

SMALL = CoverageConfig(axes=2, bins=8)


def area(count: int, seed: int) -> np.ndarray:
    """Evenly drawn from [0, 1] x [0, 0.5], whose principal components are the columns."""
    return np.random.default_rng(seed).random((count, 2)).astype(np.float32) * np.array(
        [1.0, 0.5], np.float32
    )


def test_two_equally_likely_states_are_two_cells():
    rows = np.zeros((40, 5), np.int8)
    rows[::2, 1:4] = 1
    told = spread(rows)
    assert (told.rows, told.columns, told.varying_columns) == (40, 5, 3)
    assert told.distinct_rows == told.cells == 2
    assert told.components == 1
    assert told.effective_components == pytest.approx(1.0)
    assert told.entropy == pytest.approx(math.log(2.0))
    assert told.effective_cells == pytest.approx(2.0)


def test_independent_columns_count_each_for_itself():
    rows = np.random.default_rng(0).standard_normal((4_000, 5)) * [1.0, 1.0, 100.0, 1e-3, 1.0] + 7.0
    told = spread(rows)
    assert told.components == 5
    assert told.effective_components == pytest.approx(5.0, rel=0.02)
    doubled = spread(np.concatenate((rows, rows), axis=1))
    assert doubled.components == 5
    assert doubled.effective_components == pytest.approx(5.0, rel=0.02)


def test_what_never_changes_is_one_cell():
    told = spread(np.full((10, 3), 42.0))
    assert (told.components, told.effective_components, told.varying_columns) == (0, 0.0, 0)
    assert (told.cells, told.entropy, told.effective_cells) == (1, 0.0, 1.0)


def test_rows_of_the_same_source_cover_what_can_be_attained():
    told = coverage(area(2_000, 1), area(4_000, 2), SMALL)
    assert (told.rows, told.reference_rows) == (2_000, 2_000)
    assert told.cells_attainable == told.mass_attainable == told.cells == told.mass == 1.0
    # Expected by Naeem et al. 2020: 1 - (N-1)...(N-k) / ((M+N-1)...(M+N-k)).
    below = [(2_000 - k) / (4_000 - k) for k in range(1, 6)]
    assert told.neighbours == pytest.approx(1.0 - math.prod(below), abs=0.03)
    assert told.neighbours_attainable == pytest.approx(1.0 - math.prod(below), abs=0.03)
    assert told.outside == 0.0
    assert told.effective_cells == pytest.approx(64.0, rel=0.03)
    assert told.effective_cells_attainable == pytest.approx(told.effective_cells, rel=0.05)


def test_half_of_the_states_is_half_of_the_coverage():
    rows = area(2_000, 1) * np.array([0.5, 1.0])
    told = coverage(rows, area(4_000, 2), SMALL)
    assert told.cells == pytest.approx(0.5, abs=0.03)
    assert told.mass == pytest.approx(0.5, abs=0.03)
    assert told.neighbours == pytest.approx(0.5, abs=0.03)
    assert told.outside == 0.0
    assert told.effective_cells < 0.65 * told.effective_cells_attainable


def test_states_unknown_to_the_reference_are_outside_it():
    elsewhere = coverage(area(500, 1) + np.array([0.0, 3.0]), area(1_000, 2), SMALL)
    assert elsewhere.neighbours == 0.0
    assert elsewhere.mass < 0.2  # cells at the border are open
    gaps = np.random.default_rng(0).integers(0, 2, (600, 1)) * 2.0 + 0.01 * area(600, 3)
    middle = coverage(1.0 + 0.01 * area(300, 4), gaps, CoverageConfig(axes=1))
    assert middle.outside == 1.0
    assert middle.cells == middle.neighbours == 0.0


def test_units_of_measurement_change_nothing():
    rows, reference = area(500, 1) ** 2 - 3.0, area(1_000, 2) - 3.0
    told = coverage(rows, reference, SMALL)
    units = np.array([1e5, 1e-4])
    other = coverage((rows + 10.0) * units, (reference + 10.0) * units, SMALL)
    assert other.neighbours == pytest.approx(told.neighbours, abs=0.01)
    assert other.cells == pytest.approx(told.cells, abs=0.05)
    assert told.neighbours < told.neighbours_attainable - 0.05


def test_bytes_and_their_fractions_are_covered_alike():
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (400, 2, 3, 3), np.uint8)
    fractions = pictures.reshape(400, -1) / 255.0
    assert coverage(pictures[:100], pictures[100:]) == coverage(fractions[:100], fractions[100:])


@given(
    arrays(np.float64, st.tuples(st.integers(4, 12), st.just(3)), elements=st.sampled_from([0, 1])),
    arrays(np.float64, st.tuples(st.integers(1, 9), st.just(3)), elements=st.sampled_from([0, 1])),
    st.integers(1, 3),
)
def test_neighbours_are_those_of_a_slow_count(
    reference: np.ndarray, collected: np.ndarray, neighbours: int
):
    covered = 0
    for number, row in enumerate(reference):
        others = [sum((row - other) ** 2) for n, other in enumerate(reference) if n != number]
        radius = sorted(others)[neighbours - 1]
        covered += any(sum((row - one) ** 2) <= radius for one in collected)
    assert neighbour_coverage(reference, collected, neighbours) == covered / len(reference)


def test_a_mixture_covers_more_than_a_narrow_collector():
    narrow = 0.2 * area(1_000, 1)
    mixed = np.concatenate((0.2 * area(500, 2), area(500, 3)))
    told = compare_collectors({"narrow": narrow, "mixed": mixed}, SMALL)
    assert list(told) == ["narrow", "mixed"]
    assert told["mixed"].cells > told["narrow"].cells + 0.5
    assert told["mixed"].neighbours > told["narrow"].neighbours + 0.1
    assert told["mixed"].effective_cells > 2.0 * told["narrow"].effective_cells
    assert told["mixed"].rows == told["narrow"].rows == 500
    json.dumps(told["mixed"].to_json(), allow_nan=False)
    assert compare_collectors({"narrow": narrow, "mixed": mixed}, SMALL) == told


def test_more_columns_than_rows_have_the_variances_of_their_rows():
    wide = np.random.default_rng(0).standard_normal((12, 40))
    told = spread(wide)
    centred = (wide - wide.mean(0)) / wide.std(0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    assert told.effective_components == pytest.approx(variances.sum() ** 2 / (variances**2).sum())
    assert told.components == (np.cumsum(variances) / variances.sum() < 0.95).sum() + 1


@pytest.mark.parametrize(
    ("rows", "reference", "message"),
    [
        (np.zeros((1, 2)), np.zeros((20, 2)), r"rows: coverage needs at least two rows.*\(1, 2\)"),
        (np.zeros((9, 2)), np.zeros((20, 3)), "2 columns, but the reference has 3"),
        (np.zeros((9, 2)), np.zeros((8, 2)), "4 rows of a reference are too few for 5 neighbours"),
        (np.full((9, 2), np.nan), np.zeros((20, 2)), "rows: numbers must be finite"),
        (np.array(["a", "b"]), np.zeros((20, 2)), "must be numbers"),
    ],
)
def test_rows_that_cannot_be_measured_are_refused(
    rows: np.ndarray, reference: np.ndarray, message: str
):
    with pytest.raises(ValueError, match=message):
        coverage(rows, reference)


def test_settings_that_make_no_sense_are_refused():
    for name in ("axes", "bins", "neighbours", "most_rows"):
        with pytest.raises(ValueError, match=f"{name} must be at least ., got 0"):
            CoverageConfig(**{name: 0})
    with pytest.raises(ValueError, match="too many cells"):
        CoverageConfig(axes=12, bins=10)
    with pytest.raises(ValueError, match="no collector"):
        compare_collectors({})
    with pytest.raises(ValueError, match=r"\[2, 3\] columns"):
        compare_collectors({"a": np.zeros((20, 2)), "b": np.zeros((20, 3))})
