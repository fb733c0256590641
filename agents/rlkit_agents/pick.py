"""Learns where to pick from its own attempts, as a contextual bandit.

The chance of success at the pixel that was tried is learnt by binary cross-entropy, and nothing is
said about pixels that were not tried (Zeng et al. 2018 and Levine et al. 2016 learn grasps so).
Pictures are cut to a window around the pixel, turned and mirrored in all eight ways; failures,
which become rare, are drawn more often and weighed less, so that chances stay calibrated. At first
it tries parts at random, then with a share `epsilon`; else one member of an ensemble, drawn anew
for every attempt, decides (bootstrapped Thompson sampling, Osband et al. 2016).

With a `discount` above 0 it learns what attempts now do to those later, by Q-learning with a target
network: (1 - discount) * success + discount * the best of the next picture, which stays in [0, 1],
so the same loss serves.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlkit_agents.augmentation import Augmenter, augmentation_named, check_moves_pixels
from rlkit_agents.averaging import WeightAverage
from rlkit_agents.coded_pictures import CodedPictures
from rlkit_agents.pick_policy import POOLING, PickNetworkConfig, PickPolicy
from rlkit_agents.precision import Precision
from rlkit_agents.q_learning import gradient_step
from rlkit_agents.replay import Batch, Replay
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_agents.turns import WAYS, turned, turned_places


@dataclass(frozen=True)
class PickConfig:
    """Everything about the picking agent."""

    network: PickNetworkConfig = field(default_factory=PickNetworkConfig)
    """Its size, and the ensemble's."""
    window: int = 48
    """Side in pixels of what the network sees around a tried pixel while learning, a multiple of
    8. Chances depend on what lies up to 23 pixels away; a smaller window cuts some of that."""
    symmetric: bool = True
    """Turn and mirror windows, and average chances over all turns and mirrors of a picture where
    they decide; only while the tool stands upright. What explores sees a picture in one way."""
    augmentation: tuple[str, ...] = ()
    """Random changes of the windows in every batch, in this order, such as `rotation:180 noise:0.5
    dropout:0.02`, in millimetres (`augmentation.KINDS`); where the picture moves, so does the pixel
    that was tried. What targets are made of with a discount stays as it was seen."""
    discount: float = 0.0
    """Of one attempt; 0 is a bandit, more values what an attempt does to the pile."""
    bootstrap_share: float = 0.7
    """Of all attempts that each member of the ensemble learns from."""
    failure_priority: float = 3.0
    """How much more often a failure is drawn than a success."""
    epsilon: LinearSchedule = LinearSchedule(0.5, 0.0, 2_500)
    """Share of attempts at random over attempts."""
    explored_mm: tuple[float, float] = (4.0, 80.0)
    """Heights between which random attempts go: parts, neither floor nor walls."""
    learning_starts: int = 100
    """Attempts, all of them at random, before the first gradient step."""
    replay_capacity: int = 20_000
    """Attempts kept."""
    batch_size: int = 64
    """Attempts in a gradient step."""
    samples_per_step: float = 16.0
    """Attempts trained on for each attempt made."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    learning_rate_end: float | None = 1e-4
    """Step size after `learning_rate_steps`, reached in a straight line; None keeps it constant."""
    learning_rate_steps: int = 10_000
    """Attempts from `learning_rate` to `learning_rate_end`."""
    weight_decay: float = 1e-5
    """Weight of the sum of squared weights in the loss."""
    max_gradient_norm: float = 5.0
    """Gradients are scaled down to this norm over all weights."""
    target_update_every: int = 100
    """Gradient steps between copies into the target network; only with a discount."""
    average_decay: float = 0.999
    """Of the running average of the weights that is evaluated and saved (`averaging`), below 1; 0
    takes the latest. What explores is always the latest."""
    precision: Precision = "auto"
    """Number format of convolutions."""

    def __post_init__(self) -> None:
        if self.window < 2 * POOLING or self.window % (2 * POOLING):
            raise ValueError(f"window must be a multiple of {2 * POOLING}, got {self.window}")
        if not 0 <= self.discount < 1:
            raise ValueError(f"discount must be in [0, 1), got {self.discount}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {self.average_decay}")
        if not 0 < self.bootstrap_share <= 1:
            raise ValueError(f"bootstrap_share must be in (0, 1], got {self.bootstrap_share}")
        for name in (
            "failure_priority",
            "samples_per_step",
            "learning_rate",
            "max_gradient_norm",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("batch_size", "replay_capacity", "target_update_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_starts", "weight_decay", "learning_rate_end", "learning_rate_steps"):
            if not (getattr(self, name) or 0) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not (0 <= self.epsilon.start <= 1 and 0 <= self.epsilon.end <= 1):
            raise ValueError(f"epsilon must stay within 0 and 1, got {self.epsilon}")
        for name in self.augmentation:
            augmentation_named(name)
        low, high = self.explored_mm
        if not 0 <= low < high:
            raise ValueError(f"explored_mm must be two rising heights, got {self.explored_mm}")

    def learning_rate_at(self, step: int) -> float:
        """Adam's step size after `step` attempts."""
        end = self.learning_rate if self.learning_rate_end is None else self.learning_rate_end
        return LinearSchedule(self.learning_rate, end, self.learning_rate_steps).at(step)


@dataclass(frozen=True, slots=True)
class Attempts:
    """What was sent to the environments, for whoever watches.

    pictures: (num_envs, channels, height, width), acted on. actions: (num_envs,) int64.
    random: (num_envs,) bool, True where exploring chose, not the policy.
    chances: (num_envs, actions) float32, of success as the policy saw them before acting, the mean
        of the ensemble's; None where everything was random.
    """

    pictures: np.ndarray
    actions: np.ndarray
    random: np.ndarray
    chances: np.ndarray | None


class Pick:
    """Learns a `PickPolicy` from a stream of attempts.

    Spaces as `PickPolicy` takes them; constructed as `Algorithm` says, with what makes pictures of
    observations that are codes. The replay holds observations as they come. Rewards are 1 for
    success and 0 for failure.
    Raises ValueError for other spaces, more channels than one of `symmetric` pictures, a window
    larger than the picture, an augmentation that does not fit windows, and a replay too small.
    """

    def __init__(
        self,
        config: PickConfig,
        observation_space: gym.Space,
        action_space: gym.Space,
        num_envs: int,
        *,
        exploration_seed: np.random.SeedSequence,
        replay_seed: np.random.SeedSequence,
        initialisation_seed: np.random.SeedSequence,
        device: torch.device | str = "cpu",
        coded: CodedPictures | None = None,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.num_envs = num_envs
        with torch.random.fork_rng():
            torch.manual_seed(int(initialisation_seed.generate_state(1)[0]))
            policy = PickPolicy(
                observation_space,
                action_space,
                config.network,
                symmetric=config.symmetric,
                discount=config.discount,
                coded=coded,
                precision=config.precision,
            )
        self.policy = policy.to(self.device)
        self.target = copy.deepcopy(self.policy).requires_grad_(False).eval()
        self.target.symmetric = False  # an eighth of the work
        self._average = None
        if config.average_decay > 0.0:
            self._average = WeightAverage(self.policy, config.average_decay)
        shape = self.policy.picture_shape
        assert observation_space.shape is not None
        assert observation_space.dtype is not None
        if config.symmetric and self.policy.stances == 1 and shape[0] > 2:
            raise ValueError(
                "only heights can be turned and mirrored, and these pictures have "
                f"{shape[0] - 1} channels, which may hold directions: set symmetric to false"
            )
        if config.window > min(shape[1:]):
            raise ValueError(
                f"a window of {config.window} pixels is larger than a picture of {shape[1:]}"
            )
        upright = self.policy.stances == 1 and shape[0] <= 2
        reach = (config.window - 1) / 2
        check_moves_pixels(config.augmentation, POOLING - 0.5, reach, upright)
        self.augmenter = Augmenter(config.augmentation, replay_seed, self.device)
        """What windows go through before they are learnt from."""
        window = (shape[0] - 1, config.window, config.window)
        self.augmenter.check_fits(window, np.dtype(np.float32), (shape[0] - 1, *shape[1:]))
        self.optimizer = torch.optim.Adam(
            self.policy.network.parameters(), lr=config.learning_rate, fused=True
        )
        self.replay = Replay(
            capacity=config.replay_capacity,
            num_envs=num_envs,
            frame_shape=observation_space.shape,
            frame_dtype=observation_space.dtype,
            frame_stack=1,
            n_step=1,
            discount=config.discount,
            priority_exponent=1.0,
            seed=replay_seed,
        )
        most = (self.replay.rows_capacity - 1) * num_envs
        if most < config.batch_size:
            raise ValueError(
                f"a replay_capacity of {config.replay_capacity} leaves {most} attempts to sample, "
                f"too few for a batch_size of {config.batch_size}"
            )
        self._random = np.random.default_rng(exploration_seed)
        self._torch_random = torch.Generator().manual_seed(int(self._random.integers(2**63)))
        self.steps = 0
        """Attempts observed."""
        self.updates = 0
        """Gradient steps taken."""
        self._samples_due = 0.0
        self.attempts: Attempts | None = None
        """The last ones; None before the first."""
        self._observations: np.ndarray | None = None
        self._rated: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def evaluated_policy(self) -> PickPolicy:
        """As `Algorithm.evaluated_policy`."""
        return self.policy if self._average is None else self._average.policy

    @property
    def epsilon(self) -> float:
        """The present share of random attempts."""
        if self.steps <= self.config.learning_starts:
            return 1.0
        return self.config.epsilon.at(self.steps)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Explore: what one member of the ensemble would do, or a random pixel on a part.

        observations: (num_envs, *observation_shape), to be left unchanged until `observe`.
        Returns (num_envs,) int64.
        """
        seen = torch.from_numpy(observations).to(self.device)
        pictures = self.policy.pictures(seen).cpu().numpy()
        explores = self._random.random(self.num_envs) < self.epsilon
        actions = np.zeros(self.num_envs, np.int64)
        chances = None
        if not explores.all():
            with torch.random.fork_rng(), torch.inference_mode():
                torch.set_rng_state(self._torch_random.get_state())
                chosen, expected = self.policy.sample(seen)
                self._torch_random.set_state(torch.get_rng_state())
            actions, chances = chosen.cpu().numpy(), expected.cpu().numpy()
        for env in np.flatnonzero(explores):
            actions[env] = self._random_pick(pictures[env])
        self.attempts = Attempts(pictures, actions, explores, chances)
        self._observations = observations
        return actions

    def _random_pick(self, picture: np.ndarray) -> int:
        """A pixel on a part and outside what is marked; any, where there is none."""
        low, high = self.config.explored_mm
        height = picture[0]
        worth = (height > low) & (height < high) & (picture[-1] == 0)
        pixels = np.flatnonzero(worth)
        pixel = self._random.choice(pixels) if len(pixels) else self._random.integers(height.size)
        return int(self._random.integers(self.policy.stances) * height.size + pixel)

    def observe(self, step: Step) -> None:
        """Remember what came of the last attempts."""
        assert self.attempts is not None, "act comes before observe"
        assert self._observations is not None
        row = self.replay.rows_written
        self.replay.add(
            self._observations,
            self.attempts.actions,
            step.rewards,
            step.terminated,
            step.truncated,
            step.valid,
        )
        self._rate()
        wanted = np.where(step.rewards > 0, 1.0, self.config.failure_priority)
        indices = row * self.num_envs + np.flatnonzero(step.valid)
        self._rated = indices, wanted[step.valid]
        self.steps += self.num_envs
        if self.steps > self.config.learning_starts:
            self._samples_due += self.num_envs * self.config.samples_per_step

    def _rate(self) -> None:
        """Give the row before the last, which can be drawn from now on, its priorities."""
        if self._rated is not None and len(self._rated[0]):
            self.replay.update_priorities(*self._rated)
        self._rated = None

    def update(self) -> dict[str, Tensor | float]:
        """Take the gradient steps that are due, often none; see `Algorithm.update`."""
        metrics: dict[str, Tensor | float] = {}
        size = self.config.batch_size
        while self._samples_due >= size and self.replay.can_sample(size):
            self._samples_due -= size
            metrics = self._learn(self.replay.sample(size, importance_exponent=1.0))
        return metrics

    def _learn(self, batch: Batch) -> dict[str, Tensor | float]:
        config = self.config
        self.policy.train()
        observations = torch.from_numpy(batch.observations).to(self.device)
        pictures = self.policy.pictures(observations)[:, :-1]
        actions = torch.from_numpy(batch.actions).to(self.device)
        windows, at = self._windows(self.augmenter.learnt(pictures), actions)
        windows, at = self.augmenter.with_places(windows, at)
        stances = actions // self.policy.pixels
        rows = torch.arange(len(actions), device=self.device)
        logits = self.policy.logits_at(windows, at)[rows, :, stances]
        targets = self._targets(batch)
        learns = torch.from_numpy(self._shared_out(batch.indices)).to(self.device)
        weights = torch.from_numpy(batch.weights).to(self.device)
        losses = functional.binary_cross_entropy_with_logits(
            logits, targets[:, None].expand_as(logits), reduction="none"
        )
        shares = weights[:, None] * learns
        # A small batch may be shared out to no member at all; then there is nothing to learn.
        objective = (shares * losses).sum() / shares.sum().clamp_min(1e-6)
        learning_rate = config.learning_rate_at(self.steps)
        objective, gradient_norm = gradient_step(
            self.policy.network,
            self.optimizer,
            objective,
            l1=0.0,
            l2=config.weight_decay,
            learning_rate=learning_rate,
            max_gradient_norm=config.max_gradient_norm,
            updates=self.updates,
            steps=self.steps,
        )
        self.updates += 1
        if self._average is not None:
            self._average.follow(self.policy, self.updates)
        if config.discount > 0 and self.updates % config.target_update_every == 0:
            self.target.load_state_dict(self.policy.state_dict())
        chances = torch.sigmoid(logits.detach()).mean(1)
        return {
            "loss": objective,
            "brier": (weights * (chances - targets) ** 2).sum() / weights.sum(),
            "chance_mean": (weights * chances).sum() / weights.sum(),
            "disagreement": torch.sigmoid(logits.detach()).std(1).mean()
            if self.policy.network.members > 1
            else 0.0,
            "gradient_norm": gradient_norm,
            "epsilon": self.epsilon,
            "learning_rate": learning_rate,
            "replay_size": float(len(self.replay)),
            "updates": float(self.updates),
            **self.augmenter.metrics(),
        }

    def _targets(self, batch: Batch) -> Tensor:
        """(batch,) what the chances should have been."""
        rewards = torch.from_numpy(batch.returns).to(self.device)
        discount = self.config.discount
        if discount == 0.0:
            return rewards
        later = torch.from_numpy(batch.bootstrap_discounts).to(self.device)
        with torch.no_grad():
            best = self.target.q_values(torch.from_numpy(batch.next_observations).to(self.device))
        return (1.0 - discount) * rewards + later * best.amax(1).clamp(0.0, 1.0)

    def _shared_out(self, indices: np.ndarray) -> np.ndarray:
        """(batch, members) float32, 1 where a member learns from an attempt, always the same."""
        members = self.policy.network.members
        numbers = indices[:, None].astype(np.uint64) * np.uint64(members) + np.arange(
            members, dtype=np.uint64
        )
        return (_scrambled(numbers) < self.config.bootstrap_share).astype(np.float32)

    def _windows(self, pictures: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Windows (batch, channels, window, window) around pixels, each turned in its own way.

        Also where the pixels (batch, 2) are in them. Around a picture lies ground.
        """
        size = self.config.window
        half = size // 2
        width = pictures.shape[-1]
        pixels = actions % self.policy.pixels
        tried = torch.stack([pixels // width, pixels % width], 1)
        # Cut where the network pools the whole picture, or it would never learn from pixels at
        # other places among the four that become one.
        at = half + tried % POOLING
        padded = functional.pad(pictures, (half, half, half, half))
        along = torch.arange(size, device=self.device)
        rows, columns = (tried - tried % POOLING)[:, :, None].add(along).unbind(1)
        batch = torch.arange(len(actions), device=self.device)
        windows = padded[batch[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        windows = windows.permute(0, 3, 1, 2)
        if not self.config.symmetric or self.policy.stances > 1:
            return windows, at
        all_turned = torch.empty_like(windows)
        for way in range(WAYS):
            share = slice((way + self.updates) % WAYS, None, WAYS)
            all_turned[share] = turned(windows[share], way)
            at[share] = turned_places(at[share], size, way)
        return all_turned, at

    def state_dict(self) -> dict[str, Any]:
        """Everything but the replay's rows; see `Algorithm.state_dict`."""
        rated = self._rated or (np.zeros(0, np.int64), np.zeros(0))
        return {
            "policy": self.policy.state_dict(),
            "target": self.target.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "random": self._random.bit_generator.state,
            "torch_random": self._torch_random.get_state(),
            "augmentation": self.augmenter.state(),
            "rated_indices": rated[0],
            "rated_priorities": rated[1],
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
        self._torch_random.set_state(state["torch_random"])
        self.augmenter.go_on(state.get("augmentation"))
        self._rated = np.asarray(state["rated_indices"]), np.asarray(state["rated_priorities"])
        self.steps = int(state["steps"])
        self.updates = int(state["updates"])
        self._samples_due = float(state["samples_due"])


def _scrambled(numbers: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) that look random, each a function of its uint64 alone.

    The mixing steps are those of SplitMix64 (Steele, Lea & Flood 2014).
    """
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
