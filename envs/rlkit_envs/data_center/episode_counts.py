"""What an episode adds up to: energy by component, water, unsafe hours, ramps, actuator travel.

Kept as sums over steps in one array, so that a step costs one addition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.actions import ECONOMISER, UNITS
from rlkit_envs.data_center.plant import PlantStep
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.reward import (
    RECOMMENDED_DEGC,
    RECOMMENDED_DEW_POINT_DEGC,
    Excursions,
)
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_HOUR

RAMP_K_PER_HOUR = 20.0
"""Fastest change of the inlet that ASHRAE TC 9.9 (2021) allows with disks and solid state."""
TAPE_RAMP_K_PER_HOUR = 5.0
"""The same with tape."""

_KWH = STEP_S / 3.6e6
_HOURS = 1.0 / STEPS_PER_HOUR

_SUMS: Mapping[str, tuple[str, float]] = {
    "facility_energy": ("kWh", _KWH),
    "it_energy": ("kWh with server fans", _KWH),
    "server_fan_energy": ("kWh", _KWH),
    "cooling_energy": ("kWh of all components below", _KWH),
    "air_handler_fan_energy": ("kWh", _KWH),
    "compressor_energy": ("kWh of chiller or direct expansion", _KWH),
    "chilled_pump_energy": ("kWh", _KWH),
    "condenser_pump_energy": ("kWh", _KWH),
    "tower_fan_energy": ("kWh", _KWH),
    "humidifier_energy": ("kWh", _KWH),
    "evaporative_pump_energy": ("kWh", _KWH),
    "power_chain_loss": ("kWh", _KWH),
    "water": ("kg", float(STEP_S)),
    "cost": ("currency of the price, with carbon", 1.0),
    "hours_outside_recommended": ("h, hottest inlet", _HOURS),
    "degree_hours_outside_recommended": ("K h, hottest inlet", _HOURS),
    "hours_outside_allowable": ("h, hottest inlet", _HOURS),
    "degree_hours_outside_allowable": ("K h, hottest inlet", _HOURS),
    "hours_above_recommended": ("h, hottest inlet", _HOURS),
    "hours_dew_point_outside_recommended": ("h", _HOURS),
    "ramp_hours": ("h in which the hottest inlet moved over 20 K within an hour", _HOURS),
    "tape_ramp_hours": ("h in which it moved over 5 K", _HOURS),
    "hours_servers_off": ("h in which servers shut themselves down", _HOURS),
    "hours_supply_missed": ("h with supply air over 0.5 K above its set point", _HOURS),
}
"""Name -> unit, and what a step's value is multiplied by."""

_HOTTEST = "hottest_inlet"


def count_units(actuators: Sequence[str]) -> dict[str, str]:
    """Name of each count of an episode -> its unit, for a site with these actuators."""
    units = {name: unit for name, (unit, _) in _SUMS.items()}
    units |= {
        "pue": "facility energy over IT energy",
        "pue_without_server_fans": "the same, server fans counted as cooling",
        "wue": "kg of water per kWh of IT energy",
        _HOTTEST: "degC, highest of the episode",
    }
    for name in actuators:
        unit = "changes of mode" if name == ECONOMISER else UNITS[name].split(",")[0]
        units[f"{name}_travel"] = f"sum of changes, {unit}" if name != ECONOMISER else unit
    return units


class EpisodeCounts:
    """Counts of the running episodes of `num_envs` environments."""

    def __init__(self, num_envs: int, actuators: Sequence[str]) -> None:
        self._actuators = tuple(actuators)
        rows = len(_SUMS) + len(actuators)
        self.sums = np.zeros((rows, num_envs))
        self.hottest_degc = np.full(num_envs, -np.inf)
        self.inlets_degc = np.full((STEPS_PER_HOUR + 1, num_envs), np.nan)
        """Hottest inlets of the last hour, in no order; `cursor` is the oldest."""
        self.settings = np.full((len(actuators), num_envs), np.nan)
        """Of the actuators in the step before; NaN before the first."""
        self.cursor = 0
        self._now = np.empty((rows, num_envs))
        self._factors = np.array([factor for _, factor in _SUMS.values()])[:, np.newaxis]

    def clear(self, where: NDArray[np.bool_]) -> None:
        """Begin anew where (num_envs,) says so."""
        self.sums[:, where] = 0.0
        self.hottest_degc[where] = -np.inf
        self.inlets_degc[:, where] = np.nan
        self.settings[:, where] = np.nan

    def add(
        self,
        step: PlantStep,
        cost: Array,
        outside: Excursions,
        dew_point_degc: Array,
        settings: Sequence[Array],
    ) -> None:
        """Count one step. cost: (num_envs,), in currency. settings: of each actuator."""
        cooling, hottest = step.cooling, step.hottest_inlet_degc
        self.inlets_degc[self.cursor] = hottest
        self.cursor = (self.cursor + 1) % len(self.inlets_degc)
        ramp_k = np.fmax.reduce(self.inlets_degc) - np.fmin.reduce(self.inlets_degc)
        np.maximum(self.hottest_degc, hottest, out=self.hottest_degc)
        low_dew, high_dew = RECOMMENDED_DEW_POINT_DEGC
        chain_loss = step.critical.distribution_loss_w + step.critical.ups_loss_w
        values = (
            step.facility.power_w,
            step.servers.power_w,
            step.servers.fan_power_w,
            step.mechanical_power_w,
            step.handler.fan_power_w,
            cooling.compressor_power_w,
            cooling.chilled_pump_power_w,
            cooling.condenser_pump_power_w,
            cooling.tower_fan_power_w,
            step.humidifier.power_w,
            step.intake.pump_power_w,
            chain_loss + step.facility.transformer_loss_w,
            step.water_kg_s,
            cost,
            outside.recommended_k > 0.0,
            outside.recommended_k,
            outside.allowable_k > 0.0,
            outside.allowable_k,
            hottest > RECOMMENDED_DEGC[1],
            (dew_point_degc < low_dew) | (dew_point_degc > high_dew),
            ramp_k > RAMP_K_PER_HOUR,
            ramp_k > TAPE_RAMP_K_PER_HOUR,
            step.limits.servers_off,
            step.limits.supply_missed,
        )
        now = self._now
        for row, value in enumerate(values):
            now[row] = value
        for row, setting in enumerate(settings):
            now[len(values) + row] = setting
        travel = now[len(values) :]
        moved = np.abs(travel - self.settings)
        self.settings[:] = travel
        if ECONOMISER in self._actuators:
            moved[-1] = moved[-1] > 0.0
        np.fmax(moved, 0.0, out=travel)  # NaN in an episode's first step
        self.sums += now

    def totals(self) -> dict[str, Array]:
        """Name -> (num_envs,) up to now, as copies; ratios are NaN before the first step."""
        scaled = self.sums[: len(_SUMS)] * self._factors
        totals = dict(zip(_SUMS, scaled, strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            facility, it = totals["facility_energy"], totals["it_energy"]
            totals["pue"] = facility / it
            totals["pue_without_server_fans"] = facility / (it - totals["server_fan_energy"])
            totals["wue"] = totals["water"] / it
        totals[_HOTTEST] = self.hottest_degc.copy()
        travels = self.sums[len(_SUMS) :].copy()
        for name, travel in zip(self._actuators, travels, strict=True):
            totals[f"{name}_travel"] = travel
        return totals
