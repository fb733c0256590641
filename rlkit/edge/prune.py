"""Which weights of a body go: single weights, at random, by magnitude, or by what energy they cost.

The allocation by energy follows the idea of Yang et al. 2017, "Designing energy-efficient
convolutional neural networks using energy-aware pruning". Departures: there a layer after the other
is pruned, the dearest first, by the error of its output and with a least-squares repair; here all
weights stand in one ranking, error per energy, and fine-tuning (`rlkit.edge.distil`) repairs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlkit.edge.body import Body
from rlkit.edge.compress_config import Method
from rlkit.recording import Recording

Masks = dict[str, Tensor]
"""By a layer's dotted name, bool of its weight's shape: True where a weight is kept."""


def prunable(body: Body) -> dict[str, nn.Conv2d | nn.Linear]:
    """Every convolution and dense layer by its dotted name, in the order of the network."""
    return {
        name: layer
        for name, layer in body.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


def choose_masks(
    body: Body,
    sparsity: float,
    method: Method,
    *,
    recording: Recording | None = None,
    energy_per_weight: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Masks:
    """Choose the weights to keep so that a share of `sparsity` of all weights, in [0, 1), goes.

    random: any weight, wherever it is; the control that the others have to beat. magnitude: the
    smallest absolute values, in units of the root mean square of their layer's weights, so that
    layers of different scale compare. energy: the smallest loss of output per energy, the losses
    being those of `output_losses` on `recording`; energy_per_weight says what a weight of each
    layer costs in an inference, in picojoules or any unit.

    Weights that are 0 already go first. Each output of the last layer keeps its best weight, even
    where that leaves less sparsity than was asked for: an action without any would never be judged.
    Raises ValueError for a sparsity outside [0, 1), an unknown method, and "energy" without a
    recording, or without energies above 0 of all layers.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity}")
    if method == "random":
        scores = _random_scores(body, seed)
    elif method == "magnitude":
        scores = _magnitude_scores(body)
    elif method == "energy":
        scores = _energy_scores(body, recording, energy_per_weight)
    else:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(get_args(Method))}")
    last = list(scores)[-1]
    units = scores[last].flatten(1)
    units = units.scatter(1, units.argmax(1, keepdim=True), torch.inf)
    scores[last] = units.view(scores[last].shape)
    ranked = torch.cat([each.flatten() for each in scores.values()])
    gone = min(round(sparsity * len(ranked)), int(ranked.isfinite().sum()))
    kept = torch.ones(len(ranked), dtype=torch.bool)
    kept[ranked.argsort(stable=True)[:gone]] = False
    parts = kept.split([each.numel() for each in scores.values()])
    return {
        name: part.view(each.shape)
        for (name, each), part in zip(scores.items(), parts, strict=True)
    }


def apply_masks(body: Body, masks: Masks) -> Body:
    """A copy of `body` whose weights are 0 where a mask is False; layers without one stay.

    Raises ValueError for a mask of no layer, or of another shape than its weight's.
    """
    pruned = copy.deepcopy(body)
    check_masks(pruned, masks)
    zero_masked(pruned, masks)
    return pruned


def zero_masked(body: Body, masks: Masks) -> None:
    """Set weights to 0 where a mask is False, in place."""
    layers = prunable(body)
    with torch.no_grad():
        for name, mask in masks.items():
            layers[name].weight.masked_fill_(~mask, 0.0)


def check_masks(body: Body, masks: Masks) -> None:
    """Raise ValueError for a mask of no layer, of another shape than its weight's, or not bool."""
    layers = prunable(body)
    for name, mask in masks.items():
        if name not in layers:
            raise ValueError(f"no layer {name!r} to mask; there are: {', '.join(layers)}")
        shape = tuple(layers[name].weight.shape)
        if tuple(mask.shape) != shape or mask.dtype != torch.bool:
            raise ValueError(
                f"the mask of {name!r} must be bool of shape {shape}, "
                f"got {mask.dtype} of {tuple(mask.shape)}"
            )


def masks_of(body: Body) -> Masks:
    """Masks that keep what is not 0."""
    return {name: layer.weight != 0 for name, layer in prunable(body).items()}


def sparsity_of(body: Body) -> float:
    """Share of weights that are 0, over all convolutions and dense layers; biases do not count."""
    masks = masks_of(body).values()
    return 1.0 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)


def output_losses(body: Body, recording: Recording) -> dict[str, Tensor]:
    """What each weight's removal takes from its layer's output on `recording`, as a share of it.

    A weight squared, times the mean square of the input that it multiplies; divided by the mean
    square of the layer's output, summed over its units. Of the last layer's output only what tells
    its units apart counts, as the mean over actions decides nothing and is often the largest part.
    Returns tensors of the weights' shapes, at least 0. Raises ValueError for an empty recording.
    """
    inputs, outputs = mean_squares(body, recording)
    return {
        name: layer.weight.square() * inputs[name] / outputs[name].clamp_min(1e-30)
        for name, layer in prunable(body).items()
    }


def mean_squares(body: Body, recording: Recording) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean squares, over a recording, of what layers are given and of what they return.

    The first: for each layer, of the input that each of its weights multiplies, a tensor that
    broadcasts with the weight; over all pixels where it is a convolution. The second: of the
    output, summed over its units or channels, without dimension; in the last layer, if it has more
    than one, of the differences from the mean of each observation's outputs.
    Raises ValueError for an empty recording.
    """
    if len(recording) == 0:
        raise ValueError("layers cannot be measured on an empty recording")
    layers = prunable(body)
    last = list(layers)[-1]
    inputs = {name: torch.zeros(()) for name in layers}
    outputs = {name: torch.zeros(()) for name in layers}
    counts = dict.fromkeys(layers, 0)  # a picture may go through a layer in several ways

    def measure(name: str, layer: nn.Module, given: tuple[Tensor], returned: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        count = len(given[0])
        counts[name] += count
        inputs[name] = inputs[name] + count * _input_mean_square(layer, given[0])
        if name == last and returned.shape[1] > 1:
            dimensions = tuple(range(1, returned.ndim))
            returned = returned - returned.mean(dimensions, keepdim=True)
        units = returned.square().mean(0)
        units = units.flatten(1).mean(1) if isinstance(layer, nn.Conv2d) else units
        outputs[name] = outputs[name] + count * units.sum()

    hooks = [layer.register_forward_hook(partial(measure, name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            for batch in recording.batches():
                body(*batch.inputs())
    finally:
        for hook in hooks:
            hook.remove()
    for name, count in counts.items():
        inputs[name], outputs[name] = inputs[name] / count, outputs[name] / count
    return inputs, outputs


def _input_mean_square(layer: nn.Conv2d | nn.Linear, given: Tensor) -> Tensor:
    """(1, inputs) of a dense layer, (1 or outputs, inputs a group, height, width) of a kernel."""
    squares = given.square().mean(0, keepdim=True)
    if isinstance(layer, nn.Linear):
        return squares
    seen = functional.unfold(
        squares,
        layer.kernel_size,  # pyright: ignore[reportArgumentType]
        layer.dilation,  # pyright: ignore[reportArgumentType]
        layer.padding,  # pyright: ignore[reportArgumentType]
        layer.stride,  # pyright: ignore[reportArgumentType]
    )
    taps = seen.mean(2).view(layer.groups, *layer.weight.shape[1:])
    return taps.repeat_interleave(layer.out_channels // layer.groups if layer.groups > 1 else 1, 0)


def _random_scores(body: Body, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (1.0 - torch.rand(layer.weight.shape, generator=generator)) * (layer.weight != 0)
        for name, layer in prunable(body).items()
    }


def _magnitude_scores(body: Body) -> dict[str, Tensor]:
    return {
        name: layer.weight.abs() / layer.weight.square().mean().sqrt().clamp_min(1e-30)
        for name, layer in prunable(body).items()
    }


def _energy_scores(
    body: Body, recording: Recording | None, energy_per_weight: Mapping[str, float] | None
) -> dict[str, Tensor]:
    if recording is None or energy_per_weight is None:
        raise ValueError("pruning by energy needs a recording and the energy of each weight")
    for name in prunable(body):
        if not energy_per_weight.get(name, 0.0) > 0:
            raise ValueError(
                f"the energy of a weight of {name!r} must be above 0, "
                f"got {energy_per_weight.get(name)}"
            )
    losses = output_losses(body, recording)
    return {name: loss / energy_per_weight[name] for name, loss in losses.items()}
