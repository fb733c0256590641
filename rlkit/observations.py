"""Observations to learn from and to judge on: recorded play, by random actions and by policies."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.environments import Environment, environment_id, for_evaluation
from rlkit.policies import find_policy, load_policy
from rlkit.reasons import DAMAGED_ARCHIVE, reason_of
from rlkit.recording import record
from rlkit.whole_files import whole_file
from rlkit_envs.atari import AtariProtocol


class ObservationsFileError(ValueError):
    """A file of observations that cannot be used. The message is one line and starts with the
    path."""


OTHER_EPISODES = 1_000_000
"""Added to the seed of play for episodes that nobody learns from: neighbours in an episode are
alike, so observations of the same ones tell little of how well others are known."""


@dataclass(frozen=True)
class PlayConfig:
    """Who plays, and how much of it is kept."""

    count: int = 30_000
    """Observations."""
    policies: tuple[str, ...] = ()
    """Who plays, each an equal share: recipes, for the policies that ship with them, folders of
    runs, or policy files."""
    random: bool = True
    """Whether random actions play an equal share beside the policies."""
    epsilon: float = 0.1
    """Share of random actions in a policy's play."""
    every: int = 4
    """Steps between two observations that are kept of an environment, as neighbours are alike."""
    channels: tuple[int, ...] = ()
    """Which channels of pictures are kept, counted from 0, such as heights without marks; by
    default all."""
    as_trained: bool = False
    """Play in the world as agents learn in it, such as bins of all tiers; else under the protocol
    of evaluations."""
    size: int | None = None
    """Height and width of Atari frames, 84 for the usual ones; None is the environment's own."""
    seed: int = 0
    """Of environments, actions and order."""

    def __post_init__(self) -> None:
        if not self.random and not self.policies:
            raise ValueError("nobody plays: name policies, or let random actions play")
        if self.count < len(self.policies) + self.random:
            raise ValueError(f"count must be at least 1 for each player, got {self.count}")
        if not 0.0 <= self.epsilon <= 1.0:
            raise ValueError(f"epsilon must be in [0, 1], got {self.epsilon}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        if self.channels and min(self.channels) < 0:
            raise ValueError(f"channels are counted from 0, got {self.channels}")


def single_frames(environment: Environment, size: int | None = None) -> Environment:
    """An Atari game seen frame by frame, `size` pixels high and wide; other worlds as they are.

    Raises ValueError for a size of what has no frames.
    """
    if not isinstance(environment, AtariProtocol):
        if size is not None:
            raise ValueError("size is for Atari frames alone")
        return environment
    height, width = (environment.height, environment.width) if size is None else (size, size)
    return replace(environment, frame_stack=1, height=height, width=width)


def gather(environment: Environment, config: PlayConfig) -> NDArray[Any]:
    """Observations (count, *shape) of `environment` in a random order, of all players alike.

    A policy that sees the world otherwise plays all the same: both are played beside each other.
    Raises ValueError for a policy that is not there or plays another world, and for channels that
    observations do not have.
    """
    players: list[str | None] = [*[None] * config.random, *config.policies]
    shares = np.array_split(np.arange(config.count), len(players))
    seen: list[NDArray[Any]] = []
    for number, (player, share) in enumerate(zip(players, shares, strict=True)):
        seed = config.seed + number
        kept, every = len(share), config.every
        if player is None:
            played = record(
                None, environment, kept, seed=seed, every=every, as_trained=config.as_trained
            )
        else:
            loaded = load_policy(find_policy(player))
            if environment_id(loaded.environment) != environment_id(environment):
                raise ValueError(f"{player} plays another world than {environment_id(environment)}")
            if config.as_trained:
                alike = loaded.environment == environment
            else:
                alike = for_evaluation(loaded.environment) == for_evaluation(environment)
            played = record(
                loaded.policy.cpu(),
                loaded.environment,
                kept,
                seed=seed,
                epsilon=config.epsilon,
                every=every,
                state_parts=0,
                seen_as=None if alike else environment,
                as_trained=config.as_trained,
            )
        seen.append(_channels(played.observations, config.channels))
    order = np.random.default_rng(config.seed).permutation(config.count)
    return np.concatenate(seen)[order]


def _channels(observations: NDArray[Any], channels: tuple[int, ...]) -> NDArray[Any]:
    if not channels:
        return observations
    if observations.ndim != 4 or max(channels) >= observations.shape[1]:
        raise ValueError(f"observations of shape {observations.shape[1:]} have no {channels}")
    return observations[:, list(channels)]


def write_array(path: str | os.PathLike[str], name: str, array: NDArray[Any]) -> None:
    """Write an array by its name as a NumPy archive (.npz), compressed.

    Raises OSError where the file cannot be written.
    """
    with whole_file(Path(path)) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **{name: array})  # pyright: ignore[reportArgumentType]


def array_names(path: str | os.PathLike[str]) -> list[str]:
    """What arrays a NumPy archive holds; none where it cannot be read, which reading one tells."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return []


def read_real_rows(
    path: str | os.PathLike[str], name: str, *, or_only: bool = False
) -> NDArray[Any]:
    """As `read_array`, without the rows that an array `synthetic` (count,) marks as generated.

    Nothing is to learn from those, or be judged by them, as if they were real.
    Raises ObservationsFileError also where all are marked, or there is not a mark for each.
    """
    rows = read_array(path, name, or_only=or_only)
    if "synthetic" not in array_names(path):
        return rows
    marks = read_array(path, "synthetic")
    if marks.shape != rows.shape[:1] or marks.dtype != bool:
        raise ObservationsFileError(f"{path}: {len(rows)} rows need a mark of bool each")
    if len(rows) and marks.all():
        raise ObservationsFileError(
            f"{path}: all of its {len(rows)} rows were generated, which are not learnt from by "
            "themselves"
        )
    return rows[~marks]


def read_array(path: str | os.PathLike[str], name: str, *, or_only: bool = False) -> NDArray[Any]:
    """The array of that name in a NumPy archive, without pickles.

    or_only: take one of another name where there is no more than that.
    Raises ObservationsFileError where the file cannot be read, or has no such array.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            only = or_only and len(archive.files) == 1
            return np.asarray(archive[archive.files[0] if only else name])
    except OSError as error:
        raise ObservationsFileError(f"{path}: cannot be read: {reason_of(error)}") from error
    except DAMAGED_ARCHIVE as error:
        raise ObservationsFileError(
            f'{path}: no NumPy archive (.npz) with an array "{name}"'
        ) from error
