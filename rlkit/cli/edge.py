"""`rlkit edge`: puts policies into files for small devices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional

from rlkit.cli.evaluate import load
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, parse
from rlkit.edge.onnx_file import SUFFIXES

if TYPE_CHECKING:
    from rlkit.edge.recording import Recording
    from rlkit.policies import LoadedPolicy

_HELP = """usage: rlkit edge COMMAND ...

Puts policies into files that run on small devices, without PyTorch.

  rlkit edge export POLICY   write a policy as ONNX, in 8 bits or in 32

`rlkit edge COMMAND --help` explains a command."""


@dataclass(frozen=True)
class ExportOptions:
    """Write a policy as one ONNX file that any ONNX runtime reads, with a header that tells what
    the policy sees and where it came from. `rlkit evaluate`, `rlkit watch` and
    `rlkit.edge.runtime.EdgePolicy` run it."""

    policy: Positional[str]
    """A run's folder, a policy file, or the name of a recipe, for the policy that ships with it."""
    output: Path | None = None
    """The file, ending in .onnx, or in .onnx.xz for a compressed one; by default in the current
    folder and named as the policy."""
    bits: Literal[8, 32] = 8
    """Of weights and activations."""
    observations: int = 2_000
    """Recorded for calibration while the policy plays; only with 8 bits."""
    seed: int = 0
    """Determines the recording."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Do as `arguments` say."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    command, *rest = arguments
    if command != "export":
        raise Mistake(f"rlkit edge has no command {command!r}; there is export")
    return _export(parse(ExportOptions, rest, "edge export"))


def _export(options: ExportOptions) -> int:
    loaded = load(options.policy)
    output = options.output or Path(f"{_name(options.policy, loaded)}.onnx")
    if not output.name.endswith(SUFFIXES):
        raise Mistake(
            f"--output: name a file that ends in {' or '.join(SUFFIXES)}, not {output.name}"
        )
    check_writable("--output", output)
    if options.observations < 1:
        raise Mistake(f"--observations must be at least 1, got {options.observations}")
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise Mistake(f"{error}: exporting needs it, pip install 'rlkit[edge]'") from error
    from rlkit.edge.deploy import deploy

    recording = _recording(loaded, options) if options.bits == 8 else None
    with blaming_user(ValueError):
        deploy(loaded, output, recording=recording)
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
    print(f"  evaluate: rlkit evaluate {output}")
    print(f"  watch:    rlkit watch {output} --video {output.name.split('.')[0]}.mp4")
    return 0


def _recording(loaded: LoadedPolicy, options: ExportOptions) -> Recording:
    from rlkit.edge.body import body_of
    from rlkit.edge.recording import record

    with blaming_user(ValueError):
        parts = len(body_of(loaded.policy).state_sizes)
    return record(
        loaded.policy,
        loaded.environment,
        options.observations,
        seed=options.seed,
        state_parts=parts,
    )


def _name(policy: str, loaded: LoadedPolicy) -> str:
    """What a file of this policy is called: as the recipe or the run."""
    path = Path(policy)
    if path.is_dir():
        return path.resolve().name
    return loaded.path.name.split(".")[0]
