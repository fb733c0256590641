"""Beginnings of orders have the mixture of labels that they promise."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rlkit.label_mixtures import evenly, proportionally

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=30).map(np.array)


def test_orders_worked_out_by_hand() -> None:
    labels = np.array([7, 7, 7, 7, 5, 5])
    assert evenly(labels).tolist() == [0, 4, 1, 5, 2, 3]
    # Shares of their labels, in the middle of each: 1/8, 3/8, 5/8, 7/8, and 1/4, 3/4.
    assert proportionally(labels).tolist() == [0, 4, 1, 2, 5, 3]


@given(LABELS, st.data())
def test_any_beginning_is_mixed_as_promised(labels: np.ndarray, data: st.DataObject) -> None:
    kinds, sizes = np.unique(labels, return_counts=True)
    count = data.draw(st.integers(1, len(labels)))
    for order in (evenly(labels), proportionally(labels)):
        assert sorted(order) == list(range(len(labels)))
        for kind in kinds:
            of_kind = order[labels[order] == kind]
            assert (np.diff(of_kind) > 0).all()
    even = [int((labels[evenly(labels)[:count]] == kind).sum()) for kind in kinds]
    for taken, size in zip(even, sizes, strict=True):
        assert taken == size or taken >= max(even) - 1
    shared = [int((labels[proportionally(labels)[:count]] == kind).sum()) for kind in kinds]
    for taken, size in zip(shared, sizes, strict=True):
        # A label is off by half a row at most, and by what it must take up of the others.
        assert abs(taken - count * size / len(labels)) <= len(kinds) / 2
