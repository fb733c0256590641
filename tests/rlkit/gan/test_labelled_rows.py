"""Files of labelled examples come back as they were, and others are read as far as they go."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkit.gan.labelled_rows import LabelledRows, read_labelled_rows, write_labelled_rows
from rlkit.observations import ObservationsFileError

LABELS = np.array([0, 2, 0, 1])
GROUPS = np.array([5, 5, 7, 8])


def rows(**changes: Any) -> LabelledRows:
    given = {
        "data": np.arange(12, dtype=np.float32).reshape(4, 3),
        "labels": LABELS,
        "names": ("ok", "dropped", "double"),
        "groups": GROUPS,
        "about": {"height_mm": "bytes times 0.6"},
    }
    return LabelledRows(**{**given, **changes})


@pytest.mark.parametrize("data", [rows().data, np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)])
def test_a_file_gives_back_what_was_written(tmp_path: Path, data: np.ndarray) -> None:
    written = rows(data=data)
    write_labelled_rows(tmp_path / "rows.npz", written)
    read = read_labelled_rows(tmp_path / "rows.npz")
    assert np.array_equal(read.data, data)
    assert read.data.dtype == data.dtype
    assert read.labels.tolist() == [0, 2, 0, 1]
    assert read.groups.tolist() == [5, 5, 7, 8]
    assert (read.names, read.about) == (written.names, written.about)
    assert read.counts == {"ok": 2, "dropped": 1, "double": 1}


def test_labels_alone_are_called_by_their_numbers(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 8), np.uint8)
    np.savez(tmp_path / "plain.npz", images=images, labels=np.array([3, 0, 3]))
    read = read_labelled_rows(tmp_path / "plain.npz")
    assert read.data.shape == (3, 1, 8, 8)
    assert read.names == ("0", "3")
    assert read.counts == {"0": 1, "3": 2}
    assert read.groups.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([1e300, 0, 0]), r"below 2\*\*63, got 1e\+300"),
        (np.array([np.inf, 0, 0]), "whole numbers, got float64"),
        (np.array([2**63, 0, 0], np.uint64), r"below 2\*\*63, got 9223372036854775808"),
        (np.array(["a", "b", "b"]), "whole numbers, got <U1"),
        (np.array([0, -1, 0]), "count from 0, got -1"),
    ],
)
def test_labels_that_are_no_counts_are_told_in_one_line(
    tmp_path: Path, labels: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "odd.npz", images=np.zeros((3, 8, 8), np.uint8), labels=labels)
    with pytest.raises(ObservationsFileError, match=message):
        read_labelled_rows(tmp_path / "odd.npz")


def test_labels_far_apart_take_no_memory(tmp_path: Path) -> None:
    images, labels = np.zeros((3, 8, 8), np.uint8), np.array([5_000_000_000, 0, 0])
    np.savez(tmp_path / "far.npz", images=images, labels=labels)
    assert read_labelled_rows(tmp_path / "far.npz").counts == {"0": 2, "5000000000": 1}


@pytest.mark.parametrize("about", ["{", "[1]"])
def test_what_is_told_about_rows_is_a_json_object(tmp_path: Path, about: str) -> None:
    images, labels = np.zeros((3, 8, 8), np.uint8), np.array([1, 0, 0])
    np.savez(tmp_path / "about.npz", images=images, labels=labels, about=np.array(about))
    with pytest.raises(ObservationsFileError, match="its array about is no JSON"):
        read_labelled_rows(tmp_path / "about.npz")


def test_what_was_generated_is_left_out(tmp_path: Path) -> None:
    given = rows()
    save: Any = np.savez
    arrays = {"observations": given.data, "labels": LABELS, "groups": GROUPS}
    save(tmp_path / "filled.npz", **arrays, synthetic=np.array([False, True, False, False]))
    read = read_labelled_rows(tmp_path / "filled.npz")
    assert np.array_equal(read.data, given.data[[0, 2, 3]])
    assert read.labels.tolist() == [0, 0, 1]
    assert read.groups.tolist() == [5, 7, 8]
    save(tmp_path / "short.npz", **arrays, synthetic=np.array([False, True]))
    with pytest.raises(ObservationsFileError, match="4 rows need a mark of bool each"):
        read_labelled_rows(tmp_path / "short.npz")
    few = {**arrays, "labels": LABELS[:2]}
    save(tmp_path / "few.npz", **few, synthetic=np.zeros(4, bool))
    with pytest.raises(ObservationsFileError, match=r"few\.npz: "):
        read_labelled_rows(tmp_path / "few.npz")


def test_classes_can_be_left_out() -> None:
    left = rows().without(["dropped"])
    assert left.names == ("ok", "double")
    assert left.labels.tolist() == [0, 1, 0]
    assert left.groups.tolist() == [5, 5, 7]
    assert left.data[:, 0].tolist() == [0.0, 3.0, 6.0]
    assert left.about == rows().about
    assert rows().without([]).names == rows().names
    with pytest.raises(ValueError, match="no class is called 'broken'; there are ok, dropped"):
        rows().without(["broken"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS[:3]}, "4 examples need as many labels"),
        ({"labels": LABELS * 0.5}, "whole numbers, got float64"),
        ({"groups": GROUPS[:, None]}, "4 examples need as many groups"),
        ({"labels": LABELS + 1}, "places of 3 names, from 0 on, but these are from 1 to 3"),
        ({"names": ("ok", "ok", "double")}, "names repeat"),
        ({"data": np.zeros((4, 2, 3))}, "pictures .* or rows"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rows(**changes)


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    np.savez(path, observations=np.zeros((3, 2)))
    with pytest.raises(ObservationsFileError, match=r"odd.npz: .* an array \"labels\""):
        read_labelled_rows(path)
    np.savez(path, observations=np.zeros((3, 2)), labels=np.array([0, 1, 9]), names=["a", "b"])
    with pytest.raises(ObservationsFileError, match=r"odd.npz: labels are places of 2 names"):
        read_labelled_rows(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ObservationsFileError, match=r"odd.npz: no NumPy archive"):
        read_labelled_rows(path)
    with pytest.raises(ObservationsFileError, match=r"none.npz: cannot be read"):
        read_labelled_rows(tmp_path / "none.npz")
