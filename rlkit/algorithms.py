"""The algorithms by name: what each starts from, and which class a configuration stands for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import gymnasium as gym
import numpy as np
import torch

from rlkit.environments import Environment, coded_pictures
from rlkit.sb3.config import ALGORITHMS as LIBRARY_ALGORITHMS
from rlkit.sb3.config import StableBaselinesConfig
from rlkit.seeds import Seeds
from rlkit_agents.algorithm import Algorithm
from rlkit_agents.dqn import DQN, DQNConfig, rainbow
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick import Pick, PickConfig
from rlkit_agents.ppo import PPO
from rlkit_agents.ppo_config import PPOConfig, a2c, atari
from rlkit_agents.pqn import PQN, PQNConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.r2d2 import R2D2
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.schedules import LinearSchedule

AlgorithmConfig = (
    DQNConfig | R2D2Config | PPOConfig | PQNConfig | PickConfig | StableBaselinesConfig
)
"""A configuration of what learns: one from which `make_algorithm` builds, or another library's."""

_CLASSES: dict[type, Callable[..., Algorithm]] = {
    DQNConfig: DQN,
    R2D2Config: R2D2,
    PPOConfig: PPO,
    PQNConfig: PQN,
    PickConfig: Pick,
}


@dataclass(frozen=True)
class NamedAlgorithm:
    """What training begins with where a user only names the algorithm.

    Each configuration comes with the environments that step at a time.
    """

    summary: str
    """What it is, in some words."""
    images: tuple[AlgorithmConfig, int]
    """For stacks of pictures."""
    vectors: tuple[AlgorithmConfig, int]
    """For flat observations, and budgets of some ten thousand steps."""
    maps: tuple[AlgorithmConfig, int] | None = None
    """For pictures in floating point, whose pixels are actions, and budgets of some ten thousand
    steps of a slow simulator; None begins as for other pictures."""


_PERCEPTRON = NetworkConfig(torso="mlp", hidden_sizes=(128, 128))
_REPLAY_BYTES = 2**31
_QUICK = LinearSchedule(1.0, 0.04, 8_000)

ALGORITHMS = MappingProxyType(
    {
        "dqn": NamedAlgorithm(
            "the DQN family, whose parts switch on separately",
            images=(DQNConfig(), 64),
            vectors=(
                DQNConfig(
                    network=_PERCEPTRON,
                    head=HeadConfig("expected"),
                    n_step=1,
                    replay_capacity=20_000,
                    batch_size=128,
                    samples_per_step=64,
                    learning_starts=1_000,
                    learning_rate=1e-3,
                    target_update_every=100,
                    epsilon=_QUICK,
                    precision="float32",
                ),
                8,
            ),
            maps=(
                DQNConfig(
                    head=HeadConfig("expected"),
                    discount=0.9,
                    n_step=1,
                    replay_capacity=20_000,
                    batch_size=64,
                    samples_per_step=16,
                    learning_starts=200,
                    learning_rate=1e-3,
                    target_update_every=100,
                    epsilon=LinearSchedule(1.0, 0.05, 2_500),
                ),
                8,
            ),
        ),
        "rainbow": NamedAlgorithm(
            "DQN with the parts and numbers of Rainbow (Hessel 2018)",
            images=(rainbow(), 64),
            vectors=(
                rainbow(
                    network=NetworkConfig(
                        torso="mlp", hidden_sizes=(128, 128), dueling=True, noisy=True
                    ),
                    replay_capacity=20_000,
                    batch_size=128,
                    samples_per_step=64,
                    learning_starts=1_000,
                    learning_rate=1e-3,
                    target_update_every=100,
                    precision="float32",
                ),
                8,
            ),
        ),
        "r2d2": NamedAlgorithm(
            "recurrent DQN with stored states and burn-in (Kapturowski 2019)",
            images=(R2D2Config(), 64),
            vectors=(
                R2D2Config(
                    network=NetworkConfig(
                        torso="mlp",
                        hidden_sizes=(64,),
                        dueling=True,
                        memory="lstm",
                        memory_size=64,
                    ),
                    head=HeadConfig("expected"),
                    value_rescaling=False,
                    discount=0.99,
                    n_step=1,
                    burn_in=0,
                    trace_length=20,
                    trace_period=10,
                    replay_capacity=20_000,
                    batch_size=16,
                    samples_per_step=32,
                    learning_starts=1_000,
                    learning_rate=1e-3,
                    target_update_every=100,
                    epsilon=_QUICK,
                    precision="float32",
                ),
                8,
            ),
        ),
        "ppo": NamedAlgorithm(
            "proximal policy optimisation (Schulman 2017), with memory if wanted",
            images=(atari(), 8),
            vectors=(PPOConfig(rollout_length=256), 8),
        ),
        "a2c": NamedAlgorithm(
            "advantage actor-critic (Mnih 2016)",
            images=(
                a2c(
                    network=NetworkConfig(torso="nature", initialisation="orthogonal"),
                    value_weight=0.25,
                    entropy_weight=0.01,
                    precision="auto",
                ),
                16,
            ),
            vectors=(a2c(), 8),
        ),
        "pqn": NamedAlgorithm(
            "Q(lambda) on fresh rollouts, without replay and target network (Gallici 2024)",
            images=(PQNConfig(), 128),
            vectors=(
                PQNConfig(
                    network=NetworkConfig(torso="mlp", hidden_sizes=(128, 128), layer_norm="all"),
                    trace_decay=0.95,
                    rollout_length=32,
                    epochs=4,
                    minibatches=8,
                    learning_rate=1e-3,
                    epsilon=_QUICK,
                    precision="float32",
                ),
                16,
            ),
        ),
        "pick": NamedAlgorithm(
            "chances of success for every pixel, learnt from attempts alone (bin picking)",
            images=(PickConfig(), 8),
            vectors=(PickConfig(), 8),
        ),
    }
)
"""Name -> what training begins with. The numbers for pictures are the papers' or the zoo's, as
their configurations say; recipes hold what was found for their worlds."""


def starting_point(name: str, observation_space: gym.Space) -> tuple[AlgorithmConfig, int]:
    """The configuration that `name` stands for, and how many environments step at a time.

    name: one of `ALGORITHMS`, or of another library's as `rlkit.sb3.config.ALGORITHMS` lists them.
    observation_space: of a single environment.
    Raises ValueError, with the nearest names, for another name; ImportError without its library.
    """
    if name in ALGORITHMS:
        named = ALGORITHMS[name]
        if len(observation_space.shape or ()) <= 2:
            return named.vectors
        if not np.issubdtype(observation_space.dtype, np.floating):
            return named.images
        config, num_envs = named.maps or named.images
        return _fitted_to_memory(config, observation_space), num_envs
    if name in LIBRARY_ALGORITHMS:
        from rlkit.sb3.defaults import default_config, default_num_envs

        return default_config(name, observation_space), default_num_envs(name)
    known = {each.lower(): each for each in (*ALGORITHMS, *LIBRARY_ALGORITHMS)}
    near = [known[each] for each in difflib.get_close_matches(name.lower(), known, n=2)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known.values())}"
    raise ValueError(f"no algorithm is called {name!r}; {hint}")


def _fitted_to_memory(config: AlgorithmConfig, observation_space: gym.Space) -> AlgorithmConfig:
    """As `config`, but that a replay of such pictures takes two GiB at most: they are large."""
    if not isinstance(config, DQNConfig | R2D2Config | PickConfig):
        return config
    assert observation_space.dtype is not None
    size = math.prod(observation_space.shape or ()) * observation_space.dtype.itemsize
    return replace(config, replay_capacity=min(config.replay_capacity, _REPLAY_BYTES // size))


def make_algorithm(
    config: AlgorithmConfig,
    observation_space: gym.Space,
    action_space: gym.Space,
    num_envs: int,
    seeds: Seeds,
    device: torch.device | str = "cpu",
    *,
    environment: Environment | None = None,
) -> Algorithm:
    """The algorithm that `config` configures, for single environments with the given spaces.

    environment: whose observations may be codes, of which picking makes pictures again.
    Raises ValueError where the configuration does not fit the spaces, ImportError without a package
    that it needs.
    """
    if type(config) not in _CLASSES:
        raise ValueError(
            f"{type(config).__name__} has a training of its own: rlkit.train, not this"
        )
    own = {}
    if isinstance(config, PickConfig) and environment is not None:
        own["coded"] = coded_pictures(environment)
    return _CLASSES[type(config)](
        config,
        observation_space,
        action_space,
        num_envs,
        exploration_seed=seeds.exploration,
        replay_seed=seeds.replay,
        initialisation_seed=seeds.initialisation,
        device=device,
        **own,
    )
