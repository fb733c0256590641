"""Writes a policy's body as an ONNX model, for ONNX Runtime and any other that reads ONNX.

Its inputs are "observations", in the environment's own type, and for each part of a recurrent state
"state0", "state1"; its outputs "scores" and "next_state0", "next_state1". The first axis of all is
the batch.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.export import Dim

from rlkit.edge.body import Body, ExportError
from rlkit.edge.onnx_file import OBSERVATIONS, SCORES, state_names
from rlkit.reasons import reason_of

if TYPE_CHECKING:
    import onnx

OPSET = 20
BYTE_SCALE = 1.0 / 255.0
"""Of observations in bytes, before the body sees them."""


def body_to_onnx(body: Body, observation_shape: tuple[int, ...]) -> onnx.ModelProto:
    """The body as an ONNX model that takes observations as floats, bytes scaled to [0, 1].

    observation_shape: of one observation. Raises ExportError where an operator has no counterpart
    in ONNX.
    """
    parts = len(body.state_sizes)
    # Two of them, as a batch of one would be taken for a constant.
    example = (
        torch.zeros(2, *observation_shape),
        *(torch.zeros(2, size) for size in body.state_sizes),
    )
    batch = {0: Dim("batch")}
    try:
        with quiet():
            program = torch.onnx.export(
                body,
                example,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[OBSERVATIONS, *state_names(parts)],
                output_names=[SCORES, *state_names(parts, "next_")],
                dynamic_shapes=(batch, (batch,) * parts) if parts else (batch,),
            )
    except Exception as error:  # the exporter raises as many kinds as it has stages
        raise ExportError(f"this policy cannot be written as ONNX: {reason_of(error)}") from error
    assert program is not None
    return program.model_proto


def reading_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model that takes its observations in bytes, and scales them itself."""
    from onnx import TensorProto, helper, numpy_helper

    model = copied(model)
    graph = model.graph
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == OBSERVATIONS:
                node.input[place] = "observations_scaled"
    scale = numpy_helper.from_array(np.array(BYTE_SCALE, np.float32), "observations_scale")
    graph.initializer.append(scale)
    cast = helper.make_node("Cast", [OBSERVATIONS], ["observations_float"], to=TensorProto.FLOAT)
    inputs = ["observations_float", "observations_scale"]
    graph.node.insert(0, helper.make_node("Mul", inputs, ["observations_scaled"]))
    graph.node.insert(0, cast)
    declare_bytes(model)
    return model


def declare_bytes(model: onnx.ModelProto) -> None:
    """Declare a model's observations to be bytes, as the nodes that read them expect."""
    from onnx import TensorProto

    (observations,) = (each for each in model.graph.input if each.name == OBSERVATIONS)
    observations.type.tensor_type.elem_type = TensorProto.UINT8


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy, to be changed."""
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


@contextmanager
def quiet() -> Iterator[None]:
    """Without what tools print and log of their own work, which says nothing to a user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
