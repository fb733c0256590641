"""Rows of a batch that need costly work which the others can do without.

What is worked out elementwise gives each row the same alone as in any batch, so that working on a
selection changes nothing but the time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import Condition, anywhere


class SelectedRows:
    """Those where a condition of the batch's shape holds; of a site alone, all numbers, it or none.

    Numbers stay as they are.
    """

    def __init__(self, where: Condition) -> None:
        self.any = anywhere(where)
        """Whether there are any."""
        self._alone = not isinstance(where, np.ndarray)
        if not self._alone:
            self._shape, self._rows = np.shape(where), np.flatnonzero(where)

    def taken(self, values: Any) -> NDArray[Any]:
        """(selected,) of an array that broadcasts to the batch, or a number."""
        if self._alone:
            return values
        return np.broadcast_to(values, self._shape).ravel()[self._rows]

    def replaced(self, values: Any, others: NDArray[Any]) -> NDArray[Any]:
        """A copy of the batch's values with those of the selected rows, (selected,), put in."""
        if self._alone:
            return others
        result = np.broadcast_to(values, self._shape).flatten()
        result[self._rows] = others
        return result.reshape(self._shape)
