"""Frames, rewards and ends of `AtariEnvs` against Gymnasium's own Atari wrappers."""

import ale_py
import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from rlkit_envs import AtariEnvs, AtariProtocol

gymnasium.register_envs(ale_py)


def emulator_seed(gymnasium_seed: int) -> int:
    """The seed that Gymnasium's AtariEnv.reset(seed) gives the emulator (`seed_game`)."""
    return int(np.random.SeedSequence(gymnasium_seed).generate_state(2)[1])


# AtariVectorEnv takes 31-bit seeds; Gymnasium's emulator seeds have 32 bits.
SEEDS = [seed for seed in range(20) if emulator_seed(seed) < 2**31][:2]


def reference(protocol: AtariProtocol) -> gymnasium.Env:
    """The same protocol, built from Gymnasium's wrappers alone."""
    env = gymnasium.make(
        protocol.environment_id,
        frameskip=1,
        obs_type="grayscale" if protocol.grayscale else "rgb",
        repeat_action_probability=protocol.sticky_actions,
        max_num_frames_per_episode=protocol.max_frames,
        full_action_space=protocol.full_action_space,
    )
    env = AtariPreprocessing(
        env,
        noop_max=protocol.max_noops,
        frame_skip=protocol.frame_skip,
        screen_size=(protocol.width, protocol.height),
        grayscale_obs=protocol.grayscale,
    )
    return FrameStackObservation(env, protocol.frame_stack, padding_type="zero")


@pytest.mark.parametrize(
    ("protocol", "num_envs", "steps"),
    [
        (AtariProtocol("boxing", sticky_actions=0.0, max_frames=700), 2, 220),
        (AtariProtocol("boxing", sticky_actions=0.25, max_frames=702, height=42, width=42), 1, 220),
        (AtariProtocol("boxing", max_frames=403, grayscale=False, height=42, width=42), 1, 250),
        (AtariProtocol("breakout", full_action_space=False), 1, 400),
        (AtariProtocol("breakout", sticky_actions=0.0, grayscale=False, max_frames=500), 1, 200),
        (AtariProtocol("pong", sticky_actions=0.0, max_frames=801, height=42, width=42), 1, 300),
        (AtariProtocol("pong", max_frames=900, height=84, width=60, frame_stack=1), 1, 300),
        (AtariProtocol("pong", frame_skip=1, frame_stack=2, max_frames=150), 1, 250),
        (AtariProtocol("ms_pacman", frame_skip=3, max_frames=500, height=210, width=160), 1, 250),
    ],
    ids=lambda value: value.game if isinstance(value, AtariProtocol) else None,
)
def test_equals_gymnasium_wrappers(protocol: AtariProtocol, num_envs: int, steps: int):
    # The two draw their no-ops from different random generators.
    protocol = AtariProtocol(**{**vars(protocol), "max_noops": 0})
    seeds = SEEDS[:num_envs]
    references = [reference(protocol) for _ in seeds]
    envs = AtariEnvs(protocol, num_envs)
    assert envs.single_observation_space == references[0].observation_space
    assert envs.single_action_space == references[0].action_space

    observations, _ = envs.reset(seed=np.array([emulator_seed(seed) for seed in seeds]))
    for env, seed, observation in zip(references, seeds, observations, strict=True):
        np.testing.assert_array_equal(observation, env.reset(seed=seed)[0])

    envs.action_space.seed(1)
    ended = np.zeros(num_envs, dtype=bool)
    episodes = 0
    for _ in range(steps):
        actions = envs.action_space.sample()
        observations, rewards, terminated, truncated, info = envs.step(actions)
        for i, env in enumerate(references):
            if ended[i]:
                observation, expected_info = env.reset()
                expected = (0.0, False, False)
            else:
                observation, *expected, expected_info = env.step(actions[i])
            np.testing.assert_array_equal(observations[i], observation)
            assert (rewards[i], terminated[i], truncated[i]) == tuple(expected)
            assert info["lives"][i] == expected_info["lives"]
        ended = terminated | truncated
        episodes += ended.sum()
    assert episodes >= num_envs, "the test has to cross the end of an episode"
    envs.close()


def test_games_with_lives_end_only_when_the_last_is_lost():
    protocol = AtariProtocol("breakout", height=10, width=10, frame_stack=1)
    envs = AtariEnvs(protocol, num_envs=1)
    _, info = envs.reset(seed=0)
    lives = [info["lives"][0]]
    ended = False
    random = np.random.default_rng(0)
    while not ended:
        *_, terminated, truncated, info = envs.step(random.integers(18, size=1))
        ended = terminated[0]
        assert not truncated[0]
        lives.append(info["lives"][0])
    assert sorted(set(lives)) == [0, 1, 2, 3, 4, 5]
    assert ended == (lives[-1] == 0)
    envs.close()


@pytest.mark.parametrize("grayscale", [True, False])
def test_missing_frames_at_the_start_are_zero(grayscale: bool):
    envs = AtariEnvs(AtariProtocol(grayscale=grayscale, max_frames=8), num_envs=2)
    assert envs.single_observation_space.shape == ((4, 84, 84) if grayscale else (4, 84, 84, 3))
    observations, _ = envs.reset(seed=0)
    assert not observations[:, :3].any()
    assert observations[:, 3].any()
    noop = np.zeros(2, dtype=np.int64)
    envs.step(noop)
    *_, truncated, _ = envs.step(noop)
    assert truncated.all()
    observations, rewards, terminated, truncated, _ = envs.step(noop)  # the reset step
    assert not observations[:, :3].any()
    assert observations[:, 3].any()
    for array in (rewards, terminated, truncated):
        assert not array.any()
    envs.close()
