"""What goes into a step of the plant: its state, the actions, the outdoor air, the faults.

Tuples of arrays, one entry for each environment; plain numbers do for what all environments share.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.fan import FanOperation
from rlkit_envs.data_center.psychrometrics import Array, Quantity


class PlantState(NamedTuple):
    """What one step leaves to the next; float64 arrays (num_envs,)."""

    hall_degc: Array
    """Well-mixed air of the hall."""
    metal_degc: Array
    """Racks, servers and structure."""
    hall_humidity_ratio: Array
    inlet_degc: Array
    """Mean inlet of the servers in the step before, to which their power and fans answer now: they
    lag by a step, as in EnergyPlus, whose internal gains precede its air loop."""
    servers_off_ratio: Array
    """Share of the servers that had switched themselves off for heat, 0..1."""
    supply_missed_k: Array
    """By how much the supply air missed its set point in the step before, 0 or more: a forecast."""
    humidifier_heat_w: Array
    """Of the step before, in the hall's air: a forecast of this step's."""
    chilled_degc: Array
    """Water that enters the coils; this and all below are without meaning where there is none."""
    condenser_degc: Array
    """Water that leaves the tower."""
    condenser_heat_w: Array
    """Into the condenser water in the step before, which forecasts this step's."""
    valve_ratio: Array
    """Water through the coils over their rated one in the step before, where the solver starts."""


class PlantActions(NamedTuple):
    """What the plant is told for a step."""

    supply_air_degc: Quantity
    """Set point of the air that leaves the air handlers, 5 to 40."""
    air_flow_ratio: Quantity
    """Air handlers' flow over their fans' rated one, 0..1; below 0.01 the fans stand still."""
    chilled_water_degc: Quantity
    """Set point of the chilled water; raised to the chiller's least one where it is colder."""
    tower_fan_ratio: Quantity
    """Air of the tower over its design flow, 0..1."""
    economiser: Quantity | NDArray[np.int64]
    """`EconomiserMode`: OFF, PRECOOL (beside chiller or direct expansion) or FULL (in place of
    them). It means the plate exchanger or the outdoor air, whichever the site has, and nothing
    where it has neither."""


class OutdoorAir(NamedTuple):
    """Outdoor air, constant over the step."""

    dry_bulb_degc: Quantity
    humidity_ratio: Quantity
    wet_bulb_degc: Quantity
    pressure_pa: Quantity


class EnteringAir(NamedTuple):
    """Air on its way through the air handlers, as a source of cold meets it."""

    fan: FanOperation
    """Behind the coil; its rise is that in air of this humidity."""
    supply_w_k: Array
    """Flow times specific heat."""
    degc: Array
    """Predicted mean over the step."""
    humidity_ratio: Array
    """At the step's start."""


class PlantFaults(NamedTuple):
    """Severities 0 (sound) to 1; what they do stands with each component."""

    air_handler_fan: Quantity = 0.0
    """Worn bearing of the air handlers' fans (`fan.operate_fan`)."""
    coil_fouling: Quantity = 0.0
    """Of the chilled-water coils (`chilled_water_coil.operate_coil`)."""
    stuck_valve_ratio: Quantity = np.nan
    """Position 0..1 in which the coils' valve is stuck, NaN where it is not."""
    stuck_damper_ratio: Quantity = np.nan
    """Share 0..1 of outdoor air at which the dampers are stuck, NaN where they are not."""
    cooling_trip: Quantity = 0.0
    """1 where the chiller, or the direct expansion, has tripped, else 0."""
    refrigerant_loss: Quantity = 0.0
    """Charge lost by the chiller, or the direct expansion."""
    condenser_fouling: Quantity = 0.0
    """Of the chiller, or the direct expansion."""
    exchanger_fouling: Quantity = 0.0
    """Of the plate exchanger (`economisers.plate_exchanger_w_k`)."""
    tower_fan: Quantity = 0.0
    """Worn bearing of the tower's fan (`cooling_tower.tower_state`)."""
    tower_fouling: Quantity = 0.0
    """Of the tower's fill."""
    chilled_pump: Quantity = 0.0
    """Worn bearing of the chilled-water pump (`pumps.pump`)."""
    condenser_pump: Quantity = 0.0
    """Worn bearing of the condenser pump."""


SOUND = PlantFaults()
"""No faults."""
