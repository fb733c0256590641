"""Replayed batches go through augmentations: what changes, what does not, and what goes on."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from rlkit_agents.dqn import DQN, DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.replay import Batch
from rlkit_agents.step import Step

from .streams import NUM_ENVS, feed, seeds, weights

STACKS = Box(0, 255, (2, 9, 9), np.uint8)
AUGMENTED = ("shift:2", "noise:8", "brightness:20", "cutout:3")


def learner(seed: int = 0, space: Box = STACKS, **changes: Any) -> DQN:
    settings: dict[str, Any] = dict(
        network=NetworkConfig(torso="mlp", hidden_sizes=(8,)),
        head=HeadConfig("expected"),
        n_step=2,
        replay_capacity=200,
        batch_size=16,
        samples_per_step=4,
        learning_starts=40,
        target_update_every=10,
        precision="float32",
    )
    return DQN(DQNConfig(**(settings | changes)), space, Discrete(3), NUM_ENVS, **seeds(seed))


def random_steps(count: int) -> list[Step]:
    """Steps without end; the first stands for the reset, and only its observations matter."""
    random = np.random.default_rng(0)
    nothing = np.zeros(NUM_ENVS, bool)
    stack = np.zeros((NUM_ENVS, *STACKS.shape), np.uint8)
    steps = []
    for _ in range(count + 1):
        frame = random.integers(0, 256, (NUM_ENVS, 1, 9, 9), np.uint8)
        stack = np.concatenate([stack[:, 1:], frame], 1)
        rewards = random.normal(size=NUM_ENVS).astype(np.float32)
        steps.append(Step(stack, rewards, nothing, nothing, ~nothing))
    return steps


def kept(batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator) -> Tensor:
    """Draws, and changes nothing."""
    torch.rand(5, generator=random)
    return batch


def watched(part: torch.nn.Module) -> list[Tensor]:
    """Copies of what `part` is called with from now on."""
    seen: list[Tensor] = []

    def keep(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].clone())

    part.register_forward_pre_hook(keep)
    return seen


def moves_of(seen: Tensor, rows: np.ndarray) -> list[tuple[int, int]]:
    """By how much each picture seen was shifted, found by trying, at most one way each."""
    found = []
    for picture, row in zip(seen, torch.from_numpy(rows), strict=True):
        padded = torch.nn.functional.pad(row[None].float(), (2, 2, 2, 2), mode="replicate")[0]
        fits = [
            (2 - top, 2 - left)
            for top in range(5)
            for left in range(5)
            if torch.equal(padded[:, top : top + 9, left : left + 9], picture.float())
        ]
        assert len(fits) == 1
        found += fits
    return found


@pytest.mark.parametrize(("targets", "share"), [(True, 1.0), (False, 1.0), (True, 0.25)])
def test_observations_before_and_after_are_shifted_each_in_their_own_way(
    targets: bool, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = learner(
        augmentation=("shift:2",), augmented_targets=targets, augmented_share=share, double=False
    )
    steps = random_steps(40)
    feed(algorithm, steps[:-1])
    drawn: list[Batch] = []
    sample = algorithm.replay.sample

    def keeping(*arguments: Any, **named: Any) -> Batch:
        batch = sample(*arguments, **named)
        drawn.append(copy.deepcopy(batch))
        return batch

    monkeypatch.setattr(algorithm.replay, "sample", keeping)
    seen = {"policy": watched(algorithm.policy), "target": watched(algorithm.target)}
    with monkeypatch.context() as patch:
        learnt: list[Any] = []
        learn = algorithm._learn
        patch.setattr(algorithm, "_learn", lambda *both: (learnt.append(both[0]), learn(*both))[1])
        feed(algorithm, steps[-2:])
    (batch,), (transitions,) = drawn, learnt
    before = moves_of(seen["policy"][-1], batch.observations)
    after = moves_of(seen["target"][-1], batch.next_observations)
    if share < 1:  # a quarter of 16, some of which are shifted by nothing
        for moves in (before, after):
            assert 2 <= 16 - moves.count((0, 0)) <= 4
    else:
        assert len(set(before)) > 5
        assert len(set(after)) > 5 if targets else set(after) == {(0, 0)}
    assert before != after
    np.testing.assert_array_equal(transitions.a_tm1.numpy(), batch.actions)
    np.testing.assert_array_equal(transitions.r_t.numpy(), batch.returns)
    np.testing.assert_array_equal(transitions.discount_t.numpy(), batch.bootstrap_discounts)


def test_augmentation_changes_what_is_learnt_and_draws_from_no_other_stream() -> None:
    steps = random_steps(60)
    plain, drawing, augmented = learner(), learner(), learner(augmentation=AUGMENTED)
    drawing.augmenter.put_first(kept, 1.0)
    for algorithm in (plain, drawing, augmented):
        feed(algorithm, steps)
        assert algorithm.updates == 50
    assert torch.equal(weights(plain), weights(drawing))
    assert not torch.equal(weights(plain), weights(augmented))
    np.testing.assert_array_equal(
        plain.replay.sample(9, importance_exponent=1.0).indices,
        augmented.replay.sample(9, importance_exponent=1.0).indices,
    )


@pytest.mark.parametrize("double", [False, True])  # without, gradient steps are begun ahead
def test_an_augmented_learner_goes_on_bit_for_bit(double: bool) -> None:
    steps = random_steps(100)
    settings: dict[str, Any] = dict(augmentation=AUGMENTED, double=double, samples_per_step=11)
    whole = learner(**settings)
    feed(whole, steps[:52])
    state = copy.deepcopy(whole.state_dict())
    first, stop = whole.replay.first_row, whole.replay.rows_written
    rows = whole.replay.export_rows(first, stop)
    feed(whole, steps[51:])

    restored = learner(seed=9, **settings)
    restored.load_state_dict(state)
    restored.replay.import_rows(first, rows)
    feed(restored, steps[51:])
    assert torch.equal(weights(restored), weights(whole))
    assert torch.equal(restored.augmenter.state(), whole.augmenter.state())
    assert not torch.equal(state["augmentation"], whole.augmenter.state())


def test_checkpoints_from_before_there_were_augmentations_are_read() -> None:
    algorithm = learner()
    state = algorithm.state_dict()
    del state["augmentation"]
    before = algorithm.augmenter.state()
    algorithm.load_state_dict(state)
    assert torch.equal(algorithm.augmenter.state(), before)


def test_the_share_of_what_was_learnt_is_measured() -> None:
    algorithm = learner()
    algorithm.augmenter.put_first(kept, 0.3)
    measured = feed(algorithm, random_steps(30))
    assert {metrics["augmented_share"] for metrics in measured} == {4 / 16}
    assert "augmented_share" not in feed(learner(), random_steps(30))[0]


def test_augmentations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="'flip' changes what actions do: name symmetries"):
        DQNConfig(augmentation=("flip",))
    with pytest.raises(ValueError, match="called 'shfit'; did you mean shift"):
        DQNConfig(augmentation=("shfit:4",))
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        learner(space=Box(-1, 1, (3,), np.float32), augmentation=("shift:4",))
    with pytest.raises(ValueError, match="only bytes have shades"):
        learner(space=Box(-1, 1, (3,), np.float32), augmentation=("brightness:4",))
    learner(space=Box(-1, 1, (3,), np.float32), augmentation=("noise:0.1",))
