"""Stacks of machines as feed-forward networks, whose layers start as the stack's mean-field pass.

Each layer's weights and hidden biases become those of a linear layer before a sigmoid (Hinton,
Osindero & Teh 2006; Hinton & Salakhutdinov 2006). Fine-tuning them is in `finetune.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from rlkit.dbn.machine import GaussianMachine, Machine
from rlkit.dbn.noise import Noise

HEAD_SCALE = 0.01
"""Standard deviation of a new head's weights: small, so that features stay as they are at first."""


class Seen(nn.Module):
    """(v - offset) / variance: what the weights of Gaussian visible units see of the data."""

    offset: Tensor
    variance: Tensor

    def __init__(self, offset: Tensor, variance: Tensor) -> None:
        """offset, variance: (visible,); neither is trained."""
        super().__init__()
        self.register_buffer("offset", offset.clone())
        self.register_buffer("variance", variance.clone())

    def forward(self, v: Tensor) -> Tensor:
        return (v - self.offset) / self.variance


class DropConnectLinear(nn.Linear):
    """A linear layer that leaves out single weights while training (Wan et al. 2013).

    The weights that stay are stretched, so that the mean is right and evaluation needs all weights
    as they are. One mask serves a whole batch; Wan et al. draw one for each row.
    """

    def __init__(self, inputs: int, outputs: int, share: float) -> None:
        """share: of weights that are left out, in [0, 1)."""
        super().__init__(inputs, outputs)
        self.share = share

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, dropout(self.weight, self.share, self.training), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, share={self.share}"


def check_stack(machines: Sequence[Machine]) -> None:
    """Raises ValueError where a layer does not take what the one below gives."""
    if not machines:
        raise ValueError("a stack needs at least one layer")
    for number, (below, above) in enumerate(pairwise(machines), start=1):
        if above.kind != "bernoulli":
            raise ValueError(
                f"layer {number} has {above.kind} visible units, but the layer below gives chances;"
                ' only the first layer may be "gaussian"'
            )
        if above.visible_units != below.hidden_units:
            raise ValueError(
                f"layer {number} has {above.visible_units} visible units, but layer {number - 1}"
                f" has {below.hidden_units} hidden ones"
            )


def feed_forward(
    machines: Sequence[Machine],
    *,
    outputs: int | None = None,
    dropout_share: float = 0.0,
    drop_connect_share: float = 0.0,
    seed: int = 0,
) -> nn.Sequential:
    """A network from rows of data to the chances of the top layer's hidden units, or beyond.

    machines: from the bottom to the top of the stack; copied, never shared.
    outputs: of a linear layer on top, whose small weights are drawn from `seed`; None for no head.
    dropout_share: of features left out while training, after each sigmoid (Srivastava et al. 2014).
    drop_connect_share: of weights left out while training, in each layer but the head.

    In evaluation without a head its output is the stack's mean-field pass. Raises ValueError for
    layers that do not fit or shares outside [0, 1).
    """
    check_stack(machines)
    for name, share in (("dropout", dropout_share), ("drop_connect", drop_connect_share)):
        if not 0.0 <= share < 1.0:
            raise ValueError(f"{name} must be in [0, 1), got {share}")
    # New layers draw weights from PyTorch's own generator, which is not ours to move.
    with torch.random.fork_rng(devices=()), torch.no_grad():
        layers = _layers(machines, dropout_share, drop_connect_share)
        if outputs is not None:
            head = nn.Linear(machines[-1].hidden_units, outputs)
            head.weight.copy_(Noise(seed).normal_(torch.empty(head.weight.shape)) * HEAD_SCALE)
            head.bias.zero_()
            layers["head"] = head
    return nn.Sequential(layers)


def _layers(
    machines: Sequence[Machine], dropout_share: float, drop_connect_share: float
) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    first = machines[0]
    if isinstance(first, GaussianMachine):
        layers["seen"] = Seen(first.offset, first.variance)
    for number, machine in enumerate(machines):
        inputs, outputs = machine.visible_units, machine.hidden_units
        layer = nn.Linear(inputs, outputs)
        if drop_connect_share > 0.0:
            layer = DropConnectLinear(inputs, outputs, drop_connect_share)
        layer.weight.copy_(machine.weights)
        layer.bias.copy_(machine.hidden_bias)
        layers[f"layer{number}"] = layer
        layers[f"sigmoid{number}"] = nn.Sigmoid()
        if dropout_share > 0.0:
            layers[f"dropout{number}"] = nn.Dropout(dropout_share)
    return layers
