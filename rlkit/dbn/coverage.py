"""How much of an environment's states recorded observations cover, and who collects more of them.

Pretraining helps an agent where its data covers what matters (Abtahi & Fasel 2011, "Deep belief
nets as function approximators for reinforcement learning"), so that is measured, in two ways:

- Cells. The leading principal components of a reference are cut into bins of equal width between
  its 1st and 99th percentile, the outermost being open. A share of the cells that the reference
  visits is visited by the collected rows as well; how evenly they are is told by entropy.
- Neighbours. The share of the reference's rows that have a collected row at most as far away as
  their k-th neighbour in the reference (the coverage of Naeem et al. 2020, "Reliable fidelity and
  diversity metrics for generative models"), over all columns. Departure: a row at just that
  distance counts, as many rows of bits are equal.

Both depend on how many rows there are. So each measure comes with what other rows of the reference
itself attain, as many as were collected. Columns that are all in [0, 1], such as bits, bytes and
bounded codes, share a unit and stay as they are; others are standardised by the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkit.dbn.rows import flat_rows
from rlkit.neighbours import blocks, neighbour_distances, squares_by_products

EXPLAINED = 0.95
"""Share of the variance for which principal components are counted."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CoverageConfig:
    """How coverage is measured. Raises ValueError for values that make no sense."""

    axes: int = 3
    """Leading principal components that are cut into bins; fewer where there are not so many."""
    bins: int = 8
    """Of each axis; there are bins ** axes cells."""
    neighbours: int = 5
    """k, whose distance a collected row must not exceed (5 in Naeem et al. 2020)."""
    most_rows: int = 4_000
    """Of each side, drawn at random; the time grows with the square."""
    seed: int = 0
    """Of what is drawn; non-negative."""

    def __post_init__(self) -> None:
        for name, least in (("axes", 1), ("bins", 2), ("neighbours", 1), ("most_rows", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.bins**self.axes > 2**31:
            raise ValueError(f"{self.bins} bins on {self.axes} axes are too many cells")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


@dataclass(frozen=True)
class Spread:
    """How varied rows are, measured on themselves alone."""

    rows: int
    """How many it was measured on."""
    columns: int
    """Numbers in a row."""
    varying_columns: int
    """Of which more than one value is there."""
    distinct_rows: int
    """Rows that differ."""
    components: int
    """Principal components that hold EXPLAINED of the variance; 0 where nothing varies."""
    effective_components: float
    """(sum of variances)^2 / sum of squared variances: as many equal ones vary alike."""
    cells: int
    """That are visited, of those cut by the rows' own axes."""
    entropy: float
    """Of the shares of rows in cells, in nats (of the sample, which is less than of its source)."""
    effective_cells: float
    """exp(entropy): as many cells visited evenly would have it."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Coverage:
    """How much of a reference collected rows cover. Shares are in [0, 1].

    `..._attainable` is what as many rows of the reference itself come to.
    """

    rows: int
    """Collected ones that it was measured on."""
    reference_rows: int
    """Of the reference, whose cells and neighbours they are."""
    cells: float
    """Share of the reference's cells that are visited."""
    cells_attainable: float
    """See above."""
    mass: float
    """Share of the reference's rows that lie in those cells."""
    mass_attainable: float
    """See above."""
    neighbours: float
    """Share of the reference's rows with a collected row among their neighbours."""
    neighbours_attainable: float
    """See above."""
    outside: float
    """Share of the collected rows in cells that the reference does not visit."""
    entropy: float
    """Of the shares of collected rows in the cells of the reference's axes, in nats."""
    effective_cells: float
    """exp(entropy)."""
    effective_cells_attainable: float
    """See above."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


def spread(rows: NDArray[Any], config: CoverageConfig | None = None) -> Spread:
    """How varied rows are. rows: (count, *shape), at least two; bytes are scaled to [0, 1].

    Raises ValueError for fewer rows and numbers that are not finite.
    """
    config = config or CoverageConfig()
    drawn = _drawn("rows", rows, config.most_rows, np.random.default_rng(config.seed))
    space = _Space.fitted(drawn, config)
    variances = space.variances
    total = float(variances.sum())
    explained = np.cumsum(variances) / total if total > 0.0 else np.ones(0)
    cells = space.cells(drawn)
    entropy = _entropy(cells)
    return Spread(
        rows=len(drawn),
        columns=drawn.shape[1],
        varying_columns=int((drawn.max(0) > drawn.min(0)).sum()),
        distinct_rows=len(np.unique(drawn, axis=0)),
        # Rounding may leave the last sum below 1, never below EXPLAINED.
        components=int((explained < EXPLAINED).sum()) + 1 if total > 0.0 else 0,
        effective_components=total**2 / float(np.square(variances).sum()) if total > 0.0 else 0.0,
        cells=len(np.unique(cells)),
        entropy=entropy,
        effective_cells=math.exp(entropy),
    )


def coverage(
    rows: NDArray[Any], reference: NDArray[Any], config: CoverageConfig | None = None
) -> Coverage:
    """How much of `reference`, such as an old run's play, the collected `rows` cover.

    Both (count, *shape), bytes scaled to [0, 1]. One half of the reference is what is to be
    covered, the other tells what can be attained, and from rows no more are taken than that has.
    Raises ValueError where shapes differ, numbers are not finite, or rows are too few.
    """
    config = config or CoverageConfig()
    random = np.random.default_rng(config.seed)
    collected = _drawn("rows", rows, config.most_rows, random)
    whole = _drawn("reference", reference, 2 * config.most_rows, random)
    if collected.shape[1] != whole.shape[1]:
        raise ValueError(
            f"rows have {collected.shape[1]} columns, but the reference has {whole.shape[1]}"
        )
    half = len(whole) // 2
    count = min(len(collected), len(whole) - half)
    judge = _Judge(whole[:half], whole[half:][:count], config)
    return judge(collected[:count])


def compare_collectors(
    collected: Mapping[str, NDArray[Any]], config: CoverageConfig | None = None
) -> dict[str, Coverage]:
    """How much of what all of them saw together each of some collectors covers.

    collected: who -> (count, *shape). As many rows are taken of each. One half of each one's rows
    makes up the reference, the other is judged, so that no row covers itself.
    Raises ValueError for none, and as `coverage` does.
    """
    if not collected:
        raise ValueError("there is no collector to compare")
    config = config or CoverageConfig()
    random = np.random.default_rng(config.seed)
    half = min(config.most_rows, min(map(len, collected.values())) // 2)
    mixed = {who: _drawn(who, rows, 2 * half, random) for who, rows in collected.items()}
    columns = {rows.shape[1] for rows in mixed.values()}
    if len(columns) > 1:
        raise ValueError(f"collectors have rows of {sorted(columns)} columns, which must be equal")
    reference = random.permutation(np.concatenate([rows[:half] for rows in mixed.values()]))
    others = random.permutation(np.concatenate([rows[half:] for rows in mixed.values()]))
    judge = _Judge(reference[: config.most_rows], others[:half], config)
    return {who: judge(rows[half:]) for who, rows in mixed.items()}


def neighbour_coverage(reference: Floats, collected: Floats, neighbours: int = 5) -> float:
    """Share of the reference's rows that have a collected one as near as their k-th neighbour.

    Both (count, columns), in one unit. Raises ValueError where the reference has no more than
    `neighbours` rows.
    """
    radii = _neighbour_radii(reference, neighbours)
    return float(_covered(reference, radii, collected).mean())


class _Judge:
    """Measures rows against one reference."""

    def __init__(self, reference: Floats, others: Floats, config: CoverageConfig) -> None:
        """reference, others: rows of one source, of which the second tell what is attained."""
        self._reference = reference
        self._space = _Space.fitted(reference, config)
        self._cells = self._space.cells(reference)
        self._radii = _neighbour_radii(self._space.scaled(reference), config.neighbours)
        self._attained = self._measured(others)

    def __call__(self, rows: Floats) -> Coverage:
        cells, mass, neighbours, entropy = self._measured(rows)
        attained = self._attained
        outside = ~np.isin(self._space.cells(rows), self._cells)
        return Coverage(
            rows=len(rows),
            reference_rows=len(self._reference),
            cells=cells,
            cells_attainable=attained[0],
            mass=mass,
            mass_attainable=attained[1],
            neighbours=neighbours,
            neighbours_attainable=attained[2],
            outside=float(outside.mean()),
            entropy=entropy,
            effective_cells=math.exp(entropy),
            effective_cells_attainable=math.exp(attained[3]),
        )

    def _measured(self, rows: Floats) -> tuple[float, float, float, float]:
        """Shares of cells, of mass and of neighbours, and the entropy."""
        visited = self._space.cells(rows)
        scaled = self._space.scaled
        covered = _covered(scaled(self._reference), self._radii, scaled(rows))
        return (
            float(np.isin(np.unique(self._cells), visited).mean()),
            float(np.isin(self._cells, visited).mean()),
            float(covered.mean()),
            _entropy(visited),
        )


@dataclass(frozen=True)
class _Space:
    """Axes and bins that a reference sets."""

    offset: Floats  # (columns,)
    scale: Floats  # (columns,)
    mean: Floats  # (columns,), of scaled rows
    variances: Floats  # of all principal components, falling
    axes: Floats  # (columns, axes)
    edges: Floats  # (axes, bins - 1)

    @classmethod
    def fitted(cls, rows: Floats, config: CoverageConfig) -> _Space:
        offset, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        if rows.min() < 0.0 or rows.max() > 1.0:
            offset, deviation = rows.mean(axis=0), rows.std(axis=0)
            scale = np.where(deviation > 0.0, deviation, 1.0)
        scaled = (rows - offset) / scale
        mean = scaled.mean(axis=0)
        centred = scaled - mean
        # The smaller of both products has the same variances, and few columns or few rows at once.
        if rows.shape[1] <= len(rows):
            variances, axes = np.linalg.eigh(centred.T @ centred)
        else:
            variances, within = np.linalg.eigh(centred @ centred.T)
            axes = centred.T @ within / np.sqrt(np.maximum(variances, np.finfo(np.float64).tiny))
        variances, axes = np.maximum(variances[::-1], 0.0) / len(rows), axes[:, ::-1]
        kept = min(config.axes, len(variances))
        axes = axes[:, :kept]
        places = centred @ axes
        low, high = np.percentile(places, (1.0, 99.0), axis=0)
        inner = np.arange(1, config.bins) / config.bins
        edges = low[:, None] + (high - low)[:, None] * inner
        return cls(offset, scale, mean, variances, axes, edges)

    def scaled(self, rows: Floats) -> Floats:
        return (rows - self.offset) / self.scale

    def cells(self, rows: Floats) -> NDArray[np.int64]:
        """The number of each row's cell, (rows,)."""
        places = (self.scaled(rows) - self.mean) @ self.axes
        number = np.zeros(len(rows), np.int64)
        for place, edges in zip(places.T, self.edges, strict=True):
            number = number * (len(edges) + 1) + np.searchsorted(edges, place, side="right")
        return number


def _entropy(cells: NDArray[np.int64]) -> float:
    shares = np.unique(cells, return_counts=True)[1] / len(cells)
    # Of a single cell, -1 * log(1) would be -0.0.
    return abs(float(-(shares * np.log(shares)).sum()))


def _neighbour_radii(reference: Floats, neighbours: int) -> Floats:
    """Squared distance of each row to its k-th neighbour among the others, (rows,)."""
    if len(reference) <= neighbours:
        raise ValueError(
            f"{len(reference)} rows of a reference are too few for {neighbours} neighbours of each"
        )
    return neighbour_distances(reference, neighbours, squares_by_products)


def _covered(reference: Floats, radii: Floats, collected: Floats) -> NDArray[np.bool_]:
    """Whether a collected row is within each reference row's radius (squared), (rows,)."""
    # Equal distances may differ by rounding, which the size of what is subtracted sets.
    rounding = 1e-12 * float(np.square(reference).sum(axis=1).max())
    # By products: observations may have a thousand columns.
    squares = blocks(reference, collected, squares_by_products)
    nearest = np.concatenate([squared.min(axis=1) for _, squared in squares])
    return nearest <= radii + rounding


def _drawn(who: str, rows: NDArray[Any], most: int, random: np.random.Generator) -> Floats:
    """At most so many rows, in a random order, flat."""
    flat = flat_rows(rows[random.permutation(len(rows))[:most]]).astype(np.float64)
    if len(flat) < 2 or not flat.shape[1]:
        raise ValueError(f"{who}: coverage needs at least two rows, got the shape {rows.shape}")
    if not np.isfinite(flat).all():
        raise ValueError(f"{who}: numbers must be finite")
    return flat
