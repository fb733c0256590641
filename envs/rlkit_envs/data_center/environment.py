"""`rlkit/DataCenterCooling-v0`, natively vectorised: sites as a batch of environments.

Everything is an array over environments. `episodes` draws what happens in which of them,
`site_engine` advances the sites, `single_environment` shows one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from rlkit_envs.data_center.actions import ContinuousActions, DiscreteActions
from rlkit_envs.data_center.configuration import DataCenterConfig, Outdoors
from rlkit_envs.data_center.elementwise import arrays_of, everywhere, numbers_if_alone
from rlkit_envs.data_center.episode_counts import EpisodeCounts, count_units
from rlkit_envs.data_center.episodes import STATE_ARRAYS, Episodes, keys_of_seeds
from rlkit_envs.data_center.faults import check_faults, plant_faults
from rlkit_envs.data_center.observation import ObservationModel
from rlkit_envs.data_center.plant import PlantLimits, PlantStep
from rlkit_envs.data_center.plant_state import SOUND, PlantActions, PlantFaults, PlantState
from rlkit_envs.data_center.psychrometrics import Array, dew_point_degc
from rlkit_envs.data_center.reward import cost_per_kwh, excursions, inlet_penalty, reward
from rlkit_envs.data_center.sensors import Reading, Sensor
from rlkit_envs.data_center.servers import operate_servers
from rlkit_envs.data_center.site_engine import Beginnings, PlantEngine, SiteEngine
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_YEAR

StepResult: TypeAlias = tuple[
    NDArray[np.float32],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.bool_],
    dict[str, Any],
]
EnvironmentState: TypeAlias = dict[str, NDArray[Any]]
"""Name -> array whose last axis is the environments', but for `shared`."""

_KWH = STEP_S / 3.6e6


class DataCenterEnvs(VectorEnv):
    """`num_envs` copies of a site, stepped together, five minutes a step.

    Observations: (num_envs, sensors) float32 about in [-1, 1]; `sensors` lists names, meanings and
    the ranges that -1 and 1 stand for. Readings end at 3 times that range.
    Actions: (num_envs, actuators) from -1 to 1, or with `discrete` (num_envs,) integers; `actions`
    maps them. Actions out of range, or NaN, raise ValueError.
    Rewards: (num_envs,) float64, by `reward.RewardSettings`: minus the facility's energy cost, less
    penalties for hottest inlets outside ASHRAE's ranges.
    Episodes are truncated after `episode_days` and never terminate. NEXT_STEP autoreset: the step
    after an end ignores its action, has reward 0, and shows the first observation of the next.

    `info` holds, as name -> (num_envs,): `quantities`, what sensors would show if they were
    perfect, and what none shows; `faults`, the severity of each now (a sensor's error in kelvin),
    and `fault_onset_step`, -1 where the episode has it not; `weather` and `load`, indices into
    `weather_names` and `load_names`; `time_step` of the year; `sensors_off_scale`, how many. After
    a step also `actions`, as the plant was told; `limits` of equipment that the step ran into;
    `cost` of the step; and `episode_counts`, meaningful up to the end of an episode, with units in
    `metadata["episode_counts"]`. In reset steps these four are without meaning.

    Keyword arguments are the fields of `DataCenterConfig`. With `engine="energyplus"` all this is
    the same, but `state` and `set_state` raise NotImplementedError, and any reset or step may raise
    EnergyPlusError, which tells which environments' process failed and what it logged; only a reset
    of all goes on then. `close` ends the processes.
    """

    def __init__(
        self,
        num_envs: SupportsIndex = 1,
        *,
        config: DataCenterConfig | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """config: everything at once; settings replace fields of it, or of the default.

        Raises ValueError or TypeError, naming the value, for settings that do not fit.
        """
        num_envs = _checked_number(num_envs)
        if render_mode is not None:
            raise ValueError(
                f"render_mode must be None: nothing is drawn here, got {render_mode!r}"
            )
        self.config = replace(config or DataCenterConfig(), **settings)
        self.design = design = self.config.design()
        self.num_envs = num_envs
        self.actions = (
            DiscreteActions(design, self.config.levels)
            if self.config.discrete
            else ContinuousActions(design, self.config.ranges)
        )
        weathers, loads = self.config.weathers(), self.config.loads()
        self.weather_names = tuple(weather.name for weather in weathers)
        self.load_names = self.config.load_names()
        self.outdoors = Outdoors(weathers, loads)
        self._cost_per_kwh = cost_per_kwh(self.config.reward)
        self._model = ObservationModel(
            design, self.config.sensors, self.config.faults, self._cost_per_kwh
        )
        check_faults(self.config.faults, design, [s.name for s in self._model.instruments])
        self.single_observation_space = self._model.space
        self.single_action_space = self.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {
            "autoreset_mode": AutoresetMode.NEXT_STEP,
            "partial_resets": True,
            "render_modes": [],
            "episode_counts": count_units(self.actions.names),
            "saves_state": self.config.engine == "plant",
        }
        self._episodes = Episodes(self.config, num_envs, weathers=len(weathers), loads=len(loads))
        self.episode_steps = self._episodes.steps
        rated_w = design.servers.rated_power_w
        self._cost_unit_w = rated_w * float(self._cost_per_kwh.mean())
        self._reference_w: Array | None = None
        if self.config.reward.relative_to_load:
            cool = operate_servers(
                design.servers, self.outdoors.utilisation, 20.0, 0.006, 101_325.0
            )
            self._reference_w = cool.power_w

        rows = len(self._model.instruments)
        self._measured = np.zeros((len(self._model.measured_names), num_envs))
        self._history = np.zeros((self._model.delay_steps + 1, rows, num_envs))
        self._counts = EpisodeCounts(num_envs, self.actions.names)
        self._air = self.outdoors.air(self._episodes.time)
        self._engine: SiteEngine
        if self.config.engine == "plant":
            self._engine = PlantEngine(design, self.outdoors, num_envs)
        else:
            # Only now, so that the plant's users wait for no second engine.
            from rlkit_envs.data_center.energyplus.sites import EnergyPlusSites

            self._engine = EnergyPlusSites(
                design, weathers, self.outdoors, num_envs, self.episode_steps
            )
        self._ended: NDArray[np.bool_] | None = None  # by the step before; None until reset
        self._step: PlantStep | None = None

    @property
    def plant_step(self) -> PlantStep | None:
        """The last step in all detail; None before the first."""
        return None if self._step is None else arrays_of(self._step, self.num_envs)

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """What the observation holds, in its order."""
        return self._model.sensors

    def readings(self, observations: NDArray[np.floating]) -> dict[str, Array]:
        """Name of each sensor -> (rows,) in its unit: what observations (rows, sensors) mean.

        Noise, delay and broken sensors stay in them. Raises ValueError for another shape.
        """
        return self._model.readings(observations)

    def reset(
        self, *, seed: int | ArrayLike | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a new episode everywhere, or where a mask says.

        seed: an int of 0 or more gives environments seeds of their own; (num_envs,) integers are
        those of environments by themselves: row i is the single environment of seed i. None goes on
        with the random numbers as they are. options: `{"reset_mask": mask}`, (num_envs,) bool,
        without a seed, leaves the others where they are, showing their last observation again.
        Raises ValueError for other options and seeds, ResetNeeded for a mask before any reset.
        """
        if options:
            mask = self._reset_mask(options, seed)
        else:
            mask = np.ones(self.num_envs, bool)
            self._seed(seed)
        before, self._ended = self._ended, None
        self._begin(mask)
        self._ended = np.zeros(self.num_envs, bool) if before is None else before & ~mask
        observations, off_scale = self._observe()
        return observations, self._lasting_info(off_scale, self._episodes.severities())

    def step(self, actions: NDArray[Any]) -> StepResult:
        """Run the site for five minutes everywhere.

        Raises ResetNeeded before the first reset, ValueError for actions that are none.
        """
        if self._ended is None:
            raise ResetNeeded("call reset() before the first step")
        restarts = self._ended
        restarting = bool(restarts.any())
        actions = np.asarray(actions)
        if actions.shape[:1] != (self.num_envs,):
            raise ValueError(
                f"actions have shape {actions.shape}: there are {self.num_envs} environments"
            )
        told = self.actions.to_plant(actions, ~restarts if restarting else None)
        episodes = self._episodes
        severity = episodes.severities()
        load_index = episodes.load_start + episodes.time
        utilisation = self.outdoors.utilisation.take(load_index)
        self._ended = None  # so that only a reset helps, should the engine fail
        controlled, broken = self._controlled(told, severity), self._plant_faults(severity)
        settings = self.config.reward
        withstood = None
        if settings.withstood_rise > 0.0:
            rise = settings.withstood_rise * self.outdoors.sharpest_rise.take(load_index)
            withstood = self._engine.hottest_inlet_degc(
                controlled, self._air, np.minimum(utilisation + rise, 1.0), broken
            )
        step = self._engine.step(controlled, self._air, utilisation, broken, restarts)
        self._step = step
        self._check_finite(step.facility.power_w)
        pressure = numbers_if_alone(self._air).pressure_pa
        dew_point = dew_point_degc(step.moisture.humidity_ratio, pressure)
        reading = Reading(step, utilisation, dew_point, told.economiser)
        changed = self._model.economiser_changed(self._measured, reading)
        self._measured = self._model.measure(reading)
        price = self._cost_per_kwh
        price = price.take(episodes.time) if len(price) > 1 else price
        outside = excursions(step.hottest_inlet_degc, settings.allowable_degc)
        penalty = inlet_penalty(settings, outside)
        if withstood is not None:
            risen = excursions(withstood, settings.allowable_degc)
            penalty = np.maximum(penalty, inlet_penalty(settings, risen))
        charged_w = step.facility.power_w
        cost = charged_w * (price * _KWH)
        if self._reference_w is not None:
            charged_w = charged_w - self._reference_w.take(load_index)
        rewards = reward(
            settings,
            charged_w * (price / self._cost_unit_w),
            penalty,
            self._engine.servers_off_ratio,
            changed,
        )
        set_to = [getattr(told, name) for name in self.actions.names]
        self._counts.add(step, cost, outside, dew_point, set_to)
        totals = self._counts.totals()

        truncated = episodes.advance()
        self._look_outside(severity)
        if restarting:
            self._begin(restarts)
            rewards[restarts] = 0.0
            truncated &= ~restarts
            severity = episodes.severities()
        self._ended = truncated
        observations, off_scale = self._observe()
        info = self._lasting_info(off_scale, severity)
        info["actions"] = dict(zip(self.actions.names, set_to, strict=True))
        info["limits"] = _rows_of(step.limits, self.num_envs)
        info["cost"] = cost
        info["episode_counts"] = totals
        return observations, rewards, np.zeros(self.num_envs, bool), truncated.copy(), info

    def state(self) -> EnvironmentState:
        """All that decides how things go on, to `set_state` here or in a batch made alike.

        Arrays are copies, their last axis is the environments': `select_rows` picks some of them.
        """
        if self._ended is None:
            raise ResetNeeded("call reset() before asking for a state")
        return self._state()

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Go on from `state`, exactly; returns the observation that belongs to it.

        Raises ValueError, before anything has changed, for a state of another kind of batch.
        """
        expected = self._state()
        if set(state) != set(expected):
            odd = sorted(set(state) ^ set(expected))
            raise ValueError(f"this is no state of such environments: {', '.join(odd)}")
        for name, value in expected.items():
            given = np.asarray(state[name])
            if given.shape != value.shape or given.dtype != value.dtype:
                raise ValueError(
                    f"{name} of the state is {given.dtype} of shape {given.shape}, "
                    f"but these environments have {value.dtype} of shape {value.shape}"
                )
        for name in STATE_ARRAYS:
            setattr(self._episodes, name, np.array(state[name]))
        self._episodes.seeded = True
        self._episodes.find_years()
        self._measured, self._history = np.array(state["measured"]), np.array(state["history"])
        self._ended = np.array(state["ended"])
        plant = (np.array(state[f"plant_{name}"]) for name in PlantState._fields)
        self._engine.set_state(PlantState(*plant))
        for name in _COUNTS_ARRAYS:
            setattr(self._counts, name, np.array(state[f"counts_{name}"]))
        self._counts.cursor = int(state["shared"][0])
        self._air = self.outdoors.air(self._episodes.weather_start + self._episodes.time)
        return self._observe()[0]

    def close_extras(self, **_: Any) -> None:
        """End what the engine runs; called by `close`."""
        self._engine.close()

    def _state(self) -> EnvironmentState:
        plant, episodes, counts = self._engine.state(), self._episodes, self._counts
        state = {name: getattr(episodes, name).copy() for name in STATE_ARRAYS}
        state |= {"measured": self._measured.copy(), "history": self._history.copy()}
        ended = self._ended
        state["ended"] = np.zeros(self.num_envs, bool) if ended is None else ended.copy()
        state |= {f"plant_{name}": value for name, value in plant._asdict().items()}
        state |= {f"counts_{name}": getattr(counts, name).copy() for name in _COUNTS_ARRAYS}
        state["shared"] = np.array([counts.cursor])
        return state

    def _seed(self, seed: int | ArrayLike | None) -> None:
        if seed is not None:
            keys = keys_of_seeds(seed, self.num_envs)
            super().reset(seed=int(np.asarray(seed).flat[0]))
            self._episodes.start_over(keys)
            return
        super().reset(seed=None)
        if not self._episodes.seeded:
            keys = self.np_random.integers(2**63, size=self.num_envs)
            self._episodes.start_over(keys.astype(np.uint64))

    def _reset_mask(self, options: dict[str, Any], seed: Any) -> NDArray[np.bool_]:
        mask = options.get("reset_mask")
        if set(options) != {"reset_mask"} or not isinstance(mask, np.ndarray):
            raise ValueError(f"the only reset option is an array reset_mask, got {options!r}")
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"reset_mask must be bool of shape ({self.num_envs},), somewhere True, not {mask!r}"
            )
        if seed is not None:
            raise ValueError(f"a seed starts all environments; with a reset_mask got seed {seed!r}")
        if self._ended is None:
            raise ResetNeeded("reset all environments before some of them")
        return mask

    def _begin(self, starts: NDArray[np.bool_]) -> None:
        """Draw an episode where `starts` says so, and bring its plant to work."""
        (rows,) = np.nonzero(starts)
        episodes = self._episodes
        episodes.draw(rows)
        self._counts.clear(starts)
        time = episodes.time[rows]
        told = self.config.start.plant_actions(len(rows))
        step = self._engine.begin(
            Beginnings(rows, time, episodes.weather[rows], episodes.load[rows], told)
        )
        before = (time - 1) % STEPS_PER_YEAR
        utilisation = self.outdoors.utilisation.take(episodes.load_start[rows] + before)
        air = self.outdoors.air(episodes.weather_start[rows] + before)
        dew_point = dew_point_degc(step.moisture.humidity_ratio, air.pressure_pa)
        reading = Reading(step, utilisation, dew_point, told.economiser)
        self._measured[:, rows] = self._model.measure(reading)
        self._air = self.outdoors.air(episodes.weather_start + episodes.time)
        self._model.look_outside(self._measured, self._air.dry_bulb_degc, self._air.wet_bulb_degc)
        self._history[:, :, rows] = self._measured[: self._history.shape[1], rows]

    def _controlled(self, told: PlantActions, severity: Array | None) -> PlantActions:
        """Local control holds what its own thermometers read, which may be wrong."""
        if severity is None:
            return told
        error = self._model.sensor_error_k
        return told._replace(
            supply_air_degc=told.supply_air_degc - error("supply_air_degc", severity),
            chilled_water_degc=told.chilled_water_degc - error("chilled_water_degc", severity),
        )

    def _plant_faults(self, severity: Array | None) -> PlantFaults:
        if severity is None:
            return SOUND
        return plant_faults(self.config.faults, self._episodes.drawn, severity)

    def _look_outside(self, severity: Array | None) -> None:
        episodes = self._episodes
        self._air = self.outdoors.air(episodes.weather_start + episodes.time)
        self._model.look_outside(self._measured, self._air.dry_bulb_degc, self._air.wet_bulb_degc)
        self._history[:-1] = self._history[1:]
        self._history[-1] = self._model.indicated(self._measured, severity)

    def _observe(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        episodes = self._episodes
        return self._model.observe(
            self._history[0],
            self.outdoors,
            episodes.time,
            episodes.weather_start,
            episodes.load_start,
            episodes.age,
            episodes.noise_keys,
        )

    def _lasting_info(self, off_scale: NDArray[np.int64], severity: Array | None) -> dict[str, Any]:
        labels = [fault.label for fault in self.config.faults]
        faults = {} if severity is None else dict(zip(labels, severity, strict=True))
        episodes = self._episodes
        has = episodes.drawn[0] != 0.0
        onsets = np.where(has, episodes.drawn[1], -1.0).astype(np.int64)
        return {
            "quantities": dict(zip(self._model.measured_names, self._measured.copy(), strict=True)),
            "faults": faults,
            "fault_onset_step": dict(zip(labels, onsets, strict=True)),
            "weather": episodes.weather.copy(),
            "load": episodes.load.copy(),
            "time_step": episodes.time.copy(),
            "sensors_off_scale": off_scale,
        }

    def _check_finite(self, power_w: Array) -> None:
        finite = np.isfinite(power_w)
        if not everywhere(finite):
            env = int(np.flatnonzero(~finite)[0])
            raise FloatingPointError(
                f"the plant of environment {env} has a facility power of "
                f"{np.atleast_1d(power_w)[env]} in step "
                f"{self._episodes.time[env]} of its year: its design has no answer to its actions"
            )


def _checked_number(num_envs: SupportsIndex) -> int:
    """Any kind of whole number from 1 on; a truth value is none."""
    whole = isinstance(num_envs, SupportsIndex) and not isinstance(num_envs, bool | np.bool_)
    if not whole or index(num_envs) < 1:
        raise ValueError(f"num_envs must be 1 or more, not {num_envs!r}")
    return index(num_envs)


def _rows_of(limits: PlantLimits, num_envs: int) -> dict[str, NDArray[np.bool_]]:
    """Name of each limit -> (num_envs,)."""
    rows = np.empty((len(limits), num_envs), np.bool_)
    for row, hit in zip(rows, limits, strict=True):
        row[:] = hit
    return dict(zip(limits._fields, rows, strict=True))


_COUNTS_ARRAYS = ("sums", "hottest_degc", "inlets_degc", "settings")


def select_rows(state: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> EnvironmentState:
    """The state of these environments, repeated as often as they are named.

    For `set_state` of a batch of len(rows): candidates that all start where one environment is.
    """
    which = np.asarray(rows, dtype=np.int64)
    return {
        name: value.copy() if name == "shared" else value[..., which].copy()
        for name, value in state.items()
    }
