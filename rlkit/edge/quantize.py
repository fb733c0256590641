"""Quantizes an exported body to 8 bits: weights per output channel, activations per tensor.

Static quantization by ONNX Runtime's own tools, calibrated on recorded observations: weights are
signed and symmetric, activations unsigned, as its integer kernels want them (signed activations
run seven times slower). Three things are done beside:

- Observations in bytes are taken as they are: their scale is 1/255 and their zero point 0 by
  definition, so the first quantization falls away, and no calibration can get it wrong.
- The last dense layer, which tells actions apart by small differences, computes in float32, with
  weights that are stored in float16 (stored as bytes they cost a hundredth of the agreement). Its
  input is not rounded, so that all after the last integer layer is float and nothing before it.
- Weights are rounded such that each makes up for the rounding of those before it.

On Boxing that takes the agreement of actions from 0.972 to 0.984. Fitting the last layer anew to
what the layers before it have become lowered the error of values, but not that of actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlkit.edge.body import ExportError
from rlkit.edge.export import BYTE_SCALE, copied, declare_bytes, quiet, reading_bytes
from rlkit.edge.onnx_file import OBSERVATIONS, state_names
from rlkit.edge.onnx_runtime import onnx_runtime
from rlkit.recording import Recording

if TYPE_CHECKING:
    import onnx

_LAYERS = ("Conv", "Gemm", "MatMul")
_PASSING = ("Relu", "MaxPool", "Reshape", "Flatten", "Concat", "Resize", "Transpose")
_BATCH = 64
_MOST_INPUTS = 8_192
_MOST = 127
_DAMPING = 0.01  # of the inputs' mean square, as in GPTQ


@dataclass(frozen=True)
class QuantizeConfig:
    """How a body is quantized."""

    weights_only: bool = False
    """Keep activations in float32: as small a file, but no integer arithmetic."""
    calibration: Literal["percentile", "min-max", "entropy"] = "percentile"
    """How the range of an activation follows from what it is on the recording."""
    percentile: float = 99.99
    """Share in % of an activation's values that lie within its range; only for `percentile`."""
    rounding: Literal["compensated", "nearest"] = "compensated"
    """How a weight becomes a byte: the nearest, or such that it makes up for what was rounded
    before it, on the recorded inputs of its layer (Frantar et al. 2023, "GPTQ")."""
    float_last: bool = True
    """Compute the last dense layer in float32; its weights are stored in float16."""
    weight_bits: int = 8
    """Of weights, 3 to 8. They are bytes in any case, but fewer different ones take less room once
    the file is compressed; fewer than 8 need compensated rounding."""

    def __post_init__(self) -> None:
        if self.calibration not in ("min-max", "percentile", "entropy"):
            raise ValueError(
                f"calibration must be min-max, percentile or entropy, got {self.calibration!r}"
            )
        if not 50.0 < self.percentile <= 100.0:
            raise ValueError(f"percentile must be in (50, 100], got {self.percentile}")
        if self.rounding not in ("compensated", "nearest"):
            raise ValueError(f"rounding must be compensated or nearest, got {self.rounding!r}")
        if not 3 <= self.weight_bits <= 8:
            raise ValueError(f"weight_bits must be from 3 to 8, got {self.weight_bits}")
        if self.weight_bits < 8 and (self.rounding == "nearest" or self.weights_only):
            raise ValueError("fewer than 8 weight_bits need compensated rounding of integer layers")


def quantize(
    model: onnx.ModelProto, recording: Recording, config: QuantizeConfig | None = None
) -> onnx.ModelProto:
    """A quantized copy of what `body_to_onnx` gave, that takes observations as they were recorded.

    Raises ValueError for an empty recording and one that the model cannot read, ExportError where
    there is nothing to quantize.
    """
    config = config or QuantizeConfig()
    if not len(recording):
        raise ValueError("calibration needs recorded observations, and there are none")
    _check_fits(model, recording)
    layers = [node for node in model.graph.node if node.op_type in _LAYERS]
    if not layers:
        raise ExportError("this model has no convolution and no dense layer to quantize")
    in_bytes = recording.observations.dtype == np.uint8
    if config.weights_only:
        quantized = quantize_weights(model)
        return reading_bytes(quantized) if in_bytes else quantized
    last = layers[-1] if config.float_last and layers[-1].op_type == "Gemm" else None
    rounded, scales = model, {}
    if config.rounding == "compensated":
        whole = [each for each in layers if each is not last]
        rounded, scales = round_compensated(model, recording, whole, config.weight_bits)
    quantized = _static(rounded, scales, recording, config, in_bytes, _after(model, last))
    if in_bytes:
        _take_bytes(quantized)
    if last is not None:
        _unround(quantized, _before(model, last))
        _store_in_half(quantized, last.input[1])
    _drop_unused(quantized)
    return quantized


def quantize_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose weights are bytes that are scaled back where they are used."""
    from onnx import helper, numpy_helper

    model = copied(model)
    graph = model.graph
    weights = {
        node.input[1]: node
        for node in graph.node
        if node.op_type in _LAYERS and len(node.input) > 1
    }
    for tensor in list(graph.initializer):
        node = weights.get(tensor.name)
        if node is None:
            continue
        values = numpy_helper.to_array(tensor)
        axis = _output_axis(node)
        whole, scale = to_bytes(values, axis)
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(whole, f"{name}.bytes"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        inputs = [f"{name}.bytes", f"{name}.scale"]
        graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
    return model


def _store_in_half(model: onnx.ModelProto, weight: str) -> None:
    """Store a layer's weights in float16, from which a runtime casts them as it loads the model."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    tensor = next((each for each in graph.initializer if each.name == weight), None)
    if tensor is None:
        return
    half = numpy_helper.to_array(tensor).astype(np.float16)
    graph.initializer.remove(tensor)
    graph.initializer.append(numpy_helper.from_array(half, f"{weight}.half"))
    cast = helper.make_node("Cast", [f"{weight}.half"], [weight], to=TensorProto.FLOAT)
    graph.node.insert(list(graph.node).index(_reader(model, weight)), cast)


def to_bytes(
    weights: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights as signed bytes from -127 to 127, and what one is worth in each output channel."""
    others = tuple(each for each in range(weights.ndim) if each != axis)
    scale = np.abs(weights).max(others) / 127.0
    scale = np.where(scale > 0.0, scale, 1.0).astype(np.float32)
    shape = [-1 if each == axis else 1 for each in range(weights.ndim)]
    whole = np.rint(weights / scale.reshape(shape)).clip(-_MOST, _MOST)
    return whole.astype(np.int8), scale


def round_compensated(
    model: onnx.ModelProto,
    recording: Recording,
    layers: Sequence[onnx.NodeProto],
    bits: int = 8,
) -> tuple[onnx.ModelProto, dict[str, NDArray[np.float32]]]:
    """A copy whose weights lie on grids of so many bits, and each weight's scales (outputs,).

    Weights are rounded one input after the other; what that changes in the layer's outputs on the
    recording is made up for by the inputs that are still to be rounded (Frantar et al. 2023), save
    by those that were pruned, which stay 0 (as in Frantar & Alistarh 2023, "SparseGPT").
    """
    from onnx import numpy_helper

    model = copied(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    scales = {}
    for layer in layers:
        tensor = tensors.get(layer.input[1])
        if tensor is None or layer.input[1] in scales:
            continue
        weights, axis = numpy_helper.to_array(tensor), _output_axis(layer)
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
        inputs = _layer_inputs(layer, weights, _values_of(model, layer.input[0], recording))
        most = 2 ** (bits - 1) - 1
        scale = _grid_scales(rows, most)
        fitted = scale[:, None] * _compensated(rows / scale[:, None], inputs, most)
        moved = np.moveaxis(weights, axis, 0).shape
        back = np.moveaxis(fitted.astype(np.float32).reshape(moved), 0, axis)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(back), tensor.name))
        scales[tensor.name] = scale
    return model, scales


def _grid_scales(rows: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """What one is worth in each row (outputs, inputs), so that rounding loses least.

    most: the largest whole number. On a coarse grid the largest weights are better cut off.
    """
    whole: NDArray[np.float32] = np.abs(rows).max(1) / most
    whole = np.where(whole > 0.0, whole, 1.0).astype(np.float32)
    if most == _MOST:
        return whole
    shares = np.linspace(0.4, 1.0, 31, dtype=np.float32)
    scales = shares[:, None] * whole
    losses = [
        np.square(np.rint(rows / each[:, None]).clip(-most, most) * each[:, None] - rows).sum(1)
        for each in scales
    ]
    return scales[np.argmin(losses, 0), np.arange(len(rows))]


def _compensated(
    rows: NDArray[Any], inputs: NDArray[Any], most: int = _MOST
) -> NDArray[np.float64]:
    """Rows (outputs, inputs) in units of their scales as whole numbers from -most to most.

    inputs: (count, inputs) that the rows multiply. What is 0 stays 0.
    """
    gram = inputs.astype(np.float64).T @ inputs.astype(np.float64)
    mean = np.trace(gram) / len(gram)
    gram += (_DAMPING * mean + 1e-12) * np.eye(len(gram))
    # Row k of the upper factor says how an error in input k is shared among those after it.
    factor = np.linalg.cholesky(np.linalg.inv(gram)).T
    left, whole = rows.astype(np.float64).copy(), np.zeros(rows.shape)
    for place in range(rows.shape[1]):
        nearest = np.rint(left[:, place]).clip(-most, most)
        whole[:, place] = np.where(rows[:, place] == 0.0, 0.0, nearest)
        error = (left[:, place] - whole[:, place]) / factor[place, place]
        left[:, place + 1 :] -= error[:, None] * factor[place, place + 1 :]
    return whole


def _layer_inputs(
    layer: onnx.NodeProto, weights: NDArray[Any], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(count, inputs of an output) that a layer's weights multiply, some thousands of them."""
    if layer.op_type != "Conv":
        return values.reshape(-1, values.shape[-1])[:_MOST_INPUTS]
    settings = {each.name: list(each.ints) for each in layer.attribute}
    rows, columns = weights.shape[2:]
    down, across = settings.get("strides", [1, 1])
    top, left, bottom, right = settings.get("pads", [0, 0, 0, 0])
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), (2, 3))
    windows = windows[:, :, ::down, ::across]  # (count, channels, y, x, rows, columns)
    places = windows.shape[2] * windows.shape[3]
    chosen = np.random.default_rng(0).integers(len(values) * places, size=_MOST_INPUTS)
    count, y, x = np.unravel_index(chosen, (len(values), *windows.shape[2:4]))
    return windows[count, :, y, x].reshape(_MOST_INPUTS, -1)


def _reader(model: onnx.ModelProto, weight: str) -> onnx.NodeProto:
    """The layer that a weight belongs to."""
    return next(node for node in model.graph.node if weight in node.input)


def _check_fits(model: onnx.ModelProto, recording: Recording) -> None:
    """Raise ValueError for a recording of other observations or another state."""
    wanted = {
        each.name: tuple(side.dim_value for side in each.type.tensor_type.shape.dim[1:])
        for each in model.graph.input
    }
    names = [OBSERVATIONS, *state_names(len(recording.state))]
    parts = (recording.observations, *recording.state)
    given = {name: part.shape[1:] for name, part in zip(names, parts, strict=True)}
    if wanted != given:
        raise ValueError(
            f"the recording, of {recording.environment.get('id')}, has {given}, and this policy "
            f"takes {wanted}: calibrate on what the policy itself sees"
        )


def _static(
    model: onnx.ModelProto,
    scales: Mapping[str, NDArray[np.float32]],
    recording: Recording,
    config: QuantizeConfig,
    in_bytes: bool,
    excluded: Sequence[str],
) -> onnx.ModelProto:
    """As ONNX Runtime quantizes it, in its format of pairs of quantize and dequantize."""
    import tempfile
    from pathlib import Path

    import onnx

    onnx_runtime()
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            # All of a size, as percentiles are taken over a stack of them.
            whole = len(recording) // _BATCH * _BATCH or len(recording)
            self._batches = iter(_batches(recording[:whole]))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:  # pyright: ignore
            return next(self._batches, None)

    given: dict[str, list[dict[str, Any]]] = {
        name: [
            {
                "scale": np.array(each),
                "zero_point": np.array(0, np.int8),
                "quant_type": QuantType.QInt8,
            }
            | ({"axis": _output_axis(_reader(model, name))} if place == 0 else {})
            for place, each in enumerate(scale)
        ]
        for name, scale in scales.items()
    }
    if in_bytes:
        scale, zero = np.array(BYTE_SCALE, np.float32), np.array(0, np.uint8)
        exactly = {"scale": scale, "zero_point": zero, "quant_type": QuantType.QUInt8}
        given[OBSERVATIONS] = [exactly]
    options: dict[str, Any] = {
        "WeightSymmetric": True,
        "ActivationSymmetric": False,
        "TensorQuantOverrides": given,
        "CalibPercentile": config.percentile,
    }
    methods = {
        "min-max": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    with quiet(), tempfile.TemporaryDirectory(prefix="rlkit-edge-") as folder:
        file = Path(folder) / "quantized.onnx"
        quantize_static(
            copied(model),
            file,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=[*_LAYERS, *_PASSING],
            nodes_to_exclude=list(excluded),
            calibrate_method=methods[config.calibration],
            extra_options=options,
        )
        return onnx.load(file)


def _batches(recording: Recording) -> Sequence[dict[str, NDArray[np.float32]]]:
    names = [OBSERVATIONS, *state_names(len(recording.state))]
    return [
        {name: part.numpy() for name, part in zip(names, batch.inputs(), strict=True)}
        for batch in recording.batches(_BATCH)
    ]


def _take_bytes(model: onnx.ModelProto) -> None:
    """Leave out the quantization of observations, which are bytes already."""
    graph = model.graph
    firsts = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == OBSERVATIONS]
    for first in firsts:
        _replace_input(graph, first.output[0], OBSERVATIONS)
        graph.node.remove(first)
    if firsts:
        declare_bytes(model)
        return
    raise ExportError("the first layer of this policy is not one that reads bytes")


def _before(model: onnx.ModelProto, last: onnx.NodeProto) -> list[str]:
    """Tensors between the last integer layer and `last`."""
    makers = {output: node for node in model.graph.node for output in node.output}
    found, open_ = [], [last.input[0]]
    while open_:
        name = open_.pop()
        found.append(name)
        node = makers.get(name)
        if node is not None and node.op_type not in _LAYERS:
            open_ += [each for each in node.input if each in makers]
    return found


def _after(model: onnx.ModelProto, last: onnx.NodeProto | None) -> list[str]:
    """Names of `last` and of the nodes between the last integer layer and it, which stay float."""
    if last is None:
        return []
    tensors = set(_before(model, last))
    between = [
        node
        for node in model.graph.node
        if node.op_type not in _LAYERS and tensors & set(node.output)
    ]
    return [last.name, *(node.name for node in between)]


def _unround(model: onnx.ModelProto, tensors: Sequence[str]) -> None:
    """Leave out the pairs of quantize and dequantize on these tensors."""
    graph = model.graph
    for tensor in tensors:
        for rounding in [
            n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == tensor
        ]:
            for back in [n for n in graph.node if rounding.output[0] in n.input]:
                _replace_input(graph, back.output[0], tensor)
                graph.node.remove(back)
            graph.node.remove(rounding)


def _drop_unused(model: onnx.ModelProto) -> None:
    """Leave out numbers that no node reads."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.initializer if each.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _replace_input(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new


def _values_of(model: onnx.ModelProto, tensor: str, recording: Recording) -> NDArray[np.float32]:
    """(count, any) what a tensor of a model that takes floats is on the recording."""
    from onnx import TensorProto, helper

    onnxruntime = onnx_runtime()

    model = copied(model)
    if tensor not in [each.name for each in model.graph.output]:
        told = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)
        model.graph.output.append(told)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: list[Any] = [session.run([tensor], feed)[0] for feed in _batches(recording)]
    return np.concatenate(found)


def _output_axis(node: onnx.NodeProto) -> int:
    """The axis of a layer's weights that counts its outputs."""
    if node.op_type == "Conv":
        return 0
    return 0 if any(each.name == "transB" and each.i for each in node.attribute) else 1
