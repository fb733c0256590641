"""What a site's plant is at, from its sensors and its design: for controllers that predict.

An observer (Luenberger 1971, An introduction to observers): the plant's own equations at the
design's parameters, sound, follow the set points, and each reading moves what they say towards it.
What no sensor reads, such as the temperature of the racks' metal, follows from the equations alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center import plant
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.plant_state import OutdoorAir, PlantActions, PlantState
from rlkit_envs.data_center.psychrometrics import (
    Array,
    humidity_ratio_from_dew_point,
    humidity_ratio_from_wet_bulb,
)


class PlantEstimate:
    """The state of each row's plant, and by how much its hottest inlet is misjudged."""

    def __init__(
        self,
        design: DataCenterDesign,
        *,
        correction: float,
        bias_correction: float,
        pressure_pa: float,
    ) -> None:
        """correction: share of a difference between reading and prediction that is made up in a
        step. bias_correction: the same for the lasting error of the hottest inlet."""
        self._design = design
        self._correction, self._bias_correction = correction, bias_correction
        self._pressure_pa = pressure_pa
        self._fresh = np.empty(0, np.bool_)
        self._air = OutdoorAir(0.0, 0.0, 0.0, pressure_pa)
        self.state = plant.initial_state(design, 0)
        self.utilisation = np.empty(0)
        """(rows,) in the step that has ended."""
        self.inlet_bias_k = np.empty(0)
        """(rows,) hottest inlet as read less as predicted; the disturbance of offset-free control
        (Muske & Badgwell 2002)."""

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """The next readings of these rows are the first of an episode."""
        if len(rows) != len(self._fresh):
            self._fresh = np.ones(len(rows), np.bool_)
            self.state = plant.initial_state(self._design, len(rows))
            self.inlet_bias_k = np.zeros(len(rows))
        self._fresh = self._fresh | rows

    def outdoor_air(self, dry_bulb_degc: Array, wet_bulb_degc: Array) -> OutdoorAir:
        """Outdoor air as its two thermometers tell, at the given pressure."""
        wet_bulb_degc = np.minimum(wet_bulb_degc, dry_bulb_degc)
        humidity = humidity_ratio_from_wet_bulb(dry_bulb_degc, wet_bulb_degc, self._pressure_pa)
        return OutdoorAir(dry_bulb_degc, humidity, wet_bulb_degc, self._pressure_pa)

    def update(self, readings: Mapping[str, Array], told: PlantActions) -> None:
        """Take in what was read after a step under set points `told` (rows,)."""
        self.utilisation = readings["utilisation"]
        fresh = self._fresh
        first = self._at_first(readings)
        state, bias = first, np.zeros(len(fresh))
        if not fresh.all():
            followed, bias = self._followed(readings, told)
            state = PlantState(
                *(np.where(fresh, new, old) for new, old in zip(first, followed, strict=True))
            )
        self.state, self.inlet_bias_k = state, np.where(fresh, 0.0, bias)
        self._fresh = np.zeros(len(fresh), np.bool_)
        self._air = self.outdoor_air(
            readings["outdoor_dry_bulb_degc"], readings["outdoor_wet_bulb_degc"]
        )

    def _at_first(self, readings: Mapping[str, Array]) -> PlantState:
        """At rest: the metal as warm as the air, all heat on its way out."""
        state = plant.initial_state(
            self._design,
            len(self._fresh),
            supply_air_degc=readings["inlet_degc"],
            hall_degc=readings["return_air_degc"],
            hall_humidity_ratio=humidity_ratio_from_dew_point(
                readings["hall_dew_point_degc"], self._pressure_pa
            ),
        )
        if "chilled_water_degc" in readings:
            state = state._replace(
                chilled_degc=readings["chilled_water_degc"],
                condenser_degc=readings["condenser_water_degc"],
                condenser_heat_w=readings["it_power_w"],
                valve_ratio=readings["valve_ratio"],
            )
        return state

    def _followed(
        self, readings: Mapping[str, Array], told: PlantActions
    ) -> tuple[PlantState, Array]:
        state, step = plant.step(self._design, self.state, told, self._air, self.utilisation)
        share = self._correction
        hall = share * (readings["return_air_degc"] - step.temperatures.mean_air_degc)
        humidity = humidity_ratio_from_dew_point(readings["hall_dew_point_degc"], self._pressure_pa)
        bias = readings["hottest_inlet_degc"] - step.hottest_inlet_degc - self.inlet_bias_k
        state = state._replace(
            hall_degc=state.hall_degc + hall,
            hall_humidity_ratio=state.hall_humidity_ratio
            + share * (humidity - state.hall_humidity_ratio),
            inlet_degc=state.inlet_degc + share * (readings["inlet_degc"] - state.inlet_degc),
        )
        if "chilled_water_degc" in readings:
            cooling = step.cooling
            chilled = readings["chilled_water_degc"] - cooling.chilled_degc
            condenser = readings["condenser_water_degc"] - cooling.condenser_degc
            state = state._replace(
                chilled_degc=state.chilled_degc + share * chilled,
                condenser_degc=state.condenser_degc + share * condenser,
            )
        return state, self.inlet_bias_k + self._bias_correction * bias
