"""What a GAN refuses to learn from, what it warns of, and how data is brought to scale."""

import warnings

import numpy as np
import pytest
import torch

from rlkit.gan.training_data import (
    DiscreteDataWarning,
    Examples,
    check_discreteness,
    check_variety,
    checked_examples,
    checked_labels,
    checked_pictures,
    scaling_of,
)

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 12, 10)).astype(np.uint8)


def test_pictures_come_with_and_without_channels() -> None:
    assert checked_examples(PICTURES).shape == (5, 1, 12, 10)
    coloured = np.repeat(PICTURES[:, None], 3, 1)
    assert checked_examples(torch.from_numpy(coloured)).shape == (5, 3, 12, 10)
    assert checked_examples(PICTURES).dtype == torch.uint8


def test_what_is_learnt_is_a_copy() -> None:
    pictures, rows = PICTURES.copy(), np.eye(3, dtype=np.float32)
    checked = checked_examples(pictures), checked_examples(rows)
    pictures[:], rows[:] = 0, 7.0
    assert int(checked[0].max()) > 0
    assert float(checked[1].max()) == 1.0


def test_rows_of_any_numbers_become_float32() -> None:
    for dtype in (np.uint8, np.int64, np.float64, np.bool_):
        assert checked_examples(np.ones((2, 3), dtype)).dtype == torch.float32
    assert checked_examples([[1, 2], [3, 4]]).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], "one size"),
        (np.array([np.zeros(2), np.zeros(3)], object), "one size"),
        (PICTURES.astype(np.float32), "bytes"),
        (PICTURES[:1], "2 pictures are needed, got 1"),
        (PICTURES[:, :0], r"\(5, 0, 10\)"),
        (np.zeros(7, np.float32), r"\(7,\)"),
        (np.zeros((1, 3), np.float32), "two examples"),
        (np.array([[0.0, 1.0], [2.0, np.nan]]), "column 1 holds nan in row 1"),
        (np.array([[0.0, 1e300], [2.0, 3.0]]), "column 1"),
        (np.array([["a"], ["b"]]), "numbers"),
    ],
)
def test_examples_that_do_not_fit_are_refused(examples: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_examples(examples)


def test_labels_become_places_among_their_classes() -> None:
    classes, places = checked_labels([7, 2, 2, 7, 30, 30.0], 6)
    assert classes.tolist() == [2, 7, 30]
    assert places.tolist() == [1, 0, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 1], "one example cannot be learnt: 1;"),
        ([0, 0, -1], "count from 0, got -1"),
        ([0, 0], "3 labels, one an example"),
        ([0.5, 0, 0], "whole numbers"),
        (["a", "b", "b"], "whole numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_labels(labels, 3)


def test_bits_and_one_hot_codes_are_refused_with_advice() -> None:
    bits = torch.randint(0, 2, (50, 4)).float()
    bits[:, 3] = 5.0  # a constant column makes them no less discrete
    with pytest.raises(ValueError, match="resample the rows instead, or learn them by a DBN"):
        check_discreteness(bits)
    with pytest.raises(ValueError, match="one-hot"):
        check_discreteness(torch.eye(40) * 3.0)


def test_some_discrete_columns_are_warned_of() -> None:
    torch.manual_seed(0)
    rows = torch.randn(40, 4)
    rows[:, 1] = torch.arange(40) % 8
    rows[:, 3] = 1.5
    with pytest.warns(DiscreteDataWarning, match="at most 8 values: 1; a generator's"):
        check_discreteness(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_discreteness(rows[:31])  # too few rows to tell
        rows[:, 1] = torch.arange(40) % 9
        check_discreteness(rows)


def test_every_byte_survives_the_scale() -> None:
    pictures = torch.arange(256).to(torch.uint8).reshape(4, 1, 8, 8)
    scaling = scaling_of(pictures)
    scaled = scaling.scaled(pictures)
    assert (float(scaled.min()), float(scaled.max())) == (-1.0, 1.0)
    assert torch.equal(scaling.unscaled(scaled), pictures)


def test_columns_are_standardised_and_constant_ones_come_back_exactly() -> None:
    rows = np.random.default_rng(0).normal([5.0, 1e4, 7.3], [2.0, 30.0, 0.0], (200, 3))
    data = checked_examples(rows)
    scaling = scaling_of(data)
    scaled = scaling.scaled(data)
    assert scaled[:, :2].mean(0).tolist() == pytest.approx([0.0, 0.0], abs=1e-4)
    assert scaled[:, :2].std(0, correction=0).tolist() == pytest.approx([1.0, 1.0], rel=1e-4)
    assert torch.allclose(scaling.unscaled(scaled), data, rtol=1e-5)
    anything = scaling.unscaled(torch.randn(5, 3))
    assert anything[:, 2].tolist() == [float(np.float32(7.3))] * 5


def test_examples_that_are_all_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="all examples are alike"):
        scaling_of(torch.ones(4, 3))


def test_batches_are_scaled_with_what_they_are_given() -> None:
    pictures = checked_pictures(PICTURES)
    device = torch.device("cpu")
    examples = Examples(pictures, 255 - pictures, scaling_of(pictures), device)
    real, condition = examples.batch(torch.tensor([3, 1]))
    assert condition is not None
    assert torch.allclose(real, -condition, atol=1e-6)
    labelled = Examples(pictures, torch.arange(5), scaling_of(pictures), device)
    assert torch.equal(labelled.batch(torch.tensor([3, 1]))[1], torch.tensor([3, 1]))  # pyright: ignore[reportArgumentType]
    assert len(labelled) == 5


def test_a_class_of_copies_is_refused_by_name() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 3))
    rows[[0, 3, 6]] = rows[0]
    with pytest.raises(ValueError, match="all 3 examples of class 70 are alike"):
        check_variety(torch.from_numpy(rows), *checked_labels([70, 1, 1] * 3, 9))


def test_two_rows_of_real_values_are_no_bits() -> None:
    check_discreteness(torch.tensor([[0.3, 1.7], [2.2, -0.4]]))
