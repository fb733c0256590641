"""Variable-speed pumps (EnergyPlus Pump:VariableSpeed; Engineering Reference, pumps).

Power follows from the design head, the efficiencies and a cubic of the flow ratio; what reaches the
shaft ends as heat in the water. The flow itself is set by whoever controls the loop.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.elementwise import larger_of, smaller_of
from rlkit_envs.data_center.psychrometrics import WATER_DENSITY_KG_M3

Array = NDArray[np.float64]
Quantity = Array | float

WORN_POWER = 0.15
"""Extra power of a pump with bearings worn to severity 1 (assumed, as the worst of worn fans)."""


@dataclass(frozen=True)
class PumpDesign:
    """A pump, or several equal ones in parallel, with one speed."""

    flow_kg_s: float = 36.0
    """Water flow at full speed, kg/s (36 kg/s carries 1 MW at a rise of 6.67 K)."""
    head_pa: float = 160_000.0
    """Pressure rise at full speed, Pa, 10e3 to 1e6 (typical: 160e3 chilled, 140e3 condenser)."""
    impeller_efficiency: float = 0.78
    """Hydraulic power over shaft power, 0.3 to 1 (EnergyPlus default: 1 / 1.282051282)."""
    motor_efficiency: float = 0.9
    """Shaft power over electric power of motor and drive, 0.3 to 1 (EnergyPlus default 0.9)."""
    motor_loss_to_water: float = 0.0
    """Share of the motor's losses that heats the water, 0 to 1 (EnergyPlus default 0)."""
    power_coefficients: tuple[float, float, float, float] = (0.0, 0.0205, 0.4101, 0.5753)
    """Power ratio as a cubic of the flow ratio, constant first; they sum to one within 0.05
    (variable speed with a reset pressure: ASHRAE 90.1 prototype buildings, PNNL)."""
    minimum_flow_ratio: float = 0.1
    """Least flow ratio that the drive holds while it runs, 0 to 1."""

    def __post_init__(self) -> None:
        if not self.flow_kg_s > 0.0:
            raise ValueError(f"flow_kg_s is {self.flow_kg_s}: a pump needs a flow above 0 kg/s")
        if not 1e4 <= self.head_pa <= 1e6:
            raise ValueError(f"head_pa is {self.head_pa}: it must lie in 10e3..1e6 Pa")
        for name in ("impeller_efficiency", "motor_efficiency"):
            if not 0.3 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie in 0.3..1")
        for name in ("motor_loss_to_water", "minimum_flow_ratio"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie in 0..1")
        if not abs(sum(self.power_coefficients) - 1.0) <= 0.05:
            raise ValueError(
                f"power_coefficients {self.power_coefficients} sum to "
                f"{sum(self.power_coefficients):.4g}: they must give about 1 at full flow"
            )

    @property
    def power_w(self) -> float:
        """Electric power at full flow, W: flow x head over both efficiencies."""
        hydraulic_w = self.flow_kg_s / WATER_DENSITY_KG_M3 * self.head_pa
        return hydraulic_w / (self.impeller_efficiency * self.motor_efficiency)


class Pump(NamedTuple):
    """What a pump does in a step."""

    flow_kg_s: Array
    """Water flow, kg/s."""
    power_w: Array
    """Electric power, W."""
    heat_w: Array
    """Heat into the water, W; the rest of the power heats the plant room."""


def pump(design: PumpDesign, flow_ratio: Quantity, *, wear: Quantity = 0.0) -> Pump:
    """Flow, power and heat of a pump at a flow ratio (EnergyPlus, Pump:VariableSpeed).

    flow_ratio: wanted flow over design flow; 0 or less stops the pump, and a running one delivers
    at least `minimum_flow_ratio` and at most 1. wear: severity 0..1 of worn bearings, which raises
    the power by `WORN_POWER` and costs no flow.
    """
    ratio = smaller_of(larger_of(flow_ratio, design.minimum_flow_ratio), 1.0) * (flow_ratio > 0.0)
    constant, linear, square, cube = design.power_coefficients
    share = ((cube * ratio + square) * ratio + linear) * ratio
    if constant:  # a stopped pump draws nothing
        share = share + constant * (flow_ratio > 0.0)
    power_w = design.power_w * larger_of(share, 0.0) * (1.0 + WORN_POWER * wear)
    to_water = design.motor_efficiency
    to_water += (1.0 - design.motor_efficiency) * design.motor_loss_to_water
    return Pump(design.flow_kg_s * ratio, power_w, to_water * power_w)
