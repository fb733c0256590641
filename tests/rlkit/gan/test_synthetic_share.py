"""Generated rows come among real ones only past the gate, and never above their share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlkit.gan.memorising import Memorising
from rlkit.gan.metrics import Measured, Quality, Spread
from rlkit.gan.quality_gate import GateError, Verdict
from rlkit.gan.synthetic_share import SyntheticShare
from rlkit_agents.augmentation import Chain
from rlkit_agents.augmentation_moves import RandomShift


def equal(value: float) -> Measured:
    """Generated rows that score as real ones do."""
    return Measured(Spread(value, value, value), Spread(value, value, value))


GOOD = Verdict(
    Quality(
        rows=500,
        splits=1,
        features=8,
        pretext="classes",
        fid=equal(0.1),
        kid=equal(0.0),
        precision=equal(0.95),
        recall=equal(0.95),
        density=equal(1.0),
        coverage=equal(0.95),
        two_sample_accuracy=equal(0.5),
        least_class_ratio=equal(0.9),
        conditional_accuracy=equal(0.9),
        judge_skill=0.8,
        memorising=Memorising(copied=0.0, copied_floor=0.0, z=0.0),
    )
)
UNLABELLED = replace(GOOD, quality=replace(GOOD.quality, conditional_accuracy=None))
BAD = replace(
    GOOD,
    quality=replace(
        GOOD.quality, coverage=replace(GOOD.quality.coverage, generated=Spread(0.1, 0.1, 0.1))
    ),
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def real(labels: Tensor) -> Tensor:
    """Rows (count, 2) that carry their label and 0, for real."""
    return torch.stack([labels.float(), torch.zeros(len(labels))], 1)


def generated(labels: Tensor) -> Tensor:
    """Rows (count, 2) that carry their label and a number of their own from 1 on."""
    return torch.stack([labels.float(), torch.arange(len(labels)) + 1.0], 1)


def test_nothing_is_used_before_the_gate_has_passed() -> None:
    share = SyntheticShare(0.5)
    labels = torch.arange(10) % 2
    batch = real(labels)
    assert share(batch, labels, random=seeded()) is batch
    with pytest.raises(GateError, match=r"never generated: coverage is 0\.1, below 0\.76"):
        share.admit(generated(labels), labels, BAD)
    assert share(batch, labels, random=seeded()) is batch
    filled = share.oversampled(batch, labels, random=seeded())
    assert filled.rows is batch
    assert not filled.synthetic.any()
    assert share.metrics() == {
        "synthetic/share": 0.0,
        "synthetic/rows": 0.0,
        "synthetic/real_rows": 30.0,
        "synthetic/admitted": 0.0,
        "synthetic/refused": 1.0,
    }
    assert share.refusal is BAD
    assert share.verdict is None


def test_a_refusal_leaves_what_was_admitted_before() -> None:
    share = SyntheticShare(0.5)
    labels = torch.zeros(4, dtype=torch.long)
    share.admit(generated(labels), labels, GOOD)
    with pytest.raises(GateError):
        share.admit(generated(labels) + 100, labels, BAD)
    mixed = share(real(labels), labels, random=seeded())
    assert 0 < mixed[:, 1].max() < 100
    assert share.verdict is GOOD


def test_labels_that_nobody_judged_are_refused() -> None:
    share = SyntheticShare()
    labels = torch.zeros(4, dtype=torch.long)
    with pytest.raises(GateError, match="nobody judged their labels"):
        share.admit(generated(labels), labels, UNLABELLED)
    share.admit(generated(labels), None, UNLABELLED)
    assert share.metrics()["synthetic/admitted"] == 4


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_cap_holds_in_every_batch_and_labels_stay_true(data: st.DataObject) -> None:
    cap = data.draw(st.floats(0, 0.99))
    share = SyntheticShare(cap)
    pool = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=12)))
    share.admit(generated(pool), pool, GOOD)
    random = seeded(data.draw(st.integers(0, 99)))
    synthetic = total = 0
    for _ in range(data.draw(st.integers(1, 6))):
        labels = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=20)))
        batch = real(labels)
        mixed = share(batch, labels, random=random)
        made = mixed[:, 1] > 0
        assert int(made.sum()) / len(batch) <= cap
        assert torch.equal(mixed[:, 0], labels.float())
        assert not batch[:, 1].any()
        synthetic, total = synthetic + int(made.sum()), total + len(batch)
    told = share.metrics()
    assert told["synthetic/rows"] == synthetic
    assert told["synthetic/real_rows"] == total - synthetic
    assert told["synthetic/share"] == synthetic / total <= cap


def test_the_cap_is_used_and_every_generated_row_comes_up() -> None:
    share = SyntheticShare(0.3)
    pool = torch.tensor([1, 0, 1, 1])
    share.admit(generated(pool), pool, GOOD)
    labels = torch.arange(100) % 2
    random = seeded()
    seen = torch.cat([share(real(labels), labels, random=random)[:, 1] for _ in range(20)])
    assert int((seen > 0).sum()) == 20 * 30
    assert set(seen.tolist()) == {0, 1, 2, 3, 4}
    # The only generated zero stands for all zeros; three ones share the other half.
    assert float((seen == 2).sum()) == pytest.approx(300, abs=45)
    assert float((seen == 1).sum()) == pytest.approx(100, abs=35)


def test_rows_without_labels_are_mixed_too() -> None:
    share = SyntheticShare(0.5)
    share.admit(torch.ones(3, 2), None, UNLABELLED)
    mixed = share(torch.zeros(8, 2), random=seeded())
    assert int(mixed[:, 0].sum()) == 4


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_oversampling_keeps_the_cap_and_never_overshoots(data: st.DataObject) -> None:
    cap = data.draw(st.floats(0, 0.95))
    share = SyntheticShare(cap)
    pool = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=12)))
    share.admit(generated(pool), pool, GOOD)
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=40)))
    filled = share.oversampled(real(labels), labels, random=seeded(data.draw(st.integers(0, 99))))
    assert torch.equal(filled.rows[: len(labels)], real(labels))
    assert torch.equal(filled.rows[:, 0], filled.labels.float())
    assert torch.equal(filled.rows[:, 1] > 0, filled.synthetic)
    assert int(filled.synthetic.sum()) / len(filled.rows) <= cap
    before, after = (torch.bincount(each, minlength=5) for each in (labels, filled.labels))
    assert bool((after <= before.max()).all())
    assert bool((after >= before).all())


def test_rare_classes_grow_towards_the_largest() -> None:
    labels = torch.tensor([0] * 60 + [1] * 20 + [2] * 40)
    pool = torch.tensor([1] * 100 + [2] * 5)
    generous, tight = SyntheticShare(0.9), SyntheticShare(0.2)
    for share in (generous, tight):
        share.admit(generated(pool), pool, GOOD)
    filled = generous.oversampled(real(labels), labels, random=seeded())
    assert torch.bincount(filled.labels).tolist() == [60, 60, 60]
    made = filled.rows[filled.synthetic]
    ones = made[made[:, 0] == 1, 1]
    assert len(set(ones.tolist())) == 40  # a hundred were generated, so none recurs
    twos = torch.unique(made[made[:, 0] == 2, 1], return_counts=True)[1]
    assert twos.tolist() == [4, 4, 4, 4, 4]
    # 120 real rows leave room for 30 of the 60 that are missing: half of 40 and half of 20.
    filled = tight.oversampled(real(labels), labels, random=seeded())
    assert torch.bincount(filled.labels).tolist() == [60, 40, 50]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
@example(24, 15)  # 15 of 22 rows that are missing: 15 / 22 * 22 is less than 15
def test_rounding_neither_lifts_nor_lowers_the_cap(kept: int, made: int) -> None:
    share = SyntheticShare(made / (kept + made))  # as 0.29, of which 100 times is 28.999...
    pool = torch.ones(1, dtype=torch.long)
    share.admit(generated(pool), pool, GOOD)
    labels = torch.ones(kept + made, dtype=torch.long)
    mixed = share(real(labels), labels, random=seeded())
    assert int((mixed[:, 1] > 0).sum()) == made
    if kept > made + 1:
        labels = torch.tensor([0] * (kept - 1) + [1])
        filled = share.oversampled(real(labels), labels, random=seeded())
        assert int(filled.synthetic.sum()) == made


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1"):
        SyntheticShare(1)
    share = SyntheticShare(0.5)
    labels = torch.zeros(4, dtype=torch.long)
    with pytest.raises(ValueError, match="no generated rows"):
        share.admit(torch.zeros(0, 2), None, GOOD)
    with pytest.raises(ValueError, match=r"4 rows need as many labels, got \(3,\)"):
        share.admit(generated(labels), labels[:3], GOOD)
    share.admit(generated(labels), labels, GOOD)
    with pytest.raises(ValueError, match=r"float32 of shape \(2,\), not torch.uint8"):
        share(torch.zeros(4, 2, dtype=torch.uint8), labels, random=seeded())
    with pytest.raises(ValueError, match="need theirs"):
        share(real(labels), random=seeded())
    share.admit(generated(labels), None, GOOD)
    with pytest.raises(ValueError, match="without labels cannot stand"):
        share.oversampled(real(labels), labels, random=seeded())


def test_generated_rows_go_through_a_chain_like_any_augmentation() -> None:
    share = SyntheticShare(0.5)
    labels = torch.arange(4)
    made = torch.full((4, 1, 3, 3), 200, dtype=torch.uint8)
    share.admit(made, labels, GOOD)
    batch = torch.zeros(4, 1, 3, 3, dtype=torch.uint8)
    mixed = Chain((share, RandomShift(1)))(batch, labels, random=seeded())
    assert sorted(mixed[:, 0, 0, 0].tolist()) == [0, 0, 200, 200]
