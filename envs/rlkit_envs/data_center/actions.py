"""What an agent can set at a site, as numbers from -1 to 1 or as a grid of levels.

Five actuators, of which a site has those that its design has. Nothing is clamped: what lies outside
its range is an error that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.ranges import check_ranges

ECONOMISER = "economiser"
"""The one actuator without a unit: its levels are those of `EconomiserMode`, in lower case."""

UNITS: Mapping[str, str] = {
    "supply_air_degc": "degC, set point of the air that leaves the air handlers",
    "air_flow_ratio": "flow of the air handlers over their rated one",
    "chilled_water_degc": "degC, set point of the chilled water",
    "tower_fan_ratio": "air of the tower over its design flow",
    ECONOMISER: "off, precool or full",
}
"""Each actuator, in the order in which actions have them, with its unit."""

DEFAULT_LEVELS: Mapping[str, tuple[float | str, ...]] = {
    "supply_air_degc": (18.0, 21.0, 24.0, 27.0),
    "air_flow_ratio": (0.5, 0.7, 1.0),
    "chilled_water_degc": (8.0, 12.0, 16.0),
    "tower_fan_ratio": (0.5, 1.0),
    ECONOMISER: ("off", "precool", "full"),
}
"""Levels of the discrete grid: 216 actions where a site has all actuators."""

# What an actuator that a site lacks is held at; the plant does not look at it.
_ABSENT = {
    "chilled_water_degc": 10.0,
    "tower_fan_ratio": 1.0,
    ECONOMISER: float(EconomiserMode.OFF),
}
_MODES = {mode.name.lower(): float(mode) for mode in EconomiserMode}
_CONTINUOUS_NAMES = tuple(name for name in UNITS if name != ECONOMISER)


@dataclass(frozen=True)
class ActuatorRanges:
    """Physical values that -1 and 1 stand for."""

    supply_air_degc: tuple[float, float] = (15.0, 32.0)
    """Within 5 to 40 degC; the default is what ASHRAE's class A1 allows at the inlet."""
    air_flow_ratio: tuple[float, float] = (0.3, 1.0)
    """Within 0 to 1."""
    chilled_water_degc: tuple[float, float] = (6.0, 20.0)
    """Within 3 to 25 degC. Set points below the chiller's least one are raised to it, which
    `info["limits"]["chilled_water_raised"]` tells."""
    tower_fan_ratio: tuple[float, float] = (0.0, 1.0)
    """Within 0 to 1."""

    def __post_init__(self) -> None:
        limits = {
            "supply_air_degc": (5.0, 40.0),
            "air_flow_ratio": (0.0, 1.0),
            "chilled_water_degc": (3.0, 25.0),
            "tower_fan_ratio": (0.0, 1.0),
        }
        for name, (least, most) in limits.items():
            values = tuple(getattr(self, name))
            if len(values) != 2 or not least <= values[0] < values[1] <= most:
                raise ValueError(
                    f"ActuatorRanges.{name} is {values!r}: two numbers that rise within "
                    f"{least:g} to {most:g} would fit"
                )
            object.__setattr__(self, name, (float(values[0]), float(values[1])))


@dataclass(frozen=True)
class StartingActions:
    """What the site was run at before an episode begins."""

    supply_air_degc: float = 20.0
    """5 to 40 degC."""
    air_flow_ratio: float = 0.8
    """0 to 1."""
    chilled_water_degc: float = 10.0
    """3 to 25 degC."""
    tower_fan_ratio: float = 0.8
    """0 to 1."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            supply_air_degc=(5.0, 40.0),
            air_flow_ratio=(0.0, 1.0),
            chilled_water_degc=(3.0, 25.0),
            tower_fan_ratio=(0.0, 1.0),
        )

    def plant_actions(self, num_envs: int) -> PlantActions:
        """The same everywhere, economisers shut."""
        values = [np.full(num_envs, getattr(self, name)) for name in _CONTINUOUS_NAMES]
        return PlantActions(*values, economiser=np.zeros(num_envs, np.int64))


def actuators(design: DataCenterDesign) -> tuple[str, ...]:
    """Names of the actuators that a site has, in the order of `UNITS`."""
    watered = isinstance(design.cooling, ChilledWaterPlantDesign)
    lacking = set() if watered else {"chilled_water_degc", "tower_fan_ratio"}
    if not design.has_economiser:
        lacking.add(ECONOMISER)
    return tuple(name for name in UNITS if name not in lacking)


class ContinuousActions:
    """Actions (num_envs, actuators) in [-1, 1], mapped linearly on `ActuatorRanges`.

    The economiser's number is cut into thirds: below -1/3 OFF, up to 1/3 PRECOOL, above it FULL.
    """

    def __init__(self, design: DataCenterDesign, ranges: ActuatorRanges) -> None:
        self.names = actuators(design)
        self.space = Box(-1.0, 1.0, (len(self.names),), np.float32)
        self._ranges = {
            name: getattr(ranges, name) for name in self.names if name in _CONTINUOUS_NAMES
        }

    def to_plant(
        self, actions: NDArray[np.floating], valid: NDArray[np.bool_] | None = None
    ) -> PlantActions:
        """What the plant is told; every entry (num_envs,).

        valid: (num_envs,), where actions count; elsewhere they are replaced by 0. Raises ValueError
        for another shape, and for NaN or numbers outside [-1, 1], with environment and actuator.
        """
        actions = np.asarray(actions)
        if (
            actions.ndim != 2
            or actions.shape[1] != len(self.names)
            or actions.dtype.kind not in "fiu"
        ):
            raise ValueError(
                f"actions must be numbers of shape (num_envs, {len(self.names)}), one for each of "
                f"{', '.join(self.names)}, not {actions.dtype} of shape {actions.shape}"
            )
        columns = np.array(actions.T, dtype=np.float64, order="C")
        if valid is not None and not valid.all():
            columns[:, ~valid] = 0.0
        if not (np.abs(columns) <= 1.0).all():  # false for NaN as well
            self._refuse(columns)
        values: dict[str, Array] = {}
        for name, column in zip(self.names, columns, strict=True):
            if name == ECONOMISER:
                values[name] = np.asarray(column >= -1.0 / 3.0) + (column > 1.0 / 3.0) * 1
            else:
                least, most = self._ranges[name]
                values[name] = least + (column + 1.0) * (0.5 * (most - least))
        return _complete(values, columns.shape[1])

    def from_plant(self, actions: PlantActions) -> NDArray[np.float32]:
        """The actions (num_envs, actuators) that `to_plant` maps on these; a mode on its middle.

        Raises ValueError where a value lies outside its range.
        """
        columns = []
        for name in self.names:
            value = np.atleast_1d(np.asarray(getattr(actions, name), dtype=np.float64))
            if name == ECONOMISER:
                columns.append((value - 1.0) * (2.0 / 3.0))
                continue
            least, most = self._ranges[name]
            wrong = ~((value >= least) & (value <= most))
            if wrong.any():
                raise ValueError(
                    f"{name} is {value[wrong][0]:g}, but this environment's actions reach from "
                    f"{least:g} to {most:g}"
                )
            columns.append((value - least) * (2.0 / (most - least)) - 1.0)
        stacked = np.stack(np.broadcast_arrays(*columns), axis=1)
        return np.clip(stacked, -1.0, 1.0).astype(np.float32)  # rounding only

    def _refuse(self, columns: Array) -> None:
        wrong = ~(np.abs(columns) <= 1.0)
        env = int(np.flatnonzero(wrong.any(axis=0))[0])
        which = int(np.flatnonzero(wrong[:, env])[0])
        raise ValueError(
            f"the action of environment {env} for {self.names[which]} is {columns[which, env]:g}: "
            "it must be a number from -1 to 1; clip what a policy gives before it is sent"
        )


class DiscreteActions:
    """Actions (num_envs,) that number all combinations of the actuators' levels, the last fastest.

    `meanings[action]` maps each actuator's name to its level.
    """

    def __init__(
        self,
        design: DataCenterDesign,
        levels: Mapping[str, Iterable[float | str]] | None = None,
    ) -> None:
        """levels: for some or all actuators of the site, in place of `DEFAULT_LEVELS`.

        Raises ValueError for actuators that the site lacks, and for levels out of range.
        """
        self.names = actuators(design)
        chosen = {name: DEFAULT_LEVELS[name] for name in self.names}
        for name, given in (levels or {}).items():
            if name not in chosen:
                raise ValueError(
                    f"levels name the actuator {name!r}, but {design.name} has {', '.join(chosen)}"
                )
            chosen[name] = tuple(given)
        self._tables = [_level_values(name, given) for name, given in chosen.items()]
        self.meanings = tuple(
            dict(zip(self.names, combination, strict=True))
            for combination in product(*chosen.values())
        )
        self.space = Discrete(prod(len(table) for table in self._tables))
        self._grid = np.array(list(product(*self._tables)), dtype=np.float64).T.copy()

    def to_plant(
        self, actions: NDArray[np.integer], valid: NDArray[np.bool_] | None = None
    ) -> PlantActions:
        """What the plant is told; every entry (num_envs,).

        valid: (num_envs,), where actions count; elsewhere they are replaced by 0. Raises ValueError
        for another shape or type, and for numbers that name no action, with the environment.
        """
        actions = np.asarray(actions)
        if actions.ndim != 1 or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(
                "actions must be integers of shape (num_envs,), "
                f"not {actions.dtype} of shape {actions.shape}"
            )
        if valid is not None and not valid.all():
            actions = np.where(valid, actions, 0)
        wrong = (actions < 0) | (actions >= len(self.meanings))
        if wrong.any():
            env = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"the action of environment {env} is {actions[env]}: "
                f"it must be from 0 to {len(self.meanings) - 1}"
            )
        columns = [row[actions] for row in self._grid]
        return _complete(dict(zip(self.names, columns, strict=True)), len(actions))

    def from_plant(self, actions: PlantActions) -> NDArray[np.int64]:
        """The actions (num_envs,) whose levels lie nearest, each actuator by itself."""
        number = np.zeros(1, np.int64)
        for name, table in zip(self.names, self._tables, strict=True):
            value = np.atleast_1d(np.asarray(getattr(actions, name), dtype=np.float64))
            nearest = np.abs(value[:, np.newaxis] - np.array(table)).argmin(axis=1)
            number = number * len(table) + nearest
        return number


Actions = ContinuousActions | DiscreteActions


def _complete(values: Mapping[str, Array], num_envs: int) -> PlantActions:
    full = {
        name: values[name] if name in values else np.full(num_envs, _ABSENT[name]) for name in UNITS
    }
    full[ECONOMISER] = full[ECONOMISER].astype(np.int64)
    return PlantActions(**full)


def _level_values(name: str, levels: tuple[float | str, ...]) -> tuple[float, ...]:
    if not levels or len(set(levels)) != len(levels):
        raise ValueError(f"levels of {name} are {levels!r}: one or more, each once, would fit")
    if name == ECONOMISER:
        for level in levels:
            if level not in _MODES:
                raise ValueError(f"level {level!r} of {name} is none of {', '.join(_MODES)}")
        return tuple(_MODES[str(level)] for level in levels)
    least, most = (5.0, 40.0) if name == "supply_air_degc" else (0.0, 1.0)
    if name == "chilled_water_degc":
        least, most = 3.0, 25.0
    for level in levels:
        if isinstance(level, str) or not least <= level <= most:
            raise ValueError(
                f"level {level!r} of {name} must be a number from {least:g} to {most:g}"
            )
    return tuple(float(level) for level in levels)
