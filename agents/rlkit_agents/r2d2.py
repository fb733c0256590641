"""R2D2 (Kapturowski et al. 2019): Q-learning with a memory, from prioritised sequences.

DRQN (Hausknecht & Stone 2015) put a recurrent layer into the Q-network; R2D2 added stored recurrent
states, burn-in, n-step double Q-learning, value rescaling (Pohlen et al. 2018) and a dueling
network. With a quantile head the rescaled distribution of returns is learnt (Dabney et al. 2018).

Departures from the paper: sequences run on over the ends of episodes, the state being cleared where
one starts, and all rows of a trace have a whole n-step window (see `sequence_replay`); one process
acts with the present weights in place of 256 actors with old ones; new sequences come with the
highest priority so far, not with their own; the network is not told the last action and reward; the
loss is a mean over time steps, Huber's; importance weights are divided by the largest of the batch;
truncated episodes bootstrap. The defaults suit a processor: a small network with quantiles, traces
half as long, smaller batches at a larger learning rate.
"""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rlkit_agents.augmentation import Augmenter
from rlkit_agents.averaging import WeightAverage
from rlkit_agents.memory import State
from rlkit_agents.networks import unrolled_features
from rlkit_agents.precision import autocast
from rlkit_agents.q_learning import gradient_step, q_learning_loss, thread_beside
from rlkit_agents.q_policy import QPolicy
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.sequence_replay import SequenceBatch, SequenceReplay
from rlkit_agents.step import Step
from rlkit_agents.symmetry import mirror_shares


def mixed_priorities(errors: Tensor, valid: Tensor, max_share: float) -> Tensor:
    """A sequence's priority: max_share * max |error| + (1 - max_share) * mean |error|.

    Kapturowski et al. 2019, section 2.3, over the valid rows alone.
    errors: (time, batch), absolute. valid: (time, batch) bool. Returns (batch,), 0 where no row is
    valid.
    """
    kept = torch.where(valid, errors, 0.0)
    mean = kept.sum(0) / valid.sum(0).clamp_min(1)
    return max_share * kept.amax(0) + (1 - max_share) * mean


class R2D2:
    """Learns a recurrent `QPolicy` from a stream of steps.

    observation_space: Box, commonly of single frames (1, height, width); stacks of frames are
    possible, and stored whole. action_space: Discrete.
    num_envs: environments that step in a batch. seeds: independent streams for exploration,
    replay and initialisation.
    Raises ValueError for other spaces, symmetries and augmentations that do not fit them, and a
    replay too small.
    """

    def __init__(
        self,
        config: R2D2Config,
        observation_space: gym.Space,
        action_space: gym.Space,
        num_envs: int,
        *,
        exploration_seed: np.random.SeedSequence,
        replay_seed: np.random.SeedSequence,
        initialisation_seed: np.random.SeedSequence,
        device: torch.device | str = "cpu",
    ) -> None:
        if isinstance(action_space, gym.spaces.Box):
            raise ValueError(
                f"R2D2 chooses among finitely many actions and needs a Discrete action space, got "
                f"{action_space}; PPO learns continuous actions, also with a memory"
            )
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
                value_rescaling=config.value_rescaling,
                precision=config.precision,
            )
        self.policy = policy.to(self.device)
        self.target = copy.deepcopy(self.policy).requires_grad_(False)
        self.target.eval_with_noise()
        self._average = None
        if config.average_decay > 0.0:
            self._average = WeightAverage(self.policy, config.average_decay)
        self._beside = thread_beside("r2d2", self.device, config.network)
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
        self.augmenter = Augmenter(config.augmentation, replay_seed, self.device)
        """What sequences go through before they are learnt from."""
        self.augmenter.check_fits(shape, observation_space.dtype)
        _check_capacity(config, num_envs)
        memory = self.policy.network.memory
        assert memory is not None
        self.replay = SequenceReplay(
            capacity=config.replay_capacity,
            num_envs=num_envs,
            observation_shape=shape,
            observation_dtype=observation_space.dtype,
            state_shape=(memory.state_parts, memory.size),
            burn_in=config.burn_in,
            trace_length=config.trace_length,
            trace_period=config.trace_period,
            n_step=config.n_step,
            discount=config.discount,
            priority_exponent=config.priority_exponent,
            compress=config.compress_replay,
            seed=replay_seed,
        )
        self._random = np.random.default_rng(exploration_seed)
        self._noise = torch.Generator(self.device)
        self._noise.manual_seed(int(self._random.integers(2**63)))
        self.steps = 0
        """Environment steps observed."""
        self.updates = 0
        """Gradient steps taken."""
        self._samples_due = 0.0
        self._state = memory.initial_state(num_envs)
        self._starts = np.ones(num_envs, bool)
        self._state_before = self._state
        self._acted_on: np.ndarray | None = None
        self._actions: np.ndarray | None = None

    @property
    def evaluated_policy(self) -> QPolicy:
        """As `Algorithm.evaluated_policy`."""
        return self.policy if self._average is None else self._average.policy

    @property
    def epsilon(self) -> float:
        """The present share of random actions, in the first environment."""
        return self.config.epsilon.at(self.steps)

    @property
    def epsilons(self) -> npt.NDArray[np.float64]:
        """(num_envs,), the present share of random actions in each environment."""
        spread = np.linspace(0, self.config.epsilon_spread, self.num_envs)
        return self.epsilon ** (1 + spread)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Explore: greedy actions, a share `epsilons` of them replaced by random ones.

        observations: (num_envs, *observation_shape), to be left unchanged until `observe`.
        Returns (num_envs,) int64.
        """
        self.policy.eval_with_noise()
        if self.config.network.noisy:
            self.policy.network.reset_noise(self._noise)
        with torch.inference_mode():
            starts = torch.from_numpy(self._starts).to(self.device)
            before = self.policy.forget(self._state, starts)
            tensor = torch.from_numpy(observations).to(self.device)
            greedy, after = self.policy.act(tensor, before)
        assert before is not None
        assert after is not None
        self._state_before, self._state = before, after
        explores = self._random.random(self.num_envs) < self.epsilons
        random = self._random.integers(self.target.network.num_actions, size=self.num_envs)
        self._acted_on = observations
        self._actions = np.where(explores, random, greedy.cpu().numpy())
        return self._actions

    def observe(self, step: Step) -> None:
        """Remember what came of the last actions. Raises ValueError as `SequenceReplay.add`."""
        assert self._acted_on is not None, "act comes before observe"
        assert self._actions is not None
        states = None
        if self.replay.begins_sequences:
            states = torch.stack(self._state_before, 1).cpu().numpy()
        self.replay.add(
            self._acted_on,
            self._actions,
            step.rewards,
            step.terminated,
            step.truncated,
            step.valid,
            states,
        )
        self._acted_on = None
        self._starts = ~step.valid
        self.steps += self.num_envs
        # Nothing is due before there is something to learn from: it would all come at once.
        learns = self.steps > self.config.learning_starts
        if learns and self.replay.can_sample(self.config.batch_size):
            self._samples_due += self.num_envs * self.config.samples_per_step

    def update(self) -> dict[str, Tensor | float]:
        """Take the gradient steps that are due, often none.

        Returns scalars for the last of them, or nothing. Raises NonFiniteGradientError, before
        the weights change, when the loss or a gradient is not finite.
        """
        metrics: dict[str, Tensor | float] = {}
        samples = self.config.batch_size * self.config.trace_length
        while self._samples_due >= samples and self.replay.can_sample(self.config.batch_size):
            self._samples_due -= samples
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
            self.target.network.reset_noise(self._noise)
        loss, errors, values = self._loss(batch)  # (trace_length, batch)
        valid = torch.from_numpy(batch.valid).to(self.device)
        weights = torch.from_numpy(batch.weights).to(self.device)
        learning_rate = config.learning_rate_at(self.steps)
        objective, gradient_norm = gradient_step(
            self.policy.network,
            self.optimizer,
            torch.where(valid, weights * loss, 0.0).sum() / valid.sum(),
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
            priorities = mixed_priorities(errors, valid, config.priority_max_share)
            self.replay.update_priorities(batch.indices, priorities.cpu().numpy())
        return {
            "loss": objective,
            "td_error": errors[valid].mean(),
            "q_mean": values[valid].mean(),
            "q_max": values[valid].max(),
            "gradient_norm": gradient_norm,
            "epsilon": self.epsilon,
            "learning_rate": learning_rate,
            "replay_size": float(self.replay.size),
            "updates": float(self.updates),
            **self.augmenter.metrics(),
        }

    def _loss(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, absolute errors and values of the actions taken, each (trace_length, batch).

        Errors are those of rescaled values, values are true returns. Reset steps have them as well.
        """
        config = self.config
        observations = torch.from_numpy(batch.observations).to(self.device)
        mirrored = mirror_shares(
            config.symmetries, self.updates, (observations.transpose(0, 1),), batch.actions.T
        )
        batch.states[mirrored] = 0
        # A stored state remembers unchanged pictures; the burn-in brings it up to changed ones.
        observations = self.augmenter.over_time(observations)
        state = tuple(torch.from_numpy(batch.states).to(self.device).unbind(1))
        starts = torch.from_numpy(batch.starts).to(self.device)
        learnt = slice(config.burn_in, config.burn_in + config.trace_length)
        rest = slice(learnt.stop, None)

        pending = self._beside.submit(
            _outputs_after_burn_in, self.target, observations, state, starts, config.burn_in
        )
        state = _burnt_in(self.policy, observations, state, starts, config.burn_in)
        q_tm1, after = self.policy.unroll(observations[learnt], state, starts[learnt])
        q_t_selector = None
        if config.double:
            with torch.no_grad():
                later, _ = self.policy.unroll(observations[rest], after, starts[rest])
            q_t_selector = torch.cat([q_tm1.detach(), later])
        q_t_value = pending.result()
        if q_t_selector is None:
            q_t_selector = q_t_value

        trace_length, num_sequences = batch.actions.shape
        environment = torch.arange(num_sequences, device=self.device)
        time = torch.arange(trace_length, device=self.device).unsqueeze(1)
        bootstrap = time + torch.from_numpy(batch.steps).to(self.device)
        a_tm1 = torch.from_numpy(batch.actions).to(self.device).flatten()
        q_tm1 = q_tm1.flatten(0, 1)
        loss, errors = q_learning_loss(
            config.head,
            q_tm1,
            a_tm1,
            torch.from_numpy(batch.returns).to(self.device).flatten(),
            torch.from_numpy(batch.bootstrap_discounts).to(self.device).flatten(),
            q_t_value[bootstrap, environment].flatten(0, 1),
            q_t_selector[bootstrap, environment].flatten(0, 1),
            value_rescaling=config.value_rescaling,
        )
        with torch.no_grad():
            values = self.policy.expected_returns(q_tm1).gather(1, a_tm1.unsqueeze(1))
        shape = (trace_length, num_sequences)
        return loss.reshape(shape), errors.reshape(shape), values.reshape(shape)

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
            "memory": list(self._state),
            "starts": self._starts,
            "steps": self.steps,
            "updates": self.updates,
            "samples_due": self._samples_due,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken; the replay's rows are brought back apart from this.

        Raises ValueError, or RuntimeError from PyTorch, where it is of another configuration.
        """
        self.policy.load_state_dict(state["policy"])
        self.target.load_state_dict(state["target"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        self._random.bit_generator.state = state["random"]
        self._noise.set_state(state["noise"])
        self.augmenter.go_on(state.get("augmentation"))
        memory = self.policy.network.memory
        assert memory is not None
        saved = tuple(part.to(self.device) for part in state["memory"])
        self._state = memory.checked_state(saved, self.num_envs)
        self._starts = np.array(state["starts"], bool)
        self._acted_on = None
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])
        self._samples_due = float(state["samples_due"])


def _burnt_in(
    policy: QPolicy, observations: Tensor, state: State, starts: Tensor, burn_in: int
) -> State:
    """The state after the first `burn_in` observations, without gradient; see `QPolicy.unroll`."""
    if burn_in == 0:
        return state
    network = policy.network
    with torch.no_grad(), autocast(policy.precision, observations.device):
        return unrolled_features(
            network.torso, network.memory, observations[:burn_in], state, starts[:burn_in]
        )[1]


def _outputs_after_burn_in(
    policy: QPolicy, observations: Tensor, state: State, starts: Tensor, burn_in: int
) -> Tensor:
    """Outputs (time - burn_in, batch, actions, atoms), without gradient; see `QPolicy.unroll`.

    One pass of the torso over everything, and none of the head over the burn-in.
    """
    network = policy.network
    with torch.no_grad(), autocast(policy.precision, observations.device):
        features, _ = unrolled_features(network.torso, network.memory, observations, state, starts)
        outputs = network.head(features[burn_in:].flatten(0, 1))
        return outputs.unflatten(0, (-1, observations.shape[1]))


def _check_capacity(config: R2D2Config, num_envs: int) -> None:
    """Raise ValueError unless the replay always holds sequences for a batch, once it is full."""
    length = config.burn_in + config.trace_length + config.n_step
    rows = config.replay_capacity // num_envs
    sequences = max(0, (rows - length + 1) // config.trace_period) * num_envs
    if sequences < config.batch_size:
        needed = length - 1 + config.trace_period * -(-config.batch_size // num_envs)
        raise ValueError(
            f"a replay_capacity of {config.replay_capacity} leaves {sequences} sequences to sample "
            f"(of burn_in + trace_length + n_step = {length} rows of {num_envs} environments), too "
            f"few for a batch_size of {config.batch_size}: it must be at least {needed * num_envs}"
        )
