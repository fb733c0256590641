"""Policies of Stable-Baselines3 and sb3-contrib act as by themselves, and survive a policy file."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.environments import GymnasiumEnvironment
from rlkit.outlook import Outlook, outlook_of
from rlkit.policies import load_policy, save_policy
from rlkit.policy_file import PolicyFileError, read_policy_file, write_policy_file
from rlkit.sb3.config import ALGORITHMS
from rlkit.sb3.policy import StableBaselinesPolicy, StableBaselinesValuePolicy, build
from rlkit.sb3.settings import algorithm_class

NUMBERS = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
STACK = gym.spaces.Box(0, 255, (4, 36, 38), np.uint8)
PICTURE = gym.spaces.Box(0, 255, (36, 38, 3), np.uint8)
COLOUR_STACK = gym.spaces.Box(0, 255, (2, 36, 38, 3), np.uint8)
CHOICE = gym.spaces.Discrete(5)
ARM = gym.spaces.Box(np.array([-2.0, 0.5], np.float32), np.array([1.0, 0.75], np.float32))
CONTINUOUS = {"sb3:DDPG", "sb3:SAC", "sb3:TD3", "sb3-contrib:CrossQ", "sb3-contrib:TQC"}


def fresh(
    name: str,
    observation_space: gym.Space = NUMBERS,
    action_space: gym.Space | None = None,
    network: str = "",
    seed: int = 0,
    **arguments: Any,
) -> StableBaselinesPolicy:
    torch.manual_seed(seed)
    alias = network or next(a for a in algorithm_class(name).policy_aliases if a.startswith("Mlp"))
    description = {"algorithm": name, "network": alias, "arguments": arguments}
    actions = action_space or (ARM if name in CONTINUOUS else CHOICE)
    return build(description, observation_space, actions).eval()


def observations(space: gym.Space, batch: int = 8) -> np.ndarray:
    random = np.random.default_rng(0)
    if space.dtype == np.uint8:
        return random.integers(0, 256, (batch, *(space.shape or ())), np.uint8)
    return (3 * random.normal(size=(batch, *(space.shape or ())))).astype(np.float32)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_algorithm_acts_as_by_itself(name: str, deterministic: bool):
    policy = fresh(name)
    if policy.action_space is ARM:
        with torch.no_grad():  # far enough from 0 to meet the bounds
            for weights in policy.parameters():
                weights.mul_(3)
    seen = observations(NUMBERS)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (the library explores by it)
    actions, _ = policy.predict(seen, deterministic=deterministic)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected, _ = policy.network.predict(seen, deterministic=deterministic)
    np.testing.assert_allclose(actions, expected, rtol=1e-6)
    assert all(action in policy.action_space for action in actions)
    assert len(np.unique(actions)) > 1


def test_actions_without_squashing_are_clipped_to_the_bounds():
    policy = fresh("sb3:PPO", action_space=ARM)
    seen = 100 * observations(NUMBERS)
    actions, _ = policy.predict(seen, deterministic=True)
    np.testing.assert_array_equal(actions, policy.network.predict(seen, deterministic=True)[0])
    assert (actions[:, 1] == 0.5).any()
    assert ((actions > ARM.low) & (actions < ARM.high)).any()


def test_several_choices_at_a_time_and_symbols_as_observations():
    actions = gym.spaces.MultiDiscrete([3, 2])
    policy = fresh("sb3:PPO", gym.spaces.Discrete(6), actions)
    chosen, _ = policy.predict(np.arange(6), deterministic=True)
    assert chosen.shape == (6, 2)
    np.testing.assert_array_equal(
        chosen, policy.network.predict(np.arange(6), deterministic=True)[0]
    )


@pytest.mark.parametrize("space", [STACK, PICTURE, COLOUR_STACK], ids=["stack", "picture", "film"])
def test_pictures_come_with_their_channels_first(space: gym.spaces.Box):
    policy = fresh("sb3:DQN", space, network="CnnPolicy")
    seen = observations(space)
    if space is PICTURE:
        shown = seen.transpose(0, 3, 1, 2)
    elif space is COLOUR_STACK:
        shown = np.concatenate(
            [frame.transpose(0, 3, 1, 2) for frame in (seen[:, 0], seen[:, 1])], 1
        )
    else:
        shown = seen
    with torch.no_grad():
        assert isinstance(policy, StableBaselinesValuePolicy)
        values = policy.q_values(torch.from_numpy(seen))
        expected = policy.network.q_net(torch.from_numpy(shown))  # pyright: ignore[reportCallIssue]
        torch.testing.assert_close(values, expected)
    assert torch.equal(policy(torch.from_numpy(seen)), values.argmax(1))


def test_values_are_expected_returns_where_there_are_any():
    policy = fresh("sb3-contrib:QRDQN", n_quantiles=7)
    seen = torch.from_numpy(observations(NUMBERS))
    assert isinstance(policy, StableBaselinesValuePolicy)
    with torch.no_grad():
        quantiles = policy.network.quantile_net(seen)  # pyright: ignore[reportCallIssue]
        assert quantiles.shape == (8, 7, 5)
        torch.testing.assert_close(policy.q_values(seen), quantiles.mean(1))
    assert not hasattr(fresh("sb3:PPO"), "q_values")


def test_state_dependent_noise_comes_from_the_seed_too():
    seen = torch.from_numpy(observations(NUMBERS))

    def drawn(seed: int) -> torch.Tensor:
        policy = fresh("sb3:PPO", action_space=ARM, use_sde=True)
        torch.manual_seed(seed)
        return policy.act(seen, deterministic=False)[0]

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


# What they make of what they see


def one_observation() -> torch.Tensor:
    return torch.from_numpy(observations(NUMBERS, 1))


@pytest.mark.parametrize("name", ["sb3:A2C", "sb3-contrib:MaskablePPO", "sb3-contrib:TRPO"])
@torch.no_grad()
def test_actor_critics_tell_probabilities_and_value(name: str):
    policy, seen = fresh(name), one_observation()
    network: Any = policy.network
    network.action_net.weight.mul_(200)
    told = outlook_of(policy, seen, None)
    assert told.value == pytest.approx(float(network.predict_values(seen)))
    assert told.probabilities is not None
    assert told.q_values is told.gaussian is None
    actions, _ = policy.act(seen.expand(20_000, -1), deterministic=False)
    shares = np.bincount(actions, minlength=5) / 20_000
    np.testing.assert_allclose(told.probabilities, shares, atol=0.02)
    assert shares.max() > 0.4, "the probabilities have to differ"
    with pytest.raises(ValueError, match="this policy has no memory"):
        outlook_of(policy, seen, (torch.zeros(1, 4),))


@pytest.mark.parametrize("use_sde", [False, True])
@torch.no_grad()
def test_of_continuous_actions_they_tell_the_distribution_before_it_is_clipped(use_sde: bool):
    policy = fresh("sb3:PPO", action_space=ARM, use_sde=use_sde, log_std_init=-1.0)
    network: Any = policy.network
    network.action_net.bias.copy_(torch.tensor([0.3, -4.0]))
    told = outlook_of(policy, one_observation(), None)
    assert told.value == pytest.approx(float(network.predict_values(one_observation())))
    assert told.gaussian is not None
    assert told.preferences is None
    many = one_observation().expand(20_000, -1)
    if use_sde:
        network.reset_noise(len(many))
    drawn = network._predict(many, deterministic=False).numpy()
    np.testing.assert_allclose(told.gaussian[0], drawn.mean(0), atol=0.03)
    np.testing.assert_allclose(told.gaussian[1], drawn.std(0), rtol=0.05)
    assert told.gaussian[0][1] < ARM.low[1]


@pytest.mark.parametrize(
    "critic",
    [
        {},
        {"enable_critic_lstm": False},
        {"enable_critic_lstm": False, "shared_lstm": True},
    ],
    ids=["critic with memory", "critic without", "one memory for both"],
)
@torch.no_grad()
def test_a_recurrent_actor_critic_tells_what_follows_on_its_past(critic: dict[str, Any]):
    from sb3_contrib.common.recurrent.type_aliases import RNNStates

    name = "sb3-contrib:RecurrentPPO"
    policy = fresh(name, lstm_hidden_size=6, n_lstm_layers=2, **critic)
    network: Any = policy.network
    for weights in network.parameters():
        weights.mul_(3)
    seen = torch.from_numpy(observations(NUMBERS, 4))
    state = None
    for observation in seen[:3]:
        _, state = policy.act(observation[None], state)
    told = outlook_of(policy, seen[3:], state)
    assert told.probabilities is not None

    nothing = (torch.zeros(2, 1, 6), torch.zeros(2, 1, 6))
    begins = torch.zeros(4)
    for action in range(5):  # by the library as one sequence, as it learns
        values, log_probs, _ = network.evaluate_actions(
            seen, torch.full((4,), action), RNNStates(nothing, nothing), begins
        )
        assert told.probabilities[action] == pytest.approx(float(log_probs[3].exp()), abs=1e-5)
        assert told.value == pytest.approx(float(values[3]), abs=1e-5)
    afresh = outlook_of(policy, seen[3:], None)
    assert afresh.probabilities is not None
    assert np.abs(afresh.probabilities - told.probabilities).max() > 1e-3
    assert (afresh.value != told.value) == (critic != {"enable_critic_lstm": False})


@pytest.mark.parametrize("name", sorted(CONTINUOUS))
@torch.no_grad()
def test_where_critics_value_actions_the_lowest_value_of_the_best_is_told(name: str):
    policy, seen = fresh(name), one_observation()
    network: Any = policy.network
    actions, _ = policy.act(seen)
    low, high = torch.from_numpy(ARM.low), torch.from_numpy(ARM.high)
    values = network.critic(seen, 2 * (actions - low) / (high - low) - 1)
    if name == "sb3-contrib:TQC":
        values = [quantiles.mean() for quantiles in values[0]]
    values = [float(value) for value in values]
    assert outlook_of(policy, seen, None) == Outlook(value=pytest.approx(min(values), abs=1e-5))  # pyright: ignore[reportArgumentType]
    assert len(set(values)) == 2


@torch.no_grad()
def test_what_has_no_distribution_to_show_tells_the_rest():
    pairs = fresh("sb3:PPO", action_space=gym.spaces.MultiDiscrete([3, 2]))
    squashed = fresh("sb3:A2C", action_space=ARM, use_sde=True, squash_output=True)
    for policy in (pairs, squashed):
        told = outlook_of(policy, one_observation(), None)
        assert told.value is not None
        assert told.probabilities is told.gaussian is None
    assert outlook_of(fresh("sb3-contrib:ARS"), one_observation(), None) == Outlook()


# Files


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_policy_file_brings_it_back(tmp_path: Path, name: str):
    arguments: dict[str, Any] = {} if name == "sb3-contrib:ARS" else {"activation_fn": "elu"}
    policy = fresh(name, **arguments)
    path = tmp_path / "policy.safetensors"
    world = GymnasiumEnvironment("CartPole-v1")
    save_policy(policy, path, world, {"recipe": "small"})
    loaded = load_policy(path).policy
    seen = observations(NUMBERS)
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], policy.predict(seen, deterministic=True)[0]
    )
    assert loaded.architecture == policy.architecture
    assert type(loaded) is type(policy)
    weights, again = policy.state_dict(), loaded.state_dict()
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    other = fresh(name, seed=1, **arguments).state_dict()
    assert any(not torch.equal(weights[key], other[key]) for key in weights) or name.endswith("ARS")


def test_weights_that_two_parts_share_are_kept_once(tmp_path: Path):
    policy = fresh("sb3:PPO", STACK, network="CnnPolicy")
    distinct = sum(weights.numel() for weights in policy.parameters())
    assert sum(weights.numel() for weights in policy.state_dict().values()) == distinct
    fresh_one = fresh("sb3:PPO", STACK, network="CnnPolicy", seed=1)
    fresh_one.load_state_dict(policy.state_dict())
    for ours, theirs in zip(fresh_one.parameters(), policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"algorithm": "sb3:PPQ"}, "did you mean sb3:PPO"),
        ({"network": "OsSystem"}, "sb3:PPO has no policy 'OsSystem'"),
        ({"arguments": {"activation_fn": "os.system"}}, "unknown activation_fn 'os.system'"),
        ({"arguments": {"features_extractor_class": "eval"}}, "unknown features_extractor_class"),
        ({"arguments": {"net_arch": [9]}}, "size mismatch"),
        ({"arguments": {"windows": 3}}, "windows"),
        ({"arguments": 3}, "an object of names and values, got 3"),
    ],
)
def test_a_description_that_makes_no_sense_is_one_line(
    tmp_path: Path, changes: dict[str, Any], complaint: str
):
    path = tmp_path / "policy.safetensors"
    save_policy(fresh("sb3:PPO"), path, GymnasiumEnvironment("CartPole-v1"), {})
    header, tensors = read_policy_file(path)
    header["architecture"] |= changes
    write_policy_file(path, header, tensors)
    with pytest.raises(PolicyFileError, match=complaint) as caught:
        load_policy(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_or_unknown_are_named(tmp_path: Path):
    policy = fresh("sb3:PPO", STACK, network="CnnPolicy")
    weights = policy.state_dict()
    with pytest.raises(RuntimeError, match=r"missing \['network.action_net.bias'\]"):
        policy.load_state_dict({k: v for k, v in weights.items() if not k.endswith("n_net.bias")})
    with pytest.raises(RuntimeError, match=r"not known \['extra'\]"):
        policy.load_state_dict({**weights, "extra": torch.zeros(1)})
