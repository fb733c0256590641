"""Draws what copies of a policy lose against how small they are, as a PNG.

Colours are those of Okabe & Ito (2008), which colour-blind people tell apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_COLOURS = {"dense": "#000000", "energy": "#0072b2", "magnitude": "#e69f00", "random": "#cc79a7"}
_LABELS = {
    "dense": "no single weights gone",
    "energy": "pruned by energy",
    "magnitude": "pruned by magnitude",
    "random": "pruned at random",
}


def draw_pareto(result: dict[str, Any], path: Path, title: str, chosen: str | None = None) -> None:
    """Write the picture: bytes of each played copy, and its loss of return with 95 % intervals.

    result: what `Compression.to_json` gives. chosen: the file name of the copy to mark.
    Raises OSError where the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown: set[str] = set()
    for copy in result["copies"]:
        if copy["loss"] is None:
            continue
        setting = copy["setting"]
        kind = setting["method"] if setting["sparsity"] else "dense"
        low, high = copy["loss_ci95"]
        axes.errorbar(
            copy["bytes"],
            copy["loss"],
            yerr=[[copy["loss"] - low], [high - copy["loss"]]],
            fmt="o" if setting["keep"] == 1.0 else "s",
            color=_COLOURS[kind],
            markersize=7,
            capsize=3,
            label=None if kind in shown else _LABELS[kind],
        )
        shown.add(kind)
        axes.annotate(
            _name(setting),
            (copy["bytes"], copy["loss"]),
            textcoords="offset points",
            xytext=(7, -12 if kind == "energy" else 6),
            fontsize=8,
            color="#51606d",
        )
        if copy["file"] == chosen:
            axes.plot(
                *(copy["bytes"], copy["loss"]),
                *("o",),
                markersize=16,
                markerfacecolor="none",
                markeredgecolor="#009e73",
                markeredgewidth=2,
                label="smallest within the limits",
            )
    axes.margins(x=0.1)
    axes.axhline(0.0, color="#9aa5b0", linewidth=1)
    axes.set_xscale("log")
    ticks = _ticks(*axes.get_xlim())
    axes.set_xticks(ticks, [f"{tick / 1e3:g} kB" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("size of the file")
    axes.set_ylabel("loss of mean return, with 95 % interval")
    original = result["original"]
    axes.set_title(
        f"{title}: the policy itself, {original['bytes'] / 1e3:,.0f} kB, returns "
        f"{original['mean']:.1f}",
        loc="left",
    )
    axes.grid(color="#e3e7ec")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130, format="png")


def _name(setting: dict[str, Any]) -> str:
    pruned = f"{100 * setting['sparsity']:g} % gone" if setting["sparsity"] else "dense"
    return pruned if setting["keep"] == 1.0 else f"{pruned}, {100 * setting['keep']:g} % wide"


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two sizes."""
    every = [step * 10.0**power for power in range(2, 9) for step in (1, 2, 5)]
    return [tick for tick in every if low <= tick <= high]
