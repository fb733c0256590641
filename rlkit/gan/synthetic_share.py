"""Mixes generated rows among real ones: only such as passed the gate, and never too large a share.

Too much of what is generated teaches a learner the generator's mistakes, so a cap holds in every
batch, and what was mixed is counted for the log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rlkit.gan.quality_gate import GateError, Verdict


@dataclass(frozen=True)
class Oversampled:
    """Real rows, and generated ones of the classes that are rare among them."""

    rows: Tensor
    """(count, *shape), the real ones first."""
    labels: Tensor
    """(count,) integers."""
    synthetic: Tensor
    """(count,) bool, what was generated."""


class SyntheticShare:
    """Generated rows for learners, as an `Augmentation` and for filling up rare classes.

    Until rows have been admitted, it changes nothing.
    """

    def __init__(self, max_share: float = 0.25) -> None:
        """max_share: of generated rows among all rows handed out, at most, in [0, 1).

        Raises ValueError for other shares.
        """
        if not 0 <= max_share < 1:
            raise ValueError(f"max_share must be in [0, 1), got {max_share}")
        self.max_share = max_share
        """Of generated rows in every batch, at most."""
        self.verdict: Verdict | None = None
        """On the rows in use; None before any were admitted."""
        self.refusal: Verdict | None = None
        """On the rows that were refused last; None where none were."""
        self.real_rows = 0
        """Handed out so far."""
        self.synthetic_rows = 0
        """Handed out so far."""
        self.refused = 0
        """Offers turned down so far."""
        self._rows: Tensor | None = None
        self._labels: Tensor | None = None

    def admit(self, rows: Tensor, labels: Tensor | None, verdict: Verdict) -> None:
        """Use these generated rows from now on, in place of any before them.

        rows: (count, *shape). labels: (count,) integers, or None. verdict: on rows of the same
        generator. Raises GateError, and goes on as before, where it is not in favour, or where
        there are labels and nobody judged these; ValueError for no rows, or labels that do not fit.
        """
        if labels is not None and labels.shape != (len(rows),):
            raise ValueError(f"{len(rows)} rows need as many labels, got {tuple(labels.shape)}")
        if not len(rows):
            raise ValueError("there are no generated rows to admit")
        reasons = list(verdict.reasons)
        if labels is not None and not verdict.labels_judged:
            reasons.append("nobody judged their labels: measure with `fake_labels`")
        if reasons:
            self.refused += 1
            self.refusal = verdict
            raise GateError(f"generated rows are not used: {'; '.join(reasons)}")
        self.verdict = verdict
        if labels is None:
            self._rows, self._labels = rows, None
        else:
            # Rows of one class lie together, so that one can be drawn by its place among them.
            self._labels, order = torch.sort(labels, stable=True)
            self._rows = rows[order]

    def __call__(
        self, batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator
    ) -> Tensor:
        """As `Augmentation`: some rows are replaced by generated ones with the same labels.

        As many as the cap allows are chosen at random, and stay where nothing was generated for
        their label. Raises ValueError for rows unlike the generated ones, and where only one of
        both has labels.
        """
        allowed = _most_of(len(batch), self.max_share) if len(batch) else 0
        if self._rows is None or not allowed:
            self.real_rows += len(batch)
            return batch
        self._check(batch, labels)
        device = random.device
        chosen = torch.randperm(len(batch), generator=random, device=device)[:allowed]
        drawn = torch.rand(allowed, generator=random, device=device, dtype=torch.float64)
        if labels is None or self._labels is None:
            places = (drawn * len(self._rows)).long()
        else:
            wanted = labels.to(device)[chosen].contiguous()
            known = self._labels.to(device)
            first = torch.searchsorted(known, wanted)
            count = torch.searchsorted(known, wanted, right=True) - first
            chosen, places = chosen[count > 0], (first + (drawn * count).long())[count > 0]
        mixed = batch.clone()
        generated = self._rows[places.to(self._rows.device)]
        mixed[chosen.to(batch.device)] = generated.to(batch.device)
        self.synthetic_rows += len(chosen)
        self.real_rows += len(batch) - len(chosen)
        return mixed

    def oversampled(self, rows: Tensor, labels: Tensor, *, random: torch.Generator) -> Oversampled:
        """Real rows and generated ones, so many that rare classes grow towards the largest.

        rows: (count, *shape); labels: (count,) integers. Where the cap allows fewer than all
        missing rows, every class gets the same share of what it lacks. Rows recur only where fewer
        were generated than are wanted. Raises ValueError for rows unlike the generated ones, or
        generated ones without labels.
        """
        mask = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        if self._rows is None:
            self.real_rows += len(rows)
            return Oversampled(rows, labels, mask)
        self._check(rows, labels)
        assert self._labels is not None
        known, counts = torch.unique(labels, return_counts=True)
        lacking = {
            label: int(counts.max()) - count
            for label, count in zip(known.tolist(), counts.tolist(), strict=True)
            if bool((self._labels == label).any())
        }
        total = sum(lacking.values())
        allowed = min(total, _most_beside(len(rows), self.max_share))
        places = [
            _drawn(torch.nonzero(self._labels == label)[:, 0], allowed * lack // total, random)
            for label, lack in lacking.items()
            if lack
        ]
        chosen = torch.cat(places) if places else torch.zeros(0, dtype=torch.long)
        chosen = chosen.to(self._rows.device)
        self.real_rows += len(rows)
        self.synthetic_rows += len(chosen)
        return Oversampled(
            torch.cat([rows, self._rows[chosen].to(rows.device)]),
            torch.cat([labels, self._labels[chosen].to(labels)]),
            torch.cat([mask, mask.new_ones(len(chosen))]),
        )

    def metrics(self) -> dict[str, float]:
        """For the log, by name: counts so far and the share of generated rows."""
        handed_out = self.real_rows + self.synthetic_rows
        return {
            "synthetic/share": self.synthetic_rows / handed_out if handed_out else 0.0,
            "synthetic/rows": float(self.synthetic_rows),
            "synthetic/real_rows": float(self.real_rows),
            "synthetic/admitted": 0.0 if self._rows is None else float(len(self._rows)),
            "synthetic/refused": float(self.refused),
        }

    def _check(self, batch: Tensor, labels: Tensor | None) -> None:
        assert self._rows is not None
        if batch.shape[1:] != self._rows.shape[1:] or batch.dtype != self._rows.dtype:
            raise ValueError(
                f"generated rows are {self._rows.dtype} of shape {tuple(self._rows.shape[1:])},"
                f" not {batch.dtype} of shape {tuple(batch.shape[1:])}"
            )
        if labels is None and self._labels is not None:
            raise ValueError("generated rows have labels, so the rows they replace need theirs")
        if labels is not None:
            if self._labels is None:
                raise ValueError("generated rows without labels cannot stand for rows with labels")
            if labels.shape != (len(batch),):
                raise ValueError(
                    f"{len(batch)} rows need as many labels, got {tuple(labels.shape)}"
                )


def _most_of(rows: int, share: float) -> int:
    """The most of so many rows that are no larger a share of them."""
    most = math.floor(share * rows) + 1  # rounding may have made the product too small by one
    while most and most / rows > share:
        most -= 1
    return most


def _most_beside(real: int, share: float) -> int:
    """The most generated rows beside so many real ones that they are no larger a share of all."""
    most = math.floor(share * real / (1 - share)) + 1
    while most and most / (real + most) > share:
        most -= 1
    return most


def _drawn(places: Tensor, count: int, random: torch.Generator) -> Tensor:
    """So many of the places at random, none twice before all were drawn once."""
    rounds = math.ceil(count / len(places))
    drawn = [
        places[
            torch.randperm(len(places), generator=random, device=random.device).to(places.device)
        ]
        for _ in range(rounds)
    ]
    return torch.cat([*drawn, places[:0]])[:count]
