import numpy as np
import pytest

from rlkit_envs.data_center.selected_rows import SelectedRows


def test_selected_rows_go_out_and_come_back() -> None:
    where = np.array([[True, False], [False, True]])
    rows = SelectedRows(where)
    assert rows.any
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(rows.taken(values), [1.0, 4.0])
    np.testing.assert_array_equal(rows.taken(7.0), [7.0, 7.0])
    np.testing.assert_array_equal(rows.taken(np.array([5.0, 6.0])), [5.0, 6.0])
    put = rows.replaced(values, np.array([-1.0, -4.0]))
    np.testing.assert_array_equal(put, [[-1.0, 2.0], [3.0, -4.0]])
    np.testing.assert_array_equal(values, [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(
        rows.replaced(0.0, np.array([1.0, 2.0])), [[1.0, 0.0], [0.0, 2.0]]
    )
    single = SelectedRows(np.array(True))
    np.testing.assert_array_equal(single.taken(3.0), [3.0])
    assert single.replaced(3.0, np.array([4.0])).shape == ()
    assert not SelectedRows(np.zeros(3, bool)).any


@pytest.mark.parametrize("where", [np.True_, True])
def test_numbers_of_a_site_alone_stay_numbers(where: bool) -> None:
    alone = SelectedRows(where)
    assert alone.any
    assert alone.taken(np.float64(3.0)) == 3.0
    assert np.ndim(alone.taken(3.0)) == 0
    assert alone.replaced(3.0, np.float64(4.0)) == 4.0  # pyright: ignore[reportArgumentType]
    assert not SelectedRows(np.False_).any
