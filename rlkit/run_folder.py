"""A run: the folder that holds everything about one training."""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rlkit.configuration import ConfigurationError, from_json, to_json
from rlkit.environments import environment_id
from rlkit.recipe import Recipe
from rlkit.whole_files import whole_file

FORMAT_VERSION = 1
_PACKAGES = ("rlkit", "torch", "numpy", "gymnasium", "ale-py", "safetensors")


class RunError(Exception):
    """A run folder that cannot be made, read or written; the message is one clear line."""


def new_folder(parent: Path, name: str, seed: int) -> Path:
    """Make a folder in `parent` that is called after `name`, the time and the seed.

    Raises OSError where it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    stamped = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-s{seed}"
    for attempt in itertools.count(1):
        path = parent / (stamped if attempt == 1 else f"{stamped}-{attempt}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("counting ended")


@dataclass(frozen=True)
class Run:
    """The folder of one training, and where things are in it."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The whole configuration, with the versions and machine that it ran on."""
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        """Holds a folder for each kept checkpoint."""
        return self.path / "checkpoints"

    @property
    def policies(self) -> Path:
        """Holds `best.safetensors` and `last.safetensors`."""
        return self.path / "policies"

    @property
    def evaluations_file(self) -> Path:
        """One JSON line for each evaluation."""
        return self.path / "evaluations.jsonl"

    @property
    def videos(self) -> Path:
        """Holds recorded episodes."""
        return self.path / "videos"

    @property
    def _lock_file(self) -> Path:
        """Locked while the run is trained; holds the number of the process that does it."""
        return self.path / ".lock"

    @classmethod
    def create(cls, recipe: Recipe, root: Path | str = "runs") -> Run:
        """Make the folder of a new run of `recipe` under `root`, with its config.json.

        Raises RunError where the folder cannot be written.
        """
        parent = Path(root) / environment_id(recipe.environment).replace("/", "-")
        made = None
        try:
            made = run = cls(new_folder(parent, recipe.name, recipe.seed))
            run.policies.mkdir()
            run._write_configuration(_configuration(recipe))
        except OSError as error:
            if made is not None:
                made.discard()
            path = parent if made is None else made.path
            raise RunError(f"cannot write the run folder {path}: {error.strerror}") from error
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run in the folder `path`. Raises RunError where that is no run folder."""
        run = cls(Path(path))
        if not run.config_file.is_file():
            raise RunError(f"{path} is not a run folder: it has no config.json")
        return run

    def recipe(self) -> Recipe:
        """The recipe that the run trains. Raises RunError for a damaged or newer config.json."""
        configuration = self._read_configuration()
        try:
            return from_json(configuration["recipe"], Recipe)
        except (KeyError, ConfigurationError) as error:
            raise RunError(f"cannot read {self.config_file}: {error}") from error

    def change_recipe(self, recipe: Recipe) -> None:
        """Let the run go on with `recipe`; config.json keeps the earlier ones in `earlier_recipes`.

        Raises RunError where config.json cannot be read or written.
        """
        configuration = self._read_configuration()
        configuration.setdefault("earlier_recipes", []).append(configuration["recipe"])
        configuration["recipe"] = to_json(recipe)
        try:
            self._write_configuration(configuration)
        except OSError as error:
            raise RunError(f"cannot write {self.config_file}: {error.strerror}") from error

    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluations so far, as they stand in evaluations.jsonl; none where there is no file.

        A last line that was cut off, as by a crash, is left out. Raises RunError for any other
        damage.
        """
        try:
            lines = self.evaluations_file.read_text().splitlines(keepends=True)
            return [json.loads(line) for line in lines if line.endswith("\n")]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {self.evaluations_file}: {error}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep others from training this run meanwhile; whoever only reads it needs no lock.

        The system takes the lock back with the process, however that ends. Systems and disks that
        know no such locks go without. Raises RunError where another training holds it.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        try:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise RunError(f"cannot write {self._lock_file}: {error.strerror}") from error
        try:
            with suppress(OSError):  # some disks, as on networks, know no locks
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    holder = os.read(descriptor, 32).decode(errors="replace").strip()
                    process = f"process {holder}" if holder else "another process"
                    raise RunError(
                        f"{self.path} is being trained by {process}; "
                        "wait for its end or stop it first"
                    ) from None
                os.ftruncate(descriptor, 0)
                os.write(descriptor, b"%d\n" % os.getpid())
            yield
        finally:
            with suppress(OSError):
                # Closing is not enough where a process that was forked meanwhile still runs.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def discard(self) -> None:
        """Remove the folder and what is in it, as far as that is possible."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _read_configuration(self) -> dict[str, Any]:
        try:
            configuration = json.loads(self.config_file.read_text())
            version = configuration["format_version"]
            newer = version > FORMAT_VERSION
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"cannot read {self.config_file}: {error!r}") from error
        if newer:
            raise RunError(
                f"{self.config_file} has format version {version}; this rlkit reads up to "
                f"{FORMAT_VERSION}: update rlkit"
            )
        return configuration

    def _write_configuration(self, configuration: dict[str, Any]) -> None:
        with whole_file(self.config_file) as beside:
            beside.write_text(json.dumps(configuration, indent=2) + "\n")


def provenance() -> dict[str, Any]:
    """What a result came from: package versions, git revision, command line and machine."""
    return {
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "git_revision": _git_revision(),
        "command": [_program(), *sys.argv[1:]],
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """The processor, its cores, memory in GiB, and operating system."""
    processor = platform.processor()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    else:
        memory = None
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": memory and round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def _configuration(recipe: Recipe) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "recipe": to_json(recipe),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **provenance(),
    }


def _program() -> str:
    """The program's name without its place on this machine."""
    name = Path(sys.argv[0]).name
    return "rlkit" if name == "__main__.py" else name


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The checkout's revision, marked where files differ from it; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed rlkit may lie within the checkout of another project.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.CalledProcessError):
        return None
