"""EnergyPlus behind few calls: reset, step, close, and readings as a plant's sensors give them.

Every episode runs in a process of its own (`worker.py`): EnergyPlus keeps global state, crashes
when it is reset, and may end the process. Timing is EnergyPlus's: servers feel the supply and hall
air of the step before, since internal gains precede the air loop; all else answers in the step.
Recirculation, transformer and servers that heat switches off are by our own equations.
"""

import importlib.util
import json
import math
import shutil
import struct
import tempfile
import weakref
from pathlib import Path

import numpy as np

from rlkit_envs.data_center.airflow import distribute_air, inlet
from rlkit_envs.data_center.condenser_loop import forecast_condenser
from rlkit_envs.data_center.cooling_tower import tower_state
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.economisers import EconomiserMode
from rlkit_envs.data_center.energyplus import worker
from rlkit_envs.data_center.energyplus.hall_model import (
    RECIRCULATION_SCALE,
    WATER_DENSITY_AT_LOOP_START_KG_M3,
    standard_density_kg_m3,
)
from rlkit_envs.data_center.energyplus.model import ENERGYPLUS_VERSION, SCHEDULES, build_model
from rlkit_envs.data_center.energyplus.process import WorkerFailed, WorkerProcess
from rlkit_envs.data_center.energyplus.representation import represented_plant
from rlkit_envs.data_center.energyplus.signals import (
    HUMIDIFIER_VARIABLES,
    VARIABLES,
    EnergyPlusActions,
    EnergyPlusReadings,
)
from rlkit_envs.data_center.energyplus.weather_file import write_epw
from rlkit_envs.data_center.power_chain import operate_transformer
from rlkit_envs.data_center.psychrometrics import (
    WATER_DENSITY_KG_M3,
    Array,
    humidity_ratio_from_dew_point,
    relative_humidity,
)
from rlkit_envs.data_center.servers import air_flow_ratio, servers_off_ratio
from rlkit_envs.data_center.weather import STEP_S, STEPS_PER_DAY, STEPS_PER_YEAR, Weather

_TERMINAL = "AirTerminal:SingleDuct:ConstantVolume:NoReheat"
_ACTUATORS = (
    *(("Schedule:Constant", "Schedule Value", name) for name in SCHEDULES),
    (_TERMINAL, "Mass Flow Rate", "terminal"),
    ("Curve", "Curve Result", "recirculation"),
    ("Weather Data", "Outdoor Dry Bulb", "Environment"),
    ("Weather Data", "Outdoor Relative Humidity", "Environment"),
)
"""Component, control and name of all that a step sets."""
_CHILLER_OFF_DEGC = 60.0
"""Set point that switches the chiller off: actuators for that have no effect on chillers that run
to a set point of their own."""
_INTERLOCK_K = 0.2
"""Chilled water must return this much warmer than the tower's water for an exchanger to open."""
_LONGEST_ANSWER_S = 300.0
_LINES_OF_LOG = 12


class EnergyPlusError(RuntimeError):
    """EnergyPlus could not start, refused the model, or ended before its time."""


def check_package() -> None:
    """Raises ImportError, with what to install, where EnergyPlus's package is missing."""
    if importlib.util.find_spec("pyenergyplus") is None:
        raise ImportError(
            "the EnergyPlus engine needs the package pyenergyplus-lbnl: "
            "pip install 'rlkit[energyplus]'"
        )


class EnergyPlusEngine:
    """One data centre in EnergyPlus, five minutes a step.

    weather: the year outdoors; entry i of it holds throughout step i of the year. output_folder:
    where input, weather and logs of the last episode stay; by default they are removed.

    Raises ImportError where the package is missing, EnergyPlusError where it is of another version,
    refuses the model, ends early, or does not answer within `longest_answer_s`.
    """

    def __init__(
        self,
        design: DataCenterDesign,
        weather: Weather,
        *,
        output_folder: str | Path | None = None,
        longest_answer_s: float = _LONGEST_ANSWER_S,
    ) -> None:
        check_package()
        self.design, self.weather = design, weather
        self._plant, _ = represented_plant(design)
        self.longest_answer_s = longest_answer_s
        self._rated_kg_s = design.fan.rated_flow_m3_s * standard_density_kg_m3(weather.elevation_m)
        self._humidity_percent = 100.0 * relative_humidity(
            weather.dry_bulb_degc, weather.humidity_ratio, weather.pressure_pa
        )
        self._least_humidity_ratio = humidity_ratio_from_dew_point(
            design.humidity.minimum_dew_point_degc, weather.pressure_pa
        )
        self._variables = dict(VARIABLES)
        if design.humidity.humidifier_kg_s > 0.0:
            self._variables |= HUMIDIFIER_VARIABLES
        self._format = struct.Struct(f"<{len(self._variables)}d")
        self._remove_folder: weakref.finalize | None = None
        if output_folder is None:
            output_folder = tempfile.mkdtemp(prefix="rlkit-energyplus-")
            self._remove_folder = weakref.finalize(self, shutil.rmtree, output_folder, True)
        self._folder = Path(output_folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._shift_steps: int | None = None  # of the weather file, once there is one
        self._process: WorkerProcess | None = None
        self._step = self._last_step = 0
        self._server_kg_s = self._off_ratio = 0.0
        self._last: EnergyPlusReadings | None = None
        self._greeted = False

    def reset(
        self,
        *,
        first_day: float = 0,
        days: int = 7,
        actions: EnergyPlusActions | None = None,
        utilisation: float = 0.5,
    ) -> EnergyPlusReadings:
        """Begin an episode of `days` days at most, `first_day` days after the year begins.

        EnergyPlus first repeats a day with these actions, this utilisation (0..1), and the air of
        the first step until it is steady. Returns the readings at the end of that.
        """
        self.begin(first_day=first_day, days=days, actions=actions, utilisation=utilisation)
        return self.receive()

    def begin(
        self,
        *,
        first_day: float = 0,
        days: int = 7,
        actions: EnergyPlusActions | None = None,
        utilisation: float = 0.5,
    ) -> None:
        """As `reset`, but waits for nothing: `receive` does."""
        self._stop()
        self._step = round(first_day * STEPS_PER_DAY)
        self._last_step = self._step + days * STEPS_PER_DAY
        self._off_ratio = 0.0
        actions = actions or EnergyPlusActions()
        servers = self.design.servers
        flow_ratio = float(air_flow_ratio(servers, utilisation, actions.supply_air_degc))
        standard = standard_density_kg_m3(self.weather.elevation_m)
        self._server_kg_s = flow_ratio * servers.rated_flow_m3_s * standard
        values = self._values(actions, utilisation, None)
        initial: dict[str, float] = dict(zip(SCHEDULES, values, strict=False))
        model = build_model(
            self.design,
            elevation_m=self.weather.elevation_m,
            first_day=self._step // STEPS_PER_DAY,
            days=days,
            initial=initial,
        )
        # EnergyPlus begins at midnight. Nothing in the model looks at the clock but the weather
        # file, of which only the pressure counts.
        if self._shift_steps != self._step % STEPS_PER_DAY:
            self._shift_steps = self._step % STEPS_PER_DAY
            write_epw(self._weather_file, self.weather, self._shift_steps)
        model_file = self._folder / "model.epJSON"
        model_file.write_text(json.dumps(model, indent=1), encoding="utf-8")
        output = self._folder / "output"
        output.mkdir(exist_ok=True)
        self._error_file.unlink(missing_ok=True)
        self._process = WorkerProcess(
            {
                "arguments": ["-w", str(self._weather_file), "-d", str(output), str(model_file)],
                "log": str(self._folder / "energyplus.log"),
                "variables": list(self._variables.values()),
                "actuators": _ACTUATORS,
                "initial": values,
            },
            self.longest_answer_s,
        )
        self._greeted = False

    def step(
        self,
        actions: EnergyPlusActions,
        utilisation: float,
        outdoor: tuple[float, float] | None = None,
    ) -> EnergyPlusReadings:
        """Five minutes on. outdoor: dry bulb (degC) and relative humidity (0..1) in place of the
        weather's. Raises EnergyPlusError past the episode's end."""
        self.send(actions, utilisation, outdoor)
        return self.receive()

    def send(
        self,
        actions: EnergyPlusActions,
        utilisation: float,
        outdoor: tuple[float, float] | None = None,
    ) -> None:
        """As `step`, but waits for nothing: several engines compute before each one's `receive`."""
        if self._process is None:
            raise EnergyPlusError("the engine is not running: call reset first")
        if self._step >= self._last_step:
            raise EnergyPlusError("the episode is over: call reset")
        values = self._values(actions, utilisation, outdoor)
        self._process.send(struct.pack(f"<{len(values)}d", *values))
        self._step += 1

    def receive(self) -> EnergyPlusReadings:
        """What was asked for by `begin` or `send`, once for each."""
        if self._process is None:
            raise EnergyPlusError("the engine is not running: call reset first")
        if not self._greeted:
            version = self._answer(worker.VERSION).decode()
            if not version.startswith(f"{ENERGYPLUS_VERSION}."):
                self._stop()
                raise EnergyPlusError(
                    f"EnergyPlus is of version {version.split('-')[0]}, but this model is written "
                    f"for {ENERGYPLUS_VERSION}: pip install 'rlkit[energyplus]'"
                )
            self._greeted = True
        return self._readings()

    def condenser_water_for_fan(self, fan_ratio: float) -> float:
        """Set point, degC, at which the tower's fan settles at about `fan_ratio` (0..1).

        EnergyPlus seeks a temperature, not a speed: this is the one that the speed reaches with the
        next step's wet bulb and what chiller and exchanger gave in the last step, approached as
        fast as the loop's water lets it (`condenser_loop`). (What the tower gave would not do: much
        of it comes out of the loop's volume, and the fan would swing between its ends. Nor would
        the temperature at once: exchanger and tower would answer each other from step to step.)
        """
        last, tower = self._last, self._plant.tower
        if last is None:
            raise EnergyPlusError("the engine is not running: call reset first")
        wet_bulb = self.weather.wet_bulb_degc[self._step % STEPS_PER_YEAR]
        state = tower_state(tower, wet_bulb, fan_ratio, last.condenser_kg_s)
        water_degc, heat_w = np.asarray(last.tower_leaving_degc), np.asarray(last.condenser_heat_w)
        loop = self._plant.condenser_water
        forecast = forecast_condenser(loop, tower, state, water_degc, heat_w, STEP_S)
        steady = max(float(forecast.steady_degc), forecast.least_degc)
        return float(water_degc + forecast.end_weight * (steady - water_degc))

    @property
    def steps_left(self) -> int:
        """Steps until the episode's end."""
        return self._last_step - self._step

    def close(self) -> None:
        """End the process and remove its files. The engine cannot be reset after that."""
        self._stop()
        if self._remove_folder is not None:
            self._remove_folder()

    @property
    def _weather_file(self) -> Path:
        return self._folder / "weather.epw"

    @property
    def _error_file(self) -> Path:
        return self._folder / "output" / "eplusout.err"

    def _values(
        self,
        actions: EnergyPlusActions,
        utilisation: float,
        outdoor: tuple[float, float] | None,
    ) -> list[float]:
        """One value for each of `_ACTUATORS`."""
        if not 0.0 <= utilisation <= 1.0:
            raise ValueError(f"utilisation is {utilisation}: it must lie in 0..1")
        at = self._step % STEPS_PER_YEAR
        if outdoor is None:
            dry_bulb, humidity = self.weather.dry_bulb_degc[at], self._humidity_percent[at]
        else:
            dry_bulb, humidity = outdoor[0], 100.0 * outdoor[1]
            if not (-70.0 <= dry_bulb <= 60.0 and 0.0 <= humidity <= 100.0):
                raise ValueError(
                    f"outdoor is {outdoor}: dry bulb must lie in -70..60 degC, humidity in 0..1"
                )
        supply_kg_s = actions.air_flow_ratio * self._rated_kg_s
        air = distribute_air(self.design.airflow, supply_kg_s, self._server_kg_s)
        if self._last is not None:
            felt = inlet(air.recirculation_ratio, self._last.supply_degc, self._last.hall_degc)
            off = servers_off_ratio(self.design.servers, felt, self._off_ratio, STEP_S)
            self._off_ratio = float(off)
        full = actions.economiser == EconomiserMode.FULL
        return [
            utilisation,
            actions.supply_air_degc,
            actions.chilled_water_degc,
            _CHILLER_OFF_DEGC if full else actions.chilled_water_degc,
            max(actions.condenser_water_degc, self._plant.tower.minimum_leaving_degc),
            float(self._exchanges(actions.economiser)),
            1.0 - self._off_ratio,
            float(self._least_humidity_ratio[at]),
            supply_kg_s,
            float(air.recirculation_ratio) / RECIRCULATION_SCALE,
            float(dry_bulb),
            float(min(humidity, 100.0)),
        ]

    def _exchanges(self, mode: EconomiserMode) -> bool:
        """Whether the exchanger is open.

        Beside the chiller it is shut, as interlocks do, while the tower's water was too warm to
        help in the step before: EnergyPlus (25.2) reports no heat then, but warms the chilled water
        with hot condenser water.
        """
        last = self._last
        if mode == EconomiserMode.PRECOOL and last is not None:
            return last.tower_leaving_degc + _INTERLOCK_K < last.chilled_return_degc
        return mode != EconomiserMode.OFF

    def _readings(self) -> EnergyPlusReadings:
        values = self._format.unpack(self._answer(worker.READINGS))
        readings = EnergyPlusReadings(**dict(zip(self._variables, values, strict=True)))
        if not all(map(math.isfinite, values)):
            raise self._failure(f"EnergyPlus gave a reading that is not finite: {readings}")
        air = distribute_air(self.design.airflow, readings.supply_kg_s, readings.server_kg_s)
        hottest = inlet(air.hottest_recirculation_ratio, readings.supply_degc, readings.hall_degc)
        condenser_w = readings.chiller_heat_w + readings.chiller_power_w + readings.exchanger_heat_w
        condenser_w += self._plant.condenser_pump.motor_efficiency * readings.condenser_pump_power_w
        readings = readings._replace(
            condenser_heat_w=condenser_w,
            water_use_kg_s=readings.water_use_kg_s * WATER_DENSITY_KG_M3,
            steam_kg_s=readings.steam_kg_s * WATER_DENSITY_AT_LOOP_START_KG_M3,
            servers_off_ratio=self._off_ratio,
            hottest_inlet_degc=float(hottest),
            transformer_loss_w=float(self._transformer_loss_w(readings)),
        )
        self._server_kg_s, self._last = readings.server_kg_s, readings
        return readings

    def _transformer_loss_w(self, readings: EnergyPlusReadings) -> Array:
        critical_w = readings.server_power_w + readings.power_chain_loss_w
        chain = self.design.power_chain
        mechanical_w = readings.mechanical_power_w
        return operate_transformer(chain, critical_w, mechanical_w).transformer_loss_w

    def _answer(self, expected: bytes) -> bytes:
        assert self._process is not None
        try:
            return self._process.answer(expected)
        except WorkerFailed as failed:
            raise self._failure(str(failed)) from None

    def _failure(self, what: str) -> EnergyPlusError:
        """Ends the process; the error tells what EnergyPlus wrote last of importance."""
        self._stop()
        step = self._step % STEPS_PER_YEAR
        message = f"{what} (day {step // STEPS_PER_DAY} of the year, step {step % STEPS_PER_DAY})"
        log = ""
        if self._error_file.exists():
            log = self._error_file.read_text(encoding="utf-8", errors="replace")
        lines = log.splitlines()
        first = next((i for i, line in enumerate(lines) if "Severe" in line or "Fatal" in line), 0)
        told = lines[max(first, len(lines) - _LINES_OF_LOG) :] if first == 0 else lines[first:]
        if told:
            message += "\neplusout.err:\n" + "\n".join(told[:_LINES_OF_LOG])
        return EnergyPlusError(message)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = self._last = None
