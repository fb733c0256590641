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
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlkit_agents import losses
from rlkit_agents.augmentation import Augmenter, check_keeps_actions
from rlkit_agents.averaging import WeightAverage
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.precision import Precision
from rlkit_agents.q_learning import gradient_step, q_learning_loss, thread_beside
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_agents.replay import Batch, Replay
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_agents.symmetry import Symmetry, mirror_shares


@dataclass(frozen=True)
class DQNConfig:
    """Everything about a DQN; the defaults are plain double QR-DQN."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Torso, activation, initialisation, dueling and noisy layers."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """How values are represented: expected, quantile or categorical."""
    double: bool = True
    """Choose the bootstrap action by the online network, value it by the target network
    (van Hasselt 2016)."""
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
    """Keep frames LZ4-compressed: about a sixth of the memory for some speed (extra `lz4`)."""
    priority_exponent: float = 0.0
    """How strongly large errors are sampled more often (Schaul 2016's alpha); 0 is uniform, 0.5 in
    Rainbow."""
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
    """Step size after `learning_rate_steps`, reached in a straight line; None keeps it constant."""
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
    """Share of random actions over environment steps; with noisy layers LinearSchedule(0, 0, 0)."""
    symmetries: tuple[Symmetry, ...] = ()
    """Mirrorings of the world that leave its rules unchanged; each is applied to an equal share of
    every batch, and an equal share stays as it is."""
    augmentation: tuple[str, ...] = ()
    """Random changes of the observations and next observations in every batch, in this order, such
    as `shift:4 noise:8` (`augmentation.KINDS`; Kostrikov, Yarats & Fergus 2021, with one draw each
    where they average two). Only such as leave actions as they are; see `symmetries`."""
    augmented_share: float = 1.0
    """Of the observations in every batch, and of the next observations, what these are done to, in
    (0, 1]; the rest is learnt from as it is."""
    augmented_targets: bool = True
    """Whether targets are made of changed next observations too. Where changes are strong, targets
    of plain ones vary less (SVEA, Hansen, Su & Wang 2021)."""
    average_decay: float = 0.0
    """Of the running average of the weights that is evaluated and saved in place of the latest
    weights (`averaging`), below 1; 0 takes the latest. 0.9999 averages over some 10,000 gradient
    steps."""
    precision: Precision = "auto"
    """Number format of convolutions and dense layers."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "n_step", "target_update_every", "replay_capacity"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "samples_per_step",
            "learning_rate",
            "adam_epsilon",
            "max_gradient_norm",
            "munchausen_temperature",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("l1", "l2", "learning_starts", "learning_rate_end", "learning_rate_steps"):
            if not (getattr(self, name) or 0) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("epsilon", "importance_exponent"):
            schedule = getattr(self, name)
            if not (0 <= schedule.start <= 1 and 0 <= schedule.end <= 1):
                raise ValueError(f"{name} must stay within 0 and 1, got {schedule}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {self.average_decay}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must be in (0, 1], got {self.discount}")
        if self.network.memory != "none":
            raise ValueError(
                f"a DQN learns from single transitions and has no use for network.memory "
                f"{self.network.memory!r}; R2D2 learns from sequences"
            )
        check_keeps_actions(self.augmentation)
        if not 1 <= self.augmented_share * self.batch_size <= self.batch_size:
            raise ValueError(
                f"augmented_share must be at most 1, and at least one row of a batch of "
                f"{self.batch_size}, got {self.augmented_share}"
            )
        if self.munchausen and self.head.kind == "categorical":
            raise ValueError("Munchausen targets need an expected or quantile head")
        if self.munchausen and not self.augmented_targets:
            raise ValueError(
                "Munchausen targets are made of the observations that are learnt from: leave "
                "augmented_targets at true"
            )

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


_Outputs: TypeAlias = tuple[Tensor, Tensor]
_Begun: TypeAlias = "tuple[Future[_Transitions], Future[_Outputs]]"
"""What a gradient step works on, as far as it is computed beside something else."""


@dataclass(frozen=True, slots=True)
class _Transitions:
    """A batch on the device, with its mirrored share."""

    batch: Batch
    observations: Tensor
    a_tm1: Tensor
    r_t: Tensor
    discount_t: Tensor
    next_observations: Tensor


class DQN:
    """Learns a `QPolicy` from a stream of steps.

    observation_space: Box; with a first axis longer than 1 before others, that axis is a stack of
    the last frames, oldest first, but for three axes in floating point, where it is the channels of
    a picture. action_space: Discrete.
    num_envs: environments that step in a batch. seeds: independent streams for exploration,
    replay and initialisation.
    Raises ValueError for other spaces, symmetries and augmentations that do not fit them, and a
    replay too small.
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
        self.policy = policy.to(self.device)
        self.target = copy.deepcopy(self.policy).requires_grad_(False)
        self.target.eval_with_noise()
        self._average = None
        if config.average_decay > 0.0:
            self._average = WeightAverage(self.policy, config.average_decay)
        self._beside = thread_beside("dqn", self.device, config.network)
        self.optimizer = torch.optim.Adam(
            self.policy.parameters(),
            lr=config.learning_rate,
            eps=config.adam_epsilon,
            fused=True,
        )
        shape = observation_space.shape
        assert shape is not None
        assert observation_space.dtype is not None
        for symmetry in config.symmetries:
            symmetry.check_fits(shape, self.policy.network.num_actions)
        self.augmenter = Augmenter(
            config.augmentation, replay_seed, self.device, config.augmented_share
        )
        """What batches go through before they are learnt from."""
        self.augmenter.check_fits(shape, observation_space.dtype)
        # Of pictures in floating point the first axis is channels, not frames, of which none recur.
        is_picture = len(shape) == 3 and np.issubdtype(observation_space.dtype, np.floating)
        frame_stack = shape[0] if len(shape) > 1 and not is_picture else 1
        self.replay = Replay(
            capacity=config.replay_capacity,
            num_envs=num_envs,
            frame_shape=shape[1:] if frame_stack > 1 else shape,
            frame_dtype=observation_space.dtype,
            frame_stack=frame_stack,
            n_step=config.n_step,
            discount=config.discount,
            priority_exponent=config.priority_exponent,
            compress=config.compress_replay,
            seed=replay_seed,
        )
        most = self.replay.rows_capacity - config.n_step - frame_stack + 1
        if most * num_envs < config.batch_size:
            raise ValueError(
                f"a replay_capacity of {config.replay_capacity} leaves {most * num_envs} "
                f"transitions to sample, too few for a batch_size of {config.batch_size}"
            )
        self._random = np.random.default_rng(exploration_seed)
        self._noise = torch.Generator(self.device)
        self._noise.manual_seed(int(self._random.integers(2**63)))
        self.steps = 0
        """Environment steps observed."""
        self.updates = 0
        """Gradient steps taken."""
        self._samples_due = 0.0
        self._ahead: _Begun | None = None
        self._acted_on: np.ndarray | None = None
        self._actions: np.ndarray | None = None

    @property
    def evaluated_policy(self) -> QPolicy:
        """As `Algorithm.evaluated_policy`."""
        return self.policy if self._average is None else self._average.policy

    @property
    def epsilon(self) -> float:
        """The present share of random actions."""
        return self.config.epsilon.at(self.steps)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Explore: greedy actions, a share `epsilon` of them replaced by random ones.

        observations: (num_envs, *observation_shape), to be left unchanged until `observe`.
        Returns (num_envs,) int64.
        """
        self.policy.eval_with_noise()
        if self.config.network.noisy:
            self.policy.network.reset_noise(self._noise)
        self._begin_update()
        with torch.inference_mode():
            greedy, _ = self.policy.act(torch.from_numpy(observations).to(self.device))
        actions = greedy.cpu().numpy()
        explores = self._random.random(self.num_envs) < self.epsilon
        random = self._random.integers(self.target.network.num_actions, size=self.num_envs)
        self._acted_on, self._actions = observations, np.where(explores, random, actions)
        return self._actions

    def observe(self, step: Step) -> None:
        """Remember what came of the last actions.

        Raises ValueError for what `Replay.add` refuses, and if the first step shows that the
        observations are no stacks of frames, though they have the shape of such.
        """
        assert self._acted_on is not None, "act comes before observe"
        assert self._actions is not None
        if self.steps == 0 and self.replay.frame_stack > 1:
            _check_stacks(self._acted_on, step.observations)
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
        the weights change, when the loss or a gradient is not finite.
        """
        describe: Callable[[], dict[str, Tensor | float]] = dict
        ahead, self._ahead = self._ahead, None
        while self._is_due():
            self._samples_due -= self.config.batch_size
            self.policy.train()
            if ahead is None and self.config.network.noisy:
                self.policy.network.reset_noise(self._noise)
                self.target.network.reset_noise(self._noise)
            drawn, outputs = ahead or self._begin(self.updates)
            transitions = drawn.result()
            ahead = self._look_ahead() if self._is_due() else None
            describe = self._learn(transitions, outputs)
        return describe()

    def _is_due(self) -> bool:
        batch_size = self.config.batch_size
        return self._samples_due >= batch_size and self.replay.can_sample(batch_size)

    def _begin_update(self) -> None:
        """Begin the next gradient step beside acting, unless noise is still to be drawn for it."""
        network = self.config.network
        if self._ahead is None and network.dropout == 0 and not network.noisy and self._is_due():
            self._ahead = self._begin(self.updates)

    def _look_ahead(self) -> _Begun | None:
        """Begin the gradient step after this one, unless this one changes what it begins with."""
        config = self.config
        copies_target = (self.updates + 1) % config.target_update_every == 0
        if copies_target or config.double or config.network.noisy or config.priority_exponent > 0:
            return None
        return self._begin(self.updates + 1)

    def _begin(self, update: int) -> _Begun:
        """Draw a batch for the gradient step number `update`, and compute its outputs."""
        drawn = self._beside.submit(self._draw, update)
        return drawn, self._beside.submit(lambda: self._without_gradient(drawn.result()))

    def _draw(self, update: int) -> _Transitions:
        """A batch for the gradient step number `update`."""
        config = self.config
        batch = self.replay.sample(
            config.batch_size, importance_exponent=config.importance_exponent.at(self.steps)
        )
        observations = torch.from_numpy(batch.observations).to(self.device)
        next_observations = torch.from_numpy(batch.next_observations).to(self.device)
        mirror_shares(config.symmetries, update, (observations, next_observations), batch.actions)
        return _Transitions(
            batch,
            self.policy.read_ahead(self.augmenter(observations)),
            torch.from_numpy(batch.actions).to(self.device),
            torch.from_numpy(batch.returns).to(self.device),
            torch.from_numpy(batch.bootstrap_discounts).to(self.device),
            self.augmenter(next_observations) if config.augmented_targets else next_observations,
        )

    def _without_gradient(self, transitions: _Transitions) -> _Outputs:
        """The outputs that a target is made of, each (batch, actions, atoms).

        First the target network's of the next observations. Then, for Munchausen, the target
        network's of the observations; else those that choose the next action.
        """
        with torch.no_grad():
            q_t_value = self.target(transitions.next_observations)
            if self.config.munchausen:
                return q_t_value, self.target(transitions.observations)
            if self.config.double:
                return q_t_value, self.policy(transitions.next_observations)
            return q_t_value, q_t_value

    def _learn(
        self, transitions: _Transitions, outputs: Future[_Outputs]
    ) -> Callable[[], dict[str, Tensor | float]]:
        """Take a gradient step, given the transitions and what a target is made of.

        Returns what works out the scalars that describe it: only those of the last step are seen.
        """
        config = self.config
        q_tm1 = self.policy(transitions.observations)
        loss, errors = self._loss(transitions, q_tm1, outputs)
        weights = torch.from_numpy(transitions.batch.weights).to(self.device)
        objective = (weights * loss).mean()
        learning_rate = config.learning_rate_at(self.steps)
        objective, gradient_norm = gradient_step(
            self.policy.network,
            self.optimizer,
            objective,
            l1=config.l1,
            l2=config.l2,
            learning_rate=learning_rate,
            max_gradient_norm=config.max_gradient_norm,
            updates=self.updates,
            steps=self.steps,
        )
        self.updates += 1
        if self._average is not None:
            self._average.follow(self.policy, self.updates)
        if self.updates % config.target_update_every == 0:
            self.target.load_state_dict(self.policy.state_dict())
        if config.priority_exponent > 0:
            self.replay.update_priorities(transitions.batch.indices, errors.cpu().numpy())
        outputs_tm1 = q_tm1.detach()

        def describe() -> dict[str, Tensor | float]:
            q_values = config.head.q_values(outputs_tm1).gather(1, transitions.a_tm1.unsqueeze(1))
            return {
                "loss": objective,
                "td_error": errors.mean(),
                "q_mean": q_values.mean(),
                "q_max": q_values.max(),
                "gradient_norm": gradient_norm,
                "epsilon": self.epsilon,
                "learning_rate": learning_rate,
                "replay_size": float(len(self.replay)),
                "updates": float(self.updates),
                **self.augmenter.metrics(),
            }

        return describe

    def _loss(
        self, transitions: _Transitions, q_tm1: Tensor, outputs: Future[_Outputs]
    ) -> tuple[Tensor, Tensor]:
        """Losses and priorities, each (batch,), of the network's outputs `q_tm1`."""
        config = self.config
        a_tm1, r_t, discount_t = transitions.a_tm1, transitions.r_t, transitions.discount_t
        q_t_value, extra = outputs.result()
        if config.munchausen:
            scalar = config.head.kind == "expected"
            learn = (
                losses.munchausen_q_learning if scalar else losses.munchausen_quantile_q_learning
            )
            result = learn(
                q_tm1.squeeze(-1) if scalar else q_tm1,
                a_tm1,
                r_t,
                discount_t,
                extra.squeeze(-1) if scalar else extra,
                q_t_value.squeeze(-1) if scalar else q_t_value,
                temperature=config.munchausen_temperature,
                scale=config.munchausen_scale,
                huber_kappa=config.head.huber_threshold,
            )
        else:
            result = q_learning_loss(config.head, q_tm1, a_tm1, r_t, discount_t, q_t_value, extra)
        return result.loss, result.priority

    def state_dict(self) -> dict[str, Any]:
        """Everything but the replay's rows, as nested plain data, arrays and tensors.

        The tensors are those in use, not copies: later updates change them.
        """
        return {
            "policy": self.policy.state_dict(),
            "target": self.target.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "random": self._random.bit_generator.state,
            "noise": self._noise.get_state(),
            "augmentation": self.augmenter.state(),
            "steps": self.steps,
            "updates": self.updates,
            "samples_due": self._samples_due,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken; the replay's rows are brought back apart from this."""
        self.policy.load_state_dict(state["policy"])
        self.target.load_state_dict(state["target"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        self._random.bit_generator.state = state["random"]
        self._noise.set_state(state["noise"])
        self.augmenter.go_on(state.get("augmentation"))
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])
        self._samples_due = float(state["samples_due"])
        self._ahead = None


def _check_stacks(before: np.ndarray, after: np.ndarray) -> None:
    """Raise ValueError unless the stacks (num_envs, stack, ...) moved on by one frame."""
    if not np.array_equal(before[:, 1:], after[:, :-1]):
        raise ValueError(
            f"observations of shape {before.shape[1:]} must be stacks of the last "
            f"{before.shape[1]} frames, oldest first, but the first step did not move them on by "
            "one; give single frames a first axis of length 1, or flatten them"
        )
