"""Gradients that several threads share: the sum of shares is the whole, and a seed repeats."""

from __future__ import annotations

import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlkit_agents.gradient_shares import GradientShares, useful_threads
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo import PPO, PPOConfig
from rlkit_agents.pqn import PQN, PQNConfig
from rlkit_agents.step import Step

PICTURES = gym.spaces.Box(0, 255, (2, 36, 36), np.uint8)
ACTIONS = gym.spaces.Discrete(3)
NUM_ENVS = 5


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def squares(module: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    loss = module(rows).square().sum()
    return loss, torch.stack((loss.detach(), torch.tensor(float(len(rows)))))


def test_the_sum_of_the_shares_is_the_gradient_of_the_whole():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    rows = torch.randn(7, 4)
    squares(module, rows)[0].backward()
    expected = [weights.grad.clone() for weights in module.parameters() if weights.grad is not None]
    shares = GradientShares(module, 3)
    for parts in (torch.tensor_split(rows, 3), torch.tensor_split(rows, 2), (rows,)):
        measured = shares.backward(parts, squares)
        assert measured.tolist() == pytest.approx(squares(module, rows)[1].tolist())
        for weights, wanted in zip(module.parameters(), expected, strict=True):
            torch.testing.assert_close(weights.grad, wanted)
    assert torch.get_num_threads() == 3


def test_shares_are_computed_at_once_with_the_weights_of_the_moment():
    module = nn.Linear(1, 1, bias=False)
    shares = GradientShares(module, 3)
    together = threading.Barrier(3, timeout=20.0)
    threads: set[int] = set()

    def objective(module: nn.Module, row: Tensor) -> tuple[Tensor, Tensor]:
        together.wait()  # raises unless all three are here
        threads.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        loss = module(row).sum()
        return loss, loss.detach()

    rows = [torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([[3.0]])]
    for weight in (0.5, -2.0):
        with torch.no_grad():
            module.weight.fill_(weight)  # as an optimizer does, in place
        assert float(shares.backward(rows, objective)) == pytest.approx(6.0 * weight)
        assert module.weight.grad is not None
        assert float(module.weight.grad) == 6.0
    assert len(threads) == 3


@pytest.mark.parametrize("wrong", [0, 2])
def test_an_error_in_any_share_comes_out_and_leaves_the_threads_as_they_were(wrong: int):
    shares = GradientShares(nn.Linear(1, 1), 3)

    def objective(module: nn.Module, number: int) -> tuple[Tensor, Tensor]:
        if number == wrong:
            raise FloatingPointError(f"share {number}")
        loss = module(torch.ones(1, 1)).sum()
        return loss, loss.detach()

    with pytest.raises(FloatingPointError, match=f"share {wrong}"):
        shares.backward([0, 1, 2], objective)
    assert torch.get_num_threads() == 3
    with pytest.raises(ValueError, match="at least 1, got 0"):
        GradientShares(nn.Linear(1, 1), 0)


def test_only_pictures_without_dropout_are_worth_threads():
    processor = torch.device("cpu")
    assert useful_threads(processor, NetworkConfig(torso="small")) == 3
    assert useful_threads(processor, NetworkConfig(torso="mlp")) == 1
    assert useful_threads(processor, NetworkConfig(torso="small", dropout=0.1)) == 1
    assert useful_threads(torch.device("cuda"), NetworkConfig(torso="small")) == 1


def trained(algorithm: type[Any], config: Any) -> tuple[Tensor, list[dict[str, Any]]]:
    """The weights after two updates on random pictures with episodes' ends, and the metrics."""
    exploration, replay, initialisation = np.random.SeedSequence(3).spawn(3)
    learner = algorithm(
        config,
        PICTURES,
        ACTIONS,
        NUM_ENVS,
        exploration_seed=exploration,
        replay_seed=replay,
        initialisation_seed=initialisation,
    )
    random, ended = np.random.default_rng(5), np.zeros(NUM_ENVS, bool)
    pictures = random.integers(0, 256, (NUM_ENVS, *PICTURES.shape), np.uint8)
    metrics: list[dict[str, Any]] = []
    for _ in range(18):
        learner.act(pictures)
        metrics += [found] if (found := learner.update()) else []
        pictures = random.integers(0, 256, pictures.shape, np.uint8)
        ends = (random.random(NUM_ENVS) < 0.2) & ~ended
        rewards = random.normal(size=NUM_ENVS).astype(np.float32)
        learner.observe(Step(pictures, rewards, ends, ends & False, ~ended))
        ended = ends
    weights = [weight.detach().flatten() for weight in learner.policy.parameters()]
    return torch.cat(weights), metrics


def network(memory: str) -> dict[str, Any]:
    return {"torso": "small", "dense_size": 16, "memory": memory, "memory_size": 8}


def ppo(memory: str) -> tuple[type[Any], Any]:
    return PPO, PPOConfig(
        network=NetworkConfig(**network(memory)),
        rollout_length=8,
        epochs=2,
        minibatch_size=24,
        precision="float32",
    )


def pqn(memory: str) -> tuple[type[Any], Any]:
    return PQN, PQNConfig(
        network=NetworkConfig(**network(memory), layer_norm="all"),
        rollout_length=8,
        epochs=2,
        minibatches=1,
        precision="float32",
    )


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("learner", [ppo, pqn])
def test_learning_is_the_same_for_any_number_of_threads(learner: Any, memory: str):
    weights, metrics = trained(*learner(memory))
    again, _ = trained(*learner(memory))
    assert torch.equal(weights, again)
    torch.set_num_threads(1)
    alone, expected = trained(*learner(memory))
    assert not torch.equal(weights, alone)  # three shares were at work
    torch.testing.assert_close(weights, alone, rtol=1e-3, atol=1e-5)
    assert len(metrics) == len(expected) == 2
    for found, wanted in zip(metrics, expected, strict=True):
        for name, value in wanted.items():
            assert float(found[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-5), name
