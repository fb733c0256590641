"""PPO and A2C beside Stable-Baselines3's: their defaults, weights and metrics of an update."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C
from stable_baselines3 import PPO as StableBaselinesPPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn

from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo import PPO, PPOConfig, a2c
from rlkit_agents.step import Step

from .streams import seeds

STEPS = 8
"""What an environment is learnt from; a reset step of ours, which theirs has not, comes on top."""
FIRST_EPISODES = ((3, True), (1, False), (8, False), (7, True))
"""Length, and whether it terminates or is truncated; the third ends with the rollout."""
NUM_ENVS = len(FIRST_EPISODES)
FOUR = Discrete(4)
ARM = Box(-0.5, 0.5, (2,), np.float32)
MLP = NetworkConfig(
    torso="mlp", hidden_sizes=(16, 8), activation="tanh", initialisation="orthogonal"
)
LSTM = NetworkConfig(
    torso="mlp", hidden_sizes=(16,), activation="tanh", memory="lstm", memory_size=8
)


class Lane(gym.Env):
    """Observes noise that its number decides; actions are paid, and stay in what is observed."""

    observation_space = Box(-np.inf, np.inf, (3,), np.float32)

    def __init__(self, number: int, action_space: gym.Space) -> None:
        self.action_space = action_space
        self._random = np.random.default_rng(number)
        self._length, self._terminates = FIRST_EPISODES[number]
        self._episode = 0

    def _observation(self) -> np.ndarray:
        return (self._random.normal(size=3) + self._drift).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        self._episode += 1
        self._steps, self._drift = 0, 0.0
        return self._observation(), {}

    def step(self, action):
        self._steps += 1
        self._drift = 0.3 * float(np.sum(action))
        over = self._episode == 1 and self._steps == self._length
        reward = self._drift + float(self._random.normal())
        terminated = over and self._terminates
        return self._observation(), reward, terminated, over and not terminated, {}


class Dense(BaseFeaturesExtractor):
    """One dense layer before their recurrent one, as in our torso."""

    def __init__(self, observation_space: Box) -> None:
        super().__init__(observation_space, features_dim=16)
        self.linear = nn.Linear(3, 16)

    def forward(self, observations: Tensor) -> Tensor:
        return torch.tanh(self.linear(observations))


def learner(config: PPOConfig, actions: gym.Space) -> PPO:
    return PPO(
        config,
        Lane.observation_space,
        actions,
        NUM_ENVS,
        **seeds(5),
    )


def their_name(name: str, shared: bool) -> str:
    """What Stable-Baselines3 calls the weights that we call `name`."""
    *_, layer, kind = name.split(".")
    if kind == "log_standard_deviation":
        return "log_std"
    if layer == "recurrent":
        return f"lstm_actor.{kind}"
    if layer.endswith("_head"):
        return f"{'action' if layer == 'action_head' else 'value'}_net.{kind}"
    if shared:
        return f"features_extractor.linear.{kind}"
    net = "value_net" if "value_torso" in name else "policy_net"
    return f"mlp_extractor.{net}.{2 * (int(layer.removeprefix('dense')) - 1)}.{kind}"


class Update(NamedTuple):
    """What an update of ours did."""

    before: dict[str, Tensor]
    """Weights, by name."""
    after: dict[str, Tensor]
    actions: np.ndarray
    """(STEPS, NUM_ENVS, ...), as drawn."""
    minibatches: list[list[int]]
    """Of each gradient step the transitions, in their numbering: environment * STEPS + time."""
    metrics: dict[str, Any]


def learnt_by_us(config: PPOConfig, actions: gym.Space, monkeypatch: pytest.MonkeyPatch) -> Update:
    algorithm = learner(config, actions)
    envs = SyncVectorEnv([partial(Lane, number, actions) for number in range(NUM_ENVS)])
    minibatches: list[np.ndarray] = []
    learn = algorithm._loss

    def loss(experience: Any, outputs: Any, values: Any, rows: Tensor, clip_range: Any) -> Any:
        minibatches.append(rows.numpy())
        return learn(experience, outputs, values, rows, clip_range)

    monkeypatch.setattr(algorithm, "_loss", loss)
    before = {name: w.detach().clone() for name, w in algorithm.policy.named_parameters()}
    observations, _ = envs.reset()
    ended = np.zeros(NUM_ENVS, bool)
    for _ in range(STEPS + 1):
        chosen = algorithm.act(observations)
        assert not algorithm.update()
        observations, rewards, terminated, truncated, _ = envs.step(chosen)
        rewards = np.asarray(rewards, np.float32)
        algorithm.observe(Step(observations, rewards, terminated, truncated, ~ended))
        ended = terminated | truncated
    valid = algorithm._rollout.valid.copy()
    drawn = algorithm._rollout.actions.copy()
    algorithm.act(observations)
    metrics = algorithm.update()
    assert valid.sum(0).tolist() == [STEPS] * NUM_ENVS
    # Theirs has no row for a reset step.
    theirs = np.arange(NUM_ENVS) * STEPS + valid.cumsum(0) - 1
    return Update(
        before,
        {name: weights.detach() for name, weights in algorithm.policy.named_parameters()},
        np.stack([drawn[valid[:, env], env] for env in range(NUM_ENVS)], axis=1),
        [theirs.flatten()[rows].tolist() for rows in minibatches],
        metrics,
    )


def learnt_by_them(
    theirs: OnPolicyAlgorithm,
    weights: dict[str, Tensor],
    actions: np.ndarray,
    passes: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Their weights after an update, and what they tell of it.

    From `weights`, by `actions`, in the order of `passes`.
    """
    own = theirs.policy.state_dict()
    assert weights.keys() <= own.keys()
    theirs.policy.load_state_dict(own | weights)
    drawn, orders = iter(torch.from_numpy(actions)), iter(passes)
    with monkeypatch.context() as patch:
        patch.setattr(
            type(theirs.policy.action_dist),
            "get_actions",
            lambda self, deterministic=False: next(drawn),
        )
        patch.setattr(np.random, "permutation", lambda count: next(orders))
        patch.setattr(np.random, "randint", lambda count: 0)  # where recurrent passes begin
        theirs.learn(STEPS * NUM_ENVS)
    assert next(drawn, None) is None
    return theirs.policy.state_dict(), theirs.logger.name_to_value


SETTINGS: dict[str, Any] = dict(
    rollout_length=STEPS + 1, discount=0.9, trace_decay=0.8, entropy_weight=0.02, learning_rate=3e-3
)
THEIRS: dict[str, Any] = dict(
    n_steps=STEPS, gamma=0.9, gae_lambda=0.8, ent_coef=0.02, learning_rate=3e-3, device="cpu"
)
KINDS = ("ppo", "a2c", "recurrent")


def config(kind: str) -> PPOConfig:
    if kind == "a2c":
        return a2c(network=MLP, **SETTINGS)
    ppo = partial(PPOConfig, epochs=3, clip_range=0.02, **SETTINGS)
    if kind == "ppo":
        return ppo(network=MLP, minibatch_size=16)
    # Theirs passes no gradient from values into a memory that actions and values share.
    return ppo(network=LSTM, minibatch_size=None, value_weight=0.0)


def their_algorithm(kind: str, envs: DummyVecEnv) -> OnPolicyAlgorithm:
    separate = dict(net_arch=[16, 8])
    if kind == "a2c":
        return A2C("MlpPolicy", envs, policy_kwargs=separate, **THEIRS)
    settings: dict[str, Any] = THEIRS | dict(n_epochs=3, clip_range=0.02)
    if kind == "ppo":
        return StableBaselinesPPO(
            "MlpPolicy", envs, policy_kwargs=separate, batch_size=16, **settings
        )
    recurrent = dict(
        features_extractor_class=Dense,
        net_arch=[],
        lstm_hidden_size=8,
        shared_lstm=True,
        enable_critic_lstm=False,
    )
    return RecurrentPPO(
        "MlpLstmPolicy",
        envs,
        policy_kwargs=recurrent,
        batch_size=STEPS * NUM_ENVS,
        vf_coef=0.0,
        **settings,
    )


@pytest.mark.parametrize("actions", [FOUR, ARM], ids=["discrete", "continuous"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_update_is_theirs(kind: str, actions: gym.Space, monkeypatch: pytest.MonkeyPatch):
    ours = learnt_by_us(config(kind), actions, monkeypatch)
    if kind != "a2c":
        assert 0.05 < ours.metrics["clip_fraction"] < 0.9
    shared = config(kind).shares_torso
    names = {name: their_name(name, shared) for name in ours.before}
    assert len(set(names.values())) == len(names)
    a_pass = len(ours.minibatches) // config(kind).epochs
    passes = [
        np.concatenate(ours.minibatches[first : first + a_pass])
        for first in range(0, len(ours.minibatches), a_pass)
    ]
    assert all(sorted(rows) == list(range(STEPS * NUM_ENVS)) for rows in passes)
    theirs, told = learnt_by_them(
        their_algorithm(
            kind, DummyVecEnv([partial(Lane, number, actions) for number in range(NUM_ENVS)])
        ),
        {names[name]: weights for name, weights in ours.before.items()},
        ours.actions,
        passes,
        monkeypatch,
    )
    for name, weights in ours.after.items():
        if kind != "recurrent" or "value" not in name:
            assert (weights - ours.before[name]).abs().max() > 3e-3
        torch.testing.assert_close(theirs[names[name]], weights, rtol=0, atol=3e-7, msg=name)
    expected = {
        "value_loss": told["train/value_loss"],
        "entropy": -told["train/entropy_loss"],
        "explained_variance": told["train/explained_variance"],
    }
    if kind != "a2c":  # whose loss is another number there, with the same gradient
        expected["policy_loss"] = told["train/policy_gradient_loss"]
        expected["clip_fraction"] = told["train/clip_fraction"]
    metrics = {name: float(ours.metrics[name]) for name in expected}
    assert metrics == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(PPOConfig(), StableBaselinesPPO), (a2c(), A2C)], ids=["ppo", "a2c"]
)
def test_the_defaults_are_theirs(ours: PPOConfig, theirs: type[Any]):
    # A2C has no such settings: it passes over everything at once, and only once.
    defaults = dict(
        n_epochs=1, batch_size=None, clip_range=None, clip_range_vf=None, target_kl=None
    )
    signature = inspect.signature(theirs).parameters
    defaults |= {name: parameter.default for name, parameter in signature.items()}
    settings = {
        "n_steps": ours.rollout_length,
        "n_epochs": ours.epochs,
        "batch_size": ours.minibatch_size,
        "gamma": ours.discount,
        "gae_lambda": ours.trace_decay,
        "clip_range": ours.clip_range,
        "clip_range_vf": ours.clip_value_range,
        "normalize_advantage": ours.standardise_advantages,
        "ent_coef": ours.entropy_weight,
        "vf_coef": ours.value_weight,
        "max_grad_norm": ours.max_gradient_norm,
        "target_kl": ours.target_kl,
    }
    assert settings == {name: defaults[name] for name in settings}

    algorithm = learner(ours, ARM)
    stable = theirs("MlpPolicy", DummyVecEnv([partial(Lane, 0, ARM)]), device="cpu").policy
    assert type(algorithm.optimizer) is type(stable.optimizer)
    for name in ("lr", "eps", "betas", "alpha"):
        found = algorithm.optimizer.defaults.get(name)
        assert found == stable.optimizer.defaults.get(name), name
    weights = {their_name(name, False): w for name, w in algorithm.policy.named_parameters()}
    shapes = {name: w.shape for name, w in stable.named_parameters()}
    assert {name: w.shape for name, w in weights.items()} == shapes
    assert torch.equal(weights["log_std"], stable.log_std)
    assert stable.activation_fn is nn.Tanh
    assert ours.network.activation == "tanh"
