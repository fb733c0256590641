"""Games seen through a corrupted camera, to measure how robust a policy is.

A corruption is an augmentation by its name (`rlkit_agents.augmentation.KINDS`), such as
`palette:60`, applied to each new frame. What is drawn holds through an episode, as paint or light
do; noise, lost numbers and specks are drawn for each frame, and stay in every stack that holds it.
The families in `HELD_OUT` are for measuring alone, and no recipe that comes with rlkit trains on
them: the idea of ImageNet-C (Hendrycks & Dietterich 2019, "Benchmarking neural network robustness
to common corruptions and perturbations").
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray
from torch import Tensor

from rlkit.environments import (
    EncodedEnvironment,
    Environment,
    encoded,
    environment_id,
    make_envs,
)
from rlkit_agents.augmentation import augmentation_named
from rlkit_envs.atari import AtariProtocol

HELD_OUT = ("palette:60", "specks:0.05", "blur:1", "shadow:0.6", "inversion:1")
"""One of each family that no augmented recipe trains on.

Among the curves of shades of a palette are the straight ones, which changes of brightness and
contrast are, and on these `boxing-augmented` trains: it is the nearest of them to what was seen.
"""

_STREAM = 0xC0
"""Sets the corruptions apart from whatever else a seed decides."""


class CorruptionError(ValueError):
    """A corruption that is none, or of what cannot be corrupted."""


@runtime_checkable
class _Lasting(Protocol):
    """An augmentation that draws apart from applying what was drawn."""

    def draw(self, count: int, random: torch.Generator) -> Tensor: ...

    def apply(self, batch: Tensor, drawn: Tensor, /) -> Tensor: ...


class CorruptFrames(VectorWrapper):
    """A batch of environments whose frames are corrupted, each by random numbers of its own.

    Observations are stacks (frames, height, width) of bytes, oldest first, that move on by one
    frame a step, under NEXT_STEP autoreset; the zeros before an episode's first frame stay zeros.
    A seed given to `reset` decides the corruptions, whatever the policy does, as far as episodes
    last. Raises CorruptionError for a name that is none, and for other observations.
    """

    def __init__(self, envs: VectorEnv, name: str) -> None:
        super().__init__(envs)
        space = envs.single_observation_space
        shape = space.shape or ()
        if len(shape) != 3 or space.dtype != np.uint8:
            raise CorruptionError(
                f"corruptions are for stacks of grey frames in bytes, not {space.dtype} of {shape}"
            )
        blank = torch.zeros((1, 1, *shape[1:]), dtype=torch.uint8)
        try:
            self._corruption = augmentation_named(name)
            self._corruption(blank, random=torch.Generator())  # says what does not fit
        except ValueError as error:
            raise CorruptionError(str(error)) from error
        self._generators = [torch.Generator() for _ in range(envs.num_envs)]
        self._seed(0)
        self._seen = np.zeros((envs.num_envs, *shape), np.uint8)
        self._drawn: Tensor | None = None
        self._ended = np.zeros(envs.num_envs, bool)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """As the environments' own; without a seed, corruptions go on as they are."""
        observations, info = super().reset(seed=seed, options=options)
        if seed is not None:
            self._seed(seed)
        begins = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self._ended = np.zeros(self.num_envs, bool) if begins.all() else self._ended & ~begins
        self._begin(begins)
        self._see(observations, begins)
        return self._seen.copy(), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """As the environments' own."""
        observations, rewards, terminated, truncated, info = super().step(actions)
        self._begin(self._ended)
        self._see(observations, np.ones(self.num_envs, bool))
        self._ended = terminated | truncated
        return self._seen.copy(), rewards, terminated, truncated, info

    def _seed(self, seed: Any) -> None:
        children = np.random.SeedSequence(seed, spawn_key=(_STREAM,)).spawn(len(self._generators))
        for generator, child in zip(self._generators, children, strict=True):
            generator.manual_seed(int(child.generate_state(1)[0]))

    def _begin(self, begins: NDArray[np.bool_]) -> None:
        """Episodes begin there: forget what was seen, and draw what lasts."""
        self._seen[begins] = 0
        if not isinstance(self._corruption, _Lasting):
            return
        for env in np.flatnonzero(begins):
            drawn = self._corruption.draw(1, self._generators[env])
            if self._drawn is None:
                self._drawn = drawn.repeat(self.num_envs, *[1] * (drawn.ndim - 1))
            self._drawn[env] = drawn[0]

    def _see(self, observations: NDArray[np.uint8], moves_on: NDArray[np.bool_]) -> None:
        """Take in the newest frames where the stacks moved on by one."""
        newest = torch.from_numpy(np.ascontiguousarray(observations[moves_on, -1:]))
        envs = np.flatnonzero(moves_on)
        if isinstance(self._corruption, _Lasting):
            assert self._drawn is not None
            corrupted = self._corruption.apply(newest, self._drawn[torch.from_numpy(envs)])
        else:
            corrupted = torch.cat(
                [
                    self._corruption(frame[None], random=self._generators[env])
                    for frame, env in zip(newest, envs, strict=True)
                ]
            )
        before = self._seen[moves_on, 1:]
        self._seen[moves_on] = np.concatenate([before, corrupted.numpy()], 1)


def make_corrupted_envs(
    environment: Environment, corruption: str, num_envs: int, threads: int = 0
) -> VectorEnv:
    """As `make_envs`, with frames corrupted; where an autoencoder codes them, it sees these.

    Raises CorruptionError for one that is none, and for what is no Atari game seen in grey.
    """
    plain = environment.environment if isinstance(environment, EncodedEnvironment) else environment
    if not isinstance(plain, AtariProtocol) or plain.observation != "frames":
        raise CorruptionError(
            f"corruptions are for the frames of Atari games, not for {environment_id(environment)}"
        )
    envs = make_envs(plain, num_envs, threads)
    try:
        corrupted = CorruptFrames(envs, corruption)
        if isinstance(environment, EncodedEnvironment):
            return encoded(corrupted, environment)
        return corrupted
    except ValueError:
        envs.close()
        raise
