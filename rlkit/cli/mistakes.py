"""Tells a user's mistake, which deserves one clear line, from a bug, which keeps its traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_EXPECTED = {
    "concurrent.futures.process": "BrokenProcessPool",
    "rlkit.autoencoder.anomalies.detector_file": "DetectorFileError",
    "rlkit.autoencoder.anomalies.series": "SeriesFileError",
    "rlkit.autoencoder.autoencoder": "AutoencoderFileError",
    "rlkit.run_folder": "RunError",
    "rlkit.checkpoint": "CheckpointError",
    "rlkit.comparison": "ComparisonError",
    "rlkit.corruptions": "CorruptionError",
    "rlkit.data_center_pass": "ControllerError",
    "rlkit.dbn.rbm_file": "RBMFileError",
    "rlkit.divergence": "DivergenceError",
    "rlkit.edge.body": "ExportError",
    "rlkit.edge.onnx_file": "OnnxFileError",
    "rlkit.edge.policy": "DeterministicError",
    "rlkit.evaluation": "SpaceMismatchError",
    "rlkit.gan.gan_file": "GANFileError",
    "rlkit.gan.quality_gate": "GateError",
    "rlkit.observations": "ObservationsFileError",
    "rlkit.policy_file": "PolicyFileError",
    "rlkit.training": "RecipeError",
    "rlkit_agents.algorithm": "NonFiniteGradientError",
    "rlkit_envs.bin_picking.scene": "UnstablePhysicsError",
    "rlkit_envs.bin_picking.workers": "WorkerError",
    "rlkit_envs.data_center.energyplus.engine": "EnergyPlusError",
}
"""Module -> its exception whose message is written for users."""

_MACHINE_ERRORS = frozenset(
    (
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    )
)
"""Operating system errors that come from disks and permissions rather than from a bug."""


class Mistake(Exception):
    """Something that the user can put right; the message says what, where, and what to do."""


@contextmanager
def blaming_user(*kinds: type[Exception]) -> Iterator[None]:
    """Turn exceptions of `kinds` into a Mistake with the same message."""
    try:
        yield
    except kinds as error:
        raise Mistake(str(error)) from error


def explain(error: BaseException) -> str | None:
    """The line that tells a user what went wrong; None where the error is a bug.

    An exception can only be of a kind whose module is loaded, so none is imported here.
    """
    kinds = tuple(
        getattr(sys.modules[module], kind)
        for module, kind in _EXPECTED.items()
        if module in sys.modules
    )
    if isinstance(error, (Mistake, *kinds)):
        return one_line(str(error))
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        where = f": {error.filename}" if error.filename else ""
        return one_line(f"{error.strerror}{where}")
    return None


def one_line(text: str) -> str:
    """The text with every run of white space turned into one space."""
    return " ".join(text.split())
