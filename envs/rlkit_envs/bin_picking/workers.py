"""Bins in processes of their own, each with its share of them, so that all cores pick.

A worker only ever hears a method's name and arguments, and answers with what came of it or with the
error. Without processes, the bins live in the caller's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from rlkit_envs.bin_picking.bins import Bins
from rlkit_envs.bin_picking.configuration import BinPickingConfig


class WorkerError(RuntimeError):
    """A process of bins is gone, killed or out of memory."""


_PATIENCE_S = 30.0
"""For a process to end by itself, which on a busy machine may still be about to begin."""


class InProcess:
    """Bins in this process; an answer is computed when it is asked for."""

    def __init__(self, config: BinPickingConfig, count: int) -> None:
        self.bins = Bins(config, count)
        self._asked: tuple[str, tuple[Any, ...]] | None = None

    def ask(self, method: str, *arguments: Any) -> None:
        """Begin to call a method of the bins."""
        self._asked = method, arguments

    def answer(self) -> Any:
        """What the call gave."""
        assert self._asked is not None, "ask comes before answer"
        (method, arguments), self._asked = self._asked, None
        return getattr(self.bins, method)(*arguments)

    def close(self) -> None:
        """Nothing is left to close."""


class Worker:
    """Bins in a process of their own."""

    def __init__(self, config: BinPickingConfig, count: int) -> None:
        # A fresh interpreter: a copy of one whose threads hold locks may hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, config, count), daemon=True, name="bin picking"
        )
        self._process.start()
        theirs.close()

    def ask(self, method: str, *arguments: Any) -> None:
        """Begin to call a method of the bins. Raises WorkerError where the process is gone."""
        try:
            self._pipe.send((method, arguments))
        except OSError as error:
            raise self._gone() from error

    def answer(self) -> Any:
        """What the call gave; raises what it raised, and WorkerError where the process is gone."""
        try:
            result = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(timeout=_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _gone(self) -> WorkerError:
        self._process.join(timeout=1.0)
        return WorkerError(f"a process of bins ended with exit code {self._process.exitcode}")


def shares(count: int, processes: int) -> Sequence[int]:
    """How many of `count` bins each process has, as even as can be; none has none."""
    processes = max(1, min(count, processes))
    return [count // processes + (i < count % processes) for i in range(processes)]


def _serve(pipe: Connection, config: BinPickingConfig, count: int) -> None:
    """Answer until told to end, or until nobody is there.

    What reaches all processes of a group, such as an interrupt from the keyboard or the end of
    `timeout`, is for the one that asks: it finishes its step, and then ends this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgrp()
    bins = Bins(config, count)
    with contextlib.suppress(EOFError, OSError):
        while (asked := pipe.recv()) is not None:
            method, arguments = asked
            try:
                pipe.send(getattr(bins, method)(*arguments))
            except Exception as error:
                pipe.send(error)
