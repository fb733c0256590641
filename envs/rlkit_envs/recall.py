"""A small test of memory: a cue is shown once, and asked for after a delay of unknown length.

A delayed match-to-sample task, as small as it can be, on which every policy without memory gets
exactly what guessing gets; the proof stands at `RecallEnvs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

StepResult: TypeAlias = tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.bool_],
    NDArray[np.bool_],
    dict[str, Any],
]

EPISODE_COUNTS: Mapping[str, str] = MappingProxyType(
    {"correct": "1 if the answer was right, else 0", "delay": "steps between cue and question"}
)
"""Name of each count -> its unit, per episode."""

_Colour: TypeAlias = tuple[int, int, int]
# Colours of a symbol's square, and of the frame around all of them.
_UNSEEN: _Colour = (70, 74, 82)
_CUE: _Colour = (255, 206, 84)
_RIGHT: _Colour = (88, 196, 112)
_WRONG: _Colour = (220, 80, 80)
_ASKED: _Colour = (255, 255, 255)


class RecallEnvs(VectorEnv):
    """`num_envs` copies of the task, stepped together.

    An episode shows one of `cues` symbols, then nothing for a number of steps drawn uniformly from
    `min_delay` to `max_delay`, then the question. The action taken on seeing the question must name
    the symbol: the reward is 1 if it does, else 0, and the episode terminates. All other actions do
    nothing and are paid nothing.

    Observations: (num_envs, cues + 1) float32: the symbol one-hot in the first step of an episode,
    a 1 at the end in the step of the question, else zeros, also in the final observation.
    Actions: (num_envs,) integers, the number of a symbol. Rewards: (num_envs,) float32.
    NEXT_STEP autoreset: the step after an end ignores its action, has reward 0, and shows the cue
    of a new episode.

    The expected return of every policy without memory is exactly 1 / cues. Cue and delay are drawn
    independently, blanks and questions always look alike, and actions change nothing before the
    end; so what such a policy sees when its answer counts, the question, is the same for every cue,
    and it names symbol c with a probability p(c) that does not depend on the cue. The cue is each
    symbol equally often, so the expected return is the sum of p(c) / cues over all c, which is
    1 / cues. Counting the steps does not help either. Who remembers the cue gets 1, the optimum.

    `info`, after a step, holds `episode_counts`: name -> (num_envs,) float64, meaningful where an
    episode ended in this step; `metadata["episode_counts"]` gives their units.
    """

    def __init__(
        self, num_envs: int = 1, *, cues: int = 4, min_delay: int = 2, max_delay: int = 8
    ) -> None:
        """cues: symbols, 2 or more.

        min_delay, max_delay: steps between cue and question, 0 or more.
        Raises TypeError for what is no whole number, ValueError for one out of range.
        """
        for name, value, least in (
            ("num_envs", num_envs, 1),
            ("cues", cues, 2),
            ("min_delay", min_delay, 0),
            ("max_delay", max_delay, 0),
        ):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be a whole number, not {value!r}")
            if value < least:
                raise ValueError(f"{name} must be {least} or more, not {value}")
        if min_delay > max_delay:
            raise ValueError(f"min_delay {min_delay} must not be above max_delay {max_delay}")
        self.num_envs = num_envs
        self.cues = cues
        self.min_delay = min_delay
        self.max_delay = max_delay
        self.single_observation_space = Box(0, 1, (cues + 1,), np.float32)
        self.single_action_space = Discrete(cues)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {
            "autoreset_mode": AutoresetMode.NEXT_STEP,
            "episode_counts": dict(EPISODE_COUNTS),
        }
        self._cue = np.zeros(num_envs, np.int64)
        self._delay = np.zeros(num_envs, np.int64)
        self._until_question = np.zeros(num_envs, np.int64)
        self._ended: NDArray[np.bool_] | None = None  # by the step before; None until reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a new episode everywhere.

        seed: 0 or more decides all cues and delays from here on; None goes on with the random
        numbers as they are. options: there are none; ValueError if any are given.
        """
        if options:
            raise ValueError(f"RecallEnvs takes no reset options, got {options!r}")
        super().reset(seed=seed)
        observations = np.zeros(self.observation_space.shape or (), np.float32)
        self._begin(np.ones(self.num_envs, bool), observations)
        self._ended = np.zeros(self.num_envs, bool)
        return observations, {}

    def step(self, actions: NDArray[np.integer]) -> StepResult:
        """Answer, where the question was asked, and go on by a step everywhere.

        Raises ResetNeeded before the first reset, ValueError for actions of another shape or type,
        or that name no symbol.
        """
        if self._ended is None:
            raise ResetNeeded("call reset() before the first step")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(
                f"actions must be integers of shape ({self.num_envs},), "
                f"not {actions.dtype} of shape {actions.shape}"
            )
        if actions.min() < 0 or actions.max() >= self.cues:
            wrong = actions[(actions < 0) | (actions >= self.cues)][0]
            raise ValueError(f"actions must be from 0 to {self.cues - 1}, not {wrong}")
        restarts = self._ended
        answered = self._until_question == 0
        correct = answered & (actions == self._cue)
        counts = {"correct": correct.astype(np.float64), "delay": self._delay.astype(np.float64)}
        self._until_question -= 1
        observations = np.zeros(self.observation_space.shape or (), np.float32)
        observations[:, -1] = self._until_question == 0
        self._begin(restarts, observations)
        self._ended = answered
        truncated = np.zeros(self.num_envs, bool)
        info = {"episode_counts": counts}
        return observations, correct.astype(np.float32), answered.copy(), truncated, info

    def _begin(self, starts: NDArray[np.bool_], observations: NDArray[np.float32]) -> None:
        """Start an episode where `starts` (num_envs,) says so, and show its cue."""
        (which,) = np.nonzero(starts)
        self._cue[which] = self.np_random.integers(self.cues, size=len(which))
        self._delay[which] = self.np_random.integers(
            self.min_delay, self.max_delay, size=len(which), endpoint=True
        )
        self._until_question[which] = self._delay[which] + 1
        observations[which, self._cue[which]] = 1


class RecallEnv(gymnasium.Env):
    """The task for one agent: a view of `RecallEnvs` with one copy, which `render()` draws.

    Arguments, spaces, rewards and ends are those of `RecallEnvs`; so are the episodes of a seed.
    `info["episode_counts"]`, after a step, maps each name to a number.

    The picture (64, 64 * cues, 3) uint8 has a square for every symbol: grey, yellow while it is
    shown as the cue, and after the answer green or red where the symbol named is right or wrong. A
    white frame stands around them while the question is asked.
    """

    metadata = {  # noqa: RUF012 (Gymnasium reads it from the class)
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "episode_counts": dict(EPISODE_COUNTS),
    }

    def __init__(
        self,
        *,
        cues: int = 4,
        min_delay: int = 2,
        max_delay: int = 8,
        render_mode: str | None = None,
    ) -> None:
        """render_mode: "rgb_array", or None for no pictures. Raises as `RecallEnvs` does."""
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, not {render_mode!r}")
        self._envs = RecallEnvs(1, cues=cues, min_delay=min_delay, max_delay=max_delay)
        self.render_mode = render_mode
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space
        self._observation = np.zeros(cues + 1, np.float32)
        self._answer: tuple[int, bool] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a new episode; see `RecallEnvs.reset`."""
        super().reset(seed=seed)
        self._envs.np_random = self.np_random
        observations, info = self._envs.reset(options=options)
        self._observation, self._answer = observations[0], None
        return self._observation, info

    def step(
        self, action: int | np.integer
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Go on by a step. Raises ResetNeeded before a reset and after the end of an episode."""
        if self._answer is not None:
            raise ResetNeeded("the episode is over: call reset()")
        observations, rewards, terminated, _, info = self._envs.step(np.array([action]))
        self._observation = observations[0]
        if terminated[0]:
            self._answer = int(action), bool(rewards[0])
        counts = {name: float(values[0]) for name, values in info["episode_counts"].items()}
        return (
            self._observation,
            float(rewards[0]),
            bool(terminated[0]),
            False,
            {"episode_counts": counts},
        )

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The picture of the present step; None without a render mode."""
        if self.render_mode is None:
            return None
        shown = [_CUE if shown else _UNSEEN for shown in self._observation[:-1]]
        if self._answer is not None:
            named, right = self._answer
            shown[named] = _RIGHT if right else _WRONG
        picture = np.zeros((64, 64 * len(shown), 3), np.uint8)
        if self._observation[-1]:
            picture[:] = _ASKED
            picture[4:-4, 4:-4] = 0
        for symbol, colour in enumerate(shown):
            picture[12:-12, 64 * symbol + 12 : 64 * symbol + 52] = colour
        return picture
