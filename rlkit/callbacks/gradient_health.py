"""Watches whether every layer learns: vanishing and exploding gradients, and dead ReLUs.

The measuring and the diagnosis are pure functions; `GradientHealth` applies them during a
training. A unit is dead when it is zero for every observation of a probe batch (Lu et al. 2020,
"Dying ReLU and Initialization", arXiv:1903.06733): it passes no gradient on and may never recover.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.intervals import crossed
from rlkit.callbacks.tensorboard import TensorBoard
from rlkit_agents.step import Step

if TYPE_CHECKING:
    from rlkit.training import Training

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Thresholds:
    """Where illness begins."""

    vanishing_ratio: float = 1e-3
    """A layer's gradient norm over the last layer's, below which the layer hardly learns."""
    exploding_norm: float = 1e3
    """A layer's gradient norm, before clipping, above which updates are erratic."""
    dead_share: float = 0.9
    """Share of a layer's ReLUs that may be dead.

    Observations resemble one another, so that in a healthy network, too, half of the units or
    more can be silent for all of a probe.
    """

    def __post_init__(self) -> None:
        if not 0 < self.vanishing_ratio < 1:
            raise ValueError(f"vanishing_ratio must be in (0, 1), got {self.vanishing_ratio}")
        if not self.exploding_norm > 0:
            raise ValueError(f"exploding_norm must be positive, got {self.exploding_norm}")
        if not 0 < self.dead_share < 1:
            raise ValueError(f"dead_share must be in (0, 1), got {self.dead_share}")


class Illness(Enum):
    """What a layer can suffer from."""

    VANISHING = "vanishing"
    EXPLODING = "exploding"
    NOT_FINITE = "not finite"
    DEAD = "dead"


@dataclass(frozen=True)
class Finding:
    """One ill layer, and what to tell the user about it."""

    layer: str
    illness: Illness
    message: str


def gradient_norms(network: nn.Module) -> dict[str, float]:
    """The Euclidean norm of each layer's gradient, in the network's order.

    Layers are the modules that hold a weight of two or more dimensions themselves (convolutions,
    dense and recurrent layers); those without a gradient are left out. NaN or infinite where a
    value of the gradient is.
    """
    norms: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        parameters = list(module.parameters(recurse=False))
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients and any(p.ndim >= 2 for p in parameters):
            each = torch.stack([torch.linalg.vector_norm(g.detach().float()) for g in gradients])
            norms[name] = torch.linalg.vector_norm(each)
    return {name: float(norm) for name, norm in norms.items()}


def dead_relu_shares(network: nn.Module, run: nn.Module, observations: Tensor) -> dict[str, float]:
    """The share of dead units behind each ReLU of `network`, by the ReLU's name, in order of use.

    run: is called with `observations` (batch, ...) and runs the network: the network itself, or
    what wraps it. A unit is a channel where there are four or more dimensions, else an element of
    the last. Nothing changes: no gradient, no random number, no module's mode.
    """
    alive: dict[str, list[Tensor]] = {}

    def watch(name: str, output: Any) -> None:
        units = output.movedim(1 if output.ndim >= 4 else -1, 0).flatten(1)
        alive.setdefault(name, []).append((units > 0).any(1))

    modes = {module: module.training for module in run.modules()}
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: watch(name, output))
        for name, module in network.named_modules()
        if isinstance(module, nn.ReLU | nn.ReLU6)
    ]
    try:
        run.eval()
        with torch.no_grad():
            run(observations)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return {name: 1 - float(torch.cat(units).float().mean()) for name, units in alive.items()}


def diagnose(
    norms: dict[str, float],
    dead_shares: Mapping[str, float],
    order: Iterable[str],
    thresholds: Thresholds | None = None,
) -> list[Finding]:
    """Name the ill layers, each by the cause nearest to the root.

    norms: gradient norms by layer, in order, before clipping; the last is the measure of the
    others, unless it is itself zero or ill. dead_shares: of dead ReLUs, by name.
    order: names of all modules in the network's order, which tells what lies before a dead ReLU:
    where all units of one are dead, no gradient reaches the layers before it, so they do not count
    as vanishing.
    """
    thresholds = thresholds or Thresholds()
    positions = {name: position for position, name in enumerate(order)}
    findings: list[Finding] = []
    blocked = -1
    for name, share in dead_shares.items():
        if share > thresholds.dead_share:
            findings.append(Finding(name, Illness.DEAD, _dead_message(name, share)))
            if share == 1:
                blocked = max(blocked, positions[name])
    finite = {name: norm for name, norm in norms.items() if math.isfinite(norm)}
    for name in (name for name in norms if name not in finite):
        message = (
            f"Layer {name} has a gradient that is not a finite number. Try a lower learning rate, "
            "gradient clipping, or clipped rewards."
        )
        findings.append(Finding(name, Illness.NOT_FINITE, message))
    for name, norm in finite.items():
        if norm > thresholds.exploding_norm:
            message = (
                f"Layer {name} learns erratically: its gradient has norm {norm:.3g} before "
                "clipping (exploding). Try a lower learning rate, a lower max_gradient_norm, "
                "clipped rewards, or layer_norm."
            )
            findings.append(Finding(name, Illness.EXPLODING, message))
    last = next(reversed(norms), "")
    if not 0 < finite.get(last, 0) <= thresholds.exploding_norm:
        return findings  # nothing sound to compare with
    for name, norm in finite.items():
        ratio = norm / norms[last]
        if ratio < thresholds.vanishing_ratio and positions[name] > blocked:
            message = (
                f"Layer {name} hardly learns: its gradient is {ratio:.1g} of {last}'s (vanishing). "
                "Try the activation relu or elu, the initialisation he or orthogonal, layer_norm, "
                "or fewer layers."
            )
            findings.append(Finding(name, Illness.VANISHING, message))
    return findings


def _dead_message(name: str, share: float) -> str:
    return (
        f"Of the ReLUs in {name}, {share:.0%} are zero for every observation of a probe (dead), "
        "and what feeds them does not learn. Try a lower learning rate, the activation leaky_relu "
        "or elu, the initialisation he, or layer_norm."
    )


class GradientHealth(Callback):
    """Diagnoses the network every `every` environment steps, at the next gradient step.

    Warns once for each layer and illness, and again only if it recovered in between. The norms,
    before clipping, and the shares of dead ReLUs go to the `TensorBoard` callback, if there is one;
    this one belongs before it. The probe holds the observations of all environments at `PROBES`
    moments since the last diagnosis: at any one moment, environments may all look alike.
    """

    PROBES = 4

    def __init__(self, every: int = 100_000, thresholds: Thresholds | None = None) -> None:
        if every < 1:
            raise ValueError(f"every must be positive, got {every}")
        self.every = every
        self.thresholds = Thresholds() if thresholds is None else thresholds
        self.findings: list[Finding] = []
        """What the latest diagnosis found."""
        self._probes: deque[np.ndarray] = deque(maxlen=self.PROBES)
        self._due = False
        self._tensorboard: TensorBoard | None = None

    def on_start(self, training: Training) -> None:
        found = [callback for callback in training.callbacks if isinstance(callback, TensorBoard)]
        self._tensorboard = found[0] if found else None

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if not self._probes or crossed(training, max(1, self.every // self.PROBES)):
            self._probes.append(np.array(step.observations))
        if crossed(training, self.every):
            self._due = True
        if self._due and metrics:  # the gradients of this step's update are still there
            self._due = False
            self._diagnose(training, metrics)

    def _diagnose(self, training: Training, metrics: dict[str, Any]) -> None:
        policy = training.algorithm.policy
        network = policy.network
        norms = gradient_norms(network)
        if "gradient_norm" in metrics:
            norms = _before_clipping(norms, policy, float(metrics["gradient_norm"]))
        observations = torch.from_numpy(np.concatenate(self._probes)).to(policy.device)
        dead_shares = dead_relu_shares(network, policy, observations)
        order = [name for name, _ in network.named_modules()]
        known = {(finding.layer, finding.illness) for finding in self.findings}
        self.findings = diagnose(norms, dead_shares, order, self.thresholds)
        new = [f.message for f in self.findings if (f.layer, f.illness) not in known]
        for message in new:
            _log.warning("%s", message)
        if self._tensorboard is not None:
            self._tensorboard.add_scalars(_scalars(norms, dead_shares), training.steps)
            if new:
                self._tensorboard.add_text("warnings", "\n\n".join(new), training.steps)


def _before_clipping(norms: dict[str, float], policy: nn.Module, total: float) -> dict[str, float]:
    """The norms of layers, given that clipping scaled all gradients down from the norm `total`."""
    gradients = [p.grad.detach().float() for p in policy.parameters() if p.grad is not None]
    clipped = float(torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients])))
    if not (math.isfinite(total) and math.isfinite(clipped) and clipped > 0):
        return norms
    return {name: norm * total / clipped for name, norm in norms.items()}


def _scalars(norms: dict[str, float], dead_shares: dict[str, float]) -> dict[str, float]:
    scalars = {f"health/gradient_norm/{name}": norm for name, norm in norms.items()}
    scalars |= {f"health/dead_relus/{name}": share for name, share in dead_shares.items()}
    first, last = next(iter(norms.values()), 0.0), next(reversed(norms.values()), 0.0)
    if last > 0:
        scalars["health/gradient_first_to_last"] = first / last
    return scalars
