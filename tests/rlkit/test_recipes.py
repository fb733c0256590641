"""Recipes fit together, and one that makes no sense cannot be written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rlkit.algorithms import ALGORITHMS, AlgorithmConfig
from rlkit.callbacks.checkpointing import Checkpointing
from rlkit.checkpoint import CheckpointStore
from rlkit.environments import make_watchable
from rlkit.policies import load_policy, save_policy
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.recipes import RECIPES, find_recipe, with_algorithm
from rlkit.run_folder import Run
from rlkit.sb3.config import StableBaselinesConfig
from rlkit.training import RecipeError, Training, training_class
from rlkit_agents.dqn import DQN, DQNConfig
from rlkit_agents.pick import PickConfig
from rlkit_agents.ppo_config import PPOConfig
from rlkit_agents.pqn import PQNConfig
from rlkit_agents.r2d2_config import R2D2Config

CARTPOLE = RECIPES["cartpole"]
OF_ANY_WORLD = [name for name in ALGORITHMS if name != "pick"]


def test_recipes_are_found_by_name():
    assert find_recipe("boxing").environment.environment_id == "ALE/Boxing-v5"  # pyright: ignore
    assert all(find_recipe(name).name == name for name in RECIPES)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("boxng", "did you mean boxing"), ("xyz", "boxing or boxing-actor-critic or")],
)
def test_an_unknown_recipe_is_answered_with_the_nearest(name: str, hint: str):
    with pytest.raises(ValueError, match=f"no recipe is called '{name}'.*{hint}"):
        find_recipe(name)


def learning_at_once(config: AlgorithmConfig) -> AlgorithmConfig:
    """As `config`, but that a hundred steps of two environments teach it something."""
    if isinstance(config, DQNConfig):
        assert config.learning_starts >= config.batch_size
        return replace(
            config, replay_capacity=600, batch_size=16, learning_starts=64, samples_per_step=2
        )
    if isinstance(config, R2D2Config):
        return replace(
            config, replay_capacity=600, batch_size=2, learning_starts=64, samples_per_step=2
        )
    if isinstance(config, PQNConfig):
        return replace(config, rollout_length=16, minibatches=2)
    if isinstance(config, PickConfig):
        return replace(config, batch_size=16, learning_starts=64, samples_per_step=2)
    if isinstance(config, StableBaselinesConfig):
        quick = {"buffer_size": 600, "batch_size": 16, "learning_starts": 40, "gradient_steps": 1}
        return replace(config, settings=config.settings | quick)
    assert isinstance(config, PPOConfig)
    return replace(config, rollout_length=16, minibatch_size=32)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_starts_to_learn(recipe: Recipe, tmp_path: Path):
    # Few environments and an early start, as only what fits together is to be seen.
    small = replace(
        recipe,
        algorithm=learning_at_once(recipe.algorithm),
        num_envs=2,
        steps=100,
        minutes=None,
        environment_threads=1,
        learner_threads=1,
        checkpoint_every=1_000,
    )
    training = training_class(small)(small, Run.create(small, tmp_path), [])
    training.learn()
    assert training.algorithm.updates >= 1
    assert recipe.checkpoint_every % recipe.num_envs == 0


def test_boxing_from_memory_keeps_its_replay_below_a_gigabyte(tmp_path: Path):
    recipe = replace(RECIPES["boxing-ram"], num_envs=2)
    training = Training(recipe, Run.create(recipe, tmp_path), [])
    training.stepper.envs.close()
    assert isinstance(training.algorithm, DQN)
    replay = training.algorithm.replay
    assert replay.nbytes < 10**9
    assert replay.rows_capacity * recipe.num_envs * 1024 < replay.nbytes


def test_boxing_from_memory_goes_on_where_it_was_and_plays(tmp_path: Path):
    """In sigmoid units without norms: what restricted Boltzmann machines can start."""
    recipe = RECIPES["boxing-ram"]
    algorithm = learning_at_once(recipe.algorithm)
    assert isinstance(algorithm, DQNConfig)
    network = replace(algorithm.network, activation="sigmoid", layer_norm="none")
    small = replace(
        recipe,
        algorithm=replace(algorithm, network=network),
        num_envs=2,
        steps=120,
        environment_threads=1,
        learner_threads=1,
        checkpoint_every=80,
    )
    run = Run.create(small, tmp_path)
    whole, resumed = (Training(small, run, [Checkpointing()]) for _ in range(2))
    whole.learn()
    assert CheckpointStore(run.checkpoints).steps()[0] == 80
    resumed.load_checkpoint(80)
    assert resumed.steps == 80
    resumed.learn()
    assert resumed.algorithm.updates == whole.algorithm.updates >= 1
    weights = whole.algorithm.policy.state_dict()
    for name, tensor in resumed.algorithm.policy.state_dict().items():
        assert torch.equal(tensor, weights[name]), name

    save_policy(whole.algorithm.policy, tmp_path / "policy.safetensors", small.environment, {})
    loaded = load_policy(tmp_path / "policy.safetensors")
    torso: Any = loaded.policy.get_submodule("network.torso")
    assert [type(layer) for layer in torso] == [nn.Linear, nn.Sigmoid, nn.Linear, nn.Sigmoid]
    assert [torso[0].weight.shape, torso[2].weight.shape] == [(512, 1024), (256, 512)]
    env = make_watchable(loaded.environment)
    observation, _ = env.reset(seed=0)
    action, _ = loaded.policy.predict(observation)
    observation, *_ = env.step(action)
    assert observation in loaded.policy.observation_space
    env.close()


@pytest.mark.parametrize("name", OF_ANY_WORLD)
def test_every_algorithm_starts_to_learn_by_name_alone(name: str, tmp_path: Path):
    recipe = with_algorithm(CARTPOLE, name)
    assert recipe.name == f"cartpole-{name}"
    assert recipe.environment == CARTPOLE.environment
    small = replace(
        recipe,
        steps=2_100,
        learner_threads=1,
        evaluation=EvaluationSchedule(every=0, episodes=1, final_episodes=0),
    )
    training = Training(small, Run.create(small, tmp_path), [])
    training.learn()
    assert training.algorithm.updates >= 1


@pytest.mark.parametrize("name", [*OF_ANY_WORLD, "sb3:PPO", "sb3-contrib:QRDQN"])
def test_an_algorithm_by_name_sees_pictures_by_convolutions(name: str, tmp_path: Path):
    recipe = with_algorithm(RECIPES["boxing"], name)
    assert recipe.environment == RECIPES["boxing"].environment
    small = replace(recipe, num_envs=min(recipe.num_envs, 2))
    training = training_class(small)(small, Run.create(small, tmp_path), [])
    training.stepper.envs.close()
    assert any(weights.ndim == 4 for weights in training.algorithm.policy.state_dict().values())


@pytest.mark.parametrize("name", ["dqn", "ppo"])
def test_other_algorithms_pick_from_the_same_bins(name: str, tmp_path: Path):
    recipe = with_algorithm(RECIPES["bin-picking"], name)
    assert recipe.environment == RECIPES["bin-picking"].environment
    small = replace(
        recipe,
        algorithm=learning_at_once(recipe.algorithm),
        num_envs=2,
        steps=90,
        environment_threads=1,
        learner_threads=1,
    )
    training = training_class(small)(small, Run.create(small, tmp_path), [])
    training.learn()
    assert training.algorithm.updates >= 1
    assert any(weights.ndim == 4 for weights in training.algorithm.policy.state_dict().values())


@pytest.mark.parametrize("name", ["dqn", "rainbow", "r2d2"])
def test_a_replay_of_maps_fits_into_memory(name: str):
    """A million pictures of (2, 64, 64) float32 would take 30 GiB."""
    config: Any = with_algorithm(RECIPES["bin-picking"], name).algorithm
    assert config.learning_starts < config.replay_capacity <= 2**31 // (2 * 64 * 64 * 4)
    of_frames: Any = with_algorithm(RECIPES["boxing"], name).algorithm
    assert of_frames == ALGORITHMS[name].images[0]


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        ("cartpole", r"observations of shape \(channels, height, width\)"),
        ("boxing", "multiples of 4"),
    ],
)
def test_nothing_can_be_picked_in_other_worlds(recipe: str, complaint: str, tmp_path: Path):
    picking = replace(with_algorithm(RECIPES[recipe], "pick"), num_envs=2)
    with pytest.raises(RecipeError, match=f"'{recipe}-pick' cannot be trained: .*{complaint}"):
        Training(picking, Run.create(picking, tmp_path), [])


def test_an_unknown_algorithm_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="no algorithm is called 'sb3:pop'; did you mean sb3:PPO"):
        with_algorithm(CARTPOLE, "sb3:pop")
    with pytest.raises(ValueError, match=r"no algorithm is called 'xyz'; known: dqn, .*, sb3:PPO"):
        with_algorithm(CARTPOLE, "xyz")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"steps": None, "minutes": None}, "needs a budget"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"minutes": 0.0}, "minutes must be more than 0"),
        ({"minutes": float("nan")}, "minutes must be more than 0, got nan"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"learner_threads": -2}, "learner_threads must not be negative"),
        ({"environment_threads": -2}, "environment_threads must not be negative"),
        ({"checkpoints_kept": 0}, "checkpoints_kept must be at least 1"),
        ({"checkpoint_every": 7}, r"checkpoint_every \(7\) is less than one step of 8"),
    ],
)
def test_a_recipe_that_makes_no_sense_cannot_be_written(changes: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        replace(CARTPOLE, **changes)


@pytest.mark.parametrize("changes", [{"every": -1}, {"episodes": 0}, {"final_episodes": -1}])
def test_a_schedule_that_makes_no_sense_cannot_be_written(changes: dict[str, Any]):
    with pytest.raises(ValueError, match=f"evaluation.{next(iter(changes))} must be at least"):
        EvaluationSchedule(**changes)


def test_threads_leave_each_other_the_cores_they_need(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert RECIPES["boxing"].threads == (4, 4)  # they step and learn at the same time
    assert RECIPES["boxing-actor-critic"].threads == (8, 8)  # in turn
    assert with_algorithm(CARTPOLE, "ppo").threads == (8, 4)
    assert with_algorithm(CARTPOLE, "sb3:PPO").threads == (8, 8)
    assert replace(RECIPES["boxing"], environment_threads=1, learner_threads=2).threads == (1, 2)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert RECIPES["boxing"].threads == (1, 1)
