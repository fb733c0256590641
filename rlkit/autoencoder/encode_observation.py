"""Environments whose observations are codes: an agent then learns on a few numbers, not pictures.

`EncodeObservation` wraps one environment, `EncodeObservations` a batch of them. Codes come as
floats, or as bytes, of which a replay holds hundreds of times as many as of pictures. The last few
codes can be stacked, as frames are: a code each of single frames, made once, costs a quarter of
coding stacks of four. Marks, a last channel of zeros and ones, can stay exact, a bit each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from rlkit.autoencoder.autoencoder import Autoencoder
from rlkit_agents.precision import Precision


class ObservationCoder:
    """Codes batches of observations, and knows the space of codes.

    space: of the observations. frame_stack, as_bytes, precision: see `EncodeObservation`. marks:
    whether the last channel holds marks, 0 or 1, which the autoencoder does not know; behind each
    code, in bytes, they then stand eight in a byte, as `numpy.packbits` packs them.
    Raises ValueError for an autoencoder of observations of another shape or dtype.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        space: gym.Space,
        *,
        frame_stack: int | None = None,
        as_bytes: bool = False,
        precision: Precision = "auto",
        marks: bool = False,
    ) -> None:
        coded = autoencoder.space
        shape: tuple[int, ...] = space.shape or ()
        dtype = space.dtype
        if marks and (len(shape) != 3 or shape[0] < 2):
            raise ValueError(f"marks are the last of some channels, and observations are {shape}")
        told = (*(length - 1 for length in shape[:1]), *shape[1:]) if marks else shape
        if not autoencoder.network.codes(told, dtype):
            seen = f"less their marks, are {told} of {dtype}" if marks else f"are in {space}"
            raise ValueError(
                f"this autoencoder codes observations in {coded}, but those of the "
                f"environment{',' * marks} {seen}"
            )
        if marks and (frame_stack is not None or not as_bytes):
            raise ValueError("marks stand behind a single code in bytes: neither floats nor stacks")
        if frame_stack is not None and frame_stack < 1:
            raise ValueError(f"frame_stack must be at least 1, got {frame_stack}")
        self._encode = autoencoder.encode_bytes if as_bytes else autoencoder.transform
        self._precision: Precision = precision
        self.frame_stack = frame_stack
        self.marks = marks
        self.latents = latents = autoencoder.network.config.latents
        if marks:
            shape = (latents + -(-math.prod(shape[1:]) // 8),)
        else:
            shape = (latents,) if frame_stack is None else (frame_stack, 1, latents)
        if as_bytes:
            self.space = gym.spaces.Box(0, 255, shape, np.uint8)
        else:
            self.space = gym.spaces.Box(-np.inf, np.inf, shape, np.float32)

    def code(self, observations: NDArray[Any]) -> NDArray[Any]:
        """(count, *shape) -> (count, latents), or (count, latents + bytes of marks)."""
        if not self.marks:
            return self._encode(observations, precision=self._precision)
        codes = self._encode(observations[:, :-1], precision=self._precision)
        marks = np.packbits(observations[:, -1].reshape(len(codes), -1) > 0, axis=1)
        return np.concatenate((codes, marks), 1)


class EncodeObservation(gym.ObservationWrapper):
    """One environment, whose observations an autoencoder codes.

    Observations are (latents,), or with `frame_stack` (frame_stack, 1, latents): the last codes,
    oldest first, zeros where an episode has not had as many yet, as ale-py stacks frames. Their
    dtype is float32, or uint8 with `as_bytes`. precision: of the encoder's arithmetic. marks: keep
    the last channel, zeros and ones, in bits behind the code, (latents + pixels / 8,).
    Raises ValueError for an autoencoder of another space.
    """

    def __init__(
        self,
        env: gym.Env,
        autoencoder: Autoencoder,
        *,
        frame_stack: int | None = None,
        as_bytes: bool = False,
        precision: Precision = "auto",
        marks: bool = False,
    ) -> None:
        super().__init__(env)
        self._coder = ObservationCoder(
            autoencoder,
            env.observation_space,
            frame_stack=frame_stack,
            as_bytes=as_bytes,
            precision=precision,
            marks=marks,
        )
        self.observation_space = self._coder.space
        self._stack = np.zeros(self._coder.space.shape, self._coder.space.dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        self._stack[:] = 0
        return super().reset(seed=seed, options=options)

    def observation(self, observation: NDArray[Any]) -> NDArray[Any]:
        code = self._coder.code(np.asarray(observation)[None])[0]
        if self._coder.frame_stack is None:
            return code
        self._stack = np.concatenate((self._stack[1:], code[None, None]))
        return self._stack.copy()


class EncodeObservations(VectorWrapper):
    """A batch of environments, whose observations an autoencoder codes all at once.

    As `EncodeObservation`, with the environments as first axis; both spaces say what comes, the
    one of a single environment and the batched one. Where `envs` splits a step into `send` and
    `recv`, so does this. Final observations in `info["final_obs"]` are coded as well.
    Raises ValueError for an autoencoder of another space, and with `frame_stack` for environments
    that do not reset in a step of their own (Gymnasium's NEXT_STEP).
    """

    def __init__(
        self,
        envs: VectorEnv,
        autoencoder: Autoencoder,
        *,
        frame_stack: int | None = None,
        as_bytes: bool = False,
        precision: Precision = "auto",
        marks: bool = False,
    ) -> None:
        super().__init__(envs)
        single = envs.single_observation_space
        self._coder = ObservationCoder(
            autoencoder,
            single,
            frame_stack=frame_stack,
            as_bytes=as_bytes,
            precision=precision,
            marks=marks,
        )
        mode = AutoresetMode(envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        if frame_stack is not None and mode is not AutoresetMode.NEXT_STEP:
            raise ValueError(f"codes are stacked where resets take a step (NEXT_STEP), not {mode}")
        self.single_observation_space = self._coder.space
        self.observation_space = gym.vector.utils.batch_space(self._coder.space, envs.num_envs)
        self._splits_steps = hasattr(envs, "send") and hasattr(envs, "recv")
        self._actions: Any = None
        self._ended = np.zeros(envs.num_envs, bool)
        self._stack = np.zeros((envs.num_envs, *self._coder.space.shape), self._coder.space.dtype)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """As `envs`; with `{"reset_mask": mask}` codes go on where no episode starts."""
        starts = np.ones(self.num_envs, bool)
        if options is not None and "reset_mask" in options:
            starts = np.asarray(options["reset_mask"])
        observations, info = self.env.reset(seed=seed, options=options)
        unchanged = self._stack[~starts].copy()
        self._ended[starts] = False
        self._stack[starts] = 0
        codes = self._coded(observations)
        if self._coder.frame_stack is not None:  # elsewhere the last observation is shown again
            codes[~starts] = self._stack[~starts] = unchanged
        return codes, info

    def send(self, actions: Any) -> None:
        """Begin a step with `actions`."""
        self._actions = actions
        envs: Any = self.env
        if self._splits_steps:
            envs.send(actions)

    def recv(self) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Finish the step that `send` began."""
        envs: Any = self.env
        outcome = envs.recv() if self._splits_steps else envs.step(self._actions)
        observations, rewards, terminated, truncated, info = outcome
        # A step after an end resets: what is seen then begins an episode.
        self._stack[self._ended] = 0
        codes = self._coded(observations)
        self._ended = terminated | truncated
        if "final_obs" in info:
            info = {**info, "final_obs": self._coded_finals(info["final_obs"])}
        return codes, rewards, terminated, truncated, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """`send`, then `recv`."""
        self.send(actions)
        return self.recv()

    def state(self) -> dict[str, Any]:
        """What `set_state` takes, where the environments can save their state."""
        envs: Any = self.env
        return {
            "environments": envs.state(),
            "ended": self._ended.copy(),
            "stack": self._stack.copy(),
        }

    def set_state(self, state: Mapping[str, Any]) -> NDArray[Any]:
        """Go on from there; gives the codes that belong to it."""
        envs: Any = self.env
        observations = envs.set_state(state["environments"])
        self._ended, self._stack = np.array(state["ended"]), np.array(state["stack"])
        if self._coder.frame_stack is None:
            return self._coder.code(observations)
        return self._stack.copy()

    def _coded(self, observations: NDArray[Any]) -> NDArray[Any]:
        codes = self._coder.code(observations)
        if self._coder.frame_stack is None:
            return codes
        self._stack = np.concatenate((self._stack[:, 1:], codes[:, None, None]), 1)
        return self._stack.copy()

    def _coded_finals(self, finals: NDArray[Any]) -> NDArray[Any]:
        """An array of objects, None where no episode ended."""
        coded = finals.copy()
        for index, final in enumerate(finals):
            if final is not None:
                coded[index] = self._coder.code(np.asarray(final)[None])[0]
        return coded
