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

from .streams import seeds

NUM_ENVS = 8


class Bins(Protocol):
    """NUM_ENVS worlds of pictures, whose episodes end together."""

    side: int
    episode: int
    """Attempts in one."""
    terminates: bool
    """Whether nothing comes after an episode; else it is cut short."""

    def look(self) -> np.ndarray:
        """(NUM_ENVS, 2, side, side) float32."""
        ...

    def step(self, actions: np.ndarray) -> np.ndarray:
        """(NUM_ENVS,) bool, whether the attempts were successes."""
        ...


def trained(bins: Bins, attempts: int, **changes: Any) -> Pick:
    """The agent after so many attempts."""
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
    agent = Pick(
        PickConfig(**(settings | changes)),
        Box(0, 1e3, (2, bins.side, bins.side), np.float32),
        Discrete(bins.side**2),
        NUM_ENVS,
        **seeds(0),
    )
    never, always = np.zeros(NUM_ENVS, bool), np.ones(NUM_ENVS, bool)
    none = np.zeros(NUM_ENVS, np.float32)
    seen = bins.look()
    for step in range(attempts // NUM_ENVS):
        actions = agent.act(seen)
        agent.update()
        in_episode = step % (bins.episode + 1)
        if in_episode == bins.episode:  # starts afresh
            seen = bins.look()
            agent.observe(Step(seen, none, never, never, never))
            continue
        success = bins.step(actions).astype(np.float32)
        seen = bins.look()
        ends = always if in_episode == bins.episode - 1 else never
        terminated, truncated = (ends, never) if bins.terminates else (never, ends)
        agent.observe(Step(seen, success, terminated, truncated, always))
    return agent


class Shapes:
    """A disc and a square in each picture, as high as each other; discs come out far more often."""

    side = 16
    episode, terminates = 10, False
    chance_of_disc, chance_of_square = 0.85, 0.25

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.kinds = np.zeros((NUM_ENVS, self.side, self.side), int)

    def look(self) -> np.ndarray:
        rows, columns = np.indices((5, 5)) - 2
        disc, square = rows**2 + columns**2 <= 4, np.ones((5, 5), bool)
        self.kinds[:] = 0
        for kinds in self.kinds:
            left = self.random.permutation([0, 8]) + self.random.integers(0, 4, 2)
            top = self.random.integers(0, 12, 2)
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
    assert (np.array(kinds) == 1).mean() > 0.97  # of parts, a fifth of the pixels


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


class Stairs:
    """The upper of two steps pays nothing and leads to the lower one, which pays and ends it."""

    side = 8
    episode, terminates = 2, True

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> np.ndarray:
        self.looks += 1
        return self.picture((self.looks - 1) % 3).repeat(NUM_ENVS, 0)

    @staticmethod
    def picture(steps_taken: int) -> np.ndarray:
        picture = np.zeros((1, 2, 8, 8), np.float32)
        picture[:, 0] = (10.0, 60.0, 0.0)[steps_taken]
        return picture

    def step(self, actions: np.ndarray) -> np.ndarray:
        return np.full(NUM_ENVS, (self.looks - 1) % 3 == 1)


def test_a_discount_makes_an_attempt_worth_what_it_leads_to():
    agent = trained(Stairs(), 1_000, discount=0.5, target_update_every=10)
    pictures = torch.from_numpy(np.concatenate([Stairs.picture(taken) for taken in (0, 1)]))
    with torch.no_grad():
        upper, lower = agent.policy.outlook_map(pictures)[:, 0, 2:6, 2:6].mean((1, 2)).tolist()
    # By hand: the lower step 0.5 * 1, with nothing after it; the upper 0.5 * 0.5.
    assert [upper, lower] == pytest.approx([0.25, 0.5], abs=0.06)
