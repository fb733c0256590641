"""Bin picking for one agent and one bin, with pictures of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.environment import EPISODE_COUNTS, BinPickingEnvs
from rlkit_envs.bin_picking.episode import OUTCOMES
from rlkit_envs.bin_picking.filming import PICTURES_PER_SECOND, Film

if TYPE_CHECKING:
    from rlkit_envs.bin_picking.drawing import Picture
    from rlkit_envs.bin_picking.environment import BinState


class BinPickingEnv(gymnasium.Env):
    """One bin: a view of `BinPickingEnvs` with one copy.

    Arguments, spaces, rewards, ends and `info` are those of `BinPickingEnvs`, without the axis of
    environments; so are the episodes of a seed.

    `render()` shows the bin, its height map and how the episode stands; `pictures_of_last_step()`
    how the last attempt went. Rays of the physics engine draw them: there is no need of a display,
    OpenGL or any graphics library.
    """

    metadata = {  # noqa: RUF012 (Gymnasium reads it from the class)
        "render_modes": ["rgb_array"],
        "render_fps": 2,  # a picture an attempt
        "pictures_per_second": PICTURES_PER_SECOND,
        "seconds_per_step": 6.0,  # about what the cycle model says
        "episode_counts": dict(EPISODE_COUNTS),
    }

    def __init__(
        self,
        *,
        config: BinPickingConfig | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """render_mode: "rgb_array", or None for no pictures. The rest as `BinPickingEnvs`.

        Raises ValueError also where a bin is to be drawn that lives in a process of its own.
        """
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, not {render_mode!r}")
        self.envs = BinPickingEnvs(1, config=config, **settings)
        self.render_mode = render_mode
        self.observation_space = self.envs.single_observation_space
        self.action_space = self.envs.single_action_space
        self._observation: NDArray[np.float32] | None = None
        self._over = False
        self._film: Film | None = None
        if render_mode is not None:
            bins = self.envs.bins_here
            if bins is None:
                self.envs.close()
                raise ValueError("a bin in a process of its own is not drawn: leave processes at 0")
            self._film = Film(bins.bins[0])
            bins.on_moment = self._film.on_moment

    @property
    def action_grid(self) -> tuple[int, int, int]:
        """Ways in which the tool may stand, rows and columns: actions count through them so."""
        config = self.envs.config
        return 1 + config.leans, config.pixels, config.pixels

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Fill the bin; there are no options."""
        super().reset(seed=seed)
        observations, info = self.envs.reset(seed=seed, options=options)
        self._observation, self._over = observations[0], False
        if self._film is not None:
            self._film.restart()
        return observations[0], info

    def step(
        self, action: int | np.integer
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Attempt a pick. Raises ResetNeeded before a reset and after the end of an episode."""
        if self._over:
            raise ResetNeeded("the episode is over: call reset()")
        if self._film is not None and self._observation is not None:
            self._film.begin(int(action))
        observations, rewards, terminated, truncated, info = self.envs.step(np.array([action]))
        if self._film is not None:
            self._film.end(OUTCOMES[int(info["outcome"][0])])
        self._observation = observations[0]
        self._over = bool(terminated[0] or truncated[0])
        return (
            observations[0],
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            _of_one(info),
        )

    def render(self) -> Picture | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The present as (576, 1000, 3) uint8, RGB; None without a render mode.

        Raises ResetNeeded before the first reset.
        """
        if self._film is None:
            return None
        if self._observation is None:
            raise ResetNeeded("call reset() before render()")
        return self._film.present()

    def pictures_of_last_step(self) -> Iterator[Picture]:
        """How the last attempt went, drawn as one asks for them, in the size of `render`.

        To be shown at `metadata["pictures_per_second"]`. Empty without a render mode, and before
        the first attempt in an episode.
        """
        return iter(()) if self._film is None else self._film.last_attempt()

    def state(self) -> BinState:
        """As `BinPickingEnvs.state`."""
        return self.envs.state()

    def set_state(self, state: BinState) -> NDArray[np.float32]:
        """As `BinPickingEnvs.set_state`; the observation is that of one bin."""
        observation = self.envs.set_state(state)[0]
        self._observation, self._over = observation, bool(state[0]["ended"])
        if self._film is not None:
            self._film.restart()
        return observation

    def close(self) -> None:
        """Let go of the bin."""
        self.envs.close()


def _of_one(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _of_one(value) if isinstance(value, dict) else value.item()
        for name, value in info.items()
    }
