"""Environments are built, described and put under the protocol of evaluations."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rlkit.configuration import from_json, to_json
from rlkit.environments import (
    Environment,
    GymnasiumEnvironment,
    describe,
    environment_id,
    for_evaluation,
    make_envs,
    make_watchable,
    preprocessing,
    seen_alike,
)
from rlkit.recording import record
from rlkit_envs.atari import AtariProtocol

BOXING = AtariProtocol("boxing", height=42, width=40)
RAM = replace(BOXING, observation="ram_bits", frame_stack=1)
MOUNTAIN_CAR = GymnasiumEnvironment("MountainCar-v0", {"goal_velocity": 0.01})


@pytest.mark.parametrize(
    ("environment", "shape"),
    [
        (BOXING, (4, 42, 40)),
        (RAM, (1024,)),
        (GymnasiumEnvironment("CartPole-v1"), (4,)),  # has a vectorised version of its own
        (MOUNTAIN_CAR, (2,)),  # has none
    ],
)
def test_envs_step_in_batches_and_reset_a_step_after_an_end(
    environment: AtariProtocol | GymnasiumEnvironment, shape: tuple[int, ...]
):
    envs = make_envs(environment, 2, threads=1)
    assert envs.num_envs == 2
    assert envs.single_observation_space.shape == shape
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (2, *shape)
    stepped = envs.step(np.zeros(2, np.int64))
    assert [part.shape for part in stepped[:4]] == [(2, *shape), (2,), (2,), (2,)]
    envs.close()


def test_arguments_reach_the_environment():
    envs = make_envs(MOUNTAIN_CAR, 1)
    assert envs.get_attr("goal_velocity") == (0.01,)  # pyright: ignore[reportAttributeAccessIssue]
    envs.close()


@pytest.mark.parametrize(
    ("environment", "passed"),
    [
        (GymnasiumEnvironment("rlkit/BinPicking-v0", {"tier": "mixed"}), {"processes": 3}),
        (MOUNTAIN_CAR, {}),
    ],
)
def test_threads_reach_what_is_parallel_by_itself(
    environment: GymnasiumEnvironment, passed: dict[str, int], monkeypatch: pytest.MonkeyPatch
):
    asked = []
    monkeypatch.setattr("gymnasium.make_vec", lambda id, **options: asked.append(options))
    make_envs(environment, 5, threads=3)
    assert asked == [{"num_envs": 5, **passed, **environment.arguments}]


@pytest.mark.parametrize("make", [lambda e: make_envs(e, 1), make_watchable])
@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        (GymnasiumEnvironment("Nope-v1"), "cannot make environment 'Nope-v1': .*Nope"),
        (GymnasiumEnvironment("CartPole-v1", {"nope": 1}), "'CartPole-v1': .*nope"),
        (GymnasiumEnvironment("CartPole-v99"), "'CartPole-v99': "),
    ],
)
def test_what_cannot_be_made_is_a_value_error(make, environment, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        make(environment)


def test_ids_and_descriptions():
    assert environment_id(BOXING) == "ALE/Boxing-v5"
    assert environment_id(MOUNTAIN_CAR) == "MountainCar-v0"
    assert describe(MOUNTAIN_CAR) == {
        "id": "MountainCar-v0",
        "arguments": {"goal_velocity": 0.01},
    }
    description = describe(BOXING)
    assert description == {"id": "ALE/Boxing-v5", **asdict(BOXING)}
    assert json.loads(json.dumps(description)) == description


def test_preprocessing_is_what_a_policy_sees():
    seen = {"frame_stack": 4, "height": 42, "width": 40, "grayscale": True, "flicker": 0.0}
    seen["observation"] = "frames"
    assert preprocessing(BOXING) == seen
    assert preprocessing(RAM) == seen | {"observation": "ram_bits", "frame_stack": 1}
    assert preprocessing(replace(BOXING, sticky_actions=0.0, frame_skip=2)) == seen
    assert preprocessing(replace(BOXING, flicker=0.5)) == seen | {"flicker": 0.5}
    assert preprocessing(MOUNTAIN_CAR) == {}


def test_evaluations_play_by_the_protocol_and_leave_what_the_policy_sees_and_does():
    easier = AtariProtocol(
        "pong",
        sticky_actions=0.0,
        clip_rewards=True,
        max_noops=0,
        max_frames=1_000,
        frame_skip=3,
        frame_stack=2,
        height=50,
        width=60,
        grayscale=False,
        flicker=0.5,
        full_action_space=False,
    )
    # Machado et al. 2018: sticky actions 0.25, unclipped rewards, episodes of at most 30 minutes.
    assert for_evaluation(easier) == replace(
        easier, sticky_actions=0.25, clip_rewards=False, max_noops=30, max_frames=108_000
    )
    assert for_evaluation(BOXING) == BOXING
    assert for_evaluation(replace(RAM, sticky_actions=0.0, max_frames=500)) == RAM
    assert for_evaluation(MOUNTAIN_CAR) == MOUNTAIN_CAR


def test_a_policy_of_bits_sees_bits_wherever_it_plays():
    elsewhere = AtariProtocol("pong", sticky_actions=0.5, max_frames=500)
    assert seen_alike(RAM, on=elsewhere) == replace(RAM, **asdict(elsewhere) | preprocessing(RAM))
    assert seen_alike(BOXING, on=RAM) == BOXING


def test_a_protocol_from_before_there_were_bits_is_of_frames():
    """As run folders and policy files hold it that were written then."""
    fields = to_json(BOXING, Environment)
    del fields["observation"]
    assert from_json(fields, Environment) == BOXING  # pyright: ignore[reportArgumentType]
    assert from_json(to_json(RAM, Environment), Environment) == RAM  # pyright: ignore[reportArgumentType]


def test_what_plays_by_frames_is_recorded_in_bits():
    """Played beside each other by the same actions, bits are what frames went with."""
    played = replace(BOXING, height=10, width=10)
    seen = record(None, played, 30, seed=4, num_envs=3, every=2, seen_as=RAM)
    alone = record(None, RAM, 30, seed=4, num_envs=3, every=2)
    assert seen.observations.dtype == np.int8
    np.testing.assert_array_equal(seen.observations, alone.observations)
    assert seen.environment["observation"] == "ram_bits"
