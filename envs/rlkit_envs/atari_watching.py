"""One Atari game with its colour picture beside the observations that agents see.

`AtariEnvs` hands out processed frames only, so this builds the same protocol from Gymnasium's
wrappers, whose frames equal those of `AtariEnvs`. It is slower and for a single game: for videos.
Games whose memory is observed come from `atari_ram`.
"""

from __future__ import annotations

from typing import Any

import ale_py
import gymnasium
import numpy as np
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from rlkit_envs.atari import EPISODE_COUNTS, AtariProtocol
from rlkit_envs.atari_flicker import Flicker
from rlkit_envs.atari_ram import RamGame


class WatchableAtari(gymnasium.Wrapper):
    """A single game under `protocol`; `render()` gives the screen (210, 160, 3) uint8 in RGB.

    Spaces, observations, rewards and ends are those of one of `AtariEnvs`, but not its random
    numbers: a seed plays another episode here. After a step, `info["episode_counts"]` maps each
    name of `metadata["episode_counts"]` to the running count of the episode.
    `action_meanings` names the actions, such as UPFIRE. Frames that flicker are blank in the
    observations only: the picture shows the game.
    """

    def __init__(self, protocol: AtariProtocol) -> None:
        env = (_seen_by_frames if protocol.observation == "frames" else RamGame)(protocol)
        super().__init__(env)
        self.action_meanings: list[str] = env.unwrapped.get_action_meanings()  # pyright: ignore[reportAttributeAccessIssue]
        self.protocol = protocol
        counts = EPISODE_COUNTS.get(protocol.game)
        self._counts = counts(1) if counts else None
        flickers = protocol.flicker > 0
        self._flicker = Flicker(protocol.flicker, 1, protocol.frame_stack) if flickers else None
        self.metadata = {
            **env.metadata,
            "episode_counts": dict(counts.UNITS) if counts else {},
            # The emulator draws 60 frames a second.
            "render_fps": 60 / protocol.frame_skip,
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if self._counts is not None:
            self._counts.clear(np.ones(1, bool))
        observation, info = super().reset(seed=seed, options=options)
        if self._flicker is not None and seed is not None:
            # As ale-py seeds its emulator, so that equal games flicker alike.
            self._flicker.seed([np.random.SeedSequence(seed).generate_state(2)[1]])
        return self._seen(observation), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(int(action))
        points = float(reward)
        info["episode_counts"] = {}
        if self._counts is not None:
            counts = self._counts.add(np.array([points], np.float32), np.array([terminated]))
            info["episode_counts"] = {name: float(values[0]) for name, values in counts.items()}
        reward = float(np.sign(points)) if self.protocol.clip_rewards else points
        observation = self._seen(observation)
        return observation, reward, bool(terminated), bool(truncated), info

    def _seen(self, observation: np.ndarray) -> np.ndarray:
        """What is seen of an observation (frame_stack, ...) that has moved on by a frame."""
        if self._flicker is None:
            return observation
        batch = observation[None].copy()
        self._flicker.blank(batch)
        return batch[0]


def _seen_by_frames(protocol: AtariProtocol) -> gymnasium.Env:
    # Without this, ale-py prints a banner for every emulator.
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    env = gymnasium.make(
        protocol.environment_id,
        frameskip=1,
        obs_type="grayscale" if protocol.grayscale else "rgb",
        repeat_action_probability=protocol.sticky_actions,
        max_num_frames_per_episode=protocol.max_frames,
        full_action_space=protocol.full_action_space,
        render_mode="rgb_array",
    )
    env = AtariPreprocessing(
        env,
        noop_max=protocol.max_noops,
        frame_skip=protocol.frame_skip,
        screen_size=(protocol.width, protocol.height),
        grayscale_obs=protocol.grayscale,
    )
    return FrameStackObservation(env, protocol.frame_stack, padding_type="zero")
