"""Free cooling by rule, around any controller: chooses the economiser's mode, and the tower's fan.

Water: the exchanger helps the chiller where it can cool the water that returns, and stands alone
where it can reach the chilled water's set point; what it reaches is the wet bulb and an approach
(ASHRAE Guideline 36-2021, section 5.20.3, with its 20 minutes between changes). While it runs, the
tower's fan holds its water just below the chilled water's set point.
Air: outdoor air helps where it is colder than the return air and within the dampers' limits, after
the evaporative cooler if there is one, and stands alone where it is as cold as the supply (limits
of dry bulb and dew point: ANSI/ASHRAE 90.1-2019, 6.5.1.1.3).
A mode that stands alone and misses its set point gets help at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.controllers.condenser_water import (
    CondenserWaterLoop,
    CondenserWaterSettings,
)
from rlkit_envs.data_center.controllers.controller import (
    Controller,
    Observed,
    TrackingController,
)
from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.psychrometrics import (
    Array,
    humidity_ratio_from_wet_bulb,
    vapour_pressure_pa,
)
from rlkit_envs.data_center.ranges import check_ranges

_FAN_RISE_K = 0.5
"""By which fans behind the dampers warm their air, at full flow."""
_VAPOUR_PER_K = 0.065
"""Share by which vapour pressure at a dew point near 15 degC grows for each kelvin."""


@dataclass(frozen=True)
class EconomiserSettings:
    """When modes change."""

    approach_k: float = 4.5
    """What the exchanger reaches over the outdoor wet bulb, 1 to 20 K: a tower's and an exchanger's
    approach at part load; at full load, 6."""
    hysteresis_k: float = 1.0
    """A mode is entered only where it would do with this much warmer outdoor air too, 0 to 5 K."""
    hold_steps: int = 4
    """Least steps of 5 minutes between changes, 0 to 72."""
    outdoor_air_margin_k: float = 3.0
    """Outdoor air stands alone only this far within the limits of dry bulb and dew point, 0.5 to
    10 K: the dampers shut beyond them, and there would be no cooling at all."""
    missed_k: float = 1.0
    """Chilled water or supply air this much above its set point ends a mode without chiller, 0.1 to
    5 K."""
    exchanger_k: float = 1.0
    """The tower's water is held this much below the chilled water's set point, 0 to 10 K."""
    most_fan_ratio: float = 0.9
    """Of the tower's fan while the exchanger runs, 0.2 to 1: its last tenth costs a quarter of
    its power."""
    pressure_pa: float = 101_325.0
    """Of the site, 60e3 to 110e3, for the moisture of outdoor air."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            approach_k=(1.0, 20.0),
            hysteresis_k=(0.0, 5.0),
            hold_steps=(0, 72),
            outdoor_air_margin_k=(0.5, 10.0),
            missed_k=(0.1, 5.0),
            exchanger_k=(0.0, 10.0),
            most_fan_ratio=(0.2, 1.0),
            pressure_pa=(60e3, 110e3),
        )


class EconomiserRule:
    """A controller with free cooling; at a site without an economiser, the controller as it is."""

    def __init__(
        self,
        controller: Controller,
        design: DataCenterDesign,
        settings: EconomiserSettings = EconomiserSettings(),
        name: str | None = None,
    ) -> None:
        """controller: sets everything else. name: by default its name and `+ economiser`."""
        self.controller, self.settings = controller, settings
        self.name = name or f"{controller.name} + economiser"
        plant = design.cooling
        self._exchanger = plant.exchanger if isinstance(plant, ChilledWaterPlantDesign) else None
        self._dampers, self._cooler = design.air_economiser, design.evaporative_cooler
        most = settings.most_fan_ratio
        self._tower = CondenserWaterLoop(
            CondenserWaterSettings(most_fan_ratio=most, start_fan_ratio=min(0.5, most))
        )
        self._mode = np.empty(0, np.int64)
        self._held = np.empty(0, np.int64)
        self._asked_degc = np.empty(0)

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """As `Controller.reset`."""
        self.controller.reset(rows)
        self._tower.reset(rows)
        if len(rows) != len(self._mode):
            self._mode, self._held = np.empty((2, len(rows)), np.int64)
            self._asked_degc = np.empty(len(rows))
        self._mode[rows] = EconomiserMode.OFF
        self._held[rows] = self.settings.hold_steps
        self._asked_degc[rows] = np.inf

    def act(self, observed: Observed) -> PlantActions:
        """The controller's set points with a mode, and with the tower's fan where it matters."""
        actions, readings = self.controller.act(observed), observed.readings
        if self._exchanger is None and self._dampers is None:
            return actions
        if self._exchanger is not None:
            reached, reading = actions.chilled_water_degc, "chilled_water_degc"
            wanted = self._by_water(readings, np.asarray(reached))
        else:
            reached, reading = actions.supply_air_degc, "supply_air_degc"
            wanted = self._by_air(readings, np.asarray(reached))
        alone = self._mode == EconomiserMode.FULL
        missed = alone & (readings[reading] > self._asked_degc + self.settings.missed_k)
        wanted = np.where(missed, np.minimum(wanted, EconomiserMode.PRECOOL), wanted)
        changes = (wanted != self._mode) & ((self._held >= self.settings.hold_steps) | missed)
        self._mode = np.where(changes, wanted, self._mode)
        self._held = np.where(changes, 1, self._held + 1)
        self._asked_degc = np.asarray(reached, dtype=np.float64)
        if self._exchanger is not None:
            actions = actions._replace(tower_fan_ratio=self._fan(readings, actions))
        return actions._replace(economiser=self._mode.copy())

    def track(self, actions: PlantActions, rows: NDArray[np.bool_] | None = None) -> None:
        """As `TrackingController.track`; the mode is kept where the rule does not ask for another.

        Raises TypeError where the controller inside cannot track.
        """
        if not isinstance(self.controller, TrackingController):
            raise TypeError(f"{self.controller.name} cannot go on from someone else's set points")
        self.controller.track(actions, rows)
        where = np.ones(len(self._mode), np.bool_) if rows is None else rows
        self._mode = np.where(where, actions.economiser, self._mode).astype(np.int64)
        self._held = np.where(where, self.settings.hold_steps, self._held)
        asked = actions.supply_air_degc if self._exchanger is None else actions.chilled_water_degc
        self._asked_degc = np.where(where, asked, self._asked_degc)
        self._tower.track(actions.tower_fan_ratio, where)

    def _by_water(self, readings: Mapping[str, Array], chilled_degc: Array) -> NDArray[np.int64]:
        reached = readings["outdoor_wet_bulb_degc"] + self.settings.approach_k
        helps = reached + self._doubt_k(EconomiserMode.PRECOOL) <= readings["chilled_return_degc"]
        alone = helps & (reached + self._doubt_k(EconomiserMode.FULL) <= chilled_degc)
        return helps.astype(np.int64) + alone

    def _by_air(self, readings: Mapping[str, Array], supply_degc: Array) -> NDArray[np.int64]:
        dampers = self._dampers
        assert dampers is not None
        wanted = supply_degc - _FAN_RISE_K
        outdoor, wet_bulb = readings["outdoor_dry_bulb_degc"], readings["outdoor_wet_bulb_degc"]
        wet_bulb = np.minimum(wet_bulb, outdoor)
        if self._cooler is not None:
            most_k = self._cooler.effectiveness * (outdoor - wet_bulb)
            outdoor = outdoor - np.clip(outdoor - wanted, 0.0, most_k)
        pressure = self.settings.pressure_pa
        humidity = humidity_ratio_from_wet_bulb(outdoor, wet_bulb, pressure)
        vapour = vapour_pressure_pa(humidity, pressure) / dampers.vapour_limit_pa

        def within(margin_k: Array | float) -> NDArray[np.bool_]:
            dry = outdoor + margin_k <= dampers.dry_bulb_limit_degc
            return dry & (vapour * (1.0 + _VAPOUR_PER_K * margin_k) <= 1.0)

        doubt_k = self._doubt_k(EconomiserMode.PRECOOL)
        helps = within(doubt_k) & (outdoor + doubt_k < readings["return_air_degc"])
        doubt_k = self._doubt_k(EconomiserMode.FULL)
        alone = within(self.settings.outdoor_air_margin_k + doubt_k) & helps
        alone &= outdoor + doubt_k <= wanted
        return helps.astype(np.int64) + alone

    def _doubt_k(self, mode: EconomiserMode) -> Array:
        """(rows,) what a mode's conditions are hardened by where it is not in use."""
        return np.where(self._mode < mode, self.settings.hysteresis_k, 0.0)

    def _fan(self, readings: Mapping[str, Array], actions: PlantActions) -> Array:
        """The loop on the exchanger's water while it runs, else the controller's own fan."""
        off = self._mode == EconomiserMode.OFF
        held = self._tower.act(
            readings, np.asarray(actions.chilled_water_degc) - self.settings.exchanger_k
        )
        self._tower.track(actions.tower_fan_ratio, off)
        return np.where(off, actions.tower_fan_ratio, held)
