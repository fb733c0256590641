"""What a replay draws, transitions or sequences: all alike, or by their priority.

A sampler knows slots (positions in the ring), and which of them can be sampled at present; what
lies there is left to `replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rlkit_agents.sum_tree import SumTree

MINIMUM_PRIORITY = 1e-6  # keeps a transition without error in play (epsilon of Schaul et al. 2016)

Slots = npt.NDArray[np.int64]


class Sampler(Protocol):
    """Draws slots, with replacement, from those that were admitted and not retired since."""

    def __len__(self) -> int:
        """Number of slots that can be sampled."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the sampler takes."""
        ...

    def admit(self, slots: Slots) -> None:
        """Bring slots into play that are not in it, (any,) without repetition."""
        ...

    def retire(self, slots: Slots) -> None:
        """Take slots out of play, (any,) without repetition; those not in play are passed over."""
        ...

    def draw(
        self, batch_size: int, importance_exponent: float, generator: np.random.Generator
    ) -> tuple[Slots, npt.NDArray[np.float32]]:
        """Slots (batch_size,) and importance weights (batch_size,), if any slot is in play."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Copies of what `load_state_dict` needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], sampleable: npt.NDArray[np.bool_]) -> None:
        """Take over a state, where the slots in play are `sampleable` (num_slots,).

        Raises ValueError where the two contradict each other.
        """
        ...


class UniformSampler:
    """Every slot in play is equally likely, by rejection of the others."""

    def __init__(self, num_slots: int) -> None:
        self._sampleable = np.zeros(num_slots, bool)
        self._count = 0
        self._used = 0  # slots beyond were never in play

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._sampleable.nbytes

    def admit(self, slots: Slots) -> None:
        self._sampleable[slots] = True
        self._count += len(slots)
        self._used = max(self._used, int(slots.max(initial=-1)) + 1)

    def retire(self, slots: Slots) -> None:
        self._count -= int(self._sampleable[slots].sum())
        self._sampleable[slots] = False

    def draw(
        self, batch_size: int, importance_exponent: float, generator: np.random.Generator
    ) -> tuple[Slots, npt.NDArray[np.float32]]:
        weights = np.ones(batch_size, np.float32)
        if 2 * self._count < self._used:  # rejection would waste most of its draws
            return generator.choice(np.flatnonzero(self._sampleable), batch_size), weights
        drawn = np.empty(0, np.int64)
        while len(drawn) < batch_size:
            tried = generator.integers(self._used, size=batch_size + 16)
            drawn = np.concatenate([drawn, tried[self._sampleable[tried]]])
        return drawn[:batch_size], weights

    def state_dict(self) -> dict[str, Any]:
        return {"used": self._used}

    def load_state_dict(self, state: Mapping[str, Any], sampleable: npt.NDArray[np.bool_]) -> None:
        used = int(state["used"])
        if not 0 <= used <= len(sampleable) or sampleable[used:].any():
            raise ValueError(f"the saved rows do not fit a replay that used {used} slots")
        self._sampleable[:] = sampleable
        self._count = int(sampleable.sum())
        self._used = used


class PrioritisedSampler:
    """P(i) proportional to priority ** exponent (Schaul et al. 2016, eq. 1, proportional variant).

    Drawn stratified, one from each of `batch_size` equal shares of the total mass. A slot comes
    into play with the highest priority seen so far, at first 1.
    """

    def __init__(self, num_slots: int, exponent: float) -> None:
        self._tree = SumTree(num_slots)  # mass 0: not in play
        self._exponent = exponent
        self._max_priority = 1.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._tree.nbytes

    def admit(self, slots: Slots) -> None:
        self._tree.set(slots, self._max_priority**self._exponent)
        self._count += len(slots)

    def retire(self, slots: Slots) -> None:
        slots = slots[self._tree.get(slots) > 0]
        self._tree.set(slots, 0.0)
        self._count -= len(slots)

    def draw(
        self, batch_size: int, importance_exponent: float, generator: np.random.Generator
    ) -> tuple[Slots, npt.NDArray[np.float32]]:
        shares = np.arange(batch_size) + generator.random(batch_size)
        slots = self._tree.find(shares * (self._tree.total / batch_size))
        # w = (size * P) ** -beta over its maximum in the batch: size and total mass cancel out.
        masses = self._tree.get(slots)
        return slots, ((masses.min() / masses) ** importance_exponent).astype(np.float32)

    def update(self, slots: Slots, priorities: npt.NDArray[np.float64]) -> None:
        """Give slots (any,) new priorities; those not in play are passed over.

        Of a repeated slot the last priority stays. Raises ValueError for priorities that are
        negative or not finite.
        """
        wrong = ~(np.isfinite(priorities) & (priorities >= 0))
        if wrong.any():
            raise ValueError(
                f"priorities must be finite and not negative, not {priorities[wrong][0]}"
            )
        in_play = self._tree.get(slots) > 0
        slots, priorities = slots[in_play], np.maximum(priorities[in_play], MINIMUM_PRIORITY)
        self._max_priority = float(priorities.max(initial=self._max_priority))
        self._tree.set(slots, priorities**self._exponent)

    def state_dict(self) -> dict[str, Any]:
        return {"max_priority": self._max_priority, "masses": self._tree.leaves.copy()}

    def load_state_dict(self, state: Mapping[str, Any], sampleable: npt.NDArray[np.bool_]) -> None:
        masses = np.asarray(state["masses"], np.float64)
        if masses.shape != sampleable.shape or ((masses > 0) != sampleable).any():
            raise ValueError("the saved priorities do not fit the saved rows")
        self._tree.set_all(masses)
        self._max_priority = float(state["max_priority"])
        self._count = int(sampleable.sum())


def make_sampler(num_slots: int, priority_exponent: float) -> Sampler:
    """A sampler of `num_slots` slots, uniform where the exponent is 0."""
    if priority_exponent > 0:
        return PrioritisedSampler(num_slots, priority_exponent)
    return UniformSampler(num_slots)


def change_priorities(
    sampler: Sampler,
    num_slots: int,
    present: range,
    indices: npt.ArrayLike,
    priorities: npt.ArrayLike,
) -> None:
    """Give what was sampled a priority, commonly the absolute error of its value.

    present: absolute indices that are still there, each in the slot `index % num_slots`.
    indices: (batch,), absolute; those before `present`, overwritten since, are passed over, and of
        a repeated one the last priority stays.
    priorities: (batch,), finite and not negative.
    Raises ValueError for other priorities, other shapes, and a sampler that is uniform.
    """
    if not isinstance(sampler, PrioritisedSampler):
        raise ValueError("this replay samples uniformly (priority_exponent is 0)")
    indices = np.asarray(indices, np.int64)
    priorities = np.asarray(priorities, np.float64)
    if indices.ndim != 1 or priorities.shape != indices.shape:
        raise ValueError(
            f"indices and priorities must have one shape (batch,), "
            f"not {indices.shape} and {priorities.shape}"
        )
    never = (indices < 0) | (indices >= present.stop)
    if never.any():
        raise ValueError(f"there has never been a transition {indices[never][0]}")
    # What was overwritten since must not pass its priority on to what took its place.
    there = indices >= present.start
    sampler.update(indices[there] % num_slots, priorities[there])
