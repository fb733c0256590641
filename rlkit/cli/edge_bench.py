"""`rlkit edge bench`: times copies of a policy beside PyTorch."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import FlagCreatePairsOff

from rlkit.cli.edge_policies import PolicyOptions, load_for_deployment, name_of, record_for
from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_writable, parse


@dataclass(frozen=True)
class BenchOptions(PolicyOptions):
    """Time a policy at batch 1 on one thread: by PyTorch, by ONNX Runtime in 32 bits, and in 8, in
    turns; and say how large the files are, how soon they act and what memory they take."""

    files: tuple[Path, ...] = ()
    """More files of this policy to time beside them, ending in .onnx or .onnx.xz."""
    observations: int | None = None
    """Recorded for calibration while the policy plays; they are also what it is timed on. 2,000 by
    default, of picking 200."""
    seconds: float = 0.3
    """That each is timed in a round."""
    rounds: int = 20
    """That count."""
    seed: int = 0
    """Determines the recording."""
    output: Path | None = None
    """Also write the raw results there, as JSON."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Time as `arguments` say."""
    options = parse(BenchOptions, arguments, "edge bench")
    if not options.seconds > 0 or options.rounds < 1:
        raise Mistake(
            f"timing needs --seconds above 0 and --rounds of at least 1, got {options.seconds} "
            f"and {options.rounds}"
        )
    if options.output is not None:
        check_writable("--output", options.output)
    for file in options.files:
        if not file.is_file():
            raise Mistake(f"--files: there is no file {file}")
    loaded = load_for_deployment(options)
    from rich.console import Console

    from rlkit.edge.bench import bench, table
    from rlkit.edge.deploy import deploy

    recording = record_for(loaded, options.observations, options.seed)
    with tempfile.TemporaryDirectory(prefix="rlkit-edge-") as folder, blaming_user(ValueError):
        files = {
            "ONNX Runtime, 32 bits": Path(folder) / "float.onnx",
            "ONNX Runtime, 8 bits": Path(folder) / "bytes.onnx",
        }
        for path, learnt in zip(files.values(), (None, recording), strict=True):
            deploy(loaded, path, recording=learnt)
        files |= {file.name: file for file in options.files}
        result = bench(loaded, files, recording, seconds=options.seconds, rounds=options.rounds)
    result |= {"policy": loaded.describe() | {"path": loaded.path.name}}
    if options.output is not None:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps(result))
    else:
        Console().print(table(result, name_of(options.policy, loaded)))
    return 0
