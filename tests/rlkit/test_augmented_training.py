"""Trainings that learn from pictures which a file changes: how many, which, and how they resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.checkpointing import Checkpointing
from rlkit.callbacks.tensorboard import TensorBoard
from rlkit.environment_ids import BIN_PICKING
from rlkit.environments import GymnasiumEnvironment
from rlkit.gan.gan import GAN, ImageToImage
from rlkit.gan.gan_file import GANFileError, save
from rlkit.gan.translation import Translation, augmentation
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.recipes import find_recipe
from rlkit.run_folder import Run
from rlkit.training import RecipeError, Training
from rlkit_agents.dqn import DQN
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick import Pick
from rlkit_agents.ppo_config import PPOConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.r2d2 import R2D2
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_envs.atari import AtariProtocol

SIDE = 16
PASSED = {"passed": True, "reasons": []}


def fitted(
    channels: int = 1, outputs: int = 1, side: int = SIDE, verdict: Any = PASSED, **settings: Any
) -> ImageToImage:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (8, channels, side, side), np.uint8)
    targets = random.integers(0, 256, (8, outputs, side, side), np.uint8)
    estimator = ImageToImage(channels=2, most_channels=4, epochs=1, patch_halvings=1, **settings)
    estimator.fit(pictures, targets)
    estimator.provenance = {} if verdict is None else {"verdict": verdict}
    return estimator


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gan") / "look.safetensors"
    save(path, fitted())
    return path


def recipe(small: Recipe, file: Path | None, **changes: Any) -> Recipe:
    return replace(
        small,
        environment=AtariProtocol("boxing", height=SIDE, width=SIDE, frame_stack=2),
        algorithm=replace(
            small.algorithm,
            network=NetworkConfig(torso="mlp", hidden_sizes=(8,)),
            head=HeadConfig("expected"),
            replay_capacity=200,
            precision="float32",
            augmentation=("shift:1",),
        ),
        num_envs=4,
        steps=320,
        environment_threads=1,
        checkpoint_every=160,
        augmentation_file=None if file is None else str(file),
        augmentation_share=0.3,
        evaluation=EvaluationSchedule(every=0, final_episodes=0),
        **changes,
    )


def begin(recipe: Recipe, runs: Path, *callbacks: Callback) -> tuple[Training, Run]:
    run = Run.create(recipe, runs)
    training = Training(recipe, run, [*callbacks, TensorBoard(), Checkpointing()])
    training.learn()
    return training, run


def weights(training: Training) -> Tensor:
    return torch.cat([w.detach().flatten() for w in training.algorithm.policy.parameters()])


def test_a_share_of_every_batch_is_changed_and_logged_and_training_goes_on_bit_for_bit(
    small_cartpole: Recipe, file: Path, tmp_path: Path
) -> None:
    plain, _ = begin(recipe(small_cartpole, None), tmp_path / "plain")
    whole, run = begin(recipe(small_cartpole, file), tmp_path / "whole")
    assert not torch.equal(weights(plain), weights(whole))
    events = EventAccumulator(str(run.path)).Reload()
    shares = {scalar.value for scalar in events.Scalars("learning/augmented_share")}
    assert shares == {4 / 16}  # the most that is no more than 0.3

    stopped, stopped_run = begin(recipe(small_cartpole, file), tmp_path / "stopped", StopAt(160))
    assert stopped.steps == 160
    resumed = Training(stopped_run.recipe(), stopped_run, [Checkpointing()])
    resumed.load_checkpoint()
    resumed.learn()
    assert resumed.steps == whole.steps == 320
    assert torch.equal(weights(resumed), weights(whole))


class StopAt(Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step(self, training: Training, step: Any, metrics: dict[str, Any]) -> None:
        if training.steps >= self.steps - training.stepper.num_envs:
            training.stop()


def test_frames_of_a_stack_are_translated_as_the_estimator_does() -> None:
    translation = Translation(fitted(picture_noise=0, pixel_noise=0))
    stacks = torch.randint(0, 256, (5, 3, SIDE, SIDE), dtype=torch.uint8)
    before = stacks.clone()
    got = translation(stacks, random=torch.Generator())
    expected = translation.estimator.transform(stacks.numpy().reshape(15, 1, SIDE, SIDE))
    difference = got.numpy().reshape(15, 1, SIDE, SIDE).astype(int) - expected
    assert abs(difference).max() <= 1  # rounding after sums in another order
    assert torch.equal(stacks, before)
    assert not torch.equal(got, stacks)


@pytest.mark.parametrize("kind", ["picture_noise", "pixel_noise"])
def test_what_is_random_for_a_picture_is_alike_in_a_stack(kind: str) -> None:
    translation = Translation(fitted(**{"picture_noise": 0, "pixel_noise": 0, kind: 1}))
    stacks = torch.full((3, 2, SIDE, SIDE), 100, dtype=torch.uint8)
    got = translation(stacks, random=torch.Generator().manual_seed(0))
    assert torch.equal(got, translation(stacks, random=torch.Generator().manual_seed(0)))
    assert not torch.equal(got[0], got[1])
    assert torch.equal(got[:, 0], got[:, 1]) == (kind == "picture_noise")


def test_several_channels_are_translated_together() -> None:
    estimator = fitted(2, 2, picture_noise=0, pixel_noise=0)
    pictures = torch.randint(0, 256, (4, 2, SIDE, SIDE), dtype=torch.uint8)
    got = Translation(estimator)(pictures, random=torch.Generator())
    difference = got.numpy().astype(int) - estimator.transform(pictures.numpy())
    assert abs(difference).max() <= 1
    with pytest.raises(ValueError, match=r"\(2, 16, 16\) are translated, not \(3, 16, 16\)"):
        Translation(estimator)(torch.zeros(1, 3, SIDE, SIDE), random=torch.Generator())


def test_heights_keep_what_whole_millimetres_leave_over(file: Path) -> None:
    translation = augmentation(file, "cpu")
    whole = torch.randint(0, 200, (3, 1, SIDE, SIDE)).float()
    rest = 0.4 * torch.rand(whole.shape)
    got = translation(whole + rest, random=torch.Generator())
    assert got.dtype == torch.float32
    expected = translation(whole.to(torch.uint8), random=torch.Generator())
    assert torch.allclose(got, expected + rest, atol=1e-4)


def test_picking_learns_from_translated_heights(tmp_path: Path) -> None:
    start = find_recipe("bin-picking-augmented")
    small = replace(
        start,
        environment=GymnasiumEnvironment(BIN_PICKING, {"tier": "all"}),
        num_envs=2,
        environment_threads=1,
        learner_threads=1,
    )
    bare = Training(small, Run.create(small, tmp_path / "bare"), [])
    assert isinstance(bare.algorithm, Pick)
    shape = bare.algorithm.policy.observation_space.shape
    bare.stepper.envs.close()
    assert shape is not None
    path = tmp_path / "heights.safetensors"
    save(path, fitted(side=shape[-1]))
    with_file = replace(small, augmentation_file=str(path))
    training = Training(with_file, Run.create(with_file, tmp_path / "with"), [])
    assert isinstance(training.algorithm, Pick)
    heights = torch.full((8, 1, *shape[1:]), 20.0)
    got = training.algorithm.augmenter.learnt(heights)
    training.stepper.envs.close()
    changed = (got != heights).flatten(1).any(1)
    assert int(changed.sum()) == 2  # a quarter


def test_sequences_are_translated_from_first_to_last(
    small_cartpole: Recipe, file: Path, tmp_path: Path
) -> None:
    wanted = replace(
        recipe(small_cartpole, file),
        environment=AtariProtocol("boxing", height=SIDE, width=SIDE, frame_stack=1),
        algorithm=R2D2Config(
            network=NetworkConfig(torso="mlp", hidden_sizes=(4,), memory="gru", memory_size=4),
            replay_capacity=4_000,
        ),
    )
    training = Training(wanted, Run.create(wanted, tmp_path), [])
    training.stepper.envs.close()
    assert isinstance(training.algorithm, R2D2)
    sequences = torch.full((5, 8, 1, SIDE, SIDE), 100, dtype=torch.uint8)
    got = training.algorithm.augmenter.over_time(sequences)
    changed = (got != sequences).flatten(2).any(2)
    assert changed.all(0).sum() == changed.any(0).sum() == 2  # the most that is no more than 0.3


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "cannot be read"),
        ("other", "damaged"),
        ("gan", "makes pictures from noise"),
        ("channels", "turns 1 channels into 2"),
        ("size", r"\(1, 20, 20\) are translated, not \(2, 16, 16\)"),
        ("unjudged", "does not pass the gate: nobody judged it .*rlkit gan evaluate FILE"),
        ("refused", "does not pass the gate: too far off; all alike"),
        ("mumbled", "does not pass the gate: its verdict is against it"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    small_cartpole: Recipe, tmp_path: Path, kind: str, message: str
) -> None:
    path = tmp_path / "file.safetensors"
    if kind == "other":
        path.write_bytes(b"no such file")
    elif kind == "gan":
        pictures = np.random.default_rng(0).integers(0, 256, (16, 1, 8, 8), np.uint8)
        save(path, GAN(channels=4, epochs=1, batch_size=8).fit(pictures))
    elif kind == "channels":
        save(path, fitted(1, 2))
    elif kind == "size":
        save(path, fitted(side=20))
    elif kind == "unjudged":
        save(path, fitted(verdict=None))
    elif kind == "refused":
        save(path, fitted(verdict={"passed": False, "reasons": ["too far off", "all alike"]}))
    elif kind == "mumbled":
        save(path, fitted(verdict={"passed": "yes"}))
    wanted = recipe(small_cartpole, path)
    with pytest.raises(RecipeError, match=message):
        Training(wanted, Run.create(wanted, tmp_path), [])


def test_settings_that_make_no_sense_are_refused(small_cartpole: Recipe, file: Path) -> None:
    with pytest.raises(ValueError, match=r"augmentation_share must be in \(0, 1\], got 0"):
        replace(small_cartpole, augmentation_share=0.0)
    with pytest.raises(ValueError, match="for DQN, R2D2, PQN and picking agents alone"):
        replace(small_cartpole, augmentation_file=str(file), algorithm=PPOConfig())


def test_a_file_that_is_no_translation_is_named(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    save(path, fitted(1, 2))
    with pytest.raises(GANFileError, match=str(path)):
        augmentation(path, "cpu")


def test_without_a_file_nothing_is_learnt_first(small_cartpole: Recipe, tmp_path: Path) -> None:
    wanted = recipe(small_cartpole, None)
    training = Training(wanted, Run.create(wanted, tmp_path), [])
    training.stepper.envs.close()
    assert isinstance(training.algorithm, DQN)
    assert training.algorithm.augmenter.metrics() == {}
