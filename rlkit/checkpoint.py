"""Checkpoints that are always whole, cost training little, and let it go on bit for bit.

Layout, under a run's `checkpoints/`:

    <step>/state.json             plain data, the row files' names, and a SHA-256 of every file
    <step>/state.safetensors      weights, optimiser, priorities, random generators, observations
    replay/rows-<a>-<b>.safetensors   rows a (included) to b (excluded), shared by checkpoints

A replay is far larger than everything else, but a row never changes once it is written. So each
checkpoint adds only the rows since the one before, and writes them in the background while
training goes on. The folder of a checkpoint is written beside its place and renamed as the last
act; it is renamed again before it is removed. Row files that no kept checkpoint needs are removed
after that.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from rlkit.nested_state import join_state, split_state
from rlkit.reasons import reason_of
from rlkit.whole_files import flush, whole_file
from rlkit_agents.algorithm import RowHistory

FORMAT_VERSION = 2
_ROWS_PER_WRITE = 128  # at 64 environments and 84x84 pixels, 58 MB


class CheckpointError(Exception):
    """A checkpoint that cannot be written or read; the message is one clear line."""


@dataclass(frozen=True)
class Checkpoint:
    """What was loaded: the nested state, and the environment step at which it was saved."""

    step: int
    state: dict[str, Any]


class CheckpointStore:
    """Writes and reads the checkpoints in one folder."""

    def __init__(self, folder: Path, kept: int = 2) -> None:
        self.folder = folder
        self.kept = kept
        self._rows_folder = folder / "replay"
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._rows_to_save = (0, 0)

    def steps(self) -> list[int]:
        """The steps at which there is a whole checkpoint, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(p.name) for p in self.folder.iterdir() if p.is_dir() and p.name.isdigit())

    def save(self, step: int, state: dict[str, Any], history: RowHistory | None = None) -> None:
        """Save a checkpoint, most of it in the background.

        Blocks for copying `state`, and until an earlier save is done. While rows of a full
        `history` are being saved, call `wait_for_rows` before adding to it.
        Raises CheckpointError where the earlier save failed: nothing saved before is lost then.
        """
        self.wait()
        plain, tensors = split_state(state)
        span = (0, 0) if history is None else (history.first_row, history.rows_written)
        start = span[0] if history is None else max(span[0], self._rows_saved())
        self._rows_to_save = (start, span[1])
        work = lambda: self._write(step, plain, tensors, history, span, start)  # noqa: E731
        self._thread = threading.Thread(target=self._guard, args=(work,), name="checkpoint")
        self._thread.start()
        if history is not None:
            self.wait_for_rows(history)

    def wait_for_rows(self, history: RowHistory) -> None:
        """Block while the next row added would overwrite one that is still to be saved.

        Rows are saved in their order and far faster than they come, so this hardly ever takes
        longer than copying the first few.
        """
        overwritten = history.rows_written - history.rows_capacity
        while self._thread is not None and self._thread.is_alive():
            next_row, end = self._rows_to_save
            if next_row == end or overwritten < next_row:
                return
            time.sleep(0.001)

    def wait(self) -> None:
        """Block until nothing is being written. Raises CheckpointError where writing failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise CheckpointError(
                f"cannot save a checkpoint in {self.folder}: {reason_of(failure)}"
            )

    @property
    def failed(self) -> bool:
        """Whether a save in the background has failed; `wait` says why."""
        return self._failure is not None

    def load(self, step: int | None = None, history: RowHistory | None = None) -> Checkpoint:
        """Read the checkpoint of `step`, by default the last, and fill `history` with its rows.

        Raises CheckpointError where there is none, or where a file of it is damaged.
        """
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"{self.folder} holds no checkpoint")
        step = steps[-1] if step is None else step
        if step not in steps:
            known = ", ".join(map(str, steps))
            raise CheckpointError(f"{self.folder} holds no checkpoint {step}, only {known}")
        others = [str(s) for s in steps if s != step]
        hint = f"; whole ones may be: {', '.join(others)} (--checkpoint)" if others else ""
        try:
            manifest = self._manifest(step)
            for name, digest in manifest["files"].items():
                if _digest_of_file(self.folder / name) != digest:
                    raise ValueError(f"{name} does not match its checksum")
            tensors = load_file(self.folder / str(step) / "state.safetensors")
            state = join_state(manifest["state"], tensors)
            if history is not None:
                self._load_rows(manifest, history)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise CheckpointError(
                f"checkpoint {step} in {self.folder} is damaged: {reason_of(error)}{hint}"
            ) from error
        return Checkpoint(step, state)

    def forget_after(self, step: int) -> None:
        """Remove checkpoints later than `step`, before training goes on from it."""
        for later in [s for s in self.steps() if s > step]:
            self._remove(later)
        self._remove_leftovers()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failure = error

    def _write(
        self,
        step: int,
        plain: Any,
        tensors: dict[str, Any],
        history: RowHistory | None,
        span: tuple[int, int],
        start: int,
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        files: dict[str, str] = {}
        if history is not None:
            self._rows_folder.mkdir(exist_ok=True)
            for a in range(start, span[1], _ROWS_PER_WRITE):
                b = min(a + _ROWS_PER_WRITE, span[1])
                rows = history.export_rows(a, b)
                self._rows_to_save = (b, span[1])
                file = self._rows_folder / f"rows-{a}-{b}.safetensors"
                with whole_file(file) as beside:
                    save_arrays(rows, beside)
            known = self._known_digests()
            for file, (_, b) in self._row_files().items():
                if b > span[0]:
                    name = f"replay/{file.name}"
                    files[name] = known.get(name) or _digest_of_file(file)
        beside = self.folder / f".{step}.partial"
        try:
            beside.mkdir()
            save_file(tensors, beside / "state.safetensors")
            flush(beside / "state.safetensors")
            files[f"{step}/state.safetensors"] = _digest_of_file(beside / "state.safetensors")
            manifest = {
                "format_version": FORMAT_VERSION,
                "step": step,
                "rows": list(span),
                "files": files,
                "state": plain,
            }
            manifest["sha256"] = _digest_of_json(manifest)
            (beside / "state.json").write_text(json.dumps(manifest))
            flush(beside / "state.json")
            if step in self.steps():
                self._remove(step)
            os.replace(beside, self.folder / str(step))
            flush(self.folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        for old in self.steps()[: -self.kept]:
            self._remove(old)
        self._remove_leftovers()

    def _row_files(self) -> dict[Path, tuple[int, int]]:
        """Row files with the rows (first, past the last) that each holds, in order."""
        spans = {}
        for file in self._rows_folder.glob("rows-*-*.safetensors"):
            _, a, b = file.stem.split("-")
            spans[file] = (int(a), int(b))
        return dict(sorted(spans.items(), key=lambda item: item[1]))

    def _manifest(self, step: int) -> dict[str, Any]:
        """What state.json holds. Raises OSError or ValueError where it is damaged."""
        text = (self.folder / str(step) / "state.json").read_bytes()
        try:
            manifest = json.loads(text)
            version, digest = manifest["format_version"], manifest.pop("sha256")
            newer = version > FORMAT_VERSION
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{step}/state.json is not what rlkit writes") from error
        if newer:
            raise CheckpointError(
                f"checkpoint {step} in {self.folder} has format version {version}; "
                f"this rlkit reads up to {FORMAT_VERSION}: update rlkit"
            )
        if digest != _digest_of_json(manifest):
            raise ValueError(f"{step}/state.json does not match its checksum")
        return manifest

    def _manifests(self) -> list[dict[str, Any]]:
        """Those that can be read, in order; a damaged checkpoint needs its rows no more."""
        manifests = []
        for step in self.steps():
            with suppress(OSError, ValueError, CheckpointError):
                manifests.append(self._manifest(step))
        return manifests

    def _known_digests(self) -> dict[str, str]:
        return {name: d for manifest in self._manifests() for name, d in manifest["files"].items()}

    def _rows_saved(self) -> int:
        """Rows before this one are on disk, as far as the newest checkpoint needs them."""
        manifests = self._manifests()
        return manifests[-1]["rows"][1] if manifests else 0

    def _remove(self, step: int) -> None:
        """Remove a checkpoint, renamed first, so that half a one never looks like a whole one."""
        aside = self.folder / f".{step}.removed"
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(self.folder / str(step), aside)
        shutil.rmtree(aside)

    def _remove_leftovers(self) -> None:
        """Remove what a process that was killed left behind, and rows that nothing needs."""
        for leftover in [*self.folder.glob(".*.partial"), *self.folder.glob(".*.removed")]:
            shutil.rmtree(leftover)
        for leftover in self._rows_folder.glob(".*.partial"):
            leftover.unlink()
        needed = {name for manifest in self._manifests() for name in manifest["files"]}
        for file in self._row_files():
            if f"replay/{file.name}" not in needed:
                file.unlink()

    def _load_rows(self, manifest: dict[str, Any], history: RowHistory) -> None:
        first, end = manifest["rows"]
        expected = first
        for file, (a, b) in self._row_files().items():
            if f"replay/{file.name}" not in manifest["files"] or b <= expected:
                continue
            if a > expected:
                raise ValueError(f"replay rows {expected} to {a} are missing")
            arrays = {name: rows[expected - a :] for name, rows in load_arrays(file).items()}
            try:
                history.import_rows(expected, arrays)
            except (KeyError, ValueError) as error:
                raise CheckpointError(
                    f"checkpoint {manifest['step']} in {self.folder} does not fit the run's "
                    f"configuration: {reason_of(error)}"
                ) from error
            expected = b
        if expected != end:
            raise ValueError(f"replay rows {expected} to {end} are missing")


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_of_json(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
