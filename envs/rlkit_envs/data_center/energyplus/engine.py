"""EnergyPlus behind few calls: reset, step, close, and readings as a plant's sensors give them.

Every episode runs in a process of its own (`worker.py`): EnergyPlus keeps global state, crashes
when it is reset, and may end the process. Timing is EnergyPlus's: servers feel the supply and hall
air of the step before, since internal gains precede the air loop; all else answers in the step.
What EnergyPlus does not know, `control.py` derives.
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
from numpy.typing import NDArray

from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.energyplus import worker
from rlkit_envs.data_center.energyplus.control import (
    ACTUATORS,
    Surroundings,
    actuator_values,
    completed,
    condenser_water_degc,
)
from rlkit_envs.data_center.energyplus.hall_model import standard_density_kg_m3
from rlkit_envs.data_center.energyplus.model import ENERGYPLUS_VERSION, SCHEDULES, build_model
from rlkit_envs.data_center.energyplus.process import WorkerFailed, WorkerProcess
from rlkit_envs.data_center.energyplus.representation import represented_plant
from rlkit_envs.data_center.energyplus.signals import (
    EnergyPlusActions,
    EnergyPlusReadings,
    variables_of,
)
from rlkit_envs.data_center.energyplus.weather_file import write_epw
from rlkit_envs.data_center.psychrometrics import (
    Quantity,
    humidity_ratio_from_dew_point,
    relative_humidity,
)
from rlkit_envs.data_center.servers import air_flow_ratio
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_YEAR, Weather

_LONGEST_ANSWER_S = 300.0
_LINES_OF_LOG = 12


class EnergyPlusError(RuntimeError):
    """EnergyPlus could not start, refused the model, or ended before its time."""


def check_package() -> None:
    """Raises ImportError, with what to install, where EnergyPlus's package is missing."""
    if importlib.util.find_spec("pyenergyplus") is None:
        raise ImportError(
            "the EnergyPlus engine needs the package pyenergyplus-lbnl: "
            "pip install -e '.[energyplus]' in rlkit's folder"
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
        represented_plant(design)
        self.longest_answer_s = longest_answer_s
        density = standard_density_kg_m3(weather.elevation_m)
        self.rated_kg_s = design.fan.rated_flow_m3_s * density
        """Air of the fans at full speed."""
        self._humidity_percent = 100.0 * relative_humidity(
            weather.dry_bulb_degc, weather.humidity_ratio, weather.pressure_pa
        )
        self._least_humidity_ratio = humidity_ratio_from_dew_point(
            design.humidity.minimum_dew_point_degc, weather.pressure_pa
        )
        self.variables = variables_of(design)
        """Output variable and key of every reading, by its name."""
        self._format = struct.Struct(f"<{len(self.variables)}d")
        self._remove_folder: weakref.finalize | None = None
        if output_folder is None:
            output_folder = tempfile.mkdtemp(prefix="rlkit-energyplus-")
            self._remove_folder = weakref.finalize(self, shutil.rmtree, output_folder, True)
        self._folder = Path(output_folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._shift_steps: int | None = None  # of the weather file, once there is one
        self._process: WorkerProcess | None = None
        self._step = self._last_step = 0
        self._server_kg_s = 0.0
        self._off_ratio: Quantity = 0.0
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
        actions = actions or EnergyPlusActions()
        servers = self.design.servers
        flow_ratio = float(air_flow_ratio(servers, utilisation, actions.supply_air_degc))
        standard = standard_density_kg_m3(self.weather.elevation_m)
        self._server_kg_s = flow_ratio * servers.rated_flow_m3_s * standard
        values = self._values(actions, utilisation, None)
        initial: dict[str, float] = dict(zip(SCHEDULES, values.tolist(), strict=False))
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
                "variables": list(self.variables.values()),
                "actuators": ACTUATORS,
                "initial": values.tolist(),
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
        self.tell(self._values(actions, utilisation, outdoor))

    def tell(self, values: NDArray[np.float64]) -> None:
        """As `send`, for values of `control.ACTUATORS`; `hear` fits it."""
        if self._process is None:
            raise EnergyPlusError("the engine is not running: call reset first")
        if self._step >= self._last_step:
            raise EnergyPlusError("the episode is over: call reset")
        self._process.send(np.asarray(values, dtype="<f8").tobytes())
        self._step += 1

    def receive(self) -> EnergyPlusReadings:
        """What was asked for by `begin` or `send`, once for each."""
        raw = EnergyPlusReadings(**dict(zip(self.variables, self.hear(), strict=True)))
        read = completed(self.design, raw, self._off_ratio)
        self._last = EnergyPlusReadings(*map(float, read))
        self._server_kg_s = read.server_kg_s
        return self._last

    def hear(self) -> tuple[float, ...]:
        """As `receive`, but just what EnergyPlus tells, a number for each of `variables`."""
        if self._process is None:
            raise EnergyPlusError("the engine is not running: call reset first")
        if not self._greeted:
            version = self._answer(worker.VERSION).decode()
            if not version.startswith(f"{ENERGYPLUS_VERSION}."):
                self._stop()
                raise EnergyPlusError(
                    f"EnergyPlus is of version {version.split('-')[0]}, but this model is written "
                    f"for {ENERGYPLUS_VERSION}: pip install -e '.[energyplus]' in rlkit's folder"
                )
            self._greeted = True
        values = self._format.unpack(self._answer(worker.READINGS))
        if not all(map(math.isfinite, values)):
            told = ", ".join(
                f"{name} {value:g}" for name, value in zip(self.variables, values, strict=True)
            )
            raise self._failure(f"EnergyPlus gave a reading that is not finite: {told}")
        return values

    def condenser_water_for_fan(self, fan_ratio: float) -> float:
        """Set point, degC, at which the tower's fan settles at about `fan_ratio` (0..1).

        See `control.condenser_water_degc`.
        """
        if self._last is None:
            raise EnergyPlusError("the engine is not running: call reset first")
        wet_bulb = self.weather.wet_bulb_degc[self._step % STEPS_PER_YEAR]
        return float(condenser_water_degc(self.design, self._last, wet_bulb, fan_ratio))

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
    ) -> NDArray[np.float64]:
        """One value for each of `ACTUATORS`."""
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
        around = Surroundings(
            utilisation,
            dry_bulb,
            humidity,
            self._least_humidity_ratio[at],
            self.rated_kg_s,
            self._server_kg_s,
        )
        values, self._off_ratio = actuator_values(self.design, actions, around, self._last)
        return values

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
