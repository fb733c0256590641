"""Puts a policy into one file for a device: its body as ONNX, in 32 or 8 bits, and its header."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlkit.configuration import to_json
from rlkit.edge.body import Body, body_of
from rlkit.edge.export import body_to_onnx, reading_bytes
from rlkit.edge.onnx_file import (
    SCORES_OF_ACTIONS,
    SCORES_OF_CHANCES,
    SCORES_OF_VALUES,
    write_onnx_file,
)
from rlkit.edge.quantize import QuantizeConfig, quantize
from rlkit.environments import Environment, describe, environment_id, preprocessing
from rlkit.policies import LoadedPolicy
from rlkit.policy_file import space_to_json
from rlkit.recording import Recording
from rlkit.whole_files import whole_file
from rlkit_agents.pick_policy import PickPolicy

if TYPE_CHECKING:
    import onnx


def deploy(
    loaded: LoadedPolicy,
    path: Path,
    *,
    body: Body | None = None,
    recording: Recording | None = None,
    config: QuantizeConfig | None = None,
) -> dict[str, Any]:
    """Write a policy to a file that `EdgePolicy` runs, and return the file's header.

    body: of the policy, pruned or not; None takes it whole. recording, config: for 8 bits; without
    a recording weights and activations stay in 32.
    Raises ExportError for a policy that cannot be deployed, ValueError for a recording that does
    not fit, OSError where the file cannot be written.
    """
    check_recorded_at_home(loaded, recording)
    policy = loaded.policy
    body = body or body_of(policy)
    model = to_onnx(body, policy.observation_space, recording, config)
    eight = recording is not None
    header = {
        "architecture": policy.architecture,
        "spaces": {
            "observation": space_to_json(policy.observation_space),
            "action": space_to_json(policy.action_space),
        },
        "environment": to_json(loaded.environment, Environment),
        "preprocessing": preprocessing(loaded.environment),
        "protocol": describe(loaded.environment),
        "provenance": {**loaded.header["provenance"], "deployed_from": loaded.header["sha256"]},
        "deployment": {
            "scores": _scores_of(loaded),
            "state_sizes": list(body.state_sizes),
            "bits": 8 if eight else 32,
            "quantization": asdict(config or QuantizeConfig()) if eight else None,
            "calibrated_on": None if recording is None else recording.environment,
        },
    }
    write_onnx_file(path, model.SerializeToString(), header)
    return header


def deploy_to_executorch(
    loaded: LoadedPolicy, path: Path, *, recording: Recording | None = None
) -> None:
    """Write a policy as a program of ExecuTorch, in 8 bits where there is a recording.

    Raises ExportError for a policy that cannot be deployed and where ExecuTorch is missing,
    ValueError for an empty recording, OSError where the file cannot be written.
    """
    from rlkit.edge.executorch import body_to_executorch

    check_recorded_at_home(loaded, recording)
    policy = loaded.policy
    program = body_to_executorch(body_of(policy), policy.observation_space, recording)
    with whole_file(path) as beside:
        beside.write_bytes(program)


def check_recorded_at_home(loaded: LoadedPolicy, recording: Recording | None) -> None:
    """Raise ValueError for a recording of another environment than the policy's own."""
    home = environment_id(loaded.environment)
    if recording is not None and recording.environment.get("id") != home:
        raise ValueError(
            f"the recording is of {recording.environment.get('id')}, and this policy plays {home}: "
            "calibrate on what the policy itself sees"
        )


def to_onnx(
    body: Body,
    observation_space: Any,
    recording: Recording | None = None,
    config: QuantizeConfig | None = None,
) -> onnx.ModelProto:
    """A body as a model that takes observations as the environment gives them."""
    model = body_to_onnx(body, observation_space.shape)
    if recording is not None:
        return quantize(model, recording, config)
    return reading_bytes(model) if observation_space.dtype == np.uint8 else model


def _scores_of(loaded: LoadedPolicy) -> str:
    """What the body's scores are; who tells values tells them as `q_values`."""
    if isinstance(loaded.policy, PickPolicy):
        return SCORES_OF_CHANCES
    return SCORES_OF_VALUES if hasattr(loaded.policy, "q_values") else SCORES_OF_ACTIONS
