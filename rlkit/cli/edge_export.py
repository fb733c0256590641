"""`rlkit edge export`: writes a policy as one file for small devices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import FlagCreatePairsOff

from rlkit.cli.edge_policies import PolicyOptions, load_for_deployment, name_of, record_for
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, parse
from rlkit.edge.onnx_file import EXECUTORCH_SUFFIX, SUFFIXES


@dataclass(frozen=True)
class ExportOptions(PolicyOptions):
    """Write a policy as one ONNX file that any ONNX runtime reads, with a header that tells what
    the policy sees and where it came from. `rlkit evaluate`, `rlkit watch` and
    `rlkit.edge.runtime.EdgePolicy` run it."""

    output: Path | None = None
    """The file, ending in .onnx, in .onnx.xz for a compressed one, or in .pte for ExecuTorch; by
    default .onnx in the current folder, named as the policy."""
    bits: Literal[8, 32] = 8
    """Of weights and activations."""
    weights_only: FlagCreatePairsOff[bool] = False
    """Only weights in 8 bits, which compute in 32: as small, slower, nearer to the policy."""
    observations: int | None = None
    """Recorded for calibration while the policy plays; only with 8 bits. 2,000 by default, of
    picking 200."""
    seed: int = 0
    """Determines the recording."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Export as `arguments` say."""
    options = parse(ExportOptions, arguments, "edge export")
    if options.output is not None:
        _check_output(options.output)
    if options.weights_only and (options.bits == 32 or _is_executorch(options.output)):
        raise Mistake("--weights-only is for ONNX in 8 bits")
    loaded = load_for_deployment(options)
    output = options.output or Path(f"{name_of(options.policy, loaded)}.onnx")
    _check_output(output)
    from rlkit.edge.deploy import deploy, deploy_to_executorch
    from rlkit.edge.quantize import QuantizeConfig

    recording = None
    if options.bits == 8:
        recording = record_for(loaded, options.observations, options.seed)
    with blaming_user(ValueError):
        if _is_executorch(output):
            deploy_to_executorch(loaded, output, recording=recording)
        else:
            config = QuantizeConfig(weights_only=options.weights_only)
            deploy(loaded, output, recording=recording, config=config)
    told: dict[str, Any] = {
        "file": str(output),
        "bytes": output.stat().st_size,
        "bits": options.bits,
        "policy_bytes": loaded.path.stat().st_size,
        "calibrated_on": None if recording is None else len(recording),
    }
    if options.json:
        print(json.dumps(told))
        return 0
    share = told["policy_bytes"] / told["bytes"]
    print(f"{output}: {told['bytes']:,} bytes, {share:.1f} times smaller than {loaded.path.name}")
    if _is_executorch(output):
        return 0
    print(f"  evaluate: rlkit evaluate {output}")
    print(f"  watch:    rlkit watch {output} --video {output.name.split('.')[0]}.mp4")
    return 0


def _is_executorch(output: Path | None) -> bool:
    return output is not None and output.suffix == EXECUTORCH_SUFFIX


def _check_output(output: Path) -> None:
    if not output.name.endswith((*SUFFIXES, EXECUTORCH_SUFFIX)):
        raise Mistake(
            f"--output: name a file that ends in {', '.join(SUFFIXES)} or {EXECUTORCH_SUFFIX}, "
            f"not {output.name}"
        )
    check_writable("--output", output)
