"""The other end of `worker.py`: starts it, sends to it, waits for its answers, ends it."""

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import weakref
from collections.abc import Mapping

from rlkit_envs.data_center.energyplus import worker

_CAN_WAIT = os.name == "posix"
"""Whether a pipe can be waited for with a limit; Windows cannot."""


class WorkerFailed(Exception):
    """What befell the process, in words."""


class WorkerProcess:
    """A process that runs EnergyPlus once. It ends with this object, at the latest."""

    def __init__(self, start: Mapping[str, object], longest_answer_s: float) -> None:
        """start: as `worker.read_start` has it."""
        self._longest_answer_s = longest_answer_s
        self._process = subprocess.Popen(
            [sys.executable, "-P", worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self.end = weakref.finalize(self, _end, self._process)
        """Ends the process, even in the middle of a step: nothing of it is wanted any more."""
        self.send(json.dumps(start).encode() + b"\n")

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, content: bytes) -> None:
        """A message, as `worker.read_start` has them."""
        assert self._process.stdin is not None
        rest = memoryview(content)
        # Where the pipe is broken, the answer, or its absence, tells why.
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[self._process.stdin.write(rest) :]

    def answer(self, expected: bytes) -> bytes:
        """Content of the next answer, of the expected kind (`worker.say`).

        Raises WorkerFailed where the process ended, tells an error, or takes too long.
        """
        kind = self._read(1)
        content = self._read(struct.unpack("<I", self._read(4))[0])
        if kind == worker.ERROR:
            raise WorkerFailed(content.decode().strip())
        if kind == worker.END:
            raise WorkerFailed(f"EnergyPlus ended the run, with code {content.decode()}")
        assert kind == expected, (kind, expected)
        return content

    def _read(self, length: int) -> bytes:
        assert self._process.stdout is not None
        pipe, limit_s = self._process.stdout.fileno(), self._longest_answer_s
        content = b""
        while len(content) < length:
            if _CAN_WAIT and not select.select([pipe], [], [], limit_s)[0]:
                raise WorkerFailed(f"EnergyPlus did not answer within {limit_s:g} s")
            more = os.read(pipe, length - len(content))
            if not more:
                code = self._process.wait()
                raise WorkerFailed(f"the process of EnergyPlus ended, with code {code}")
            content += more
        return content


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
