"""Rows are changed in their columns' own units, and about their means."""

import numpy as np
import pytest
import torch

from rlkit.gan.row_jitter import RowJitter

ROWS = torch.from_numpy(
    np.random.default_rng(0).normal([5.0, -200.0, 7.0], [1.0, 50.0, 0.0], (4000, 3))
).float()


def test_noise_has_the_unit_of_each_column() -> None:
    jitter = RowJitter.of(ROWS, noise=0.5, scaling=0.0)
    added = jitter(ROWS, random=torch.Generator().manual_seed(0)) - ROWS
    assert torch.allclose(added.std(0), torch.tensor([0.5, 25.0, 0.0]), rtol=0.05)
    assert torch.allclose(added.mean(0), torch.zeros(3), atol=1.5)
    # Numbers of a row change each by itself.
    assert abs(torch.corrcoef(added[:, :2].T)[0, 1]) < 0.05


def test_a_row_is_stretched_as_a_whole_about_the_mean() -> None:
    jitter = RowJitter.of(ROWS, noise=0.0, scaling=0.2)
    deviations = ROWS[:, :2] - jitter.mean[:2]
    changed = jitter(ROWS, random=torch.Generator().manual_seed(0))
    factors = (changed[:, :2] - jitter.mean[:2]) / deviations
    clear = deviations.abs().min(1).values > 0.3  # small differences leave rounding errors
    assert torch.allclose(factors[clear, 0], factors[clear, 1], atol=1e-2)
    assert factors[clear, 0].std().item() == pytest.approx(0.2, rel=0.1)
    assert factors[clear, 0].mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.allclose(changed[:, 2], ROWS[:, 2])


def test_the_same_random_state_gives_the_same_rows() -> None:
    jitter = RowJitter.of(ROWS)
    first, again, other = (
        jitter(ROWS[:9], random=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_does_not_fit_is_refused() -> None:
    random = torch.Generator()
    with pytest.raises(ValueError, match="noise must be finite and not negative, got -1"):
        RowJitter.of(ROWS, noise=-1.0)
    with pytest.raises(ValueError, match="scaling must be finite and not negative, got inf"):
        RowJitter.of(ROWS, scaling=float("inf"))
    with pytest.raises(ValueError, match="rows of 3 floats are changed"):
        RowJitter.of(ROWS)(ROWS[:, :2], random=random)
    with pytest.raises(ValueError, match=r"not torch.uint8 of shape \(3,\)"):
        RowJitter.of(ROWS)(ROWS.byte(), random=random)
