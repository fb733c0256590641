"""Writes what happens in a training as TensorBoard events into the run folder.

Scalars, histograms of weights and gradients, videos, the configuration, and the hyperparameters
with the scores that they led to (TensorBoard's HParams). The horizontal axis is environment steps
everywhere. Nothing is measured here: the numbers come from the training and its other callbacks.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.evaluation_lines import EvaluationLines
from rlkit.callbacks.hparams_summary import end_summary, start_summaries
from rlkit.callbacks.intervals import crossed
from rlkit_agents.step import Step

if TYPE_CHECKING:
    from rlkit.stepping import Episode
    from rlkit.training import Training

_log = logging.getLogger(__name__)

LEVEL_TAGS = {
    "epsilon": "exploration/epsilon",
    "replay_size": "replay/size",
    "learning_rate": "learning/learning_rate",
    "updates": "learning/updates",
}
"""Metrics of which the latest value is written, and their tags; of all others, the mean."""
_HISTOGRAM_BINS = 64
_VIDEO_SUFFIXES = (".gif", ".mp4")


class TensorBoard(Callback):
    """Writes scalars every `every` environment steps, histograms every `histograms_every`.

    Belongs after what evaluates or diagnoses and before `Checkpointing`, so that the events on
    disk at a checkpoint are complete. A training that is resumed hides the events that came after
    its checkpoint. Where events cannot be written (a full disk), a warning says so once, and the
    training goes on without them.

    ================  =============================================================================
    episode/...       means over the episodes that finished since the last write: return, length,
                      and each thing that the environment counts
    health/...        norms of each layer's gradients, before clipping, and shares of dead ReLUs
    picking/...       success, failures and calibration of bin picking: see `Picking`
    speed/...         environment steps a second, and the share of the time that acting, learning,
                      waiting for the environments, remembering and watching took
    learning/...      means over gradient steps of what the algorithm measures
    exploration/...   epsilon
    replay/...        size, in transitions
    evaluation/...    statistics of the evaluations during training; final/... of the one at the end
    weights/...       histograms, and gradients/... those of the latest gradient step, as clipped
    videos/...        each GIF or MP4 that appears in the run's `videos` folder
    ================  =============================================================================
    """

    def __init__(self, every: int = 10_000, histograms_every: int = 250_000) -> None:
        if every < 1 or histograms_every < 1:
            raise ValueError(f"intervals must be positive, got {every} and {histograms_every}")
        self.every = every
        self.histograms_every = histograms_every
        self._writer: SummaryWriter | None = None
        self._training: Training | None = None
        self._ended = False
        self._evaluations_written = 0
        self._evaluations: EvaluationLines | None = None
        self._videos_seen: set[Path] = set()
        self._steps = 0
        self._seconds = 0.0
        self._phase_seconds: dict[str, float] = {}
        self._episodes: list[Episode] = []
        self._metrics: defaultdict[str, list[Tensor | float]] = defaultdict(list)
        self._quiet = contextlib.ExitStack()

    def on_start(self, training: Training) -> None:
        self._training = training
        self._ended = False
        self._evaluations = EvaluationLines(
            training.run.evaluations_file, self._evaluations_written
        )
        resumed = training.steps > 0
        self._videos_seen = set(_video_files(training.run.videos))
        # The events of the checkpoint's own step were written before the checkpoint: keep them.
        purge_step = training.steps + 1 if resumed else None
        self._quiet.enter_context(_failed_writing_told_once())
        try:
            self._writer = SummaryWriter(str(training.run.path), purge_step=purge_step)
        except OSError as error:
            self._give_up(error)
        if not resumed:
            self._add_configuration(training)
        self._begin_interval(training)

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if training.stepper.finished:
            self._episodes += training.stepper.finished
        for name, value in metrics.items():
            self._metrics[name].append(value)
        if training.stepper.at_cut or crossed(training, self.every):
            self._add_interval(training)
        if crossed(training, self.histograms_every):
            self._add_histograms(training)
        if training.stepper.at_cut:
            self._attempt(lambda writer: writer.flush())

    def on_end(self, training: Training) -> None:
        self._ended = not training.interrupted

    def close(self) -> None:
        # What is left is written here, not in on_end, where the last evaluation may still be ahead.
        if self._training is None:
            return
        self._add_interval(self._training)
        if self._ended:
            self._attempt(lambda writer: _add_summary(writer, end_summary(), self._steps))
        self._attempt(lambda writer: writer.flush())  # only this tells of what the thread met
        self._attempt(lambda writer: writer.close())
        self._writer = self._training = None
        self._quiet.close()

    def state_dict(self) -> dict[str, Any]:
        taken = self._evaluations_written if self._evaluations is None else self._evaluations.taken
        return {"evaluations_written": taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._evaluations_written = state.get("evaluations_written", 0)

    def add_scalars(self, scalars: dict[str, float], step: int) -> None:
        """Write numbers by their tags; for callbacks that measure something of their own."""

        def add(writer: SummaryWriter) -> None:
            for tag, value in scalars.items():
                writer.add_scalar(tag, value, step)

        self._attempt(add)

    def add_text(self, tag: str, text: str, step: int) -> None:
        """Write Markdown; for callbacks that have something of their own to say."""
        self._attempt(lambda writer: writer.add_text(tag, text, step))

    def add_image(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Write a picture (height, width, 3) uint8; for callbacks that draw something."""
        self._attempt(lambda writer: writer.add_image(tag, picture, step, dataformats="HWC"))

    def add_charts(self, charts: dict[str, dict[str, list[str]]]) -> None:
        """Arrange curves on the page of custom scalars: section -> chart -> tags in one chart."""
        layout = {
            section: {chart: ["Multiline", tags] for chart, tags in inside.items()}
            for section, inside in charts.items()
        }
        self._attempt(lambda writer: writer.add_custom_scalars(layout))

    def _attempt(self, write: Callable[[SummaryWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            write(self._writer)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        folder = None if self._training is None else self._training.run.path
        _log.warning(
            "cannot write TensorBoard events in %s (%s): training goes on without them",
            folder,
            error.strerror or error,
        )
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()

    def _begin_interval(self, training: Training) -> None:
        self._steps = training.steps
        self._seconds = training.seconds
        self._phase_seconds = dict(training.timer.seconds)
        self._episodes = []
        self._metrics = defaultdict(list)

    def _add_interval(self, training: Training) -> None:
        """Write everything since the last write."""
        scalars = {
            **_episode_scalars(self._episodes),
            **self._speed_scalars(training),
            **_metric_scalars(self._metrics),
        }
        self.add_scalars(scalars, training.steps)
        assert self._evaluations is not None
        for line in self._evaluations.new():
            if line["final"]:
                self.add_scalars(_evaluation_scalars("final", line), training.steps)
            else:
                self.add_scalars(_evaluation_scalars("evaluation", line), line["step"])
        self._add_new_videos(training)
        self._begin_interval(training)

    def _speed_scalars(self, training: Training) -> dict[str, float]:
        steps, seconds = training.steps - self._steps, training.seconds - self._seconds
        if steps <= 0 or seconds <= 0:
            return {}
        spent = {
            phase: total - self._phase_seconds.get(phase, 0.0)
            for phase, total in training.timer.seconds.items()
        }
        whole = sum(spent.values())
        shares = {
            f"speed/share_{phase}": part / whole for phase, part in spent.items() if whole > 0
        }
        return {"speed/steps_per_second": steps / seconds, **shares}

    def _add_histograms(self, training: Training) -> None:
        def add(writer: SummaryWriter) -> None:
            for name, parameter in training.algorithm.policy.network.named_parameters():
                for group, values in (("weights", parameter), ("gradients", parameter.grad)):
                    if values is not None and torch.isfinite(values).all():
                        array = values.detach().float().cpu().numpy()
                        tag = f"{group}/{name}"
                        writer.add_histogram(tag, array, training.steps, bins=_HISTOGRAM_BINS)  # pyright: ignore[reportArgumentType]

        self._attempt(add)

    def _add_new_videos(self, training: Training) -> None:
        for path in _video_files(training.run.videos):
            if path in self._videos_seen:
                continue
            from rlkit.callbacks.video_summary import video_summary, video_tag_and_step

            self._videos_seen.add(path)
            tag, step = video_tag_and_step(path, training.steps)
            try:
                summary = video_summary(tag, path)
            except OSError as error:
                _log.warning("cannot show the video %s in TensorBoard: %s", path, error)
                continue
            self._attempt(lambda writer, s=summary, at=step: _add_summary(writer, s, at))

    def _add_configuration(self, training: Training) -> None:
        with contextlib.suppress(OSError):
            text = training.run.config_file.read_text()
            self.add_text("configuration", f"```json\n{text}\n```", training.steps)

        def add(writer: SummaryWriter) -> None:
            for summary in start_summaries(training.recipe):
                _add_summary(writer, summary, training.steps)

        self._attempt(add)


@contextlib.contextmanager
def _failed_writing_told_once() -> Iterator[None]:
    """Keep quiet the thread that writes the events, which hands its errors on to whoever writes
    next, and would print them with a traceback as well."""
    usual = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        is_writer = type(failure.thread).__module__.startswith("tensorboard.")
        if not (is_writer and isinstance(failure.exc_value, OSError)):
            usual(failure)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = usual


def _episode_scalars(episodes: Sequence[Episode]) -> dict[str, float]:
    if not episodes:
        return {}
    scalars = {
        "episode/return": float(np.mean([episode.episode_return for episode in episodes])),
        "episode/length": float(np.mean([episode.length for episode in episodes])),
    }
    for name in episodes[0].counts:
        scalars[f"episode/{name}"] = float(np.mean([e.counts[name] for e in episodes]))
    return scalars


def _metric_scalars(metrics: dict[str, list[Tensor | float]]) -> dict[str, float]:
    scalars = {}
    for name, values in metrics.items():
        if name in LEVEL_TAGS:
            scalars[LEVEL_TAGS[name]] = float(values[-1])
        else:
            scalars[f"learning/{name}"] = _mean(values)
    return scalars


def _mean(values: Sequence[Tensor | float]) -> float:
    """The mean of numbers, or of tensors without dimension, which wait for a GPU only once."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) == len(values):
        return float(torch.stack(tensors).detach().float().mean())
    return float(np.mean([float(value) for value in values]))


def _evaluation_scalars(group: str, line: dict[str, Any]) -> dict[str, float]:
    scalars = {name: line[name] for name in ("mean", "iqm", "min", "max", "human_normalised")}
    if line["iqm_ci95"] is not None:
        scalars["iqm_ci95_low"], scalars["iqm_ci95_high"] = line["iqm_ci95"]
    scalars.update({name: metric["mean"] for name, metric in line["metrics"].items()})
    return {f"{group}/{name}": value for name, value in scalars.items() if value is not None}


def _video_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _VIDEO_SUFFIXES)


def _add_summary(writer: SummaryWriter, summary: Any, step: int) -> None:
    assert writer.file_writer is not None
    writer.file_writer.add_summary(summary, step)
