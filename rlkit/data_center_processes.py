"""Shares out parts of an evaluation among processes, and hears how they go on."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from rlkit.data_center_pass import OnStep, Report

_STEPS_BETWEEN_NEWS = 96


def run_in_processes(
    work: Callable[..., Any], parts: Sequence[tuple[Any, ...]], on_step: OnStep, report: Report
) -> list[Any]:
    """Call `work(*part, on_step=..., report=...)` for each part, in processes; results in order.

    Everything that goes in and comes out is pickled. What `work` raises is raised here, and ends
    the others, as does ChildProcessError for a process that ended without a word.
    """
    context = multiprocessing.get_context("spawn")
    processes: list[Any] = []
    numbers: dict[Any, int] = {}  # by connection
    try:
        for number, part in enumerate(parts):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(work, part, theirs), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            numbers[ours] = number
        results: dict[int, Any] = {}
        done = [0] * len(parts)
        while len(results) < len(parts):
            for ready in wait(tuple(numbers)):
                connection: Any = ready
                number = numbers[connection]
                try:
                    kind, told = connection.recv()
                except EOFError:
                    processes[number].join()
                    raise ChildProcessError(
                        f"process {number + 1} of {len(parts)} ended with exit code "
                        f"{processes[number].exitcode} before its work was done"
                    ) from None
                if kind == "error":
                    raise told
                if kind == "line":
                    report(told)
                elif kind == "steps":
                    done[number], steps = told
                    on_step(sum(done) // len(parts), steps)
                else:
                    results[number] = told
                    del numbers[connection]
        return [results[number] for number in range(len(parts))]
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(work: Callable[..., Any], part: tuple[Any, ...], news: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends this one
    if "torch" in sys.modules:  # came with a policy; its threads would be in the others' way
        sys.modules["torch"].set_num_threads(1)

    def on_step(done: int, steps: int) -> None:
        if done % _STEPS_BETWEEN_NEWS == 0 or done == steps:
            news.send(("steps", (done, steps)))

    try:
        result = work(*part, on_step=on_step, report=lambda line: news.send(("line", line)))
    except Exception as error:
        news.send(("error", error))
    else:
        news.send(("result", result))
