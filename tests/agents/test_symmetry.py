"""Mirroring of observations and actions, against mirrors drawn by hand."""

import numpy as np
import pytest
import torch

from rlkit_agents.symmetry import Symmetry

FRAMES = torch.tensor([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]], dtype=torch.uint8)
"""(1, 2, 2, 2): one observation of two frames."""


@pytest.mark.parametrize(
    ("flip_rows", "flip_columns", "mirrored"),
    [
        (False, True, [[[2, 1], [4, 3]], [[6, 5], [8, 7]]]),
        (True, False, [[[3, 4], [1, 2]], [[7, 8], [5, 6]]]),
        (True, True, [[[4, 3], [2, 1]], [[8, 7], [6, 5]]]),
    ],
)
def test_frames_are_mirrored_one_by_one(flip_rows: bool, flip_columns: bool, mirrored: list):
    symmetry = Symmetry(flip_rows, flip_columns, actions=(0, 1))
    before = FRAMES.clone()
    assert symmetry.observations(FRAMES).tolist() == [mirrored]
    assert torch.equal(FRAMES, before)


def test_an_axis_off_the_middle_moves_the_picture():
    # The upper two of three rows change places; the lowest lies outside the mirror.
    frame = torch.tensor([[[[1, 2], [3, 4], [5, 6]]]], dtype=torch.uint8)
    up_down = Symmetry(flip_rows=True, flip_columns=False, actions=(1, 0), rows_down=-1)
    assert up_down.observations(frame).tolist() == [[[[3, 4], [1, 2], [5, 6]]]]
    assert torch.equal(up_down.observations(up_down.observations(frame)), frame)


def test_actions_change_places():
    symmetry = Symmetry(False, True, actions=(0, 2, 1, 3))
    actions = np.array([0, 1, 2, 3, 1])
    assert symmetry.mirrored_actions(actions).tolist() == [0, 2, 1, 3, 2]
    assert actions.tolist() == [0, 1, 2, 3, 1]


@pytest.mark.parametrize("actions", [(0, 0), (1, 2), (0, -1)])
def test_two_actions_cannot_become_one(actions: tuple[int, ...]):
    with pytest.raises(ValueError, match="one to one"):
        Symmetry(True, False, actions)


def test_a_mirror_in_a_mirror_shows_the_original():
    with pytest.raises(ValueError, match="twice"):
        Symmetry(True, False, actions=(1, 2, 0))


@pytest.mark.parametrize(
    ("shape", "num_actions", "complaint"),
    [
        ((6,), 2, "not \\(6,\\)"),
        ((4, 84, 84, 3), 2, "not \\(4, 84, 84, 3\\)"),
        ((4, 84, 84), 3, "maps 2 actions, the action space has 3"),
    ],
)
def test_a_symmetry_that_does_not_fit_is_refused(shape, num_actions: int, complaint: str):
    symmetry = Symmetry(False, True, actions=(1, 0))
    symmetry.check_fits((4, 84, 84), 2)
    with pytest.raises(ValueError, match=complaint):
        symmetry.check_fits(shape, num_actions)
