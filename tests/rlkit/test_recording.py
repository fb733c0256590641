"""What a policy sees while it plays, recorded with the recurrent states that it follows on."""

from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.environments import GymnasiumEnvironment
from rlkit.evaluation import SpaceMismatchError
from rlkit.recording import Recording, record
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.atari import AtariProtocol

CARTPOLE = GymnasiumEnvironment("CartPole-v1")
# Each of a batch has a seed of its own here; CartPole-v1's own batches share one.
gym.register(
    "test/CartPoleInTurn-v0", entry_point="gymnasium.envs.classic_control.cartpole:CartPoleEnv"
)
IN_TURN = GymnasiumEnvironment("test/CartPoleInTurn-v0")
UNITS = 6


def small_policy(**network: Any) -> QPolicy:
    torch.manual_seed(0)
    config = NetworkConfig(torso="mlp", hidden_sizes=(8,), memory_size=UNITS, **network)
    env = gym.make("CartPole-v1")
    spaces = env.observation_space, env.action_space
    policy = QPolicy(*spaces, config, HeadConfig("expected"), precision="float32")
    with torch.no_grad():
        for weights in policy.parameters():
            weights.mul_(3.0)  # what it remembers shows in what it does
    return policy.eval()


def played(
    policy: Policy, seed: int, steps: int
) -> list[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """One game after the other, as plainly as can be: step, observation and state before it.

    The state is of both parts in one. A step passes between an episode's end and the next one's
    start, as it does in a batch of environments.
    """
    env = gym.make(IN_TURN.id)
    observation, _ = env.reset(seed=seed)
    state: tuple[np.ndarray, ...] | None = None
    seen = []
    step = 0
    while step < steps:
        before = np.zeros(2 * UNITS, np.float32) if state is None else np.concatenate(state, -1)
        seen.append((step, observation, before.reshape(-1)))
        batched = None if state is None else tuple(part.reshape(1, -1) for part in state)
        action, state = policy.predict(observation[None], batched, deterministic=True)
        observation, _, terminated, truncated, _ = env.step(int(action[0]))
        step += 1
        if terminated or truncated:
            observation, _ = env.reset()
            state = None
            step += 1
    return seen


@pytest.mark.parametrize("every", [1, 3])
def test_states_are_those_of_a_replay_step_by_step(every: int) -> None:
    policy = small_policy(memory="lstm")
    recording = record(policy, IN_TURN, 60, seed=5, epsilon=0.0, num_envs=2, every=every)
    # Environments of a batch are seeded one after the other.
    replays = [each for env in range(2) for each in played(policy, 5 + env, 60 * every)]
    found = []
    for observation, hidden, cell in zip(recording.observations, *recording.state, strict=True):
        matches = [each for each in replays if np.array_equal(each[1], observation)]
        assert len(matches) == 1  # no observation after an episode's end is among them
        step, _, before = matches[0]
        assert step % every == 0
        np.testing.assert_allclose(np.concatenate([hidden, cell]), before, atol=1e-5)
        found.append((step, before.any()))
    assert len({each.tobytes() for each in recording.observations}) == 60  # each one once
    assert (
        sum(not has_past for step, has_past in found if step > 0) >= 2
    )  # episodes after the first
    assert sum(has_past for _, has_past in found) >= 30
    steps = [step for step, _ in found]
    assert steps != sorted(steps)  # in a random order


@pytest.mark.parametrize(("memory", "parts"), [("lstm", 2), ("gru", 1), ("none", 0)])
def test_shapes_and_types(memory: str, parts: int) -> None:
    recording = record(small_policy(memory=memory), CARTPOLE, 37, num_envs=4)
    assert len(recording) == 37
    assert (recording.observations.shape, recording.observations.dtype) == ((37, 4), np.float32)
    assert [each.shape for each in recording.state] == [(37, UNITS)] * parts
    assert all(each.dtype == np.float32 for each in recording.state)
    assert recording.environment == {"id": "CartPole-v1", **asdict(CARTPOLE)}


def test_the_same_seed_gives_the_same_recording() -> None:
    def recorded(seed: int) -> Recording:
        return record(small_policy(memory="gru"), CARTPOLE, 40, seed=seed, epsilon=0.3, num_envs=4)

    first = recorded(1)
    torch.rand(3)  # the global generators have no part in it
    np.random.seed(7)  # noqa: NPY002
    again, other = recorded(1), recorded(2)
    np.testing.assert_array_equal(first.observations, again.observations)
    np.testing.assert_array_equal(first.state[0], again.state[0])
    assert not np.array_equal(first.observations, other.observations)


class PushLeft(Policy):
    """Pushes the cart to the left, and notes in which mode it was asked."""

    def __init__(self) -> None:
        env = gym.make("CartPole-v1")
        super().__init__(env.observation_space, env.action_space)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.asked_in_training: set[bool] = set()

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        self.asked_in_training.add(self.training)
        return torch.zeros(len(observations), dtype=torch.int64), None


def test_random_actions_come_in_their_share() -> None:
    # A cart that starts at rest and is pushed to the left alone never rolls to the right.
    def to_the_right(epsilon: float) -> float:
        recording = record(PushLeft(), CARTPOLE, 2_000, epsilon=epsilon, every=1)
        return float((recording.observations[:, 1] > 0.1).mean())

    assert to_the_right(0.0) == 0.0
    assert 0.0 < to_the_right(0.1) < 0.03 < to_the_right(0.5) < 0.15  # two right pushes are rare
    assert 0.35 < to_the_right(1.0) < 0.5


@pytest.mark.parametrize("training", [False, True])
def test_the_policy_plays_in_evaluation_mode_and_keeps_its_own(training: bool) -> None:
    policy = PushLeft().train(training)
    record(policy, CARTPOLE, 5, num_envs=2)
    assert policy.asked_in_training == {False}
    assert policy.training == training


def test_games_are_played_under_the_protocol_of_evaluations() -> None:
    easy = AtariProtocol("boxing", sticky_actions=0.0, frame_stack=2, height=42, width=42)
    torch.manual_seed(0)
    space = gym.spaces.Box(0, 255, (2, 42, 42), np.uint8)
    network = NetworkConfig(torso="compact", dense_size=8)
    policy = QPolicy(space, gym.spaces.Discrete(18), network, HeadConfig("expected"))
    recording = record(policy, easy, 5, num_envs=2)
    assert recording.environment["sticky_actions"] == 0.25
    assert (recording.environment["height"], recording.environment["frame_stack"]) == (42, 2)
    assert recording.observations.dtype == np.uint8
    (frames,) = recording.inputs()
    torch.testing.assert_close(frames, torch.from_numpy(recording.observations) / 255)


def test_inputs_scale_bytes_and_nothing_else() -> None:
    state = (np.full((1, 2), 3.0, np.float32),)
    of_bytes = Recording(np.array([[0, 51, 255]], np.uint8), state, {}).inputs()
    assert [each.dtype for each in of_bytes] == [torch.float32] * 2
    torch.testing.assert_close(of_bytes[0], torch.tensor([[0.0, 0.2, 1.0]]))
    torch.testing.assert_close(of_bytes[1], torch.full((1, 2), 3.0))
    (of_floats,) = Recording(np.array([[0.0, 51.0]], np.float64), (), {}).inputs()
    assert of_floats.dtype == torch.float32
    assert of_floats.tolist() == [[0.0, 51.0]]


def test_some_of_a_recording_keep_their_states() -> None:
    count = np.arange(6, dtype=np.float32)
    whole = Recording(count[:, None], (count[:, None] * 10, count[:, None] * 100), {"id": "x"})
    for which, kept in ((slice(1, 3), [1, 2]), (np.array([4, 0]), [4, 0])):
        some = whole[which]
        assert len(some) == 2
        assert some.observations[:, 0].tolist() == kept
        assert some.state[0][:, 0].tolist() == [10 * each for each in kept]
        assert some.state[1][:, 0].tolist() == [100 * each for each in kept]
        assert some.environment == {"id": "x"}


@pytest.mark.parametrize("count", [0, -3])
def test_a_recording_of_nothing_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"at least one observation, got {count}"):
        record(PushLeft(), CARTPOLE, count)


@pytest.mark.parametrize("name", ["Acrobot-v1", "MountainCar-v0"])
def test_policies_for_other_spaces_are_refused(name: str) -> None:
    with pytest.raises(SpaceMismatchError, match="the policy was made for observations"):
        record(PushLeft(), GymnasiumEnvironment(name), 5)
