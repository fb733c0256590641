"""The eight ways of turning and mirroring a picture, and means over them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rlkit_agents.turns import WAYS, mean_over_turns, turned, turned_back, turned_places


def test_pictures_are_turned_in_eight_different_ways():
    picture = torch.arange(64.0).reshape(8, 8)
    ways = [turned(picture, way) for way in range(WAYS)]
    assert len({tuple(each.flatten().tolist()) for each in ways}) == 8
    assert torch.equal(ways[0], picture)
    for each in ways:  # neighbours stay neighbours
        row, column = (each == 27).nonzero()[0].tolist()
        beside = {(0, 1), (1, 0), (0, -1), (-1, 0)}
        assert {float(each[row + down, column + right]) for down, right in beside} == {
            *(26.0, 28.0, 19.0, 35.0)
        }


@pytest.mark.parametrize("way", range(WAYS))
def test_a_picture_is_turned_back(way: int):
    pictures = torch.randn(2, 3, 5, 5)
    assert torch.equal(turned_back(turned(pictures, way), way), pictures)


@pytest.mark.parametrize("side", [8, 11])
def test_a_pixel_is_followed_through_every_turn(side: int):
    picture = torch.arange(2.0 * side * side).reshape(2, side, side)
    places = torch.tensor([[0, 0], [1, 5], [side // 2, side // 2], [side - 1, 2]])
    for way in range(WAYS):
        rows, columns = turned_places(places, side, way).T
        expected = picture[:, places[:, 0], places[:, 1]]
        assert torch.equal(turned(picture, way)[:, rows, columns], expected)


def test_what_is_the_same_seen_from_anywhere_is_its_own_mean():
    pictures = torch.randn(2, 1, 6, 6)
    torch.testing.assert_close(mean_over_turns(torch.square, pictures), pictures.square())


def test_the_mean_of_what_leans_one_way_leans_no_way():
    """Maps of each picture moved one pixel to the right: on average to all four sides."""

    def moved(pictures: Tensor) -> Tensor:
        return pictures.roll(1, -1)

    dot = torch.zeros(2, 1, 7, 7)
    dot[0, 0, 3, 2] = dot[1, 0, 1, 1] = 1.0
    mean = mean_over_turns(moved, dot)
    assert mean.shape == dot.shape
    for picture, (row, column) in enumerate([(3, 2), (1, 1)]):
        around = [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
        assert [float(mean[picture, 0, r, c]) for r, c in around] == [0.25] * 4
        assert mean[picture].sum() == 1.0
