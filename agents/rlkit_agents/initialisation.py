"""How the weights of layers start: PyTorch's default, Xavier, He or orthogonal."""

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import init

Initialisation = Literal["default", "xavier_uniform", "xavier_normal", "he", "orthogonal"]


@torch.no_grad()
def initialise(
    module: nn.Module,
    scheme: Initialisation,
    *,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
) -> None:
    """Draw new weights for every convolution, linear and recurrent layer inside a module.

    With n_in and n_out a layer's fan-in and fan-out:

    - "default": weights and biases uniform in +-1/sqrt(n_in), as PyTorch's layers do themselves.
    - "xavier_uniform": uniform in +-sqrt(6 / (n_in + n_out)) (Glorot & Bengio 2010, eq. 16).
    - "xavier_normal": normal with variance 2 / (n_in + n_out) (the same, eq. 12).
    - "he": normal with variance 2 / n_in (He et al. 2015, eq. 10).
    - "orthogonal": orthogonal rows or columns (Saxe et al. 2014).

    gain multiplies the weights of "orthogonal" alone; sqrt(2) suits layers before a ReLU. Biases
    start at zero but for "default". Each of a recurrent layer's two matrices, its gates one above
    the other, counts as a layer; "default" is uniform in +-1/sqrt(size) there. The noise of noisy
    layers and normalisation layers stay as they are. generator: drawn from, in the order of the
    sub-modules; PyTorch's global one if None.
    Raises ValueError for an unknown scheme.
    """
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            _initialise_recurrent(layer, scheme, generator)
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        weight, bias = layer.weight, layer.bias
        match scheme:
            case "default":
                bound = 1 / math.sqrt(weight[0].numel())
                init.uniform_(weight, -bound, bound, generator=generator)
                if bias is not None:
                    init.uniform_(bias, -bound, bound, generator=generator)
                continue
            case "xavier_uniform":
                init.xavier_uniform_(weight, generator=generator)
            case "xavier_normal":
                init.xavier_normal_(weight, generator=generator)
            case "he":
                init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            case "orthogonal":
                # PyTorch's cannot write into a channels-last convolution.
                contiguous = torch.empty_like(weight, memory_format=torch.contiguous_format)
                weight.copy_(init.orthogonal_(contiguous, gain, generator=generator))
            case _:
                raise ValueError(f"unknown initialisation {scheme!r}")
        if bias is not None:
            init.zeros_(bias)


def _initialise_recurrent(
    layer: nn.RNNBase, scheme: Initialisation, generator: torch.Generator | None
) -> None:
    for name, parameter in layer.named_parameters():
        if scheme == "default":
            bound = 1 / math.sqrt(layer.hidden_size)
            init.uniform_(parameter, -bound, bound, generator=generator)
        elif name.startswith("bias"):
            init.zeros_(parameter)
        elif scheme == "xavier_uniform":
            init.xavier_uniform_(parameter, generator=generator)
        elif scheme == "xavier_normal":
            init.xavier_normal_(parameter, generator=generator)
        elif scheme == "he":
            init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        elif scheme == "orthogonal":
            init.orthogonal_(parameter, generator=generator)
