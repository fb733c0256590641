"""Makes bodies smaller by whole channels and units: what is left is dense, and faster anywhere.

For torsos that are one layer after another. Channels go by what they contribute to the layer behind
them. A LayerNorm over fewer units is another function, and the rest misses what went: fine-tuning
(`rlkit.edge.distil`) mends both.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlkit.edge.body import Body, ColoursToChannels, ExportError
from rlkit.edge.prune import mean_squares
from rlkit.recording import Recording
from rlkit_agents.networks import ACTIVATIONS

_PASSING = (nn.Linear, *ACTIVATIONS.values(), nn.MaxPool2d, nn.AvgPool2d, nn.Flatten)
"""Layers whose outputs do not mix channels, and dense ones."""
_SHRINKABLE = (
    "what can be shrunk is a sequence of convolutions, dense layers, LayerNorm, GroupNorm of one "
    "group, activations, pooling and flattening, before a dense head or a memory"
)


def shrinkable(body: Body) -> tuple[str, ...]:
    """Names of the layers whose outputs `shrink` can make fewer.

    Raises ExportError for a body that cannot be shrunk.
    """
    return tuple(hidden.name for hidden in _hidden_layers(body))


def shrink(body: Body, keep: Mapping[str, float] | float, recording: Recording) -> Body:
    """A copy of `body` with fewer channels in convolutions, and units in hidden dense layers.

    keep: share of outputs to keep, in (0, 1], of all these layers or by their names (`shrinkable`),
    then whole where none is told; at least one stays. Those go first that contribute least: the
    mean square of what they send on, times the square of the weights that it meets, measured on
    `recording`. The last layer's outputs and a memory's units stay.
    Raises ExportError for a body that cannot be shrunk; ValueError for another share, an unknown
    layer, and an empty recording.
    """
    hidden_layers = _hidden_layers(body)
    names = [hidden.name for hidden in hidden_layers]
    shares = dict(keep) if isinstance(keep, Mapping) else dict.fromkeys(names, keep)
    for name, share in shares.items():
        if name not in names:
            raise ValueError(f"no layer {name!r} to shrink; there are: {', '.join(names)}")
        if not 0.0 < share <= 1.0:
            raise ValueError(f"the share to keep of {name!r} must be in (0, 1], got {share}")
    inputs, _ = mean_squares(body, recording)
    small = copy.deepcopy(body)
    for hidden in hidden_layers:
        if hidden.name not in shares:
            continue
        behind = body.get_submodule(hidden.behind)
        assert isinstance(behind, nn.Conv2d | nn.Linear)
        contributions = behind.weight.square() * inputs[hidden.behind]
        importance = contributions.transpose(0, 1).reshape(hidden.outputs, -1).sum(1)
        count = max(1, round(shares[hidden.name] * hidden.outputs))
        kept = importance.argsort(descending=True, stable=True)[:count].sort().values
        _keep_outputs(small.get_submodule(hidden.name), kept)
        for norm in hidden.norms:
            _keep_entries(small.get_submodule(norm), kept)
        _keep_inputs(small.get_submodule(hidden.behind), kept, hidden.outputs)
    return small


@dataclass(frozen=True)
class _Hidden:
    """A layer whose outputs may go, and what has to follow: names of layers."""

    name: str
    outputs: int
    norms: tuple[str, ...]
    behind: str


def _hidden_layers(body: Body) -> list[_Hidden]:
    """The layers of a torso, each with its norms and the layer behind; or ExportError."""
    if not isinstance(body.torso, nn.Sequential):
        raise ExportError(f"a torso of {type(body.torso).__name__} cannot be shrunk; {_SHRINKABLE}")
    hidden: list[_Hidden] = []
    name, outputs, norms = "", 0, []
    layers = {f"torso.{name}": layer for name, layer in body.torso.named_children()}
    for each, layer in (layers | _layer_behind_torso(body)).items():
        _check_shrinkable(each, layer, outputs)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if name:
                hidden.append(_Hidden(name, outputs, tuple(norms), each))
            name, outputs, norms = each, layer.weight.shape[0], []
        elif isinstance(layer, nn.GroupNorm | nn.LayerNorm):
            norms.append(each)
    return hidden


def _layer_behind_torso(body: Body) -> dict[str, nn.Module]:
    """By its name, the dense layer that takes the torso's features."""
    if body.cell is not None:
        return {"cell.input": body.cell.input}
    if isinstance(body.head, nn.Linear):
        return {"head": body.head}
    for name, layer in body.head.named_children():
        if isinstance(layer, nn.Linear):
            return {f"head.{name}": layer}
        break
    raise ExportError(f"a head of {type(body.head).__name__} cannot be shrunk; {_SHRINKABLE}")


def _check_shrinkable(name: str, layer: nn.Module, outputs: int) -> None:
    """Raise ExportError for a layer whose entries are not those of the `outputs` before it."""
    if isinstance(layer, nn.GroupNorm):
        fits = layer.num_groups == 1
    elif isinstance(layer, nn.LayerNorm):
        fits = layer.normalized_shape == (outputs,) or not outputs
    elif isinstance(layer, nn.Conv2d):
        fits = layer.groups == 1
    elif isinstance(layer, ColoursToChannels):
        fits = not outputs
    else:
        fits = isinstance(layer, _PASSING)
    if not fits:
        kind = type(layer).__name__ if list(layer.children()) else layer
        raise ExportError(f"{name}, {kind}, cannot be shrunk; {_SHRINKABLE}")


def _keep_outputs(layer: nn.Module, kept: Tensor) -> None:
    """Leave a layer only these outputs, in place."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    _keep(layer, "weight", kept)
    _keep(layer, "bias", kept)
    if isinstance(layer, nn.Conv2d):
        layer.out_channels = len(kept)
    else:
        layer.out_features = len(kept)


def _keep_inputs(layer: nn.Module, kept: Tensor, outputs: int) -> None:
    """Leave a layer only the inputs from these of `outputs`, each one of which may be a picture."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    pixels = layer.weight.shape[1] // outputs
    entries = (kept[:, None] * pixels + torch.arange(pixels)).flatten()
    _keep(layer, "weight", entries, 1)
    if isinstance(layer, nn.Conv2d):
        layer.in_channels = len(entries)
    else:
        layer.in_features = len(entries)


def _keep_entries(norm: nn.Module, kept: Tensor) -> None:
    """Leave a norm only these entries, in place."""
    _keep(norm, "weight", kept)
    _keep(norm, "bias", kept)
    if isinstance(norm, nn.LayerNorm):
        norm.normalized_shape = (len(kept),)
    elif isinstance(norm, nn.GroupNorm):
        norm.num_channels = len(kept)


def _keep(layer: nn.Module, name: str, entries: Tensor, dimension: int = 0) -> None:
    """Replace a parameter by these entries of it; None stays."""
    parameter = getattr(layer, name)
    if parameter is not None:
        fewer = parameter.detach().index_select(dimension, entries)
        setattr(layer, name, nn.Parameter(fewer, requires_grad=parameter.requires_grad))
