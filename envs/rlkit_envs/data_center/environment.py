"""`rlkit/DataCenterCooling-v0`, natively vectorised: the plant as a batch of environments.

Everything is an array over environments. What an episode draws follows from its environment's seed
and its number alone, so that rows never touch each other. `single_environment` shows one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from rlkit_envs.data_center import plant
from rlkit_envs.data_center.actions import ContinuousActions, DiscreteActions
from rlkit_envs.data_center.configuration import DataCenterConfig, Outdoors
from rlkit_envs.data_center.episode_counts import EpisodeCounts, count_units
from rlkit_envs.data_center.faults import check_faults, draw_faults, plant_faults, severities
from rlkit_envs.data_center.observation import ObservationModel
from rlkit_envs.data_center.plant_state import SOUND, OutdoorAir, PlantActions, PlantState
from rlkit_envs.data_center.psychrometrics import Array, dew_point_degc
from rlkit_envs.data_center.reward import cost_per_kwh, excursions, reward
from rlkit_envs.data_center.sensors import Reading, Sensor
from rlkit_envs.data_center.servers import operate_servers
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_DAY, STEPS_PER_YEAR

StepResult: TypeAlias = tuple[
    NDArray[np.float32],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.bool_],
    dict[str, Any],
]
EnvironmentState: TypeAlias = dict[str, NDArray[Any]]
"""Name -> array whose last axis is the environments', but for `shared`."""

_WARM_UP_STEPS = 24
"""Steps at the starting actions before an episode, so that it begins with a plant at work."""
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

    Keyword arguments are the fields of `DataCenterConfig`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        config: DataCenterConfig | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """config: everything at once; settings replace fields of it, or of the default.

        Raises ValueError or TypeError, naming the value, for settings that do not fit.
        """
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs must be 1 or more, not {num_envs!r}")
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
        }
        self.episode_steps = self.config.episode_days * STEPS_PER_DAY
        rated_w = design.servers.rated_power_w
        self._cost_unit_w = rated_w * float(self._cost_per_kwh.mean())
        self._reference_w: Array | None = None
        if self.config.reward.relative_to_load:
            cool = operate_servers(
                design.servers, self.outdoors.utilisation, 20.0, 0.006, 101_325.0
            )
            self._reference_w = cool.power_w

        rows = len(self._model.instruments)
        self._plant = plant.initial_state(design, num_envs)
        self._time = np.zeros(num_envs, np.int64)  # of the year, of the step to come
        self._age = np.zeros(num_envs, np.int64)  # steps of the episode that are done
        self._episode = np.zeros(num_envs, np.int64)
        self._keys = np.zeros(num_envs, np.uint64)
        self._noise_keys = np.zeros(num_envs, np.uint64)
        self._weather = np.zeros(num_envs, np.int64)
        self._load = np.zeros(num_envs, np.int64)
        self._weather_start = np.zeros(num_envs, np.int64)
        self._load_start = np.zeros(num_envs, np.int64)
        self._drawn = np.zeros((4, len(self.config.faults), num_envs))
        self._measured = np.zeros((len(self._model.measured_names), num_envs))
        self._history = np.zeros((self._model.delay_steps + 1, rows, num_envs))
        self._counts = EpisodeCounts(num_envs, self.actions.names)
        self._air = self.outdoors.air(self._time)
        self._ended: NDArray[np.bool_] | None = None  # by the step before; None until reset
        self.plant_step: plant.PlantStep | None = None
        """The last step in all detail; None before the first."""

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
        self._begin(mask)
        self._ended = np.zeros(self.num_envs, bool) if self._ended is None else self._ended & ~mask
        observations, off_scale = self._observe()
        return observations, self._lasting_info(off_scale, self._severities())

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
        severity = self._severities()
        load_index = self._load_start + self._time
        utilisation = self.outdoors.utilisation.take(load_index)
        self._plant, step = plant.step(
            self.design,
            self._plant,
            self._controlled(told, severity),
            self._air,
            utilisation,
            SOUND if severity is None else plant_faults(self.config.faults, self._drawn, severity),
        )
        self.plant_step = step
        self._check_finite(step.facility.power_w)
        dew_point = dew_point_degc(self._plant.hall_humidity_ratio, self._air.pressure_pa)
        self._measured = self._model.measure(Reading(step, utilisation, dew_point))
        price = self._cost_per_kwh
        price = price.take(self._time) if len(price) > 1 else price
        outside = excursions(step.hottest_inlet_degc, self.config.reward.allowable_degc)
        charged_w = step.facility.power_w
        cost = charged_w * (price * _KWH)
        if self._reference_w is not None:
            charged_w = charged_w - self._reference_w.take(load_index)
        rewards = reward(
            self.config.reward,
            charged_w * (price / self._cost_unit_w),
            outside,
            self._plant.servers_off_ratio,
        )
        settings = [getattr(told, name) for name in self.actions.names]
        self._counts.add(step, cost, outside, dew_point, settings)
        totals = self._counts.totals()

        self._time = (self._time + 1) % STEPS_PER_YEAR
        self._age += 1
        truncated = self._age >= self.episode_steps
        self._look_outside(severity)
        if restarting:
            self._begin(restarts)
            rewards[restarts] = 0.0
            truncated &= ~restarts
            severity = self._severities()
        self._ended = truncated
        observations, off_scale = self._observe()
        info = self._lasting_info(off_scale, severity)
        info["actions"] = dict(zip(self.actions.names, settings, strict=True))
        info["limits"] = step.limits._asdict()
        info["cost"] = cost
        info["episode_counts"] = totals
        return observations, rewards, np.zeros(self.num_envs, bool), truncated.copy(), info

    def state(self) -> EnvironmentState:
        """All that decides how things go on, to `set_state` here or in a batch made alike.

        Arrays are copies, their last axis is the environments': `select_rows` picks some of them.
        """
        if self._ended is None:
            raise ResetNeeded("call reset() before asking for a state")
        state = {name: getattr(self, f"_{name}").copy() for name in _STATE_ARRAYS}
        state |= {f"plant_{name}": value.copy() for name, value in self._plant._asdict().items()}
        counts = self._counts
        state |= {f"counts_{name}": getattr(counts, name).copy() for name in _COUNTS_ARRAYS}
        state["shared"] = np.array([counts.cursor])
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Go on from `state`, exactly; returns the observation that belongs to it.

        Raises ValueError, before anything has changed, for a state of another kind of batch.
        """
        ended, self._ended = self._ended, np.zeros(self.num_envs, bool)
        expected = self.state()
        self._ended = ended
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
        for name in _STATE_ARRAYS:
            setattr(self, f"_{name}", np.array(state[name]))
        self._plant = PlantState(*(np.array(state[f"plant_{n}"]) for n in PlantState._fields))
        for name in _COUNTS_ARRAYS:
            setattr(self._counts, name, np.array(state[f"counts_{name}"]))
        self._counts.cursor = int(state["shared"][0])
        self._find_years()
        self._air = self.outdoors.air(self._weather_start + self._time)
        return self._observe()[0]

    def _seed(self, seed: int | ArrayLike | None) -> None:
        if seed is None:
            super().reset(seed=None)
            if self._ended is None:
                self._keys = self.np_random.integers(2**63, size=self.num_envs).astype(np.uint64)
                self._episode[:] = -1
            return
        own = np.asarray(seed)
        wanted = () if own.ndim == 0 else (self.num_envs,)
        if own.dtype.kind not in "iu" or own.shape != wanted or (own < 0).any():
            raise ValueError(
                f"seed must be an int of 0 or more, or {self.num_envs} of them, not {seed!r}"
            )
        super().reset(seed=int(own.flat[0]))
        pairs = (
            [(int(s), 0) for s in own]
            if own.ndim
            else [(int(own), i) for i in range(self.num_envs)]
        )
        sequences = [np.random.SeedSequence(s, spawn_key=(i,)) for s, i in pairs]
        self._keys = np.array([s.generate_state(1, np.uint64)[0] for s in sequences])
        self._episode[:] = -1

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
        self._episode[rows] += 1
        for row in rows.tolist():
            self._draw(row)
        self._find_years()
        self._age[rows] = 0
        self._counts.clear(starts)
        start = self.config.start
        state = plant.initial_state(
            self.design,
            len(rows),
            supply_air_degc=start.supply_air_degc,
            hall_degc=start.supply_air_degc + 10.0,
            chilled_water_degc=start.chilled_water_degc,
        )
        told = start.plant_actions(len(rows))
        weather, load = self._weather_start[rows], self._load_start[rows]

        def run(
            state: PlantState, ahead: int
        ) -> tuple[PlantState, plant.PlantStep, OutdoorAir, Array]:
            time = (self._time[rows] + ahead) % STEPS_PER_YEAR
            air, utilisation = self.outdoors.air(weather + time), self.outdoors.utilisation
            utilisation = utilisation.take(load + time)
            return *plant.step(self.design, state, told, air, utilisation), air, utilisation

        for ahead in range(-_WARM_UP_STEPS, -1):
            state, *_ = run(state, ahead)
        state, step, air, utilisation = run(state, -1)
        dew_point = dew_point_degc(state.hall_humidity_ratio, air.pressure_pa)
        for now, begun in zip(self._plant, state, strict=True):
            now[rows] = begun
        self._measured[:, rows] = self._model.measure(Reading(step, utilisation, dew_point))
        self._air = self.outdoors.air(self._weather_start + self._time)
        self._model.look_outside(self._measured, self._air.dry_bulb_degc, self._air.wet_bulb_degc)
        self._history[:, :, rows] = self._measured[: self._history.shape[1], rows]

    def _draw(self, row: int) -> None:
        """The next episode of one environment, from its key and the episode's number alone."""
        sequence = np.random.SeedSequence(
            int(self._keys[row]), spawn_key=(int(self._episode[row]),)
        )
        generator = np.random.default_rng(sequence)
        self._noise_keys[row] = generator.integers(2**64 - 1, dtype=np.uint64)
        weathers, loads = len(self.weather_names), len(self.load_names)
        pair = generator.integers(weathers * loads)
        if self.config.pairing == "in_turn":
            pair = row % (weathers * loads)
        self._weather[row], self._load[row] = divmod(int(pair), loads)
        time = generator.integers(STEPS_PER_YEAR)
        if self.config.start_day is not None:
            time = round(self.config.start_day * STEPS_PER_DAY) % STEPS_PER_YEAR
        elif self.episode_steps == STEPS_PER_YEAR:
            time = 0
        self._time[row] = time
        self._drawn[:, :, row] = draw_faults(self.config.faults, generator)

    def _find_years(self) -> None:
        self._weather_start = self._weather * STEPS_PER_YEAR
        self._load_start = self._load * STEPS_PER_YEAR

    def _severities(self) -> Array | None:
        if not self.config.faults:
            return None
        return severities(self.config.faults, self._drawn, self._age)

    def _controlled(self, told: PlantActions, severity: Array | None) -> PlantActions:
        """Local control holds what its own thermometers read, which may be wrong."""
        if severity is None:
            return told
        error = self._model.sensor_error_k
        return told._replace(
            supply_air_degc=told.supply_air_degc - error("supply_air_degc", severity),
            chilled_water_degc=told.chilled_water_degc - error("chilled_water_degc", severity),
        )

    def _look_outside(self, severity: Array | None) -> None:
        self._air: OutdoorAir = self.outdoors.air(self._weather_start + self._time)
        self._model.look_outside(self._measured, self._air.dry_bulb_degc, self._air.wet_bulb_degc)
        self._history[:-1] = self._history[1:]
        self._history[-1] = self._model.indicated(self._measured, severity)

    def _observe(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self._model.observe(
            self._history[0],
            self.outdoors,
            self._time,
            self._weather_start,
            self._age,
            self._noise_keys,
        )

    def _lasting_info(self, off_scale: NDArray[np.int64], severity: Array | None) -> dict[str, Any]:
        labels = [fault.label for fault in self.config.faults]
        faults = {} if severity is None else dict(zip(labels, severity, strict=True))
        has = self._drawn[0] != 0.0
        onsets = np.where(has, self._drawn[1], -1.0).astype(np.int64)
        return {
            "quantities": dict(zip(self._model.measured_names, self._measured.copy(), strict=True)),
            "faults": faults,
            "fault_onset_step": dict(zip(labels, onsets, strict=True)),
            "weather": self._weather.copy(),
            "load": self._load.copy(),
            "time_step": self._time.copy(),
            "sensors_off_scale": off_scale,
        }

    def _check_finite(self, power_w: Array) -> None:
        if not np.isfinite(power_w).all():
            env = int(np.flatnonzero(~np.isfinite(power_w))[0])
            raise FloatingPointError(
                f"the plant of environment {env} has a facility power of {power_w[env]} in step "
                f"{self._time[env]} of its year: its design has no answer to what it was told"
            )


_STATE_ARRAYS = (
    "time",
    "age",
    "episode",
    "keys",
    "noise_keys",
    "weather",
    "load",
    "drawn",
    "measured",
    "history",
    "ended",
)
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
