"""The DQN family in one algorithm whose parts switch on separately.

DQN (Mnih 2015), double Q-learning (van Hasselt 2016), dueling networks (Wang 2016), n-step
returns (Sutton 1988), prioritised replay (Schaul 2016), noisy networks (Fortunato 2018), quantile
regression (Dabney 2018), categorical values (Bellemare 2017) and Munchausen targets (Vieillard
2020); all of them but the last together are Rainbow (Hessel 2018), here `rainbow()`.

Departures from the papers, all of them for speed on a processor: gradient steps are few and
large (`batch_size` of some hundreds instead of 32, at a larger learning rate); environments act in
batches; a dueling network shares its dense layer between the streams.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rlkit_agents import losses
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import HeadConfig, QPolicy
from rlkit_agents.precision import Precision
from rlkit_agents.replay import Batch, Replay
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_agents.symmetry import Symmetry


@dataclass(frozen=True)
class DQNConfig:
    """Everything about a DQN; the defaults are plain double QR-DQN."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Torso, activation, initialisation, dueling and noisy layers."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """How values are represented: expected, quantile or categorical."""
    double: bool = True
    """Choose the bootstrap action by the online network, value it by the target network (van Hasselt 2016)."""
    munchausen: bool = False
    """Add the scaled log-policy to the reward and bootstrap softly (Vieillard 2020)."""
    munchausen_scale: float = 0.9
    """The paper's alpha: weight of the log-policy."""
    munchausen_temperature: float = 0.03
    """The paper's tau: temperature of the softmax policy."""
    discount: float = 0.99
    """Discount for one environment step."""
    n_step: int = 3
    """Rewards summed before bootstrapping; 1 in DQN, 3 in Rainbow."""
    replay_capacity: int = 1_000_000
    """Transitions kept, over all environments."""
    compress_replay: bool = False
    """Keep frames LZ4-compressed: about a sixth of the memory for some of the speed (extra `lz4`)."""
    priority_exponent: float = 0.0
    """How strongly large errors are sampled more often; 0 is uniform, 0.5 in Rainbow (Schaul 2016's alpha)."""
    importance_exponent: LinearSchedule = LinearSchedule(0.4, 1.0, 5_000_000)
    """How far sampling bias is corrected, over environment steps (Schaul 2016's beta)."""
    batch_size: int = 384
    """Transitions in a gradient step."""
    samples_per_step: float = 6.0
    """Transitions trained on for each environment step; 8 in DQN (a batch of 32 every 4 steps)."""
    learning_starts: int = 20_000
    """Environment steps before the first gradient step."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    learning_rate_end: float | None = None
    """Step size after `learning_rate_steps`, reached in a straight line; None keeps `learning_rate`."""
    learning_rate_steps: int = 5_000_000
    """Environment steps from `learning_rate` to `learning_rate_end`."""
    adam_epsilon: float = 1e-5
    """Adam's denominator offset."""
    l1: float = 0.0
    """Weight of the sum of absolute weights in the loss."""
    l2: float = 0.0
    """Weight of the sum of squared weights in the loss."""
    max_gradient_norm: float = 10.0
    """Gradients are scaled down to this norm over all weights; infinity never scales."""
    target_update_every: int = 500
    """Gradient steps between copies of the online network into the target network."""
    epsilon: LinearSchedule = LinearSchedule(1.0, 0.01, 250_000)
    """Share of random actions over environment steps; noisy networks want LinearSchedule(0, 0, 0)."""
    symmetries: tuple[Symmetry, ...] = ()
    """Mirrorings of the world that leave its rules unchanged; each sampled transition undergoes a random one."""
    precision: Precision = "auto"
    """Number format of convolutions and dense layers."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "n_step", "target_update_every", "replay_capacity"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must be in (0, 1], got {self.discount}")
        if self.munchausen and self.head.kind == "categorical":
            raise ValueError("Munchausen targets need an expected or quantile head")

    def learning_rate_at(self, step: int) -> float:
        """Adam's step size after `step` environment steps."""
        end = self.learning_rate if self.learning_rate_end is None else self.learning_rate_end
        return LinearSchedule(self.learning_rate, end, self.learning_rate_steps).at(step)


def rainbow(**changes: Any) -> DQNConfig:
    """Rainbow's parts and numbers (Hessel 2018, table 1); `changes` override fields."""
    settings: dict[str, Any] = dict(
        network=NetworkConfig(torso="nature", dueling=True, noisy=True),
        head=HeadConfig("categorical", atoms=51),
        priority_exponent=0.5,
        batch_size=32,
        samples_per_step=8.0,
        learning_starts=20_000,
        learning_rate=6.25e-5,
        adam_epsilon=1.5e-4,
        target_update_every=2_000,
        epsilon=LinearSchedule(0.0, 0.0, 0),
    )
    return DQNConfig(**(settings | changes))


class NonFiniteGradientError(ArithmeticError):
    """A loss or gradient became NaN or infinite; the weights are those from before the bad update."""


class DQN:
    """Learns a `QPolicy` from a stream of steps.

    observation_space: Box. action_space: Discrete (ValueError otherwise).
    num_envs: environments that step in a batch. seeds: independent streams for exploration,
    replay and initialisation.
    """

    def __init__(
        self,
        config: DQNConfig,
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
            policy = QPolicy(
                observation_space,
                action_space,
                config.network,
                config.head,
                precision=config.precision,
            )
        self.policy = policy.to(self.device, memory_format=torch.channels_last)
        self.target = copy.deepcopy(self.policy).requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.policy.parameters(),
            lr=config.learning_rate,
            eps=config.adam_epsilon,
            fused=True,
        )
        assert observation_space.shape is not None and observation_space.dtype is not None
        stacked = len(observation_space.shape) > 1
        self.replay = Replay(
            capacity=config.replay_capacity,
            num_envs=num_envs,
            frame_shape=observation_space.shape[1:] if stacked else observation_space.shape,
            frame_dtype=observation_space.dtype,
            frame_stack=observation_space.shape[0] if stacked else 1,
            n_step=config.n_step,
            discount=config.discount,
            priority_exponent=config.priority_exponent,
            compress=config.compress_replay,
            seed=replay_seed,
        )
        self._random = np.random.default_rng(exploration_seed)
        self._noise = torch.Generator(self.device)
        self._noise.manual_seed(int(exploration_seed.spawn(1)[0].generate_state(1)[0]))
        self.steps = 0
        """Environment steps observed."""
        self.updates = 0
        """Gradient steps taken."""
        self._samples_due = 0.0
        self._acted_on: np.ndarray | None = None
        self._actions: np.ndarray | None = None

    @property
    def epsilon(self) -> float:
        """The present share of random actions."""
        return self.config.epsilon.at(self.steps)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Explore: greedy actions, a share `epsilon` of them replaced by random ones.

        observations: (num_envs, *observation_shape). Returns (num_envs,) int64.
        """
        self.policy.train(self.config.network.noisy)
        if self.config.network.noisy:
            self.policy.network.reset_noise(self._noise)
        with torch.inference_mode():
            greedy, _ = self.policy.act(torch.from_numpy(observations).to(self.device))
        actions = greedy.cpu().numpy()
        explores = self._random.random(self.num_envs) < self.epsilon
        random = self._random.integers(self.target.network.num_actions, size=self.num_envs)
        self._acted_on, self._actions = observations, np.where(explores, random, actions)
        return self._actions

    def observe(self, step: Step) -> None:
        """Remember what came of the last actions."""
        assert self._acted_on is not None and self._actions is not None, "act comes before observe"
        self.replay.add(
            self._acted_on,
            self._actions,
            step.rewards,
            step.terminated,
            step.truncated,
            step.valid,
        )
        self.steps += self.num_envs
        if self.steps > self.config.learning_starts:
            self._samples_due += self.num_envs * self.config.samples_per_step

    def update(self) -> dict[str, Tensor | float]:
        """Take the gradient steps that are due, often none.

        Returns scalars for the last of them, or nothing. Raises NonFiniteGradientError, before
        the weights change, when a gradient is not finite.
        """
        metrics: dict[str, Tensor | float] = {}
        while self._samples_due >= self.config.batch_size and self.replay.can_sample:
            self._samples_due -= self.config.batch_size
            metrics = self._learn()
        return metrics

    def _learn(self) -> dict[str, Tensor | float]:
        config = self.config
        batch = self.replay.sample(
            config.batch_size, importance_exponent=config.importance_exponent.at(self.steps)
        )
        self.policy.train()
        if config.network.noisy:
            self.policy.network.reset_noise(self._noise)
            self.target.train()
            self.target.network.reset_noise(self._noise)
        loss, errors, q_values = self._loss(batch)
        weights = torch.from_numpy(batch.weights).to(self.device)
        objective = (weights * loss).mean()
        if config.l1 or config.l2:
            parameters = list(self.policy.parameters())
            objective = objective + config.l1 * losses.l1_penalty(parameters)
            objective = objective + config.l2 * losses.l2_penalty(parameters)
        learning_rate = config.learning_rate_at(self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad()
        objective.backward()
        gradient_norm = nn.utils.clip_grad_norm_(self.policy.parameters(), config.max_gradient_norm)
        if not torch.isfinite(gradient_norm):
            raise NonFiniteGradientError(self._describe_non_finite(objective))
        self.optimizer.step()
        self.updates += 1
        if self.updates % config.target_update_every == 0:
            self.target.load_state_dict(self.policy.state_dict())
        if config.priority_exponent > 0:
            self.replay.update_priorities(batch.indices, errors.cpu().numpy())
        return {
            "loss": objective.detach(),
            "td_error": errors.mean(),
            "q_mean": q_values.mean(),
            "q_max": q_values.max(),
            "gradient_norm": gradient_norm,
            "epsilon": self.epsilon,
            "learning_rate": learning_rate,
            "replay_size": float(len(self.replay)),
            "updates": float(self.updates),
        }

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Per-sample losses (batch,), absolute errors (batch,) and values of the actions taken (batch,)."""
        config = self.config
        observations = torch.from_numpy(batch.observations).to(self.device)
        next_observations = torch.from_numpy(batch.next_observations).to(self.device)
        actions = batch.actions
        if config.symmetries:
            observations, next_observations, actions = self._mirror_some(
                observations, next_observations, actions
            )
        a_tm1 = torch.from_numpy(actions).to(self.device)
        r_t = torch.from_numpy(batch.returns).to(self.device)
        discount_t = torch.from_numpy(batch.bootstrap_discounts).to(self.device)
        q_tm1 = self.policy(observations)
        with torch.no_grad():
            q_t_value = self.target(next_observations)
        scalar = config.head.kind == "expected"
        if config.munchausen:
            with torch.no_grad():
                q_tm1_target = self.target(observations)
            outputs = (q_tm1, q_tm1_target, q_t_value)
            q_tm1, q_tm1_target, q_t_value = (
                tuple(output.squeeze(-1) for output in outputs) if scalar else outputs
            )
            learn = losses.munchausen_q_learning if scalar else losses.munchausen_quantile_q_learning
            result = learn(
                q_tm1,
                a_tm1,
                r_t,
                discount_t,
                q_tm1_target,
                q_t_value,
                temperature=config.munchausen_temperature,
                scale=config.munchausen_scale,
            )
        else:
            with torch.no_grad():
                q_t_selector = self.policy(next_observations) if config.double else q_t_value
            if scalar:
                q_tm1, q_t_value, q_t_selector = (
                    output.squeeze(-1) for output in (q_tm1, q_t_value, q_t_selector)
                )
            arguments = (q_tm1, a_tm1, r_t, discount_t, q_t_value, q_t_selector)
            if scalar:
                result = losses.double_q_learning(*arguments)
            elif config.head.kind == "quantile":
                result = losses.double_quantile_q_learning(*arguments)
            else:
                support = config.head.support(self.device)
                result = losses.double_categorical_q_learning(*arguments, support)
        with torch.no_grad():
            outputs = q_tm1.unsqueeze(-1) if scalar else q_tm1
            values = config.head.q_values(outputs).gather(1, a_tm1.unsqueeze(1)).squeeze(1)
        return result.loss, result.priority, values

    def _mirror_some(
        self, observations: Tensor, next_observations: Tensor, actions: np.ndarray
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """Leave one part of the batch as it is, and mirror each of the others by one symmetry.

        Samples are independent, so equal parts are as good as a draw for each.
        """
        parts = len(self.config.symmetries) + 1
        seen, followed = observations.chunk(parts), next_observations.chunk(parts)
        chosen = np.split(actions, np.cumsum([len(part) for part in seen])[:-1])
        for i, symmetry in enumerate(self.config.symmetries[: len(seen) - 1], start=1):
            seen[i].copy_(symmetry.observations(seen[i]))
            followed[i].copy_(symmetry.observations(followed[i]))
            chosen[i] = symmetry.mirrored_actions(chosen[i])
        return observations, next_observations, np.concatenate(chosen)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the replay's rows, as nested plain data, arrays and tensors."""
        return {
            "policy": self.policy.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "random": self._random.bit_generator.state,
            "noise": self._noise.get_state(),
            "steps": self.steps,
            "updates": self.updates,
            "samples_due": self._samples_due,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken; the replay's rows are brought back apart from this."""
        self.policy.load_state_dict(state["policy"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        self._random.bit_generator.state = state["random"]
        self._noise.set_state(state["noise"])
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])
        self._samples_due = float(state["samples_due"])

    def _describe_non_finite(self, objective: Tensor) -> str:
        bad = [
            name
            for name, parameter in self.policy.network.named_parameters()
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
        ]
        where = f"in the gradient of {', '.join(bad)}" if bad else "in the gradient norm"
        return (
            f"not a finite number {where} (loss {float(objective):g}) at update {self.updates + 1}, "
            f"environment step {self.steps}"
        )
