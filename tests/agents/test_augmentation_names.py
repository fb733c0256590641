"""Augmentations by name, the share of a batch that one may change, and pixels that move along."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlkit_agents.augmentation import (
    KINDS,
    Augmenter,
    CappedShare,
    augmentation_named,
    check_keeps_actions,
    check_moves_pixels,
)
from rlkit_agents.augmentation_looks import Blur, GaussianNoise
from rlkit_agents.augmentation_moves import (
    Move,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomShift,
    RandomTurn,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blackened(batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator) -> Tensor:
    return torch.zeros_like(batch)


def test_names_give_kinds_and_numbers() -> None:
    assert augmentation_named("shift:3") == RandomShift(3)
    assert augmentation_named("shift") == RandomShift(4)
    assert augmentation_named("crop:0.7") == RandomCrop(0.7)
    assert augmentation_named("rotation:180") == RandomRotation(180.0)
    assert augmentation_named("noise:0.5") == GaussianNoise(0.5)
    assert augmentation_named("blur:2") == Blur(2.0)
    assert augmentation_named("flip") == RandomFlip()


@pytest.mark.parametrize("word", KINDS)
def test_every_kind_changes_pictures_of_bytes_by_its_name_alone(word: str) -> None:
    batch = torch.randint(0, 256, (16, 2, 14, 14), generator=seeded(), dtype=torch.uint8)
    assert not torch.equal(augmentation_named(word)(batch, random=seeded(1)), batch)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shft:4", "called 'shft'; did you mean shift"),
        ("", "no augmentation is called ''"),
        ("shift:1.5", "shift takes a whole number, pixels, at most; got 'shift:1.5'"),
        ("noise:much", "noise takes a number"),
        ("noise:", "noise takes a number"),
        ("flip:1", "flip takes no number"),
        ("shift:0", "shift:0: pixels must be at least 1, got 0"),
        ("blur:inf", r"pixels must be in \(0, 100\], got inf"),
        ("blur:1e9", r"pixels must be in \(0, 100\]"),
        ("noise:inf", "deviation must be positive and finite, got inf"),
    ],
)
def test_names_that_say_nothing_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augmentation_named(name)


MOVES: list[Move] = [
    RandomShift(3),
    RandomCrop(0.8),
    RandomFlip(rows=True),
    RandomTurn(),
    RandomRotation(180.0),
]


@pytest.mark.parametrize("move", MOVES, ids=lambda each: type(each).__name__)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_a_pixel_is_where_its_move_took_it(move: Move, seed: int) -> None:
    size = 17
    drawn = move.draw(6, seeded(seed))
    places = torch.randint(5, 12, (6, 2), generator=seeded(seed + 1))
    lit = torch.zeros(6, 1, size, size)
    # A hill is still found where moving it falls between pixels.
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    for i, (row, column) in enumerate(places.tolist()):
        lit[i, 0] = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4)
    moved = move.apply(lit, drawn)
    before = places.clone()
    got = move.moved_places(places, drawn, (size, size))
    assert got.dtype == torch.int64
    assert torch.equal(places, before)
    for i, (row, column) in enumerate(got.tolist()):
        top = divmod(int(moved[i, 0].argmax()), size)
        assert abs(top[0] - row) <= 1
        assert abs(top[1] - column) <= 1
        assert float(moved[i, 0, row, column]) > 0.88 * float(moved[i].max())


def test_exact_moves_take_a_pixel_exactly() -> None:
    picture = torch.arange(35.0).reshape(1, 1, 5, 7)
    place = torch.tensor([[3, 2]])
    square = torch.arange(25.0).reshape(1, 1, 5, 5)
    for move, drawn, seen in (
        (RandomShift(2), torch.tensor([[1, -2]]), picture),
        (RandomFlip(True, True), torch.tensor([[True, False]]), picture),
        (RandomFlip(True, True), torch.tensor([[False, True]]), picture),
        (RandomTurn(), torch.tensor([1]), square),
        (RandomTurn(), torch.tensor([2]), square),
        (RandomTurn(), torch.tensor([3]), square),
    ):
        row, column = move.moved_places(place, drawn, (5, seen.shape[-1]))[0].tolist()
        assert move.apply(seen, drawn)[0, 0, row, column] == seen[0, 0, 3, 2]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.floats(0.01, 1.0), st.integers(0, 99))
def test_a_share_is_never_exceeded(count: int, share: float, seed: int) -> None:
    batch = torch.ones(count, 3)
    capped = CappedShare(blackened, share)
    got = capped(batch, random=seeded(seed))
    changed = int((got == 0).all(1).sum())
    assert share * count - 1 < changed <= share * count
    assert int((got != 0).any(1).sum()) == count - changed
    assert torch.equal(batch, torch.ones(count, 3))
    assert capped.last_share == (changed / count if count else 0)


def test_a_share_of_rows_takes_their_labels_along() -> None:
    seen: list[tuple[Tensor, Tensor | None]] = []

    def watching(batch: Tensor, labels: Tensor | None = None, *, random: Any) -> Tensor:
        seen.append((batch, labels))
        return -batch

    rows, labels = torch.arange(1, 21).float()[:, None], torch.arange(1, 21)
    got = CappedShare(watching, 0.3)(rows, labels, random=seeded())
    ((batch, told),) = seen
    assert told is not None
    assert torch.equal(batch[:, 0].long(), told)
    assert set((-got[got < 0]).long().tolist()) == set(told.tolist())
    assert len(told) == 6
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match=rf"\(0, 1\], got {share}"):
            CappedShare(watching, share)


def test_an_augmenter_draws_from_its_seed_and_goes_on() -> None:
    seed = np.random.SeedSequence(4, spawn_key=(1,))
    batch = torch.randint(0, 256, (8, 1, 9, 9), generator=seeded(), dtype=torch.uint8)
    first, same = (Augmenter(("shift:2", "noise:9"), seed) for _ in range(2))
    assert seed.n_children_spawned == 0
    once, twice = first(batch), first(batch)
    assert not torch.equal(once, twice)
    assert torch.equal(same(batch), once)
    state = first.state()
    expected = first(batch)
    same.go_on(state)
    assert torch.equal(same(batch), expected)
    assert not torch.equal(Augmenter(("shift:2",), np.random.SeedSequence(5))(batch), once)


def test_nothing_to_do_draws_nothing() -> None:
    augmenter = Augmenter((), np.random.SeedSequence(0))
    before = augmenter.state()
    batch = torch.zeros(3, 4)
    assert augmenter(batch) is batch
    assert augmenter.learnt(batch) is batch
    assert torch.equal(augmenter.state(), before)
    assert augmenter.metrics() == {}


def test_what_was_learnt_comes_first_and_is_capped_and_told() -> None:
    augmenter = Augmenter(("brightness:9",), np.random.SeedSequence(0))
    augmenter.put_first(blackened, 0.5)
    batch = torch.full((9, 1, 4, 4), 128, dtype=torch.uint8)
    got = augmenter(batch)
    assert int((got.flatten(1).amax(1) <= 9).sum()) == 4
    assert augmenter.metrics() == {"augmented_share": 4 / 9}
    alone = augmenter.learnt(batch)
    assert sorted(alone[:, 0, 0, 0].tolist()) == [0] * 4 + [128] * 5


def test_observations_that_do_not_fit_are_refused_early() -> None:
    augmenter = Augmenter(("shift:2",), np.random.SeedSequence(0))
    before = augmenter.state()
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        augmenter.check_fits((3,), np.dtype(np.float32))
    augmenter.check_fits((4, 9, 9), np.dtype(np.uint8))
    assert torch.equal(augmenter.state(), before)


def test_mirrors_are_for_symmetries() -> None:
    check_keeps_actions(("shift:4", "rotation:5", "noise:2"))
    for name in ("flip", "turn"):
        with pytest.raises(ValueError, match=f"'{name}' changes what actions do: name symmetries"):
            check_keeps_actions(("shift:4", name))


def test_a_tried_pixel_stays_in_the_window_and_its_worth_the_same() -> None:
    check_moves_pixels(("shift:20", "flip", "turn", "noise:1"), 3.5, 23.5, upright=True)
    check_moves_pixels(("shift:20", "noise:1"), 3.5, 23.5, upright=False)
    check_moves_pixels(("rotation:180", "shift:13"), 3.5, 23.5, upright=True)
    for names in (("shift:21",), ("shift:10", "shift:11"), ("rotation:5", "shift:14")):
        with pytest.raises(ValueError, match=f"{' '.join(names)}' can move .* out of the window"):
            check_moves_pixels(names, 3.5, 23.5, upright=True)
    with pytest.raises(ValueError, match="not their heights"):
        check_moves_pixels(("crop:0.9",), 3.5, 23.5, upright=True)
    for name in ("rotation:3", "flip", "turn"):
        with pytest.raises(ValueError, match="tilted tool"):
            check_moves_pixels((name,), 3.5, 23.5, upright=False)
