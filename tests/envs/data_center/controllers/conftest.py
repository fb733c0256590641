"""What tests of controllers share: a batch of sites, run by a controller."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.environment import DataCenterEnvs


class Course(NamedTuple):
    """A run; arrays (steps, rows)."""

    actions: dict
    """What the plant was told, by actuator."""
    quantities: dict
    """True values after each step, by name."""
    counts: dict
    """Of the episode at its end, (rows,)."""


@pytest.fixture
def course() -> Callable[..., Course]:
    """Runs a controller from a reset on, by its own set points."""

    def run(controller, envs: DataCenterEnvs, steps: int, seed: int = 0) -> Course:
        observations, _ = envs.reset(seed=seed)
        controller.reset(np.ones(envs.num_envs, bool))
        infos = []
        for _ in range(steps):
            observed = Observed(observations, envs.readings(observations))
            actions = envs.actions.from_plant(controller.act(observed))
            observations, _, _, _, info = envs.step(actions)
            infos.append(info)
        actions, quantities = (
            {name: np.stack([info[kind][name] for info in infos]) for name in infos[0][kind]}
            for kind in ("actions", "quantities")
        )
        return Course(actions, quantities, infos[-1]["episode_counts"])

    return run
