"""What any source of cold reports for a step of the plant, and the two halves of that step."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.air_handler import AirHandlerOperation
from rlkit_envs.data_center.humidity import HallHumidity
from rlkit_envs.data_center.psychrometrics import Array, Quantity


class Cooling(NamedTuple):
    """A source of cold over a step: means, unless said otherwise; 0 or NaN for what it lacks."""

    chilled_degc: Array
    """Water that enters the coils, at the step's end."""
    chilled_return_degc: Quantity
    """Water that comes back to exchanger and chiller, bypass and pump heat included."""
    chilled_kg_s: Quantity
    """Water that the pump moves: through the coils and, below its least flow, past them."""
    exchanger_heat_w: Quantity
    """From the chilled water to the tower's water."""
    mechanical_heat_w: Array
    """Taken by chiller or direct expansion, latent included."""
    compressor_power_w: Array
    """Chiller, or direct expansion with its condenser's fan."""
    part_load_ratio: Array
    """Of chiller or direct expansion: heat over capacity, 0..1."""
    chilled_pump_power_w: Quantity
    condenser_pump_power_w: Quantity
    tower_fan_power_w: Quantity
    condenser_kg_s: Quantity
    condenser_degc: Quantity
    """Water that leaves the tower and enters condenser and exchanger."""
    condenser_end_degc: Array
    """The same at the step's end."""
    condenser_heat_w: Array
    """Into the condenser water: exchanger, chiller and condenser pump."""
    tower_entering_degc: Quantity
    """Water that returns warm to the tower."""
    rejected_w: Array
    """To the outdoors, through tower or condenser."""
    tower_water_kg_s: Quantity
    """Make-up of the tower."""
    chilled_water_raised: NDArray[np.bool_] | np.bool_
    """Whether a colder set point was asked than the chiller makes."""
    chilled_water_missed: NDArray[np.bool_]
    """Whether the water ends more than 0.5 K above its set point."""

    @property
    def power_w(self) -> Array:
        """Compressor, pumps and tower fan."""
        pumps_w = self.chilled_pump_power_w + self.condenser_pump_power_w
        return self.compressor_power_w + pumps_w + self.tower_fan_power_w


Finish: TypeAlias = Callable[[Array, HallHumidity], tuple[AirHandlerOperation, Cooling]]
"""Second half of a source's step: from the mean air that entered its coils and the hall's moisture
to what air handlers and source did in the mean. The first half, which each source has as a function
of the plant's state, actions and air, returns the air handlers as predicted, and this."""
