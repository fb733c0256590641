"""Cross-entropy method on the true simulator: nearly the best that set points can do.

Sources: the method (de Boer, Kroese, Mannor & Rubinstein 2005, A Tutorial on the Cross-Entropy
Method); planning with it again and again (Chua et al. 2018, Deep RL in a Handful of Trials); kept
elites and the best plan in place of the mean (Pinneri et al. 2020, iCEM). Departures: noise comes
from a table, the same for all rows, so that a row's plan depends on no other row; the mode of the
economiser is not sampled, but every mode has a distribution of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center import plant
from rlkit_envs.data_center.actions import ECONOMISER, StartingActions
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.stored_heat import stored_heat_j
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.environment import DataCenterEnvs, EnvironmentState, select_rows
from rlkit_envs.data_center.faults import SENSOR_KINDS, plant_faults, severities
from rlkit_envs.data_center.plant_state import SOUND, PlantActions, PlantState
from rlkit_envs.data_center.psychrometrics import Array
from rlkit_envs.data_center.ranges import check_ranges
from rlkit_envs.data_center.reward import (
    RECOMMENDED_DEGC,
    cost_per_kwh,
    excursions,
    inlet_penalty,
    outside_k,
    reward,
)
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_YEAR

SetPoints = tuple[float, float, float, float]
"""Supply air degC, air flow ratio, chilled water degC, tower fan ratio."""

_NOISE_TABLES = 32
"""Decisions until noise repeats."""


@dataclass(frozen=True)
class CrossEntropySettings:
    """How hard to search, and for what.

    Five sites with three modes each are 765 and then 605 plans at once, each through 8 steps of the
    plant: about 25 ms a decision on one core, so that five years take some seven minutes. More
    search gains little: eight times as much saves another 0.1 % of the cost.
    """

    decision_steps: int = 6
    """Steps of 5 minutes for which set points are held, 1 to 72."""
    horizon_steps: int = 12
    """Steps that a plan covers, `decision_steps` to 288; set points may change every
    `decision_steps`."""
    coarse_steps: int = 3
    """After the first set points steps are looked at so many at once, 1 to 12, in the weather and
    load of their middle."""
    heat_price_ratio: float = 0.1
    """What heat left in hall and chilled water at a plan's end is charged, in kWh of electricity a
    kWh, 0 to 1. Without it plans end warm, at the cost of those that follow: over days in five
    climates 0.1 costs less than 0, 0.05 and 0.2."""
    inlet_margin_k: float = 0.1
    """Plans keep hottest inlets this far within the recommended range, 0 to 5 K..."""
    outside_penalty_per_k: float = 1.0
    """... and are charged this for each kelvin and step outside, 0 or more, on top of the reward's
    own penalties, so that no saving is bought with excursions; 0 searches for the reward alone."""
    candidates: int = 40
    """Plans tried at once for each row and mode of the economiser, beside those of `fixed`, the
    kept elites and the mean; 4 or more."""
    elites: int = 8
    """Best plans that make the next distribution and are kept, 2 to `candidates`."""
    iterations: int = 2
    """Rounds of a decision, 1 to 50: the first tries all modes, the others the best of them."""
    first_iterations: int = 8
    """Rounds of an episode's first decision, which has no plan to begin with; 1 to 50."""
    deviation: float = 0.06
    """Standard deviation at first, as share of the actuators' ranges, above 0 to 1; an episode's
    first decision has three times that."""
    least_deviation: float = 0.01
    """Below which it is not let fall, 0 to 1."""
    fixed: tuple[SetPoints, ...] = (
        (20.0, 0.8, 10.0, 0.8),
        (23.0, 0.8, 12.0, 0.8),
        (23.0, 0.65, 14.0, 0.9),
    )
    """Set points that are tried unchanged in every decision and every mode; moved into the
    actuators' ranges. May be empty."""
    seed: int = 0
    """Of the noise, 0 or more."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            decision_steps=(1, 72),
            horizon_steps=(self.decision_steps, 288),
            coarse_steps=(1, 12),
            heat_price_ratio=(0.0, 1.0),
            inlet_margin_k=(0.0, 5.0),
            outside_penalty_per_k=(0.0, np.inf),
            candidates=(4, np.inf),
            elites=(2, self.candidates),
            iterations=(1, 50),
            first_iterations=(1, 50),
            deviation=(1e-6, 1.0),
            least_deviation=(0.0, 1.0),
            seed=(0, np.inf),
        )
        for name, value in vars(self).items():
            if type(getattr(CrossEntropySettings, name)) is int and not isinstance(value, int):
                raise TypeError(f"CrossEntropySettings.{name} must be whole, but is {value!r}")

    @property
    def stages(self) -> int:
        """Set points of a plan, one after the other."""
        return -(-self.horizon_steps // self.decision_steps)


class Foresight:
    """What plans will cost: the environments' own plant, weather, load, faults and reward ahead.

    The unit is that of `reward.RewardSettings`.
    """

    def __init__(self, envs: DataCenterEnvs, settings: CrossEntropySettings) -> None:
        self._design, self._outdoors = envs.design, envs.outdoors
        self._faults, self._reward = envs.config.faults, envs.config.reward
        self._settings = settings
        price = cost_per_kwh(self._reward)
        self._price = price / (envs.design.servers.rated_power_w * float(price.mean()))
        low, high = RECOMMENDED_DEGC
        self._within = (low + settings.inlet_margin_k, high - settings.inlet_margin_k)

    def cost(self, state: EnvironmentState, stages: Sequence[PlantActions]) -> Array:
        """(rows, candidates) from `state` of rows of environments on, the horizon's sum.

        Minus the rewards, what the settings charge on top, and the heat left at the end over that
        of 0 degC. stages: set points for `decision_steps` each, every entry (rows, candidates).
        """
        settings = self._settings
        rows, candidates = np.shape(stages[0].supply_air_degc)
        now = PlantState(
            *(np.repeat(state[f"plant_{name}"], candidates) for name in PlantState._fields)
        )
        total, ahead = np.zeros(rows * candidates), 0
        for number, actions in enumerate(stages):
            told = PlantActions(*(np.ravel(value) for value in actions))
            end = min((number + 1) * settings.decision_steps, settings.horizon_steps)
            while ahead < end:
                count = min(settings.coarse_steps, end - ahead) if number else 1
                now, cost = self._step(state, now, told, ahead, count)
                total += cost
                ahead += count
        heat_price = settings.heat_price_ratio / (STEP_S * self._design.servers.rated_power_w)
        total += heat_price * stored_heat_j(self._design, now)
        return total.reshape(rows, candidates)

    def _step(
        self, state: EnvironmentState, now: PlantState, told: PlantActions, ahead: int, count: int
    ) -> tuple[PlantState, Array]:
        """`count` steps at once, `ahead` of now; cost (rows * candidates,)."""
        candidates = len(now.hall_degc) // len(state["time"])
        middle = ahead + (count - 1) // 2
        time = np.repeat((state["time"] + middle) % STEPS_PER_YEAR, candidates)
        air = self._outdoors.air(np.repeat(state["weather"] * STEPS_PER_YEAR, candidates) + time)
        load = np.repeat(state["load"] * STEPS_PER_YEAR, candidates) + time
        faults = SOUND
        if self._faults:
            drawn = np.repeat(state["drawn"], candidates, axis=-1)
            severity = severities(self._faults, drawn, np.repeat(state["age"] + middle, candidates))
            faults = plant_faults(self._faults, drawn, severity)
            told = self._as_thermometers_have_it(told, severity)
        now, step = plant.step(
            self._design,
            now,
            told,
            air,
            self._outdoors.utilisation.take(load),
            faults,
            step_s=STEP_S * count,
        )
        price = self._price.take(time) if len(self._price) > 1 else self._price
        hottest = step.hottest_inlet_degc
        gained = reward(
            self._reward,
            step.facility.power_w * price,
            inlet_penalty(self._reward, excursions(hottest, self._reward.allowable_degc)),
            now.servers_off_ratio,
        )
        outside = self._settings.outside_penalty_per_k * outside_k(hottest, self._within)
        return now, count * (outside - gained)

    def _as_thermometers_have_it(self, told: PlantActions, severity: Array) -> PlantActions:
        """Local control holds what its thermometers read (`faults.Fault.sensor`)."""
        for name in ("supply_air_degc", "chilled_water_degc"):
            for fault, error_k in zip(self._faults, severity, strict=True):
                if fault.kind in SENSOR_KINDS and fault.sensor == name:
                    told = told._replace(**{name: getattr(told, name) - error_k})
        return told


class _Plans(NamedTuple):
    """Of some rows; set points from 0 to 1 of the actuators' ranges, stage by stage."""

    best: Array
    """(rows, modes, elites, set points), cheapest first."""
    mode: NDArray[np.int64]
    """(rows,) number of the mode whose first is the cheapest of all."""
    cost: Array
    """(rows,) of that one."""


class CrossEntropy:
    """Plans for rows of environments that it can look into; what it is shown it does not need.

    A decision is made in an episode's first step and every `decision_steps` after it, for all rows
    that are due in one batch. Weather, load and faults to come are foreseen as they will be.
    """

    def __init__(
        self,
        envs: DataCenterEnvs,
        rows: slice | Sequence[int] | None = None,
        settings: CrossEntropySettings = CrossEntropySettings(),
        name: str = "CEM",
    ) -> None:
        """envs: read before every decision, and never changed; where their actions are discrete,
        what is planned is not what nearest levels do.

        rows: which of them it controls, in the order of what it is shown; None is all. Raises
        ValueError for environments of another engine, which nobody can look into.
        """
        if envs.config.engine != "plant":
            raise ValueError(
                f"{name} plans with the plant's state, which engine {envs.config.engine!r} does "
                "not tell: use engine 'plant'"
            )
        self.settings, self.name = settings, name
        self._envs = envs
        indices = np.arange(envs.num_envs)
        self._rows = indices if rows is None else indices[rows]
        self._foresight = Foresight(envs, settings)
        ranges, start = envs.config.ranges, StartingActions()
        self._names = tuple(name for name in envs.actions.names if name != ECONOMISER)
        self._absent = {name: getattr(start, name) for name in PlantActions._fields[:-1]}
        limits = np.array([getattr(ranges, name) for name in self._names])
        self._low, self._span = limits[:, 0], limits[:, 1] - limits[:, 0]
        has_economiser = envs.design.has_economiser
        self._modes = np.array(list(EconomiserMode) if has_economiser else [EconomiserMode.OFF])
        columns = [PlantActions._fields.index(name) for name in self._names]
        fixed = np.array(settings.fixed, dtype=np.float64).reshape(-1, 4)[:, columns]
        fixed = np.clip((fixed - self._low) / self._span, 0.0, 1.0)
        self._fixed = np.tile(fixed, settings.stages)

        count, dimensions = len(self._rows), self._fixed.shape[1]
        rounds = max(settings.iterations, settings.first_iterations)
        most = settings.candidates * len(self._modes)
        generator = np.random.default_rng(settings.seed)
        self._noise = generator.standard_normal((_NOISE_TABLES, rounds, most, dimensions))
        self._decisions = np.zeros(count, np.int64)  # of the episode
        self._held = np.zeros(count, np.int64)  # steps that the last decision still stands
        self._elites = np.zeros((count, len(self._modes), settings.elites, dimensions))
        self._told = StartingActions().plant_actions(count)
        self.expected_cost = np.full(count, np.nan)
        """(rows,) of the last plans over their horizons, as `Foresight.cost` counts; NaN before."""

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Forget the plans of these rows."""
        self._decisions[rows] = 0
        self._held[rows] = 0

    def act(self, observed: Observed) -> PlantActions:
        """The first set points of the cheapest plans found. `observed` is not looked at."""
        due = self._held <= 0
        if due.any():
            state = select_rows(self._envs.state(), self._rows.tolist())
            for first in (True, False):
                chosen = np.flatnonzero(due & ((self._decisions == 0) == first))
                if chosen.size:
                    self._decide(select_rows(state, chosen.tolist()), chosen, first)
            self._held[due] = self.settings.decision_steps
            self._decisions[due] += 1
        self._held -= 1
        return PlantActions(*(np.array(value) for value in self._told))

    def _decide(self, state: EnvironmentState, rows: NDArray[np.int64], first: bool) -> None:
        plans = self._search(state, rows, first)
        self.expected_cost[rows] = plans.cost
        width = len(self._names)
        best = plans.best[np.arange(len(rows)), plans.mode, 0]
        told = self._plant_actions(best[:, :width], self._modes[plans.mode])
        for held, now in zip(self._told, told, strict=True):
            np.asarray(held)[rows] = now
        # The plans as the next decision finds them: their first stage is over, the last goes on.
        shifted = np.concatenate([plans.best[..., width:], plans.best[..., -width:]], axis=-1)
        self._elites[rows] = shifted

    def _search(self, state: EnvironmentState, rows: NDArray[np.int64], first: bool) -> _Plans:
        settings, modes = self.settings, len(self._modes)
        count, dimensions = len(rows), self._fixed.shape[1]
        table = self._noise[self._decisions[rows] % _NOISE_TABLES]
        # The first round: every mode with a distribution of its own.
        kept = np.empty((count, modes, 0, dimensions)) if first else self._elites[rows]
        mean = np.full((count, modes, dimensions), 0.5) if first else kept[:, :, 0]
        deviation = np.full(mean.shape, settings.deviation * (3.0 if first else 1.0))
        noise = table[:, 0, np.newaxis, : settings.candidates]
        sampled = mean[:, :, np.newaxis] + deviation[:, :, np.newaxis] * noise
        fixed = np.broadcast_to(self._fixed, (count, modes, *self._fixed.shape))
        tried = np.concatenate([fixed, kept, np.clip(sampled, 0.0, 1.0)], axis=2)
        each = tried.shape[2]
        cost = self._cost(
            state,
            tried.reshape(count, modes * each, dimensions),
            np.broadcast_to(np.repeat(self._modes, each), (count, modes * each)),
        ).reshape(count, modes, each)
        elites, elite_cost = _cheapest(tried, cost, settings.elites)

        # The other rounds: all candidates in the mode that is best so far.
        row = np.arange(count)
        rounds = settings.first_iterations if first else settings.iterations
        for number in range(1, rounds):
            mode = elite_cost[:, :, 0].argmin(axis=1)
            chosen, chosen_cost = elites[row, mode], elite_cost[row, mode]
            mean = chosen.mean(axis=1, keepdims=True)
            deviation = np.maximum(chosen.std(axis=1, keepdims=True), settings.least_deviation)
            sampled = np.clip(mean + deviation * table[:, number], 0.0, 1.0)
            tried = np.concatenate([mean, sampled], axis=1)
            wanted = np.broadcast_to(self._modes[mode, np.newaxis], tried.shape[:2])
            cost = self._cost(state, tried, wanted)
            elites[row, mode], elite_cost[row, mode] = _cheapest(
                np.concatenate([chosen, tried], axis=1),
                np.concatenate([chosen_cost, cost], axis=1),
                settings.elites,
            )
        mode = elite_cost[:, :, 0].argmin(axis=1)
        return _Plans(elites, mode, elite_cost[row, mode, 0])

    def _cost(self, state: EnvironmentState, plans: Array, mode: NDArray[np.int64]) -> Array:
        width = len(self._names)
        stages = [
            self._plant_actions(plans[..., width * stage : width * (stage + 1)], mode)
            for stage in range(self.settings.stages)
        ]
        return self._foresight.cost(state, stages)

    def _plant_actions(self, set_points: Array, mode: NDArray[np.int64]) -> PlantActions:
        """set_points: (..., actuators) from 0 to 1. mode: (...)."""
        values: dict[str, Array] = {
            name: np.full(mode.shape, value) for name, value in self._absent.items()
        }
        scaled = self._low + self._span * set_points
        for column, name in enumerate(self._names):
            values[name] = scaled[..., column]
        return PlantActions(**values, economiser=mode)


def _cheapest(plans: Array, cost: Array, count: int) -> tuple[Array, Array]:
    """The `count` cheapest of the last-but-one axis, in order; ties go to the first."""
    order = np.argsort(cost, axis=-1, kind="stable")[..., :count]
    chosen = np.take_along_axis(plans, order[..., np.newaxis], axis=-2)
    return chosen, np.take_along_axis(cost, order, axis=-1)
