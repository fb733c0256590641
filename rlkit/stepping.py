"""Feeds any vector environment's steps to a learner, cut where a training can be resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from rlkit.seeds import integer_seed
from rlkit_agents.step import Step


@dataclass(frozen=True, slots=True)
class Episode:
    """A finished episode: the sum of its rewards, its steps, and what the environment counted."""

    episode_return: float
    length: int
    counts: dict[str, float]


class Stepper:
    """Steps a vector environment, so that a learner can compute between `send` and `recv`.

    The stream is cut after every `cut_every` batched steps: there an interrupted training can go
    on, and sees what an uninterrupted one sees, bit for bit. Environments that can save their
    state (`saves_state` in their metadata, `state()` and `set_state(state)`) step on from there as
    if nothing had been. With those that cannot, such as emulators, all running episodes are
    truncated (their last observation still has a value), and the environments start afresh from a
    seed that depends only on the cut's number. To the learner that looks like any truncation
    followed by a reset step.

    `envs` must use Gymnasium's NEXT_STEP autoreset (ValueError otherwise). `cut_every` of None
    never cuts.
    """

    def __init__(
        self, envs: VectorEnv, seeds: np.random.SeedSequence, cut_every: int | None = None
    ) -> None:
        mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if AutoresetMode(mode) is not AutoresetMode.NEXT_STEP:
            raise ValueError(f"{envs} resets by {mode}; rlkit steps NEXT_STEP environments")
        self.envs = envs
        self.num_envs = envs.num_envs
        self.finished: list[Episode] = []
        """Episodes that ended with the last step; those that a cut broke off are not among them."""
        self.info: dict[str, Any] = {}
        """What the environments told beside the last step; nothing where a cut started afresh."""
        self.cuts = 0
        """How often the stream was cut so far."""
        self._seeds = seeds
        self._cut_every = cut_every
        self._steps_since_cut = 0
        self._at_cut = False
        self._restarting = False
        self._cut_due = False
        self._saves_state = bool(envs.metadata.get("saves_state")) and hasattr(envs, "state")
        self._actions: np.ndarray | None = None
        self._overlaps = hasattr(envs, "send") and hasattr(envs, "recv")
        self._clear_episodes()

    def _clear_episodes(self) -> None:
        self._ended = np.zeros(self.num_envs, bool)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)

    def reset(self) -> np.ndarray:
        """Start all environments; returns (num_envs, *observation_shape)."""
        self._clear_episodes()
        self._steps_since_cut = 0
        self._cut_due = False
        self._at_cut = self._restarting = False
        seed = integer_seed(self._seeds, self.cuts)
        return self.envs.reset(seed=seed)[0]

    @property
    def at_cut(self) -> bool:
        """Whether the last step cut the stream: only here can a training be resumed exactly."""
        return self._at_cut

    def cut_after_this_step(self) -> None:
        """Cut the stream after the step that is sent next, whether or not a regular cut is due.

        Has no effect where that step is the one in which environments start afresh after a cut.
        """
        self._cut_due = True

    def send(self, actions: np.ndarray) -> None:
        """Begin a step with `actions` (num_envs, ...)."""
        self._actions = actions
        if self._overlaps and not self._restarting:
            self.envs.send(actions)  # pyright: ignore[reportAttributeAccessIssue]

    def recv(self) -> Step:
        """Finish the step that `send` began."""
        self._at_cut = False
        if self._restarting:
            return self._restart()
        outcome = self.envs.recv() if self._overlaps else self.envs.step(self._actions)  # pyright: ignore
        observations, rewards, terminated, truncated, info = outcome
        valid = ~self._ended
        self.info = info
        self._ended = terminated | truncated
        rewards = np.asarray(rewards, np.float32)
        self._record(rewards, valid, info)
        self._steps_since_cut += 1
        if self._cut_due or self._steps_since_cut == self._cut_every:
            self.cuts += 1
            self._at_cut = True
            self._cut_due, self._steps_since_cut = False, 0
            if not self._saves_state:
                self._restarting = True
                truncated = truncated | ~terminated
        return Step(observations, rewards, terminated, truncated, valid)

    def _restart(self) -> Step:
        observations = self.reset()
        self.finished, self.info = [], {}
        never = np.zeros(self.num_envs, bool)
        return Step(observations, np.zeros(self.num_envs, np.float32), never, never, never)

    def _record(self, rewards: np.ndarray, valid: np.ndarray, info: dict[str, Any]) -> None:
        self._returns += rewards
        self._lengths += valid
        counts = info.get("episode_counts", {})
        self.finished = [
            Episode(
                float(self._returns[env]),
                int(self._lengths[env]),
                {name: float(values[env]) for name, values in counts.items()},
            )
            for env in np.flatnonzero(self._ended)
        ]
        self._returns[self._ended] = 0
        self._lengths[self._ended] = 0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on after a cut."""
        if not self._saves_state:
            return {"cuts": self.cuts}
        return {
            "cuts": self.cuts,
            "environments": self.envs.state(),  # pyright: ignore[reportAttributeAccessIssue]
            "ended": self._ended,
            "returns": self._returns,
            "lengths": self._lengths,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the cut at which `state` was taken.

        Without a state of the environments in it, the next step resets them all. Raises KeyError or
        ValueError for a state of others.
        """
        self.cuts = int(state["cuts"])
        self._at_cut, self._cut_due, self._steps_since_cut = True, False, 0
        self._restarting = "environments" not in state
        if self._restarting:
            return
        if not self._saves_state:
            raise ValueError("it holds a state of environments, and these can take none")
        try:
            self.envs.set_state(state["environments"])  # pyright: ignore[reportAttributeAccessIssue]
        except (LookupError, TypeError) as error:
            raise ValueError(f"it holds a state of other environments: {error}") from error
        self._ended = np.array(state["ended"])
        self._returns = np.array(state["returns"])
        self._lengths = np.array(state["lengths"])
