"""Attempts are recorded with what was seen where, and the same way again."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlkit.gan.labelled_rows import LabelledRows
from rlkit.gan.outcome_recording import OutcomeConfig, crop, record_outcomes
from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.episode import PickingBin

TINY = OutcomeConfig(attempts=9, tier="single", bins=1, size=16, pickers=("random on part",))


@pytest.fixture(scope="module")
def recorded() -> LabelledRows:
    return record_outcomes(TINY)


def test_a_crop_has_its_pixel_in_the_middle() -> None:
    heights = np.arange(100, dtype=np.float32).reshape(10, 10)
    cut = crop(heights, 34, 8, 0.5)
    assert cut.shape == (8, 8)
    assert cut[4, 4] == 68  # row 3, column 4: 34 mm
    # Rows -1 to 6 and columns 0 to 7; row -1 is beyond the map and repeats row 0.
    assert cut[0].tolist() == cut[1].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert cut[7].tolist() == [120, 122, 124, 126, 128, 130, 132, 134]
    assert crop(np.full((9, 9), 500.0), 0, 8, 0.6).min() == 255
    assert crop(np.array([[0.0] * 9] * 4 + [[0.74] * 9] * 5), 4 * 9 + 4, 8, 0.5)[4, 4] == 1


def test_examples_are_what_was_seen_and_what_came_of_it(recorded: LabelledRows) -> None:
    assert recorded.data.shape == (9, 1, 16, 16)
    assert recorded.data.dtype == np.uint8
    assert set(recorded.names) <= {"ok", "miss", "collision", "dropped", "double", "wall"}
    assert all(count > 0 for count in recorded.counts.values())
    # Nothing but parts is picked: they are between 4 mm and the wall's height of 100 mm.
    picked = recorded.data[:, 0, 8, 8] * TINY.level_mm
    assert ((picked > 3.5) & (picked < 100.0)).all()


def test_the_first_example_is_of_the_first_picture(recorded: LabelledRows) -> None:
    """The bin, opened beside the recording, shows the recorded crop somewhere."""
    seed = int(np.random.default_rng(np.random.SeedSequence(0)).integers(2**31))
    bin_ = PickingBin(BinPickingConfig(tier="single"), (seed, 0))
    bin_.begin()
    heights = bin_.observation[0]
    crops = [crop(heights, pixel, 16, TINY.level_mm) for pixel in range(heights.size)]
    assert any(np.array_equal(each, recorded.data[0, 0]) for each in crops)


def test_the_same_seed_records_the_same(recorded: LabelledRows) -> None:
    told: list[tuple[int, int]] = []
    again = record_outcomes(
        replace(TINY, attempts=4), lambda done, total: told.append((done, total))
    )
    assert np.array_equal(again.data, recorded.data[:4])
    assert [again.names[label] for label in again.labels] == [
        recorded.names[label] for label in recorded.labels[:4]
    ]
    assert told[-1] == (4, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attempts": 0}, "attempts must be at least 1, got 0"),
        ({"tier": "lunar"}, "no tier is called 'lunar'"),
        ({"pickers": ("boldest",)}, "no picker is called 'boldest'; there are random"),
        ({"pickers": ()}, "pickers names none"),
        ({"size": 15}, "size must be even and from 8 to 64, got 15"),
        ({"size": 66}, "size must be even"),
        ({"level_mm": 0.0}, "level_mm must be positive"),
        ({"force_n": -1.0}, "force_n must be above 0"),
    ],
)
def test_what_cannot_be_recorded_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutcomeConfig(**changes)
