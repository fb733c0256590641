"""PPO's settings: what they refuse, what they stand for, and those that are known by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo import PPOConfig, a2c, atari

MLP = NetworkConfig(torso="mlp", hidden_sizes=(16,))
LSTM = replace(MLP, memory="lstm")


def small(**changes: Any) -> PPOConfig:
    settings: dict[str, Any] = dict(network=MLP, rollout_length=8, minibatch_size=16)
    return PPOConfig(**(settings | changes))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rollout_length": 0}, "rollout_length must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"minibatch_size": 0}, "minibatch_size must be at least 1, got 0"),
        ({"minibatch_size": 1}, "minibatch_size 1 leaves nothing to standardise"),
        ({"learning_rate": -1e-3}, "learning_rate must be positive, got -0.001"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"learning_rate_end": -1e-3}, "learning_rate_end must be at least 0"),
        ({"learning_rate_steps": -1}, "learning_rate_steps must be at least 0"),
        ({"clip_range": 0.0}, "clip_range must be positive, got 0.0"),
        ({"clip_range_end": -0.1}, "clip_range_end must be at least 0, got -0.1"),
        ({"clip_range_steps": -1}, "clip_range_steps must be at least 0"),
        ({"clip_range": None, "clip_range_end": 0.1}, "clip_range_end 0.1 has no clip_range"),
        ({"clip_value_range": 0.0}, "clip_value_range must be positive"),
        ({"value_weight": -0.5}, "value_weight must be at least 0, got -0.5"),
        ({"entropy_weight": float("nan")}, "entropy_weight must be at least 0, got nan"),
        ({"optimizer_epsilon": 0.0}, "optimizer_epsilon must be positive"),
        ({"optimizer": "sgd"}, "optimizer must be 'adam' or 'rmsprop', got 'sgd'"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive"),
        ({"target_kl": 0.0}, "target_kl must be positive"),
        ({"discount": 0.0}, "discount must be in"),
        ({"trace_decay": 1.1}, r"trace_decay must be in \[0, 1\], got 1.1"),
        ({"log_standard_deviation": float("inf")}, "log_standard_deviation must be finite"),
        ({"network": replace(MLP, noisy=True)}, r"network\.noisy is for value-based agents"),
        ({"network": LSTM, "shared_torso": False}, "needs a torso that actions and value share"),
        (
            {"network": LSTM, "minibatch_size": 12},
            "whole sequences: minibatch_size 12 is not a multiple of rollout_length 8",
        ),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        small(**changes)


def test_rates_and_ranges_move_in_straight_lines():
    settings = small(
        learning_rate=4e-3,
        learning_rate_end=1e-3,
        learning_rate_steps=30,
        clip_range=0.3,
        clip_range_end=0.1,
        clip_range_steps=100,
    )
    assert [settings.learning_rate_at(step) for step in (0, 10, 30, 99)] == pytest.approx(
        [4e-3, 3e-3, 1e-3, 1e-3]
    )
    assert [settings.clip_range_at(step) for step in (0, 50, 100, 999)] == pytest.approx(
        [0.3, 0.2, 0.1, 0.1]
    )
    constant = small(learning_rate=4e-3, clip_range=0.3)
    assert (constant.learning_rate_at(10**9), constant.clip_range_at(10**9)) == (4e-3, 0.3)
    assert a2c().clip_range_at(0) is None


def test_torsos_are_shared_as_in_stable_baselines3():
    assert not PPOConfig().shares_torso
    assert atari().shares_torso
    assert small(network=LSTM).shares_torso
    assert small(shared_torso=True).shares_torso
    assert not replace(atari(), shared_torso=False).shares_torso


def test_the_settings_for_atari_are_those_of_the_zoo():
    # rl-baselines3-zoo, hyperparams/ppo.yml, atari: linear schedules over n_timesteps 1e7
    settings = atari()
    assert (settings.rollout_length, settings.epochs, settings.minibatch_size) == (128, 4, 256)
    assert (settings.learning_rate, settings.learning_rate_end) == (2.5e-4, 0)
    assert (settings.clip_range, settings.clip_range_end) == (0.1, 0)
    assert settings.learning_rate_steps == settings.clip_range_steps == 10_000_000
    assert (settings.value_weight, settings.entropy_weight) == (0.5, 0.01)
    assert (settings.discount, settings.trace_decay) == (0.99, 0.95)
    assert settings.network == NetworkConfig(torso="nature", initialisation="orthogonal")
    assert atari(epochs=3) == replace(settings, epochs=3)


def test_the_settings_for_a2c_are_those_of_stable_baselines3():
    settings = a2c()
    assert (settings.rollout_length, settings.epochs, settings.minibatch_size) == (5, 1, None)
    assert (settings.clip_range, settings.clip_value_range) == (None, None)
    assert (settings.discount, settings.trace_decay) == (0.99, 1)
    assert (settings.value_weight, settings.entropy_weight) == (0.5, 0)
    assert not settings.standardise_advantages
    assert (settings.optimizer, settings.optimizer_epsilon) == ("rmsprop", 1e-5)
    assert (settings.learning_rate, settings.learning_rate_end) == (7e-4, None)
    assert a2c(discount=0.9) == replace(settings, discount=0.9)
