"""What the commands of `rlkit gan` learn from and judge by, as the user names it, and the table of
how good examples are."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from rlkit.cli.mistakes import Mistake
from rlkit.cli.sources import DIGITS, read_digits, recorded_frames
from rlkit.observations import PlayConfig

if TYPE_CHECKING:
    import numpy as np

    from rlkit.gan.metrics import Measured, Quality
    from rlkit.gan.quality_gate import Verdict

_BESIDE = ("labels", "names", "groups", "about", "synthetic")
"""What a file may hold beside its examples."""

_GENERATED_BESIDE_REAL = {
    "fid": ("Fréchet distance", "as low as for real rows"),
    "kid": ("kernel distance", "as low as for real rows"),
    "precision": ("precision", "share of rows that look real"),
    "recall": ("recall", "share of what is real that is reached"),
    "density": ("density", "rows lie where real ones are dense"),
    "coverage": ("coverage", "share of real rows with one near them"),
    "two_sample_accuracy": ("told from real", "0.5 is guessing"),
    "least_class_ratio": ("rarest class, of its share", "0 where a class is left out"),
    "conditional_accuracy": ("labels confirmed", "by a classifier of other rows"),
}


@dataclass(frozen=True)
class Material:
    """Examples, as a GAN takes them."""

    data: np.ndarray
    """(count, channels, height, width) uint8, or rows (count, features) float32."""
    labels: np.ndarray | None
    """(count,) int64 from 0 on, or None."""
    name: str
    """Of a folder for what is learnt from them."""
    source: dict[str, Any]
    """Where they come from; plain JSON data."""
    beside: dict[str, np.ndarray] = field(default_factory=dict)
    """What a file says beside (`rlkit.gan.labelled_rows`): "names" of labels, "groups" (count,),
    "about"."""

    def name_of(self, label: int) -> str:
        """What a label is called: its name, or else its number."""
        names = self.beside.get("names")
        return str(label if names is None or label >= len(names) else names[label])


def read_material(source: str, play: PlayConfig, console: Console) -> Material:
    """The examples that a user names: handwritten digits by their word, a file (.npz), or what is
    recorded of a recipe, a registered environment or a run's world.

    Raises Mistake for what is not there or is not for a GAN, ObservationsFileError for a file that
    cannot be used.
    """
    from rlkit.gan.training_data import checked_examples, checked_labels

    labels, beside = None, {}
    if source == DIGITS:
        observations, labels = read_digits()
        name, came_from = DIGITS, {"file": DIGITS}
    elif source.endswith(".npz"):
        observations, labels, beside = _read(source, console)
        name, came_from = Path(source).stem, {"file": Path(source).name}
    else:
        recorded = recorded_frames(source, play, console)
        observations, name, came_from = recorded.observations, recorded.world, recorded.source
    try:
        data = checked_examples(observations).numpy()
        if labels is not None:
            classes, places = checked_labels(labels, len(data))
            labels = classes[places.numpy()]
    except ValueError as error:
        raise Mistake(f"{source}: {error}") from error
    return Material(data, labels, name, came_from, beside)


def holds_pairs(source: str) -> bool:
    """Whether a user names a file of pictures with targets, as `rlkit gan pairs` writes them."""
    return source.endswith(".npz") and {"images", "targets"} <= set(_names(Path(source)))


def write_examples(
    path: Path, data: np.ndarray, labels: np.ndarray | None, **more: np.ndarray
) -> None:
    """Write examples so that `read_material` reads them: an archive (.npz) with `images` or
    `observations`, and `labels` where there are any. more: other arrays, by name."""
    import numpy as np

    from rlkit.whole_files import whole_file

    arrays = {"images" if data.ndim == 4 else "observations": data, **more}
    if labels is not None:
        arrays["labels"] = labels
    with whole_file(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def print_verdict(verdict: Verdict) -> None:
    """The table of a quality, and whether rows of it may be used."""
    console = Console()
    console.print(_table(verdict.quality))
    copies = verdict.quality.memorising
    if copies is not None:
        console.print(
            f"copies of training rows: {copies.copied:.1%}, among real rows"
            f" {copies.copied_floor:.1%}",
            highlight=False,
        )
    if verdict.passed:
        console.print("passes the gate: nothing speaks against using such rows", highlight=False)
        return
    console.print("does not pass the gate:", highlight=False)
    for reason in verdict.reasons:
        console.print(f"- {reason}", highlight=False, markup=False, soft_wrap=True)


def _table(quality: Quality) -> Table:
    table = Table(title=f"{quality.rows:,} generated beside {quality.rows:,} real rows")
    table.add_column("")
    table.add_column("generated", justify="right")
    table.add_column("real rows", justify="right")
    table.add_column("meaning")
    for name, (title, meaning) in _GENERATED_BESIDE_REAL.items():
        measured: Measured | None = getattr(quality, name)
        if measured is not None:
            values = (f"{each.mean:.3g}" for each in (measured.generated, measured.floor))
            table.add_row(title, *values, meaning)
    return table


def _read(
    source: str, console: Console
) -> tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray]]:
    """Examples of a file, labels, if there are any, and what it says beside.

    What is marked as generated (`synthetic`) is left out: nothing is learnt from it, or judged by
    it, as if it were real.
    """
    from rlkit.observations import ObservationsFileError, read_array

    path = Path(source)
    names = _names(path)
    wanted = "images" if "images" in names else "observations"
    data = read_array(path, wanted, or_only=True)
    beside = {name: read_array(path, name) for name in _BESIDE if name in names}
    marks = beside.pop("synthetic", None)
    for name in ("labels", "groups"):
        if name in beside and beside[name].shape != data.shape[:1]:
            raise ObservationsFileError(
                f"{path}: {len(data)} examples need as many {name}, got {beside[name].shape}"
            )
    if marks is not None:
        if marks.shape != data.shape[:1] or marks.dtype != bool:
            raise ObservationsFileError(f"{path}: {len(data)} examples need a mark of bool each")
        console.print(f"left out {int(marks.sum()):,} generated examples of {source}")
        data = data[~marks]
        for name in {"labels", "groups"} & beside.keys():
            beside[name] = beside[name][~marks]
    return data, beside.pop("labels", None), beside


def _names(path: Path) -> list[str]:
    """What arrays a file holds; none where it cannot be read, which is said where it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return []
