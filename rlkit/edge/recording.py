"""What a policy sees while it plays: for calibration, fine-tuning and judging of its copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.edge.body import Body
from rlkit.environments import Environment, describe, for_evaluation, make_envs
from rlkit.evaluation import check_spaces
from rlkit.seeds import integer_seed
from rlkit_agents.memory import State
from rlkit_agents.policy import Policy


@dataclass(frozen=True)
class Recording:
    """Observations in a random order, each with the recurrent state that it followed on.

    observations: (count, *observation_shape), as the environment gave them. state: (count, units)
    float32 for each part of the policy's state, none without memory. environment: plain JSON data
    on where it was played (`rlkit.environments.describe`).
    """

    observations: NDArray[Any]
    state: tuple[NDArray[np.float32], ...]
    environment: dict[str, Any]

    def __len__(self) -> int:
        return len(self.observations)

    def __getitem__(self, which: slice | NDArray[np.int64]) -> Recording:
        """Some of them."""
        kept = tuple(part[which] for part in self.state)
        return Recording(self.observations[which], kept, self.environment)

    def batches(self, size: int = 256) -> Iterator[Recording]:
        """All of them in their order, `size` at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def inputs(self) -> tuple[Tensor, ...]:
        """What a `Body` takes: observations as floats, bytes scaled to [0, 1], and the state."""
        observations = torch.from_numpy(self.observations)
        scale = 1.0 / 255.0 if observations.dtype == torch.uint8 else 1.0
        return observations.float() * scale, *map(torch.from_numpy, self.state)


def record(
    policy: Policy,
    environment: Environment,
    count: int,
    *,
    seed: int = 0,
    epsilon: float = 0.05,
    num_envs: int = 16,
    every: int = 4,
    state_parts: int | None = None,
) -> Recording:
    """Let `policy` play under the protocol of evaluations, and keep every n-th observation.

    epsilon: share of random actions, so that what it rarely sees is there as well. every: steps
    between two observations that are kept of an environment, as neighbours are alike. state_parts:
    how many of the recurrent state's parts are kept, the first ones; None keeps all.
    Raises ValueError for a count below 1, SpaceMismatchError where the policy does not fit.
    """
    if count < 1:
        raise ValueError(f"a recording needs at least one observation, got {count}")
    environment = for_evaluation(environment)
    envs = make_envs(environment, num_envs)
    # Streams of their own: drawn alike, the actions at low draws would all be of low numbers.
    exploration, actions_drawn = np.random.SeedSequence(seed).spawn(2)
    random = np.random.default_rng(exploration)
    seen: list[NDArray[Any]] = []
    states: list[tuple[NDArray[np.float32], ...]] = []
    was_training = policy.training
    try:
        check_spaces(policy, envs.single_observation_space, envs.single_action_space)
        policy.eval()
        envs.action_space.seed(integer_seed(actions_drawn))
        observations, _ = envs.reset(seed=seed)
        state: State = None
        ended = np.zeros(num_envs, bool)
        step = 0
        while sum(map(len, seen)) < count:
            before = state
            with torch.inference_mode():
                tensor = torch.from_numpy(np.ascontiguousarray(observations)).to(policy.device)
                actions, state = policy.act(tensor, state)
            if step % every == 0 and not ended.all():
                if before is None and state is not None:
                    before = tuple(torch.zeros_like(part) for part in state)
                seen.append(observations[~ended].copy())
                states.append(
                    tuple(part.cpu().numpy()[~ended] for part in (before or ())[:state_parts])
                )
            if ended.any():
                state = policy.forget(state, torch.from_numpy(ended).to(policy.device))
            chosen = actions.cpu().numpy().copy()
            explores = random.random(num_envs) < epsilon
            chosen[explores] = envs.action_space.sample()[explores]
            observations, _, terminated, truncated, _ = envs.step(chosen)
            ended = terminated | truncated
            step += 1
    finally:
        policy.train(was_training)
        envs.close()
    order = random.permutation(sum(map(len, seen)))[:count]
    parts = tuple(np.concatenate(part)[order] for part in zip(*states, strict=True))
    return Recording(np.concatenate(seen)[order], parts, describe(environment))


def outputs_of(body: Body, recording: Recording) -> list[Tensor]:
    """Scores, and the parts of the next state, of all recorded observations: (count, any) each."""
    with torch.no_grad():
        parts = [body(*batch.inputs()) for batch in recording.batches()]
    return [torch.cat(part) for part in zip(*parts, strict=True)]
