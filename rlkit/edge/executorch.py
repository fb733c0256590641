"""Writes a policy's body for ExecuTorch, PyTorch's own runtime for devices, beside ONNX.

Lowered to XNNPACK, whose kernels run on Arm and x86. The program takes observations at batch 1, as
the environment gives them, and the parts of a recurrent state; it gives what a `Body` gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlkit.edge.body import Body, ExportError
from rlkit.edge.export import BYTE_SCALE, quiet
from rlkit.extras import installing
from rlkit.reasons import reason_of
from rlkit.recording import Recording


class _FromBytes(nn.Module):
    """A body that scales bytes itself."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, observations: Tensor, *state: Tensor) -> Any:
        return self.body(observations.float() * BYTE_SCALE, *state)


def body_to_executorch(
    body: Body, observation_space: Any, recording: Recording | None = None
) -> bytes:
    """The body as a program of ExecuTorch (.pte), in 8 bits where there is a recording.

    Weights then are bytes with a scale for each output channel, activations bytes with one scale
    each, whose ranges the recording tells. Raises ExportError where ExecuTorch is not installed or
    has no counterpart for an operator, ValueError for an empty recording.
    """
    if recording is not None and not len(recording):
        raise ValueError("calibration needs recorded observations, and there are none")
    in_bytes = observation_space.dtype == np.uint8
    seen = torch.zeros(1, *observation_space.shape)
    state = tuple(torch.zeros(1, size) for size in body.state_sizes)
    try:
        with quiet():
            module: Any = body
            if recording is not None:
                module = _quantized(body, (seen, *state), recording)
            if in_bytes:
                module, seen = _FromBytes(module), seen.to(torch.uint8)
            return _lowered(torch.export.export(module, (seen, *state)))
    except ImportError as error:
        raise ExportError(f"{error}: {installing('executorch')}") from error
    except Exception as error:  # the exporter raises as many kinds as it has stages
        raise ExportError(
            f"this policy cannot be written for ExecuTorch: {reason_of(error)}"
        ) from error


def _quantized(body: Body, example: tuple[Tensor, ...], recording: Recording) -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (  # pyright: ignore[reportMissingImports]
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import (  # pyright: ignore[reportMissingImports]
        convert_pt2e,
        prepare_pt2e,
    )

    settings = get_symmetric_quantization_config(is_per_channel=True)
    quantizer = XNNPACKQuantizer().set_global(settings)
    prepared = prepare_pt2e(torch.export.export(body, example).module(), quantizer)
    with torch.no_grad():
        for one in recording.batches(1):
            prepared(*one.inputs())
    return convert_pt2e(prepared)


def _lowered(program: Any) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # pyright: ignore[reportMissingImports]
        XnnpackPartitioner,
    )
    from executorch.exir import (  # pyright: ignore[reportMissingImports]
        to_edge_transform_and_lower,
    )

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)
