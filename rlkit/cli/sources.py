"""What companions learn from, as the user names it: handwritten digits, or a world's play."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rlkit.cli.mistakes import blaming_user

if TYPE_CHECKING:
    import numpy as np

    from rlkit.environments import Environment
    from rlkit.observations import PlayConfig

DIGITS = "mnist"
"""Names 5,000 images of handwritten digits (`rlkit.digits`)."""


@dataclass(frozen=True)
class Recorded:
    """What was seen while a world was played."""

    observations: np.ndarray
    """(count, *shape), as `rlkit.observations.gather` gives them."""
    environment: Environment
    """What was played."""
    world: str
    """Name of the world, as a folder can have it."""
    source: dict[str, Any]
    """How they came about, under "environment" and "play"; plain JSON data."""


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of handwritten digits (`rlkit.digits.load_digits`).

    Raises Mistake without the extra that brings them.
    """
    from rlkit.digits import load_digits

    with blaming_user(ImportError, ValueError):
        return load_digits()


def recorded(environment: Environment, play: PlayConfig, console: Console) -> Recorded:
    """Record play of a world, and say so. Raises Mistake where those named cannot play it."""
    from rlkit.configuration import to_json
    from rlkit.environments import Environment, environment_id
    from rlkit.observations import gather

    console.print(f"recording {play.count:,} observations")
    with blaming_user(ValueError):
        observations = gather(environment, play)
    source = {"environment": to_json(environment, Environment), "play": asdict(play)}
    world = environment_id(environment).replace("/", "-")
    return Recorded(observations, environment, world, source)


def recorded_frames(source: str, play: PlayConfig, console: Console) -> Recorded:
    """Record what a user names: a recipe, a registered environment, or a run's world; Atari games
    frame by frame. Raises Mistake for what is not there, or where those named cannot play it."""
    from rlkit.observations import single_frames
    from rlkit.policies import find_environment

    with blaming_user(ValueError):
        environment = single_frames(find_environment(source), play.size)
    return recorded(environment, play, console)
