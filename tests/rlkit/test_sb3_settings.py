"""Settings of Stable-Baselines3's algorithms: how they are written, where they start, mistakes."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import tyro
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

from rlkit.configuration import ConfigurationError, from_json, to_json
from rlkit.environments import Environment, GymnasiumEnvironment
from rlkit.recipe import Recipe
from rlkit.sb3.config import ALGORITHMS, StableBaselinesConfig
from rlkit.sb3.defaults import default_config, default_num_envs
from rlkit.sb3.settings import (
    algorithm_class,
    constructor_arguments,
    plain_policy_arguments,
    policy_alias,
    policy_arguments,
)
from rlkit.training import RecipeError, train
from rlkit_envs.atari import AtariProtocol

VECTOR = Box(-1, 1, (3,), np.float32)
PICTURES = Box(0, 255, (4, 84, 84), np.uint8)
ARM = Box(-1, 1, (2,), np.float32)
CARTPOLE, PENDULUM = GymnasiumEnvironment("CartPole-v1"), GymnasiumEnvironment("Pendulum-v1")


def config(name: str = "sb3:PPO", learning_rate: float = 0.1, **fields: Any) -> Any:
    return StableBaselinesConfig(name, learning_rate, **fields)


# Names and numbers


def test_every_algorithm_of_the_libraries_is_there():
    import sb3_contrib
    import stable_baselines3

    offered = {
        f"{prefix}:{name}"
        for prefix, library in (("sb3", stable_baselines3), ("sb3-contrib", sb3_contrib))
        for name in library.__all__
        if hasattr(getattr(library, name), "policy_aliases")
    }
    assert offered == set(ALGORITHMS)
    assert all(algorithm_class(name).__name__ == name.split(":")[1] for name in ALGORITHMS)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": "sb3:ppo"}, "'sb3:ppo'; did you mean sb3:PPO"),
        ({"name": "RecurrentPPO"}, "did you mean sb3-contrib:RecurrentPPO"),
        ({"name": "xyz"}, "known: sb3:A2C, "),
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be at least 0 and finite, got nan"),
        ({"learning_rate_end": -1}, "learning_rate_end must be at least 0 and finite, got -1"),
        ({"schedule_steps": 0}, "schedule_steps must be at least 1, got 0"),
        ({"settings": {"gamma": float("inf")}}, "settings must be plain JSON data"),
        ({"settings": {"noise": object()}}, "settings must be plain JSON data"),
    ],
)
def test_a_wrong_value_is_named(fields: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        config(**fields)


def test_a_configuration_comes_back_from_json():
    settings = {"policy_kwargs": {"net_arch": (8, 8)}, "train_freq": (4, "step")}
    one = config("sb3:SAC", learning_rate_end=0.0, settings=settings, schedule_steps=9)
    data = json.loads(json.dumps(to_json(one)))
    assert from_json(data, StableBaselinesConfig) == one
    with pytest.raises(ConfigurationError, match="did you mean sb3:SAC"):
        from_json({**data, "name": "sb3:SAK"}, StableBaselinesConfig)


def test_settings_on_a_command_line_change_only_themselves(capsys: pytest.CaptureFixture[str]):
    @dataclass(frozen=True)
    class Options:
        algorithm: StableBaselinesConfig

    before = Options(config(settings={"n_steps": 5, "gamma": 0.9}))

    def parsed(*arguments: str) -> StableBaselinesConfig:
        return tyro.cli(Options, default=before, args=arguments).algorithm.over(before.algorithm)

    assert parsed().settings == {"n_steps": 5, "gamma": 0.9}
    found = parsed(
        "--algorithm.settings",
        *("n_steps=16", "clip_range=lin_0.2", "use_sde=true", 'policy_kwargs={"net_arch": [8]}'),
    )
    assert found.settings["n_steps"] == 16
    assert found.settings["clip_range"] == "lin_0.2"
    assert found.settings["use_sde"] is True
    assert found.settings["policy_kwargs"] == {"net_arch": [8]}
    assert found.settings["gamma"] == 0.9
    assert found.learning_rate == 0.1
    for mistake, complaint in (
        ("n_steps", "a setting is written NAME=VALUE, not 'n_steps'"),
        ("use_sde=False", "values are JSON: write use_sde=false, not use_sde=False"),
    ):
        with pytest.raises(SystemExit):
            parsed("--algorithm.settings", mistake)
        assert complaint in " ".join(capsys.readouterr().err.replace("│", " ").split())


# What the library gets


def test_plain_settings_become_the_librarys_arguments():
    settings = {
        "clip_range": "lin_0.2",
        "n_steps": 64,
        "policy_kwargs": {"activation_fn": "elu", "optimizer_class": "rmsprop_tf"},
    }
    found = constructor_arguments(config(learning_rate_end=0.02, settings=settings), Discrete(2))
    assert found["n_steps"] == 64
    # The library calls schedules with the share of the steps that is left.
    assert [found["clip_range"](left) for left in (1.0, 0.5, 0.0)] == pytest.approx([0.2, 0.1, 0.0])
    assert [found["learning_rate"](left) for left in (1.0, 0.0)] == pytest.approx([0.1, 0.02])
    assert found["policy_kwargs"]["activation_fn"] is torch.nn.ELU
    assert plain_policy_arguments(found["policy_kwargs"]) == {"activation_fn": "elu"}
    assert settings["policy_kwargs"]["activation_fn"] == "elu"
    assert constructor_arguments(config(), Discrete(2)) == {"learning_rate": 0.1}


def test_noise_and_frequencies():
    noisy = config("sb3:TD3", settings={"train_freq": [3, "step"], "noise_type": "normal"})
    with pytest.raises(ValueError, match="noise_std must be a number of at least 0, got None"):
        constructor_arguments(noisy, ARM)
    settings = noisy.settings | {"noise_std": 0.3}
    found = constructor_arguments(config("sb3:TD3", settings=settings), ARM)
    assert found["train_freq"] == (3, "step")
    noise = found["action_noise"]
    assert isinstance(noise, NormalActionNoise)
    assert noise().shape == (2,)
    assert "noise_type" not in found
    settings["noise_type"] = "ornstein-uhlenbeck"
    drifting = constructor_arguments(config("sb3:TD3", settings=settings), ARM)["action_noise"]
    assert isinstance(drifting, OrnsteinUhlenbeckActionNoise)


def test_the_network_follows_the_observations():
    assert policy_alias(config(), VECTOR) == "MlpPolicy"
    assert policy_alias(config(), PICTURES) == "CnnPolicy"
    assert policy_alias(config("sb3-contrib:RecurrentPPO"), PICTURES) == "CnnLstmPolicy"
    assert policy_alias(config("sb3-contrib:ARS"), VECTOR) == "MlpPolicy"
    assert policy_alias(config("sb3-contrib:ARS", policy="LinearPolicy"), VECTOR) == "LinearPolicy"
    with pytest.raises(ValueError, match="sb3:PPO has no policy 'MlpLstm'; it has MlpPolicy"):
        policy_alias(config(policy="MlpLstm"), VECTOR)
    with pytest.raises(ValueError, match="object of names and values"):
        policy_arguments([8, 8])


# What training starts from


def test_images_start_from_the_settings_of_the_zoo():
    ppo = default_config("sb3:PPO", PICTURES)
    assert (ppo.learning_rate, ppo.learning_rate_end) == (2.5e-4, 0.0)
    assert ppo.settings["clip_range"] == "lin_0.1"
    assert default_num_envs("sb3:PPO") == 8
    dqn = default_config("sb3:DQN", PICTURES)
    assert dqn.settings["learning_starts"] == 100_000
    assert default_num_envs("sb3:DQN") == 1
    assert default_num_envs("sb3:A2C") == 16
    # A million pictures would not fit into memory.
    for name in ("sb3:DQN", "sb3-contrib:QRDQN", "sb3:SAC", "sb3:TD3", "sb3-contrib:TQC"):
        assert default_config(name, PICTURES).settings["buffer_size"] == 100_000


def test_other_observations_start_from_the_librarys_own_settings():
    ppo = default_config("sb3:PPO", VECTOR)
    assert (ppo.learning_rate, ppo.learning_rate_end) == (3e-4, None)
    # Rollouts of 2,048 steps in all.
    assert ppo.settings == {"n_steps": 2_048 // default_num_envs("sb3:PPO")}
    assert default_config("sb3:SAC", VECTOR) == config("sb3:SAC", 3e-4)
    assert default_config("sb3:DQN", VECTOR).learning_rate == 1e-4


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_what_training_starts_from_is_what_the_algorithm_takes(name: str):
    for space in (VECTOR, PICTURES):
        arguments = constructor_arguments(default_config(name, space), ARM)
        assert arguments["learning_rate"]
        assert len(arguments) == len(default_config(name, space).settings) + 1


# Mistakes


@pytest.mark.parametrize(
    ("name", "environment", "settings", "complaint"),
    [
        ("sb3:PPO", CARTPOLE, {"n_step": 3}, "has no setting 'n_step'; did you mean n_steps?"),
        ("sb3:PPO", CARTPOLE, {"zzz": 3}, "has no setting 'zzz'; it has n_steps, "),
        ("sb3:PPO", CARTPOLE, {"noise_std": 3}, "has no setting 'noise_std'"),
        ("sb3:PPO", CARTPOLE, {"seed": 3}, "--seed"),
        ("sb3:PPO", CARTPOLE, {"learning_rate": 3}, "--algorithm.learning-rate"),
        ("sb3:PPO", CARTPOLE, {"n_steps": "many"}, "n_steps must be a whole number, got 'many'"),
        ("sb3:PPO", CARTPOLE, {"n_steps": 64.0}, "n_steps must be a whole number, got 64.0"),
        ("sb3:PPO", CARTPOLE, {"gamma": "high"}, "gamma must be a number, got 'high'"),
        ("sb3:PPO", CARTPOLE, {"gamma": None}, "gamma must be a number, got None"),
        ("sb3:PPO", CARTPOLE, {"gamma": True}, "gamma must be a number, got True"),
        ("sb3:PPO", CARTPOLE, {"use_sde": "no"}, "use_sde must be true or false, got 'no'"),
        ("sb3:PPO", CARTPOLE, {"clip_range": [1]}, "must be a number or like lin_0.1, got [1]"),
        ("sb3:PPO", CARTPOLE, {"batch_size": 1}, "sb3:PPO with these settings"),
        ("sb3:DQN", CARTPOLE, {"train_freq": "1"}, "must be a whole number or a list, got '1'"),
        ("sb3:DQN", CARTPOLE, {"train_freq": [1, "episode"]}, "of one environment only, got num_"),
        ("sb3:PPO", CARTPOLE, {"clip_range": "lin_x"}, "must be a number or like lin_0.1"),
        ("sb3:PPO", CARTPOLE, {"policy_kwargs": {"activation_fn": "os.system"}}, "unknown act"),
        ("sb3:PPO", CARTPOLE, {"policy_kwargs": {"nett": 1}}, "nett"),
        ("sb3:PPO", CARTPOLE, {"policy_kwargs": [1]}, "names and values or null, got [1]"),
        ("sb3:PPO", CARTPOLE, {"n_steps": 960}, "rollouts of 1920 steps, more than the budget"),
        ("sb3:SAC", PENDULUM, {"noise_type": "pink", "noise_std": 1}, "noise_type must be normal"),
        ("sb3:SAC", PENDULUM, {"noise_type": "normal"}, "noise_std must be a number"),
        ("sb3:SAC", CARTPOLE, {}, "only supports (Box,) as action spaces but Discrete(2) was"),
        ("sb3:DQN", PENDULUM, {}, "only supports (Discrete,) as action spaces but Box(-2.0, 2.0,"),
        ("sb3:DQN", GymnasiumEnvironment("Nope-v1"), {}, "Nope"),
        ("sb3-contrib:MaskablePPO", CARTPOLE, {}, "a method action_masks() -> bool"),
        ("sb3-contrib:CrossQ", AtariProtocol(), {}, "no network for images; it has MlpPolicy"),
        ("sb3:PPO", AtariProtocol(height=20, width=20), {}, "sb3:PPO with these settings"),
        ("sb3:PPO", GymnasiumEnvironment("test/Pairs-v0"), {}, "Box, Discrete and MultiDiscrete"),
        ("sb3:PPO", GymnasiumEnvironment("test/FromOne-v0"), {}, "actions that count from 0"),
    ],
)
def test_what_makes_no_sense_leaves_no_run_behind(
    tmp_path: Path, name: str, environment: Environment, settings: dict[str, Any], complaint: str
):
    algorithm = config(name, settings=settings)
    recipe = Recipe("small", environment, algorithm, num_envs=2, steps=800, checkpoint_every=100)
    with pytest.raises(RecipeError, match="recipe 'small' cannot be trained") as caught:
        train(recipe, runs=tmp_path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("config.json"))


class Still(gym.Env):
    """Only its spaces matter."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space


gym.register(
    "test/Pairs-v0",
    lambda **_: Still(gym.spaces.Dict({"one": VECTOR, "other": VECTOR}), Discrete(2)),
)
gym.register("test/FromOne-v0", lambda **_: Still(VECTOR, Discrete(2, start=1)))


def test_a_missing_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    recipe = Recipe("small", CARTPOLE, config("sb3-contrib:TRPO"), steps=800)
    with pytest.raises(RecipeError, match=r"sb3-contrib:TRPO needs .*'.\[sb3-contrib\]'"):
        train(recipe, runs=tmp_path)
    with pytest.raises(ImportError, match=r"pip install -e '.\[sb3-contrib\]'"):
        default_config("sb3-contrib:TRPO", VECTOR)
    assert default_config("sb3:PPO", VECTOR).name == "sb3:PPO"
