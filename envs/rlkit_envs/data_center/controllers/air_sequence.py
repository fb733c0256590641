"""One demand for cooling, handed to supply temperature and air flow one after the other.

Split range, as single-zone air handlers have it (ASHRAE Guideline 36-2021, section 5.18.4, supply
air temperature and fan speed against one loop output). The order is a data hall's: air flow first,
as fans pay with its square or cube, and colder air only where more does not help.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from rlkit_envs.data_center.psychrometrics import Array, Quantity
from rlkit_envs.data_center.ranges import check_ranges


@dataclass(frozen=True)
class AirSequence:
    """Demand in kelvins by which the hottest inlet falls, about; 0 cools least.

    It first lowers the supply by `warmer_k` to its usual set point at the least flow, then raises
    the flow by equal ratios to the most, then lowers the supply by `colder_k`.
    """

    warmer_k: float = 2.0
    """Supply air over its usual set point at no demand, 0 to 20 K."""
    colder_k: float = 5.0
    """Supply air under its usual set point at full demand, 0 to 20 K."""
    least_flow_ratio: float = 0.4
    """Air flow at no demand, 0.05 to 1."""
    most_flow_ratio: float = 1.0
    """Air flow at full demand, above `least_flow_ratio` to 1."""
    flow_span_k: float = 11.0
    """What the hottest inlet falls by from the least to the most flow, 0.1 to 100 K (seen in the
    presets: 7 to 15)."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            warmer_k=(0.0, 20.0),
            colder_k=(0.0, 20.0),
            least_flow_ratio=(0.05, 1.0),
            most_flow_ratio=(0.05, 1.0),
            flow_span_k=(0.1, 100.0),
        )
        if not self.least_flow_ratio < self.most_flow_ratio:
            raise ValueError(
                f"AirSequence.least_flow_ratio is {self.least_flow_ratio!r}: it must be below "
                f"most_flow_ratio, {self.most_flow_ratio!r}"
            )

    @property
    def most_k(self) -> float:
        """The largest demand."""
        return self.warmer_k + self.flow_span_k + self.colder_k

    @property
    def usual_k(self) -> float:
        """The demand in the middle of the flow's part, to start with."""
        return self.warmer_k + 0.5 * self.flow_span_k

    def supply_air_k(self, demand_k: Quantity) -> Array:
        """Supply set point over its usual one; demands beyond the ends count as these."""
        demand = np.clip(demand_k, 0.0, self.most_k)
        warmer = np.maximum(self.warmer_k - demand, 0.0)
        return warmer - np.maximum(demand - (self.warmer_k + self.flow_span_k), 0.0)

    def air_flow_ratio(self, demand_k: Quantity) -> Array:
        """Air flow; demands beyond the ends count as these."""
        share = np.clip((np.asarray(demand_k) - self.warmer_k) / self.flow_span_k, 0.0, 1.0)
        growth = self.most_flow_ratio / self.least_flow_ratio
        return np.minimum(self.least_flow_ratio * growth**share, self.most_flow_ratio)

    def demand_k(self, supply_air_k: Quantity, air_flow_ratio: Quantity) -> Array:
        """The demand with that flow, or at an end of the flow with that supply set point.

        The inverse of both functions above where they agree; elsewhere the flow counts.
        """
        supply, flow = np.asarray(supply_air_k), np.asarray(air_flow_ratio)
        least, most = self.least_flow_ratio, self.most_flow_ratio
        share = np.log(np.clip(flow, least, most) / least) / log(most / least)
        demand = self.warmer_k + self.flow_span_k * share
        demand = demand - np.where(flow <= least, np.clip(supply, 0.0, self.warmer_k), 0.0)
        return demand + np.where(flow >= most, np.clip(-supply, 0.0, self.colder_k), 0.0)
