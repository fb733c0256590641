"""Sets the evaluations of runs side by side, and refuses where they were not made alike.

Runs that differ by nothing but their seed are one row, whose interval is stratified by run
(Agarwal et al. 2021). How the table is printed is left to the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlkit.configuration import to_json
from rlkit.reasons import reason_of
from rlkit.run_folder import Run
from rlkit.statistics import ReturnSummary, summarise_returns

_OF_THE_AGENT = frozenset(
    {
        *("observation", "frame_stack", "height", "width", "grayscale"),
        *("encoder", "encoder_sha256", "marks"),
    }
)
"""Fields of a protocol that say how a policy sees the game, which is the same game all the same."""

_NO_MATTER = frozenset({"seed", "num_envs"})
"""Fields of a protocol in which evaluations may differ: which episodes, and how many at a time."""


class ComparisonError(ValueError):
    """Evaluations that cannot be set side by side; the message is one clear line."""


@dataclass(frozen=True)
class RunResult:
    """What a comparison needs to know about one run."""

    run: str
    """Its folder, or the file of its evaluation."""
    recipe: Mapping[str, Any]
    """Its recipe as plain JSON data, of which name and seed must be there."""
    evaluation: Mapping[str, Any]
    """Its evaluation, as a line of evaluations.jsonl."""
    history: Sequence[Mapping[str, Any]] = ()
    """All its evaluations in the order in which they were made, where they are known."""

    @classmethod
    def of(cls, run: Run) -> RunResult:
        """The final evaluation of a run, or its latest one if it has not ended.

        Raises ComparisonError where there is none, RunError where the run cannot be read.
        """
        evaluations = run.evaluations()
        if not evaluations:
            raise ComparisonError(f"{run.path} has no evaluation yet; wait, or train it further")
        return cls(str(run.path), to_json(run.recipe()), evaluations[-1], tuple(evaluations))

    @classmethod
    def of_evaluation(cls, file: Path) -> RunResult:
        """What `rlkit evaluate --json` printed into `file`, for a policy that is of no run here.

        Raises ComparisonError where the file cannot be read or holds something else.
        """
        try:
            evaluation = json.loads(file.read_text())
            policy, provenance = evaluation["policy"], evaluation["policy"]["provenance"]
            name = {"name": file.stem, "policy": policy["path"]}
            recipe = {**name, "seed": provenance.get("seed") or 0}
            line = {**evaluation, "step": provenance.get("steps") or 0, "final": True}
            for part in ("returns", "protocol", "counts", "metrics"):
                _ = line[part]
        except OSError as error:
            raise ComparisonError(f"cannot read {file}: {reason_of(error)}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ComparisonError(
                f"{file} holds no evaluation as `rlkit evaluate --json` prints it"
            ) from error
        return cls(str(file), recipe, line)


@dataclass(frozen=True)
class Row:
    """Runs of one configuration, seeds pooled."""

    label: str
    """The recipe's name and, where rows share it, the settings that tell them apart."""
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    """Environment steps after which each run's policy was taken."""
    final: bool
    """Whether all evaluations are those at the end of a training."""
    summary: ReturnSummary
    metrics: Mapping[str, Mapping[str, Any]]
    """Name -> mean over all episodes, and unit, of what the environment counts."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "label": self.label,
            "runs": list(self.runs),
            "seeds": list(self.seeds),
            "steps": list(self.steps),
            "final": self.final,
            **self.summary.to_json(),
            "metrics": {name: dict(metric) for name, metric in self.metrics.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """Rows in the order in which their first runs were given, and the protocol that they share."""

    protocol: Mapping[str, Any]
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, as `rlkit compare --json` prints it."""
        return {"protocol": dict(self.protocol), "rows": [row.to_json() for row in self.rows]}


def compare(results: Sequence[RunResult]) -> Comparison:
    """Pool runs that differ only by their seed, and summarise each such group.

    Raises ComparisonError where there is nothing to compare, or where a field of the protocol
    that matters differs between two runs: the message names it.
    """
    groups = grouped(results)
    rows = tuple(_row(label, group) for label, group in groups)
    return Comparison(_comparable(results[0]), rows)


def grouped(results: Sequence[RunResult]) -> list[tuple[str, list[RunResult]]]:
    """Labels, and the runs that differ only by their seed; raises as `compare`."""
    if not results:
        raise ComparisonError("a comparison needs at least one run")
    for other in results[1:]:
        _check_alike(results[0], other)
    groups = list(_groups(results))
    labels = _labels([group[0].recipe for group in groups])
    return list(zip(labels, groups, strict=True))


def _comparable(result: RunResult) -> dict[str, Any]:
    protocol = result.evaluation["protocol"]
    return {k: v for k, v in protocol.items() if k not in _OF_THE_AGENT | _NO_MATTER}


def _check_alike(first: RunResult, other: RunResult) -> None:
    ours, theirs = _comparable(first), _comparable(other)
    for name in [*ours, *(set(theirs) - set(ours))]:
        if ours.get(name) != theirs.get(name):
            raise ComparisonError(
                f"the protocols differ in {name}: {ours.get(name)!r} in {first.run}, "
                f"{theirs.get(name)!r} in {other.run}; compare runs evaluated alike"
            )


def _groups(results: Sequence[RunResult]) -> Iterator[list[RunResult]]:
    """Runs of one configuration and different seeds; a seed that comes again starts another group.

    Two runs of one seed are one experiment; pooling them would make the interval too narrow.
    """
    groups: dict[tuple[str, int], list[RunResult]] = {}
    seen: dict[tuple[str, int], int] = {}
    for result in results:
        rest = {name: value for name, value in result.recipe.items() if name != "seed"}
        configuration = json.dumps(rest, sort_keys=True)
        seed = int(result.recipe["seed"])
        repetition = seen.get((configuration, seed), 0)
        seen[configuration, seed] = repetition + 1
        groups.setdefault((configuration, repetition), []).append(result)
    yield from groups.values()


def _labels(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    flat = [dict(_flatten(recipe)) for recipe in recipes]
    labels = []
    for own in flat:
        namesakes = [other for other in flat if other["name"] == own["name"]]
        differing = [
            name
            for name in dict.fromkeys(name for other in namesakes for name in other)
            if name != "seed" and any(other.get(name) != own.get(name) for other in namesakes)
        ]
        short = [name.rsplit(".", 1)[-1] for name in differing]
        names = short if len(set(short)) == len(short) else differing
        settings = ", ".join(
            f"{shown}={own.get(name)}" for shown, name in zip(names, differing, strict=True)
        )
        labels.append(f"{own['name']} ({settings})" if settings else str(own["name"]))
    return labels


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _row(label: str, group: Sequence[RunResult]) -> Row:
    evaluations = [result.evaluation for result in group]
    environment = evaluations[0]["protocol"]["id"]
    counts = {
        name: float(np.mean([value for e in evaluations for value in e["counts"][name]]))
        for name in evaluations[0]["counts"]
        if all(name in e["counts"] for e in evaluations)
    }
    units = {name: metric["unit"] for name, metric in evaluations[0]["metrics"].items()}
    return Row(
        label=label,
        runs=tuple(result.run for result in group),
        seeds=tuple(int(result.recipe["seed"]) for result in group),
        steps=tuple(int(e["step"]) for e in evaluations),
        final=all(e["final"] for e in evaluations),
        summary=summarise_returns(*(e["returns"] for e in evaluations), environment=environment),
        metrics={name: {"mean": mean, "unit": units[name]} for name, mean in counts.items()},
    )
