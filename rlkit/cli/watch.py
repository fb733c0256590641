"""`rlkit watch`: records episodes of a policy as a video, or as a still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.evaluate import load
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import parse

if TYPE_CHECKING:
    from rlkit.policies import LoadedPolicy


@dataclass(frozen=True)
class WatchOptions:
    """Record whole episodes of a policy as a video, with score, values and actions drawn in."""

    policy: Positional[str]
    """A run's folder, a policy file, the name of a recipe, for the policy that ships with it, or an
    archive of Stable-Baselines3 (.zip)."""
    video: Path | None = None
    """Where to write, as .mp4 or .gif, or the last picture alone as .png. By default a video in the
    videos/ folder of the run that was named, or in the current folder."""
    on: str | None = None
    """The environment to play in: its registered name, a recipe or a run. By default the one that
    the policy was trained in, which an archive does not know."""
    trust: FlagCreatePairsOff[bool] = False
    """Load an archive of Stable-Baselines3, which can run any code that is in it."""
    seed: int = 0
    """Determines the episodes."""
    episodes: int = 1
    """Episodes, one after the other, at least 1."""
    stochastic: FlagCreatePairsOff[bool] = False
    """Let the policy act at random as far as it does by itself; else it takes its best action."""


def run(arguments: Sequence[str]) -> int:
    """Record as `arguments` say."""
    options = parse(WatchOptions, arguments, "watch")
    if options.seed < 0:
        raise Mistake(f"--seed must not be negative, got {options.seed}")
    loaded = load(options.policy, on=options.on, trust=options.trust)
    from rich.console import Console

    from rlkit.drawing import score_text
    from rlkit.environments import for_evaluation
    from rlkit.video import VideoError, record

    with (
        blaming_user(ValueError, VideoError),
        Console(stderr=True).status("starting") as status,  # seen on a terminal only
    ):
        recording = record(
            loaded.policy,
            for_evaluation(loaded.environment),
            options.video or _default_place(loaded, options),
            seed=options.seed,
            episodes=options.episodes,
            deterministic=not options.stochastic,
            on_frame=lambda n, score: status.update(f"frame {n:,}, score {score_text(score)}"),
        )
    for episode in recording.episodes:
        counts = "".join(f", {n.replace('_', ' ')} {v:.9g}" for n, v in episode.counts.items())
        print(f"return {episode.episode_return:.9g} in {episode.steps} steps{counts}")
    print(f"{'still' if recording.path.suffix.lower() == '.png' else 'video'}: {recording.path}")
    return 0


def _default_place(loaded: LoadedPolicy, options: WatchOptions) -> Path:
    trained = loaded.header["provenance"]
    trained_as = trained.get("recipe", loaded.path.stem)
    name = f"{trained_as}-{trained.get('steps', 0)}-s{options.seed}.mp4"
    run = Path(options.policy)
    # A folder may have the name of a recipe, whose policy then lies elsewhere.
    return run / "videos" / name if run in loaded.path.parents else Path(name)
