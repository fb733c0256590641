"""What a picking policy sees, how its ensemble decides, and how far its network reaches."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from torch import Tensor

from rlkit_agents.building import build_policy
from rlkit_agents.pick_policy import PickNetwork, PickNetworkConfig, PickPolicy
from rlkit_agents.turns import WAYS, turned

HEIGHT, WIDTH = 8, 12
PIXELS = HEIGHT * WIDTH
PICTURES = Box(0, 1e3, (3, HEIGHT, WIDTH), np.float32)
SMALL = PickNetworkConfig(channels=(3, 4, 5), members=4)


def picker(stances: int = 1, seed: int = 0, **changes: Any) -> PickPolicy:
    torch.manual_seed(seed)
    network = PickNetworkConfig(**({"channels": (3, 4, 5), "members": 4} | changes))
    return PickPolicy(PICTURES, Discrete(stances * PIXELS), network, precision="float32").eval()


def pictures(count: int, seed: int = 0) -> Tensor:
    """(count, 3, HEIGHT, WIDTH): heights up to 60 mm, a colour, and no marks."""
    random = torch.Generator().manual_seed(seed)
    drawn = torch.rand((count, 3, HEIGHT, WIDTH), generator=random)
    drawn[:, 0] *= 60
    drawn[:, 2] = 0
    return drawn


def with_logits(policy: PickPolicy, logits: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network give every picture the same `logits` (members, stances, height, width)."""
    monkeypatch.setattr(policy, "logits", lambda seen: logits.expand(len(seen), *logits.shape))


# What it sees


def test_a_chance_for_every_pixel_and_stance_in_the_order_of_actions():
    policy = picker(stances=3)
    seen = pictures(2)
    with torch.no_grad():
        logits = policy.logits(seen[:, :-1])
        assert logits.shape == (2, 4, 3, HEIGHT, WIDTH)
        chances = policy(seen)
        by_hand = (1 / (1 + np.exp(-logits.double().numpy()))).mean(1)
        np.testing.assert_allclose(chances, by_hand.reshape(2, -1), rtol=1e-5)
        outlook = policy.outlook_map(seen)
    assert outlook.shape == (2, 3, HEIGHT, WIDTH)
    assert torch.equal(outlook[1, 2, 5, 7], chances[1, 2 * PIXELS + 5 * WIDTH + 7])


def test_the_network_sees_heights_in_its_scale_and_other_channels_as_they_are():
    seen, twice_as_high = pictures(2), pictures(2)
    twice_as_high[:, 0] *= 2
    fine, coarse = picker(height_scale_mm=20.0), picker(height_scale_mm=40.0)
    with torch.no_grad():
        expected = fine(seen)
        torch.testing.assert_close(coarse(twice_as_high), expected)
        assert not torch.allclose(coarse(seen), expected)
        unlike = seen.clone()
        unlike[:, 1] *= 2
        assert not torch.allclose(fine(unlike), expected)


def test_marks_do_not_change_chances():
    policy = picker()
    seen, marked = pictures(2), pictures(2)
    marked[:, -1] = (torch.rand(2, HEIGHT, WIDTH) < 0.5).float()
    with torch.no_grad():
        assert torch.equal(policy(marked), policy(seen))
        expected = policy(seen) - marked[:, -1].flatten(1)
        assert torch.equal(policy.q_values(marked), expected)


def test_every_chance_begins_near_a_half_and_members_begin_apart():
    policy = PickPolicy(PICTURES, Discrete(PIXELS), PickNetworkConfig(), precision="float32")
    with torch.no_grad():
        chances = torch.sigmoid(policy.logits(pictures(8)[:, :-1]))
    assert ((chances > 0.2) & (chances < 0.8)).all()
    assert (chances.std(1) > 1e-4).all()
    weights = sum(weight.numel() for weight in policy.parameters())
    assert 100_000 < weights < 140_000


def test_members_share_everything_but_the_last_layer():
    policy = picker()
    seen = pictures(1)[:, :-1]
    with torch.no_grad():
        before = policy.logits(seen)
        policy.network.head.weight[2] += 1
        after = policy.logits(seen)
        policy.network.full_up[0].bias += 1  # pyright: ignore[reportOperatorIssue]
        last = policy.logits(seen)
    assert [torch.equal(before[:, i], after[:, i]) for i in range(4)] == [True, True, False, True]
    assert not any(torch.equal(after[:, i], last[:, i]) for i in range(4))


def test_logits_are_float32_though_convolutions_are_not():
    torch.manual_seed(0)
    policy = PickPolicy(PICTURES, Discrete(PIXELS), SMALL, precision="bfloat16")
    exact = picker()
    seen = pictures(2)
    with torch.no_grad():
        assert policy.logits(seen[:, :-1]).dtype == torch.float32
        torch.testing.assert_close(policy(seen), exact(seen), atol=0.03, rtol=0)
        assert not torch.equal(policy(seen), exact(seen))


@pytest.mark.parametrize(
    ("side", "low", "high"), [(48, 20, 28), (48, 0, 48), (48, 0, 3), (48, 45, 48), (16, 3, 13)]
)
def test_logits_at_a_pixel_and_their_gradients_are_those_of_whole_maps(
    side: int, low: int, high: int
):
    torch.manual_seed(side + low)
    network = PickNetwork(1, 2, SMALL).double()
    seen = 60 * torch.rand(12, 1, side, side, dtype=torch.float64)
    places = torch.randint(low, high, (12, 2))
    whole = network(seen)[torch.arange(12), :, :, places[:, 0], places[:, 1]]
    some = network.at(seen, places)
    assert some.shape == (12, 4, 2)
    torch.testing.assert_close(some, whole, rtol=1e-12, atol=1e-12)
    weights = tuple(network.parameters())
    expected = torch.autograd.grad(whole.square().sum(), weights)
    for gradient, reference in zip(
        torch.autograd.grad(some.square().sum(), weights), expected, strict=True
    ):
        torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-12)


def reached(row: int, column: int) -> tuple[range, range]:
    """The rows and columns of a 64 by 64 picture that a pixel's chance depends on."""
    torch.manual_seed(0)
    network = PickNetwork(1, 1, PickNetworkConfig(channels=(2, 2, 2), members=1)).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.rand_like(weight) + 0.1)  # positive, so that no unit is off
    heights = torch.rand(24, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    network(heights)[..., row, column].sum().backward()
    assert heights.grad is not None
    seen = (heights.grad != 0).any(0)[0]  # pooling hands on one of four, another in each picture
    rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
    return (
        range(int(rows[0]) - row, int(rows[-1]) - row + 1),
        range(int(columns[0]) - column, int(columns[-1]) - column + 1),
    )


def test_the_network_reaches_up_to_23_pixels():
    # By hand, from the output down, for the first of four pixels that are pooled into one: two
    # convolutions -2..2, in halves -1..1, two convolutions -3..3, in quarters -2..1, two
    # convolutions -4..3, in halves -8..7, two convolutions -10..9, in pixels -20..19, two
    # convolutions -22..21. The second: -1..3 pixels are the same halves.
    first, second = range(-22, 22), range(-23, 21)
    assert reached(32, 33) == (first, second)
    third, fourth = (range(1 - each.stop, 1 - each.start) for each in (second, first))  # mirrored
    assert reached(34, 35) == (third, fourth)
    assert max(abs(i) for each in (first, second, third, fourth) for i in each) == 23


# How it decides


def test_the_ensemble_decides_by_its_mean_and_explores_by_one_member(
    monkeypatch: pytest.MonkeyPatch,
):
    policy = picker(members=2)
    logits = torch.full((2, 1, HEIGHT, WIDTH), -9.0)
    logits[0, 0, 1, 2], logits[1, 0, 6, 11] = 4.0, 4.0  # each member's favourite: 0.49 on average
    logits[:, 0, 3, 3] = 1.0  # 0.73, no member's favourite
    with_logits(policy, logits, monkeypatch)
    seen = pictures(400)
    assert set(policy.act(seen)[0].tolist()) == {3 * WIDTH + 3}
    explored, state = policy.act(seen, deterministic=False)
    assert state is None
    favourites = [1 * WIDTH + 2, 6 * WIDTH + 11]
    assert set(explored.tolist()) == set(favourites)
    # Drawn for every picture: four standard deviations are 0.1.
    assert float((explored == favourites[0]).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert explored.dtype == torch.int64


def test_all_expect_what_the_deterministic_policy_goes_by():
    policy = picker(stances=2)
    seen = pictures(5)
    with torch.no_grad():
        actions, expected = policy.sample(seen)
        assert torch.equal(expected, policy(seen))
    assert actions.shape == (5,)


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_likeliest_pick_is_found_by_stance_row_and_column(
    monkeypatch: pytest.MonkeyPatch, deterministic: bool
):
    policy = picker(stances=3)
    logits = torch.zeros(4, 3, HEIGHT, WIDTH)
    logits[:, 2, 5, 7] = 1.0
    with_logits(policy, logits, monkeypatch)
    actions, _ = policy.act(pictures(2), deterministic=deterministic)
    assert actions.tolist() == [2 * PIXELS + 5 * WIDTH + 7] * 2


@pytest.mark.parametrize("deterministic", [True, False])
def test_no_marked_pixel_is_picked_in_any_stance_unless_all_are(
    monkeypatch: pytest.MonkeyPatch, deterministic: bool
):
    policy = picker(stances=2)
    logits = torch.randn(4, 2, HEIGHT, WIDTH) * 3 + 4
    logits[:, :, 2, 4] = -8.0  # the only one without a mark has next to no chance
    logits[:, 1, 2, 4] = -7.0
    logits[:, 1, 7, 1] = 15.0
    with_logits(policy, logits, monkeypatch)
    seen = pictures(30)
    seen[:, -1] = 1.0
    assert set(policy.act(seen, None, deterministic)[0].tolist()) == {PIXELS + 7 * WIDTH + 1}
    seen[:, -1, 2, 4] = 0.0
    assert set(policy.act(seen, None, deterministic)[0].tolist()) == {PIXELS + 2 * WIDTH + 4}


def test_one_picture_or_many_by_numpy():
    policy = picker()
    seen = pictures(3).numpy()
    many, state = policy.predict(seen, deterministic=True)
    assert state is None
    assert [int(policy.predict(each, deterministic=True)[0]) for each in seen] == many.tolist()


# Turns and mirrors

SQUARE = Box(0, 1e3, (2, WIDTH, WIDTH), np.float32)


def symmetric_picker() -> PickPolicy:
    torch.manual_seed(0)
    actions = Discrete(WIDTH * WIDTH)
    return PickPolicy(SQUARE, actions, SMALL, symmetric=True, precision="float32").eval()


def test_chances_turn_with_the_picture():
    policy = symmetric_picker()
    seen = pictures(2)[:, [0, 2], :, :WIDTH]
    seen = torch.cat([seen, seen[:, :, :4].flip(-1)], 2)  # square
    with torch.no_grad():
        chances = policy.outlook_map(seen)
        members = torch.sigmoid(policy.logits(seen[:, :-1])).mean(1)
        assert not torch.allclose(chances, members, atol=1e-5)
        for way in range(WAYS):
            around = policy.outlook_map(turned(seen, way))
            torch.testing.assert_close(around, turned(chances, way))
            if way:
                one = torch.sigmoid(policy.logits(turned(seen, way)[:, :-1])).mean(1)
                assert not torch.allclose(one, turned(members, way), atol=1e-5)


def test_marks_are_where_they_are_however_a_picture_is_turned():
    policy = symmetric_picker()
    seen = torch.zeros(1, 2, WIDTH, WIDTH)
    seen[0, 1, 2, 5] = 1.0
    with torch.no_grad():
        below = (policy.q_values(seen) < 0).nonzero()
    assert below.tolist() == [[0, 2 * WIDTH + 5]]


def test_who_explores_sees_a_picture_in_one_way(monkeypatch: pytest.MonkeyPatch):
    policy = symmetric_picker()
    sizes = []
    network = policy.logits
    monkeypatch.setattr(policy, "logits", lambda seen: sizes.append(len(seen)) or network(seen))
    seen = torch.zeros(3, 2, WIDTH, WIDTH)
    with torch.no_grad():
        policy.act(seen, deterministic=False)
        policy.act(seen, deterministic=True)
    assert sizes == [3, 3 * WAYS]


@pytest.mark.parametrize(("shape", "stances"), [((3, 8, 8), 1), ((2, 8, 12), 1), ((2, 8, 8), 2)])
def test_what_looks_otherwise_when_turned_is_not_turned(shape: tuple[int, ...], stances: int):
    space = Box(0, 1e3, shape, np.float32)
    actions = Discrete(stances * shape[1] * shape[2])
    policy = PickPolicy(space, actions, SMALL, symmetric=True, precision="float32").eval()
    assert not policy.symmetric
    seen = torch.rand(2, *shape)
    with torch.no_grad():
        expected = torch.sigmoid(policy.logits(seen[:, :-1])).mean(1)
        torch.testing.assert_close(policy(seen), expected.flatten(1))


# Building


def test_a_symmetric_policy_is_rebuilt_as_one():
    policy = symmetric_picker()
    described = json.loads(json.dumps(policy.architecture))
    rebuilt = build_policy(described, SQUARE, policy.action_space)
    assert isinstance(rebuilt, PickPolicy)
    assert rebuilt.symmetric
    del described["symmetric"], described["discount"]
    older = build_policy(described, SQUARE, policy.action_space)
    assert isinstance(older, PickPolicy)
    assert (older.symmetric, older.discount) == (False, 0.0)


def test_a_picking_policy_is_rebuilt_from_its_description():
    policy = picker(stances=2, height_scale_mm=25.0)
    described = json.loads(json.dumps(policy.architecture))
    rebuilt = build_policy(described, PICTURES, Discrete(2 * PIXELS))
    assert isinstance(rebuilt, PickPolicy)
    assert rebuilt.architecture == policy.architecture
    assert rebuilt.network_config == policy.network_config
    seen = pictures(3)
    with torch.no_grad():
        assert not torch.equal(rebuilt(seen), policy(seen))
        rebuilt.load_state_dict(policy.state_dict())
        assert torch.equal(rebuilt(seen), policy(seen))


@pytest.mark.parametrize("missing", ["network", "precision"])
def test_a_description_without_a_part_is_refused(missing: str):
    described = {name: part for name, part in picker().architecture.items() if name != missing}
    with pytest.raises(ValueError, match=f"incomplete description of a PickPolicy: '{missing}'"):
        build_policy(described, PICTURES, Discrete(PIXELS))


@pytest.mark.parametrize(
    ("space", "actions", "complaint"),
    [
        (Box(0, 1, (8, 8), np.float32), Discrete(64), r"channels, height, width.*got \(8, 8\)"),
        (Box(0, 1, (1, 8, 8), np.float32), Discrete(64), "at least 2 channels"),
        (Box(0, 1, (2, 10, 8), np.float32), Discrete(80), "multiples of 4; got"),
        (Box(0, 1, (2, 8, 10), np.float32), Discrete(80), "multiples of 4; got"),
        (Box(0, 255, (2, 8, 8), np.uint8), Discrete(64), "float32 observations, got uint8"),
        (Box(0, 1, (2, 8, 8), np.float32), Discrete(65), r"multiple of 64 actions, got Disc.*65"),
        (Box(0, 1, (2, 8, 8), np.float32), MultiDiscrete([8, 8]), "a Discrete action space"),
        (Discrete(3), Discrete(64), r"got \(\)"),
    ],
)
def test_other_spaces_are_refused(space: Space, actions: Space, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        PickPolicy(space, actions, SMALL)


def test_a_recurrent_state_is_refused():
    with pytest.raises(ValueError, match="this policy has no memory"):
        picker().act(pictures(1), (torch.zeros(1, 3),))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"channels": (4, 8)}, r"three positive numbers, got \(4, 8\)"),
        ({"channels": (4, 0, 8)}, "three positive numbers"),
        ({"members": 0}, "at least one member, got 0"),
        ({"height_scale_mm": 0.0}, "height_scale_mm must be above 0, got 0.0"),
        ({"height_scale_mm": float("nan")}, "height_scale_mm must be above 0, got nan"),
    ],
)
def test_networks_that_make_no_sense_are_refused(changes: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        PickNetworkConfig(**changes)
