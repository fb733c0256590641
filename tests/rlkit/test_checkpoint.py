"""Checkpoints are whole or absent, whatever fails and whenever, and hold what was saved."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkit import checkpoint, whole_files
from rlkit.checkpoint import CheckpointError, CheckpointStore
from rlkit_agents.replay import Replay

ROWS_PER_WRITE = 4


@pytest.fixture(autouse=True)
def _small_row_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_ROWS_PER_WRITE", ROWS_PER_WRITE)


class Ring:
    """A history whose row number r holds r in every column; notes what was exported."""

    def __init__(self, capacity: int = 10) -> None:
        self.rows_capacity = capacity
        self.rows_written = 0
        self.first_row = 0
        self.rows = np.full((capacity, 3), -1)
        self.exported: list[tuple[int, int]] = []
        self.imported: list[tuple[int, int]] = []

    def add(self, count: int = 1) -> None:
        for _ in range(count):
            self.first_row = max(0, self.rows_written + 1 - self.rows_capacity)
            self.rows[self.rows_written % self.rows_capacity] = self.rows_written
            self.rows_written += 1

    def export_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        self.exported.append((start, stop))
        rows = self.rows[np.arange(start, stop) % self.rows_capacity]
        if start < self.first_row:
            raise ValueError(f"row {start} was overwritten while it was exported")
        return {"rows": rows}

    def import_rows(self, start: int, arrays: dict[str, np.ndarray]) -> None:
        if arrays["rows"].shape[1] != 3:
            raise ValueError("rows must have 3 columns")
        stop = start + len(arrays["rows"])
        self.imported.append((start, stop))
        self.rows[np.arange(start, stop) % self.rows_capacity] = arrays["rows"]

    def state(self) -> dict[str, Any]:
        return {"written": self.rows_written, "weights": torch.full((5,), float(self.rows_written))}


def save(store: CheckpointStore, step: int, ring: Ring) -> None:
    store.save(step, ring.state(), ring)
    store.wait()


def assert_loads(
    store: CheckpointStore, step: int | None, written: int, capacity: int = 10
) -> None:
    """A checkpoint gives the state and the rows that there were after `written` rows."""
    ring = Ring(capacity)
    state = store.load(step, ring).state
    assert state["written"] == written
    assert torch.equal(state["weights"], torch.full((5,), float(written)))
    first = max(0, written - capacity)
    rows = ring.rows[np.arange(first, written) % capacity]
    np.testing.assert_array_equal(rows, np.repeat(np.arange(first, written), 3).reshape(-1, 3))
    # Rows come in order, each once, and none but those.
    stops = [first, *(stop for _, stop in ring.imported)]
    assert [start for start, _ in ring.imported] == stops[:-1]
    assert stops[-1] == written


def row_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "replay").iterdir())


# Saving and loading


def test_state_without_a_history_comes_back(tmp_path: Path):
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.steps() == []
    state = {"weights": torch.arange(3.0), "step": 7, "nothing": None, "none": {}}
    store.save(70, state)
    store.wait()
    loaded = store.load()
    assert loaded.step == 70
    assert torch.equal(loaded.state.pop("weights"), torch.arange(3.0))
    assert loaded.state == {"step": 7, "nothing": None, "none": {}}
    store.save(80, {})
    store.wait()
    assert store.load(80).state == {}


def test_what_is_saved_is_what_there_was_when_save_was_called(tmp_path: Path):
    store = CheckpointStore(tmp_path)
    weights = torch.zeros(1000)
    store.save(1, {"weights": weights})
    weights += 1
    store.wait()
    assert not store.load().state["weights"].any()


@pytest.mark.parametrize("additions", [[3, 5, 1, 4, 2, 30, 7, 10, 0, 9], [25, 1, 1, 40], [4, 4, 4]])
def test_each_checkpoint_gives_its_rows_though_the_ring_wraps_around(
    tmp_path: Path, additions: list[int]
):
    store, ring, written = CheckpointStore(tmp_path), Ring(), {}
    for step, count in enumerate(additions):
        ring.add(count)
        save(store, step, ring)
        written[step] = ring.rows_written
        assert store.steps() == list(range(step + 1))[-2:]
        for kept in store.steps():
            assert_loads(CheckpointStore(tmp_path), kept, written[kept])


def test_rows_are_written_once_shared_and_removed_when_no_checkpoint_needs_them(tmp_path: Path):
    store, ring = CheckpointStore(tmp_path, kept=2), Ring(capacity=16)
    for step in range(1, 9):
        ring.add(4)
        save(store, step, ring)
    assert ring.exported == [(a, a + 4) for a in range(0, 32, 4)]
    # The checkpoints at 28 and 32 rows reach back to row 12.
    assert row_files(tmp_path) == sorted(f"rows-{a}-{a + 4}.safetensors" for a in range(12, 32, 4))


def test_as_many_checkpoints_are_kept_as_wanted(tmp_path: Path):
    store = CheckpointStore(tmp_path, kept=3)
    for step in (10, 20, 30, 40, 100):
        store.save(step, {})
    store.wait()
    assert store.steps() == [30, 40, 100]


def test_saving_at_the_same_step_again_replaces_the_checkpoint(tmp_path: Path):
    store, ring = CheckpointStore(tmp_path), Ring()
    ring.add(2)
    save(store, 5, ring)
    ring.add(2)
    save(store, 5, ring)
    assert store.steps() == [5]
    assert_loads(store, 5, 4)


def test_training_goes_on_from_an_earlier_checkpoint(tmp_path: Path):
    store, ring = CheckpointStore(tmp_path, kept=3), Ring()
    for step in (1, 2, 3):
        ring.add(7)
        save(store, step, ring)
    store = CheckpointStore(tmp_path, kept=3)
    store.forget_after(2)
    assert store.steps() == [1, 2]
    # Checkpoint 2 has rows 4 to 14, checkpoint 1 the first 7.
    assert row_files(tmp_path) == [
        *("rows-0-4.safetensors", "rows-11-14.safetensors"),
        *("rows-4-7.safetensors", "rows-7-11.safetensors"),
    ]
    other = Ring()
    other.add(14)
    other.add(5)
    save(store, 4, other)
    assert other.exported == [(14, 18), (18, 19)]
    assert_loads(store, 4, 19)
    assert_loads(store, 1, 7)


def test_a_real_replay_comes_back_compressed_and_prioritised(tmp_path: Path):
    def replay() -> Replay:
        return Replay(
            capacity=24,
            num_envs=2,
            frame_shape=(5, 4),
            frame_dtype=np.uint8,
            frame_stack=2,
            n_step=2,
            discount=0.9,
            priority_exponent=0.5,
            compress=True,
            seed=0,
        )

    original, store = replay(), CheckpointStore(tmp_path)
    random, no = np.random.default_rng(0), np.zeros(2, bool)
    for step in range(40):
        store.wait_for_rows(original)
        frames = random.integers(0, 255, (2, 2, 5, 4), np.uint8)
        original.add(frames, random.integers(0, 3, 2), random.random(2), no, no, ~no)
        if step % 10 == 9:
            original.update_priorities(original.sample(4).indices, random.random(4))
            store.save(step, {"replay": original.state_dict()}, original)
    store.wait()
    restored = replay()
    restored.load_state_dict(store.load(None, restored).state["replay"])
    for _ in range(3):
        expected, found = original.sample(8, 0.5), restored.sample(8, 0.5)
        for name in ("observations", "actions", "returns", "weights", "indices"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_there_is_no_checkpoint_to_load(tmp_path: Path):
    store = CheckpointStore(tmp_path / "none")
    with pytest.raises(CheckpointError, match=f"{tmp_path}/none holds no checkpoint"):
        store.load()
    store.save(3, {})
    store.wait()
    with pytest.raises(CheckpointError, match="holds no checkpoint 4, only 3"):
        store.load(4)


def test_rows_that_do_not_fit_are_told_from_damage(tmp_path: Path):
    store, ring = CheckpointStore(tmp_path), Ring()
    ring.rows = np.zeros((10, 2), int)
    ring.add(3)
    save(store, 1, ring)
    with pytest.raises(CheckpointError, match="does not fit the run's configuration: rows must"):
        store.load(1, Ring())


# Saving in the background


def test_saving_does_not_wait_for_the_rows(tmp_path: Path):
    gate = threading.Event()

    class SlowRing(Ring):
        def export_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
            assert gate.wait(30)
            return super().export_rows(start, stop)

    store, ring = CheckpointStore(tmp_path), SlowRing(capacity=1000)
    ring.add(900)
    store.save(1, ring.state(), ring)  # would never return if it waited for the rows
    ring.add(99)
    store.wait_for_rows(ring)  # nor would this: the next row takes a free place
    assert store.steps() == []
    gate.set()
    store.wait()
    assert_loads(store, 1, 900, capacity=1000)


def test_rows_are_not_overwritten_before_they_are_saved(tmp_path: Path):
    class SlowRing(Ring):
        def export_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
            time.sleep(0.005)
            return super().export_rows(start, stop)

    store, ring = CheckpointStore(tmp_path), SlowRing(capacity=40)
    ring.add(100)
    for step in range(5):
        store.save(step, ring.state(), ring)
        written = ring.rows_written
        for _ in range(60):
            store.wait_for_rows(ring)
            ring.add()
        store.wait()
        assert_loads(store, step, written, capacity=40)


def test_rows_overwritten_too_soon_are_an_error_and_never_saved_wrong(tmp_path: Path):
    started, gate = threading.Event(), threading.Event()

    class SlowRing(Ring):
        def export_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
            if start >= 4:
                started.set()
                assert gate.wait(30)
            return super().export_rows(start, stop)

    store, ring = CheckpointStore(tmp_path), SlowRing()
    ring.add(10)
    store.save(1, ring.state(), ring)
    assert started.wait(30)
    ring.add(6)  # without wait_for_rows
    gate.set()
    with pytest.raises(CheckpointError, match="row 4 was overwritten"):
        store.wait()
    assert store.steps() == []
    ring.add(1)
    save(store, 2, ring)
    assert_loads(store, 2, 17)


# What fails


class Operations:
    """Stands before every change that the store makes on the disk, and does `before` first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: Callable[[str], None] = lambda name: None
        for holder, name in (
            (checkpoint, "save_file"),
            (checkpoint, "save_arrays"),
            (checkpoint, "flush"),
            (whole_files, "flush"),
            (os, "replace"),
            (Path, "write_text"),
            (Path, "mkdir"),
            (Path, "unlink"),
        ):
            self._wrap(monkeypatch, holder, name, getattr(holder, name))
        # Folders are removed file by file, so that there are moments in between.
        monkeypatch.setattr(shutil, "rmtree", self._remove)

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, holder: Any, name: str, real: Any) -> None:
        def operation(*arguments: Any, **options: Any) -> Any:
            self.before(name)
            return real(*arguments, **options)

        monkeypatch.setattr(holder, name, operation)

    def _remove(self, folder: Path, ignore_errors: bool = False) -> None:
        if ignore_errors and not folder.exists():
            return
        for file in sorted(folder.iterdir()):
            file.unlink()
        self.before("rmdir")
        folder.rmdir()


def test_after_a_crash_at_any_moment_a_whole_checkpoint_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, moments = tmp_path / "checkpoints", []
    store, ring = CheckpointStore(folder), Ring()
    operations = Operations(monkeypatch)
    copy_tree = shutil.copytree

    def keep_a_copy(name: str) -> None:
        operations.before = lambda name: None
        if folder.exists():
            moments.append((tmp_path / f"moment-{len(moments)}", name))
            copy_tree(folder, moments[-1][0])
        operations.before = keep_a_copy

    operations.before = keep_a_copy
    ends = []
    for step in range(5):
        ring.add(7)
        save(store, step, ring)
        ends.append(len(moments))
    operations.before = lambda name: None
    assert len(moments) > 50
    for index, (crashed, name) in enumerate(moments):
        saved = sum(end <= index for end in ends)
        again = CheckpointStore(crashed)
        kept = again.steps()
        if saved == 0 and not kept:
            continue
        # The one under way, or the one before it.
        assert kept[-1] in (saved - 1, saved), name
        for step in kept:
            assert_loads(again, step, 7 * (step + 1))
        # And training goes on from there.
        again.forget_after(kept[-1])
        resumed = Ring()
        resumed.add(7 * (kept[-1] + 1))
        resumed.add(9)
        save(again, 50, resumed)
        assert_loads(again, 50, resumed.rows_written)
        assert_loads(again, kept[-1], 7 * (kept[-1] + 1))
        assert not list(crashed.rglob(".*")), name


def test_a_full_disk_at_any_moment_loses_nothing_that_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    operations = Operations(monkeypatch)
    failures = 0
    for moment in range(1000):
        folder = tmp_path / str(moment)
        store, ring = CheckpointStore(folder), Ring()
        for step in (0, 1, 2):
            ring.add(7)
            save(store, step, ring)
        countdown = moment

        def fail(name: str) -> None:
            nonlocal countdown
            countdown -= 1
            if countdown == -1 and name not in ("unlink", "rmdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the disk")

        ring.add(7)
        operations.before = fail
        store.save(3, ring.state(), ring)
        message = None
        try:
            store.wait()
        except CheckpointError as error:
            message = str(error)
        failed = message is not None
        reason = "No space left on device (the disk)"
        assert message in (None, f"cannot save a checkpoint in {folder}: {reason}")
        operations.before = lambda name: None
        assert not store.failed
        newest = store.steps()[-1]
        assert newest == 3 or (failed and newest == 2)
        for step in store.steps()[-2:]:
            assert_loads(CheckpointStore(folder), step, 7 * (step + 1))
        # With room again, the same store writes what is missing.
        ring.add(2)
        save(store, 4, ring)
        assert_loads(store, 4, 30)
        assert_loads(store, newest, 7 * (newest + 1))
        assert not list(folder.rglob(".*"))
        failures += failed
        if countdown > 0:
            break
    assert failures > 10


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("big", ["rows", "weights", "plain"])
def test_a_file_that_the_system_refuses_to_write_is_an_error(
    tmp_path: Path, file_size_limit: Callable[[int], None], big: str
):
    store, ring = CheckpointStore(tmp_path), Ring()
    ring.add(3)
    save(store, 1, ring)
    state = {"weights": torch.zeros(100_000 if big == "weights" else 1), "text": ""}
    if big == "plain":
        state["text"] = "x" * 100_000
    if big == "rows":
        ring.export_rows = lambda start, stop: {"rows": np.zeros((stop - start, 100_000))}
    ring.add(3)
    file_size_limit(50_000)
    store.save(2, state, ring)
    with pytest.raises(CheckpointError, match=r"cannot save .*: .*[Ff]ile too large") as caught:
        store.wait()
    file_size_limit(resource.RLIM_INFINITY)
    assert "\n" not in str(caught.value)
    assert_loads(store, None, 3)
    assert not list(tmp_path.rglob(".*"))


def test_a_failed_save_is_reported_once_by_the_next_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, ring = CheckpointStore(tmp_path), Ring()
    ring.add(3)
    with monkeypatch.context() as patch:

        def fail(*arguments: Any) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(checkpoint, "save_file", fail)
        store.save(1, ring.state(), ring)
        while not store.failed:
            time.sleep(0.001)
    with pytest.raises(CheckpointError, match="Input/output error"):
        store.save(2, ring.state(), ring)
    assert not store.failed
    save(store, 3, ring)
    assert_loads(store, 3, 3)


def test_a_state_that_cannot_be_held_fails_at_once(tmp_path: Path):
    store = CheckpointStore(tmp_path)
    with pytest.raises(TypeError, match=r"state\.thing"):
        store.save(1, {"thing": object()})
    store.wait()
    assert store.steps() == []


KILLED_WHILE_SAVING = """
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_checkpoint
from rlkit import checkpoint

checkpoint._ROWS_PER_WRITE = 4
folder = Path(sys.argv[2])
random.seed(0)
kills = 0
while kills < 10:
    before = checkpoint.CheckpointStore(folder).steps()[-1:]
    child = os.fork()
    if child == 0:
        store, ring = checkpoint.CheckpointStore(folder), test_checkpoint.Ring()
        if store.steps():
            step = store.load(None, ring).step
            store.forget_after(step)
            ring.add(step)
        while True:
            ring.add(3)
            store.save(ring.rows_written, ring.state(), ring)
    while checkpoint.CheckpointStore(folder).steps()[-1:] == before:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    store = checkpoint.CheckpointStore(folder)
    kills += 1
    assert store.steps()[-1:] > before
    for step in store.steps()[-2:]:
        test_checkpoint.assert_loads(store, step, step)
print(store.steps()[-1])
"""


def test_a_process_killed_while_saving_leaves_whole_checkpoints(tmp_path: Path):
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(Path(__file__).parent), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 30


# What is damaged


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with checkpoints 100 at 7 rows and 200 at 14 rows."""
    store, ring = CheckpointStore(tmp_path / "checkpoints"), Ring()
    for step in (100, 200):
        ring.add(7)
        save(store, step, ring)
    return tmp_path / "checkpoints"


FILES = ["200/state.json", "200/state.safetensors", "replay/rows-7-11.safetensors"]


def assert_damaged(folder: Path, name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        CheckpointStore(folder).load(None, Ring())
    message = str(caught.value)
    assert message.startswith(f"checkpoint 200 in {folder} is damaged: ")
    assert name in message
    assert message.endswith("; whole ones may be: 100 (--checkpoint)")
    assert "\n" not in message


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits_are_found_and_the_file_named(saved: Path, name: str):
    content = (saved / name).read_bytes()
    for position in np.random.default_rng(0).integers(len(content) * 8, size=150).tolist():
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        (saved / name).write_bytes(damaged)
        if name.endswith("json") and b'"format_version": 2,' not in damaged:
            with pytest.raises(CheckpointError, match=r"damaged|update rlkit"):
                CheckpointStore(saved).load(None, Ring())
        else:
            assert_damaged(saved, name)
    (saved / name).write_bytes(content)
    assert_loads(CheckpointStore(saved), None, 14)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"half", b"{}", b"[1]", b"null", b"\xff\xfe", None])
def test_truncated_foreign_and_missing_files_are_named(
    saved: Path, name: str, content: bytes | None
):
    file = saved / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9] if content == b"half" else content)
    assert_damaged(saved, name)
    # Damage to the one leaves the other.
    assert_loads(CheckpointStore(saved), 100, 7)


def test_a_manifest_cannot_be_altered_unnoticed(saved: Path):
    manifest = json.loads((saved / "200/state.json").read_text())
    for changes in ({"rows": [5, 14]}, {"rows": [4, 13]}, {"step": 300}, {"files": {}}):
        (saved / "200/state.json").write_text(json.dumps(manifest | changes))
        assert_damaged(saved, "200/state.json does not match its checksum")


def test_a_checkpoint_of_a_newer_version_says_so(saved: Path):
    path = saved / "200/state.json"
    path.write_text(path.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(CheckpointError, match=r"format version 3; .* up to 2: update rlkit$"):
        CheckpointStore(saved).load()


@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_a_damaged_earlier_checkpoint_does_not_stop_training(saved: Path, content: bytes | None):
    if content is None:
        (saved / "100/state.json").unlink()
    else:
        (saved / "100/state.json").write_bytes(content)
    store, ring = CheckpointStore(saved), Ring()
    assert_loads(store, None, 14)
    store.forget_after(200)
    ring.add(16)
    save(store, 300, ring)
    assert store.steps() == [200, 300]
    assert_loads(store, 300, 16)
    assert_loads(store, 200, 14)


def test_a_damaged_last_checkpoint_is_left_behind_by_going_on_from_the_one_before(saved: Path):
    (saved / "200/state.json").write_bytes(b"nonsense")
    store, ring = CheckpointStore(saved), Ring()
    store.forget_after(store.load(100, ring).step)
    assert store.steps() == [100]
    ring.add(12)
    save(store, 150, ring)
    assert_loads(store, 150, 12)
