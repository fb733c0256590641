"""Atari games seen as the bits of the console's memory, in place of frames.

The Atari 2600 has 128 bytes of RAM, in which a game keeps all that it goes by: places, scores,
clocks. ale-py's `AtariVectorEnv` does not tell them, so this steps single emulators, and starts,
seeds and ends each of them as that does: from equal seeds, equal actions lead to equal games.
Rules that are the same for frames and for bits are left to `atari`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import ale_py
import gymnasium
import numpy as np
from ale_py import roms
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rlkit_envs.atari import AtariProtocol

RAM_BYTES = 128
"""Memory of the console."""
RAM_BITS = 8 * RAM_BYTES
"""Columns of an observation."""
_LARGEST_SEED = 2**31 - 1
"""That ale-py takes."""


def ram_bits(ram: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Bytes (..., 128) as bits (..., 1024): bit b of byte n, worth 2**b, is column 8 * n + b."""
    # Networks scale uint8 as pixels; int8 reaches them as 0.0 and 1.0.
    return np.unpackbits(ram, axis=-1, bitorder="little").view(np.int8)


class RamEmulators:
    """`num_envs` emulators of one game, with the part of `AtariVectorEnv` that `AtariEnvs` uses.

    Observations: (num_envs, 1024) int8 of 0 and 1 as `ram_bits` orders them, read at the end of a
    step; with a frame_stack of k above 1 the last k, (num_envs, k, 1024), oldest first, and zeros
    before the first of an episode. Rewards are not clipped. NEXT_STEP autoreset.

    They step one after another: ale-py holds Python's lock while an emulator runs, so threads would
    gain nothing.
    """

    def __init__(self, protocol: AtariProtocol, num_envs: int) -> None:
        """Load the game; nothing runs before `reset`."""
        # Without this, ale-py prints a banner for every emulator.
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._protocol = protocol
        self._rom = str(roms.get_rom_path(protocol.game))
        self._emulators = [ale_py.ALEInterface() for _ in range(num_envs)]
        self._noops = [np.random.Generator(np.random.MT19937()) for _ in range(num_envs)]
        for emulator in self._emulators:
            emulator.setFloat("repeat_action_probability", protocol.sticky_actions)
        first = self._emulators[0]
        first.loadROM(self._rom)  # the others' take time, and load with their seeds
        full = protocol.full_action_space
        self.action_set = first.getLegalActionSet() if full else first.getMinimalActionSet()
        stack = () if protocol.frame_stack == 1 else (protocol.frame_stack,)
        self.single_observation_space = Box(0, 1, (*stack, RAM_BITS), np.int8)

        self._ram = np.zeros((num_envs, protocol.frame_stack, RAM_BYTES), np.uint8)
        self._seeded = False
        self._frames = [0] * num_envs  # of the episode, after the no-ops
        self._rewards = np.zeros(num_envs, np.int32)
        self._terminated = np.zeros(num_envs, np.bool_)
        self._truncated = np.zeros(num_envs, np.bool_)
        self._actions: NDArray[np.integer] = np.zeros(num_envs, np.int64)

    def reset(
        self, *, seed: Iterable[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int8], dict[str, Any]]:
        """Start new episodes everywhere, or where `options["reset_mask"]` (num_envs,) is True.

        seed: (num_envs,) integers from 0 to 2**31 - 1, or None to go on with the random numbers.
        """
        if seed is None and not self._seeded:
            # By itself, ale-py would seed all of them with the time in whole seconds.
            seed = np.random.default_rng().integers(_LARGEST_SEED, size=len(self._emulators))
        if seed is not None:
            self._seed(seed)
        mask = (options or {}).get("reset_mask", np.ones(len(self._emulators), bool))
        for env in np.flatnonzero(mask).tolist():
            self._reset(env)
        return self._observations(), self._info()

    def send(self, actions: NDArray[np.integer]) -> None:
        """Take note of what each emulator is to do, (num_envs,) places in the action set."""
        self._actions = actions

    def recv(
        self,
    ) -> tuple[
        NDArray[np.int8], NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Do what was sent: observations, rewards, terminated, truncated, info."""
        ended = self._terminated | self._truncated
        for env, action in enumerate(self._actions.tolist()):
            if ended[env]:
                self._reset(env)
            else:
                self._step(env, action)
        return (
            self._observations(),
            self._rewards.copy(),
            self._terminated.copy(),
            self._truncated.copy(),
            self._info(),
        )

    def screen(self, env: int) -> NDArray[np.uint8]:
        """The picture that an emulator shows, (height, width, 3) in RGB."""
        return self._emulators[env].getScreenRGB()

    def _seed(self, seeds: Iterable[int]) -> None:
        for env, seed in enumerate(map(int, seeds)):
            self._emulators[env].setInt("random_seed", seed)
            self._emulators[env].loadROM(self._rom)  # which alone heeds the seed
            # The generator of C++'s std::mt19937. Its standard leaves open how a range is drawn
            # from it; GCC's library, with which ale-py is built for Linux, does it as NumPy does.
            state = np.random.RandomState(seed).get_state(legacy=False)
            self._noops[env].bit_generator.state = state
        self._seeded = True

    def _reset(self, env: int) -> None:
        emulator = self._emulators[env]
        emulator.reset_game()
        for _ in range(self._noops[env].integers(self._protocol.max_noops + 1, dtype=np.uint32)):
            emulator.act(ale_py.Action.NOOP)
            if emulator.game_over():
                emulator.reset_game()
        self._frames[env] = 0
        self._rewards[env] = 0
        self._terminated[env] = self._truncated[env] = False
        self._ram[env] = 0
        emulator.getRAM(self._ram[env, -1])

    def _step(self, env: int, action: int) -> None:
        emulator, joystick = self._emulators[env], self.action_set[action]
        frames, most = self._frames[env], self._protocol.max_frames
        stop = min(frames + self._protocol.frame_skip, most)
        reward, terminated = 0, False
        while frames < stop and not terminated:
            reward += emulator.act(joystick)
            terminated = emulator.game_over()
            frames += 1
        self._frames[env] = frames
        self._rewards[env] = reward
        self._terminated[env] = terminated
        self._truncated[env] = frames >= most and not terminated
        self._ram[env, :-1] = self._ram[env, 1:]
        emulator.getRAM(self._ram[env, -1])

    def _observations(self) -> NDArray[np.int8]:
        shape = (len(self._emulators), *self.single_observation_space.shape)
        return ram_bits(self._ram).reshape(shape)

    def _info(self) -> dict[str, Any]:
        emulators = self._emulators
        return {
            "env_id": np.arange(len(emulators), dtype=np.int32),
            "lives": np.array([each.lives() for each in emulators], np.int32),
            "frame_number": np.array([each.getFrameNumber() for each in emulators], np.int32),
            "episode_frame_number": np.array(
                [each.getEpisodeFrameNumber() for each in emulators], np.int32
            ),
        }


class RamGame(gymnasium.Env):
    """A single game whose memory is observed; `render()` gives the screen (210, 160, 3) uint8, RGB.

    A seed plays the same episode as in a batch of one of `AtariEnvs`. Rewards are not clipped.
    """

    def __init__(self, protocol: AtariProtocol) -> None:
        self._emulators = RamEmulators(protocol, 1)
        self.observation_space = self._emulators.single_observation_space
        self.action_space = Discrete(len(self._emulators.action_set))
        self.render_mode = "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"]}

    def get_action_meanings(self) -> list[str]:
        """Names of the actions, such as UPFIRE."""
        return [action.name for action in self._emulators.action_set]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int8], dict[str, Any]]:
        super().reset(seed=seed)
        words = None if seed is None else np.random.SeedSequence(seed).generate_state(1)
        observations, info = self._emulators.reset(
            seed=None if words is None else words & _LARGEST_SEED
        )
        return observations[0], _of_one(info)

    def step(self, action: int) -> tuple[NDArray[np.int8], float, bool, bool, dict[str, Any]]:
        self._emulators.send(np.array([action]))
        observations, rewards, terminated, truncated, info = self._emulators.recv()
        ends = bool(terminated[0]), bool(truncated[0])
        return observations[0], float(rewards[0]), *ends, _of_one(info)

    def render(self) -> NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._emulators.screen(0)


def _of_one(info: dict[str, Any]) -> dict[str, Any]:
    return {name: int(values[0]) for name, values in info.items()}
