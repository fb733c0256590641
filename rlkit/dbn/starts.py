"""Networks whose weights start in different ways, pretrained or drawn, to be compared."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from rlkit.dbn.dbn import DBN
from rlkit.dbn.network import HEAD_SCALE
from rlkit_agents.initialisation import Initialisation, initialise

DRAWN: dict[str, tuple[type[nn.Module], Initialisation | None]] = {
    "sigmoid, small": (nn.Sigmoid, None),
    "sigmoid, Xavier": (nn.Sigmoid, "xavier_uniform"),
    "sigmoid, He": (nn.Sigmoid, "he"),
    "sigmoid, orthogonal": (nn.Sigmoid, "orthogonal"),
    "ReLU, He": (nn.ReLU, "he"),
}
"""Name -> units, and how weights are drawn; None is N(0, 0.01^2), from where a stack's own machines
start (Hinton 2012, section 8)."""

PRETRAINED = "sigmoid, DBN"
"""Name of the network that starts with a deep belief network's weights."""


def drawn_network(name: str, sizes: Sequence[int], outputs: int, seed: int) -> nn.Sequential:
    """A network from sizes[0] columns through layers of the other sizes to `outputs` logits.

    name: in `DRAWN`. Biases start at zero.
    """
    units, scheme = DRAWN[name]
    generator = torch.Generator().manual_seed(seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.random.fork_rng(devices=()):  # of layers' own first weights, which are not kept
        for number, (inputs, size) in enumerate(pairwise(sizes)):
            layers[f"layer{number}"] = nn.Linear(inputs, size)
            layers[f"units{number}"] = units()
        layers["head"] = nn.Linear(sizes[-1], outputs)
    network = nn.Sequential(layers)
    if scheme is not None:
        initialise(network, scheme, generator=generator)
        return network
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(std=HEAD_SCALE, generator=generator)
                layer.bias.zero_()
    return network


def started_network(name: str, dbn: DBN, outputs: int, seed: int) -> nn.Sequential:
    """The network called `name`, `PRETRAINED` or in `DRAWN`, of the stack's sizes."""
    if name == PRETRAINED:
        return dbn.network(outputs=outputs, seed=seed)
    sizes = (dbn.n_features_in_, *(layer.hidden_units for layer in dbn.config.layers))
    return drawn_network(name, sizes, outputs, seed)
