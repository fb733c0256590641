"""Evaluations agree with Stable-Baselines3's, are fair, and state their protocol."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from rlkit import evaluation
from rlkit.environments import Environment, GymnasiumEnvironment, make_envs
from rlkit.evaluation import EvaluationStopped, SpaceMismatchError, evaluate
from rlkit.sb3.vec_env import VectorEnvAsVecEnv
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.atari import AtariEnvs, AtariProtocol

CARTPOLE = GymnasiumEnvironment("CartPole-v1")
BOXING = AtariProtocol("boxing", height=42, width=42, max_frames=400)


def q_policy(environment: Environment, torso: str, **options: Any) -> QPolicy:
    torch.manual_seed(7)
    envs = make_envs(environment, 1)
    network = NetworkConfig(torso=torso, **options)  # pyright: ignore[reportArgumentType]
    observations, actions = envs.single_observation_space, envs.single_action_space
    envs.close()
    return QPolicy(observations, actions, network, HeadConfig("expected"), precision="float32")


@pytest.fixture(scope="module")
def cartpole_policy() -> QPolicy:
    return q_policy(CARTPOLE, "mlp", hidden_sizes=(16,), dropout=0.5)


# Against Stable-Baselines3


def returns_by_sb3(policy: Policy, venv: VecEnv, seed: int, episodes: int) -> list[float]:
    venv.seed(seed)
    policy.eval()
    returns, _ = evaluate_policy(
        policy,  # pyright: ignore[reportArgumentType]
        venv,
        n_eval_episodes=episodes,
        return_episode_rewards=True,
        warn=False,
    )
    venv.close()
    return returns  # pyright: ignore[reportReturnType]


def test_cartpole_gives_the_returns_of_stable_baselines3(cartpole_policy: QPolicy):
    found = evaluate(cartpole_policy, CARTPOLE, 12, seed=5, num_envs=1)
    venv = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    expected = returns_by_sb3(cartpole_policy, venv, seed=5, episodes=12)
    assert found.returns == expected
    assert found.lengths == expected
    assert len(set(expected)) > 2


class PixelSum(Policy):
    """Plays Boxing in all directions, as the sum of all pixels falls."""

    def __init__(self) -> None:
        box = gym.spaces.Box(0, 255, (4, 42, 42), np.uint8)
        super().__init__(box, gym.spaces.Discrete(18))
        self.weight = torch.nn.Parameter(torch.zeros(()))

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        return observations.long().sum((1, 2, 3)) % 18, None


def test_boxing_gives_the_returns_of_stable_baselines3():
    policy = PixelSum()
    found = evaluate(policy, BOXING, 6, seed=11, num_envs=1)
    expected = returns_by_sb3(policy, VectorEnvAsVecEnv(AtariEnvs(BOXING)), seed=11, episodes=6)
    assert found.returns == expected
    assert found.summary.mean == np.mean(expected)
    assert found.lengths == [100] * 6
    assert len(set(expected)) > 2


# Fair shares


class Scripted(VectorEnv):
    """Environment i plays episodes of `lengths[i]` steps that are worth i + 1 in all."""

    def __init__(self, lengths: list[int]) -> None:
        self.num_envs = len(lengths)
        self.metadata = {
            "autoreset_mode": AutoresetMode.NEXT_STEP,
            "episode_counts": {"knocks": "knocks"},
        }
        self.single_observation_space = gym.spaces.Box(-1, 99, (2,), np.float32)
        self.single_action_space = gym.spaces.Discrete(3)
        self.whole = np.array(lengths)
        self.closed_times = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.seed, self.time = seed, np.zeros(self.num_envs, int)
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        return np.stack([np.arange(self.num_envs), self.time], axis=1).astype(np.float32)

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        self.time = np.where(self.time == self.whole, 0, self.time + 1)
        ends = self.time == self.whole
        rewards = np.where(ends, np.arange(self.num_envs) + 1.0, 0.0)
        counts = {"knocks": self.time * 10.0}
        no = np.zeros(self.num_envs, bool)
        return self.observe(), rewards, ends, no, {"episode_counts": counts}

    def close_extras(self, **kwargs: Any) -> None:
        self.closed_times += 1


class Remembering(Policy):
    """Counts its steps since the state was last cleared, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(gym.spaces.Box(-1, 99, (2,), np.float32), gym.spaces.Discrete(3))
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.asked: list[tuple[np.ndarray, np.ndarray, bool]] = []
        self.modes: set[bool] = set()

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        count = torch.zeros(len(observations), 1) if state is None else state[0]
        self.asked.append((observations.numpy().copy(), count.numpy().copy(), deterministic))
        self.modes.add(self.training)
        return torch.zeros(len(observations), dtype=torch.int64), (count + 1,)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], list[Scripted]]:
    """Makes `evaluate` play Scripted environments of given lengths; returns those it made."""

    def use(lengths: list[int]) -> list[Scripted]:
        made: list[Scripted] = []

        def make(environment: Environment, num_envs: int, threads: int) -> Scripted:
            made.append(Scripted(lengths[:num_envs]))
            return made[-1]

        monkeypatch.setattr(evaluation, "make_envs", make)
        return made

    return use


def test_each_environment_plays_its_share_so_that_short_episodes_are_not_preferred(
    scripted: Callable[[list[int]], list[Scripted]],
):
    made = scripted([1, 7, 2, 30])
    seen: list[tuple[int, float]] = []
    found = evaluate(
        Remembering(), CARTPOLE, 10, num_envs=4, on_episode=lambda *episode: seen.append(episode)
    )
    # The first two environments play one episode more, and all keep the order of environments.
    assert found.returns == [1, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert found.lengths == [1, 1, 1, 7, 7, 7, 2, 2, 30, 30]
    assert found.counts == {"knocks": [10.0 * length for length in found.lengths]}
    assert found.units == {"knocks": "knocks"}
    assert [done for done, _ in seen] == list(range(1, 11))
    assert sorted(value for _, value in seen) == found.returns
    assert made[0].closed_times == 1


def test_no_more_environments_are_made_than_episodes(
    scripted: Callable[[list[int]], list[Scripted]],
):
    made = scripted([3] * 9)
    assert evaluate(Remembering(), CARTPOLE, 2).lengths == [3, 3]
    assert made[0].num_envs == 2
    with pytest.raises(ValueError, match="at least one episode"):
        evaluate(Remembering(), CARTPOLE, 0)


def test_a_recurrent_state_is_forgotten_between_episodes(
    scripted: Callable[[list[int]], list[Scripted]],
):
    scripted([2, 5])
    policy = Remembering()
    evaluate(policy, CARTPOLE, 6, num_envs=2)
    for observations, counts, deterministic in policy.asked:
        np.testing.assert_array_equal(counts[:, 0], observations[:, 1])
        assert deterministic


def test_what_is_reported_as_json(scripted: Callable[[list[int]], list[Scripted]]):
    scripted([1, 3])
    json = evaluate(Remembering(), CARTPOLE, 4, num_envs=2).to_json()
    assert json["returns"] == [1, 1, 2, 2]
    assert (json["mean"], json["min"], json["max"]) == (1.5, 1, 2)
    assert json["iqm"] == 1.5
    assert len(json["iqm_ci95"]) == 2
    assert json["metrics"] == {
        "knocks": {"mean": 20.0, "unit": "knocks"},
        "length": {"mean": 2.0, "unit": "steps per episode"},
    }


# What it leaves alone, and what it says


def test_the_mode_of_the_policy_is_restored(scripted: Callable[[list[int]], list[Scripted]]):
    made = scripted([2, 2])
    for mode in (True, False):
        policy = Remembering().train(mode)
        evaluate(policy, CARTPOLE, 2)
        assert policy.modes == {False}
        assert policy.training is mode
    stopping = Remembering().train()
    with pytest.raises(EvaluationStopped, match="after 0 of 2 episodes"):
        evaluate(stopping, CARTPOLE, 2, stop=lambda: True)
    assert stopping.training
    assert [envs.closed_times for envs in made] == [1, 1, 1]


def test_an_evaluation_can_be_stopped_between_steps(
    scripted: Callable[[list[int]], list[Scripted]],
):
    scripted([2, 30])
    policy = Remembering()
    with pytest.raises(EvaluationStopped, match="stopped after 1 of 4 episodes"):
        evaluate(policy, CARTPOLE, 4, num_envs=2, stop=lambda: len(policy.asked) == 4)


@pytest.mark.parametrize("deterministic", [True, False])
def test_random_numbers_come_from_the_seed_and_the_global_ones_are_left_alone(
    cartpole_policy: QPolicy, deterministic: bool
):
    def play(seed: int) -> list[float]:
        return evaluate(
            cartpole_policy, CARTPOLE, 6, seed=seed, deterministic=deterministic, num_envs=3
        ).returns

    cartpole_policy.epsilon = 0.5
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = play(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    np.random.seed(5)  # noqa: NPY002
    assert play(1) == first
    assert play(2) != first
    assert (play(1) == evaluate(cartpole_policy, CARTPOLE, 6, seed=1, num_envs=3).returns) == (
        deterministic
    )


def test_the_protocol_is_stamped_completely():
    policy = q_policy(BOXING, "compact")
    policy.epsilon = 0.125
    environment = replace(BOXING, max_frames=8, sticky_actions=0.5)
    found = evaluate(policy, environment, 3, seed=9, num_envs=2, deterministic=False)
    assert found.protocol == {
        "id": "ALE/Boxing-v5",
        **asdict(environment),
        "episodes": 3,
        "seed": 9,
        "num_envs": 2,
        "deterministic": False,
        "epsilon": 0.125,
    }
    assert {"sticky_actions", "frame_skip", "clip_rewards", "max_frames", "max_noops"} <= set(
        found.protocol
    )
    assert found.lengths == [2, 2, 2]
    assert set(found.counts) == {
        *("knock_outs", "hits_landed", "hits_taken", "points_landed", "points_taken")
    }
    assert found.summary.human_normalised == pytest.approx((found.summary.mean - 0.1) / 12.0)


def test_the_epsilon_of_a_deterministic_evaluation_is_nought(cartpole_policy: QPolicy):
    protocol = evaluate(cartpole_policy, CARTPOLE, 1).protocol
    assert (protocol["epsilon"], protocol["deterministic"]) == (0.0, True)
    assert (protocol["id"], protocol["arguments"]) == ("CartPole-v1", {})


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        (GymnasiumEnvironment("Acrobot-v1"), "observations"),
        (replace(BOXING, height=30), "observations"),
    ],
)
def test_a_policy_for_other_spaces_is_refused_in_one_line(
    cartpole_policy: QPolicy, environment: Environment, complaint: str
):
    with pytest.raises(SpaceMismatchError, match=f"made for {complaint} Box") as caught:
        evaluate(cartpole_policy, environment, 1)
    assert "\n" not in str(caught.value)


def test_a_policy_for_other_actions_is_refused():
    few = replace(BOXING, game="pong", full_action_space=False)
    with pytest.raises(SpaceMismatchError, match=r"actions Discrete\(18\), .* has Discrete\(6\)"):
        evaluate(q_policy(BOXING, "compact"), few, 1)


def test_long_bounds_are_put_on_one_line(scripted: Callable[[list[int]], list[Scripted]]):
    scripted([1])
    policy = Remembering()
    policy.observation_space = gym.spaces.Box(
        np.arange(60, dtype=np.float32), np.full(60, 99, np.float32)
    )
    with pytest.raises(SpaceMismatchError) as caught:
        evaluate(policy, CARTPOLE, 1)
    assert "\n" not in str(caught.value)
