"""What storing costs on this machine: replay memory, its compression, checkpoints, and importing.

Memory is what the process grew by (Linux only) beside what the replay says of itself.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rlkit.bench.measured_training import MeasuredTraining
from rlkit.bench.replay_memory import fill, measure
from rlkit.extras import installing
from rlkit.recipe import Recipe
from rlkit.recipes import find_recipe
from rlkit.run_folder import Run, machine
from rlkit.training import Training
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.replay import Replay
from rlkit_envs.atari import AtariEnvs, AtariProtocol

MILLION = 1_000_000
_FRAME_SHAPE = (84, 84)
_IMPORT = "import time; t = time.perf_counter(); import rlkit; print(time.perf_counter() - t)"

Report = Callable[[str], None]


def run_benchmark(
    *,
    recipe: Recipe | None = None,
    frames: int = MILLION,
    compressed_frames: int = 200_000,
    window_seconds: float = 10.0,
    repeats: int = 5,
    warm_up_steps: int = 20_000,
    folder: str | os.PathLike[str] | None = None,
    on_progress: Report | None = None,
) -> dict[str, Any]:
    """Measure all of it.

    recipe: whose training and checkpoints are measured; `boxing` by default.
    frames, compressed_frames: 84x84 frames that are really stored, plain (fewer where memory
    does not suffice) and compressed; results are scaled to a million.
    window_seconds, repeats, warm_up_steps: of the throughput with and without compression.
    folder: the disk that checkpoints go to; the system's temporary folder by default.

    Returns plain JSON data: `machine`, `rows` (`name`, `value`, `unit`, `settings`) and `ratios`.
    Raises ValueError for a recipe of another world, ImportError without the package lz4.
    """
    recipe = recipe or find_recipe("boxing")
    report = on_progress or (lambda line: None)
    if not isinstance(recipe.environment, AtariProtocol):
        raise ValueError(f"this benchmark needs an Atari recipe, {recipe.name!r} is none")
    if find_spec("lz4") is None:
        raise ImportError(f"this benchmark needs the package lz4: {installing('lz4')}")
    rows: list[dict[str, Any]] = []

    def add(name: str, value: float, unit: str, **settings: Any) -> None:
        rows.append({"name": name, "value": value, "unit": unit, "settings": settings})
        report(f"{name}: {value:.4g} {unit}")

    imports = [_import_seconds() for _ in range(repeats)]
    add("import rlkit", statistics.median(imports), "s", repeats=imports)

    report("playing for frames to store")
    pool = _boxing_frames(recipe.num_envs)
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="rlkit-bench-", dir=folder) as temporary:
        pool_file = Path(temporary) / "frames.npy"
        np.save(pool_file, pool)
        stated = {}
        for name, wanted in (("plain", _frames_that_fit(frames)), ("LZ4", compressed_frames)):
            report(f"storing {wanted:,} frames, {name}")
            memory = measure(pool_file, wanted, compress=name == "LZ4")
            settings = {
                "frames_stored": memory["stored"],
                "distinct_frames": pool.shape[0] * pool.shape[1],
            }
            for key, label in (("grew", "process"), ("states", "replay")):
                if (taken := memory[key]) is not None:
                    gigabytes = taken / (memory["stored"] or 1) * MILLION / 1e9
                    add(f"a million 84x84 frames, {name}: {label}", gigabytes, "GB", **settings)
                    stated[name] = gigabytes
        ratios["lz4_to_plain_memory"] = stated["LZ4"] / stated["plain"]
        for key, variant in _sizes(recipe).items():
            rates = _compression_throughput(
                variant, Path(temporary), window_seconds, repeats, warm_up_steps, report
            )
            medians = {name: statistics.median(windows) for name, windows in rates.items()}
            for name, median in medians.items():
                add(f"training, {name} replay, {key}", median, "steps/s", windows=rates[name])
            ratios[f"lz4_to_plain_throughput_{key}"] = medians["LZ4"] / medians["plain"]
        for name, seconds, settings in _checkpoints(recipe, Path(temporary), pool, report):
            add(name, seconds, "s", **settings)
    return {"machine": machine(), "rows": rows, "ratios": ratios}


def print_table(result: dict[str, Any], console: Console) -> None:
    """Show what `run_benchmark` gave."""
    caption = f"{result['machine']['processor']}, {result['machine']['cores']} cores"
    table = Table(title="Storing", caption=caption)
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for row in result["rows"]:
        table.add_row(row["name"], f"{row['value']:,.4g}", row["unit"])
    for name, ratio in result["ratios"].items():
        table.add_row(name.replace("_", " "), f"{ratio:.3f}", "ratio")
    console.print(table)


def _import_seconds() -> float:
    command = [sys.executable, "-c", _IMPORT]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _boxing_frames(num_envs: int, rows: int = 100, stride: int = 8) -> np.ndarray:
    """(rows, num_envs, 84, 84) uint8 real frames of random play, every `stride`-th."""
    envs = AtariEnvs(AtariProtocol("boxing", frame_stack=1), num_envs)
    observations, _ = envs.reset(seed=0)
    random = np.random.default_rng(0)
    pool = np.empty((rows, num_envs, *_FRAME_SHAPE), np.uint8)
    for row in range(rows):
        for _ in range(stride):
            observations = envs.step(random.integers(18, size=num_envs))[0]
        pool[row] = observations[:, 0]
    envs.close()
    return pool


def _frames_that_fit(frames: int) -> int:
    """`frames`, or as many as a good half of the free memory takes."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(frames, max(10_000, int(0.6 * free / np.prod(_FRAME_SHAPE))))


def _sizes(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe as it is, and at 84x84 with the network `small`, where frames are largest."""
    protocol = recipe.environment
    assert isinstance(protocol, AtariProtocol)
    sizes = {f"{protocol.height}x{protocol.width}": recipe}
    if "84x84" not in sizes:
        network = NetworkConfig(torso="small", dueling=True)
        sizes["84x84"] = replace(
            recipe,
            environment=replace(protocol, height=84, width=84),
            algorithm=replace(recipe.algorithm, network=network),
        )
    return sizes


def _compression_throughput(
    recipe: Recipe,
    folder: Path,
    window_seconds: float,
    repeats: int,
    warm_up_steps: int,
    report: Report,
) -> dict[str, list[float]]:
    """Steps a second of training, window by window, with either replay in turn."""
    rates: dict[str, list[float]] = {"plain": [], "LZ4": []}
    with ExitStack() as stack:
        trainings: dict[str, MeasuredTraining] = {}
        for name in rates:
            algorithm = replace(recipe.algorithm, compress_replay=name == "LZ4")
            training = MeasuredTraining(replace(recipe, algorithm=algorithm), folder, warm_up_steps)
            trainings[name] = stack.enter_context(training)
            report(f"warming up: training with a {name} replay")
            training.warm_up()
        for _ in range(repeats):
            for name, training in trainings.items():
                rates[name].append(training.window(window_seconds))
    return rates


def _checkpoints(
    recipe: Recipe, folder: Path, pool: np.ndarray, report: Report
) -> list[tuple[str, float, dict[str, Any]]]:
    """Seconds that saving keeps training waiting, with a full replay: the first checkpoint,
    to which all rows are new, and the next one, `checkpoint_every` steps later.

    Rows are written while the environments go on at their full rate, faster than training would.
    """
    training = Training(recipe, Run.create(recipe, folder), [])
    algorithm, stepper, checkpoints = training.algorithm, training.stepper, training.checkpoints
    replay = algorithm.replay
    assert isinstance(replay, Replay)
    # Any picture does: what counts is bytes.
    height, width = replay.frame_shape[:2]
    pool = np.resize(pool, (len(pool), recipe.num_envs, height, width, *replay.frame_shape[2:]))

    def step() -> None:
        assert training.observations is not None
        stepper.send(algorithm.act(training.observations))
        outcome = stepper.recv()
        algorithm.observe(outcome)
        training.observations = outcome.observations

    def cut() -> None:
        stepper.cut_after_this_step()
        step()

    results = []
    for name, new_rows in (
        ("the first checkpoint", replay.rows_capacity),
        ("a later checkpoint", recipe.checkpoint_every // recipe.num_envs),
    ):
        report(f"adding {new_rows * recipe.num_envs:,} transitions to a replay")
        fill(replay, pool, new_rows)
        training.observations = stepper.reset()
        cut()
        training.steps = replay.rows_written * recipe.num_envs
        begun = time.perf_counter()
        training.save_checkpoint()
        blocked = time.perf_counter() - begun
        while training.steps not in checkpoints.steps() and not checkpoints.failed:
            waiting = time.perf_counter()
            checkpoints.wait_for_rows(replay)
            blocked += time.perf_counter() - waiting
            step()
        checkpoints.wait()
        row_settings = {
            "replay_bytes": replay.nbytes,
            "new_rows": new_rows,
            "written_after_seconds": time.perf_counter() - begun,
        }
        results.append((f"{name} with a full replay blocks training", blocked, row_settings))
        cut()
        step()  # in which environments that save no state start afresh
    stepper.envs.close()
    return results
