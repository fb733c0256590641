"""The picking agent's windows go through augmentations, and the tried pixel moves along."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from rlkit_agents.pick import Pick, PickConfig
from rlkit_agents.pick_policy import PickNetworkConfig
from rlkit_agents.replay import Batch
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step

from .streams import NUM_ENVS, feed_in_turns, seeds, weights

SIDE = 24
AUGMENTED = ("rotation:180", "shift:1", "noise:0.5", "dropout:0.05")


def learner(seed: int = 0, stances: int = 1, channels: int = 2, **changes: Any) -> Pick:
    settings: dict[str, Any] = dict(
        network=PickNetworkConfig(channels=(2, 4, 4), members=2),
        window=16,
        replay_capacity=200,
        batch_size=16,
        samples_per_step=4,
        learning_starts=20,
        learning_rate=1e-2,
        epsilon=LinearSchedule(0.5, 0.1, 400),
        precision="float32",
    )
    return Pick(
        PickConfig(**(settings | changes)),
        Box(0, 1e3, (channels, SIDE, SIDE), np.float32),
        Discrete(stances * SIDE * SIDE),
        NUM_ENVS,
        **seeds(seed),
    )


def random_steps(count: int) -> list[Step]:
    """Steps without end; the first stands for the reset, and only its observations matter."""
    random = np.random.default_rng(0)
    nothing = np.zeros(NUM_ENVS, bool)
    steps = []
    for _ in range(count + 1):
        heights = 100 * random.random((NUM_ENVS, 1, SIDE, SIDE))
        marks = random.random((NUM_ENVS, 1, SIDE, SIDE)) < 0.1
        pictures = np.concatenate([heights, marks], 1).astype(np.float32)
        rewards = (random.random(NUM_ENVS) < 0.7).astype(np.float32)
        steps.append(Step(pictures, rewards, nothing, nothing, ~nothing))
    return steps


def hills(count: int) -> Batch:
    """Attempts on the tops of hills of 90 mm, the only ones in their pictures."""
    random = np.random.default_rng(1)
    tops = random.integers(4, SIDE - 4, (count, 2))  # the ground around pictures is cut off
    rows, columns = np.mgrid[:SIDE, :SIDE]
    far = (rows - tops[:, 0, None, None]) ** 2 + (columns - tops[:, 1, None, None]) ** 2
    pictures = np.stack([90 * np.exp(-far / 6), np.zeros_like(far)], 1).astype(np.float32)
    return Batch(
        observations=pictures,
        actions=tops[:, 0] * SIDE + tops[:, 1],
        returns=np.ones(count, np.float32),
        bootstrap_discounts=np.zeros(count, np.float32),
        next_observations=pictures,
        weights=np.ones(count, np.float32),
        indices=np.arange(count),
    )


def measured_at(
    monkeypatch: pytest.MonkeyPatch, algorithm: Pick, batch: Batch
) -> tuple[Tensor, Tensor]:
    """The windows that the network saw of a batch, and the pixels whose chances were read."""
    seen: list[Tensor] = []
    logits_at = algorithm.policy.logits_at

    def watched(windows: Tensor, places: Tensor) -> Tensor:
        seen.extend((windows[:, 0].clone(), places.clone()))
        return logits_at(windows, places)

    monkeypatch.setattr(algorithm.policy, "logits_at", watched)
    algorithm._learn(batch)
    windows, places = seen
    return windows, places


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    "augmentation",
    [(), ("shift:4",), ("rotation:180",), ("flip", "turn"), ("rotation:30", "shift:1", "noise:1")],
    ids=" ".join,
)
def test_chances_are_read_where_the_tried_pixel_went(
    monkeypatch: pytest.MonkeyPatch, augmentation: tuple[str, ...], symmetric: bool
) -> None:
    algorithm = learner(augmentation=augmentation, symmetric=symmetric, bootstrap_share=1.0)
    heights, read = measured_at(monkeypatch, algorithm, hills(64))
    places = {tuple(place) for place in read.tolist()}
    for window, (row, column) in zip(heights, read.tolist(), strict=True):
        height = float(window[row, column])
        assert height > 70  # a pixel and a half from the top at most
        assert height > float(window.max()) - 15
    assert len(places) > (40 if "shift:4" in augmentation else 12)


def test_heights_look_otherwise_and_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, noisy = (
        learner(symmetric=False),
        learner(symmetric=False, augmentation=("noise:2", "dropout:0.1")),
    )
    batch = hills(64)
    before = copy.deepcopy(batch)
    clear, read = measured_at(monkeypatch, plain, batch)
    changed, read_there = measured_at(monkeypatch, noisy, batch)
    assert float((changed == 0).float().mean()) == pytest.approx(0.1, abs=0.01)
    noise = (changed - clear)[changed != 0]
    assert float(noise.std()) == pytest.approx(2, rel=0.05)
    assert torch.equal(read, read_there)
    for name in ("observations", "actions", "returns"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(before, name))


def test_what_was_learnt_is_asked_about_whole_pictures_without_their_marks() -> None:
    shapes: list[tuple[int, ...]] = []

    def kept(batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator) -> Tensor:
        shapes.append(tuple(batch.shape))
        return batch

    algorithm = learner()
    algorithm.augmenter.put_first(kept, 0.5)
    assert shapes == [(2, 1, SIDE, SIDE)]  # whether it fits is found out at once
    measured = feed_in_turns(algorithm, random_steps(12))
    assert set(shapes[1:]) == {(8, 1, SIDE, SIDE)}
    assert {metrics["augmented_share"] for metrics in measured} == {0.5}


def test_augmentation_changes_what_is_learnt_and_goes_on_bit_for_bit() -> None:
    steps = random_steps(60)
    plain, whole = learner(), learner(augmentation=AUGMENTED)
    feed_in_turns(plain, steps)
    feed_in_turns(whole, steps[:32])
    state = copy.deepcopy(whole.state_dict())
    first, stop = whole.replay.first_row, whole.replay.rows_written
    rows = whole.replay.export_rows(first, stop)
    feed_in_turns(whole, steps[31:])
    assert not torch.equal(weights(plain), weights(whole))

    restored = learner(seed=9, augmentation=AUGMENTED)
    restored.load_state_dict(state)
    restored.replay.import_rows(first, rows)
    feed_in_turns(restored, steps[31:])
    assert restored.updates == whole.updates > 40
    assert torch.equal(weights(restored), weights(whole))
    assert torch.equal(restored.augmenter.state(), whole.augmenter.state())


def test_checkpoints_from_before_there_were_augmentations_are_read() -> None:
    algorithm = learner()
    state = algorithm.state_dict()
    del state["augmentation"]
    algorithm.load_state_dict(state)


def test_augmentations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="no augmentation is called 'nose'; did you mean noise"):
        PickConfig(augmentation=("nose:1",))
    with pytest.raises(ValueError, match="out of the window"):
        learner(augmentation=("shift:5",))
    with pytest.raises(ValueError, match="not their heights"):
        learner(augmentation=("crop:0.9",))
    with pytest.raises(ValueError, match="tilted tool"):
        learner(stances=3, augmentation=("rotation:5",))
    with pytest.raises(ValueError, match="tilted tool"):
        learner(channels=4, symmetric=False, augmentation=("flip",))
    with pytest.raises(ValueError, match="only bytes have shades"):
        learner(augmentation=("brightness:5",))
