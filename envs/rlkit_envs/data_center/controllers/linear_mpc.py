"""Linear model predictive control: the plant's equations made linear around the present, one LP.

Sources: step-response models and a control horizon of one move (Maciejowski 2002, Predictive
Control with Constraints, sections 3.1 and 4.1); soft constraints (section 3.4); in data centres,
Lazic et al. 2018. Departures: responses are those of the design's own equations and not of
identified ones; the economiser's mode is that whose programme costs least; a mode out of use keeps
its set points.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center import plant
from rlkit_envs.data_center.actions import (
    ECONOMISER,
    ActuatorRanges,
    StartingActions,
    actuators,
)
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.convex_programme import convex_pieces, solve
from rlkit_envs.data_center.controllers.plant_estimate import PlantEstimate
from rlkit_envs.data_center.controllers.stored_heat import stored_heat_j
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.plant_state import PlantActions, PlantState
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.ranges import check_positive, check_ranges
from rlkit_envs.data_center.reward import RECOMMENDED_DEGC
from rlkit_envs.data_center.sensors import RISE_SENSOR
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_HOUR

_STAGE_STEPS = 3
"""Steps of a stage, 15 minutes."""
_STAGE_S = _STAGE_STEPS * STEP_S
_OFFSETS = np.array([-1.0, -0.5, 0.5, 1.0])
"""Set points that are tried beside the present one, in largest moves."""
_FORECAST = re.compile(r"forecast_dry_bulb_(.+)h_degc")


@dataclass(frozen=True)
class LinearMPCSettings:
    """How far it looks, how fast it moves, what it holds.

    A decision for five rows with three modes each makes 255 predictions, each through 15 steps of
    the plant, and solves 15 programmes. Margins were chosen for few hours outside the recommended
    range first, and then for little energy.
    """

    stages: int = 4
    """Quarters of an hour that are predicted, 2 to 16."""
    move_supply_air_k: float = 1.5
    """Largest move of the supply air's set point in a quarter of an hour, above 0."""
    move_air_flow_ratio: float = 0.08
    """The same of the air flow."""
    move_chilled_water_k: float = 1.5
    """The same of the chilled water's set point."""
    move_tower_fan_ratio: float = 0.12
    """The same of the tower's fan."""
    rescue: float = 4.0
    """Set points may move so many times as far towards more cooling when a row decides out of turn,
    1 to 10."""
    inlet_margin_k: float = 0.7
    """The hottest inlet is kept this far within the recommended range, 0 to 4 K. A row decides out
    of turn where half of it is lost."""
    load_margin: float = 0.1
    """Inlets are held for a load that stays this much higher than now, 0 to 0.5 of the servers; a
    row decides out of turn where it has risen by as much."""
    rise_share: float = 1.0
    """Inlets are held for a load that leaps, in any step before the next decision, by this share of
    the largest rise of the last seven days (`sensors.RISE_SENSOR`), 0 to 2. A leap within a step
    cannot be answered, only waited for; loads that never leap are not charged for it."""
    outdoor_margin_k: float = 0.7
    """Inlets are held for outdoor air that is this much warmer than foretold, dry and wet, 0 to 5
    K: an economiser that stands alone does not stand on its limits."""
    excess_charge: float = 1.0
    """A kelvin beyond that costs this many times the servers' rated power, 0.01 to 100."""
    heat_price_ratio: float = 0.1
    """What heat left in hall and chilled water is charged, kWh of electricity a kWh, 0 to 1."""
    mode_saving_ratio: float = 0.003
    """Share of the predicted energy that another mode must save to be chosen, 0 to 1."""
    revisit: int = 4
    """One decision in so many, 1 to 96, plans for modes out of use from the set points that they
    last had: from those in force a mode may look dear that would be cheap at its own."""
    correction: float = 0.7
    """Share of what a reading says beyond the prediction that is believed, 0 to 1."""
    bias_correction: float = 0.3
    """The same of the hottest inlet's lasting error, 0 to 1."""
    pressure_pa: float = 101_325.0
    """Of the site's air, 60e3 to 110e3."""

    def __post_init__(self) -> None:
        check_positive(
            self,
            "move_supply_air_k",
            "move_air_flow_ratio",
            "move_chilled_water_k",
            "move_tower_fan_ratio",
        )
        check_ranges(
            self,
            stages=(2, 16),
            revisit=(1, 96),
            rescue=(1.0, 10.0),
            load_margin=(0.0, 0.5),
            rise_share=(0.0, 2.0),
            outdoor_margin_k=(0.0, 5.0),
            inlet_margin_k=(0.0, 4.0),
            excess_charge=(0.01, 100.0),
            heat_price_ratio=(0.0, 1.0),
            mode_saving_ratio=(0.0, 1.0),
            correction=(0.0, 1.0),
            bias_correction=(0.0, 1.0),
            pressure_pa=(60e3, 110e3),
        )
        for name in ("stages", "revisit"):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise TypeError(f"LinearMPCSettings.{name} must be whole, but is {value!r}")


class _Predicted(NamedTuple):
    """Of candidates, (rows, modes, candidates)."""

    cost: Array
    """Energy, and the heat left at the end; in watts times stages."""
    warmest_degc: Array
    """The hottest inlet where it may be too warm, with a last axis: after each stage with the
    margins, and in each step of the first stage should the load leap in it. Bias not included."""
    coolest_degc: Array
    """The same where it may be too cold, with a last axis: after each stage, as foreseen."""


class LinearMPC:
    """Sees sensors and forecasts, not the plant: its model is the design's, sound, at one pressure.

    Every quarter of an hour each row has one linear programme a mode: set points move at once and
    are then held over the horizon, with the load as it is now. Energy is judged as foreseen, inlets
    with margins of load and weather, and for a leap of the load. The pieces of a set point's cost
    are what the model says at half and at the whole of the largest move either way. All programmes
    of a batch are solved as one; only where several set points cost exactly the same can rows
    matter to each other. Energy's price is taken to be the same over the horizon, and so left out.
    Every few decisions a mode out of use is planned for from the set points that it last had:
    between them and those in force there may be a hill that no small move crosses.
    """

    def __init__(
        self,
        design: DataCenterDesign,
        ranges: ActuatorRanges | None = None,
        settings: LinearMPCSettings = LinearMPCSettings(),
        name: str = "MPC",
    ) -> None:
        """ranges: within which set points stay; None is the environments' default."""
        ranges = ranges or ActuatorRanges()
        self.settings, self.name = settings, name
        self._design = design
        self._estimate = PlantEstimate(
            design,
            correction=settings.correction,
            bias_correction=settings.bias_correction,
            pressure_pa=settings.pressure_pa,
        )
        moves = {
            "supply_air_degc": settings.move_supply_air_k,
            "air_flow_ratio": settings.move_air_flow_ratio,
            "chilled_water_degc": settings.move_chilled_water_k,
            "tower_fan_ratio": settings.move_tower_fan_ratio,
        }
        self._names = tuple(name for name in actuators(design) if name != ECONOMISER)
        self._moves = np.array([moves[name] for name in self._names])
        # The outermost pieces towards more cooling: colder air and water, more of both airs.
        self._cools = np.array(
            [
                [name.endswith("_degc"), False, False, name.endswith("_ratio")]
                for name in self._names
            ]
        )
        limits = np.array([getattr(ranges, name) for name in self._names])
        self._low, self._high = limits.T
        modes = list(EconomiserMode) if design.has_economiser else [EconomiserMode.OFF]
        self._modes = np.array(modes, dtype=np.int64)
        self._told = StartingActions().plant_actions(0)
        self._held = np.empty(0, np.int64)
        self._load = np.empty(0)  # for which the last decision was made
        self._decisions = np.empty(0, np.int64)
        # Set points that each mode last had in the episode, (rows, modes, actuators); NaN: none.
        self._last = np.empty((0, len(self._modes), len(self._names)))

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """As `Controller.reset`."""
        if len(rows) != len(self._held):
            self._told = StartingActions().plant_actions(len(rows))
            self._held = np.zeros(len(rows), np.int64)
            self._load = np.ones(len(rows))
            self._last = np.empty((len(rows), *self._last.shape[1:]))
            self._decisions = np.empty(len(rows), np.int64)
        self._decisions[rows] = 0
        self.track(StartingActions().plant_actions(len(rows)), rows)
        self._estimate.reset(rows)

    def track(self, actions: PlantActions, rows: NDArray[np.bool_] | None = None) -> None:
        """As `TrackingController.track`; the next `act` decides anew, and from here alone."""
        where = np.ones(len(self._held), np.bool_) if rows is None else rows
        self._told = PlantActions(
            *(np.where(where, new, old) for new, old in zip(actions, self._told, strict=True))
        )
        self._held = np.where(where, 0, self._held)
        self._last[where] = np.nan

    def act(self, observed: Observed) -> PlantActions:
        """Set points of the step to come; new ones every quarter of an hour."""
        self._estimate.update(observed.readings, self._told)
        urgent = self._urgent(observed.readings)
        due = np.flatnonzero(urgent | (self._held <= 0))
        if due.size:
            self._decide(observed.readings, due, urgent[due])
            self._held[due] = _STAGE_STEPS
            self._load[due] = observed.readings["utilisation"][due]
        self._held -= 1
        return PlantActions(*(np.array(value) for value in self._told))

    def _urgent(self, readings: Mapping[str, Array]) -> NDArray[np.bool_]:
        settings = self.settings
        hot = readings["hottest_inlet_degc"] > RECOMMENDED_DEGC[1] - 0.5 * settings.inlet_margin_k
        return hot | (readings["utilisation"] > self._load + settings.load_margin)

    def _decide(
        self,
        readings: Mapping[str, Array],
        rows: NDArray[np.int64],
        urgent: NDArray[np.bool_],
    ) -> None:
        settings, modes = self.settings, len(self._modes)
        present = np.stack([np.asarray(getattr(self._told, name))[rows] for name in self._names])
        starts = self._starts(np.clip(present.T, self._low, self._high), rows)
        offsets = np.where(
            urgent[:, np.newaxis, np.newaxis, np.newaxis] & self._cools,
            _OFFSETS * settings.rescue,
            np.broadcast_to(_OFFSETS, self._cools.shape),
        )
        points = starts[..., np.newaxis] + self._moves[:, np.newaxis] * offsets
        points = np.clip(points, self._low[:, np.newaxis], self._high[:, np.newaxis])
        predicted = self._predict(readings, rows, starts, points)

        inner = np.stack([points[..., 1], starts, starts, points[..., 2]], axis=-1)
        moved = points - inner
        width = np.abs(moved)
        count, _, actuators_ = starts.shape
        shape = (count * modes, actuators_ * 4)
        cost = convex_pieces(_outwards(predicted.cost), width)
        too_warm_or_cold = np.concatenate(
            [predicted.warmest_degc, -predicted.coolest_degc], axis=-1
        )
        response_k = convex_pieces(_outwards(np.moveaxis(too_warm_or_cold, -1, 0)), width)
        bias = self._estimate.inlet_bias_k[rows, np.newaxis, np.newaxis]
        low, high = RECOMMENDED_DEGC
        margin_k = settings.inlet_margin_k
        room_k = np.concatenate(
            [
                high - margin_k - (predicted.warmest_degc[:, :, 0] + bias),
                predicted.coolest_degc[:, :, 0] + bias - (low + margin_k),
            ],
            axis=2,
        )
        solved = solve(
            cost.reshape(shape),
            np.moveaxis(response_k, 0, 2).reshape(count * modes, -1, shape[1]),
            room_k.reshape(count * modes, -1),
            settings.excess_charge * self._design.servers.rated_power_w,
            (width > 0.0).reshape(shape),
        )

        total = predicted.cost[:, :, 0] + solved.cost.reshape(count, modes)
        mode = self._choose(total, self._used(rows))
        share = solved.share.reshape(count, modes, actuators_, 4)
        chosen = (starts + (share * moved).sum(axis=-1))[np.arange(count), mode]
        chosen = np.clip(chosen, self._low, self._high)
        self._last[rows, mode] = chosen
        self._decisions[rows] += 1
        for column, name in enumerate(self._names):
            np.asarray(getattr(self._told, name))[rows] = chosen[:, column]
        np.asarray(self._told.economiser)[rows] = self._modes[mode]

    def _used(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) index of the mode in use."""
        now = np.asarray(self._told.economiser)[rows]
        return np.abs(self._modes - now[:, np.newaxis]).argmin(axis=1)

    def _starts(self, present: Array, rows: NDArray[np.int64]) -> Array:
        """(rows, modes, actuators) set points from which each mode's programme starts.

        present: (rows, actuators) in force.
        """
        others = np.arange(len(self._modes)) != self._used(rows)[:, np.newaxis]
        turn = self._decisions[rows] % self.settings.revisit == 0
        last = self._last[rows]
        back = (others & turn[:, np.newaxis])[..., np.newaxis] & ~np.isnan(last)
        return np.where(back, last, present[:, np.newaxis])

    def _choose(self, total: Array, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """(rows,) index of the cheapest mode, or of the one in use where that costs little more."""
        row = np.arange(len(used))
        best = total.argmin(axis=1)
        saves = total[row, used] - total[row, best]
        worth = saves > self.settings.mode_saving_ratio * np.abs(total[row, used])
        return np.where(worth, best, used)

    def _predict(
        self,
        readings: Mapping[str, Array],
        rows: NDArray[np.int64],
        starts: Array,
        points: Array,
    ) -> _Predicted:
        """The first candidate is where a mode starts; then every actuator at each of its points.

        All are followed twice, as foreseen and with the margins of load and weather; from the first
        of these a step branches off in which the load leaps.
        """
        settings = self.settings
        count, modes, actuators_ = starts.shape
        candidates = 1 + 4 * actuators_
        tried = np.repeat(starts[:, :, np.newaxis], candidates, axis=2)
        for column in range(actuators_):
            tried[:, :, 1 + 4 * column : 5 + 4 * column, column] = points[:, :, column]
        shape = (2, count, modes, candidates)
        each = modes * candidates

        def both(values: Array, margin: float = 0.0) -> Array:
            """(rows,) as foreseen, then with a margin, for every mode and candidate."""
            return np.repeat(np.concatenate([values, values + margin]), each)

        told = self._plant_actions(
            np.tile(tried.reshape(-1, actuators_), (2, 1)),
            np.tile(np.repeat(self._modes, candidates), 2 * count),
        )
        state = PlantState(*(both(value[rows]) for value in self._estimate.state))
        load = np.minimum(both(self._estimate.utilisation[rows], settings.load_margin), 1.0)
        foreseen = slice(0, count * each)
        leap = settings.rise_share * readings[RISE_SENSOR.name][rows]
        leapt = np.minimum(load[foreseen] + np.repeat(leap, each), 1.0)
        energy = np.zeros(shape[1:])
        warmest, coolest = [], []
        for stage in range(settings.stages):
            # Step by step in the first stage, which matters most; then all of a stage at once.
            steps = _STAGE_STEPS if stage == 0 else 1
            hottest_degc = np.empty(shape)
            for part in range(steps):
                middle = part if stage == 0 else 0.5 * _STAGE_STEPS
                ahead_h = (stage * _STAGE_STEPS + middle) / STEPS_PER_HOUR
                dry_bulb, wet_bulb = (values[rows] for values in forecast(readings, ahead_h))
                air = self._estimate.outdoor_air(
                    both(dry_bulb, settings.outdoor_margin_k),
                    both(wet_bulb, settings.outdoor_margin_k),
                )
                if stage == 0:
                    parts = (_rows_of(values, foreseen) for values in (state, told, air))
                    _, in_leap = plant.step(self._design, *parts, leapt)
                    warmest.append(in_leap.hottest_inlet_degc.reshape(shape[1:]))
                state, step = plant.step(
                    self._design, state, told, air, load, step_s=_STAGE_S / steps
                )
                energy += step.facility.power_w.reshape(shape)[0] / steps
                hottest_degc = step.hottest_inlet_degc.reshape(shape)
            coolest.append(hottest_degc[0])
            warmest.append(hottest_degc[1])
        heat = stored_heat_j(self._design, state).reshape(shape)[0]
        energy += heat * (settings.heat_price_ratio / _STAGE_S)
        return _Predicted(energy, np.stack(warmest, axis=-1), np.stack(coolest, axis=-1))

    def _plant_actions(self, set_points: Array, mode: NDArray[np.int64]) -> PlantActions:
        told = StartingActions().plant_actions(len(mode))
        values = {name: set_points[:, column] for column, name in enumerate(self._names)}
        return told._replace(**values, economiser=mode)


def forecast(readings: Mapping[str, Array], hours: float) -> tuple[Array, Array]:
    """Outdoor dry and wet bulb (rows,) that far ahead, between what is read and foretold.

    Beyond the last forecast, or without any, it stays as last known.
    """
    dry = {0.0: readings["outdoor_dry_bulb_degc"]}
    wet = {0.0: readings["outdoor_wet_bulb_degc"]}
    for name in readings:
        found = _FORECAST.fullmatch(name)
        if found:
            dry[float(found[1])] = readings[name]
            wet[float(found[1])] = readings[name.replace("dry_bulb", "wet_bulb")]
    times = sorted(dry)
    later = times[min(bisect_right(times, hours), len(times) - 1)]
    earlier = times[max(times.index(later) - 1, 0)]
    share = min((hours - earlier) / (later - earlier), 1.0) if later > earlier else 0.0
    return (
        (1.0 - share) * dry[earlier] + share * dry[later],
        (1.0 - share) * wet[earlier] + share * wet[later],
    )


def _rows_of(values: Any, rows: slice) -> Any:
    """Those rows of a named tuple's arrays; numbers stay as they are."""
    return type(values)(*(value[rows] if np.ndim(value) else value for value in values))


def _outwards(values: Array) -> Array:
    """(rows, modes, actuators, 4) changes over pieces, from (rows, modes, candidates)."""
    present = values[..., :1, np.newaxis]
    points = values[..., 1:].reshape(*values.shape[:-1], -1, 4)
    inner = np.concatenate(
        [points[..., 1:2], np.broadcast_to(present, (*points.shape[:-1], 2)), points[..., 2:3]],
        axis=-1,
    )
    return points - inner
