import numpy as np

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
