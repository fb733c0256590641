"""Recipes: named, complete configurations of a training."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field, replace

from tyro.conf import Fixed, Suppress

from rlkit.algorithms import ALGORITHMS, AlgorithmConfig, starting_point
from rlkit.environments import Environment, GymnasiumEnvironment, make_envs
from rlkit_agents.dqn import DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo_config import PPOConfig
from rlkit_agents.pqn import PQNConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.symmetry import Symmetry
from rlkit_envs.atari import AtariProtocol
from rlkit_envs.atari_actions import mirrored_actions


@dataclass(frozen=True)
class EvaluationSchedule:
    """When the policy is evaluated during training, and how long."""

    every: int = 500_000
    """Environment steps between evaluations; 0 evaluates only at the end."""
    episodes: int = 16
    """Episodes of an evaluation during training."""
    final_episodes: int = 100
    """Episodes of the evaluation at the end; 0 skips it."""
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
    """Environment steps between checkpoints; at each, running episodes are cut (see `Stepper`)."""
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
        usual = half if isinstance(self.algorithm, DQNConfig | R2D2Config) else cores
        network = getattr(self.algorithm, "network", None)  # that of another library is its own
        flat = network is not None and network.torso == "mlp"
        return self.environment_threads or usual, self.learner_threads or (half if flat else usual)


_RING = AtariProtocol(game="boxing", height=42, width=42)
_MIRRORED_RING = Symmetry(
    # The ring is the same seen in a mirror, but for the picture's black left margin.
    flip_rows=False,
    flip_columns=True,
    actions=mirrored_actions(left_right=True),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="boxing",
            environment=_RING,
            algorithm=DQNConfig(
                network=NetworkConfig(torso="compact", dueling=True, layer_norm="dense"),
                head=HeadConfig("quantile", atoms=32),
                double=False,
                batch_size=160,
                samples_per_step=5.0,
                target_update_every=200,
                learning_rate=2e-4,
                learning_rate_end=5e-5,
                learning_rate_steps=6_000_000,
                symmetries=(_MIRRORED_RING,),
            ),
            minutes=60,
            evaluation=EvaluationSchedule(video_every=2_000_000),
        ),
        Recipe(
            name="boxing-recurrent",
            environment=replace(_RING, frame_stack=1),
            algorithm=R2D2Config(
                network=NetworkConfig(
                    torso="compact", dueling=True, layer_norm="dense", memory="lstm"
                ),
                head=HeadConfig("quantile", atoms=32),
                double=False,
                value_rescaling=False,
                discount=0.99,
                n_step=3,
                burn_in=8,
                trace_length=16,
                trace_period=8,
                replay_capacity=1_000_000,
                priority_exponent=0.0,  # with 0.9, the paper's, half the score at 500,000 steps
                batch_size=16,
                samples_per_step=5.0,
                target_update_every=200,
                learning_rate=2e-4,
                learning_rate_end=5e-5,
                learning_rate_steps=6_000_000,
                symmetries=(_MIRRORED_RING,),
            ),
            minutes=60,
            evaluation=EvaluationSchedule(video_every=2_000_000),
        ),
        Recipe(
            name="boxing-actor-critic",
            environment=AtariProtocol(game="boxing"),  # the network pools a smaller one away
            algorithm=PPOConfig(
                network=NetworkConfig(torso="seed", initialisation="orthogonal"),
                rollout_length=64,
                epochs=4,
                minibatch_size=512,
                clip_range=0.1,
                entropy_weight=0.01,
                learning_rate=5e-4,
                learning_rate_end=5e-5,
                learning_rate_steps=10_000_000,
                precision="auto",
            ),
            num_envs=64,
            minutes=60,
            evaluation=EvaluationSchedule(video_every=2_000_000),
        ),
        Recipe(
            name="boxing-pqn",
            environment=_RING,
            algorithm=PQNConfig(
                network=NetworkConfig(torso="compact", layer_norm="all"),
                epsilon=LinearSchedule(1.0, 0.01, 500_000),
                symmetries=(_MIRRORED_RING,),
            ),
            num_envs=128,
            minutes=60,
            checkpoint_every=1_024_000,
            evaluation=EvaluationSchedule(video_every=2_000_000),
        ),
        Recipe(
            name="cartpole",
            environment=GymnasiumEnvironment("CartPole-v1"),
            algorithm=ALGORITHMS["dqn"].vectors[0],
            num_envs=ALGORITHMS["dqn"].vectors[1],
            steps=50_000,
            checkpoint_every=20_000,
            evaluation=EvaluationSchedule(every=10_000, episodes=8, final_episodes=20),
        ),
        Recipe(
            name="memory",
            environment=GymnasiumEnvironment("rlkit/Recall-v0"),
            algorithm=PPOConfig(
                network=NetworkConfig(
                    torso="mlp",
                    activation="tanh",
                    initialisation="orthogonal",
                    hidden_sizes=(32,),
                    memory="lstm",
                    memory_size=32,
                ),
                rollout_length=32,
                epochs=4,
                minibatch_size=256,
                discount=0.95,
                entropy_weight=0.01,
                learning_rate=5e-3,
            ),
            num_envs=32,
            steps=48_000,
            checkpoint_every=16_000,
            evaluation=EvaluationSchedule(every=8_000, episodes=64, final_episodes=200),
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`. Raises ValueError, with the nearest names, where there is none."""
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, n=3) or sorted(RECIPES)
    raise ValueError(f"no recipe is called {name!r}; did you mean {' or '.join(near)}?")


def with_algorithm(recipe: Recipe, name: str) -> Recipe:
    """The recipe with the algorithm called `name` and what that starts from, in the same world.

    name: one of `rlkit.algorithms.ALGORITHMS`, or one of another library, such as `sb3:PPO`.
    Raises ValueError for another name, ImportError where its library is not installed.
    """
    envs = make_envs(recipe.environment, 1)
    try:
        algorithm, num_envs = starting_point(name, envs.single_observation_space)
    finally:
        envs.close()
    return replace(
        recipe,
        name=f"{recipe.name}-{name.replace(':', '-')}",
        algorithm=algorithm,
        num_envs=num_envs,
        checkpoint_every=max(recipe.checkpoint_every, num_envs),
    )
