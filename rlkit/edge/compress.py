"""Searches for the smallest copy of a policy that loses no more than is allowed.

Every setting gives a file: channels go (`shrink`), then single weights in stages, each with
fine-tuning by distillation (`prune`, `distil`), then what is left becomes 8 bits (`quantize`) and
is compressed without loss. All are judged on recorded play that none has learnt from. Whole
episodes are played only with those that no smaller file beats in regret; they decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rlkit.edge.body import Body, ExportError, body_of
from rlkit.edge.compress_config import CompressConfig, Setting
from rlkit.edge.cost import Cost, cost_of, layers_of
from rlkit.edge.deploy import deploy
from rlkit.edge.distil import DistilConfig, distil, prune_gradually
from rlkit.edge.judge import Fidelity, Judge
from rlkit.edge.latency import Latency, take_turns
from rlkit.edge.policy import open_deployed
from rlkit.edge.quantize import QuantizeConfig
from rlkit.edge.runtime import EdgePolicy
from rlkit.edge.shrink import shrink, shrinkable
from rlkit.environments import for_evaluation
from rlkit.evaluation import Evaluation, evaluate
from rlkit.policies import LoadedPolicy
from rlkit.recording import Recording, record
from rlkit.statistics import mean_interval
from rlkit_agents.policy import Policy

_CALIBRATION = 2_000
_SHRINK_ON = 4_000
_SUFFIX = ".onnx.xz"


class LimitError(ValueError):
    """No copy meets the limits; the message tells the closest."""


@dataclass(frozen=True)
class Copy:
    """A compressed policy, and what was found out about it.

    returns: of whole episodes, None where none were played. loss: mean return of the policy less
    that of the copy over the same episodes, with its 95 % interval.
    """

    setting: Setting
    file: Path
    bytes: int
    fidelity: Fidelity
    cost: Cost
    latency: Latency | None = None
    returns: Evaluation | None = None
    loss: float | None = None
    loss_ci95: tuple[float, float] | None = None

    @property
    def error(self) -> float:
        """What ranks copies before any episode: regret, or the error of continuous actions."""
        told = self.fidelity
        error = told.action_error if told.regret is None else told.regret
        assert error is not None
        return error

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; of the episodes the returns alone."""
        return {
            "setting": asdict(self.setting),
            "file": self.file.name,
            "bytes": self.bytes,
            "fidelity": self.fidelity.to_json(),
            "cost": {
                name: value for name, value in self.cost.to_json().items() if name != "layers"
            },
            "latency": None if self.latency is None else self.latency.to_json(),
            "returns": None if self.returns is None else self.returns.returns,
            "mean_return": None if self.returns is None else self.returns.summary.mean,
            "iqm": None if self.returns is None else self.returns.summary.iqm,
            "iqm_ci95": None if self.returns is None else self.returns.summary.iqm_ci95,
            "loss": self.loss,
            "loss_ci95": self.loss_ci95,
        }


@dataclass(frozen=True)
class Compression:
    """A finished search.

    original: returns of the policy itself. original_cost: of its body in float32.
    """

    original: Evaluation
    original_bytes: int
    original_cost: Cost
    copies: tuple[Copy, ...]

    def smallest(self, size_at_most: int | None, loss_at_most: float | None) -> Copy:
        """The smallest played copy within the limits, None being no limit.

        Raises LimitError where there is none; its message tells the closest copies.
        """
        played = [copy for copy in self.copies if copy.loss is not None]
        fits = [
            copy
            for copy in played
            if (size_at_most is None or copy.bytes <= size_at_most)
            and (loss_at_most is None or _loss(copy) <= loss_at_most)
        ]
        if fits:
            return min(fits, key=lambda copy: copy.bytes)
        raise LimitError(_closest(played, size_at_most, loss_at_most))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "original": {
                **self.original.summary.to_json(),
                "returns": self.original.returns,
                "bytes": self.original_bytes,
                "cost": self.original_cost.to_json(),
                "protocol": self.original.protocol,
            },
            "copies": [copy.to_json() for copy in self.copies],
        }


Report = Callable[[str], None]


def compress(
    loaded: LoadedPolicy,
    folder: Path,
    config: CompressConfig,
    *,
    play_all: bool = False,
    on_progress: Report | None = None,
) -> Compression:
    """Make a copy for every setting in `folder`, and judge them all.

    play_all: play whole episodes with every copy, not only with those that no smaller one beats.
    Settings that shrink layers are left out where the body cannot be shrunk. on_progress: takes
    lines on what is being done.
    Raises ExportError for a policy that cannot be deployed, OSError where a file cannot be written.
    """
    report = on_progress or (lambda line: None)
    body = body_of(loaded.policy)
    shape = loaded.policy.observation_space.shape or ()
    parts = len(body.state_sizes)
    report(f"recording {config.learnt + config.judged:,} observations")
    learnt, judged = (
        record(loaded.policy, loaded.environment, count, seed=seed, state_parts=parts)
        for count, seed in ((config.learnt, config.seed), (config.judged, config.seed + 1))
    )
    judge = Judge(body, judged)
    maker = _Maker(loaded, body, learnt, config)
    copies = []
    for setting in config.settings():
        if setting.keep < 1.0 and not _can_shrink(body):
            continue
        file = folder / f"{setting.name}{_SUFFIX}"
        made = maker.make(setting)
        bits = QuantizeConfig(weight_bits=setting.weight_bits)
        deploy(loaded, file, body=made, recording=learnt[:_CALIBRATION], config=bits)
        cost = cost_of(layers_of(made, shape), weight_bits=8, activation_bits=8)
        fidelity = judge.fidelity(EdgePolicy(file))
        copies.append(Copy(setting, file, file.stat().st_size, fidelity, cost))
        report(_told(copies[-1]))
    copies.sort(key=lambda copy: -copy.bytes)
    copies = _timed(copies, judged)
    original = _played(loaded, loaded.policy, config)
    report(f"the policy itself: {original.summary.mean:.2f} over {config.episodes} episodes")
    undominated = copies if play_all else pareto(copies)
    for place, copy in enumerate(copies):
        if copy not in undominated:
            continue
        played = _played(loaded, open_deployed(copy.file)[1], config)
        loss, interval = mean_difference(original.returns, played.returns)
        copies[place] = replace(copy, returns=played, loss=loss, loss_ci95=interval)
        report(f"{copy.setting.name}: {played.summary.mean:.2f}, a loss of {loss:.2f}")
    return Compression(
        original, loaded.path.stat().st_size, cost_of(layers_of(body, shape)), tuple(copies)
    )


def pareto(copies: Sequence[Copy]) -> list[Copy]:
    """Those for which no other is both at most as large and at most as wrong."""
    return [
        copy
        for copy in copies
        if not any(
            other.bytes <= copy.bytes
            and other.error <= copy.error
            and (other.bytes, other.error) != (copy.bytes, copy.error)
            for other in copies
        )
    ]


def mean_difference(
    ours: Sequence[float], theirs: Sequence[float]
) -> tuple[float, tuple[float, float]]:
    """How far the mean of the first lies above that of the second, and its 95 % interval.

    Both are returns of the same episodes, one by one: the interval is Student's, of the pairs'
    differences, and has no width where they are all alike.
    """
    difference, half = mean_interval(np.subtract(ours, theirs))
    return difference, (difference - (half or 0.0), difference + (half or 0.0))


class _Maker:
    """Makes bodies, none of them twice: those of other bits are the same, and those that are as
    wide start from one that was shrunk once."""

    def __init__(
        self, loaded: LoadedPolicy, body: Body, learnt: Recording, config: CompressConfig
    ) -> None:
        self._body, self._learnt, self._config = body, learnt, config
        self._shape = loaded.policy.observation_space.shape or ()
        continuous = isinstance(loaded.policy.action_space, gym.spaces.Box)
        self._distil = DistilConfig(steps=config.steps, continuous=continuous, seed=config.seed)
        self._shrunk: dict[float, Body] = {1.0: body}
        self._made: dict[Setting, Body] = {}

    def make(self, setting: Setting) -> Body:
        alike = replace(setting, weight_bits=8)
        if alike not in self._made:
            self._made[alike] = self._make(alike)
        return self._made[alike]

    def _make(self, setting: Setting) -> Body:
        start = self._start(setting.keep)
        if not setting.sparsity:
            return start
        return prune_gradually(
            start,
            self._body,
            self._learnt,
            setting.sparsity,
            setting.method,
            self._distil,
            stages=self._config.stages,
            energy_per_weight=energy_per_weight(start, self._shape),
        )

    def _start(self, keep: float) -> Body:
        if keep not in self._shrunk:
            small = shrink(self._body, keep, self._learnt[:_SHRINK_ON])
            steps = self._config.steps * self._config.stages
            tuning = replace(self._distil, steps=steps)
            self._shrunk[keep] = distil(small, self._body, self._learnt, tuning)
        return self._shrunk[keep]


def energy_per_weight(body: Body, observation_shape: tuple[int, ...]) -> dict[str, float]:
    """What a weight of each layer costs in an inference in 8 bits, in picojoules.

    Its reading from DRAM, and its multiplications: one in a dense layer, one a pixel of the output
    in a convolution.
    """
    cost = cost_of(layers_of(body, observation_shape), weight_bits=8, activation_bits=8)
    return {
        each.layer.name: 1e6
        * (each.weight_microjoules + each.arithmetic_microjoules)
        / max(1, each.layer.kept)
        for each in cost.layers
    }


def _can_shrink(body: Body) -> bool:
    try:
        return bool(shrinkable(body))
    except ExportError:
        return False


def _timed(copies: Sequence[Copy], judged: Recording) -> list[Copy]:
    """With latencies at batch 1 on one thread, all in turns."""
    calls = {}
    for copy in copies:
        policy, first = EdgePolicy(copy.file), judged[:1]
        state = first.state or None
        calls[copy.setting.name] = lambda policy=policy, state=state: policy.act(
            judged.observations[:1], state
        )
    latencies = take_turns(calls, seconds=0.1)
    return [replace(copy, latency=latencies[copy.setting.name]) for copy in copies]


def _played(loaded: LoadedPolicy, policy: Policy, config: CompressConfig) -> Evaluation:
    environment = for_evaluation(loaded.environment)
    return evaluate(policy, environment, config.episodes, seed=config.seed + 2)


def _loss(copy: Copy) -> float:
    assert copy.loss is not None
    return copy.loss


def _told(copy: Copy) -> str:
    fidelity = copy.fidelity
    alike = (
        f"action error {fidelity.action_error:.4f}"
        if fidelity.agreement is None
        else f"agreement {fidelity.agreement:.3f}, regret {fidelity.regret:.4f}"
    )
    return f"{copy.setting.name}: {copy.bytes:,} bytes, {alike}"


def _closest(played: Sequence[Copy], size: int | None, loss: float | None) -> str:
    """What comes nearest to limits that no copy meets."""
    wanted = " and ".join(
        (
            *((f"{size:,} bytes",) if size is not None else ()),
            *((f"a loss of {loss:g}",) if loss is not None else ()),
        )
    )
    near = []
    if size is not None and (small := [c for c in played if c.bytes <= size]):
        best = min(small, key=_loss)
        near.append(f"within that size {best.setting.name} loses {_loss(best):.2f}")
    if loss is not None and (good := [c for c in played if _loss(c) <= loss]):
        best = min(good, key=lambda copy: copy.bytes)
        near.append(f"within that loss {best.setting.name} has {best.bytes:,} bytes")
    if not near:
        least = min(played, key=lambda copy: copy.bytes)
        near.append(
            f"the smallest, {least.setting.name}, has {least.bytes:,} bytes and loses "
            f"{_loss(least):.2f}"
        )
    return f"no copy meets at most {wanted}; {'; '.join(near)}"
