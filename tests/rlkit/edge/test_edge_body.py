"""A policy's body computes what the policy computes, in plain layers and with its own weights."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlkit.edge.body import Body, ExportError, body_of
from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy

# Neither square nor with as many channels as pixels: an order that is mixed up shows.
FRAMES = gym.spaces.Box(0, 255, (3, 60, 56), np.uint8)
FLOATS = gym.spaces.Box(0, 300, (3, 60, 56), np.float32)
COLOURS = gym.spaces.Box(0, 255, (2, 48, 44, 3), np.uint8)
VECTOR = gym.spaces.Box(-3, 3, (7,), np.float32)
ACTIONS = gym.spaces.Discrete(5)
EXPECTED = HeadConfig("expected")
BATCH = 4


def value_based(
    space: gym.Space,
    head: HeadConfig = EXPECTED,
    value_rescaling: bool = False,
    **network: Any,
) -> QPolicy:
    torch.manual_seed(0)
    config = NetworkConfig(**network)
    policy = QPolicy(
        space, ACTIONS, config, head, value_rescaling=value_rescaling, precision="float32"
    )
    return as_if_trained(policy)


def actor_critic(action_space: gym.Space, shared_torso: bool = True, **network: Any) -> Any:
    torch.manual_seed(0)
    config = NetworkConfig(torso="mlp", hidden_sizes=(6, 8), **network)
    policy = ActorCriticPolicy(
        VECTOR, action_space, config, shared_torso=shared_torso, precision="float32"
    )
    return as_if_trained(policy)


def picking() -> PickPolicy:
    torch.manual_seed(0)
    seen = gym.spaces.Box(-50, 150, (3, 16, 12), np.float32)
    config = PickNetworkConfig((3, 4, 5), members=3, height_scale_mm=17.0)
    policy = PickPolicy(seen, gym.spaces.Discrete(2 * 16 * 12), config, precision="float32")
    return as_if_trained(policy)


def symmetric_picking() -> PickPolicy:
    torch.manual_seed(0)
    seen = gym.spaces.Box(-50, 150, (2, 12, 12), np.float32)
    config = PickNetworkConfig((3, 4, 5), members=3, height_scale_mm=17.0)
    actions = gym.spaces.Discrete(144)
    return as_if_trained(PickPolicy(seen, actions, config, symmetric=True, precision="float32"))


def as_if_trained(policy: Any) -> Any:
    """`policy` in evaluation mode, no weight where it began: a norm that is lost then shows."""
    with torch.no_grad():
        for weights in policy.parameters():
            weights.add_(0.05 * torch.randn(weights.shape))
    return policy.eval()


def observed(policy: Policy) -> Tensor:
    """A batch of observations, as an environment gives them."""
    policy.observation_space.seed(1)
    return torch.from_numpy(np.stack([policy.observation_space.sample() for _ in range(BATCH)]))


def run(body: Body, observations: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
    scale = 255.0 if observations.dtype == torch.uint8 else 1.0
    with torch.no_grad():
        return body(observations.float() / scale, *state)


def assert_same(computed: Tensor, reference: Tensor) -> None:
    assert reference.std() > 1e-2  # else anything would do
    torch.testing.assert_close(computed, reference.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("torso", ["seed", "small", "compact", "nature", "impala"])
@pytest.mark.parametrize("layer_norm", ["none", "dense", "all"])
def test_image_torsos(torso: str, layer_norm: str) -> None:
    policy = value_based(FRAMES, torso=torso, layer_norm=layer_norm, dense_size=16)
    observations = observed(policy)
    (values,) = run(body_of(policy), observations)
    assert values.shape == (BATCH, 5)
    assert_same(values, policy.q_values(observations))


@pytest.mark.parametrize("space", [VECTOR, FRAMES, COLOURS], ids=["vector", "frames", "colours"])
@pytest.mark.parametrize("layer_norm", ["none", "dense"])
def test_dense_torsos(space: gym.Space, layer_norm: str) -> None:
    policy = value_based(
        space, torso="mlp", hidden_sizes=(9, 8), layer_norm=layer_norm, activation="silu"
    )
    observations = observed(policy)
    assert_same(run(body_of(policy), observations)[0], policy.q_values(observations))


def test_frames_of_floats_are_taken_as_they_are() -> None:
    policy = value_based(FLOATS, dense_size=16)
    observations = observed(policy)
    assert_same(run(body_of(policy), observations)[0], policy.q_values(observations))


@pytest.mark.parametrize("torso", ["small", "impala"])
def test_colour_frames(torso: str) -> None:
    policy = value_based(COLOURS, torso=torso, dense_size=16)
    observations = observed(policy)
    assert_same(run(body_of(policy), observations)[0], policy.q_values(observations))


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize(
    ("head", "rescaled", "outputs"),
    [
        # What is linear to the end is folded into one output for each action.
        (EXPECTED, False, 5),
        (EXPECTED, True, 5),
        (HeadConfig("quantile", 6), False, 5),
        (HeadConfig("quantile", 6), True, 30),
        (HeadConfig("categorical", 7, value_min=-3.0, value_max=11.0), False, 35),
    ],
)
def test_heads(head: HeadConfig, rescaled: bool, outputs: int, dueling: bool) -> None:
    policy = value_based(VECTOR, head, rescaled, torso="mlp", hidden_sizes=(8,), dueling=dueling)
    observations = observed(policy)
    body = body_of(policy)
    assert_same(run(body, observations)[0], policy.q_values(observations))
    linear = body.head.get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    assert linear.out_features == outputs


def test_noise_and_dropout_stay_behind() -> None:
    policy = value_based(FRAMES, noisy=True, dropout=0.5, dueling=True, dense_size=16)
    observations = observed(policy)
    reference = policy.q_values(observations)
    policy.train()
    policy.network.reset_noise()
    assert not torch.allclose(policy.q_values(observations), reference, atol=1e-2)
    body = body_of(policy)
    assert not any(isinstance(each, nn.Dropout) for each in body.modules())
    assert policy.training
    assert_same(run(body, observations)[0], reference)


@pytest.mark.parametrize("memory", ["lstm", "gru"])
@pytest.mark.parametrize("rescaled", [False, True])
def test_memories_over_several_steps(memory: str, rescaled: bool) -> None:
    policy = value_based(
        VECTOR,
        HeadConfig("quantile", 6),
        rescaled,
        torso="mlp",
        hidden_sizes=(8,),
        memory=memory,
        memory_size=6,
    )
    body = body_of(policy)
    assert body.state_sizes == ((6, 6) if memory == "lstm" else (6,))
    state = tuple(torch.zeros(BATCH, size) for size in body.state_sizes)
    reference_state: State = None
    for step in range(5):
        observations = observed(policy) * (1 + step)
        values, *following = run(body, observations, *state)
        state = tuple(following)
        assert_same(values, policy.q_values(observations, reference_state))
        with torch.no_grad():
            _, reference_state = policy.act(observations, reference_state)
        assert reference_state is not None
        for part, reference in zip(state, reference_state, strict=True):
            assert_same(part, reference)


@pytest.mark.parametrize("shared_torso", [False, True])
@pytest.mark.parametrize(
    "action_space",
    [ACTIONS, gym.spaces.Box(-0.2, 0.3, (3,), np.float32)],
    ids=["discrete", "continuous"],
)
def test_actor_critics(action_space: gym.Space, shared_torso: bool) -> None:
    policy = actor_critic(action_space, shared_torso, activation="tanh")
    observations = observed(policy)
    body = body_of(policy)
    (outputs,) = run(body, observations)
    assert_same(outputs, policy(observations)[0])
    actions, _ = policy.act(observations)
    chosen = outputs.argmax(1) if action_space is ACTIONS else outputs.clamp(-0.2, 0.3)
    torch.testing.assert_close(chosen, actions)
    # The critic stays behind: 7 numbers to 6 and 8 units and the actions.
    weights = sum(each.numel() for each in body.parameters())
    assert weights == 7 * 6 + 6 + 6 * 8 + 8 + (8 + 1) * outputs.shape[1]


def test_actor_critics_with_memory() -> None:
    policy = actor_critic(ACTIONS, memory="gru", memory_size=6)
    body = body_of(policy)
    observations = observed(policy)
    hidden = torch.randn(BATCH, 6)
    outputs, following = run(body, observations, hidden)
    with torch.no_grad():
        reference, _, reference_state = policy.unroll(observations[None], (hidden,))
    assert_same(outputs, reference[0])
    assert_same(following, reference_state[0])


@pytest.mark.parametrize("made", [picking, symmetric_picking])
def test_picking_policies_mind_marks_stances_and_turns(made: Callable[[], PickPolicy]) -> None:
    policy = made()
    observations = observed(policy)
    observations[:, -1] = (observations[:, -1] > 100).float()
    assert 0 < observations[:, -1].mean() < 1
    (chances,) = run(body_of(policy), observations)
    assert chances.shape == (BATCH, policy.stances * policy.pixels)
    assert_same(chances, policy.q_values(observations))
    torch.testing.assert_close(chances.argmax(1), policy.act(observations)[0])


POLICIES = {
    "frames": lambda: value_based(FRAMES, layer_norm="all", dense_size=16),
    "impala": lambda: value_based(COLOURS, torso="impala", layer_norm="all", dense_size=16),
    "noisy": lambda: value_based(VECTOR, torso="mlp", noisy=True, layer_norm="dense"),
    "memory": lambda: value_based(VECTOR, torso="mlp", memory="lstm", memory_size=6),
    "actor-critic": lambda: actor_critic(ACTIONS),
    "picking": picking,
    "symmetric picking": symmetric_picking,
}


@pytest.mark.parametrize("name", POLICIES)
def test_its_weights_are_its_own(name: str) -> None:
    policy = POLICIES[name]()
    policy.train()
    before = {key: value.clone() for key, value in policy.state_dict().items()}
    body = body_of(policy)
    for tensor in (*body.parameters(), *body.buffers()):
        tensor.add_(1.0)
    after = policy.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert all(each.requires_grad for each in policy.parameters())
    assert policy.training


@pytest.mark.parametrize("name", POLICIES)
def test_it_is_ready_to_run_and_made_of_plain_layers(name: str) -> None:
    body = body_of(POLICIES[name]())
    assert not any(module.training for module in body.modules())
    assert not any(each.requires_grad for each in body.parameters())
    assert {each.dtype for each in body.parameters()} == {torch.float32}
    plain = {nn.Conv2d, nn.Linear, nn.LayerNorm, nn.GroupNorm}
    holders = [each for each in body.modules() if list(each.parameters(recurse=False))]
    assert {type(each) for each in holders} <= plain


class Always(Policy):
    """Takes the first action."""

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        return torch.zeros(len(observations), dtype=torch.int64), None


def test_other_policies_are_refused() -> None:
    with pytest.raises(ExportError, match="Always cannot be deployed; value-based, actor-critic"):
        body_of(Always(VECTOR, ACTIONS))
