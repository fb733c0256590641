"""`rlkit autoencoder evaluate`: what a code leaves out, how small it is, and how fast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import parse
from rlkit.observations import PlayConfig


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure an autoencoder on observations that it has not learnt from."""

    autoencoder: Positional[str]
    """The name of one that ships with rlkit, or its file."""
    observations: Path | None = None
    """A file of observations (.npz). By default as many as `play.count` are recorded where it
    learnt, under another seed."""
    play: PlayConfig = field(default_factory=lambda: PlayConfig(count=4_000, seed=1_000))
    """How much is recorded; who plays, where and which channels are as they were for learning."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Measure as `arguments` say."""
    options = parse(EvaluateOptions, arguments, "autoencoder evaluate")
    from rlkit.autoencoder.autoencoder import find_autoencoder
    from rlkit.autoencoder.quality import measure
    from rlkit.configuration import from_json
    from rlkit.environments import Environment
    from rlkit.observations import gather, read_real_rows

    autoencoder = find_autoencoder(options.autoencoder)
    learnt = autoencoder.provenance
    if options.observations is not None:
        observations = read_real_rows(options.observations, "observations")
    elif "environment" in learnt:
        before, named = learnt.get("play", {}), options.play.policies
        play = replace(
            options.play,
            policies=named or tuple(before.get("policies", ())),
            random=options.play.random if named else before.get("random", True),
            epsilon=options.play.epsilon if named else before.get("epsilon", options.play.epsilon),
            channels=options.play.channels or tuple(before.get("channels", ())),
            as_trained=options.play.as_trained or before.get("as_trained", False),
        )
        with blaming_user(ValueError):
            observations = gather(from_json(learnt["environment"], Environment), play)  # pyright: ignore[reportArgumentType]
    else:
        raise Mistake("it learnt from a file; name one to judge by: --observations FILE")
    with blaming_user(ValueError):
        quality = measure(autoencoder, observations)
    if options.json:
        print(json.dumps({"autoencoder": options.autoencoder, **quality.to_json()}))
        return 0
    print(f"{options.autoencoder}, on {quality.observations:,} observations")
    print(
        f"  size:   {quality.observation_bytes:,} bytes in {quality.code_bytes} "
        f"({quality.ratio:.0f} to 1)\n"
        f"  error:  {quality.error:.4f} of the variance, {quality.error_of_bytes:.4f} in bytes; "
        f"off by {quality.absolute_error:.3g} on average\n"
        f"  speed:  {quality.encoded_per_second:,.0f} observations/s"
    )
    return 0
