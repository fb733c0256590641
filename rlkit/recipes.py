"""The recipes that come with rlkit, by name, and how to find one."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any

from rlkit.algorithms import ALGORITHMS, starting_point
from rlkit.environment_ids import BIN_PICKING, DATA_CENTER
from rlkit.environments import EncodedEnvironment, GymnasiumEnvironment, make_envs
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.sb3.config import StableBaselinesConfig
from rlkit_agents.dqn import DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick import PickConfig
from rlkit_agents.ppo_config import PPOConfig
from rlkit_agents.pqn import PQNConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.symmetry import Symmetry
from rlkit_envs.atari import AtariProtocol
from rlkit_envs.atari_actions import mirrored_actions

_RING = AtariProtocol(game="boxing", height=42, width=42)
_MIRRORED_RING = Symmetry(
    # The ring is the same seen in a mirror, but for the picture's black left margin.
    flip_rows=False,
    flip_columns=True,
    actions=mirrored_actions(left_right=True),
)

_BOXER = DQNConfig(
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
)

_DATA_CENTER: dict[str, Any] = {
    # Years to learn from; evaluations take others, see `rlkit.data_center_years`.
    "weather": ["hot_dry", "hot_humid", "mixed_humid", "marine", "cold", "very_cold"],
    "weather_seed": [0, 1, 2, 3],
    "load": ["diurnal", "batch", "bursty", "step"],
    "load_seed": [0, 1, 2, 3],
    # Doing without the chiller must not pay for warm inlets, nor must hoping that no burst comes.
    "reward": {
        "relative_to_load": True,
        "recommended_penalty": 0.3,
        "margin_k": 0.3,
        "withstood_rise": 1.2,
        "economiser_change_penalty": 0.03,
        "scale": 20.0,
    },
}
_DATA_CENTER_GRID = {
    # Chilled water of 14 degC costs little against the best of each moment. Little air is for loads
    # that do not burst.
    "supply_air_degc": [19.0, 20.5, 22.0, 23.5, 25.0],
    "air_flow_ratio": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    "chilled_water_degc": [14.0],
    "tower_fan_ratio": [0.4, 0.6, 1.0],
    "economiser": ["off", "precool", "full"],
}


def _data_center(**arguments: Any) -> GymnasiumEnvironment:
    return GymnasiumEnvironment(DATA_CENTER, {**_DATA_CENTER, **arguments})


_WEEKS = EvaluationSchedule(every=500_000, episodes=24, final_episodes=96)

_ALL_TIERS = GymnasiumEnvironment(BIN_PICKING, {"tier": "all"})
_PICKER = PickConfig(learning_rate_steps=16_000, samples_per_step=32.0)
_BINS = Recipe(
    name="bin-picking",
    environment=_ALL_TIERS,
    algorithm=_PICKER,
    num_envs=8,
    steps=16_000,
    checkpoint_every=2_000,
    # Eight bins tell less of two averages of weights than the smaller step size of the later one.
    evaluation=EvaluationSchedule(every=1_000, episodes=8, final_episodes=40, best_by="steps"),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="boxing",
            environment=_RING,
            algorithm=_BOXER,
            minutes=60,
            evaluation=EvaluationSchedule(video_every=2_000_000),
        ),
        Recipe(
            name="boxing-augmented",
            environment=_RING,
            algorithm=replace(
                # Neither paints nor inversion, specks, blur and shadows: robustness is measured by
                # these, see `rlkit.corruptions`. Half of a batch and all targets are plain, as
                # learning from nothing but random convolutions is slow.
                _BOXER,
                augmentation=("brightness:40", "contrast:0.4", "cutout:6", "convolution:1"),
                augmented_share=0.5,
                augmented_targets=False,
            ),
            minutes=60,
            evaluation=EvaluationSchedule(video_every=2_000_000),
        ),
        Recipe(
            name="boxing-latent",
            environment=EncodedEnvironment(
                AtariProtocol(game="boxing", frame_stack=1), encoder="boxing", frame_stack=4
            ),
            algorithm=DQNConfig(
                network=NetworkConfig(
                    torso="mlp", hidden_sizes=(512, 256), dueling=True, layer_norm="dense"
                ),
                head=HeadConfig("quantile", atoms=32),
                double=False,
                batch_size=256,
                samples_per_step=12.0,
                target_update_every=200,
                learning_rate=3e-4,
                learning_rate_end=5e-5,
                learning_rate_steps=6_000_000,
                symmetries=(_MIRRORED_RING,),  # the encoder's codes are mirrored as pictures are
            ),
            minutes=60,
            evaluation=EvaluationSchedule(video_every=2_000_000),
        ),
        Recipe(
            name="boxing-ram",
            environment=AtariProtocol(game="boxing", observation="ram_bits", frame_stack=1),
            algorithm=DQNConfig(
                # For a torso that a stack of restricted Boltzmann machines can start, take
                # activation "sigmoid", layer_norm "none" (a norm would shift and scale what their
                # units take in), initialisation "xavier_normal" and a learning_rate of 1e-3.
                network=NetworkConfig(
                    torso="mlp", hidden_sizes=(512, 256), dueling=True, layer_norm="dense"
                ),
                head=HeadConfig("quantile", atoms=32),
                double=False,
                replay_capacity=500_000,  # 1,024 bytes each
                batch_size=256,
                samples_per_step=4.0,
                target_update_every=200,
                learning_rate=3e-4,
                learning_rate_end=5e-5,
                learning_rate_steps=2_000_000,
                epsilon=LinearSchedule(1.0, 0.01, 100_000),
            ),
            steps=2_000_000,
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
                priority_exponent=0.0,  # with 0.9, the paper's, it learns far more slowly
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
            name="data-center",
            environment=_data_center(discrete=True, levels=_DATA_CENTER_GRID),
            algorithm=DQNConfig(
                network=NetworkConfig(torso="mlp", hidden_sizes=(256, 256), dueling=True),
                head=HeadConfig("expected", huber_threshold=8.0),
                discount=0.8,  # 25 minutes: what a setting does shows within a few steps
                n_step=1,
                replay_capacity=300_000,
                batch_size=1_024,
                samples_per_step=16.0,
                learning_starts=10_000,
                learning_rate=1e-3,
                learning_rate_end=2e-5,
                learning_rate_steps=2_000_000,
                target_update_every=200,
                epsilon=LinearSchedule(1.0, 0.01, 100_000),
            ),
            num_envs=128,
            steps=2_000_000,
            checkpoint_every=512_000,
            evaluation=_WEEKS,
        ),
        Recipe(
            name="data-center-recurrent",
            environment=_data_center(discrete=True, levels=_DATA_CENTER_GRID),
            algorithm=R2D2Config(
                network=NetworkConfig(
                    torso="mlp",
                    hidden_sizes=(128,),
                    dueling=True,
                    memory="gru",
                    memory_size=128,
                ),
                head=HeadConfig("expected", huber_threshold=8.0),
                value_rescaling=False,
                discount=0.8,
                n_step=1,
                burn_in=8,
                trace_length=16,
                trace_period=8,
                replay_capacity=300_000,
                priority_exponent=0.0,
                batch_size=64,
                samples_per_step=16.0,
                learning_starts=10_000,
                learning_rate=1e-3,
                learning_rate_end=2e-5,
                learning_rate_steps=1_000_000,
                target_update_every=200,
                epsilon=LinearSchedule(1.0, 0.01, 100_000),
            ),
            num_envs=128,
            steps=1_000_000,
            checkpoint_every=512_000,
            evaluation=replace(_WEEKS, every=250_000),
        ),
        Recipe(
            name="data-center-sac",
            environment=_data_center(
                ranges={
                    "supply_air_degc": [18.0, 26.0],
                    "air_flow_ratio": [0.5, 1.0],
                    "chilled_water_degc": [8.0, 18.0],
                    "tower_fan_ratio": [0.2, 1.0],
                }
            ),
            algorithm=StableBaselinesConfig(
                "sb3:SAC",
                learning_rate=3e-4,
                settings={
                    "buffer_size": 200_000,
                    "learning_starts": 10_000,
                    "batch_size": 256,
                    "gamma": 0.8,
                    "train_freq": 1,
                    "gradient_steps": 8,
                    "policy_kwargs": {"net_arch": [256, 256]},
                },
            ),
            num_envs=32,
            steps=200_000,
            learner_threads=1,  # layers this small gain nothing from a second one
            checkpoint_every=100_000,
            evaluation=replace(_WEEKS, every=50_000),
        ),
        _BINS,
        replace(
            _BINS,
            name="bin-picking-latent",
            environment=EncodedEnvironment(_ALL_TIERS, encoder="bin-picking", marks=True),
        ),
        replace(
            _BINS,
            name="bin-picking-augmented",
            algorithm=replace(
                # With turns by right angles, all directions; and what depth cameras do to heights.
                _PICKER,
                augmentation=("rotation:45", "noise:0.5", "dropout:0.01"),
            ),
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
