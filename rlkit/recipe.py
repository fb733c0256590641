"""What a training is made of: one frozen configuration, which fully determines it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from tyro.conf import Fixed, Suppress

from rlkit.algorithms import AlgorithmConfig
from rlkit.environments import Environment
from rlkit_agents.dqn import DQNConfig
from rlkit_agents.pick import PickConfig
from rlkit_agents.pqn import PQNConfig
from rlkit_agents.r2d2_config import R2D2Config

_AUGMENTED = DQNConfig | R2D2Config | PQNConfig | PickConfig
"""Of algorithms that learn from changed observations."""


@dataclass(frozen=True)
class EvaluationSchedule:
    """When the policy is evaluated during training, and how long."""

    every: int = 500_000
    """Environment steps between evaluations; 0 evaluates only at the end."""
    episodes: int = 16
    """Episodes of an evaluation during training."""
    final_episodes: int = 100
    """Episodes of the evaluation at the end; 0 skips it."""
    best_by: str = "return"
    """What the best policy has most of on average: the return, or something that the environment
    counts in an episode, by name. By steps it is the latest, where evaluations tell policies less
    well apart than training makes them better."""
    video_every: int = 0
    """Environment steps between videos of an episode; the best policy's is last. 0 makes none."""

    def __post_init__(self) -> None:
        for name, least in (
            ("every", 0),
            ("episodes", 1),
            ("final_episodes", 0),
            ("video_every", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(
                    f"evaluation.{name} must be at least {least}, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a training."""

    name: Suppress[Fixed[str]]
    """What the recipe is called, also in run folders."""
    environment: Environment
    """The world."""
    algorithm: AlgorithmConfig = field(default_factory=DQNConfig)
    """What learns, and how."""
    pretrained_torso: str | None = None
    """File of a companion, such as an autoencoder, with whose torso the agent's starts."""
    frozen_torso_steps: int = 0
    """Environment steps in which a pretrained torso stays as it is; -1 is all of them."""
    thaw_torso_steps: int = 0
    """Environment steps, after the frozen ones, over which a pretrained torso's layers begin to
    learn one after another, the topmost first (Howard & Ruder 2018); with 0 all begin at once."""
    augmentation_file: str | None = None
    """File of a companion, such as of `rlkit gan`, that changes the pictures which a DQN, an R2D2,
    a PQN or a picking agent learns from, before the algorithm's own augmentation. One that has not
    passed its companion's tests is refused."""
    augmentation_share: float = 0.25
    """Of every batch, at most, that the file changes, in (0, 1]."""
    num_envs: int = 64
    """Environments that step in one batch."""
    steps: int | None = None
    """Environment steps to train for; None does not limit them."""
    minutes: float | None = None
    """Wall-clock minutes to train for, evaluations included; None does not limit them."""
    seed: int = 1
    """Determines environments, exploration, replay and initialisation."""
    environment_threads: int = 0
    """Threads that step the environments; 0 is half the cores where a replay lets the learner
    compute meanwhile, else all."""
    learner_threads: int = 0
    """Threads that compute the learning; 0 is half the cores for a replay and for flat
    observations, else all. Two that want one core lose far more than half, as each waits for the
    other's threads: take 1 on a busy machine."""
    checkpoint_every: int = 1_000_000
    """Environment steps between checkpoints. At each, running episodes are cut, but where the
    environments can save their state (see `Stepper`); Stable-Baselines3's always are."""
    checkpoints_kept: int = 2
    """Newest checkpoints kept in the run folder."""
    evaluation: EvaluationSchedule = field(default_factory=EvaluationSchedule)
    """When the policy is evaluated."""

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("a training needs a budget: steps, minutes or both")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes must be more than 0, got {self.minutes}")
        if self.num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {self.num_envs}")
        for name in ("seed", "environment_threads", "learner_threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.frozen_torso_steps < -1:
            raise ValueError(
                f"frozen_torso_steps must be at least 0, or -1, got {self.frozen_torso_steps}"
            )
        if self.thaw_torso_steps < 0:
            raise ValueError(f"thaw_torso_steps must not be negative, got {self.thaw_torso_steps}")
        for name in ("frozen_torso_steps", "thaw_torso_steps"):
            if getattr(self, name) and self.pretrained_torso is None:
                raise ValueError(f"{name} is for a pretrained_torso alone")
        if self.thaw_torso_steps and self.frozen_torso_steps == -1:
            raise ValueError("a torso that is frozen for good (-1) has no thaw_torso_steps")
        if not 0 < self.augmentation_share <= 1:
            raise ValueError(f"augmentation_share must be in (0, 1], got {self.augmentation_share}")
        if self.augmentation_file and not isinstance(self.algorithm, _AUGMENTED):
            raise ValueError("augmentation_file is for DQN, R2D2, PQN and picking agents alone")
        if self.checkpoints_kept < 1:
            raise ValueError(f"checkpoints_kept must be at least 1, got {self.checkpoints_kept}")
        if self.checkpoint_every < self.num_envs:
            raise ValueError(
                f"checkpoint_every ({self.checkpoint_every}) is less than one step of "
                f"{self.num_envs} environments"
            )

    @property
    def threads(self) -> tuple[int, int]:
        """Threads for environments and for the learner, 0 replaced by what it stands for."""
        cores = os.cpu_count() or 1
        half = max(1, cores // 2)
        usual = half if isinstance(self.algorithm, DQNConfig | R2D2Config | PickConfig) else cores
        network = getattr(self.algorithm, "network", None)  # that of another library is its own
        flat = getattr(network, "torso", None) == "mlp"
        return self.environment_threads or usual, self.learner_threads or (half if flat else usual)
