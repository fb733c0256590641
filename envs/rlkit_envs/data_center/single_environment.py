"""`rlkit/DataCenterCooling-v0` for one agent: a batch of one without the axis of environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.environment import DataCenterEnvs, EnvironmentState


class DataCenterEnv(gymnasium.Env):
    """One site: a view of `DataCenterEnvs` with one copy.

    Arguments, spaces, rewards, ends and `info` are those of `DataCenterEnvs`, without the axis of
    environments; so are the episodes of a seed.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium reads it from the class)

    def __init__(
        self,
        *,
        config: DataCenterConfig | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """As `DataCenterEnvs`."""
        self.envs = DataCenterEnvs(1, config=config, render_mode=render_mode, **settings)
        self.render_mode = render_mode
        self.observation_space = self.envs.single_observation_space
        self.action_space = self.envs.single_action_space
        self.metadata = {
            "render_modes": [],
            "episode_counts": self.envs.metadata["episode_counts"],
        }
        self._over = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a new episode; there are no options."""
        super().reset(seed=seed)
        if options:
            raise ValueError(f"there are no reset options here, got {options!r}")
        observations, info = self.envs.reset(seed=seed)
        self._over = False
        return observations[0], _of_one(info)

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Run the site for five minutes. Raises ResetNeeded after the end of an episode."""
        if self._over:
            raise ResetNeeded("the episode is over: call reset()")
        observations, rewards, terminated, truncated, info = self.envs.step(
            np.asarray(action)[None]
        )
        self._over = bool(truncated[0])
        return (
            observations[0],
            float(rewards[0]),
            bool(terminated[0]),
            self._over,
            _of_one(info),
        )

    def state(self) -> EnvironmentState:
        """As `DataCenterEnvs.state`."""
        return self.envs.state()

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """As `DataCenterEnvs.set_state`; the observation is (sensors,)."""
        observation = self.envs.set_state(state)[0]
        self._over = bool(state["ended"][0])
        return observation


def _of_one(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _of_one(value) if isinstance(value, dict) else value.item()
        for name, value in info.items()
    }
