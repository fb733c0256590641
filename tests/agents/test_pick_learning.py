"""The picking agent learns where small worlds pay, how often, and what that does to later tries."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from rlkit_agents.pick import Pick, PickConfig
from rlkit_agents.pick_policy import PickNetworkConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step

NUM_ENVS = 8


class Bins(Protocol):
    """NUM_ENVS worlds of pictures, whose episodes are cut short together."""

    side: int

    def look(self) -> np.ndarray:
        """(NUM_ENVS, 2, side, side) float32."""
        ...

    def step(self, actions: np.ndarray) -> np.ndarray:
        """(NUM_ENVS,) bool, whether the attempts were successes."""
        ...


def trained(bins: Bins, attempts: int, **changes: Any) -> Pick:
    """The agent after so many attempts, in episodes of 10."""
    settings: dict[str, Any] = dict(
        network=PickNetworkConfig(channels=(8, 8, 8), members=3, height_scale_mm=5.0),
        window=bins.side,
        epsilon=LinearSchedule(1.0, 0.3, attempts),
        learning_starts=100,
        replay_capacity=attempts + 100,
        batch_size=32,
        samples_per_step=16,
        learning_rate=4e-3,
        learning_rate_end=3e-4,
        learning_rate_steps=attempts,
        precision="float32",
    )
    exploration, replay, initialisation = np.random.SeedSequence(0).spawn(3)
    agent = Pick(
        PickConfig(**(settings | changes)),
        Box(0, 1e3, (2, bins.side, bins.side), np.float32),
        Discrete(bins.side**2),
        NUM_ENVS,
        exploration_seed=exploration,
        replay_seed=replay,
        initialisation_seed=initialisation,
    )
    never, always = np.zeros(NUM_ENVS, bool), np.ones(NUM_ENVS, bool)
    none = np.zeros(NUM_ENVS, np.float32)
    seen = bins.look()
    for step in range(attempts // NUM_ENVS):
        actions = agent.act(seen)
        agent.update()
        if step % 11 == 10:  # starts afresh
            seen = bins.look()
            agent.observe(Step(seen, none, never, never, never))
            continue
        success = bins.step(actions).astype(np.float32)
        seen = bins.look()
        agent.observe(Step(seen, success, never, always if step % 11 == 9 else never, always))
    return agent


class Shapes:
    """A disc and a square in each picture, as high as each other; discs come out far more often."""

    side = 12
    chance_of_disc, chance_of_square = 0.85, 0.25

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.kinds = np.zeros((NUM_ENVS, 12, 12), int)

    def look(self) -> np.ndarray:
        rows, columns = np.indices((5, 5)) - 2
        disc, square = rows**2 + columns**2 <= 4, rows**2 < 9
        self.kinds[:] = 0
        for kinds in self.kinds:
            left = self.random.permutation([0, 6]) + self.random.integers(0, 2, 2)
            top = self.random.integers(0, 8, 2)
            for kind, shape in enumerate((disc, square)):
                kinds[top[kind] : top[kind] + 5, left[kind] : left[kind] + 5][shape] = 1 + kind
        heights = 25.0 * (self.kinds > 0)
        return np.stack([heights, np.zeros_like(heights)], 1).astype(np.float32)

    def step(self, actions: np.ndarray) -> np.ndarray:
        kinds = self.kinds.reshape(NUM_ENVS, -1)[np.arange(NUM_ENVS), actions]
        chances = np.array([0.0, self.chance_of_disc, self.chance_of_square])[kinds]
        return self.random.random(NUM_ENVS) < chances


@pytest.fixture(scope="module")
def shape_picker() -> Pick:
    return trained(Shapes(), 2_000)


def test_what_comes_out_is_picked(shape_picker: Pick):
    bins = Shapes(seed=1)
    kinds = []
    for _ in range(50):
        seen = bins.look()
        actions, _ = shape_picker.policy.predict(seen, deterministic=True)
        kinds.append(bins.kinds.reshape(NUM_ENVS, -1)[np.arange(NUM_ENVS), actions])
    assert (np.array(kinds) == 1).mean() > 0.97  # of parts, a third of the pixels


def test_chances_are_the_shares_of_successes_though_failures_are_drawn_more_often(
    shape_picker: Pick,
):
    bins = Shapes(seed=1)
    chances: dict[int, list[np.ndarray]] = {1: [], 2: []}
    for _ in range(20):
        with torch.no_grad():
            seen = shape_picker.policy(torch.from_numpy(bins.look())).numpy()
        for kind, found in chances.items():
            found.append(seen[bins.kinds.reshape(NUM_ENVS, -1) == kind])
    # If a failure weighed as much as it is drawn, it would be 0.65 and 0.1.
    assert np.concatenate(chances[1]).mean() == pytest.approx(0.85, abs=0.09)
    assert np.concatenate(chances[2]).mean() == pytest.approx(0.25, abs=0.09)


class Lid:
    """Low ground, where the left at times pays, and the right never does but raises the ground.

    On raised ground everything pays, until the episode ends.
    """

    side = 8

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.raised = np.zeros(NUM_ENVS, bool)
        self.looks = 0

    def look(self) -> np.ndarray:
        if self.looks % 11 == 0:
            self.raised[:] = self.random.random(NUM_ENVS) < 0.2
        self.looks += 1
        return self.pictures(self.raised)

    @staticmethod
    def pictures(raised: np.ndarray) -> np.ndarray:
        pictures = np.zeros((len(raised), 2, 8, 8), np.float32)
        pictures[:, 0, :, :4], pictures[:, 0, :, 4:] = 10.0, 20.0
        pictures[raised, 0] = 50.0
        return pictures

    def step(self, actions: np.ndarray) -> np.ndarray:
        right = actions % 8 >= 4
        success = self.raised | (~right & (self.random.random(NUM_ENVS) < 0.4))
        self.raised |= right
        return success


@pytest.mark.parametrize("discount", [0.0, 0.8])
def test_a_discount_makes_it_work_for_later(discount: float):
    # By hand, in units of a success for ever: raised ground is worth 1, the right half of low
    # ground 0.8 * 1, and the left 0.2 * 0.4 + 0.8 * 0.8.
    left, right = (0.4, 0.0) if discount == 0.0 else (0.72, 0.8)
    agent = trained(Lid(), 1_500, discount=discount, target_update_every=25)
    low_and_raised = Lid.pictures(np.array([False, True]))
    with torch.no_grad():
        low, raised = agent.policy.outlook_map(torch.from_numpy(low_and_raised))[:, 0, 2:6]
    found = [float(each.mean()) for each in (low[:, 1:3], low[:, 5:7], raised)]
    print(found)
    assert found == pytest.approx([left, right, 1.0], abs=0.07)
    (action,) = agent.policy.predict(low_and_raised[:1], deterministic=True)[0]
    assert (action % 8 >= 4) == (discount > 0)
