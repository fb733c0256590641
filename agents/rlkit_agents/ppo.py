"""Proximal policy optimisation (Schulman et al. 2017), and A2C (Mnih et al. 2016) as its special
case of one epoch without clipping, here `a2c()`.

With generalised advantages (Schulman et al. 2016), memory, discrete and continuous actions.

Departures from the papers. Learning happens while the environments step: the first action of a
rollout and its value are those of the policy before the update; PPO's ratio accounts for it.
Truncated episodes are bootstrapped from the value of their last observation. Advantages may be
standardised in each minibatch, and gradients are clipped, as in OpenAI's baselines.
Departures from Stable-Baselines3: minibatches are nearly equal in size, none is a small remainder;
reset steps are left out of them; A2C weighs its loss by PPO's ratio, which is 1 but for that first
action; value clipping is that of the baselines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.algorithm import check_finite
from rlkit_agents.memory import State
from rlkit_agents.policy_losses import (
    approximate_kl,
    clipped_surrogate_loss,
    clipped_value_loss,
    explained_variance,
    standardised,
)
from rlkit_agents.ppo_config import PPOConfig, a2c, atari
from rlkit_agents.returns import generalised_advantages
from rlkit_agents.rollout import Rollout
from rlkit_agents.step import Step

__all__ = ["PPO", "PPOConfig", "a2c", "atari"]

MINIBATCH_METRICS = (
    "loss",
    "policy_loss",
    "value_loss",
    "entropy",
    "clip_fraction",
    "approximate_kl",
    "gradient_norm",
)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What was decided about the observations at hand, each (num_envs, ...)."""

    observations: np.ndarray
    actions: np.ndarray
    log_probs: np.ndarray
    values: np.ndarray
    state: State
    """That from which it was decided."""


@dataclass(frozen=True, slots=True)
class _Experience:
    """A rollout with its advantages, as tensors; but for `starts`, time and environment are one
    axis, in the order of time."""

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    starts: Tensor
    """(time, num_envs) bool."""


class PPO:
    """Learns an `ActorCriticPolicy` from a stream of steps.

    observation_space: Box. action_space: Discrete, or Box of floats. num_envs: environments that
    step in a batch. seeds: independent streams; exploration's draws actions, replay's minibatches.
    Raises ValueError for other spaces, and for a minibatch larger than the rollout.
    """

    replay = None

    def __init__(
        self,
        config: PPOConfig,
        observation_space: gym.Space,
        action_space: gym.Space,
        num_envs: int,
        *,
        exploration_seed: np.random.SeedSequence,
        replay_seed: np.random.SeedSequence,
        initialisation_seed: np.random.SeedSequence,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.num_envs = num_envs
        with torch.random.fork_rng():
            torch.manual_seed(int(initialisation_seed.generate_state(1)[0]))
            policy = ActorCriticPolicy(
                observation_space,
                action_space,
                config.network,
                shared_torso=config.shares_torso,
                log_standard_deviation=config.log_standard_deviation,
                precision=config.precision,
            )
        self.policy = policy.to(self.device)
        self.optimizer = (
            torch.optim.Adam(
                self.policy.parameters(),
                lr=config.learning_rate,
                eps=config.optimizer_epsilon,
                fused=True,
            )
            if config.optimizer == "adam"
            else torch.optim.RMSprop(
                self.policy.parameters(),
                lr=config.learning_rate,
                alpha=0.99,
                eps=config.optimizer_epsilon,
            )
        )
        whole = config.rollout_length * num_envs
        if config.minibatch_size is not None and config.minibatch_size > whole:
            raise ValueError(
                f"a rollout of {config.rollout_length} steps of {num_envs} environments has "
                f"{whole} transitions, fewer than minibatch_size {config.minibatch_size}"
            )
        assert observation_space.shape is not None
        assert observation_space.dtype is not None
        action = () if self.policy.discrete else (self.policy.action_size,)
        scalar = ((), np.dtype(np.float32))
        self._rollout = Rollout(
            config.rollout_length,
            num_envs,
            (observation_space.shape, observation_space.dtype),
            (action, np.dtype(np.int64 if self.policy.discrete else np.float32)),
            {"log_probs": scalar, "values": scalar},
        )
        memory = self.policy.network.memory
        self._state: State = None if memory is None else memory.initial_state(num_envs)
        self._first_state: State = self._state
        """That from which the rollout's first row was decided."""
        self._decided: _Decided | None = None
        self._minibatch_random = np.random.default_rng(replay_seed)
        self._action_random = torch.Generator(self.device)
        self._action_random.manual_seed(int(exploration_seed.generate_state(1, np.uint64)[0] >> 1))
        self.steps = 0
        """Environment steps observed."""
        self.updates = 0
        """Gradient steps taken."""

    @property
    def evaluated_policy(self) -> ActorCriticPolicy:
        """As `Algorithm.evaluated_policy`."""
        return self.policy

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Draw actions from the policy.

        observations: (num_envs, *observation_shape), to be left unchanged until `observe`.
        Returns (num_envs, *action_shape) in the action space's type.
        """
        if self.policy.training:
            self.policy.eval()
        starts = self._rollout.next_starts
        with torch.no_grad():
            if self._state is not None and starts.any():
                self._state = self.policy.forget(
                    self._state, torch.from_numpy(starts).to(self.device)
                )
            actions, log_probs, values, state = self.policy.explore(
                torch.from_numpy(observations).to(self.device), self._state, self._action_random
            )
            executable = self.policy.executable(actions).cpu().numpy()
            log_probs, values = torch.stack((log_probs, values)).cpu().numpy()
        self._decided = _Decided(
            observations, actions.cpu().numpy(), log_probs, values, self._state
        )
        self._state = state
        if not self._rollout.full:
            self._begin_row()
        return executable

    def _begin_row(self) -> None:
        decided = self._decided
        assert decided is not None
        if len(self._rollout) == 0:
            self._first_state = decided.state
        self._rollout.decide(
            decided.observations,
            decided.actions,
            log_probs=decided.log_probs,
            values=decided.values,
        )

    def observe(self, step: Step) -> None:
        """Remember what came of the last actions."""
        assert self._decided is not None, "act comes before observe"
        assert not self._rollout.full, "update comes between act and observe"
        self._rollout.observe(step)
        self._decided = None
        self.steps += self.num_envs

    def update(self) -> dict[str, Tensor | float]:
        """Learn from the rollout if it is full; called after `act`, whose values complete it.

        Returns scalars, most of them means over the gradient steps, or nothing. Raises
        NonFiniteGradientError, before the weights change, when a loss or gradient is not finite.
        """
        if not self._rollout.full:
            return {}
        assert self._decided is not None, "act comes before update"
        metrics = self._learn(self._experience(self._decided.values))
        self._rollout.clear()
        self._begin_row()
        return metrics

    def _experience(self, bootstrap: np.ndarray) -> _Experience:
        """bootstrap: (num_envs,), values of the observations after the last row."""
        rollout, config = self._rollout, self.config
        values = torch.from_numpy(np.concatenate((rollout.columns["values"], bootstrap[None])))
        advantages = generalised_advantages(
            values,
            torch.from_numpy(rollout.rewards),
            torch.from_numpy(rollout.terminated),
            torch.from_numpy(rollout.truncated),
            discount=config.discount,
            trace_decay=config.trace_decay,
        )

        def flat(rows: Tensor) -> Tensor:
            return rows.flatten(0, 1).to(self.device)

        return _Experience(
            flat(torch.from_numpy(rollout.observations)),
            flat(torch.from_numpy(rollout.actions)),
            flat(torch.from_numpy(rollout.columns["log_probs"])),
            flat(values[:-1]),
            flat(advantages),
            flat(advantages + values[:-1]),
            torch.from_numpy(rollout.starts).to(self.device),
        )

    def _learn(self, experience: _Experience) -> dict[str, Tensor | float]:
        config = self.config
        learning_rate = config.learning_rate_at(self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        clip_range = config.clip_range_at(self.steps)
        self.policy.train()
        measured: list[Tensor] = []
        for outputs, values, rows in self._minibatches(experience):
            objective, measures = self._loss(experience, outputs, values, rows, clip_range)
            if config.target_kl is not None and measures[-1] > 1.5 * config.target_kl:
                break
            gradient_norm = self._step(objective)
            measured.append(torch.stack((*measures, gradient_norm)))
        if not measured:
            return {}
        means = torch.stack(measured).mean(0)
        valid = torch.from_numpy(np.flatnonzero(self._rollout.valid)).to(self.device)
        return {
            **dict(zip(MINIBATCH_METRICS, means.unbind(), strict=True)),
            "explained_variance": explained_variance(
                experience.values[valid], experience.returns[valid]
            ),
            "learning_rate": learning_rate,
            "updates": float(self.updates),
        }

    def _minibatches(self, experience: _Experience) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """All epochs' minibatches, each passed through the network as it is asked for.

        Gives the actions' outputs (batch, outputs), values (batch,), and which rows of the
        experience they belong to, (batch,) int64. Rows that are not valid are left out.
        """
        for _ in range(self.config.epochs):
            yield from self._pass(experience)

    def _pass(self, experience: _Experience) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """One epoch's minibatches: every valid row once, in a random order."""
        valid = self._rollout.valid
        if self.config.network.memory == "none":
            for rows in self._shuffled_parts(np.flatnonzero(valid), 1):
                chosen = torch.from_numpy(rows).to(self.device)
                observations = experience.observations.index_select(0, chosen)
                yield *self.policy(observations), chosen
            return
        length, num_envs = valid.shape
        assert self._first_state is not None
        observations = experience.observations.unflatten(0, (length, num_envs))
        for envs in self._shuffled_parts(np.flatnonzero(valid.any(0)), length):
            chosen = torch.from_numpy(envs).to(self.device)
            outputs, values, _ = self.policy.unroll(
                observations.index_select(1, chosen),
                tuple(part.index_select(0, chosen) for part in self._first_state),
                experience.starts.index_select(1, chosen),
            )
            time, place = np.nonzero(valid[:, envs])
            inside = torch.from_numpy(time * len(envs) + place).to(self.device)
            rows = torch.from_numpy(time * num_envs + envs[place]).to(self.device)
            yield outputs.flatten(0, 1)[inside], values.flatten()[inside], rows

    def _shuffled_parts(self, items: np.ndarray, transitions: int) -> list[np.ndarray]:
        """Minibatches, nearly equal, of items that hold a number of transitions each."""
        most = (self.config.minibatch_size or self._rollout.valid.size) // transitions
        parts = math.ceil(len(items) / most)
        return np.array_split(self._minibatch_random.permutation(items), parts) if parts else []

    def _loss(
        self,
        experience: _Experience,
        outputs: Tensor,
        values: Tensor,
        rows: Tensor,
        clip_range: float | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The loss of a minibatch, and MINIBATCH_METRICS but for the last, without gradient."""
        config = self.config
        likelihood = self.policy.likelihood(outputs, experience.actions[rows])
        advantages = experience.advantages[rows]
        if config.standardise_advantages:
            advantages = standardised(advantages)
        log_ratios = likelihood.log_probs - experience.log_probs[rows]
        ratios = log_ratios.exp()
        policy_loss = clipped_surrogate_loss(ratios, advantages, clip_range).mean()
        value_loss = clipped_value_loss(
            values, experience.returns[rows], experience.values[rows], config.clip_value_range
        ).mean()
        entropy = likelihood.entropies.mean()
        objective = policy_loss + config.value_weight * value_loss - config.entropy_weight * entropy
        with torch.no_grad():
            clipped = torch.zeros_like(objective)
            if clip_range is not None:
                clipped = ((ratios - 1).abs() > clip_range).float().mean()
            divergence = approximate_kl(log_ratios)
        measures = (objective, policy_loss, value_loss, entropy, clipped, divergence)
        return objective, tuple(measure.detach() for measure in measures)

    def _step(self, objective: Tensor) -> Tensor:
        """Take a gradient step; returns the norm of the gradient before it was clipped."""
        self.optimizer.zero_grad()
        objective.backward()
        parameters = list(self.policy.parameters())
        gradients = [weights.grad for weights in parameters if weights.grad is not None]
        gradient_norm = nn.utils.get_total_norm(gradients)
        check_finite(self.policy.network, objective, gradient_norm, self.updates, self.steps)
        nn.utils.clip_grads_with_norm_(parameters, self.config.max_gradient_norm, gradient_norm)
        self.optimizer.step()
        self.updates += 1
        return gradient_norm

    def state_dict(self) -> dict[str, Any]:
        """Everything, as nested plain data, arrays and tensors.

        The tensors are those in use, not copies: later updates change them.
        """
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rollout": self._rollout.state_dict(),
            "state": self._state,
            "first_state": self._first_state,
            "minibatch_random": self._minibatch_random.bit_generator.state,
            "action_random": self._action_random.get_state(),
            "steps": self.steps,
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises ValueError, or RuntimeError from PyTorch, where it is of another configuration.
        """
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._rollout.load_state_dict(state["rollout"])
        self._state = self._on_device(state["state"])
        self._first_state = self._on_device(state["first_state"])
        self._minibatch_random.bit_generator.state = state["minibatch_random"]
        self._action_random.set_state(state["action_random"])
        self._decided = None
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])

    def _on_device(self, state: State) -> State:
        return None if state is None else tuple(part.to(self.device) for part in state)
