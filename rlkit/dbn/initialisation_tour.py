"""A tour of initialisation: the same deep network from different first weights.

Stacks of sigmoid units do not train from random weights by plain gradient descent: what reaches the
lower layers shrinks with each layer, and the upper ones settle where they say the same of every row
(Glorot & Bengio 2010). Greedy pretraining was the first way around (Hinton, Osindero & Teh 2006),
weights of the right scale and rectified units are another (He et al. 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rlkit.dbn.dbn import DBN
from rlkit.dbn.finetune import finetune
from rlkit.dbn.finetune_config import FinetuneConfig
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.starts import DRAWN, PRETRAINED, started_network
from rlkit.line_chart import Line, draw_lines
from rlkit.run_folder import machine
from rlkit.statistics import mean_interval

STARTS = (PRETRAINED, *DRAWN)
_ROWS_OF_GRADIENT = 500
_NAMES = {"sgd": "SGD and momentum", "adam": "Adam"}


@dataclass(frozen=True)
class TourConfig:
    """What is toured. Raises ValueError for values that make no sense."""

    hidden_layers: int = 5
    """Of each network, at least 1."""
    layer: RBMConfig = field(
        default_factory=lambda: RBMConfig(
            hidden_units=256, batch_size=20, learning_rate=0.05, epochs=15, held_out_share=0.05
        )
    )
    """Every layer of the stack; its `hidden_units` are those of all networks."""
    learning_rates: Mapping[str, float] = field(
        default_factory=lambda: {"sgd": 0.05, "adam": 0.001}
    )
    """Optimizer -> learning rate; "sgd" has a momentum of 0.9."""
    epochs: int = 12
    """Passes over the training rows."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws all weights, and pretrains, anew."""

    def __post_init__(self) -> None:
        if self.hidden_layers < 1:
            raise ValueError(f"hidden_layers must be at least 1, got {self.hidden_layers}")
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        if not self.seeds:
            raise ValueError("seeds names none")


def tour(
    config: TourConfig,
    learnt: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    done: Iterable[Mapping[str, Any]] = (),
    on_row: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Train from every start in `STARTS`.

    learnt, test: rows (count, columns) float32 in [0, 1], and labels (count,) from 0.
    done: rows of an earlier result, which are not measured again. on_row: given each new one.
    Returns plain JSON data: `machine`, and `rows`, each with `start`, `seed`, `gradient_norms` of
    the weights of each layer before training, from the bottom to the head, and to each optimizer
    `losses` of the epochs and the `accuracy` on test rows.
    """
    rows, labels = torch.from_numpy(learnt[0]), torch.from_numpy(learnt[1])
    outputs = int(labels.max()) + 1
    told = list(done)
    measured = {(row["start"], row["seed"]) for row in told}
    for seed in config.seeds:
        left = [start for start in STARTS if (start, seed) not in measured]
        if not left:
            continue
        dbn = DBN(layers=(config.layer,) * config.hidden_layers, seed=seed).fit(learnt[0])
        for start in left:
            first = started_network(start, dbn, outputs, seed)
            row: dict[str, Any] = {
                "start": start,
                "seed": seed,
                "gradient_norms": gradient_norms(
                    first, rows[:_ROWS_OF_GRADIENT], labels[:_ROWS_OF_GRADIENT]
                ),
            }
            for optimizer, learning_rate in config.learning_rates.items():
                network = started_network(start, dbn, outputs, seed)
                tuning = FinetuneConfig(
                    optimizer=optimizer,  # type: ignore[arg-type]
                    learning_rate=learning_rate,
                    epochs=config.epochs,
                    held_out_share=0.0,
                    seed=seed,
                )
                history = finetune(network, rows, labels, cross_entropy, tuning)
                row[optimizer] = {
                    "losses": [record.loss for record in history],
                    "accuracy": accuracy(network, *test),
                }
            told.append(row)
            on_row(row)
    return {"machine": machine(), "rows": told}


def summarise(rows: Sequence[Mapping[str, Any]], config: TourConfig) -> list[dict[str, Any]]:
    """To each start: means over seeds of `lowest_gradient` and `head_gradient`, and to each
    optimizer the accuracy, a mean and half its 95 % interval."""
    told = []
    for start, of_start in _by_start(rows).items():
        norms = np.mean([row["gradient_norms"] for row in of_start], axis=0)
        reached = {
            optimizer: mean_interval([row[optimizer]["accuracy"] for row in of_start])
            for optimizer in config.learning_rates
        }
        ends = {"lowest_gradient": float(norms[0]), "head_gradient": float(norms[-1])}
        told.append({"start": start, "seeds": len(of_start), **ends, **reached})
    return told


def gradient_norms(network: nn.Sequential, rows: Tensor, labels: Tensor) -> list[float]:
    """Euclidean norm of the cross-entropy's gradient in the weights of each layer, bottom first."""
    network.zero_grad()
    with torch.enable_grad():
        cross_entropy(network(rows), labels).backward()
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    norms = [0.0 if each.weight.grad is None else float(each.weight.grad.norm()) for each in layers]
    network.zero_grad()
    return norms


def accuracy(network: nn.Sequential, rows: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows (count, columns) whose label (count,) has the largest output."""
    with torch.no_grad():
        return float((network(torch.from_numpy(rows)).argmax(1).numpy() == labels).mean())


def draw_gradients(result: Mapping[str, Any]) -> str:
    """What `tour` gave of gradients, layer by layer, as an SVG file's text."""
    lines = []
    for start, rows in _by_start(result["rows"]).items():
        norms = np.array([row["gradient_norms"] for row in rows])
        layers = np.arange(1.0, norms.shape[1] + 1.0)
        lines.append(Line(start, layers, np.log10(np.maximum(norms, np.finfo(np.float32).tiny))))
    return draw_lines(
        lines,
        title="Gradients before training, by layer",
        told="log10 of the norm in a layer's weights; layer 1 sees the data, the last is the head",
        x_from=1.0,
    )


def draw_losses(result: Mapping[str, Any], optimizer: str) -> str:
    """How the loss of training fell with one optimizer, as an SVG file's text."""
    lines = []
    for start, rows in _by_start(result["rows"]).items():
        losses = np.array([row[optimizer]["losses"] for row in rows])
        lines.append(Line(start, np.arange(1.0, losses.shape[1] + 1.0), losses))
    return draw_lines(
        lines,
        title=f"Training by {_NAMES.get(optimizer, optimizer)}, from different first weights",
        told="cross-entropy in nats against epochs; log 10 = 2.3 is guessing among ten digits",
        x_from=1.0,
    )


def _by_start(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["start"], []).append(row)
    return found
