"""What a search for small copies tries (`rlkit.edge.compress`), and the names of its methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["random", "magnitude", "energy"]
"""Ways to choose the weights that go."""


@dataclass(frozen=True)
class Setting:
    """How a copy is made."""

    sparsity: float = 0.0
    """Share of single weights that go, in [0, 1)."""
    method: Method = "energy"
    """Which ones; see `rlkit.edge.prune`."""
    keep: float = 1.0
    """Share of channels and hidden units that stay, in (0, 1]."""
    weight_bits: int = 8
    """Of weights, 3 to 8; activations have 8."""

    @property
    def name(self) -> str:
        """Such as `energy-0.95-keep-0.5-8bit`."""
        pruned = f"{self.method}-{self.sparsity:g}" if self.sparsity else "dense"
        kept = f"-keep-{self.keep:g}" if self.keep < 1.0 else ""
        return f"{pruned}{kept}-{self.weight_bits}bit"


@dataclass(frozen=True)
class CompressConfig:
    """What is tried, and how thoroughly."""

    sparsities: tuple[float, ...] = (0.0, 0.8, 0.9, 0.95)
    """Shares of single weights that go."""
    methods: tuple[Method, ...] = ("energy",)
    """Ways to choose them."""
    keeps: tuple[float, ...] = (1.0,)
    """Shares of channels and hidden units that stay."""
    weight_bits: tuple[int, ...] = (8, 6)
    """Of weights, 3 to 8. They are bytes in any case; fewer different ones compress better."""
    learnt: int = 30_000
    """Recorded observations for calibration and fine-tuning."""
    judged: int = 4_000
    """Recorded observations, of other episodes, for judging."""
    steps: int = 1_000
    """Gradient steps of fine-tuning in a stage."""
    stages: int = 6
    """Of pruning."""
    episodes: int = 100
    """Played by the policy and by each copy that is worth it."""
    seed: int = 0
    """Of recordings, fine-tuning and episodes; each has streams of its own."""

    def __post_init__(self) -> None:
        for name in ("learnt", "judged", "steps", "stages", "episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("sparsities", "methods", "keeps", "weight_bits"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one")
        for sparsity in self.sparsities:
            if not 0.0 <= sparsity < 1.0:
                raise ValueError(f"sparsities must be in [0, 1), got {sparsity}")
        for keep in self.keeps:
            if not 0.0 < keep <= 1.0:
                raise ValueError(f"keeps must be in (0, 1], got {keep}")
        for bits in self.weight_bits:
            if not 3 <= bits <= 8:
                raise ValueError(f"weight_bits must be from 3 to 8, got {bits}")

    def settings(self) -> list[Setting]:
        """All of them, of which an unpruned one is there once for all methods."""
        return [
            Setting(sparsity, method, keep, bits)
            for keep in self.keeps
            for sparsity in self.sparsities
            for method in (self.methods if sparsity else self.methods[:1])
            for bits in self.weight_bits
        ]
