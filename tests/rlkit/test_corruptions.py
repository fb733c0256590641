"""Corrupted frames: what changes, how long it lasts, and what decides it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkit.cli.main import main
from rlkit.corruptions import (
    HELD_OUT,
    CorruptFrames,
    CorruptionError,
    make_corrupted_envs,
)
from rlkit.environments import GymnasiumEnvironment, make_envs
from rlkit.evaluation import evaluate
from rlkit.recipes import RECIPES
from rlkit_agents.augmentation_looks import Blur
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.atari import AtariProtocol

SHORT = AtariProtocol("boxing", height=42, width=40, frame_stack=3, max_frames=60)
"""Episodes of 15 steps."""


def seen(name: str | None, seed: int = 3, steps: int = 40, num_envs: int = 2) -> np.ndarray:
    """Observations (steps + 1, num_envs, 3, 42, 40) of the same actions, through some episodes."""
    envs = (
        make_envs(SHORT, num_envs) if name is None else make_corrupted_envs(SHORT, name, num_envs)
    )
    random = np.random.default_rng(0)
    observations = [envs.reset(seed=seed)[0]]
    for _ in range(steps):
        observations.append(envs.step(random.integers(0, 18, num_envs))[0])
    envs.close()
    return np.stack(observations)


@pytest.fixture(scope="module")
def clear() -> np.ndarray:
    return seen(None)


def starts(clear: np.ndarray, env: int) -> list[int]:
    """Steps at which episodes of an environment show their first frame."""
    padded = ~clear[:, env, 0].any(axis=(1, 2)) & ~clear[:, env, 1].any(axis=(1, 2))
    return [int(step) for step in np.flatnonzero(padded)]


@pytest.mark.parametrize("name", [*HELD_OUT, "noise:20", "shift:4"])
def test_frames_are_corrupted_once_and_stay_so_in_their_stacks(
    name: str, clear: np.ndarray
) -> None:
    corrupted = seen(name)
    assert corrupted.shape == clear.shape
    assert corrupted.dtype == np.uint8
    for env in range(2):
        begun = starts(clear, env)
        assert begun[0] == 0
        assert len(begun) >= 3
        for step in range(1, len(clear)):
            assert not np.array_equal(corrupted[step, env, -1], clear[step, env, -1])
            if step in begun:
                assert not corrupted[step, env, :-1].any()
            else:
                np.testing.assert_array_equal(
                    corrupted[step, env, :-1], corrupted[step - 1, env, 1:]
                )


@pytest.mark.parametrize("name", ["palette:60", "specks:0.05"])
def test_the_seed_decides_corruptions(name: str) -> None:
    first = seen(name, steps=20)
    np.testing.assert_array_equal(first, seen(name, steps=20))
    assert not np.array_equal(first[0], seen(name, seed=4, steps=0)[0])


def test_paint_lasts_for_an_episode_and_differs_between_them(clear: np.ndarray) -> None:
    corrupted = seen("palette:90")
    paints = []
    for env in range(2):
        begun = [*starts(clear, env), len(clear)]
        for first, after in pairwise(begun):
            before, now = clear[first:after, env, -1], corrupted[first:after, env, -1]
            paint = {}
            for shade in np.unique(before):
                (paint[int(shade)],) = np.unique(now[before == shade])  # one shade for one
            paints.append(paint)
    assert len(paints) >= 6
    for one, other in combinations(paints, 2):
        both = one.keys() & other.keys()
        assert any(one[shade] != other[shade] for shade in both)


def test_an_environment_is_corrupted_alike_whatever_the_others_do() -> None:

    few, many = (CorruptFrames(make_envs(SHORT, count), "specks:0.1") for count in (1, 3))
    for envs in (few, many):
        blank = np.zeros((envs.num_envs, 3, 42, 40), np.uint8)
        envs._seed(5)
        envs._see(blank, np.ones(envs.num_envs, bool))
        envs.close()
    np.testing.assert_array_equal(few._seen[0], many._seen[0])
    assert not np.array_equal(many._seen[0], many._seen[1])


def test_blur_is_that_of_the_newest_frame(clear: np.ndarray) -> None:
    corrupted = seen("blur:1")
    frames = torch.from_numpy(clear[:, :, -1:].reshape(-1, 1, 42, 40))
    expected = Blur(1.0)(frames, random=torch.Generator()).numpy()
    np.testing.assert_array_equal(corrupted[:, :, -1].reshape(-1, 1, 42, 40), expected)


def test_some_environments_are_reset_and_the_others_stay() -> None:
    envs = make_corrupted_envs(SHORT, "palette:90", 2)
    before, _ = envs.reset(seed=1)
    for _ in range(3):
        before, *_ = envs.step(np.zeros(2, np.int64))
    mask = np.array([True, False])
    after, _ = envs.reset(options={"reset_mask": mask})
    assert not after[0, :-1].any()
    assert after[0, -1].any()
    np.testing.assert_array_equal(after[1], before[1])
    envs.close()


def policy() -> QPolicy:
    torch.manual_seed(0)
    envs = make_envs(SHORT, 1)
    network = NetworkConfig(torso="mlp", hidden_sizes=(4,))
    made = QPolicy(
        envs.single_observation_space,
        envs.single_action_space,
        network,
        HeadConfig("expected"),
        precision="float32",
    )
    envs.close()
    return made


def test_an_evaluation_says_what_corrupted_it_and_is_repeatable() -> None:
    played = policy()
    first, again = (
        evaluate(played, SHORT, 2, num_envs=2, seed=4, corruption="inversion:1") for _ in range(2)
    )
    assert first.protocol["corruption"] == "inversion:1"
    assert first.to_json() == again.to_json()
    assert "corruption" not in evaluate(played, SHORT, 1, num_envs=1).protocol


@pytest.mark.parametrize(
    ("environment", "name", "message"),
    [
        (SHORT, "palete:60", "called 'palete'; did you mean palette"),
        (SHORT, "cutout:41", "41 pixels is larger than"),
        (GymnasiumEnvironment("CartPole-v1"), "blur:1", "Atari games, not for CartPole-v1"),
        (replace(SHORT, grayscale=False), "blur:1", "stacks of grey frames"),
        (AtariProtocol(observation="ram_bits"), "blur:1", "frames of Atari games"),
    ],
)
def test_what_cannot_be_corrupted_is_refused(environment: Any, name: str, message: str) -> None:
    with pytest.raises(CorruptionError, match=message):
        make_corrupted_envs(environment, name, 1)


def test_no_recipe_trains_on_what_is_held_out() -> None:
    held_out = {name.partition(":")[0] for name in HELD_OUT}
    for recipe in RECIPES.values():
        trained = getattr(recipe.algorithm, "augmentation", ())
        assert not held_out & {name.partition(":")[0] for name in trained}


def test_the_command_evaluates_through_a_corruption(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rlkit.policies import save_policy

    file = tmp_path / "p.safetensors"
    short = replace(SHORT, frame_skip=600)  # whole episodes of few steps
    save_policy(policy(), file, short, {})
    arguments = ["evaluate", str(file), "--episodes", "1", "--json", "--corruption"]
    assert main([*arguments, "shadow:0.6"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"]["corruption"] == "shadow:0.6"
    assert main([*arguments, "shadw"]) == 2
    assert "no augmentation is called 'shadw'" in capsys.readouterr().err
    assert main(["evaluate", "rlkit/BinPicking-v0", "--corruption", "blur:1"]) == 2
    assert "only for Atari games" in capsys.readouterr().err
