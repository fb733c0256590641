"""Memory that a replay of 84x84 frames takes, measured in a process of its own.

In a process that has freed memory before, new memory partly does not show.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from rlkit.bench.resident_memory import resident_bytes
from rlkit_agents.replay import Replay

_STACK = 4


def measure(pool_file: Path, frames: int, compress: bool) -> dict[str, int | None]:
    """Fill a replay in a fresh process, with the frames of `pool_file` over and over.

    pool_file: .npy, (rows, num_envs, height, width) uint8. frames: rounded down to whole rows.
    Returns `stored` frames, the bytes that the process `grew` by (None where the system does not
    tell) and the bytes that the replay `states`.
    Raises RuntimeError, with the process's last line, where it fails.
    """
    command = [sys.executable, "-m", __name__, os.fspath(pool_file), str(frames), str(compress)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        lines = result.stderr.splitlines() or [f"exit status {result.returncode}"]
        raise RuntimeError(f"could not fill a replay of {frames:,} frames: {lines[-1]}")
    return json.loads(result.stdout)


def fill(replay: Replay, pool: np.ndarray, rows: int) -> None:
    """Add `rows` rows of one long episode; only the newest frame of an observation is stored.

    pool: (rows, num_envs, *frame_shape), gone through over and over.
    """
    num_envs, frame_shape = pool.shape[1], pool.shape[2:]
    never, valid = np.zeros(num_envs, bool), np.ones(num_envs, bool)
    rewards, actions = np.zeros(num_envs, np.float32), np.zeros(num_envs, np.int64)
    stack = () if replay.frame_stack == 1 else (replay.frame_stack,)
    shape = (num_envs, *stack, *frame_shape)
    for row in range(rows):
        frames = pool[row % len(pool)]
        observations = np.broadcast_to(frames[:, None] if stack else frames, shape)
        replay.add(observations, actions, rewards, never, never, valid)


def _main(pool_file: str, frames: str, compress: str) -> None:
    pool = np.load(pool_file)
    _, num_envs, *frame_shape = pool.shape
    before = resident_bytes()
    replay = Replay(
        capacity=int(frames),
        num_envs=num_envs,
        frame_shape=tuple(frame_shape),
        frame_dtype=np.uint8,
        frame_stack=_STACK,
        n_step=3,
        discount=0.99,
        compress=compress == "True",
        seed=0,
    )
    fill(replay, pool, replay.rows_capacity)
    after = resident_bytes()
    result = {
        "stored": replay.rows_capacity * num_envs,
        "grew": None if before is None or after is None else after - before,
        "states": replay.nbytes,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
