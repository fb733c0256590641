"""Rows of a batch that need costly work which the others can do without.

What is worked out elementwise gives each row the same alone as in any batch, so that working on a
selection changes nothing but the time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class SelectedRows:
    """Those where a condition of the batch's shape holds."""

    def __init__(self, where: NDArray[np.bool_]) -> None:
        self._shape, self._rows = where.shape, np.flatnonzero(where)

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return self._rows.size > 0

    def taken(self, values: Any) -> NDArray[Any]:
        """(selected,) of an array that broadcasts to the batch, or a number."""
        return np.broadcast_to(values, self._shape).ravel()[self._rows]

    def replaced(self, values: Any, others: NDArray[Any]) -> NDArray[Any]:
        """A copy of the batch's values with those of the selected rows, (selected,), put in."""
        result = np.broadcast_to(values, self._shape).flatten()
        result[self._rows] = others
        return result.reshape(self._shape)[()]
