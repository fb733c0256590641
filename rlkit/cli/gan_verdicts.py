"""What the commands of `rlkit gan` tell of a generator: how good what it makes is, beside what is
real, whether it may be used, and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from rlkit.plain_json import write_finite

if TYPE_CHECKING:
    from rlkit.gan.gan import GAN, ImageToImage
    from rlkit.gan.judging import Parts
    from rlkit.gan.metrics import Measured, Quality
    from rlkit.gan.quality_gate import Verdict
    from rlkit.gan.translation_judging import TranslationVerdict

_ROWS = {
    "fid": ("Fréchet distance", "as low as for what is real"),
    "kid": ("kernel distance", "as low as for what is real"),
    "precision": ("precision", "share that looks real"),
    "recall": ("recall", "share of what is real that is reached"),
    "density": ("density", "lies where much is that is real"),
    "coverage": ("coverage", "share of what is real with one near it"),
    "two_sample_accuracy": ("told from real", "0.5 is guessing"),
    "least_class_ratio": ("rarest class, of its share", "0 where a class is left out"),
}
_LABELS = ("labels confirmed", "by a classifier of other rows")
_KINDS_OF_PAIRS = ("taken for real", "by a classifier of other pairs")


def print_verdict(verdict: Verdict) -> None:
    """The table of a quality, and whether rows of it may be used."""
    console = Console()
    quality = verdict.quality
    title = f"{quality.rows:,} generated beside {quality.rows:,} real rows"
    console.print(_table(title, ("generated", "real rows"), quality, _LABELS))
    copies = quality.memorising
    if copies is not None:
        console.print(
            f"copies of training rows: {copies.copied:.1%}, among real rows"
            f" {copies.copied_floor:.1%}",
            highlight=False,
        )
    _print_gate(console, verdict.reasons, "such rows")


def print_translation_verdict(verdict: TranslationVerdict) -> None:
    """The table of a quality, and whether such translations may be used."""
    console = Console()
    quality, pairs = verdict.quality, verdict.quality.pairs
    beside = ""
    if quality.unchanged_error is not None:
        beside = f"; pictures left as they are by {quality.unchanged_error:.3g}"
    console.print(
        f"off by {quality.error:.3g} of 255 levels on average{beside}",
        highlight=False,
        soft_wrap=True,
    )
    title = f"{pairs.rows:,} translations beside {pairs.rows:,} targets"
    console.print(_table(title, ("translated", "targets"), pairs, _KINDS_OF_PAIRS))
    _print_gate(console, verdict.reasons, "such translations", ", so that no training takes it")


def tell_training(
    file: Path,
    estimator: GAN | ImageToImage,
    parts: Parts,
    verdict: Verdict | TranslationVerdict,
    warnings: Sequence[str],
) -> str:
    """Write how a generator was trained into gan.json beside its file; returns what is in there,
    one JSON object in a line.

    parts: of the rows or pairs. warnings: what was warned of while it was trained.
    """
    described = write_finite(
        file.parent / "gan.json",
        {
            "file": str(file),
            "config": asdict(estimator.config_),
            "provenance": estimator.provenance,
            "rows": {name: len(places) for name, places in asdict(parts).items()},
            "epochs": [asdict(epoch) for epoch in estimator.history_],
            "verdict": verdict.to_json(),
            "warnings": warnings,
        },
    )
    return json.dumps(described)


def _table(
    title: str, columns: tuple[str, str], quality: Quality, confirmed: tuple[str, str]
) -> Table:
    """What was measured of what was generated, and of what is real. confirmed: what conditional
    accuracy is here, and by whom it is told."""
    table = Table(title=title)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("meaning")
    for name, (row, meaning) in {**_ROWS, "conditional_accuracy": confirmed}.items():
        measured: Measured | None = getattr(quality, name)
        if measured is not None:
            values = (f"{each.mean:.3g}" for each in (measured.generated, measured.floor))
            table.add_row(row, *values, meaning)
    return table


def _print_gate(console: Console, reasons: Sequence[str], what: str, else_: str = "") -> None:
    """Whether it may be used, and what speaks against it. else_: what follows where it may not."""
    if not reasons:
        console.print(f"passes the gate: nothing speaks against using {what}", highlight=False)
        return
    console.print(f"does not pass the gate{else_}:", highlight=False)
    for reason in reasons:
        console.print(f"- {reason}", highlight=False, markup=False, soft_wrap=True)
