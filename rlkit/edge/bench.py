"""Measures deployed copies of a policy beside PyTorch: latency at batch 1, size, start and memory.

Whole calls are timed, from an observation to an action, as an environment gives and takes them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from rlkit.edge.latency import take_turns
from rlkit.edge.runtime import EdgePolicy
from rlkit.policies import LoadedPolicy
from rlkit.recording import Recording
from rlkit.run_folder import machine
from rlkit.torch_threads import torch_threads
from rlkit_agents.memory import State

EAGER = "PyTorch, eager"
_STARTS = 5
_START = """
import time
started = time.perf_counter()
import sys
import numpy
from rlkit.edge.runtime import EdgePolicy
policy = EdgePolicy(sys.argv[1])
policy.act(numpy.zeros((1, *policy.observation_shape), policy.observation_dtype))
seconds = time.perf_counter() - started
lines = open("/proc/self/status").read().splitlines() if sys.platform == "linux" else []
peak = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
import json
foreign = [name for name in ("torch", "gymnasium", "onnx") if name in sys.modules]
print(json.dumps([seconds, peak[0] * 1024 if peak else None, foreign]))
"""


def bench(
    loaded: LoadedPolicy,
    files: dict[str, Path],
    recording: Recording,
    *,
    seconds: float = 0.3,
    rounds: int = 10,
) -> dict[str, Any]:
    """Time a policy and files of it in turns on one thread, each fed one observation at a time.

    files: what to call each, and where it is. recording: of the policy's observations.
    seconds, rounds: see `latency.take_turns`.

    Returns plain JSON data: `machine`, and `rows` with `name`, `bytes`, `latency` (`Latency`),
    `times_faster` than PyTorch, and for files `start_seconds`, from importing NumPy to the first
    action, and `peak_bytes`, the most memory that was ever resident by then (None where the system
    does not tell), each the median of five processes.
    Raises OnnxFileError for a file that does not run.
    """
    calls: dict[str, Callable[[], object]] = {EAGER: _eager(loaded, recording)}
    for name, path in files.items():
        calls[name] = _deployed(EdgePolicy(path), recording)
    with torch_threads(1):
        latencies = take_turns(calls, seconds=seconds, rounds=rounds)
    rows: list[dict[str, Any]] = []
    for name, latency in latencies.items():
        path = files.get(name, loaded.path)
        row = {"name": name, "bytes": path.stat().st_size, "latency": latency.to_json()}
        row["times_faster"] = latencies[EAGER].p50_us / latency.p50_us
        rows.append(row | (_start(path) if name in files else {}))
    return {"machine": machine(), "threads": 1, "batch": 1, "rows": rows}


def table(result: dict[str, Any], title: str) -> Table:
    """The rows, for a terminal."""
    told = result["machine"]
    shown = Table(
        title=f"{title}: one thread, one observation at a time, in turns",
        caption=f"{told['processor']}, {told['cores']} cores",
    )
    shown.add_column("what")
    for column in ("bytes", "p50 µs", "p99 µs", "faster", "start s", "peak MB"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in result["rows"]:
        latency, peak = row["latency"], row.get("peak_bytes")
        start = row.get("start_seconds")
        shown.add_row(
            row["name"],
            f"{row['bytes']:,}",
            f"{latency['p50_us']:.1f}",
            f"{latency['p99_us']:.1f}",
            f"{row['times_faster']:.1f}",
            "" if start is None else f"{start:.2f}",
            "" if peak is None else f"{peak / 1e6:.0f}",
        )
    return shown


def _eager(loaded: LoadedPolicy, recording: Recording) -> Callable[[], object]:
    """A call to the policy's own network, in float32."""
    policy: Any = loaded.policy
    if hasattr(policy, "precision"):
        policy.precision = "float32"
    observations = cycle([torch.from_numpy(each[None]) for each in recording.observations])
    state: State = None

    def call() -> object:
        nonlocal state
        with torch.inference_mode():
            actions, state = policy.act(next(observations), state)
        return actions

    return call


def _deployed(policy: EdgePolicy, recording: Recording) -> Callable[[], object]:
    observations = cycle([each[None] for each in recording.observations])
    state: Any = None

    def call() -> object:
        nonlocal state
        scores, state = policy.scores(next(observations), state)
        return policy.actions(scores)

    return call


def _start(path: Path) -> dict[str, Any]:
    """Seconds to the first action, and memory, in processes that import nothing else."""
    told = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", _START, str(path)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(_STARTS)
    ]
    seconds, peaks, foreign = zip(*told, strict=True)
    return {
        "start_seconds": float(np.median(seconds)),
        "peak_bytes": _median([peak for peak in peaks if peak is not None]),
        "imported_beside": sorted(set().union(*foreign)),
    }


def _median(values: Sequence[int]) -> int | None:
    return int(np.median(values)) if values else None
