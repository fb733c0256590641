"""Air between air handlers and servers: recirculation, bypass, the inlets that result.

One mixing model for the hall. Servers draw supply air and, where it falls short, hall air; supply
air that they do not draw bypasses them into the hall, which is well mixed and is what returns to
the air handlers (thermal_mass.py). A mixing model in place of an inlet matrix (Tang and Gupta).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlkit_envs.data_center.elementwise import choose, larger_of, smaller_of
from rlkit_envs.data_center.psychrometrics import Array, Quantity
from rlkit_envs.data_center.ranges import check_ranges

_TINY_FLOW_KG_S = 1e-9


@dataclass(frozen=True)
class AirflowDesign:
    """How well the aisles keep cold and hot air apart.

    Contained aisles: about 0.02, 0.03 and 1; open aisles: about 0.10, 0.15 and 3 (assumed; inlet
    rises of 1 K isolated and 5 K in open aisles are typical).
    """

    recirculation_ratio: float = 0.05
    """Share of hall air in what servers draw, however much is supplied, 0..0.9: gaps in racks and
    above them."""
    leakage_ratio: float = 0.05
    """Share of supply air that never reaches an inlet, however much servers draw, 0..0.9: cable
    openings, floor tiles in the hot aisle."""
    hottest_rack_spread: float = 2.0
    """How much more hall air the hottest rack draws: 0 for racks all alike; 2 means three times
    the average where that is small (assumed)."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            recirculation_ratio=(0.0, 0.9),
            leakage_ratio=(0.0, 0.9),
            hottest_rack_spread=(0.0, 100.0),
        )


class Airflow(NamedTuple):
    """Where the air goes; arrays of one shape."""

    provisioning_ratio: Array
    """Supply air over what servers draw, 0 or more."""
    recirculation_ratio: Array
    """Share of hall air in what servers draw on average, 0..1."""
    hottest_recirculation_ratio: Array
    """The same at the hottest rack, at least as much."""
    bypass_ratio: Array
    """Share of supply air that reaches no inlet, 0..1."""


def distribute_air(
    design: AirflowDesign, supply_flow_kg_s: Quantity, server_flow_kg_s: Quantity
) -> Airflow:
    """Recirculation and bypass for flows of dry air, 0 or more.

    The share s of supply air in what servers draw can exceed neither 1 - recirculation_ratio nor
    (1 - leakage_ratio) r, r being the provisioning ratio. It is the smooth minimum of both,
    (a^-8 + b^-8)^(-1/8), at most 8 % below the sharp one, since racks do not all run short at once.
    Recirculation is 1 - s; the cold aisle's balance, supply (1 - bypass) = servers s, gives the
    bypass. The hottest rack draws (1 + k) phi / (1 + k phi) hall air, phi being the average.
    """
    # Without servers' flow everything bypasses; without supply everything recirculates.
    provisioning = supply_flow_kg_s / larger_of(server_flow_kg_s, _TINY_FLOW_KG_S)
    reached = 1.0 - design.leakage_ratio
    most = 1.0 - design.recirculation_ratio
    excess = provisioning * (reached / most)
    for _ in range(3):
        excess = excess * excess
    root = np.sqrt(np.sqrt(np.sqrt(1.0 + excess)))
    bypass = 1.0 - reached / root
    supplied = smaller_of((1.0 - bypass) * provisioning, most)
    recirculation = 1.0 - supplied
    spread = design.hottest_rack_spread
    hottest = (1.0 + spread) * recirculation / (1.0 + spread * recirculation)
    return Airflow(provisioning, recirculation, hottest, bypass)


def inlet(recirculation_ratio: Quantity, supply: Quantity, hall: Quantity) -> Array:
    """Temperature (or humidity ratio) of air drawn partly from the supply, partly from the hall."""
    return supply + recirculation_ratio * (hall - supply)


def supply_heat_index(inlet_degc: Quantity, supply_degc: Quantity, exhaust_degc: Quantity) -> Array:
    """SHI = (T_in - T_sup) / (T_out - T_sup): 0 without recirculation (Sharma, Bash, Patel 2002).

    EnergyPlus reports it as ITE Supply Heat Index. 0 where the exhaust is no warmer than the
    supply. The return heat index RHI is 1 - SHI.
    """
    rise = exhaust_degc - supply_degc
    warmed = rise > 0.0
    return choose(warmed, (inlet_degc - supply_degc) / choose(warmed, rise, 1.0), 0)
