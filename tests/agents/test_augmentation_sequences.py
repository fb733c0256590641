"""Sequences and rollouts go through augmentations: what changes alike, what apart, what goes on."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from rlkit_agents.augmentation import Augmenter
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pqn import PQN, PQNConfig
from rlkit_agents.r2d2 import R2D2
from rlkit_agents.r2d2_config import R2D2Config

from .streams import FLAT, NUM_ENVS, SHORT_TRACES, feed, feed_in_turns, random_steps, seeds, weights

FRAMES = Box(0, 255, (1, 9, 9), np.uint8)
PLAIN = NetworkConfig(torso="mlp", hidden_sizes=(8,))
LSTM = NetworkConfig(torso="mlp", hidden_sizes=(8,), memory="lstm", memory_size=4)
AUGMENTED = ("shift:2", "noise:8", "brightness:20", "cutout:3")


def made(algorithm: type, config: Any, space: Box = FRAMES, seed: int = 0) -> Any:
    return algorithm(config, space, Discrete(3), NUM_ENVS, **seeds(seed))


def r2d2(space: Box = FRAMES, seed: int = 0, **changes: Any) -> R2D2:
    settings: dict[str, Any] = SHORT_TRACES | dict(network=LSTM, double=False)
    return made(R2D2, R2D2Config(**(settings | changes)), space, seed)


def pqn(space: Box = FRAMES, seed: int = 0, **changes: Any) -> PQN:
    settings: dict[str, Any] = dict(
        network=PLAIN, rollout_length=5, minibatches=2, epochs=1, precision="float32"
    )
    return made(PQN, PQNConfig(**(settings | changes)), space, seed)


def recurrent_pqn(space: Box = FRAMES, seed: int = 0, **changes: Any) -> PQN:
    return pqn(space, seed, network=LSTM, **changes)


LEARNERS = [(r2d2, feed), (pqn, feed_in_turns), (recurrent_pqn, feed_in_turns)]


def augmenter(*names: str) -> Augmenter:
    return Augmenter(names, np.random.SeedSequence(0))


def kept(batch: Tensor, labels: Tensor | None = None, *, random: torch.Generator) -> Tensor:
    """Draws, and changes nothing."""
    torch.rand(5, generator=random)
    return batch


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sequence_is_shifted_as_one_and_each_in_its_own_way(channels: int) -> None:
    picture = torch.arange(81, dtype=torch.uint8).view(9, 9)
    sequences = torch.stack([picture + time for time in range(5)])[:, None, None]
    sequences = sequences.expand(5, 40, channels, 9, 9).contiguous()
    before = sequences.clone()
    got = augmenter("shift:2").over_time(sequences)
    assert got.shape == sequences.shape
    assert torch.equal(sequences, before)
    # All rows of a sequence, and all channels, are the first one but for what was added.
    later = got[:, :, :1] - torch.arange(5, dtype=torch.uint8)[:, None, None, None, None]
    assert torch.equal(later, got[:1, :, :1].expand(5, 40, 1, 9, 9))
    assert torch.equal(got, got[:, :, :1].expand(5, 40, channels, 9, 9))
    assert len(torch.unique(got[0, :, 0].flatten(1), dim=0)) > 10


def test_noise_differs_from_row_to_row() -> None:
    sequences = torch.full((6, 3, 1, 9, 9), 100, dtype=torch.uint8)
    got = augmenter("noise:8").over_time(sequences).flatten(2)
    assert len(torch.unique(got.flatten(0, 1), dim=0)) == 18
    flat = torch.zeros(6, 3, 4)
    rows = augmenter("noise:1").over_time(flat)
    assert rows.shape == flat.shape
    assert len(torch.unique(rows.flatten(0, 1), dim=0)) == 18
    assert augmenter().over_time(sequences) is sequences


def test_both_networks_of_r2d2_see_one_change_of_each_sequence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames are one picture over and over: whatever it became, it stays so in its sequence."""
    algorithm = r2d2(augmentation=("shift:2",), burn_in=0)
    steps = random_steps(30, FRAMES)
    picture = np.random.default_rng(0).integers(0, 256, (1, 1, 9, 9), np.uint8)
    for step in steps:
        step.observations[:] = picture
    seen: dict[str, list[Tensor]] = {"policy": [], "target": []}
    feed(algorithm, steps[:-1])

    def keep(name: str, tensor: Tensor) -> None:
        if tensor.ndim == 4 and len(tensor) > NUM_ENVS:
            seen[name].append(tensor.clone())

    for name in seen:
        torso = getattr(algorithm, name).network.torso
        torso.register_forward_pre_hook(lambda _, inputs, name=name: keep(name, inputs[0]))
    feed(algorithm, steps[-2:])
    (online,), (target,) = (seen[name] for name in ("policy", "target"))
    online, target = online.unflatten(0, (4, 4)), target.unflatten(0, (6, 4))
    assert torch.equal(target[:4], online)
    assert torch.equal(online, online[:1].expand_as(online))
    assert len(torch.unique(online[0].flatten(1), dim=0)) > 1


@pytest.mark.parametrize(("learner", "fed"), LEARNERS)
def test_augmentation_changes_what_is_learnt_and_draws_from_no_other_stream(
    learner: Any, fed: Any
) -> None:
    steps = random_steps(60, FRAMES)
    plain, drawing, augmented = learner(), learner(), learner(augmentation=AUGMENTED)
    drawing.augmenter.put_first(kept, 1.0)
    for algorithm in (plain, drawing, augmented):
        fed(algorithm, steps)
        assert algorithm.updates > 5
    assert torch.equal(weights(plain), weights(drawing))
    assert not torch.equal(weights(plain), weights(augmented))
    actions = [algorithm.act(steps[-1].observations) for algorithm in (plain, drawing)]
    np.testing.assert_array_equal(*actions)


@pytest.mark.parametrize(("learner", "fed"), LEARNERS)
def test_an_augmented_learner_goes_on_bit_for_bit(learner: Any, fed: Any) -> None:
    steps = random_steps(90, FRAMES, cuts=(50,))
    whole = learner(augmentation=AUGMENTED)
    fed(whole, steps[:51])
    state = copy.deepcopy(whole.state_dict())
    replay = getattr(whole, "replay", None)
    first = 0 if replay is None else replay.first_row
    rows = None if replay is None else replay.export_rows(first, replay.rows_written)
    fed(whole, steps[50:])

    restored = learner(seed=9, augmentation=AUGMENTED)
    restored.load_state_dict(state)
    if replay is not None:
        restored.replay.import_rows(first, rows)
    fed(restored, steps[50:])
    assert torch.equal(weights(restored), weights(whole))
    assert not torch.equal(state["augmentation"], whole.augmenter.state())
    del state["augmentation"]  # as in checkpoints from before there was any
    learner().load_state_dict(state)


@pytest.mark.parametrize(("learner", "fed"), LEARNERS)
def test_the_share_of_what_was_learnt_is_measured(learner: Any, fed: Any) -> None:
    algorithm = learner()
    algorithm.augmenter.put_first(kept, 0.5)
    measured = fed(algorithm, random_steps(60, FRAMES))
    assert all(0.3 < metrics["augmented_share"] <= 0.5 for metrics in measured)
    assert "augmented_share" not in fed(learner(), random_steps(60, FRAMES))[0]


@pytest.mark.parametrize("config", [R2D2Config, PQNConfig])
def test_augmentations_that_change_actions_are_refused(config: Any) -> None:
    with pytest.raises(ValueError, match="'flip' changes what actions do: name symmetries"):
        config(augmentation=("flip",))
    with pytest.raises(ValueError, match="called 'shfit'; did you mean shift"):
        config(augmentation=("shfit:4",))


@pytest.mark.parametrize("learner", [r2d2, pqn, recurrent_pqn])
def test_augmentations_that_do_not_fit_observations_are_refused(learner: Any) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        learner(FLAT, augmentation=("shift:4",))
    with pytest.raises(ValueError, match="only bytes have shades"):
        learner(FLAT, augmentation=("brightness:4",))
    algorithm = learner(FLAT, augmentation=("noise:0.1",))
    steps = random_steps(60)
    (feed if isinstance(algorithm, R2D2) else feed_in_turns)(algorithm, steps)
    assert algorithm.updates > 5
