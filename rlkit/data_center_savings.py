"""What the counts of a data centre's controllers come to, and which savings count.

A saving counts only where the saver violates inlet limits no more than the controller it is
compared with, and draws no more in all: less cooling at servers that draw more is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VIOLATIONS = (
    "hours_outside_recommended",
    "degree_hours_outside_recommended",
    "hours_outside_allowable",
    "degree_hours_outside_allowable",
    "hours_servers_off",
)
"""None of these may be higher."""
COMPARISONS = (
    ("cooling_energy", "fixed 20"),
    ("overhead_energy", "best static"),
    ("overhead_energy", "CEM"),
)
"""What is saved, and against which controller."""

_HIGHEST = ("hottest_inlet", "hottest_inlet_p999")
_SHARES = {
    "pue": ("facility_energy", ()),
    "pue_without_server_fans": ("facility_energy", ("server_fan_energy",)),
    "wue": ("water", ()),
}
"""Over IT energy, less what is named."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Saving:
    """How much less one controller takes than another, over the same time."""

    of: str
    """The count that is compared."""
    against: str
    """The other controller."""
    ratio: float
    """Share of the other's that is saved; negative where it takes more."""
    exceeds: tuple[str, ...]
    """Violations, and the facility's energy, where they are higher than the other's."""

    @property
    def counts(self) -> bool:
        """Whether it is a saving at all."""
        return not self.exceeds

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data with every field, and `counts`."""
        return {**asdict(self), "exceeds": list(self.exceeds), "counts": self.counts}


def mean_year(counts: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Each count (years,) as one number: mean a year, ratio of the sums, or the highest."""
    means = {name: float(values.mean()) for name, values in counts.items()}
    for name in _HIGHEST:
        if name in means:
            means[name] = float(counts[name].max())
    for name, (above, left_out) in _SHARES.items():
        if name in means:
            below = means["it_energy"] - sum(means[part] for part in left_out)
            means[name] = means[above] / below
    return means


def saving(
    counts: Mapping[str, float], baseline: Mapping[str, float], of: str, against: str
) -> Saving:
    """What is saved `of` a count. counts, baseline: name -> number; the latter is of `against`."""
    exceeds = tuple(
        name
        for name in (*VIOLATIONS, "facility_energy")
        if counts[name] > baseline[name] * (1.0 + _ROUNDING)
    )
    return Saving(of, against, 1.0 - counts[of] / baseline[of], exceeds)


def savings(controllers: Mapping[str, Mapping[str, float]]) -> dict[str, list[Saving]]:
    """Controller -> its savings, one for each of `COMPARISONS` whose baseline is there."""
    return {
        name: [
            saving(counts, controllers[against], of, against)
            for of, against in COMPARISONS
            if against in controllers and against != name
        ]
        for name, counts in controllers.items()
    }
