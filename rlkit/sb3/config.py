"""Names an algorithm of Stable-Baselines3 or sb3-contrib, with its settings.

Imports neither library, so that a run's configuration can be read without them; whether the
settings make sense is seen when the algorithm is built.
"""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any

from tyro.conf import Fixed, Suppress
from tyro.constructors import PrimitiveConstructorSpec

ALGORITHMS = MappingProxyType(
    {
        "sb3:A2C": "advantage actor-critic (Mnih 2016)",
        "sb3:DDPG": "deep deterministic policy gradient (Lillicrap 2015)",
        "sb3:DQN": "deep Q-network (Mnih 2015)",
        "sb3:PPO": "proximal policy optimisation (Schulman 2017)",
        "sb3:SAC": "soft actor-critic (Haarnoja 2018)",
        "sb3:TD3": "twin delayed DDPG (Fujimoto 2018)",
        "sb3-contrib:ARS": "augmented random search (Mania 2018)",
        "sb3-contrib:CrossQ": "soft actor-critic with batch normalisation (Bhatt 2019)",
        "sb3-contrib:MaskablePPO": "PPO that leaves out invalid actions (Huang 2020)",
        "sb3-contrib:QRDQN": "quantile-regression DQN (Dabney 2018)",
        "sb3-contrib:RecurrentPPO": "PPO with an LSTM",
        "sb3-contrib:TQC": "truncated quantile critics (Kuznetsov 2020)",
        "sb3-contrib:TRPO": "trust-region policy optimisation (Schulman 2015)",
    }
)
"""Library and algorithm -> what it is."""

POLICY = "StableBaselinesPolicy"
"""The kind of their policies in policy files."""


def check_name(name: str) -> None:
    """Raise ValueError, with the nearest names, where no algorithm is called `name`."""
    if name in ALGORITHMS:
        return
    by_lower = {known.lower(): known for known in ALGORITHMS}
    near = [by_lower[n] for n in difflib.get_close_matches(name.lower(), by_lower, n=2)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(ALGORITHMS)}"
    raise ValueError(f"no algorithm of Stable-Baselines3 is called {name!r}; {hint}")


_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


def _parsed(arguments: list[str]) -> dict[str, Any]:
    settings = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise ValueError(f"a setting is written NAME=VALUE, not {argument!r}")
        if value in _PYTHON_WORDS:
            raise ValueError(
                f"values are JSON: write {name}={_PYTHON_WORDS[value]}, not {argument}"
            )
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def _typed(settings: dict[str, Any]) -> list[str]:
    return [f"{n}={v if isinstance(v, str) else json.dumps(v)}" for n, v in settings.items()]


Settings = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME=VALUE ...",
        instance_from_str=_parsed,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=_typed,
    ),
]
"""Keyword arguments as plain JSON data; on the command line NAME=VALUE, the value in JSON."""


@dataclass(frozen=True)
class StableBaselinesConfig:
    """An algorithm of Stable-Baselines3 or sb3-contrib."""

    name: Suppress[Fixed[str]]
    """Library and algorithm, one of `ALGORITHMS`."""
    learning_rate: float
    """Step size at the start."""
    learning_rate_end: float | None = None
    """Step size after `schedule_steps`, reached in a straight line; None keeps it constant."""
    policy: str = "auto"
    """The library's name of the network, such as MlpPolicy; auto chooses by the observations."""
    settings: Settings = field(default_factory=dict)
    """The algorithm's other keyword arguments, under the library's names; those named on the
    command line change only themselves. A number that falls to 0 over `schedule_steps` is written
    lin_0.1, and action noise by noise_type (normal, ornstein-uhlenbeck) and noise_std, as in
    rl-baselines3-zoo; in policy_kwargs, classes go by names: activation_fn relu."""
    schedule_steps: int | None = None
    """Environment steps over which schedules and exploration run; None takes the budget's steps,
    or 10,000,000 where only minutes limit the training."""

    def __post_init__(self) -> None:
        check_name(self.name)
        rates = {"learning_rate": self.learning_rate, "learning_rate_end": self.learning_rate_end}
        for field_name, rate in rates.items():
            if rate is not None and not 0 <= rate < math.inf:
                raise ValueError(f"{field_name} must be at least 0 and finite, got {rate}")
        if self.learning_rate == 0:
            raise ValueError("learning_rate must be positive, got 0")
        if self.schedule_steps is not None and self.schedule_steps < 1:
            raise ValueError(f"schedule_steps must be at least 1, got {self.schedule_steps}")
        try:
            plain = json.loads(json.dumps(self.settings, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"settings must be plain JSON data: {error}") from error
        # Lists for tuples and text for keys, as a run's config.json will give them back.
        object.__setattr__(self, "settings", plain)

    def over(self, start: StableBaselinesConfig) -> StableBaselinesConfig:
        """The same with the settings of `start` too, where it has none of their names."""
        return replace(self, settings={**start.settings, **self.settings})
