"""A training that stands still but for the windows in which it is measured.

On a noisy machine only interleaved measurements compare. So each contestant of a benchmark runs
for a window at a time, in turn with the others.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rlkit.callbacks.callback import Callback
from rlkit.recipe import Recipe
from rlkit.run_folder import Run
from rlkit.training import Training, training_class
from rlkit_agents.step import Step

_ENDLESS_STEPS = 10**15


class MeasuredTraining(Callback):
    """Runs the training loop as it is, in a thread that waits between windows.

    Use as a context manager, so that the training ends with the benchmark.
    """

    def __init__(self, recipe: Recipe, folder: Path, warm_up_steps: int) -> None:
        """
        folder: takes the run folder. warm_up_steps: environment steps before the first window;
        learning starts within them, whatever the recipe says.
        """
        algorithm = recipe.algorithm
        starts = getattr(algorithm, "learning_starts", 0)
        if starts > warm_up_steps:
            algorithm = replace(algorithm, learning_starts=warm_up_steps)
        self._recipe = replace(recipe, algorithm=algorithm, steps=_ENDLESS_STEPS, minutes=None)
        self._folder = folder
        self._warm_up_steps = warm_up_steps
        _, self._threads = recipe.threads
        self._turn, self._standing = threading.Semaphore(0), threading.Semaphore(0)
        self._failure: BaseException | None = None
        self._warm = self._closing = False
        self._seconds = self._rate = self._begun = 0.0
        self._steps_before = 0
        self.steps = 0
        """Environment steps taken by the end of the last window."""
        self.device = ""
        """Where the learning runs, once warm."""
        self._thread = threading.Thread(target=self._run, name="measured training", daemon=True)

    def __enter__(self) -> MeasuredTraining:
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread.ident is not None:
            self._closing = True
            self._turn.release()
            self._thread.join()

    def warm_up(self) -> None:
        """Build the training and let it run up to its first gradient steps.

        Raises what it raises.
        """
        self._thread.start()
        self._wait()

    def window(self, seconds: float) -> float:
        """Go on for about `seconds`; returns environment steps a second.

        Raises what training raises.
        """
        self._seconds = seconds
        self._turn.release()
        self._wait()
        return self._rate

    def _wait(self) -> None:
        self._standing.acquire()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            run = Run.create(self._recipe, self._folder)
            training = training_class(self._recipe)(self._recipe, run, [self])
            self.device = str(training.algorithm.device)
            training.learn()
        except BaseException as error:  # goes on to the waiting thread
            self._failure = error
        self._standing.release()

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if self._closing:
            training.stop()
        elif not self._warm:
            if training.algorithm.updates and training.steps >= self._warm_up_steps:
                self._warm = True
                self._stand(training)
        elif (elapsed := time.perf_counter() - self._begun) >= self._seconds:
            self._rate = (training.steps - self._steps_before) / elapsed
            self._stand(training)

    def _stand(self, training: Training) -> None:
        self.steps = training.steps
        self._standing.release()
        self._turn.acquire()
        # Others may have set it meanwhile, and some of it is shared by all threads.
        torch.set_num_threads(self._threads)
        self._begun, self._steps_before = time.perf_counter(), training.steps
