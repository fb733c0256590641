"""Vector environments as Stable-Baselines3 sees them, beside its own `DummyVecEnv`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecEnv, VecNormalize

from rlkit.sb3.observations import with_known_images
from rlkit.sb3.vec_env import VectorEnvAsVecEnv, can_reset_partially
from rlkit_envs.atari import AtariEnvs, AtariProtocol

MODES = list(AutoresetMode)


class Walk(gym.Env):
    """Random episodes of up to six steps, whose every number tells where it came from.

    Observations: [episode, step, noise]. Half of the episodes that reach an end terminate there.
    """

    observation_space = Box(-1, 100, (3,), np.float32)
    action_space = Discrete(3)

    def __init__(self) -> None:
        self.episode = -1
        self.secret = 1

    def _observation(self) -> Any:
        return np.array([self.episode, self.steps, self.np_random.random()], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.steps = 0
        self.length = int(self.np_random.integers(1, 7))
        return self._observation(), {"started": self.episode, "options": bool(options)}

    def step(self, action):
        assert self.steps < self.length, "stepped after the end"
        self.steps += 1
        over = self.steps == self.length
        terminated = over and self.length % 2 == 0
        # An environment whose time limit comes with a terminal state has terminated.
        truncated = over and self.length in (1, 2, 3, 5)
        reward = float(action) + self.steps / 8
        return self._observation(), reward, terminated, truncated, {"at": self.steps}

    def action_masks(self) -> np.ndarray:
        return np.arange(3) != self.steps % 3

    def scaled(self, factor: int) -> int:
        return factor * self.secret


class DictWalk(Walk):
    observation_space = Dict({"walk": Walk.observation_space, "parity": Discrete(2)})

    def _observation(self):
        return {"walk": super()._observation(), "parity": self.steps % 2}


class NextStepOnly(VectorEnv):
    """A natively vectorised environment that can only be reset as a whole."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int) -> None:
        self.inner = SyncVectorEnv([Walk] * num_envs)
        self.num_envs = num_envs
        self.single_observation_space = Walk.observation_space
        self.single_action_space = Walk.action_space
        self.answer = 42
        self.rewards = np.zeros(num_envs, np.float32)

    def reset(self, *, seed=None, options=None):
        assert not options
        return self.inner.reset(seed=seed)

    def step(self, actions):
        observations, self.rewards[:], terminated, truncated, info = self.inner.step(actions)
        return observations, self.rewards, terminated, truncated, info

    def squares(self) -> np.ndarray:
        return np.arange(self.num_envs) ** 2


@contextmanager
def adapted(envs: VectorEnv) -> Iterator[Any]:
    adapter = VectorEnvAsVecEnv(envs)
    yield adapter
    adapter.close()


def sync(
    mode: AutoresetMode = AutoresetMode.NEXT_STEP, num_envs: int = 4, env: type[gym.Env] = Walk, **k
) -> SyncVectorEnv:
    return SyncVectorEnv([env] * num_envs, autoreset_mode=mode, **k)


def stream(envs: VecEnv, steps: int = 60) -> Iterator[Any]:
    """Everything that a learner gets for a fixed sequence of actions, kept without copying."""
    envs.seed(3)
    yield envs.reset(), [dict(info) for info in envs.reset_infos]
    random = np.random.default_rng(0)
    for _ in range(steps):
        observations, rewards, dones, infos = envs.step(random.integers(3, size=envs.num_envs))
        for info in infos:
            info.pop("episode", None)
        started = [dict(info) for info in envs.reset_infos]
        yield observations, rewards, dones, infos, started


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(partial(sync, mode), id=mode.value) for mode in MODES),
        *(
            pytest.param(partial(sync, mode, copy=False), id=f"{mode.value}-reused")
            for mode in MODES
        ),
        pytest.param(lambda: RecordEpisodeStatistics(sync()), id="wrapped"),
        pytest.param(lambda: AsyncVectorEnv([Walk] * 4), id="processes"),
        pytest.param(
            lambda: AsyncVectorEnv([Walk] * 4, autoreset_mode=AutoresetMode.SAME_STEP),
            id="processes-SameStep",
        ),
        *(
            pytest.param(partial(sync, mode, env=DictWalk), id=f"{mode.value}-Dict")
            for mode in MODES
        ),
    ],
)
def test_a_learner_sees_what_its_own_environments_would_show(make: Callable[[], VectorEnv]):
    with adapted(make()) as envs:
        env = DictWalk if isinstance(envs.observation_space, Dict) else Walk
        reference = DummyVecEnv([env] * 4)
        assert envs.observation_space == reference.observation_space
        assert envs.action_space == reference.action_space
        seen = list(stream(envs))
        expected = list(stream(reference))
    ends = sum(dones.sum() for _, _, dones, *_ in expected[1:])
    truncations = sum(info["TimeLimit.truncated"] for s in expected[1:] for info in s[3])
    assert ends > 30
    assert 5 < truncations < ends - 5
    for (*found, started), (*wanted, wanted_started) in zip(seen[1:], expected[1:], strict=True):
        assert_same(found, wanted)
        assert [s["started"] for s in started] == [s["started"] for s in wanted_started]
    assert_same(seen[0], expected[0])


def test_episodes_are_told_as_by_a_monitor():
    with adapted(sync()) as envs:
        envs.seed(1)
        envs.reset()
        returns, lengths, told = np.zeros(4), np.zeros(4, int), 0
        for _ in range(40):
            _, rewards, dones, infos = envs.step(np.array([0, 1, 2, 1]))
            returns += rewards
            lengths += 1
            for env, info in enumerate(infos):
                assert ("episode" in info) == dones[env]
                if dones[env]:
                    told += 1
                    assert info["episode"]["r"] == pytest.approx(returns[env])
                    assert info["episode"]["l"] == lengths[env]
            returns[dones] = 0
            lengths[dones] = 0
        assert told > 20
        # Breaking episodes off forgets them.
        envs.reset()
        while True:
            _, _, dones, infos = envs.step(np.zeros(4, int))
            if dones[0]:
                length = infos[0]["at"]
                assert infos[0]["episode"]["l"] == length
                assert infos[0]["episode"]["r"] == pytest.approx(length * (length + 1) / 16)
                break


def test_the_native_atari_environment_needs_no_reset_steps():
    protocol = AtariProtocol("boxing", height=42, width=42, max_frames=40, max_noops=0)
    with adapted(AtariEnvs(protocol, 3)) as envs:
        assert envs.observation_space == Box(0, 255, (4, 42, 42), np.uint8)
        envs.seed(0)
        before = envs.reset()
        lengths = []
        for step in range(1, 26):
            observations, rewards, dones, infos = envs.step(np.array([2, 3, 4]))
            assert rewards.dtype == np.float32
            for env, info in enumerate(infos):
                # A stack that begins with black frames is that of an episode's start.
                fresh = not observations[env, :3].any()
                assert fresh == dones[env] == (step % 10 == 0)
                if dones[env]:
                    assert info["TimeLimit.truncated"]
                    final = info["terminal_observation"]
                    np.testing.assert_array_equal(final[:3], before[env, 1:])
                    assert info["episode_counts"].keys() > {"knock_outs", "hits_taken"}
                    lengths.append(info["episode"]["l"])
                else:
                    assert info["episode_frame_number"] == 4 * (step % 10)
            before = observations
        assert lengths == [10] * 6


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_ale_pys_own_vector_environment(mode: AutoresetMode):
    from ale_py.vector_env import AtariVectorEnv

    def make() -> AtariVectorEnv:
        return AtariVectorEnv(
            "boxing", 2, autoreset_mode=mode, max_num_frames_per_episode=24, num_threads=1
        )

    with adapted(make()) as envs:
        envs.seed(0)
        envs.reset()
        for step in range(1, 20):
            observations, _, dones, infos = envs.step(np.array([3, 4]))
            assert dones.all() == dones.any() == (step % 6 == 0)
            assert not dones.any() or not observations[:, :3].any()
            finals = [
                info["terminal_observation"] for info in infos if "terminal_observation" in info
            ]
            assert len(finals) == 2 * (step % 6 == 0)
            assert all(final.any() for final in finals)
            assert "final_obs" not in infos[0]


def test_environments_that_would_show_reset_steps_are_refused():
    with pytest.raises(ValueError, match=r"NEXT_STEP.*SAME_STEP or DISABLED.*'sync'"):
        VectorEnvAsVecEnv(NextStepOnly(2))
    cartpole = gym.make_vec("CartPole-v1", num_envs=2)
    assert not can_reset_partially(cartpole)
    with pytest.raises(ValueError, match="CartPole"):
        VectorEnvAsVecEnv(cartpole)
    without_shared_memory = AsyncVectorEnv([Walk] * 2, shared_memory=False)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        VectorEnvAsVecEnv(without_shared_memory)
    without_shared_memory.close()


def test_an_environment_that_is_alone_is_reset_as_a_whole():
    with adapted(NextStepOnly(1)) as envs:
        assert_same(
            [observations for observations, *_ in stream(envs)],
            [observations for observations, *_ in stream(DummyVecEnv([Walk]))],
        )
        envs.reset()
        _, rewards, _, _ = envs.step(np.array([2]))
        rewards += 100  # as on-policy algorithms do at a time limit
        assert envs.envs.rewards < 3


@pytest.mark.parametrize("make", [sync, lambda: AsyncVectorEnv([Walk] * 4)])
def test_attributes_and_methods_of_single_environments(make: Callable[[], VectorEnv]):
    with adapted(make()) as envs:
        envs.reset()
        assert envs.get_attr("secret") == [1] * 4
        envs.set_attr("secret", 5, indices=[1, 3])
        assert envs.get_attr("secret", indices=range(3)) == [1, 5, 1]
        envs.set_attr("secret", [7])
        assert envs.get_attr("secret", 2) == [[7]]
        envs.set_attr("secret", 9, indices=-1)
        assert envs.get_attr("secret") == [[7], [7], [7], 9]
        with pytest.raises(IndexError):
            envs.set_attr("secret", 5, indices=4)
        envs.set_attr("secret", 2)
        assert envs.env_method("scaled", factor=3) == [6] * 4
        assert envs.has_attr("action_masks")
        assert not envs.has_attr("nothing")
        with pytest.raises(AttributeError, match="nothing"):
            envs.get_attr("nothing")
        np.testing.assert_array_equal(envs.env_method("action_masks")[0], [False, True, True])
        # As from the library's own environments, a method comes without having been called.
        np.testing.assert_array_equal(envs.get_attr("action_masks", 0)[0](), [False, True, True])
        assert envs.env_is_wrapped(Monitor, [0, 2]) == [True, True]
        assert envs.env_is_wrapped(gym.wrappers.TimeLimit) == [False] * 4


def test_only_known_environments_can_be_called_one_by_one():
    with adapted(sync()) as envs:
        envs.set_attr("secret", 5, indices=1)
        assert envs.env_method("scaled", 2, indices=[1, 0]) == [10, 2]
    with (
        adapted(AsyncVectorEnv([Walk] * 2)) as envs,
        pytest.raises(ValueError, match="'scaled' only in all"),
    ):
        envs.env_method("scaled", 2, indices=[1])
    with adapted(NextStepOnly(1)) as envs:
        assert envs.get_attr("answer") == [42]
        assert envs.env_method("squares") == [0]
        assert not envs.has_attr("nothing")
        envs.set_attr("answer", 43)
        assert envs.envs.answer == 43
        with pytest.raises(ValueError, match="for all environments"):
            envs.set_attr("answer", 1, indices=[])


def test_seeds_and_options_reach_the_next_reset_only():
    with adapted(sync()) as envs:
        assert envs.seed(5) == [5, 6, 7, 8]
        first = envs.reset()
        envs.set_options({"level": 1})
        later = envs.reset()
        assert all(info["options"] for info in envs.reset_infos)
        assert not np.array_equal(first[:, 2], later[:, 2])
        envs.seed(5)
        np.testing.assert_array_equal(envs.reset()[:, 2], first[:, 2])
        assert not any(info["options"] for info in envs.reset_infos)
        with pytest.raises(ValueError, match="one option"):
            envs.set_options([{"level": 1}, {}, {}, {}])


def test_pictures_of_all_environments_are_tiled():
    class Drawn(Walk):
        metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
        render_mode = "rgb_array"

        def render(self):
            return np.full((8, 6, 3), 9, np.uint8)

    with adapted(SyncVectorEnv([Drawn] * 4)) as envs:
        envs.reset()
        picture = envs.render()
        assert picture is not None
        assert picture.shape == (16, 12, 3)
    with adapted(sync()) as envs:
        assert envs.render_mode is None


class First(gym.Env):
    """The first environment of an adapter as a single one, for the library's checker."""

    def __init__(self, envs: VectorEnvAsVecEnv) -> None:
        self.envs = envs
        self.observation_space, self.action_space = envs.observation_space, envs.action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.envs.seed(seed)
        observations: Any = self.envs.reset()
        return observations[0], self.envs.reset_infos[0]

    def step(self, action):
        observations, rewards, dones, infos = self.envs.step(np.array([action]))
        observation = infos[0].get("terminal_observation", np.asarray(observations)[0])
        truncated = infos[0].get("TimeLimit.truncated", False)
        return observation, float(rewards[0]), bool(dones[0] and not truncated), truncated, infos[0]


@pytest.mark.filterwarnings("ignore:.*normalized Box action space:UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: sync(num_envs=1),
        lambda: gym.make_vec("Pendulum-v1", num_envs=1, vectorization_mode="sync"),
        lambda: AtariEnvs(AtariProtocol("boxing", max_frames=40), 1),
    ],
    ids=["walk", "pendulum", "atari"],
)
def test_the_librarys_checker_accepts_it(make: Callable[[], VectorEnv]):
    with adapted(make()) as envs:
        check_env(First(envs))


class Film(Walk):
    """Two frames of colour, which say where they are from: 100 * frame + 10 * channel + step."""

    observation_space = Box(0, 255, (2, 4, 5, 3), np.uint8)

    def _observation(self) -> Any:
        frames, channels = np.ogrid[:2, :1, :1, :3][0::3]
        numbers = 100 * frames + 10 * channels + self.steps
        return np.broadcast_to(numbers, (2, 4, 5, 3)).astype(np.uint8)


def test_frames_in_colour_become_channels_also_at_the_end_of_an_episode():
    with adapted(sync(env=Film)) as adapter:
        envs = with_known_images(adapter)
        assert envs.observation_space == Box(0, 255, (6, 4, 5), np.uint8)
        envs.seed(0)
        first: Any = envs.reset()
        origin = np.array([0, 10, 20, 100, 110, 120])
        np.testing.assert_array_equal(first[:, :, 0, 0], np.tile(origin, (4, 1)))
        ends = 0
        for _ in range(12):
            observations, _, dones, infos = envs.step(np.zeros(4, int))
            for env, info in enumerate(infos):
                seen = np.asarray(observations)[env]
                if dones[env]:
                    ends += 1
                    np.testing.assert_array_equal(seen[:, 3, 4], origin)
                    seen = info["terminal_observation"]
                assert seen.shape == (6, 4, 5)
                np.testing.assert_array_equal(seen[:, 3, 4], origin + info["at"])
        assert ends > 5
    plain = DummyVecEnv([Walk])
    assert with_known_images(plain) is plain


@pytest.mark.parametrize("mode", MODES)
def test_the_librarys_evaluation_finds_the_same_returns(mode: AutoresetMode):
    model = PPO("MlpPolicy", DummyVecEnv([Walk]), n_steps=8, batch_size=8, seed=0, device="cpu")
    with adapted(sync(mode)) as envs:
        envs.seed(0)
        found = evaluate_policy(model, envs, n_eval_episodes=20, return_episode_rewards=True)
        reference = DummyVecEnv([lambda: Monitor(Walk())] * 4)
        reference.seed(0)
        expected = evaluate_policy(
            model, reference, n_eval_episodes=20, return_episode_rewards=True
        )
    assert found[1] == expected[1]
    assert found[0] == pytest.approx(expected[0])


def test_the_librarys_wrappers_and_algorithms_work_on_it():
    with adapted(sync()) as envs:
        checked = VecNormalize(VecCheckNan(envs, raise_exception=True))
        model = PPO("MlpPolicy", checked, n_steps=16, batch_size=32, seed=0, device="cpu")
        model.learn(128)
        assert checked.get_original_obs().shape == (4, 3)  # pyright: ignore[reportAttributeAccessIssue]
        assert model.ep_info_buffer
