"""`rlkit watch`: records episodes of a policy as a video."""

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
    """Record whole episodes of a policy as a video, with score and Q-values drawn in."""

    policy: Positional[str]
    """A run's folder, a policy file, or the name of a recipe, for the policy that ships with it."""
    video: Path | None = None
    """Where to write, as .mp4 or .gif. By default the run's videos/ folder, or the current folder
    for a policy outside a run."""
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
    loaded = load(options.policy)
    from rlkit.environments import for_evaluation
    from rlkit.video import record

    video = options.video or _default_place(loaded, options)
    video.parent.mkdir(parents=True, exist_ok=True)
    with blaming_user(ValueError):
        recording = record(
            loaded.policy,
            for_evaluation(loaded.environment),
            video,
            seed=options.seed,
            episodes=options.episodes,
            deterministic=not options.stochastic,
        )
    for episode in recording.episodes:
        counts = "".join(f", {n.replace('_', ' ')} {v:g}" for n, v in episode.counts.items())
        print(f"return {episode.episode_return:g} in {episode.steps} steps{counts}")
    print(f"video: {recording.path}")
    return 0


def _default_place(loaded: LoadedPolicy, options: WatchOptions) -> Path:
    trained = loaded.header["provenance"]
    name = f"{trained.get('recipe', 'policy')}-{trained.get('steps', 0)}-s{options.seed}.mp4"
    run = Path(options.policy)
    return run / "videos" / name if run.is_dir() else Path(name)
