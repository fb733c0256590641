"""Everything that can choose where to pick in one bin: a policy, a heuristic, the oracle.

All of them see the same observation and keep away from what is marked in it; only the oracle also
tries picks out in the bin itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit_agents.memory import State
from rlkit_agents.pick_policy import PickPolicy
from rlkit_agents.policy import Policy
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.heuristics import HEURISTICS, choose
from rlkit_envs.bin_picking.oracle import find_pick, view_of

if TYPE_CHECKING:
    from rlkit.autoencoder.encode_observation import ObservationCoder

AGENT, ORACLE = "agent", "oracle"
ORACLE_TRIES = 120
"""Pixels that the oracle tries out at most before it gives up on a bin's present state."""


@dataclass(frozen=True)
class Choice:
    """Where to pick. chances: (actions,) of success, where the picker tells them."""

    action: int
    chances: NDArray[np.float32] | None = None


class Picker(Protocol):
    """Chooses picks in one bin after the other. Can be pickled, for other processes."""

    def begin(self, seed: tuple[int, ...]) -> None:
        """A new episode begins; all that the picker draws at random follows from `seed`."""
        ...

    def choose(self, bin_: PickingBin) -> Choice:
        """What to do next; the bin stays as it is."""
        ...


class HeuristicPicker:
    """One of `HEURISTICS`, by name. Raises KeyError for another name."""

    def __init__(self, name: str) -> None:
        HEURISTICS[name]
        self.name = name
        self.begin((0,))

    def begin(self, seed: tuple[int, ...]) -> None:
        self._random = np.random.default_rng(seed)

    def choose(self, bin_: PickingBin) -> Choice:
        scores = HEURISTICS[self.name](view_of(bin_), self._random)
        return Choice(choose(scores, bin_.observation[-1] > 0, self._random))


class OraclePicker:
    """The oracle, which tries up to `most` pixels out before each pick."""

    def __init__(self, most: int = ORACLE_TRIES) -> None:
        self.most = most
        self.begin((0,))

    def begin(self, seed: tuple[int, ...]) -> None:
        self._random = np.random.default_rng(seed)

    def choose(self, bin_: PickingBin) -> Choice:
        return Choice(find_pick(bin_, self.most, self._random).action)


class PolicyPicker:
    """A policy, on the processor; of a `PickPolicy` that learnt chances, they are told too.

    coder: makes codes of observations, for a policy that takes those. One picture at a time, so
    that what it picks depends on nothing else that is being evaluated.
    """

    def __init__(
        self, policy: Policy, deterministic: bool = True, coder: ObservationCoder | None = None
    ) -> None:
        self.policy = policy.cpu().eval()
        self.coder = coder
        self.deterministic = deterministic
        self._state: State = None
        self._seed = 0

    def begin(self, seed: tuple[int, ...]) -> None:
        self._state = None
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0])

    def choose(self, bin_: PickingBin) -> Choice:
        seen = bin_.observation[None]
        observations = torch.from_numpy(seen if self.coder is None else self.coder.code(seen))
        chances = None
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed + bin_.attempts)
            if isinstance(self.policy, PickPolicy):
                actions, seen_chances = self.policy.decide(observations, self.deterministic)
                chances = seen_chances[0].numpy() if self.policy.discount == 0 else None
            else:
                actions, self._state = self.policy.act(
                    observations, self._state, self.deterministic
                )
        return Choice(int(actions[0]), chances)


def baselines() -> Mapping[str, Picker]:
    """All heuristics, and the oracle, by name."""
    pickers: dict[str, Picker] = {name: HeuristicPicker(name) for name in HEURISTICS}
    return {**pickers, ORACLE: OraclePicker()}
