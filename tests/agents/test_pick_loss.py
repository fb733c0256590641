"""What a batch of attempts teaches the picking agent: windows, the loss, and targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from rlkit_agents.algorithm import NonFiniteGradientError
from rlkit_agents.pick import Pick, PickConfig
from rlkit_agents.pick_policy import PickNetworkConfig
from rlkit_agents.replay import Batch
from rlkit_agents.turns import turned

from .streams import NUM_ENVS, gradients, seeds, weights

SIDE = 12
PIXELS = SIDE * SIDE
SMALL = PickNetworkConfig(channels=(3, 4, 4), members=3)


def config(**changes: Any) -> PickConfig:
    settings: dict[str, Any] = dict(
        network=SMALL,
        window=8,
        replay_capacity=400,
        batch_size=16,
        samples_per_step=2,
        learning_starts=40,
        learning_rate=1e-2,
        learning_rate_end=None,
        weight_decay=0.0,
        precision="float32",
    )
    return PickConfig(**(settings | changes))


def learner(settings: PickConfig, seed: int = 0, stances: int = 1, side: int = SIDE) -> Pick:
    return Pick(
        settings,
        Box(0, 1e3, (2, side, side), np.float32),
        Discrete(stances * side**2),
        NUM_ENVS,
        **seeds(seed),
    )


def random_pictures(random: np.random.Generator, count: int = NUM_ENVS) -> np.ndarray:
    """(count, 2, SIDE, SIDE), heights of 0 to 100 mm, a tenth of the pixels marked."""
    marks = random.random((count, SIDE, SIDE)) < 0.1
    return np.stack([100 * random.random((count, SIDE, SIDE)), marks], 1).astype(np.float32)


def a_batch(size: int = 16, stances: int = 1, **changes: Any) -> Batch:
    """Attempts at random pixels of random pictures."""
    random = np.random.default_rng(5)
    parts: dict[str, Any] = dict(
        observations=random_pictures(random, size),
        actions=random.integers(0, stances * PIXELS, size),
        returns=random.integers(0, 2, size).astype(np.float32),
        bootstrap_discounts=np.zeros(size, np.float32),
        next_observations=random_pictures(random, size),
        weights=random.choice([1 / 3, 1], size).astype(np.float32),
        indices=random.integers(0, 400, size),
    )
    return Batch(**(parts | changes))


# Windows


@pytest.mark.parametrize("symmetric", [True, False])
def test_windows_lie_around_the_tried_pixels(symmetric: bool):
    algorithm = learner(config(symmetric=symmetric, window=8))
    actions = torch.arange(PIXELS)
    pictures = torch.randn(1, 1, SIDE, SIDE).expand(PIXELS, 1, SIDE, SIDE)
    with_ground = torch.nn.functional.pad(pictures[0, 0], (8, 8, 8, 8))
    all_ways = []
    for update in range(8):
        algorithm.updates = update
        windows, at = algorithm._windows(pictures, actions)
        assert windows.shape == (PIXELS, 1, 8, 8)
        rows = torch.arange(PIXELS)
        assert torch.equal(windows[rows, 0, at[:, 0], at[:, 1]], pictures[0, 0].flatten())
        ways = []
        for action in range(PIXELS):
            # Windows begin where the network pools the picture: at multiples of 4.
            top, left = action // SIDE // 4 * 4 + 8 - 4, action % SIDE // 4 * 4 + 8 - 4
            cut = with_ground[top : top + 8, left : left + 8]
            ways.append([torch.equal(windows[action, 0], turned(cut, way)) for way in range(8)])
        assert (torch.tensor(ways).sum(1) == 1).all()
        all_ways.append(torch.tensor(ways))
    seen = torch.stack(all_ways).sum(0)  # of each pixel's window, over eight updates
    if symmetric:
        assert (seen == 1).all()
    else:
        assert (seen[:, 0] == 8).all()


def test_a_tool_that_leans_is_not_turned():
    algorithm = learner(config(symmetric=True), stances=2)
    pictures = torch.randn(16, 1, SIDE, SIDE)
    algorithm.updates = 3
    windows, at = algorithm._windows(pictures, torch.full((16,), PIXELS + 6 * SIDE + 5))
    assert torch.equal(windows, pictures[:, :, 0:8, 0:8])
    assert (at == torch.tensor([6, 5])).all()


def test_a_window_of_48_shows_all_that_a_pixel_s_chance_depends_on():
    # A window of 40 cuts a few pixels, which shows but little.
    apart = {}
    pictures = 50 * torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    for window in (48, 40, 24):
        algorithm = learner(config(window=window, symmetric=False), side=64)
        actions = torch.tensor([25 * 64 + 38, 32 * 64 + 31, 39 * 64 + 26])
        windows, at = algorithm._windows(pictures, actions)
        each = torch.arange(3)
        with torch.no_grad():
            whole = algorithm.policy.logits(pictures).flatten(2)[each, :, actions]
            part = algorithm.policy.logits(windows)[each, :, 0, at[:, 0], at[:, 1]]
        apart[window] = float((whole - part).abs().max())
    assert apart[48] < 1e-5
    assert 1e-5 < apart[40] < apart[24]


# The loss


def bce(chances: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return -(targets * np.log(chances) + (1 - targets) * np.log1p(-chances))


@pytest.mark.parametrize("stances", [1, 3])
def test_the_loss_touches_only_the_tried_pixel(monkeypatch: pytest.MonkeyPatch, stances: int):
    algorithm = learner(config(symmetric=False, bootstrap_share=1.0), stances=stances)
    kept: list[Tensor] = []
    network = algorithm.policy.logits_at

    def logits_at(windows: Tensor, places: Tensor) -> Tensor:
        kept.extend((places, network(windows, places)))
        kept[-1].retain_grad()
        return kept[-1]

    monkeypatch.setattr(algorithm.policy, "logits_at", logits_at)
    batch = a_batch(stances=stances)
    algorithm._learn(batch)
    places, touched = kept
    assert touched.grad is not None
    for attempt, action in enumerate(batch.actions):
        row, column = divmod(int(action) % PIXELS, SIDE)
        assert places[attempt].tolist() == [4 + row % 4, 4 + column % 4]
        tried = torch.zeros(3, stances, dtype=torch.bool)
        tried[:, action // PIXELS] = True
        assert torch.equal(touched.grad[attempt] != 0, tried)


@pytest.mark.parametrize("stances", [1, 3])
def test_the_loss_is_the_weighted_cross_entropy_of_those_members_that_learn(stances: int):
    algorithm = learner(config(symmetric=False, weight_decay=0.0), stances=stances)
    batch = a_batch(stances=stances)
    shares = batch.weights[:, None] * algorithm._shared_out(batch.indices)
    assert (shares == 0).any()
    with torch.no_grad():
        windows, at = algorithm._windows(
            torch.from_numpy(batch.observations[:, :1]), torch.from_numpy(batch.actions)
        )
        logits = algorithm.policy.logits(windows).double().numpy()
    of_tried = logits[np.arange(16), :, batch.actions // PIXELS, *at.T.numpy()]
    chances = 1 / (1 + np.exp(-of_tried))
    metrics = {name: float(value) for name, value in algorithm._learn(batch).items()}
    losses = bce(chances, batch.returns[:, None])
    assert metrics["loss"] == pytest.approx((shares * losses).sum() / shares.sum(), rel=1e-5)
    mean, weight = chances.mean(1), batch.weights / batch.weights.sum()
    assert metrics["chance_mean"] == pytest.approx((weight * mean).sum(), rel=1e-5)
    brier = (weight * (mean - batch.returns) ** 2).sum()
    assert metrics["brier"] == pytest.approx(brier, rel=1e-5)
    assert metrics["disagreement"] == pytest.approx(chances.std(1, ddof=1).mean(), rel=1e-4)


def test_a_member_learns_nothing_from_attempts_that_are_not_its_own():
    algorithm = learner(config(bootstrap_share=0.5, weight_decay=0.0))
    shared = algorithm._shared_out(np.arange(400))
    alone = np.flatnonzero((shared == [1, 0, 0]).all(1))[:16]
    before = algorithm.policy.network.head.weight.detach().clone()
    algorithm._learn(a_batch(indices=alone))
    after = algorithm.policy.network.head.weight.detach()
    assert [torch.equal(before[i], after[i]) for i in range(3)] == [False, True, True]


def test_a_batch_that_no_member_learns_from_does_no_harm():
    algorithm = learner(config(bootstrap_share=0.2, weight_decay=0.0, batch_size=1))
    nobody_s = np.flatnonzero(algorithm._shared_out(np.arange(100)).sum(1) == 0)[:1]
    before = weights(algorithm)
    assert float(algorithm._learn(a_batch(1, indices=nobody_s))["loss"]) == 0.0
    assert torch.equal(weights(algorithm), before)


def test_attempts_are_shared_out_for_good_and_to_each_member_by_itself():
    algorithm = learner(config(bootstrap_share=0.7))
    indices = np.arange(10**6, 10**6 + 40_000)
    shared = algorithm._shared_out(indices)
    assert shared.dtype == np.float32
    assert set(np.unique(shared)) == {0.0, 1.0}
    # Standard deviations: 0.0023 of a share, 0.005 of a correlation.
    assert shared.mean(0) == pytest.approx(np.full(3, 0.7), abs=0.01)
    between = np.corrcoef(shared, rowvar=False)
    assert between[np.triu_indices(3, 1)] == pytest.approx(np.zeros(3), abs=0.02)
    for member in shared.T:  # nor does one attempt say anything of the next, to any member
        for other in shared.T:
            assert np.corrcoef(member[1:], other[:-1])[0, 1] == pytest.approx(0, abs=0.02)
    again = learner(config(bootstrap_share=0.7), seed=8)._shared_out(indices[::-1])
    np.testing.assert_array_equal(again[::-1], shared)
    assert learner(config(bootstrap_share=1.0))._shared_out(indices[:500]).all()


def test_weights_shrink_where_they_decay():
    plain, shrunk = learner(config()), learner(config(weight_decay=0.02))
    for algorithm in (plain, shrunk):
        for _ in range(50):
            algorithm._learn(a_batch())
    assert weights(shrunk).norm() < 0.7 * weights(plain).norm()


@pytest.mark.parametrize("limit", [1e-3, float("inf")])
def test_gradients_are_clipped_to_their_norm_over_all_weights(limit: float):
    algorithm = learner(config(max_gradient_norm=limit))
    measured = algorithm._learn(a_batch())
    assert measured["gradient_norm"] > 0.01  # as it was before
    expected = min(limit, float(measured["gradient_norm"]))
    assert float(gradients(algorithm).norm()) == pytest.approx(expected, rel=1e-3)


# What attempts do to those later


def with_values(algorithm: Pick, best: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the target network's chances be 0.1, but for one `best` pixel in each picture."""
    logits = torch.full((len(best), 3, 1, SIDE, SIDE), float(np.log(0.1 / 0.9)))
    logits[:, :, 0, 2, 3] = torch.logit(torch.tensor(best))[:, None]
    monkeypatch.setattr(algorithm.target, "logits", lambda seen: logits)


def test_targets_count_success_now_and_the_best_of_the_next_picture(
    monkeypatch: pytest.MonkeyPatch,
):
    algorithm = learner(config(discount=0.6))
    following = np.zeros((6, 2, SIDE, SIDE), np.float32)
    following[3, 1, 2, 3] = 1.0  # its best pixel is marked
    following[4, 1] = 1.0  # all pixels are
    best = [0.8, 0.8, 0.8, 0.8, 0.8, 0.5]
    with_values(algorithm, best, monkeypatch)
    batch = a_batch(
        6,
        returns=np.array([1, 0, 1, 0, 1, 1], np.float32),
        bootstrap_discounts=np.array([0.6, 0.6, 0, 0.6, 0.6, 0.6], np.float32),
        next_observations=following,
    )
    # 0.4 * success + 0.6 * best: nothing after a termination, the next best where marked
    expected = [0.4 + 0.48, 0.48, 0.4, 0.06, 0.4, 0.4 + 0.3]
    assert algorithm._targets(batch).tolist() == pytest.approx(expected)


def test_targets_are_the_rewards_of_a_bandit():
    batch = a_batch(bootstrap_discounts=np.full(16, 0.6, np.float32))
    assert learner(config())._targets(batch).tolist() == batch.returns.tolist()


@pytest.mark.parametrize("discount", [0.0, 0.5])
def test_the_target_network_is_copied_on_time_where_there_is_a_discount(discount: float):
    algorithm = learner(config(discount=discount, target_update_every=5))
    expected = weights(algorithm)
    for update in range(1, 13):
        algorithm._learn(a_batch())
        if discount and update % 5 == 0:
            expected = weights(algorithm)
        target = torch.cat([weight.flatten() for weight in algorithm.target.parameters()])
        assert torch.equal(target, expected)
    assert not torch.equal(weights(algorithm), expected)


def test_a_loss_that_is_not_finite_stops_learning_before_the_weights_change():
    algorithm = learner(config())
    algorithm._learn(a_batch())
    with torch.no_grad():
        algorithm.policy.network.get_parameter("head.bias")[1] = float("nan")
    before, updates = weights(algorithm).nan_to_num(-7), algorithm.updates
    with pytest.raises(NonFiniteGradientError, match=r"in the weights of head.bias \(loss nan\)"):
        algorithm._learn(a_batch())
    assert torch.equal(weights(algorithm).nan_to_num(-7), before)
    assert algorithm.updates == updates
