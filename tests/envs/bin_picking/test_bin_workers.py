"""Bins in processes of their own: shares, errors, and what happens when one is killed."""

import os
import signal
import time

import numpy as np
import pytest

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.environment import BinPickingEnvs
from rlkit_envs.bin_picking.workers import InProcess, Worker, WorkerError, shares

TINY = {"tier": "single", "parts": 1, "pixels": 16, "bin_side_m": 0.1}


@pytest.mark.parametrize(
    ("count", "processes", "expected"),
    [(5, 2, [3, 2]), (4, 4, [1, 1, 1, 1]), (2, 8, [1, 1]), (7, 3, [3, 2, 2]), (3, 1, [3])],
)
def test_bins_are_shared_out_evenly(count, processes, expected):
    assert shares(count, processes) == expected


def test_a_killed_process_is_an_error_not_a_wait():
    envs = BinPickingEnvs(2, processes=2, **TINY)
    envs.reset(seed=0)
    victim = envs._workers[1]
    assert isinstance(victim, Worker)
    os.kill(victim._process.pid or 0, signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(WorkerError, match="a process of bins ended with exit code -9"):
        envs.step(np.zeros(2, int))
    envs.close()
    assert time.monotonic() - started < 30.0
    assert not any(isinstance(w, Worker) and w._process.is_alive() for w in envs._workers)


def test_a_process_killed_while_it_works_is_an_error_too():
    worker = Worker(BinPickingConfig(**TINY), 1)
    worker.ask("reset", [(0, 0)])
    worker.answer()
    worker.ask("find_picks", 100, 0)
    os.kill(worker._process.pid or 0, signal.SIGKILL)
    with pytest.raises(WorkerError, match="exit code -9"):
        worker.answer()
    with pytest.raises(WorkerError, match="exit code -9"):
        worker.ask("state")
    worker.close()


def test_an_error_in_a_process_reaches_the_caller_and_the_process_lives_on():
    worker = Worker(BinPickingConfig(**TINY), 1)
    worker.ask("reset", [(0, 0)])
    worker.answer()
    for _ in range(2):
        worker.ask("try_out", [10**9])
        with pytest.raises(IndexError):
            worker.answer()
    worker.close()


def test_an_interrupt_is_for_the_one_that_asks():
    """A terminal sends it to all its processes; a training then finishes its step."""
    envs = BinPickingEnvs(2, processes=2, **TINY)
    envs.reset(seed=0)
    workers = [worker for worker in envs._workers if isinstance(worker, Worker)]
    for worker in workers:
        os.kill(worker._process.pid or 0, signal.SIGINT)
    observations, *_ = envs.step(np.zeros(2, np.int64))
    assert len(observations) == 2
    envs.close()
    assert [worker._process.exitcode for worker in workers] == [0, 0]


def test_what_ends_a_group_of_processes_is_for_the_one_that_asks():
    """Such as `timeout`, which sends SIGTERM to all of a group; a training then finishes."""
    envs = BinPickingEnvs(2, processes=2, **TINY)
    envs.reset(seed=0)
    workers = [worker for worker in envs._workers if isinstance(worker, Worker)]
    groups = {os.getpgid(worker._process.pid or 0) for worker in workers}
    assert os.getpgrp() not in groups
    envs.close()


def test_closing_ends_the_processes_and_may_be_done_twice():
    envs = BinPickingEnvs(2, processes=2, **TINY)
    processes = [worker._process for worker in envs._workers if isinstance(worker, Worker)]
    assert len(processes) == 2
    assert all(process.is_alive() for process in processes)
    envs.close()
    envs.close()
    assert [process.exitcode for process in processes] == [0, 0]


def test_one_bin_is_no_process():
    envs = BinPickingEnvs(1, **TINY)
    assert isinstance(envs._workers[0], InProcess)
    envs.close()


def test_sending_and_receiving_is_a_step():
    one, other = BinPickingEnvs(1, **TINY), BinPickingEnvs(1, **TINY)
    one.reset(seed=0)
    other.reset(seed=0)
    one.send(np.array([136]))
    for a, b in zip(one.recv()[:4], other.step(np.array([136]))[:4], strict=True):
        np.testing.assert_array_equal(a, b)
