"""EnergyPlus as the engine of a batch of sites, one process an environment, as `SiteEngine` asks.

All processes are told what to do before the first is waited for, so that they compute at the same
time, on as many cores as there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.configuration import Outdoors
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.energyplus.engine import (
    EnergyPlusEngine,
    EnergyPlusError,
    check_package,
)
from rlkit_envs.data_center.energyplus.plant_step import plant_step
from rlkit_envs.data_center.energyplus.representation import represented_plant
from rlkit_envs.data_center.energyplus.signals import EnergyPlusActions, EnergyPlusReadings
from rlkit_envs.data_center.plant import PlantStep
from rlkit_envs.data_center.plant_state import OutdoorAir, PlantActions, PlantFaults, PlantState
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.site_engine import WARM_UP_STEPS, Beginnings
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR, Weather

_FIRST_CONDENSER_WATER_DEGC = 20.0
"""While EnergyPlus warms up; before it, nobody knows what the tower's fan would make of it."""


class EnergyPlusSites:
    """`num_envs` sites of one design in EnergyPlus, each in the weather of its episode.

    Raises ImportError without the package, ValueError for a design that the model lacks parts of;
    then, at any call, EnergyPlusError, which names the environments whose process failed, with what
    EnergyPlus logged. After that every site must begin anew.
    """

    def __init__(
        self,
        design: DataCenterDesign,
        weathers: Sequence[Weather],
        outdoors: Outdoors,
        num_envs: int,
        episode_steps: int,
    ) -> None:
        """weathers: the years, of which `outdoors` holds the loads."""
        check_package()
        represented_plant(design)
        self._design, self._weathers, self._outdoors = design, tuple(weathers), outdoors
        self._days = -(-(WARM_UP_STEPS + episode_steps) // STEPS_PER_DAY)
        self._engines: list[EnergyPlusEngine | None] = [None] * num_envs
        self._weather = np.full(num_envs, -1)
        self._readings: list[EnergyPlusReadings | None] = [None] * num_envs
        self._closed = False

    @property
    def servers_off_ratio(self) -> Array:
        """As `SiteEngine`."""
        return np.array([readings.servers_off_ratio for readings in self._last(range(self._size))])

    def begin(self, beginnings: Beginnings) -> PlantStep:
        """As `SiteEngine`; EnergyPlus's own warm-up comes before."""
        if self._closed:
            raise EnergyPlusError("these environments are closed")
        rows, first, weather, load, told = beginnings
        load_start = load * STEPS_PER_YEAR

        def utilisation(ahead: int) -> Array:
            return self._outdoors.utilisation.take(load_start + (first + ahead) % STEPS_PER_YEAR)

        at_first = utilisation(-WARM_UP_STEPS)
        for entry, row in enumerate(rows.tolist()):
            self._engine(row, int(weather[entry])).begin(
                first_day=float((first[entry] - WARM_UP_STEPS) % STEPS_PER_YEAR) / STEPS_PER_DAY,
                days=self._days,
                actions=EnergyPlusActions.of_plant(told, entry, _FIRST_CONDENSER_WATER_DEGC),
                utilisation=float(at_first[entry]),
            )
        self._receive(rows)
        for ahead in range(-WARM_UP_STEPS, 0):
            self._advance(rows, told, utilisation(ahead))
        return plant_step(self._design, told, self._last(rows))

    def step(
        self,
        actions: PlantActions,
        outdoor: OutdoorAir,
        utilisation: Array,
        faults: PlantFaults,
        idle: NDArray[np.bool_],
    ) -> PlantStep:
        """As `SiteEngine`; the engines know the outdoor air, and there are no faults."""
        rows = np.flatnonzero(~idle)
        told = PlantActions(*(np.asarray(values)[rows] for values in actions))
        self._advance(rows, told, utilisation[rows])
        return plant_step(self._design, actions, self._last(range(self._size)))

    def state(self) -> NoReturn:
        """As `SiteEngine`: EnergyPlus cannot."""
        raise NotImplementedError(
            "EnergyPlus can neither save nor restore a state: take engine='plant' for that"
        )

    def set_state(self, state: PlantState) -> NoReturn:
        """As `SiteEngine`: EnergyPlus cannot."""
        self.state()

    def close(self) -> None:
        """End all processes."""
        self._closed = True
        for engine in self._engines:
            if engine is not None:
                engine.close()

    @property
    def _size(self) -> int:
        return len(self._engines)

    def _engine(self, row: int, weather: int) -> EnergyPlusEngine:
        """That of an environment, in this year of weather."""
        engine = self._engines[row]
        if engine is None or self._weather[row] != weather:
            if engine is not None:
                engine.close()
            engine = EnergyPlusEngine(self._design, self._weathers[weather])
            self._engines[row], self._weather[row] = engine, weather
        return engine

    def _advance(self, rows: NDArray[np.intp], told: PlantActions, utilisation: Array) -> None:
        """One step in these environments; told, utilisation: (rows,)."""
        fan_ratio = np.asarray(told.tower_fan_ratio)
        for entry, row in enumerate(rows.tolist()):
            engine = self._engines[row]
            assert engine is not None
            water_degc = engine.condenser_water_for_fan(float(fan_ratio[entry]))
            engine.send(
                EnergyPlusActions.of_plant(told, entry, water_degc), float(utilisation[entry])
            )
        self._receive(rows)

    def _receive(self, rows: NDArray[np.intp]) -> None:
        """The answers of all, even where one fails."""
        failures: dict[int, EnergyPlusError] = {}
        for row in rows.tolist():
            engine = self._engines[row]
            assert engine is not None
            try:
                self._readings[row] = engine.receive()
            except EnergyPlusError as error:
                failures[row] = error
        if failures:
            told = "\n".join(f"environment {row}: {error}" for row, error in failures.items())
            raise EnergyPlusError(f"{told}\nreset() begins all environments anew") from next(
                iter(failures.values())
            )

    def _last(self, rows: Iterable[int]) -> list[EnergyPlusReadings]:
        last = [self._readings[row] for row in rows]
        assert all(readings is not None for readings in last)
        return last  # pyright: ignore[reportReturnType]
