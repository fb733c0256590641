"""EnergyPlus as the engine of a batch of sites, one process an environment, as `SiteEngine` asks.

All processes are told what to do before the first is waited for, so that they compute at the same
time, on as many cores as there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.configuration import Outdoors
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.energyplus.control import (
    Surroundings,
    actuator_values,
    completed,
    condenser_water_degc,
)
from rlkit_envs.data_center.energyplus.engine import (
    EnergyPlusEngine,
    EnergyPlusError,
    check_package,
)
from rlkit_envs.data_center.energyplus.plant_step import plant_step
from rlkit_envs.data_center.energyplus.representation import represented_plant
from rlkit_envs.data_center.energyplus.signals import (
    EnergyPlusActions,
    EnergyPlusReadings,
    SetPoints,
    variables_of,
)
from rlkit_envs.data_center.plant import PlantStep
from rlkit_envs.data_center.plant_state import OutdoorAir, PlantActions, PlantFaults, PlantState
from rlkit_envs.data_center.psychrometrics import (
    Array,
    humidity_ratio_from_dew_point,
    relative_humidity,
)
from rlkit_envs.data_center.site_engine import WARM_UP_STEPS, Beginnings
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR, Weather

_FIRST_CONDENSER_WATER_DEGC = 20.0
"""While EnergyPlus warms up; before it, nobody knows what the tower's fan would make of it."""

_ALL = slice(None)


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
        self._variables = tuple(variables_of(design))
        self._design, self._weathers, self._outdoors = design, tuple(weathers), outdoors
        self._days = -(-(WARM_UP_STEPS + episode_steps) // STEPS_PER_DAY)
        self._engines: list[EnergyPlusEngine | None] = [None] * num_envs
        self._weather = np.full(num_envs, -1)
        self._rated_kg_s = np.zeros(num_envs)
        self._readings = np.full((len(EnergyPlusReadings._fields), num_envs), np.nan)
        self._closed = False

    @property
    def servers_off_ratio(self) -> Array:
        """As `SiteEngine`."""
        return self._last().servers_off_ratio  # pyright: ignore[reportReturnType]

    def begin(self, beginnings: Beginnings) -> PlantStep:
        """As `SiteEngine`; EnergyPlus's own warm-up comes before."""
        if self._closed:
            raise EnergyPlusError("these environments are closed")
        rows, first, weather, load, told = beginnings
        weather_start, load_start = weather * STEPS_PER_YEAR, load * STEPS_PER_YEAR

        def surroundings(ahead: int) -> tuple[OutdoorAir, Array]:
            time = (first + ahead) % STEPS_PER_YEAR
            utilisation = self._outdoors.utilisation.take(load_start + time)
            return self._outdoors.air(weather_start + time), utilisation

        _, utilisation = surroundings(-WARM_UP_STEPS)
        for entry, row in enumerate(rows.tolist()):
            self._engine(row, int(weather[entry])).begin(
                first_day=float((first[entry] - WARM_UP_STEPS) % STEPS_PER_YEAR) / STEPS_PER_DAY,
                days=self._days,
                actions=EnergyPlusActions.of_plant(told, entry, _FIRST_CONDENSER_WATER_DEGC),
                utilisation=float(utilisation[entry]),
            )
        self._readings[:, rows] = np.transpose(self._of_each(rows, EnergyPlusEngine.receive))
        for ahead in range(-WARM_UP_STEPS, 0):
            self._advance(rows, told, *surroundings(ahead))
        return plant_step(self._design, told, self._last(rows))

    def step(
        self,
        actions: PlantActions,
        outdoor: OutdoorAir,
        utilisation: Array,
        faults: PlantFaults,
        idle: NDArray[np.bool_],
    ) -> PlantStep:
        """As `SiteEngine`; there are no faults."""
        rows = np.flatnonzero(~idle)
        told = PlantActions(*(np.asarray(values)[rows] for values in actions))
        air = OutdoorAir(*(np.asarray(values)[rows] for values in outdoor))
        self._advance(rows, told, air, utilisation[rows])
        return plant_step(self._design, actions, self._last())

    def hottest_inlet_degc(
        self,
        actions: PlantActions,
        outdoor: OutdoorAir,
        utilisation: Array,
        faults: PlantFaults,
    ) -> NoReturn:
        """As `SiteEngine`: EnergyPlus cannot take a step back."""
        raise NotImplementedError("EnergyPlus cannot try a step: take engine='plant' for that")

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

    def _engine(self, row: int, weather: int) -> EnergyPlusEngine:
        """That of an environment, in this year of weather."""
        engine = self._engines[row]
        if engine is None or self._weather[row] != weather:
            if engine is not None:
                engine.close()
            engine = EnergyPlusEngine(self._design, self._weathers[weather])
            self._engines[row], self._weather[row] = engine, weather
            self._rated_kg_s[row] = engine.rated_kg_s
        return engine

    def _advance(
        self, rows: NDArray[np.intp], told: PlantActions, outdoor: OutdoorAir, utilisation: Array
    ) -> None:
        """One step in these environments; all else (rows,)."""
        if rows.size == 0:
            return
        last = self._last(rows)
        humidity = relative_humidity(
            outdoor.dry_bulb_degc, outdoor.humidity_ratio, outdoor.pressure_pa
        )
        around = Surroundings(
            utilisation,
            outdoor.dry_bulb_degc,
            100.0 * humidity,
            humidity_ratio_from_dew_point(
                self._design.humidity.minimum_dew_point_degc, outdoor.pressure_pa
            ),
            self._rated_kg_s[rows],
            last.server_kg_s,
        )
        water_degc = condenser_water_degc(
            self._design, last, outdoor.wet_bulb_degc, told.tower_fan_ratio
        )
        set_points = SetPoints.of_plant(told, water_degc)
        values, off_ratio = actuator_values(self._design, set_points, around, last)
        for entry, row in enumerate(rows.tolist()):
            self._running(row).tell(values[:, entry])
        heard = np.transpose(self._of_each(rows, EnergyPlusEngine.hear))
        raw = EnergyPlusReadings(**dict(zip(self._variables, heard, strict=True)))
        self._readings[:, rows] = np.broadcast_arrays(*completed(self._design, raw, off_ratio))

    def _of_each(
        self, rows: NDArray[np.intp], answer: Callable[[EnergyPlusEngine], Sequence[float]]
    ) -> list[Sequence[float]]:
        """The answers of all, waited for even where one fails."""
        answers: list[Sequence[float]] = []
        failures: dict[int, EnergyPlusError] = {}
        for row in rows.tolist():
            try:
                answers.append(answer(self._running(row)))
            except EnergyPlusError as error:
                failures[row] = error
        if failures:
            told = "\n".join(f"environment {row}: {error}" for row, error in failures.items())
            first = next(iter(failures.values()))
            raise EnergyPlusError(f"{told}\nreset() begins all environments anew") from first
        return answers

    def _running(self, row: int) -> EnergyPlusEngine:
        engine = self._engines[row]
        assert engine is not None
        return engine

    def _last(self, rows: NDArray[np.intp] | slice = _ALL) -> EnergyPlusReadings:
        """The last readings of some environments, arrays (rows,)."""
        return EnergyPlusReadings(*self._readings[:, rows])
