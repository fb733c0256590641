"""What TensorBoard's HParams page is made from: hyperparameters, and the scores they led to.

TensorBoard takes the page's columns from any one of the runs that it shows. So every run names all
columns that some run may have, with the same types.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]
from torch.utils.tensorboard.summary import hparams

from rlkit.algorithms import ALGORITHMS, AlgorithmConfig
from rlkit.configuration import to_json
from rlkit.environments import environment_id
from rlkit.sb3.config import ALGORITHMS as LIBRARY_ALGORITHMS
from rlkit.sb3.config import StableBaselinesConfig

if TYPE_CHECKING:
    from rlkit.recipe import Recipe

SCORES = ("final/mean", "final/iqm", "final/min", "evaluation/mean")
"""Scalars that stand beside the hyperparameters."""
SHOWN_FIRST = frozenset(("algorithm", "environment", "learning_rate", "recipe", "seed"))
"""Hyperparameters before all others, which are in alphabetical order: the page shows five until a
user chooses."""


def hyperparameters(recipe: Recipe) -> dict[str, float | str]:
    """The recipe's main fields, and all of the algorithm's.

    Nested fields have dots in their names. Everything that is no finite number becomes text, since
    the page knows no None, lists or infinity; and so do the numbers of a field that is text in some
    algorithm, since the page cannot filter a column of both.
    """
    fields = _fields(recipe.algorithm)
    mixed = {name for name, example in _columns().items() if isinstance(example, str)}
    return {
        "recipe": recipe.name,
        "environment": environment_id(recipe.environment),
        "seed": recipe.seed,
        "num_envs": recipe.num_envs,
        **{n: _text(value) if n in mixed else value for n, value in fields.items()},
    }


def start_summaries(recipe: Recipe) -> tuple[Summary, Summary]:
    """The page's columns, and the run's own values, to be written when a training starts."""
    values = hyperparameters(recipe)
    no_scores_yet = dict.fromkeys(SCORES, 0.0)
    columns, _, _ = hparams({**_columns(), **values}, no_scores_yet)
    _, start, _ = hparams(values, no_scores_yet)
    plugin_data = columns.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin_data.content)
    for column in content.experiment.hparam_infos:
        column.differs = column.name in SHOWN_FIRST  # TensorBoard puts these before the others
    plugin_data.content = content.SerializeToString()
    return columns, start


def end_summary() -> Summary:
    """Says that the training came to its end."""
    return hparams({}, {})[2]


@cache
def _columns() -> dict[str, float | str]:
    """The fields of all algorithms, each with an example: text where some algorithm has text."""
    configurations = [
        StableBaselinesConfig(next(iter(LIBRARY_ALGORITHMS)), learning_rate=1e-3),
        *(config for start in ALGORITHMS.values() for config, _ in (start.images, start.vectors)),
    ]
    examples: dict[str, float | str] = {}
    for configuration in configurations:
        for name, value in _fields(configuration).items():
            if isinstance(value, str) or name not in examples:
                examples[name] = value
    return examples


def _fields(configuration: AlgorithmConfig) -> dict[str, float | str]:
    """The fields without their nesting, and the algorithm's name."""
    nested = to_json(configuration, AlgorithmConfig)
    kind = nested.pop("kind")
    nested["algorithm"] = nested.pop("name", kind.removesuffix("Config"))
    if isinstance(configuration, StableBaselinesConfig):
        # Any names can stand there, and a column of its own has only what every run knows of.
        nested["settings"] = _text(nested["settings"])
    return dict(_flatten(nested))


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | str]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if _is_number(value) else _text(value)


def _is_number(value: Any) -> bool:
    """Whether it is a finite number; a bool would be shown as one."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
