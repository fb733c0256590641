"""What `train` and `resume` have in common: a training with a terminal around it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.progress import Progress
from rlkit.callbacks.stop_on_signal import StopOnSignal
from rlkit.checkpoint import CheckpointError
from rlkit.cli.evaluation_table import print_evaluation
from rlkit.cli.mistakes import Mistake, explain
from rlkit.run_folder import Run
from rlkit.training import Training
from rlkit_agents.algorithm import NonFiniteGradientError


class _Announcement(Callback):
    """Says where a training writes and how to watch it, before the first step."""

    def __init__(self) -> None:
        self.training: Training | None = None

    def on_start(self, training: Training) -> None:
        self.training = training
        folder = training.run.path
        print(f"run:   {folder}")
        print(f"watch: {command_line('tensorboard', '--logdir', folder.parent.parent)}", flush=True)


def carry_out(start: Callable[[Sequence[Callback]], Run]) -> int:
    """Call `start` with the callbacks that a terminal wants; say how it went, return the exit code.

    Raises Mistake, with what to do, where learning diverges or the disk fails.
    """
    announcement, stopping = _Announcement(), StopOnSignal()
    try:
        run = start([stopping, announcement, Progress()])
    except KeyboardInterrupt:
        if stopping.received is None:
            raise
        _leave_at_once(128 + stopping.received)
    except (NonFiniteGradientError, CheckpointError, OSError) as error:
        line = explain(error)
        if line is None or announcement.training is None:
            raise
        raise Mistake(f"{line}; {_what_now(announcement.training, error)}") from error
    if stopping.received is not None:
        resuming = command_line("rlkit", "resume", run.path)
        print(f"stopped with everything saved; go on with: {resuming}", file=sys.stderr)
        return 128 + stopping.received
    _report(run)
    return 0


def command_line(*words: str | Path) -> str:
    """The words as one types them into a shell."""
    return shlex.join(map(str, words))


def _what_now(training: Training, error: Exception) -> str:
    run = training.run.path
    kept = training.checkpoints.steps()
    if isinstance(error, NonFiniteGradientError):
        smaller = f"{training.recipe.algorithm.learning_rate / 10:g}"
        if kept:
            resuming = command_line("rlkit", "resume", run, "--learning-rate", smaller)
            return f"the last good checkpoint, {kept[-1]}, is kept; try: {resuming}"
        again = ("rlkit", "train", "--from", run, "--algorithm.learning-rate", smaller)
        return f"no checkpoint was due before; try: {command_line(*again)}"
    if kept:
        resuming = command_line("rlkit", "resume", run)
        return f"checkpoint {kept[-1]} is whole; once there is room to write: {resuming}"
    again = command_line("rlkit", "train", "--from", run)
    return f"nothing was saved before; once there is room to write: {again}"


def _report(run: Run) -> None:
    evaluations = run.evaluations()
    if evaluations:
        kind = "final evaluation of the best policy" if evaluations[-1]["final"] else "evaluation"
        print_evaluation(evaluations[-1], kind)
    print(f"policy: {run.policies / 'best.safetensors'}")
    print(f"video:  {command_line('rlkit', 'watch', run.path)}")


def _leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for a checkpoint to be written: half of one does no harm."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
