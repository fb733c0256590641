"""Atari games through ale-py's native `AtariVectorEnv`, behind one frozen `AtariProtocol`.

Games whose memory is observed, not their screen, come from `atari_ram`, by the same protocol.

Preprocessing follows Machado et al. 2018, "Revisiting the Arcade Learning Environment"
(https://jair.org/index.php/jair/article/view/11182), and is done by ale-py in C++; its frames equal
those of Gymnasium's `AtariPreprocessing` + `FrameStackObservation(padding_type="zero")`.
Networks, replay and rendering are left to others.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeAlias, get_args

import gymnasium
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from rlkit_envs.atari_flicker import Flicker
from rlkit_envs.boxing_counts import BoxingCounts

_LARGEST_INT32 = 2**31 - 1
EPISODE_COUNTS = {"boxing": BoxingCounts}

Observation: TypeAlias = Literal["frames", "ram_bits"]
Observations: TypeAlias = NDArray[np.uint8] | NDArray[np.int8]

StepResult: TypeAlias = tuple[
    Observations,
    NDArray[np.float32],
    NDArray[np.bool_],
    NDArray[np.bool_],
    dict[str, Any],
]


@functools.cache
def _environment_ids() -> Mapping[str, str]:
    """Snake-case game -> id under which ale-py registers it, such as boxing -> ALE/Boxing-v5."""
    from ale_py import registration, roms  # importing ale_py registers its environments

    ids = {game: f"ALE/{registration.rom_id_to_name(game)}-v5" for game in roms.get_all_rom_ids()}
    # ale-py also ships games for two players only; they are no environments.
    return {game: id for game, id in ids.items() if id in gymnasium.registry}


def game_name(name: str) -> str:
    """The snake-case name of a game: "ALE/MsPacman-v5", "MsPacman" -> "ms_pacman".

    Raises ValueError, naming the nearest matches, if ale-py has no such environment.
    """

    def letters(text: str) -> str:
        return text.replace("_", "").lower()

    games = {letters(game): game for game in _environment_ids()}
    wanted = letters(re.sub(r"^ALE/|-v5$", "", name))
    if wanted in games:
        return games[wanted]
    plain = re.sub(r"(noframeskip|deterministic)?-v\d+$", "", wanted)
    near = [games[match] for match in difflib.get_close_matches(plain, games, n=3)]
    hint = f"did you mean {', '.join(near)}?" if near else "such names are boxing, pong, breakout"
    raise ValueError(f"unknown Atari game {name!r}: {hint}")


@dataclass(frozen=True)
class AtariProtocol:
    """How an Atari game is played and seen; the defaults are those for evaluation.

    Two protocols with equal fields give comparable scores. `dataclasses.asdict` makes it plain
    JSON and `AtariProtocol(**fields)` brings it back. Raises ValueError for an unknown game and
    for a field out of range, TypeError for one of the wrong type.
    """

    game: str = "boxing"
    """Name as ale-py's ROMs have it, such as ms_pacman. ALE/MsPacman-v5 and MsPacman are taken
    too, and turned into that."""

    _: KW_ONLY

    sticky_actions: float = 0.25
    """Probability, 0 to 1, that the emulator repeats the action before for one more frame, drawn
    each frame (Machado et al. 2018, section 5)."""

    frame_skip: int = 4
    """Emulator frames per step, 1 or more. The action is held; rewards are summed; the observation
    is the pixel-wise maximum of the last two frames (Mnih et al. 2015)."""

    observation: Observation = "frames"
    """What is seen at the end of a step: the screen's "frames", or "ram_bits", the 1,024 bits of
    the console's memory (`atari_ram`), for which height, width and grayscale mean nothing."""

    frame_stack: int = 4
    """Newest frames, or memories, in an observation, 1 or more, oldest first (Mnih et al. 2015)."""

    height: int = 84
    """Height of an observation, pixels; the emulator's own is 210 (Mnih et al. 2015)."""

    width: int = 84
    """Width of an observation, pixels; the emulator's own is 160 (Mnih et al. 2015)."""

    grayscale: bool = True
    """Grey frames (height, width), else colour frames (height, width, 3) in RGB."""

    flicker: float = 0.0
    """Probability, 0 to 1, that a frame is observed as all zeros, drawn once for each new frame;
    0.5 in Hausknecht & Stone 2015. The game goes on as it would without."""

    clip_rewards: bool = False
    """Give only the sign of each step's reward (Mnih et al. 2015). Counts stay unclipped."""

    max_noops: int = 30
    """Most no-op frames at the start of an episode, 0 or more; the number is drawn uniformly
    from 0 to this (Mnih et al. 2015)."""

    max_frames: int = 108_000
    """Emulator frames after the no-ops at which an episode is truncated, 1 or more; 108,000 are
    30 minutes of play (Machado et al. 2018)."""

    full_action_space: bool = True
    """All 18 actions, else only those that the game reacts to (Machado et al. 2018, section 5)."""

    def __post_init__(self) -> None:
        if not isinstance(self.game, str):
            raise TypeError(f"game must be a string, not {self.game!r}")
        object.__setattr__(self, "game", game_name(self.game))
        for name in ("grayscale", "clip_rewards", "full_action_space"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be true or false, not {getattr(self, name)!r}")
        for name, least in (
            ("frame_skip", 1),
            ("frame_stack", 1),
            ("height", 1),
            ("width", 1),
            ("max_noops", 0),
            ("max_frames", 1),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be a whole number, not {value!r}")
            # ale-py holds them as int32, some of them plus one.
            if not least <= value < _LARGEST_INT32:
                raise ValueError(f"{name} must be from {least} to 2**31 - 2, not {value}")
        for name in ("sticky_actions", "flicker"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, not {value!r}")
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, not {value}")
        if self.observation not in get_args(Observation):
            known = " or ".join(get_args(Observation))
            raise ValueError(f"observation must be {known}, not {self.observation!r}")
        if self.observation == "ram_bits" and self.flicker > 0.0:
            raise ValueError(
                f"flicker blanks frames, not ram_bits; it must be 0, not {self.flicker}"
            )

    @property
    def environment_id(self) -> str:
        """The id under which Gymnasium knows the game, such as ALE/Boxing-v5."""
        return _environment_ids()[self.game]


class AtariEnvs(VectorEnv):
    """`num_envs` copies of one game, stepped by ale-py's C++ threads.

    Observations: (num_envs, frame_stack, height, width) uint8, or with colour
    (num_envs, frame_stack, height, width, 3), oldest frame first; the stack axis stays when
    frame_stack is 1. At the start of an episode the frames before the first are all zeros.
    With ram_bits, observations are as `atari_ram.RamEmulators` says, whom no threads help, and all
    else is the same: from equal seeds, equal actions lead to equal rewards and ends.
    Actions: (num_envs,) integers. Rewards: (num_envs,) float32.

    NEXT_STEP autoreset: the step after one that terminated or truncated ignores its action, has
    reward 0, and observes the first frame of a new episode. FIRE is never pressed by itself.
    As in Gymnasium's wrappers, an end in the midst of a step leaves the final observation at the
    newest frames that were seen before it. A frame that `flicker` blanks is blank in every
    stack that holds it; an emulator's seed decides which are, whatever happens in its game.

    `send` starts a step and returns at once; `recv` waits for it. Every array that `reset`, `step`
    and `recv` return is the caller's own: ale-py allocates new ones for each step.

    `info` holds ale-py's `env_id`, `lives`, `frame_number`, `episode_frame_number` and, after a
    step, `unclipped_rewards` (num_envs,) float32 and `episode_counts`: name -> (num_envs,) float64
    of what the game's rules count, meaningful where an episode ended in this step.
    `metadata["episode_counts"]` gives the unit of each; both are empty for most games.
    `metadata["partial_resets"]` says that `reset` takes a mask of environments.
    """

    def __init__(
        self, protocol: AtariProtocol | str, num_envs: int = 1, *, threads: int = 0
    ) -> None:
        """Make the emulators; nothing runs before `reset`.

        protocol: how to play, or just a game's name for the default protocol.
        threads: emulator threads, at most one per core and environment; 0 means that many. They
        are for frames alone.
        Raises ValueError if num_envs or threads is out of range, or for an unknown game.
        """
        if isinstance(protocol, str):
            protocol = AtariProtocol(game=protocol)
        if num_envs < 1:
            raise ValueError(f"num_envs must be 1 or more, not {num_envs}")
        if threads < 0:
            raise ValueError(f"threads must be 0 (one per core) or more, not {threads}")
        self.protocol = protocol
        self.num_envs = num_envs
        self._emulators: Any
        self._emulators, self._num_actions = _emulators(protocol, num_envs, threads)
        self.single_observation_space = self._emulators.single_observation_space
        self.single_action_space = Discrete(self._num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        counts = EPISODE_COUNTS.get(protocol.game)
        self._counts = counts(num_envs) if counts else None
        flickers = protocol.flicker > 0
        self._flicker = (
            Flicker(protocol.flicker, num_envs, protocol.frame_stack) if flickers else None
        )
        self.metadata = {
            "autoreset_mode": AutoresetMode.NEXT_STEP,
            "partial_resets": True,
            "episode_counts": dict(counts.UNITS) if counts else {},
        }
        self._ended: NDArray[np.bool_] | None = None  # by the step before; None until reset
        self._stepping = False  # between send and recv

    def reset(
        self, *, seed: int | ArrayLike | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start a new episode everywhere; a step still under way is dropped.

        seed: an int of 0 or more seeds each emulator differently, through
        `numpy.random.SeedSequence`, so that neighbouring seeds share no emulator; an array
        (num_envs,) of integers from 0 to 2**31 - 1 gives the emulators those seeds as they are;
        None goes on with the random numbers as they are.
        options: `{"reset_mask": mask}` starts new episodes only where mask (num_envs,) bool is
        True, without a seed; the others stay as they are and show their last observation again. An
        environment that has just ended thereby needs no reset step. There are no other options.
        Returns observations and info. Raises ValueError for a seed out of range or shape and for
        options that make no sense, ResetNeeded for a mask before the first reset, RuntimeError for
        one while a step is under way.
        """
        emulators = self._open_emulators()
        if options:
            return self._reset_some(self._reset_mask(options, seed))
        seeds = None if seed is None else self._emulator_seeds(seed)
        if self._stepping:
            self._stepping = False
            emulators.recv()
        observations, info = emulators.reset(seed=seeds)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        if self._counts is not None:
            self._counts.clear(~self._ended)
        if self._flicker is not None:
            if seeds is not None:
                self._flicker.seed(seeds)
            self._flicker.blank(observations)
        return observations, info

    def _reset_some(self, mask: NDArray[np.bool_]) -> tuple[Observations, dict[str, Any]]:
        if self._ended is None:
            raise ResetNeeded("reset all environments before some of them")
        if self._stepping:
            raise RuntimeError("call recv() for the step under way before resetting some")
        observations, info = self._open_emulators().reset(options={"reset_mask": mask})
        self._ended = self._ended & ~mask
        if self._counts is not None:
            self._counts.clear(mask)
        if self._flicker is not None:
            self._flicker.blank(observations, unchanged=~mask)
        return observations, info

    def _reset_mask(self, options: dict[str, Any], seed: Any) -> NDArray[np.bool_]:
        mask = options.get("reset_mask")
        if set(options) != {"reset_mask"} or not isinstance(mask, np.ndarray):
            raise ValueError(f"the only reset option is an array reset_mask, got {options!r}")
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"reset_mask must be bool of shape ({self.num_envs},), somewhere True, not {mask!r}"
            )
        if seed is not None:
            raise ValueError(f"a seed starts all environments; with a reset_mask got seed {seed!r}")
        return mask

    def step(self, actions: NDArray[np.integer]) -> StepResult:
        """`send`, then `recv`."""
        self.send(actions)
        return self.recv()

    def send(self, actions: NDArray[np.integer]) -> None:
        """Start a step everywhere and return without waiting for it.

        actions: (num_envs,) integers from 0 to the number of actions - 1. Raises ValueError if
        they are anything else, ResetNeeded before the first reset, RuntimeError if the step before
        was not received.
        """
        emulators = self._open_emulators()
        if self._ended is None:
            raise ResetNeeded("call reset() before the first step")
        if self._stepping:
            raise RuntimeError("call recv() for the step under way before sending another")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(
                f"actions must be integers of shape ({self.num_envs},), "
                f"not {actions.dtype} of shape {actions.shape}"
            )
        # ale-py would wait for ever on an action that it does not know.
        if actions.min() < 0 or actions.max() >= self._num_actions:
            wrong = actions[(actions < 0) | (actions >= self._num_actions)][0]
            raise ValueError(f"actions must be from 0 to {self._num_actions - 1}, not {wrong}")
        emulators.send(actions.astype(np.int32))
        self._stepping = True

    def recv(self) -> StepResult:
        """Wait for the step under way: observations, rewards, terminated, truncated, info.

        Raises RuntimeError if no step is under way.
        """
        emulators = self._open_emulators()
        if not self._stepping or self._ended is None:
            raise RuntimeError("call send() before recv()")
        self._stepping = False
        observations, int_rewards, terminated, truncated, info = emulators.recv()
        unclipped_rewards = int_rewards.astype(np.float32)
        if self._counts is not None:
            self._counts.clear(self._ended)
            info["episode_counts"] = self._counts.add(unclipped_rewards, terminated)
        else:
            info["episode_counts"] = {}
        info["unclipped_rewards"] = unclipped_rewards
        if self._flicker is not None:
            self._flicker.blank(observations)
        # A copy either way, so that what a caller does to the one never shows in the other.
        rewards = np.sign(unclipped_rewards) if self.protocol.clip_rewards else +unclipped_rewards
        self._ended = terminated | truncated
        return observations, rewards, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the emulators' threads."""
        self._emulators = None

    def _open_emulators(self) -> Any:
        if self._emulators is None:
            raise ClosedEnvironmentError("these environments are closed")
        return self._emulators

    def _emulator_seeds(self, seed: int | ArrayLike) -> NDArray[np.int64]:
        if isinstance(seed, int | np.integer):
            if seed < 0:
                raise ValueError(f"seed must be 0 or more, not {seed}")
            words = np.random.SeedSequence(int(seed)).generate_state(self.num_envs)
            return words.astype(np.int64) & _LARGEST_INT32
        seeds = np.asarray(seed)
        if seeds.shape != (self.num_envs,) or not np.issubdtype(seeds.dtype, np.integer):
            raise ValueError(
                f"seed must be an int or integers of shape ({self.num_envs},), "
                f"not {seeds.dtype} of shape {seeds.shape}"
            )
        if seeds.min() < 0 or seeds.max() > _LARGEST_INT32:
            wrong = seeds[(seeds < 0) | (seeds > _LARGEST_INT32)][0]
            raise ValueError(f"seeds must be from 0 to 2**31 - 1, not {wrong}")
        return seeds.astype(np.int64)


def _emulators(protocol: AtariProtocol, num_envs: int, threads: int) -> tuple[Any, int]:
    """What steps the games, with the interface of ale-py's `AtariVectorEnv`, and their actions."""
    if protocol.observation == "ram_bits":
        from rlkit_envs.atari_ram import RamEmulators

        memories = RamEmulators(protocol, num_envs)
        return memories, len(memories.action_set)
    from ale_py.vector_env import AtariVectorEnv

    screens = AtariVectorEnv(
        protocol.game,
        num_envs,
        num_threads=min(threads, num_envs),
        max_num_frames_per_episode=protocol.max_frames,
        repeat_action_probability=protocol.sticky_actions,
        full_action_space=protocol.full_action_space,
        autoreset_mode=AutoresetMode.NEXT_STEP,
        img_height=protocol.height,
        img_width=protocol.width,
        grayscale=protocol.grayscale,
        stack_num=protocol.frame_stack,
        frameskip=protocol.frame_skip,
        # ale-py draws from 0 to noop_max - 1 no-ops.
        noop_max=protocol.max_noops + 1,
        # Clipped rewards cannot be counted, so clipping is done by `AtariEnvs`.
        reward_clipping=False,
        use_fire_reset=False,
    )
    return screens, len(screens.ale.get_action_set())
