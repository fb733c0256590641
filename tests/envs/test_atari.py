"""`AtariProtocol` and the vector-environment behaviour of `AtariEnvs`."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode

from rlkit_envs import AtariEnvs, AtariProtocol

TINY = AtariProtocol(frame_stack=1, height=10, width=10)


@pytest.fixture(scope="module")
def shared_envs() -> Iterator[AtariEnvs]:
    """For tests of bad input only; making emulators takes time."""
    envs = AtariEnvs(TINY, num_envs=2)
    envs.reset(seed=0)
    yield envs
    envs.close()


def roll(envs: AtariEnvs, seed, steps: int = 40) -> list:
    """Observations and rewards of a fixed sequence of actions, the same in every environment."""
    record = [envs.reset(seed=seed)[0]]
    random = np.random.default_rng(0)
    for action in random.integers(18, size=steps):
        observations, rewards, *_ = envs.step(np.full(envs.num_envs, action))
        record += [observations, rewards]
    return record


def equal(first: list, second: list) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("name", "game", "environment_id"),
    [
        ("boxing", "boxing", "ALE/Boxing-v5"),
        ("ALE/Boxing-v5", "boxing", "ALE/Boxing-v5"),
        ("ALE/MsPacman-v5", "ms_pacman", "ALE/MsPacman-v5"),
        ("MsPacman", "ms_pacman", "ALE/MsPacman-v5"),
        ("ALE/TicTacToe3D-v5", "tic_tac_toe_3d", "ALE/TicTacToe3D-v5"),
        ("ALE/UpNDown-v5", "up_n_down", "ALE/UpNDown-v5"),
    ],
)
def test_names_of_games(name: str, game: str, environment_id: str):
    protocol = AtariProtocol(name)
    assert (protocol.game, protocol.environment_id) == (game, environment_id)
    assert protocol == AtariProtocol(game)


@pytest.mark.parametrize("name", ["boxin", "BoxingNoFrameskip-v4", "ALE/Boxng-v5"])
def test_unknown_game_names_the_nearest(name: str):
    with pytest.raises(ValueError, match=r"unknown Atari game '.*': did you mean boxing") as caught:
        AtariEnvs(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["", "qqqqqq", "combat"])
def test_unknown_game_without_a_likeness_or_for_two_players(name: str):
    with pytest.raises(ValueError, match=f"unknown Atari game '{name}'"):
        AtariProtocol(name)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("sticky_actions", 1.5, ValueError),
        ("sticky_actions", -0.1, ValueError),
        ("sticky_actions", float("nan"), ValueError),
        ("sticky_actions", "often", TypeError),
        ("frame_skip", 0, ValueError),
        ("frame_skip", 2.0, TypeError),
        ("frame_stack", 0, ValueError),
        ("height", -84, ValueError),
        ("width", 0, ValueError),
        ("max_noops", -1, ValueError),
        ("max_frames", 0, ValueError),
        ("max_frames", 2**31 - 1, ValueError),
        ("max_frames", True, TypeError),
        ("grayscale", 1, TypeError),
        ("clip_rewards", None, TypeError),
        ("full_action_space", "yes", TypeError),
        ("game", 5, TypeError),
    ],
)
def test_bad_protocol_values_are_named(field: str, value, error: type[Exception]):
    with pytest.raises(error) as caught:
        AtariProtocol(**{field: value})
    assert field in str(caught.value)
    assert str(value) in str(caught.value)


def test_protocol_round_trips_through_json():
    protocol = AtariProtocol("pong", sticky_actions=0.0, grayscale=False, max_frames=1000)
    text = json.dumps(dataclasses.asdict(protocol))
    assert AtariProtocol(**json.loads(text)) == protocol


def test_spaces_and_metadata():
    envs = AtariEnvs("boxing", num_envs=3)
    assert envs.single_observation_space == Box(0, 255, (4, 84, 84), np.uint8)
    assert envs.observation_space == Box(0, 255, (3, 4, 84, 84), np.uint8)
    assert envs.single_action_space == Discrete(18)
    assert envs.action_space == MultiDiscrete([18, 18, 18])
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert envs.protocol == AtariProtocol()
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    observations, rewards, terminated, truncated, info = envs.step(envs.action_space.sample())
    assert observations in envs.observation_space
    assert (rewards.dtype, rewards.shape) == (np.float32, (3,))
    assert (terminated.dtype, terminated.shape) == (np.bool_, (3,))
    assert (truncated.dtype, truncated.shape) == (np.bool_, (3,))
    assert set(info) >= {"lives", "episode_frame_number", "episode_counts", "unclipped_rewards"}
    envs.close()


def test_single_frames_keep_the_stack_axis():
    for grayscale, shape in ((True, (1, 10, 12)), (False, (1, 10, 12, 3))):
        protocol = dataclasses.replace(TINY, width=12, grayscale=grayscale)
        envs = AtariEnvs(protocol, num_envs=2)
        assert envs.single_observation_space.shape == shape
        assert envs.reset(seed=0)[0].shape == (2, *shape)
        envs.close()


def test_full_action_space():
    for full, actions in ((True, 18), (False, 6)):
        envs = AtariEnvs(dataclasses.replace(TINY, game="pong", full_action_space=full))
        assert envs.single_action_space == Discrete(actions)
        envs.close()


@pytest.mark.parametrize(("frame_skip", "steps"), [(4, 10), (3, 14), (1, 40)])
def test_max_frames_counts_emulator_frames_after_the_noops(frame_skip: int, steps: int):
    protocol = dataclasses.replace(TINY, frame_skip=frame_skip, max_frames=40)
    envs = AtariEnvs(protocol, num_envs=2)
    envs.reset()
    for step in range(1, steps + 1):
        *_, terminated, truncated, _ = envs.step(np.zeros(2, dtype=np.int64))
        assert not terminated.any()
        assert truncated.all() == truncated.any() == (step == steps)
    envs.close()


def test_reset_step_ignores_the_action():
    protocol = dataclasses.replace(TINY, sticky_actions=0.0, max_noops=0, max_frames=12)
    envs = AtariEnvs(protocol, num_envs=1)
    first, _ = envs.reset(seed=0)
    for action in range(1, 6):
        envs.step(np.array([action]))
        envs.step(np.array([action]))
        *_, truncated, _ = envs.step(np.array([action]))
        assert truncated[0]
        observations, rewards, terminated, truncated, info = envs.step(np.array([action]))
        np.testing.assert_array_equal(observations, first)
        assert (rewards[0], terminated[0], truncated[0]) == (0.0, False, False)
        assert info["episode_frame_number"][0] == 0
    envs.close()


def test_noops_vary_the_starts_up_to_the_maximum():
    envs = AtariEnvs(dataclasses.replace(TINY, max_noops=2), num_envs=6)
    _, info = envs.reset(seed=0)
    assert set(info["episode_frame_number"].tolist()) == {0, 1, 2}
    envs.close()
    envs = AtariEnvs(dataclasses.replace(TINY, max_noops=0), num_envs=2)
    observations, info = envs.reset(seed=0)
    assert not info["episode_frame_number"].any()
    assert (observations == observations[0]).all()
    envs.close()


def test_environments_reset_one_by_one_play_on_as_under_autoreset():
    """Resetting what has ended leaves out reset steps, and changes nothing else."""
    protocol = dataclasses.replace(TINY, height=42, width=42, max_frames=48, max_noops=5)
    autoreset, masked = AtariEnvs(protocol, 3), AtariEnvs(protocol, 3)
    seen: dict[AtariEnvs, list[list]] = {}
    for envs in (autoreset, masked):
        observations, _ = envs.reset(seed=5)
        # Broken off at different times, so that the environments end at different times too.
        for env in range(2):
            envs.step(np.array([2, 3, 4]))
            observations, _ = envs.reset(options={"reset_mask": np.arange(3) == env})
        rows = seen[envs] = [[observations[env]] for env in range(3)]
        actions = [np.random.default_rng(env) for env in range(3)]
        ended = np.zeros(3, bool)
        for _ in range(60):
            chosen = [0 if ended[env] else actions[env].integers(18) for env in range(3)]
            observations, rewards, terminated, truncated, info = envs.step(np.array(chosen))
            counts = info["episode_counts"]["hits_landed"]
            for env in np.flatnonzero(~ended):
                rows[env] += [rewards[env], truncated[env], counts[env]]
                if not truncated[env]:
                    rows[env].append(observations[env])
            for env in np.flatnonzero(ended):
                rows[env].append(observations[env])
            ended = terminated | truncated
            if envs is masked and ended.any():
                before = observations
                observations, _ = envs.reset(options={"reset_mask": ended})
                np.testing.assert_array_equal(observations[~ended], before[~ended])
                for env in np.flatnonzero(ended):
                    rows[env].append(observations[env])
                ended[:] = False
    assert autoreset.metadata["partial_resets"]
    for shorter, longer in zip(seen[autoreset], seen[masked], strict=True):
        assert len(longer) > len(shorter) > 200
        assert equal(shorter, longer[: len(shorter)])
    autoreset.close()
    masked.close()


@pytest.mark.parametrize("seed", [7, np.array([3, 2**31 - 1])], ids=["int", "array"])
def test_same_seed_same_episodes(seed):
    # Short episodes, so that the random numbers after autoreset count too.
    protocol = dataclasses.replace(TINY, height=42, width=42, max_frames=80)
    first, second = AtariEnvs(protocol, 2, threads=1), AtariEnvs(protocol, 2)
    rolled = roll(first, seed)
    assert equal(rolled, roll(second, seed))
    assert equal(rolled, roll(first, seed)), "a used emulator starts afresh"
    assert not equal(rolled, roll(first, 8))
    first.close()
    second.close()


def test_each_environment_has_its_own_randomness():
    protocol = dataclasses.replace(TINY, height=42, width=42, max_noops=0)
    envs = AtariEnvs(protocol, num_envs=3)
    last = roll(envs, seed=0)[-2]
    assert not np.array_equal(last[0], last[1])
    assert not np.array_equal(last[0], last[2])
    assert not np.array_equal(last[1], last[2])
    last = roll(envs, seed=np.array([4, 4, 5]))[-2]
    assert np.array_equal(last[0], last[1])
    assert not np.array_equal(last[0], last[2])
    envs.close()


def test_neighbouring_seeds_share_no_emulator():
    # With many no-ops, the length of the start tells emulators apart.
    envs = AtariEnvs(dataclasses.replace(TINY, max_noops=100), num_envs=4)
    starts = [envs.reset(seed=seed)[1]["episode_frame_number"].copy() for seed in (0, 1)]
    for shift in range(3):
        assert not np.array_equal(starts[0][shift:], starts[1][: 4 - shift])
    envs.close()


def test_send_and_recv_equal_step():
    protocol = dataclasses.replace(TINY, height=42, width=42, max_frames=100)
    stepped, sent = AtariEnvs(protocol, 2), AtariEnvs(protocol, 2)
    np.testing.assert_array_equal(stepped.reset(seed=1)[0], sent.reset(seed=1)[0])
    random = np.random.default_rng(1)
    for _ in range(60):
        actions = random.integers(18, size=2)
        sent.send(actions)
        actions_sent = actions.copy()
        actions[:] = 0  # what was sent no longer depends on the caller's array
        received = sent.recv()
        expected = stepped.step(actions_sent)
        for a, b in zip(received[:4], expected[:4], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        np.testing.assert_equal(received[4], expected[4])
    stepped.close()
    sent.close()


def test_arrays_given_out_never_change():
    envs = AtariEnvs(dataclasses.replace(TINY, height=42, width=42), num_envs=2)
    given = [envs.reset(seed=0)[0]]
    copies = [given[0].copy()]
    arrays, info = given, {}
    for _ in range(30):
        *arrays, info = envs.step(np.array([1, 2]))
        arrays += [info["unclipped_rewards"], *info["episode_counts"].values()]
        assert not any(np.shares_memory(a, b) for a in arrays for b in given)
        given += arrays
        copies += [array.copy() for array in arrays]
    assert equal(given, copies)
    arrays[1][:] = 99.0
    assert not (info["unclipped_rewards"] == 99.0).any()
    envs.close()


def test_order_of_calls_is_checked():
    envs = AtariEnvs(TINY, num_envs=2)
    noop = np.zeros(2, dtype=np.int64)
    with pytest.raises(ResetNeeded, match="reset"):
        envs.send(noop)
    with pytest.raises(RuntimeError, match="send"):
        envs.recv()
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="send"):
        envs.recv()
    envs.send(noop)
    with pytest.raises(RuntimeError, match="recv"):
        envs.send(noop)
    with pytest.raises(RuntimeError, match="recv"):
        envs.reset(options={"reset_mask": np.ones(envs.num_envs, bool)})
    fresh, _ = envs.reset(seed=3)  # drops the step under way
    np.testing.assert_array_equal(fresh, envs.reset(seed=3)[0])
    envs.step(noop)
    envs.send(noop)
    envs.close()
    for call in (envs.recv, envs.reset, lambda: envs.step(noop)):
        with pytest.raises(ClosedEnvironmentError, match="closed"):
            call()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([0, 18]), "not 18"),
        (np.array([-1, 0]), "not -1"),
        (np.array([2**32, 0]), f"not {2**32}"),
        (np.array([0]), r"shape \(1,\)"),
        (np.array([[0], [0]]), r"shape \(2, 1\)"),
        (np.array([0.0, 1.0]), "float64"),
        (np.array([True, False]), "bool"),
    ],
)
def test_bad_actions_are_named_and_harmless(
    shared_envs: AtariEnvs, actions: np.ndarray, message: str
):
    with pytest.raises(ValueError, match=message):
        shared_envs.step(actions)
    shared_envs.step(np.array([0, 17], dtype=np.uint8))


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, "not -1"),
        (np.array([0, -5]), "not -5"),
        (np.array([0, 2**31]), f"not {2**31}"),
        (np.array([0, 1, 2]), r"shape \(3,\)"),
        (np.array([0.0, 1.0]), "float64"),
    ],
)
def test_bad_seeds_are_named(shared_envs: AtariEnvs, seed, message: str):
    with pytest.raises(ValueError, match=message):
        shared_envs.reset(seed=seed)


def test_other_bad_arguments_are_named(shared_envs: AtariEnvs):
    with pytest.raises(ValueError, match="num_envs must be 1 or more, not 0"):
        AtariEnvs(TINY, num_envs=0)
    with pytest.raises(ValueError, match=r"threads .* not -2"):
        AtariEnvs(TINY, threads=-2)
    with pytest.raises(ValueError, match=r"only reset option is .*'state'"):
        shared_envs.reset(options={"state": 3})
    for mask in ([True, False], np.ones(3, bool), np.ones(2), np.zeros(2, bool)):
        with pytest.raises(ValueError, match="reset_mask"):
            shared_envs.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="got seed 3"):
        shared_envs.reset(seed=3, options={"reset_mask": np.array([True, False])})


def test_importing_the_package_is_light():
    code = "import sys, rlkit_envs; print({'ale_py', 'torch', 'cv2', 'mujoco'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
