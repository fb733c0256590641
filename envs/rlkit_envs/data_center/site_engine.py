"""What advances the sites of a batch by a step, behind one interface: our NumPy plant, here.

EnergyPlus has the same interface in `energyplus/sites.py`; both report a `plant.PlantStep`, so that
sensors, rewards and counts do not know which of the two is at work.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center import plant
from rlkit_envs.data_center.configuration import Outdoors
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.elementwise import numbers_if_alone
from rlkit_envs.data_center.plant import PlantStep
from rlkit_envs.data_center.plant_state import (
    SOUND,
    OutdoorAir,
    PlantActions,
    PlantFaults,
    PlantState,
)
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.weather import STEPS_PER_YEAR

WARM_UP_STEPS = 24
"""Steps at the starting actions before an episode, so that it begins with a plant at work."""


class Beginnings(NamedTuple):
    """Episodes that begin; arrays (rows,), one entry for each."""

    rows: NDArray[np.intp]
    """Their environments."""
    time: NDArray[np.int64]
    """Step of the year with which each begins."""
    weather: NDArray[np.int64]
    """Indices of their years of weather."""
    load: NDArray[np.int64]
    """Indices of their years of load."""
    told: PlantActions
    """At which the site ran before."""


class SiteEngine(Protocol):
    """The sites of a batch of `num_envs` environments."""

    @property
    def servers_off_ratio(self) -> Array:
        """(num_envs,), or a number of one: share of the servers that heat has stopped by now."""
        ...

    def begin(self, beginnings: Beginnings) -> PlantStep:
        """Bring sites to work over `WARM_UP_STEPS`; the last of these.

        Arrays (rows,), or numbers of one row.
        """
        ...

    def step(
        self,
        actions: PlantActions,
        outdoor: OutdoorAir,
        utilisation: Array,
        faults: PlantFaults,
        idle: NDArray[np.bool_],
    ) -> PlantStep:
        """Five minutes, arrays (num_envs,); what is reported may be numbers of one environment.

        idle: where an episode is over and the next has not begun; what is reported there, and what
        it was told, is without meaning.
        """
        ...

    def hottest_inlet_degc(
        self,
        actions: PlantActions,
        outdoor: OutdoorAir,
        utilisation: Array,
        faults: PlantFaults,
    ) -> Array:
        """(num_envs,), or a number of one: in the step that these would make. Nothing changes.

        Raises NotImplementedError where nobody can tell beforehand.
        """
        ...

    def state(self) -> PlantState:
        """Copies of all that the sites remember. Raises NotImplementedError where nobody can."""
        ...

    def set_state(self, state: PlantState) -> None:
        """Go on from there, with these arrays. Raises as `state`."""
        ...

    def close(self) -> None:
        """Free what must be freed."""
        ...


class PlantEngine:
    """The NumPy plant, all environments at once; one alone in numbers, which is faster."""

    def __init__(self, design: DataCenterDesign, outdoors: Outdoors, num_envs: int) -> None:
        self._design, self._outdoors = design, outdoors
        self._state = plant.initial_state(design, num_envs)

    @property
    def servers_off_ratio(self) -> Array:
        """As `SiteEngine`."""
        return self._state.servers_off_ratio

    def begin(self, beginnings: Beginnings) -> PlantStep:
        """As `SiteEngine`."""
        rows, first, weather, load, told = beginnings
        weather_start, load_start = weather * STEPS_PER_YEAR, load * STEPS_PER_YEAR
        begun = plant.initial_state(
            self._design,
            len(rows),
            supply_air_degc=told.supply_air_degc,
            hall_degc=told.supply_air_degc + 10.0,
            chilled_water_degc=told.chilled_water_degc,
        )

        def run(state: PlantState, ahead: int) -> tuple[PlantState, PlantStep]:
            time = (first + ahead) % STEPS_PER_YEAR
            air = self._outdoors.air(weather_start + time)
            utilisation = self._outdoors.utilisation.take(load_start + time)
            return self._stepped(state, told, air, utilisation, SOUND)

        for ahead in range(-WARM_UP_STEPS, -1):
            begun, _ = run(begun, ahead)
        begun, step = run(begun, -1)
        self._state = self.state()
        for now, of_rows in zip(self._state, begun, strict=True):
            now[rows] = of_rows
        return step

    def step(
        self,
        actions: PlantActions,
        outdoor: OutdoorAir,
        utilisation: Array,
        faults: PlantFaults,
        idle: NDArray[np.bool_],
    ) -> PlantStep:
        """As `SiteEngine`; idle rows go along, which costs less than choosing the others."""
        self._state, step = self._stepped(self._state, actions, outdoor, utilisation, faults)
        return step

    def hottest_inlet_degc(
        self,
        actions: PlantActions,
        outdoor: OutdoorAir,
        utilisation: Array,
        faults: PlantFaults,
    ) -> Array:
        """As `SiteEngine`."""
        _, step = self._stepped(self._state, actions, outdoor, utilisation, faults)
        return step.hottest_inlet_degc

    def state(self) -> PlantState:
        """As `SiteEngine`."""
        return PlantState(*(np.array(value, np.float64, ndmin=1) for value in self._state))

    def set_state(self, state: PlantState) -> None:
        """As `SiteEngine`."""
        self._state = state

    def close(self) -> None:
        """There is nothing to free."""

    def _stepped(
        self,
        state: PlantState,
        actions: PlantActions,
        outdoor: OutdoorAir,
        utilisation: Array,
        faults: PlantFaults,
    ) -> tuple[PlantState, PlantStep]:
        if len(utilisation) > 1:
            return plant.step(self._design, state, actions, outdoor, utilisation, faults)
        return plant.step(
            self._design,
            numbers_if_alone(state),
            numbers_if_alone(actions),
            numbers_if_alone(outdoor),
            utilisation[0],
            numbers_if_alone(faults),
        )
