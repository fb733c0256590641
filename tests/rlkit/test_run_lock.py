"""Two processes cannot train one run, and a process that dies leaves no lock behind."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rlkit.cli.main import main
from rlkit.recipes import RECIPES
from rlkit.run_folder import Run, RunError

HOLD = """
import sys
from rlkit.run_folder import Run

with Run.open(sys.argv[1]).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(RECIPES["cartpole"], tmp_path)


@contextmanager
def held_by_another_process(run: Run) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the run's lock until its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def test_a_run_in_training_is_not_resumed_by_another_process(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    with held_by_another_process(run) as holder:
        with pytest.raises(RunError) as caught, run.lock():
            pass
        line = f"{run.path} is being trained by process {holder.pid}; wait for its end or stop it"
        assert str(caught.value) == f"{line} first"
        assert main(["resume", str(run.path)]) == 2
        assert capsys.readouterr().err == f"rlkit: {line} first\n"
        assert main(["list", "runs", f"--runs={run.path.parent.parent}"]) == 0
        assert Run.open(run.path).recipe() == RECIPES["cartpole"]
        # It ends well, and lets go.
        holder.communicate("")
        assert holder.returncode == 0
    with run.lock():
        pass


def test_a_killed_process_holds_no_lock(run: Run):
    with held_by_another_process(run) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with run.lock():
            assert run.path.joinpath(".lock").read_text() == f"{os.getpid()}\n"


def test_a_process_trains_one_run_after_another(run: Run, tmp_path: Path):
    other = Run.create(RECIPES["cartpole"], tmp_path)
    for _ in range(2):
        with run.lock(), other.lock(), pytest.raises(RunError, match=f"process {os.getpid()};"):
            run.lock().__enter__()
    with pytest.raises(ZeroDivisionError), run.lock():
        raise ZeroDivisionError
    with run.lock():
        pass


def test_a_process_forked_meanwhile_does_not_keep_the_lock(run: Run):
    with run.lock():
        # What stands in for the child of a fork: another descriptor of the same open file.
        (descriptor,) = (
            int(link.name)
            for link in Path("/proc/self/fd").iterdir()
            if link.is_symlink() and os.readlink(link) == str(run.path / ".lock")
        )
        kept = os.dup(descriptor)
    with run.lock():
        pass
    os.close(kept)


@pytest.mark.parametrize("missing", ["module", "disk"])
def test_where_there_are_no_locks_training_goes_without(
    run: Run, monkeypatch: pytest.MonkeyPatch, missing: str
):
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if missing == "module":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", refuse)
    inside = []
    with run.lock(), run.lock():
        inside.append(1)
    assert inside == [1]


def test_an_error_in_training_is_not_taken_for_a_disk_without_locks(run: Run):
    with pytest.raises(OSError, match="No space left"), run.lock():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_cannot_be_locked_is_one_line(run: Run):
    run.path.joinpath(".lock").mkdir()
    with pytest.raises(RunError, match=r"cannot write .*\.lock: Is a directory"), run.lock():
        pass
