"""Pictures made of codes and marks, and an agent that picks by them."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from rlkit_agents.building import build_policy
from rlkit_agents.coded_pictures import (
    CodedPictureConfig,
    CodedPictures,
    MapDecoder,
    map_channels,
    map_shape,
)
from rlkit_agents.pick import Pick, PickConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.step import Step

from .streams import seeds

SIDE = 16
CONFIG = CodedPictureConfig(shape=(1, SIDE, SIDE), latents=8, halvings=3)
CODES = Box(0, 255, (CONFIG.bytes,), np.uint8)
ACTIONS = Discrete(SIDE * SIDE)
SMALL = PickNetworkConfig(channels=(3, 4, 5), members=2)


def coded(seed: int = 0) -> CodedPictures:
    """With a decoder and an average of its own for each seed, which shows heights up to 60 mm."""
    torch.manual_seed(seed)
    pictures = CodedPictures(CONFIG)
    pictures.average.copy_(torch.rand(CONFIG.shape))
    pictures.scale.fill_(30.0)
    pictures.mean.fill_(20.0)
    return pictures


def seen(count: int, seed: int = 0, marked: float = 0.0) -> np.ndarray:
    """(count, bytes) of random codes, with that share of pixels marked."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (count, CONFIG.latents), np.uint8)
    marks = np.packbits(random.random((count, SIDE * SIDE)) < marked, axis=1)
    return np.concatenate((codes, marks), 1)


def pick(seed: int = 0, **changes: Any) -> Pick:
    fields: dict[str, Any] = {"learning_starts": 4, "replay_capacity": 64, "batch_size": 4}
    config = PickConfig(network=SMALL, window=SIDE, precision="float32", **(fields | changes))
    return Pick(
        config,
        CODES,
        ACTIONS,
        2,
        **seeds(seed),
        coded=coded(),
    )


def attempt(learner: Pick, step: int) -> None:
    """One attempt in each of two bins; every third fails."""
    learner.act(seen(2, step, marked=0.1))
    never = np.zeros(2, bool)
    rewards = np.array([step % 3 > 0, step % 3 == 0], np.float32)
    learner.update()
    learner.observe(Step(seen(2, step + 1, marked=0.1), rewards, never, never, ~never))


def test_a_picture_is_decoded_as_its_parts_say() -> None:
    pictures = coded()
    pictures.least.copy_(torch.linspace(-1, 1, CONFIG.latents))
    pictures.most.copy_(torch.linspace(2, 3, CONFIG.latents))
    observations = seen(3, marked=0.5)
    with torch.no_grad():
        made = pictures(torch.from_numpy(observations)).numpy()
        low, high = pictures.least.numpy(), pictures.most.numpy()
        codes = low + observations[:, : CONFIG.latents] / 255.0 * (high - low)
        told = pictures.decoder(torch.from_numpy(codes.astype(np.float32))).numpy()
    heights = (told + pictures.average.numpy()) * 30.0 + 20.0
    assert made.shape == (3, *CONFIG.picture_shape)
    np.testing.assert_allclose(made[:, :1], heights, rtol=1e-4, atol=1e-4)
    marks = np.unpackbits(observations[:, CONFIG.latents :], axis=1).reshape(3, SIDE, SIDE)
    np.testing.assert_array_equal(made[:, 1], marks)
    assert 0.4 < marks.mean() < 0.6


def test_marks_need_no_whole_bytes() -> None:
    config = CodedPictureConfig(shape=(1, 2, 6), latents=3, halvings=1)
    assert config.bytes == 3 + 2  # 12 pixels
    marks = np.zeros((1, 2, 6), np.uint8)
    marks[0, 0, 1] = marks[0, 1, 5] = 1
    observations = np.concatenate((np.zeros((1, 3), np.uint8), np.packbits(marks).reshape(1, 2)), 1)
    made = CodedPictures(config)(torch.from_numpy(observations))
    np.testing.assert_array_equal(made[:, 1].numpy(), marks)


def test_codes_are_maps_of_their_pictures() -> None:
    assert map_shape((1, 64, 32), 128, 3) == (4, 8, 4)
    assert map_channels(5) == [16, 32, 64, 64, 64]
    for shape, halvings in (((2, 8, 12), 1), ((1, 16, 16), 4)):
        latents = 3 * (shape[1] >> halvings) * (shape[2] >> halvings)
        decoder = MapDecoder(shape, latents, halvings)
        assert decoder(torch.zeros(2, latents)).shape == (2, *shape)


def test_a_number_of_a_map_tells_of_what_is_around_its_place() -> None:
    torch.manual_seed(0)
    decoder = MapDecoder((1, 64, 64), 2 * 64, 3).double()
    codes = torch.randn(1, 2 * 64, dtype=torch.float64)
    other = codes.clone()
    other.view(1, 2, 8, 8)[0, 1, 0, 0] += 1.0  # the place of the first 8x8 pixels
    with torch.no_grad():
        changed = (decoder(codes) != decoder(other))[0, 0]
    assert changed[:8, :8].all()
    # Two 3x3 convolutions reach 2 places of 8 pixels; each doubling reaches one place of its own.
    assert not changed[32:].any()
    assert not changed[:, 32:].any()


@pytest.mark.parametrize(
    ("shape", "latents", "halvings", "complaint"),
    [
        ((64,), 8, 1, "pictures alone"),
        ((1, 20, 20), 25, 3, "halved 3 times"),
        ((1, 16, 16), 10, 3, "evenly among 2x2"),
        ((1, 16, 16), 2, 3, "evenly among 2x2"),
    ],
)
def test_what_gives_no_map_is_refused(
    shape: tuple[int, ...], latents: int, halvings: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        map_shape(shape, latents, halvings)


def test_a_policy_of_codes_decides_as_one_that_sees_the_pictures() -> None:
    torch.manual_seed(1)
    of_codes = PickPolicy(CODES, ACTIONS, SMALL, coded=coded(), precision="float32").eval()
    space = Box(-np.inf, np.inf, CONFIG.picture_shape, np.float32)
    of_pictures = PickPolicy(space, ACTIONS, SMALL, precision="float32").eval()
    of_pictures.network.load_state_dict(of_codes.network.state_dict())
    observations = torch.from_numpy(seen(5, marked=0.3))
    with torch.no_grad():
        pictures = of_codes.pictures(observations)
        assert torch.equal(of_codes(observations), of_pictures(pictures))
        assert torch.equal(of_codes.q_values(observations), of_pictures.q_values(pictures))
        assert torch.equal(of_codes.act(observations)[0], of_pictures.act(pictures)[0])
        expected = of_pictures.outlook_map(pictures)
        assert torch.equal(of_codes.outlook_map(observations), expected)
        torch.manual_seed(3)
        chosen, _ = of_codes.sample(observations)
        torch.manual_seed(3)
        assert torch.equal(of_pictures.sample(pictures)[0], chosen)


def test_a_policy_of_codes_is_rebuilt_from_its_description_with_its_decoder() -> None:
    policy = PickPolicy(CODES, ACTIONS, SMALL, coded=coded(2), precision="float32").eval()
    described = json.loads(json.dumps(policy.architecture))
    rebuilt = build_policy(described, CODES, ACTIONS)
    rebuilt.load_state_dict(policy.state_dict())
    observations = torch.from_numpy(seen(3))
    assert isinstance(rebuilt, PickPolicy)
    with torch.no_grad():
        assert torch.equal(rebuilt(observations), policy(observations))


def test_other_codes_are_refused() -> None:
    for space in (
        Box(0, 255, (CONFIG.bytes - 1,), np.uint8),
        Box(-1, 1, (CONFIG.bytes,), np.float32),
    ):
        with pytest.raises(ValueError, match=f"are \\({CONFIG.bytes},\\) bytes"):
            PickPolicy(space, ACTIONS, SMALL, coded=coded())


def test_the_replay_holds_codes_and_the_decoder_stays_as_it_is() -> None:
    learner = pick()
    for step in range(10):
        attempt(learner, step)
    assert learner.updates > 3
    rows = learner.replay.export_rows(0, 10)
    assert rows["frames"].dtype == np.uint8
    np.testing.assert_array_equal(rows["frames"][4], seen(2, 4, marked=0.1))
    assert learner.attempts is not None
    assert learner.attempts.pictures.shape == (2, *CONFIG.picture_shape)
    before = coded().state_dict()
    for policy in (learner.policy, learner.evaluated_policy, learner.target):
        assert policy.coded is not None
        for name, tensor in policy.coded.state_dict().items():
            assert torch.equal(tensor, before[name]), name


def test_random_attempts_are_on_decoded_parts_and_off_marks() -> None:
    learner = pick(learning_starts=1_000, explored_mm=(25.0, 60.0))
    pictures = coded()
    tried = 0
    for step in range(20):
        observations = seen(2, step, marked=0.5)
        actions = learner.act(observations)
        with torch.no_grad():
            heights, marks = pictures(torch.from_numpy(observations)).flatten(2).unbind(1)
        for env, action in enumerate(actions):
            worth = (heights[env] > 25) & (heights[env] < 60) & (marks[env] == 0)
            assert worth[action] or not worth.any()
            tried += bool(worth.any())
    assert tried > 30


def test_a_restored_learner_of_codes_goes_on_bit_for_bit() -> None:
    whole, restored = pick(), pick(seed=9)
    for step in range(6):
        attempt(whole, step)
    restored.load_state_dict(copy.deepcopy(whole.state_dict()))
    restored.replay.import_rows(0, whole.replay.export_rows(0, whole.replay.rows_written))
    for learner in (whole, restored):
        for step in range(6, 12):
            attempt(learner, step)
    expected = whole.policy.state_dict()
    assert whole.updates == restored.updates > 6
    for name, tensor in restored.policy.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
