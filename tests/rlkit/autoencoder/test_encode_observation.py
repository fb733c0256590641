"""Environments whose observations are codes: spaces, stacks, resets, and the batch as its parts."""

import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from rlkit.autoencoder.autoencoder import Autoencoder, find_autoencoder
from rlkit.autoencoder.encode_observation import EncodeObservation, EncodeObservations
from rlkit.environments import (
    EncodedEnvironment,
    GymnasiumEnvironment,
    describe,
    for_evaluation,
    make_envs,
    make_watchable,
    preprocessing,
    seen_alike,
    with_checksum,
)
from rlkit.policies import load_policy
from rlkit.recipe import EvaluationSchedule
from rlkit.recipes import find_recipe
from rlkit.recording import record
from rlkit.seeds import Seeds
from rlkit.stepping import Stepper
from rlkit.training import RecipeError, train
from rlkit_envs.atari import AtariProtocol


@pytest.fixture(scope="module")
def frames() -> Autoencoder:
    """Of single frames of 42x42."""
    pictures = np.random.default_rng(0).integers(0, 255, (40, 1, 42, 42), np.uint8)
    return Autoencoder(latents=6, dense_size=8, epochs=1, mirrored=True).fit(pictures)


@pytest.fixture(scope="module")
def poles() -> Autoencoder:
    """Of CartPole's observations."""
    env = gym.make("CartPole-v1")
    env.observation_space.seed(0)
    seen = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    space = env.observation_space
    assert isinstance(space, gym.spaces.Box)
    return Autoencoder(latents=3, hidden_sizes=(8,), epochs=1).fit(seen, space=space)


BOXING = AtariProtocol("boxing", height=42, width=42, frame_stack=1)


def test_one_environment_passes_gymnasiums_check(poles: Autoencoder) -> None:
    env = EncodeObservation(gym.make("CartPole-v1").unwrapped, poles, frame_stack=2)
    with warnings.catch_warnings():
        # It warns of wrappers as such, and of codes that have no bounds.
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True, skip_close_check=True)


def test_codes_are_those_of_the_autoencoder(poles: Autoencoder) -> None:
    plain = gym.make("CartPole-v1")
    coded = EncodeObservation(gym.make("CartPole-v1"), poles)
    assert coded.observation_space.shape == (3,)
    seen, _ = plain.reset(seed=3)
    code, _ = coded.reset(seed=3)
    assert np.allclose(code, poles.transform(seen[None])[0], atol=0.05)  # bfloat16 where it is fast
    assert coded.observation_space.contains(code)


def test_a_batch_is_coded_as_each_of_it_by_itself(frames: Autoencoder) -> None:
    envs = EncodeObservations(
        make_envs(BOXING, 3), frames, frame_stack=3, as_bytes=True, precision="float32"
    )
    plain = make_envs(BOXING, 3)
    assert envs.single_observation_space == gym.spaces.Box(0, 255, (3, 1, 6), np.uint8)
    assert envs.observation_space.shape == (3, 3, 1, 6)
    codes, _ = envs.reset(seed=1)
    seen, _ = plain.reset(seed=1)
    history = [np.zeros((3, 6), np.uint8)] * 2 + [frames.encode_bytes(seen)]
    for step in range(6):
        assert np.array_equal(codes[:, :, 0], np.stack(history[-3:], 1))
        assert envs.observation_space.contains(codes)
        actions = np.full(3, step)
        envs.send(actions)
        codes, rewards, *_ = envs.recv()
        seen, others, *_ = plain.step(actions)
        assert np.array_equal(rewards, others)
        history.append(frames.encode_bytes(seen))
    envs.close()
    plain.close()


def test_stacks_begin_anew_with_an_episode(poles: Autoencoder) -> None:
    envs = EncodeObservations(
        gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
        poles,
        frame_stack=2,
        precision="float32",
    )
    codes, _ = envs.reset(seed=0)
    assert (codes[:, 0] == 0).all()
    resets, ended = 0, np.zeros(2, bool)
    for _ in range(60):
        before = codes
        codes, _, terminated, truncated, _ = envs.step(np.array([0, 1]))
        assert (codes[ended, 0] == 0).all()
        assert np.array_equal(codes[~ended, 0], before[~ended, 1])
        resets += ended.sum()
        ended = terminated | truncated
    assert resets >= 4
    envs.close()


def test_resetting_some_leaves_the_others(poles: Autoencoder) -> None:
    envs = EncodeObservations(
        gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"), poles, frame_stack=2
    )
    envs.reset(seed=0)
    before = envs.step(np.array([0, 1]))[0]
    codes, _ = envs.reset(options={"reset_mask": np.array([True, False])})
    assert (codes[0, 0] == 0).all()
    assert np.array_equal(codes[1], before[1])
    envs.close()


def test_final_observations_are_coded(poles: Autoencoder) -> None:
    envs = EncodeObservations(
        gym.make_vec(
            "CartPole-v1",
            num_envs=2,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        ),
        poles,
    )
    envs.reset(seed=0)
    finals = []
    for _ in range(30):
        info = envs.step(np.array([0, 1]))[-1]
        finals += [each for each in info.get("final_obs", []) if each is not None]
    assert finals
    assert all(final.shape == (3,) for final in finals)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        EncodeObservations(envs.env, poles, frame_stack=2)
    envs.close()


@pytest.mark.parametrize("frame_stack", [None, 3])
def test_a_saved_state_goes_on_with_its_codes(frame_stack: int | None) -> None:
    def site(autoencoder: Autoencoder) -> EncodeObservations:
        plain = gym.make_vec("rlkit/DataCenterCooling-v0", num_envs=2, discrete=True)
        return EncodeObservations(plain, autoencoder, frame_stack=frame_stack)

    plain = gym.make_vec("rlkit/DataCenterCooling-v0", num_envs=2, discrete=True)
    space = plain.single_observation_space
    assert isinstance(space, gym.spaces.Box)
    seen = np.random.default_rng(0).normal(size=(50, *space.shape)).astype(np.float32)
    autoencoder = Autoencoder(latents=3, hidden_sizes=(8,), epochs=1).fit(seen, space=space)
    envs, later = site(autoencoder), site(autoencoder)
    assert envs.metadata["saves_state"]
    before, _ = envs.reset(seed=0)
    for _ in range(4):
        before = envs.step(np.array([0, 1]))[0]
    state = envs.state()
    after = [envs.step(np.array([1, 0]))[0] for _ in range(4)]
    np.testing.assert_array_equal(later.set_state(state), before)
    for expected in after:
        np.testing.assert_array_equal(later.step(np.array([1, 0]))[0], expected)


def test_an_encoder_of_another_space_is_refused(poles: Autoencoder, frames: Autoencoder) -> None:
    with pytest.raises(ValueError, match="codes observations in"):
        EncodeObservation(gym.make("CartPole-v1"), frames)
    with pytest.raises(ValueError, match="at least 1"):
        EncodeObservation(gym.make("CartPole-v1"), poles, frame_stack=0)


def test_a_description_makes_the_same(frames: Autoencoder, tmp_path: Path) -> None:
    file = tmp_path / "frames.safetensors"
    frames.save(file)
    environment = EncodedEnvironment(BOXING, str(file), frame_stack=4)
    envs = make_envs(environment, 2)
    watchable = make_watchable(environment)
    assert envs.single_observation_space == watchable.observation_space
    stepper = Stepper(envs, Seeds.spawn(1).environment)
    assert stepper.reset().shape == (2, 4, 1, 6)
    stepper.send(np.zeros(2, np.int64))
    assert stepper.recv().observations.dtype == np.uint8
    envs.close()
    assert describe(environment)["id"] == "ALE/Boxing-v5"
    assert describe(environment)["encoder"] == str(file)
    assert preprocessing(environment)["frame_stack"] == 4
    played = for_evaluation(EncodedEnvironment(AtariProtocol("boxing", sticky_actions=0.0), "x"))
    assert isinstance(played, EncodedEnvironment)
    assert played.environment == AtariProtocol("boxing")


def test_another_world_is_seen_alike() -> None:
    coded = EncodedEnvironment(BOXING, "frames", frame_stack=4)
    pong = AtariProtocol("pong", sticky_actions=0.0)
    seen = AtariProtocol("pong", sticky_actions=0.0, height=42, width=42, frame_stack=1)
    assert seen_alike(coded, pong) == EncodedEnvironment(seen, "frames", frame_stack=4)
    assert seen_alike(BOXING, pong) == seen
    assert seen_alike(BOXING, EncodedEnvironment(pong, "other")) == seen
    pole = GymnasiumEnvironment("CartPole-v1")
    assert seen_alike(BOXING, pole) == pole


def test_the_encoder_that_ships_codes_boxing_in_few_bytes() -> None:
    environment = find_recipe("boxing-latent").environment
    assert isinstance(environment, EncodedEnvironment)
    envs = make_envs(environment, 4)
    assert np.prod(envs.single_observation_space.shape or ()) <= 4 * 84 * 84 / 200
    envs.close()
    autoencoder = find_autoencoder(environment.encoder)
    frames = record(None, environment.environment, 60, seed=3, every=20).observations
    decoded = autoencoder.decode_bytes(autoencoder.encode_bytes(frames))
    left = np.square(decoded - frames.astype(float)).mean()
    # The boxers are there, not only the ring: of what a mean picture lacks, most is rebuilt.
    assert left < 0.5 * frames.astype(float).var(0).mean()
    mirrored = autoencoder.transform(frames[..., ::-1])
    assert np.allclose(mirrored, autoencoder.transform(frames)[:, ::-1], atol=1e-3)


def test_a_policy_meets_no_other_encoder_of_the_same_name(tmp_path: Path) -> None:
    file = tmp_path / "frames.safetensors"
    seen = np.random.default_rng(0).integers(0, 255, (40, 1, 42, 42), np.uint8)
    first, second = (Autoencoder(latents=6, epochs=1, seed=seed).fit(seen) for seed in (0, 1))
    first.save(file)
    plain = EncodedEnvironment(BOXING, str(file), frame_stack=4)
    known = with_checksum(plain)
    assert with_checksum(known) == known != plain
    make_envs(known, 1).close()
    second.save(file)
    make_envs(plain, 1).close()
    with pytest.raises(ValueError, match="is not the one that was learnt with: its checksum is"):
        make_envs(known, 1)
    recipe = replace(find_recipe("boxing-latent"), environment=known)
    with pytest.raises(RecipeError, match="is not the one that was learnt with"):
        train(recipe, runs=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_an_agent_learns_on_codes(tmp_path: Path) -> None:
    recipe = find_recipe("boxing-latent")
    quick = replace(
        recipe,
        algorithm=replace(recipe.algorithm, learning_starts=64, replay_capacity=20_000),
        steps=640,
        minutes=None,
        num_envs=8,
        evaluation=EvaluationSchedule(every=0, final_episodes=0),
    )
    run = train(quick, runs=str(tmp_path))
    loaded = load_policy(run.policies / "last.safetensors")
    assert loaded.environment == with_checksum(recipe.environment) != recipe.environment
    assert loaded.policy.observation_space.shape == (4, 1, 32)
