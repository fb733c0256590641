"""How pictures lie on a sheet, and how numbers become what can be shown."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlkit.picture_sheet import sheet, stretched, write_png


def test_pictures_lie_beside_and_below_each_other() -> None:
    pictures = np.arange(1, 4)[:, None, None, None] * np.ones((3, 1, 1, 2))
    expected = [[[1, 1, 0, 2, 2], [0, 0, 0, 0, 0], [3, 3, 0, 0, 0]]]
    np.testing.assert_array_equal(sheet(pictures, gap=1), expected)
    in_a_row = [[[1, 1, 0, 2, 2, 0, 3, 3]]]
    np.testing.assert_array_equal(sheet(pictures, across=3, gap=1), in_a_row)
    np.testing.assert_array_equal(sheet(pictures), [[[1, 1, 2, 2], [3, 3, 0, 0]]])
    with pytest.raises(ValueError, match="at least one"):
        sheet(pictures[:0])


def test_a_sheet_keeps_channels_and_bytes() -> None:
    laid = sheet(np.arange(2 * 2 * 2 * 1 * 2, dtype=np.uint8).reshape(4, 2, 1, 2), across=4)
    assert laid.dtype == np.uint8
    assert laid.tolist() == [[[0, 1, 4, 5, 8, 9, 12, 13]], [[2, 3, 6, 7, 10, 11, 14, 15]]]


def test_numbers_are_stretched_to_what_can_be_shown() -> None:
    given = np.array([[[-1.0, 0.0], [1.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]])
    np.testing.assert_allclose(stretched(given)[0], [[0.0, 0.25], [0.5, 1.0]])
    assert np.isfinite(stretched(given)).all()
    np.testing.assert_allclose(stretched(given, symmetric=True)[0], [[1 / 3, 0.5], [2 / 3, 1.0]])
    alike = stretched(given, alike=True)
    np.testing.assert_allclose(alike[0], [[0.0, 1 / 6], [1 / 3, 2 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(alike[1], 1.0)


def test_a_picture_is_written_as_it_is_shown(tmp_path: Path) -> None:
    write_png(tmp_path / "numbers.png", np.array([[[0.0, 0.5, 1.0, 2.0]]]))
    with Image.open(tmp_path / "numbers.png") as image:
        assert np.asarray(image).tolist() == [[0, 128, 255, 255]]
    coloured = np.arange(3 * 2 * 1, dtype=np.uint8).reshape(3, 2, 1)
    write_png(tmp_path / "bytes.png", coloured)
    with Image.open(tmp_path / "bytes.png") as image:
        assert np.asarray(image).tolist() == [[[0, 2, 4]], [[1, 3, 5]]]
