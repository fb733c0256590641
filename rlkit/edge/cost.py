"""What one inference of a policy's body costs: weights, operations, and energy by a stated model.

The model is that of Horowitz 2014, "Computing's energy problem (and what we can do about it)":
energies of single operations and of accesses to memory, in a chip of 45 nm. It ranks copies of a
policy and shows what takes the energy; it does not foretell what a device draws, which also
fetches instructions and idles. Convolutions and dense layers alone are counted: what stands
between them (activations, norms, pooling, gates) takes a few operations a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlkit.edge.body import Body

ACTIVATIONS_IN = "sram-32KB"
"""The memory through which activations pass."""
BIAS_BITS = 32
POSITION_BITS = 8


@dataclass(frozen=True)
class Technology:
    """Energies in picojoules of operations and of accesses to memory; Horowitz 2014, 45 nm.

    Integer operations are named by the bits of their operands.
    """

    int8_add_pj: float = 0.03
    """Sum of two integers of 8 bits."""
    int8_multiply_pj: float = 0.2
    """Product of two integers of 8 bits."""
    int32_add_pj: float = 0.1
    """Sum of two integers of 32 bits, as products of 8 bits are accumulated."""
    int32_multiply_pj: float = 3.1
    """Product of two integers of 32 bits."""
    fp32_add_pj: float = 0.9
    """Sum of two floating-point numbers of 32 bits."""
    fp32_multiply_pj: float = 3.7
    """Product of two floating-point numbers of 32 bits."""
    dram_pj_per_32_bits: float = 640.0
    """Reading 32 bits from DRAM outside the chip; recalled, not checked against the paper."""
    sram_8kb_pj_per_64_bits: float = 10.0
    """Reading or writing 64 bits of a cache of 8 KB."""
    sram_32kb_pj_per_64_bits: float = 20.0
    """Reading or writing 64 bits of a cache of 32 KB."""
    sram_1mb_pj_per_64_bits: float = 100.0
    """Reading or writing 64 bits of a cache of 1 MB."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of picojoules, at least 0, got {value}")

    @property
    def memories(self) -> dict[str, float]:
        """Picojoules a byte of each memory, by its name."""
        return {
            "dram": self.dram_pj_per_32_bits / 4,
            "sram-1MB": self.sram_1mb_pj_per_64_bits / 8,
            "sram-32KB": self.sram_32kb_pj_per_64_bits / 8,
            "sram-8KB": self.sram_8kb_pj_per_64_bits / 8,
        }

    def multiply_accumulate_pj(self, weight_bits: int, activation_bits: int) -> float:
        """Picojoules of a product and its addition: integers only where both factors have 8 bits.

        Products of 8 bits are accumulated in 32.
        """
        if weight_bits == activation_bits == 8:
            return self.int8_multiply_pj + self.int32_add_pj
        return self.fp32_multiply_pj + self.fp32_add_pj


HOROWITZ_45_NM = Technology()


@dataclass(frozen=True)
class Layer:
    """A convolution or dense layer, and what one inference at batch 1 does in it."""

    name: str
    """Dotted, as in `named_modules` of the body."""
    kind: Literal["convolution", "dense"]
    weights: int
    """All of them, without biases."""
    kept: int
    """Weights that are not zero."""
    biases: int
    multiply_accumulates: int
    """With all weights. A convolution uses each once for every pixel of its output, in each way in
    which a picture is seen; products with padding are counted."""
    kept_multiply_accumulates: int
    """With the kept weights alone."""
    inputs: int
    """Activations read."""
    outputs: int
    """Activations written."""

    def stored_bytes(self, weight_bits: int) -> int:
        """Bytes of weights, of their positions where some are pruned, and of biases of 32 bits.

        Of a pruned layer the kept weights are stored, and where they are: in a bitmap of one bit a
        weight, or in 8 bits a kept weight (the distance from the one before, as in Han et al. 2016,
        "Deep Compression"; fillers for longer gaps are not counted), whichever is smaller. It is
        stored as if nothing were pruned where that takes less still.
        """
        positions = min(self.weights, POSITION_BITS * self.kept)
        bits = min(self.kept * weight_bits + positions, self.weights * weight_bits)
        return math.ceil(bits / 8) + self.biases * BIAS_BITS // 8


@dataclass(frozen=True)
class LayerCost:
    """What one inference costs in one layer."""

    layer: Layer
    weight_bytes: int
    """Read once: weights, their positions, biases; see `Layer.stored_bytes`."""
    activation_bytes: int
    """Read as inputs and written as outputs, once each."""
    weight_microjoules: float
    """For reading weights."""
    activation_microjoules: float
    """For reading and writing activations."""
    arithmetic_microjoules: float
    """For kept multiply-accumulates; a bias is where the sum starts."""

    @property
    def memory_microjoules(self) -> float:
        """For all accesses to memory."""
        return self.weight_microjoules + self.activation_microjoules

    @property
    def energy_microjoules(self) -> float:
        """For memory and arithmetic."""
        return self.memory_microjoules + self.arithmetic_microjoules

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data: the layer's fields, bytes and energies."""
        return {**asdict(self.layer), **{name: getattr(self, name) for name in _SUMMED}}


_SUMMED = (
    "weight_bytes",
    "activation_bytes",
    "weight_microjoules",
    "activation_microjoules",
    "memory_microjoules",
    "arithmetic_microjoules",
    "energy_microjoules",
)


@dataclass(frozen=True)
class Cost:
    """What one inference at batch 1 costs, layer by layer and in all, and under which assumptions.

    All numbers are sums over convolutions and dense layers; see `cost_of`.
    """

    layers: tuple[LayerCost, ...]
    weight_bits: int
    activation_bits: int
    weights_in: str
    """The memory that holds the weights."""
    technology: Technology = field(repr=False)

    @property
    def parameters(self) -> int:
        """Weights and biases, pruned ones included."""
        return sum(each.layer.weights + each.layer.biases for each in self.layers)

    @property
    def kept_weights(self) -> int:
        """Weights that are not zero, without biases."""
        return sum(each.layer.kept for each in self.layers)

    @property
    def multiply_accumulates(self) -> int:
        """With all weights."""
        return sum(each.layer.multiply_accumulates for each in self.layers)

    @property
    def kept_multiply_accumulates(self) -> int:
        """With the kept weights alone."""
        return sum(each.layer.kept_multiply_accumulates for each in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Weights, their positions and biases, as stored and as read in an inference."""
        return sum(each.weight_bytes for each in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Read and written between layers."""
        return sum(each.activation_bytes for each in self.layers)

    @property
    def weight_microjoules(self) -> float:
        """For reading weights."""
        return sum(each.weight_microjoules for each in self.layers)

    @property
    def activation_microjoules(self) -> float:
        """For reading and writing activations."""
        return sum(each.activation_microjoules for each in self.layers)

    @property
    def memory_microjoules(self) -> float:
        """For all accesses to memory."""
        return self.weight_microjoules + self.activation_microjoules

    @property
    def arithmetic_microjoules(self) -> float:
        """For kept multiply-accumulates."""
        return sum(each.arithmetic_microjoules for each in self.layers)

    @property
    def energy_microjoules(self) -> float:
        """For memory and arithmetic."""
        return self.memory_microjoules + self.arithmetic_microjoules

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data: totals, assumptions, and the same for each layer."""
        counts = ("parameters", "kept_weights", "multiply_accumulates", "kept_multiply_accumulates")
        return {
            **{name: getattr(self, name) for name in (*counts, *_SUMMED)},
            "weight_bits": self.weight_bits,
            "activation_bits": self.activation_bits,
            "weights_in": self.weights_in,
            "activations_in": ACTIVATIONS_IN,
            "technology": asdict(self.technology),
            "layers": [each.to_json() for each in self.layers],
        }


def layers_of(body: Body, observation_shape: tuple[int, ...]) -> list[Layer]:
    """Every convolution and dense layer of a body, in the order in which an inference runs them.

    observation_shape: of one observation. The inference is of zeros.
    """
    found: list[Layer] = []
    hooks = [
        module.register_forward_hook(_seen_as(name, found))
        for name, module in body.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.inference_mode():
            state = (torch.zeros(1, size) for size in body.state_sizes)
            body(torch.zeros(1, *observation_shape), *state)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _seen_as(
    name: str, found: list[Layer]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """A forward hook that notes a layer of that name, called with one observation."""

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        convolution = isinstance(module, nn.Conv2d)
        uses = output.numel() // output.shape[1]
        weights, kept = module.weight.numel(), int(module.weight.count_nonzero())
        found.append(
            Layer(
                name=name,
                kind="convolution" if convolution else "dense",
                weights=weights,
                kept=kept,
                biases=0 if module.bias is None else module.bias.numel(),
                multiply_accumulates=weights * uses,
                kept_multiply_accumulates=kept * uses,
                inputs=inputs[0].numel(),
                outputs=output.numel(),
            )
        )

    return note


def cost_of(
    layers: Iterable[Layer],
    *,
    weight_bits: int = 32,
    activation_bits: int = 32,
    technology: Technology = HOROWITZ_45_NM,
    weights_in: str = "dram",
) -> Cost:
    """What one inference at batch 1 of `layers` costs.

    weight_bits, activation_bits: 32 and 32 (floats), 8 and 8 (integers), or weights alone of 8,
    which are then computed with as floats. Biases have 32 bits. weights_in: a name in
    `Technology.memories`.

    Assumed: weights are read once, and so are a layer's inputs, from a cache of 32 KB to which its
    outputs are written once. No bit of an access is wasted, and what a memory is said to hold has
    room there, be it in several of that size. Of a pruned layer the kept weights and their
    positions are read (`Layer.stored_bytes`), and only their products computed, as hardware for
    sparse weights does it. Finding the positions takes no energy.
    Raises ValueError for other bits and an unknown memory.
    """
    if (weight_bits, activation_bits) not in ((32, 32), (8, 32), (8, 8)):
        raise ValueError(
            f"weights and activations have 32 and 32, 8 and 32, or 8 and 8 bits, got "
            f"{weight_bits} and {activation_bits}"
        )
    memories = technology.memories
    if weights_in not in memories:
        raise ValueError(f"unknown memory {weights_in!r}; known: {', '.join(memories)}")
    multiply_accumulate_pj = technology.multiply_accumulate_pj(weight_bits, activation_bits)
    costs = []
    for layer in layers:
        weight_bytes = layer.stored_bytes(weight_bits)
        activation_bytes = (layer.inputs + layer.outputs) * activation_bits // 8
        costs.append(
            LayerCost(
                layer,
                weight_bytes,
                activation_bytes,
                weight_microjoules=weight_bytes * memories[weights_in] * 1e-6,
                activation_microjoules=activation_bytes * memories[ACTIVATIONS_IN] * 1e-6,
                arithmetic_microjoules=(
                    layer.kept_multiply_accumulates * multiply_accumulate_pj * 1e-6
                ),
            )
        )
    return Cost(tuple(costs), weight_bits, activation_bits, weights_in, technology)
