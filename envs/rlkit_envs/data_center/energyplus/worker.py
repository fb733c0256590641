"""The process that runs EnergyPlus: the child of `process.WorkerProcess`, run as a script.

It imports nothing of rlkit, so that it starts quickly. What it hears and says on its standard input
and output is told at `read_start` and `say`; whatever EnergyPlus prints goes to a log instead.
EnergyPlus swallows exceptions of callbacks: here they are caught, told, and end the run.
"""

import json
import math
import os
import signal
import struct
import sys
import traceback
from typing import Any, BinaryIO

VERSION, READINGS, ERROR, END = b"V", b"R", b"E", b"D"
"""Kinds of answers: EnergyPlus's version, readings, an error, the end of the run."""
_RUN_PERIOD = 3
"""Kind of simulation that is neither sizing nor a design day."""


class HandleError(Exception):
    """EnergyPlus knows no variable or actuator of that name."""


def read_start(source: BinaryIO) -> dict[str, Any]:
    """The first message: a line of JSON with arguments, variables, actuators and first values.

    Every later message is one double for each actuator, NaN where EnergyPlus shall decide.
    """
    line = source.readline()
    if not line:
        raise EOFError
    return json.loads(line)


def say(target: BinaryIO, kind: bytes, content: bytes = b"") -> None:
    """An answer: one letter, the length of the content in four bytes, the content.

    Readings are doubles; everything else is text.
    """
    target.write(kind + struct.pack("<I", len(content)) + content)
    target.flush()


class Simulation:
    """One run of EnergyPlus, which waits for values at the start of every step."""

    def __init__(self, api: Any, start: dict[str, Any], source: BinaryIO, target: BinaryIO) -> None:
        self.api, self.exchange = api, api.exchange
        self.start, self.source, self.target = start, source, target
        self.state = api.state_manager.new_state()
        self.actuators: list[int] = []
        self.variables: list[int] = []
        self.format = struct.Struct(f"<{len(start['actuators'])}d")
        self.readings = b""
        self.begun = False
        self.stopped = False
        for name, key in start["variables"]:
            self.exchange.request_variable(self.state, name, key)
        runtime = api.runtime
        runtime.set_console_output_status(self.state, False)
        runtime.callback_begin_zone_timestep_before_set_current_weather(
            self.state, lambda state: self.guarded(self.begin_step, state)
        )
        # Where somebody listens inside the iteration, EnergyPlus makes one more pass. Without it,
        # air and water sides of the coil differ by up to a fifth where the air flow is low: the
        # first pass has full air flow, and the second is taken for the last too early.
        runtime.callback_inside_system_iteration_loop(self.state, lambda state: None)
        runtime.callback_end_zone_timestep_after_zone_reporting(
            self.state, lambda state: self.guarded(self.end_step, state)
        )

    def run(self) -> int:
        code = self.api.runtime.run_energyplus(self.state, self.start["arguments"])
        self.api.state_manager.delete_state(self.state)
        return code

    def guarded(self, callback: Any, state: Any) -> None:
        if self.stopped:
            return
        try:
            if self.exchange.kind_of_sim(state) != _RUN_PERIOD:
                return
            if self.exchange.api_data_fully_ready(state):
                callback(state)
        except EOFError:  # the engine was closed
            self.stop(state)
        except HandleError as error:
            self.stop(state)
            say(self.target, ERROR, str(error).encode())
        except BaseException:
            self.stop(state)
            say(self.target, ERROR, traceback.format_exc().encode())

    def stop(self, state: Any) -> None:
        self.stopped = True
        self.api.runtime.stop_simulation(state)

    def begin_step(self, state: Any) -> None:
        if not self.actuators:
            self.find_handles(state)
            self.set(state, self.start["initial"])
        if self.exchange.warmup_flag(state):
            return
        if not self.begun:
            self.begun = True
            say(self.target, READINGS, self.readings)
        content = self.source.read(self.format.size)
        if len(content) < self.format.size:
            raise EOFError
        self.set(state, self.format.unpack(content))

    def end_step(self, state: Any) -> None:
        if not self.variables:
            return
        values = [self.exchange.get_variable_value(state, handle) for handle in self.variables]
        self.readings = struct.pack(f"<{len(values)}d", *values)
        if not self.exchange.warmup_flag(state):
            say(self.target, READINGS, self.readings)

    def set(self, state: Any, values: Any) -> None:
        for handle, value in zip(self.actuators, values, strict=True):
            if math.isnan(value):
                self.exchange.reset_actuator(state, handle)
            else:
                self.exchange.set_actuator_value(state, handle, value)

    def find_handles(self, state: Any) -> None:
        for component, control, key in self.start["actuators"]:
            handle = self.exchange.get_actuator_handle(state, component, control, key)
            if handle < 0:
                raise HandleError(
                    f"EnergyPlus has no actuator {component!r} / {control!r} for {key!r}"
                )
            self.actuators.append(handle)
        for name, key in self.start["variables"]:
            handle = self.exchange.get_variable_handle(state, name, key)
            if handle < 0:
                raise HandleError(f"EnergyPlus has no output variable {name!r} for {key!r}")
            self.variables.append(handle)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    start = read_start(source)
    log = os.open(start["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        from pyenergyplus.api import EnergyPlusAPI  # pyright: ignore[reportMissingImports]

        api = EnergyPlusAPI()
        say(target, VERSION, str(api.functional.ep_version()).encode())
        simulation = Simulation(api, start, source, target)
        code = simulation.run()
    except BaseException:
        say(target, ERROR, traceback.format_exc().encode())
        return
    if not simulation.stopped:
        say(target, END, str(code).encode())


if __name__ == "__main__":
    try:
        main()
    except (EOFError, BrokenPipeError):
        sys.exit(0)
