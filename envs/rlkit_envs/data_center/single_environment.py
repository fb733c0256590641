"""`rlkit/DataCenterCooling-v0` for one agent: a batch of one without the axis of environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from rlkit_envs.data_center.actions import ECONOMISER, Actions, DiscreteActions
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.environment import DataCenterEnvs, EnvironmentState
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_YEAR

if TYPE_CHECKING:
    from rlkit_envs.data_center.drawing import EpisodePicture

_SPOKEN: Mapping[str, str] = {
    "supply_air_degc": "supply air",
    "air_flow_ratio": "air flow",
    "chilled_water_degc": "chilled water",
    "tower_fan_ratio": "tower fan",
    ECONOMISER: "economiser",
}
"""Names of actuators where they are shown."""


class DataCenterEnv(gymnasium.Env):
    """One site: a view of `DataCenterEnvs` with one copy.

    Arguments, spaces, rewards, ends and `info` are those of `DataCenterEnvs`, without the axis of
    environments; so are the episodes of a seed. `render()` draws the episode up to now.
    """

    metadata = {  # noqa: RUF012 (Gymnasium reads it from the class)
        "render_modes": ["rgb_array"],
        "render_fps": 48,  # four hours a second
        "seconds_per_step": STEP_S,
    }

    def __init__(
        self,
        *,
        config: DataCenterConfig | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """render_mode: "rgb_array", or None for no pictures. The rest as `DataCenterEnvs`."""
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, not {render_mode!r}")
        self.envs = DataCenterEnvs(1, config=config, **settings)
        self.render_mode = render_mode
        self.observation_space = self.envs.single_observation_space
        self.action_space = self.envs.single_action_space
        self.metadata = {
            **type(self).metadata,
            "episode_counts": self.envs.metadata["episode_counts"],
        }
        self.action_meanings = action_meanings(self.envs.actions)
        """What actions are called where they are shown: see the function of that name."""
        self._over = False
        self._age: int | None = None  # steps of the episode that are done; None until reset
        self._picture: EpisodePicture | None = None
        if render_mode is not None:
            from rlkit_envs.data_center.drawing import EpisodePicture

            self._picture = EpisodePicture(self.envs.design, self.envs.episode_steps)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a new episode; there are no options."""
        super().reset(seed=seed)
        if options:
            raise ValueError(f"there are no reset options here, got {options!r}")
        observations, info = self.envs.reset(seed=seed)
        self._over = False
        info = _of_one(info)
        self._begin_picture(0, info["time_step"], info["weather"], info["load"])
        if self._picture is not None:
            self._picture.add(0, info)
        return observations[0], info

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Run the site for five minutes. Raises ResetNeeded after the end of an episode."""
        if self._over:
            raise ResetNeeded("the episode is over: call reset()")
        observations, rewards, terminated, truncated, info = self.envs.step(
            np.asarray(action)[None]
        )
        self._over = bool(truncated[0])
        info = _of_one(info)
        if self._age is not None:
            self._age += 1
            if self._picture is not None:
                self._picture.add(self._age, info)
        return observations[0], float(rewards[0]), bool(terminated[0]), self._over, info

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The episode up to now, (720, 1280, 3) uint8, RGB; None without a render mode.

        Raises ResetNeeded before the first reset.
        """
        if self._picture is None:
            return None
        if self._age is None:
            raise ResetNeeded("call reset() before render()")
        return self._picture.draw()

    def state(self) -> EnvironmentState:
        """As `DataCenterEnvs.state`."""
        return self.envs.state()

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """As `DataCenterEnvs.set_state`; the observation is (sensors,).

        What came before it is not in a state, and so not in the pictures from here on.
        """
        observation = self.envs.set_state(state)[0]
        self._over = bool(state["ended"][0])
        self._begin_picture(*(int(state[name][0]) for name in ("age", "time", "weather", "load")))
        return observation

    def close(self) -> None:
        """End what the engine runs."""
        self.envs.close()

    def _begin_picture(self, age: int, time: int, weather: int, load: int) -> None:
        self._age = age
        if self._picture is None:
            return
        from rlkit_envs.data_center.sheet import Caption

        place = self.envs.weather_names[weather].split(", like")[0]
        caption = Caption(
            self.envs.design.name.replace("_", " "),
            f"{place}; load {self.envs.load_names[load]}",
            (time - age) % STEPS_PER_YEAR,
            self.envs.config.reward.allowable_degc,
        )
        self._picture.restart(caption, age)


def action_meanings(actions: Actions) -> tuple[str, ...] | tuple[dict[str, str], ...]:
    """What actions are called where they are shown.

    A name for each component of a continuous one; for each discrete one, actuator -> level.
    """
    if not isinstance(actions, DiscreteActions):
        return tuple(_SPOKEN[name] for name in actions.names)
    return tuple(
        {_SPOKEN[name]: _spoken_level(name, level) for name, level in meaning.items()}
        for meaning in actions.meanings
    )


def _spoken_level(name: str, level: float | str) -> str:
    if isinstance(level, str):
        return level
    return f"{level:g} °C" if name.endswith("_degc") else f"{100.0 * level:g} %"


def _of_one(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _of_one(value) if isinstance(value, dict) else value.item()
        for name, value in info.items()
    }
