"""What is seen while a policy plays, or random actions: for models that learn from observations.

Copies of a policy are calibrated and judged on it, autoencoders and the like learn from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    policy: Policy | None,
    environment: Environment,
    count: int,
    *,
    seed: int = 0,
    epsilon: float = 0.05,
    num_envs: int = 16,
    every: int = 4,
    state_parts: int | None = None,
    seen_as: Environment | None = None,
    as_trained: bool = False,
) -> Recording:
    """Let `policy` play under the protocol of evaluations, and keep every n-th observation.

    policy: None plays at random. epsilon: share of random actions, so that what it rarely sees is
    there as well. every: steps between two observations that are kept of an environment, as
    neighbours are alike. state_parts: how many of the recurrent state's parts are kept, the first
    ones; None keeps all. seen_as: the same world with other observations, such as frames of another
    size, which are kept instead: it is played beside, by the same actions from the same seed.
    as_trained: play in the environments as they are, not under that protocol.
    Raises ValueError for a count below 1 and for worlds that do not go alike, SpaceMismatchError
    where the policy does not fit.
    """
    if count < 1:
        raise ValueError(f"a recording needs at least one observation, got {count}")
    if not as_trained:
        environment = for_evaluation(environment)
        seen_as = None if seen_as is None else for_evaluation(seen_as)
    envs = make_envs(environment, num_envs)
    beside = None if seen_as is None else make_envs(seen_as, num_envs)
    # Streams of their own: drawn alike, the actions at low draws would all be of low numbers.
    exploration, actions_drawn = np.random.SeedSequence(seed).spawn(2)
    random = np.random.default_rng(exploration)
    seen: list[NDArray[Any]] = []
    states: list[tuple[NDArray[np.float32], ...]] = []
    was_training = policy is not None and policy.training
    try:
        if policy is not None:
            check_spaces(policy, envs.single_observation_space, envs.single_action_space)
            policy.eval()
        envs.action_space.seed(integer_seed(actions_drawn))
        observations, _ = envs.reset(seed=seed)
        kept = observations if beside is None else beside.reset(seed=seed)[0]
        state: State = None
        ended = np.zeros(num_envs, bool)
        step = 0
        while sum(map(len, seen)) < count:
            before = state
            chosen, state = _decide(policy, observations, state)
            if step % every == 0 and not ended.all():
                if before is None and state is not None:
                    before = tuple(torch.zeros_like(part) for part in state)
                seen.append(kept[~ended].copy())
                states.append(
                    tuple(part.cpu().numpy()[~ended] for part in (before or ())[:state_parts])
                )
            if policy is not None and ended.any():
                state = policy.forget(state, torch.from_numpy(ended).to(policy.device))
            explores = random.random(num_envs) < epsilon
            drawn = envs.action_space.sample()
            chosen = drawn if chosen is None else np.where(_as_mask(explores, drawn), drawn, chosen)
            observations, rewards, terminated, truncated, _ = envs.step(chosen)
            ended = terminated | truncated
            kept = observations
            if beside is not None:
                kept, others, *ends, _ = beside.step(chosen)
                if not np.array_equal(rewards, others) or (ends[0] | ends[1] != ended).any():
                    raise ValueError("what is seen and what is played do not go alike")
            step += 1
    finally:
        if policy is not None:
            policy.train(was_training)
        envs.close()
        if beside is not None:
            beside.close()
    order = random.permutation(sum(map(len, seen)))[:count]
    parts = tuple(np.concatenate(part)[order] for part in zip(*states, strict=True))
    return Recording(np.concatenate(seen)[order], parts, describe(seen_as or environment))


def _decide(
    policy: Policy | None, observations: NDArray[Any], state: State
) -> tuple[NDArray[Any] | None, State]:
    """What the policy does, and its next state; nothing without one."""
    if policy is None:
        return None, None
    with torch.inference_mode():
        tensor = torch.from_numpy(np.ascontiguousarray(observations)).to(policy.device)
        actions, state = policy.act(tensor, state)
    return actions.cpu().numpy(), state


def _as_mask(which: NDArray[np.bool_], actions: NDArray[Any]) -> NDArray[np.bool_]:
    """(num_envs,) with as many axes as `actions` (num_envs, ...)."""
    return which.reshape(-1, *(1,) * (actions.ndim - 1))
