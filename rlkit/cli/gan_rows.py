"""What the commands of `rlkit gan` learn from and judge by, as the user names it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rlkit.cli.mistakes import Mistake
from rlkit.cli.sources import DIGITS, read_digits, recorded_frames
from rlkit.observations import PlayConfig, array_names

if TYPE_CHECKING:
    import numpy as np

_BESIDE = ("labels", "names", "groups", "about")
"""What a file may hold beside its examples."""
_OF_ROWS = ("labels", "groups")
"""What of it there is for each."""


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
    recorded of a recipe, a registered environment or a run's world; of bins the heights, in bytes.

    Raises Mistake for what is not there or is not for a GAN, ObservationsFileError for a file that
    cannot be used.
    """
    from rlkit.environment_ids import BIN_PICKING
    from rlkit.environments import environment_id
    from rlkit.gan.pair_making import height_levels
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
        if environment_id(recorded.environment) == BIN_PICKING:
            observations = height_levels(observations[:, :1])
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
    return source.endswith(".npz") and {"images", "targets"} <= set(array_names(source))


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


def _read(
    source: str, console: Console
) -> tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray]]:
    """Real examples of a file, labels, if there are any, and what it says beside."""
    from rlkit.observations import ObservationsFileError, read_array, read_real_rows

    path = Path(source)
    names = array_names(path)
    wanted = "images" if "images" in names else "observations"
    data = read_real_rows(path, wanted, or_only=True)
    beside = {
        name: (read_real_rows if name in _OF_ROWS else read_array)(path, name)
        for name in _BESIDE
        if name in names
    }
    for name in _OF_ROWS:
        if name in beside and beside[name].shape != data.shape[:1]:
            raise ObservationsFileError(
                f"{path}: {len(data)} examples need as many {name}, got {beside[name].shape}"
            )
    if "synthetic" in names:
        marks = read_array(path, "synthetic")
        console.print(f"left out {int(marks.sum()):,} generated examples of {source}")
    return data, beside.pop("labels", None), beside
