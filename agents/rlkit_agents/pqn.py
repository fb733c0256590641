"""PQN, the parallelised Q-network of Gallici et al. 2024 ("Simplifying Deep Temporal Difference
Learning"): Q(lambda) on fresh rollouts, with LayerNorm in place of a replay and a target network.

Feed-forward or with memory. The targets are the lambda-returns of the rollout, computed once from
the values that its observations had when they were acted on, as in the authors' code for Atari.

Departures. Learning happens while the environments step: the first action of a rollout and its
value are those of the network before the update. A truncated episode is bootstrapped from the value
of its last observation, and reset steps are left out. Minibatches are nearly equal in size where
what is valid does not divide. Adam in place of rectified Adam, which PyTorch has not in one fused
operation. With memory, the targets are those of acting time too, where the authors compute them
again in each minibatch, and sequences start from the state that acting had reached, without warm-up
steps before them; the last action is not observed. A quantile head learns, by quantile regression,
the distribution of these lambda-returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlkit_agents.augmentation import Augmenter, check_keeps_actions
from rlkit_agents.losses import quantile_huber_loss
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.precision import Precision
from rlkit_agents.q_learning import gradient_step
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_agents.returns import lambda_returns
from rlkit_agents.rollout import Rollout
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_agents.symmetry import Symmetry, mirror_shares


@dataclass(frozen=True)
class PQNConfig:
    """Everything about a PQN; the numbers are the paper's for Atari, with 128 environments."""

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(layer_norm="all"))
    """Torso, activation, initialisation, dueling and memory. LayerNorm is what keeps learning
    stable without a target network; the paper's torso is "nature"."""
    head: HeadConfig = field(default_factory=lambda: HeadConfig("expected"))
    """How values are represented: expected, as in the paper, or quantile."""
    discount: float = 0.99
    """Discount for one environment step."""
    trace_decay: float = 0.65
    """Lambda of the returns: 1 takes all rewards up to the rollout's end, 0 one. 0.5 for the
    paper's recurrent network in Craftax."""
    rollout_length: int = 32
    """Steps of each environment between updates."""
    epochs: int = 2
    """Passes over a rollout in an update."""
    minibatches: int = 32
    """Gradient steps in a pass. With memory they divide the environments, each of which is
    unrolled over the whole rollout; 4, for 1,024 environments, in the paper's Craftax."""
    huber_kappa: float | None = None
    """Error at which half its square turns linear; None squares throughout, as the paper does. A
    quantile head needs one: 1 in QR-DQN (Dabney 2018)."""
    learning_rate: float = 2.5e-4
    """Adam's step size."""
    learning_rate_end: float | None = None
    """Step size after `learning_rate_steps`, reached in a straight line; None keeps it constant."""
    learning_rate_steps: int = 5_000_000
    """Environment steps from `learning_rate` to `learning_rate_end`."""
    adam_epsilon: float = 1e-5
    """Adam's denominator offset."""
    max_gradient_norm: float = 10.0
    """Gradients are scaled down to this norm over all weights; infinity never scales."""
    epsilon: LinearSchedule = LinearSchedule(1.0, 0.001, 5_000_000)
    """Share of random actions over environment steps; the paper's falls for a tenth of 50 million
    steps."""
    symmetries: tuple[Symmetry, ...] = ()
    """Mirrorings of the world that leave its rules unchanged; each is applied to an equal share of
    every minibatch, and an equal share stays as it is. Not with memory."""
    augmentation: tuple[str, ...] = ()
    """Random changes of the observations in every minibatch, in this order, such as `shift:4
    noise:8` (`augmentation.KINDS`); the targets are those of unchanged ones. With memory, what is
    drawn for an environment holds all through the rollout. Only such as leave actions as they are;
    see `symmetries`."""
    precision: Precision = "auto"
    """Number format of convolutions and dense layers."""

    def __post_init__(self) -> None:
        for name in ("rollout_length", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "adam_epsilon", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("learning_rate_end", "learning_rate_steps"):
            if not (getattr(self, name) or 0) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.huber_kappa is not None and not self.huber_kappa > 0:
            raise ValueError(f"huber_kappa must be positive or None, got {self.huber_kappa}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must be in (0, 1], got {self.discount}")
        if not 0 <= self.trace_decay <= 1:
            raise ValueError(f"trace_decay must be in [0, 1], got {self.trace_decay}")
        if not (0 <= self.epsilon.start <= 1 and 0 <= self.epsilon.end <= 1):
            raise ValueError(f"epsilon must stay within 0 and 1, got {self.epsilon}")
        if self.head.kind == "categorical":
            raise ValueError(
                "lambda-returns are numbers, not the distributions that a categorical head learns; "
                "use an expected or quantile head"
            )
        if self.head.kind == "quantile" and self.huber_kappa is None:
            raise ValueError("a quantile head needs a huber_kappa, 1.0 in QR-DQN")
        if self.network.noisy:
            raise ValueError("PQN explores by epsilon and has no use for noisy layers")
        check_keeps_actions(self.augmentation)
        if self.symmetries and self.network.memory != "none":
            raise ValueError(
                f"with memory {self.network.memory!r} there is no mirrored state to start a "
                "mirrored sequence from: leave out the symmetries"
            )

    def learning_rate_at(self, step: int) -> float:
        """Adam's step size after `step` environment steps."""
        end = self.learning_rate if self.learning_rate_end is None else self.learning_rate_end
        return LinearSchedule(self.learning_rate, end, self.learning_rate_steps).at(step)


def regression_loss(outputs: Tensor, targets: Tensor, huber_kappa: float | None) -> Tensor:
    """The loss (batch,) of the outputs for the actions taken, against what these returned.

    outputs: (batch, atoms): one expected value, whose loss is half its squared error, or Huber's
    (1964) with a kappa; or quantiles, whose loss is `losses.quantile_huber_loss` and needs a kappa.
    targets: (batch,), without gradient.
    """
    if outputs.shape[1] > 1:
        assert huber_kappa is not None
        return quantile_huber_loss(outputs, targets.unsqueeze(1), huber_kappa).loss
    values = outputs.squeeze(1)
    if huber_kappa is None:
        return 0.5 * (targets - values).square()
    return functional.huber_loss(values, targets, reduction="none", delta=huber_kappa)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What was decided about the observations at hand, each (num_envs, ...)."""

    observations: np.ndarray
    actions: np.ndarray
    values: np.ndarray
    """Largest action values."""
    state: State
    """That from which they were computed."""


class PQN:
    """Learns a `QPolicy` from a stream of steps.

    observation_space: Box. action_space: Discrete. num_envs: environments that step in a batch.
    seeds: independent streams; exploration's draws actions, replay's minibatches.
    Raises ValueError for other spaces, symmetries and augmentations that do not fit them, and
    minibatches into which a rollout cannot be divided.
    """

    replay = None

    def __init__(
        self,
        config: PQNConfig,
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
        self.policy = policy.to(self.device)
        _check_divides(config, num_envs)
        self.optimizer = torch.optim.Adam(
            self.policy.parameters(), lr=config.learning_rate, eps=config.adam_epsilon, fused=True
        )
        shape = observation_space.shape
        assert shape is not None
        assert observation_space.dtype is not None
        for symmetry in config.symmetries:
            symmetry.check_fits(shape, self.policy.network.num_actions)
        self.augmenter = Augmenter(config.augmentation, replay_seed, self.device)
        """What minibatches go through before they are learnt from."""
        self.augmenter.check_fits(shape, observation_space.dtype)
        self._rollout = Rollout(
            config.rollout_length,
            num_envs,
            (shape, observation_space.dtype),
            ((), np.dtype(np.int64)),
            {"values": ((), np.dtype(np.float32))},
        )
        memory = self.policy.network.memory
        self._state: State = None if memory is None else memory.initial_state(num_envs)
        self._first_state: State = self._state
        """That from which the rollout's first row was decided."""
        self._decided: _Decided | None = None
        self._exploration_random = np.random.default_rng(exploration_seed)
        self._minibatch_random = np.random.default_rng(replay_seed)
        self.steps = 0
        """Environment steps observed."""
        self.updates = 0
        """Gradient steps taken."""

    @property
    def evaluated_policy(self) -> QPolicy:
        """As `Algorithm.evaluated_policy`."""
        return self.policy

    @property
    def epsilon(self) -> float:
        """The present share of random actions."""
        return self.config.epsilon.at(self.steps)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Explore: greedy actions, a share `epsilon` of them replaced by random ones.

        observations: (num_envs, *observation_shape), to be left unchanged until `observe`.
        Returns (num_envs,) int64.
        """
        if self.policy.training:
            self.policy.eval()
        starts = self._rollout.next_starts
        with torch.no_grad():
            if self._state is not None and starts.any():
                self._state = self.policy.forget(
                    self._state, torch.from_numpy(starts).to(self.device)
                )
            tensor = torch.from_numpy(observations).to(self.device)
            outputs, state = self.policy.unroll(tensor.unsqueeze(0), self._state)
            values, greedy = self.policy.expected_returns(outputs.squeeze(0)).max(-1)
        explores = self._exploration_random.random(self.num_envs) < self.epsilon
        random = self._exploration_random.integers(
            self.policy.network.num_actions, size=self.num_envs
        )
        actions = np.where(explores, random, greedy.cpu().numpy())
        self._decided = _Decided(observations, actions, values.cpu().numpy(), self._state)
        self._state = state
        if not self._rollout.full:
            self._begin_row(self._decided)
        return actions

    def _begin_row(self, decided: _Decided) -> None:
        if len(self._rollout) == 0:
            self._first_state = decided.state
        self._rollout.decide(decided.observations, decided.actions, values=decided.values)

    def observe(self, step: Step) -> None:
        """Remember what came of the last actions."""
        assert self._decided is not None, "act comes before observe"
        assert not self._rollout.full, "update comes between act and observe"
        self._rollout.observe(step)
        self._decided = None
        self.steps += self.num_envs

    def update(self) -> dict[str, Tensor | float]:
        """Learn from the rollout if it is full; called after `act`, whose values complete it.

        Returns scalars, those of losses and values being means over the gradient steps, or nothing.
        Raises NonFiniteGradientError, before the weights change, when a loss or gradient is not
        finite.
        """
        if not self._rollout.full:
            return {}
        assert self._decided is not None, "act comes before update"
        metrics = self._learn(self._targets(self._decided.values))
        self._rollout.clear()
        self._begin_row(self._decided)
        return metrics

    def _targets(self, bootstrap: np.ndarray) -> Tensor:
        """Lambda-returns (rollout_length, num_envs).

        bootstrap: (num_envs,), values of the observations after the last row.
        """
        rollout = self._rollout
        # The row after an end is a reset step, whose observation is the last of the episode.
        next_values = np.concatenate((rollout.columns["values"][1:], bootstrap[None]))
        return lambda_returns(
            torch.from_numpy(next_values),
            torch.from_numpy(rollout.rewards),
            torch.from_numpy(rollout.terminated),
            torch.from_numpy(rollout.truncated),
            discount=self.config.discount,
            trace_decay=self.config.trace_decay,
        ).to(self.device)

    def _learn(self, targets: Tensor) -> dict[str, Tensor | float]:
        config = self.config
        learning_rate = config.learning_rate_at(self.steps)
        observations = torch.from_numpy(self._rollout.observations).to(self.device)
        passes = self._recurrent_passes if self._first_state is not None else self._passes
        self.policy.train()
        measured: list[Tensor] = []
        for _ in range(config.epochs):
            for outputs, actions, returns in passes(observations, targets):
                index = actions[:, None, None].expand(-1, 1, outputs.shape[2])
                taken = outputs.gather(1, index).squeeze(1)
                objective, gradient_norm = gradient_step(
                    self.policy.network,
                    self.optimizer,
                    regression_loss(taken, returns, config.huber_kappa).mean(),
                    l1=0.0,
                    l2=0.0,
                    learning_rate=learning_rate,
                    max_gradient_norm=config.max_gradient_norm,
                    updates=self.updates,
                    steps=self.steps,
                )
                self.updates += 1
                values = taken.detach().mean(1)
                error = (returns - values).abs().mean()
                measured.append(torch.stack((objective, error, values.mean(), gradient_norm)))
        if not measured:
            return {}
        loss, error, q_mean, gradient_norm = torch.stack(measured).mean(0).unbind()
        return {
            "loss": loss,
            "td_error": error,
            "q_mean": q_mean,
            "gradient_norm": gradient_norm,
            "epsilon": self.epsilon,
            "learning_rate": learning_rate,
            "updates": float(self.updates),
            **self.augmenter.metrics(),
        }

    def _passes(
        self, observations: Tensor, targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Once through the rollout, in random minibatches, each passed through the network.

        Gives outputs (batch, actions, atoms), the actions taken, and targets, both (batch,).
        """
        config = self.config
        pictures, returns = observations.flatten(0, 1), targets.flatten()
        valid = np.flatnonzero(self._rollout.valid)
        shuffled = self._minibatch_random.permutation(valid)
        for rows in np.array_split(shuffled, min(config.minibatches, len(valid)) or 1):
            if len(rows) == 0:
                continue
            chosen = torch.from_numpy(rows).to(self.device)
            batch = pictures.index_select(0, chosen)
            actions = self._rollout.actions.reshape(-1)[rows]
            mirror_shares(config.symmetries, self.updates, (batch,), actions)
            outputs = self.policy(self.augmenter(batch))
            yield outputs, torch.from_numpy(actions).to(self.device), returns[chosen]

    def _recurrent_passes(
        self, observations: Tensor, targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """As `_passes`, each minibatch a random part of the environments over the whole rollout."""
        rollout = self._rollout
        assert self._first_state is not None
        starts = torch.from_numpy(rollout.starts).to(self.device)
        shuffled = self._minibatch_random.permutation(self.num_envs)
        for envs in shuffled.reshape(self.config.minibatches, -1):
            time, place = np.nonzero(rollout.valid[:, envs])
            if len(time) == 0:
                continue
            chosen = torch.from_numpy(envs).to(self.device)
            outputs, _ = self.policy.unroll(
                self.augmenter.over_time(observations.index_select(1, chosen)),
                tuple(part.index_select(0, chosen) for part in self._first_state),
                starts.index_select(1, chosen),
            )
            inside = torch.from_numpy(time * len(envs) + place).to(self.device)
            rows = time * self.num_envs + envs[place]
            actions = torch.from_numpy(rollout.actions.reshape(-1)[rows]).to(self.device)
            returns = targets.flatten()[torch.from_numpy(rows).to(self.device)]
            yield outputs.flatten(0, 1)[inside], actions, returns

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
            "exploration_random": self._exploration_random.bit_generator.state,
            "minibatch_random": self._minibatch_random.bit_generator.state,
            "augmentation": self.augmenter.state(),
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
        self._exploration_random.bit_generator.state = state["exploration_random"]
        self._minibatch_random.bit_generator.state = state["minibatch_random"]
        self.augmenter.go_on(state.get("augmentation"))
        self._decided = None
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])

    def _on_device(self, state: State) -> State:
        return None if state is None else tuple(part.to(self.device) for part in state)


def _check_divides(config: PQNConfig, num_envs: int) -> None:
    """Raise ValueError unless a rollout can be divided into the minibatches."""
    if config.network.memory != "none":
        if num_envs % config.minibatches:
            raise ValueError(
                f"with memory, minibatches are made of whole environments: {config.minibatches} "
                f"minibatches do not divide {num_envs} environments"
            )
    elif config.minibatches > config.rollout_length * num_envs:
        raise ValueError(
            f"a rollout of {config.rollout_length} steps of {num_envs} environments has "
            f"{config.rollout_length * num_envs} transitions, fewer than {config.minibatches} "
            "minibatches"
        )
