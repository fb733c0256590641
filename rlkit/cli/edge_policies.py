"""What the commands of `rlkit edge` share: which policy is meant, and what they need installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.evaluate import load
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.extras import installing

if TYPE_CHECKING:
    from rlkit.policies import LoadedPolicy
    from rlkit.recording import Recording


OBSERVATIONS, PICTURES_TO_PICK_FROM = 2_000, 200
"""Recorded by default. Of a picture to pick from, a policy computes every pixel, in up to eight
ways, which tells of as many inputs of each layer as thousands of other observations do."""


@dataclass(frozen=True)
class PolicyOptions:
    """Which policy."""

    policy: Positional[str]
    """A run's folder, a policy file, the name of a recipe, for the policy that ships with it, or an
    archive of Stable-Baselines3 (.zip)."""
    on: str | None = None
    """The environment that it plays in: its registered name, a recipe or a run. By default the one
    that the policy was trained in, which an archive does not know."""
    trust: FlagCreatePairsOff[bool] = False
    """Load an archive of Stable-Baselines3, which can run any code that is in it."""


def load_for_deployment(options: PolicyOptions) -> LoadedPolicy:
    """The policy that the user named, on the processor.

    Raises Mistake where there is none, where it is deployed already, and where a package is
    missing.
    """
    loaded = load(options.policy, on=options.on, trust=options.trust)
    if "deployment" in loaded.header:
        raise Mistake(f"{loaded.path} is deployed already; name the policy that it was made of")
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        from rlkit.edge.onnx_runtime import onnx_runtime

        onnx_runtime()
    except ImportError as error:
        raise Mistake(f"{error}: exporting needs it, {installing('edge')}") from error
    loaded.policy.cpu()
    return loaded


def record_for(loaded: LoadedPolicy, observations: int | None, seed: int) -> Recording:
    """That many observations of the policy at play, with the states that its body takes. None
    takes as many as policies of its kind need."""
    from rlkit.edge.body import body_of
    from rlkit.recording import record
    from rlkit_agents.pick_policy import PickPolicy

    if observations is None:
        picks = isinstance(loaded.policy, PickPolicy)
        observations = PICTURES_TO_PICK_FROM if picks else OBSERVATIONS
    if observations < 1:
        raise Mistake(f"--observations must be at least 1, got {observations}")
    with blaming_user(ValueError):
        parts = len(body_of(loaded.policy).state_sizes)
    return record(loaded.policy, loaded.environment, observations, seed=seed, state_parts=parts)


def name_of(policy: str, loaded: LoadedPolicy) -> str:
    """What files of this policy are called: as the recipe or the run."""
    path = Path(policy)
    if path.is_dir():
        return path.resolve().name
    return loaded.path.name.split(".")[0]
