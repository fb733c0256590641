"""A sum-tree that sets and searches whole batches: the priorities of a replay.

The structure is that of prioritised replay (Schaul et al. 2016, appendix B.2.1), with wide nodes in
place of binary ones, so that a batch descends a million leaves in four NumPy steps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FAN_OUT = 32  # children of a node: two to four cache lines, four levels for a million leaves


class SumTree:
    """Non-negative float64 masses on `num_leaves` leaves, with their sums in the nodes above.

    A node is always computed as the sum of its children, never by adding differences: rounding
    errors do not pile up, and equal leaves give an equal tree, whatever the order of writes.
    """

    def __init__(self, num_leaves: int) -> None:
        """num_leaves: at least 1, otherwise ValueError."""
        if num_leaves < 1:
            raise ValueError(f"a sum-tree needs at least one leaf, not {num_leaves}")
        self.num_leaves = num_leaves
        # From the leaves up; every level is padded with zeros to whole nodes of FAN_OUT children.
        self._levels: list[npt.NDArray[np.float64]] = []
        width = num_leaves
        while True:
            nodes = -(-width // FAN_OUT)
            self._levels.append(np.zeros((nodes, FAN_OUT), np.float64))
            if nodes == 1:
                break
            width = nodes

    @property
    def total(self) -> float:
        """Sum of all masses."""
        return float(self._levels[-1].sum(axis=1)[0])

    @property
    def leaves(self) -> npt.NDArray[np.float64]:
        """(num_leaves,), a read-only view of the masses."""
        view = self._levels[0].reshape(-1)[: self.num_leaves]
        view.flags.writeable = False
        return view

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the tree takes."""
        return sum(level.nbytes for level in self._levels)

    def get(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Masses of the leaves `indices`, in the same shape."""
        return self._levels[0].reshape(-1)[indices]

    def set(self, indices: npt.NDArray[np.int64], masses: npt.ArrayLike) -> None:
        """Write masses (broadcast to `indices`, (batch,)); of a repeated index the last one stays.

        Raises ValueError for a mass that is negative or not finite, IndexError outside the tree.
        """
        masses = np.asarray(masses, np.float64)
        if not (np.isfinite(masses).all() and (masses >= 0).all()):
            wrong = masses[~(np.isfinite(masses) & (masses >= 0))].reshape(-1)[0]
            raise ValueError(f"a mass must be finite and not negative, not {wrong}")
        if indices.size == 0:
            return
        if indices.min() < 0 or indices.max() >= self.num_leaves:
            raise IndexError(f"leaf outside 0..{self.num_leaves - 1} in {indices}")
        self._levels[0].reshape(-1)[indices] = masses
        nodes = indices
        for children, parents in zip(self._levels[:-1], self._levels[1:], strict=True):
            nodes = np.unique(nodes // FAN_OUT)
            parents.reshape(-1)[nodes] = children[nodes].sum(axis=1)

    def set_all(self, masses: npt.NDArray[np.float64]) -> None:
        """Write all masses, (num_leaves,). Raises ValueError as `set`, and for another shape."""
        if masses.shape != (self.num_leaves,):
            raise ValueError(f"masses must have shape ({self.num_leaves},), not {masses.shape}")
        self.set(np.arange(self.num_leaves), masses)

    def find(self, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The leaf in which each position (batch,) in [0, total) falls, all masses laid end to end.

        A leaf of mass 0 is never found, even where rounding pushes a position past the last mass.
        Raises ValueError if the tree is empty (total 0).
        """
        if self.total <= 0.0:
            raise ValueError("no leaf has a positive mass")
        remaining = positions.astype(np.float64)
        found = np.zeros(len(positions), np.int64)
        every = np.arange(len(positions))
        for level in reversed(self._levels):
            children = level[found]  # (batch, FAN_OUT)
            ends = np.cumsum(children, axis=1)
            # The end of the last child with a positive mass is the end of the node. Clamping below
            # it keeps a position, that rounding left at the end, out of the zeros behind.
            last = np.nextafter(ends[:, -1], 0.0)
            remaining = np.minimum(remaining, last)
            child = (ends <= remaining[:, None]).sum(axis=1)
            remaining = np.maximum(remaining - (ends[every, child] - children[every, child]), 0.0)
            found = found * FAN_OUT + child
        return found
