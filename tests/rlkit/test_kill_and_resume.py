"""Trainings killed with SIGKILL, in the midst of a step and of a save, and resumed, end bit for bit
like one that was left alone."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from rlkit.cli.main import main
from rlkit.run_folder import Run

KILLED_AT = """
import os, shutil, signal, sys
import rlkit.checkpoint, rlkit.training, rlkit.whole_files
from rlkit.callbacks.callback import Callback
from rlkit.cli.main import main

where, detail, *arguments = sys.argv[1:]

def killing_when(call, condition):
    def wrapped(*positional, **named):
        if condition(*positional):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*positional, **named)
    return wrapped

if where == "step":
    class Killer(Callback):
        def on_step(self, training, step, metrics):
            if training.steps == int(detail):
                os.kill(os.getpid(), signal.SIGKILL)

    usual = rlkit.training._standard_callbacks
    rlkit.training._standard_callbacks = lambda: [Killer(), *usual()]
elif where == "writing":  # the file is written, and neither safe on the disk nor in its place
    for module in (rlkit.checkpoint, rlkit.whole_files):
        module.flush = killing_when(module.flush, lambda path: detail in str(path))
elif where == "removing":  # the new checkpoint is in its place, the old one about to be deleted
    shutil.rmtree = killing_when(
        shutil.rmtree, lambda path, *rest: detail in str(path) and os.path.exists(path)
    )
sys.exit(main(arguments))
"""


def killed(where: str, detail: str | int, *arguments: str | Path) -> None:
    """Run the command in a process that kills itself, and make sure that it did."""
    command = [sys.executable, "-c", KILLED_AT, where, str(detail), *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == -signal.SIGKILL, process.stderr


def only_run(runs: Path) -> Run:
    (config,) = runs.glob("*/*/config.json")
    return Run.open(config.parent)


def outcome(run: Run) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Every tensor, and everything else, that a run ended with; clocks left out."""
    step = max(int(path.name) for path in run.checkpoints.iterdir() if path.name.isdigit())
    tensors = load_file(run.checkpoints / str(step) / "state.safetensors")
    for name in ("best", "last"):
        policy = load_file(run.policies / f"{name}.safetensors")
        tensors |= {f"{name} {key}": value for key, value in policy.items()}
    state = json.loads((run.checkpoints / str(step) / "state.json").read_text())["state"]
    del state["seconds"]
    evaluations = [{k: v for k, v in e.items() if k != "seconds"} for e in run.evaluations()]
    return tensors, {"step": step, "state": state, "evaluations": evaluations}


def assert_same_outcome(killed_run: Run, whole_run: Run) -> None:
    (tensors, rest), (expected_tensors, expected_rest) = outcome(killed_run), outcome(whole_run)
    assert rest == expected_rest
    assert tensors.keys() == expected_tensors.keys()
    different = [name for name in tensors if not torch.equal(tensors[name], expected_tensors[name])]
    assert different == []


def test_a_training_killed_again_and_again_ends_like_one_left_alone(tmp_path: Path):
    settings = (
        "--steps=1800",
        "--learner-threads=1",
        "--num-envs=4",
        "--checkpoint-every=400",
        "--algorithm.samples-per-step=4",
        "--algorithm.batch-size=16",
        "--algorithm.learning-starts=100",
        "--algorithm.replay-capacity=1000",
        "--algorithm.priority-exponent=0.5",
        "--algorithm.n-step=3",
        "--algorithm.network.noisy",
        "--algorithm.network.hidden-sizes",
        "16",
        "--evaluation.every=500",
        "--evaluation.episodes=2",
        "--evaluation.final-episodes=3",
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["train", "cartpole", f"--runs={whole}", *settings]) == 0
    # Checkpoints are at 400, 804, 1208, 1612: each is followed by a reset step of 4 environments.
    killed("step", 1000, "train", "cartpole", f"--runs={broken}", *settings)
    run = only_run(broken)
    # Ends inside the save at 1208, of which nothing may be taken for whole.
    killed("writing", "state.json", "resume", run.path)
    assert not (run.checkpoints / "1208").exists()
    killed("removing", ".804.removed", "resume", run.path)
    assert (run.checkpoints / "1208").exists()
    assert main(["resume", str(run.path)]) == 0
    assert_same_outcome(run, only_run(whole))
    assert not list(run.path.rglob("*partial*"))


def test_an_atari_training_killed_in_the_midst_of_a_save_ends_like_one_left_alone(tmp_path: Path):
    settings = (
        "--steps=960",
        "--learner-threads=1",
        "--num-envs=4",
        "--checkpoint-every=320",
        "--algorithm.samples-per-step=0.5",
        "--algorithm.batch-size=16",
        "--algorithm.learning-starts=100",
        "--algorithm.replay-capacity=600",
        "--evaluation.every=0",
        "--evaluation.episodes=1",
        "--evaluation.final-episodes=0",
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["train", "boxing", f"--runs={whole}", *settings]) == 0
    # The second checkpoint, at 644 steps, adds the replay rows that follow the first one's 80.
    killed("writing", "rows-80-", "train", "boxing", f"--runs={broken}", *settings)
    run = only_run(broken)
    assert [path.name for path in run.checkpoints.glob("[0-9]*")] == ["320"]
    assert main(["resume", str(run.path)]) == 0
    assert_same_outcome(run, only_run(whole))
