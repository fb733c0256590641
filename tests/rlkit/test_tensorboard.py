"""What TensorBoard finds in a run folder, read back with TensorBoard's own reader."""

import errno
import io
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.api_pb2 import DATA_TYPE_FLOAT64, DATA_TYPE_STRING  # pyright: ignore
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import nn

from rlkit.action_panels import ChoicePanel
from rlkit.algorithms import ALGORITHMS
from rlkit.callbacks.callback import Callback
from rlkit.callbacks.gradient_health import GradientHealth
from rlkit.callbacks.hparams_summary import SHOWN_FIRST, hyperparameters
from rlkit.callbacks.progress import Progress
from rlkit.callbacks.tensorboard import TensorBoard
from rlkit.callbacks.video_summary import MAX_FRAMES, video_summary, video_tag_and_step
from rlkit.drawing import BAR, CHOSEN, Moment, Scene
from rlkit.evaluation import Evaluation
from rlkit.outlook import Outlook
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.recipes import find_recipe
from rlkit.run_folder import Run
from rlkit.sb3.config import StableBaselinesConfig
from rlkit.statistics import summarise_returns
from rlkit.stepping import Episode
from rlkit.training import Training
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo_config import PPOConfig

NUM_ENVS = 10


class PretendTraining(SimpleNamespace):
    """A training whose numbers a test sets by hand."""

    def __init__(self, folder: Path, steps: int = 0) -> None:
        super().__init__(
            recipe=find_recipe("cartpole"),
            run=Run(folder),
            steps=steps,
            seconds=0.0,
            interrupted=False,
            timer=SimpleNamespace(seconds={}),
            stepper=SimpleNamespace(num_envs=NUM_ENVS, finished=[], at_cut=False),
            algorithm=SimpleNamespace(policy=SimpleNamespace(network=nn.Linear(3, 2))),
        )

    def step(
        self,
        callback: Any,
        metrics: dict[str, Any] | None = None,
        finished: tuple[Episode, ...] = (),
        at_cut: bool = False,
    ) -> None:
        self.steps += NUM_ENVS
        self.stepper.finished, self.stepper.at_cut = list(finished), at_cut
        callback.on_step(self, None, metrics or {})


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return accumulator.Reload()


def scalars(folder: Path, tag: str) -> dict[int, float]:
    values = events(folder).Scalars(tag)
    assert len({value.step for value in values}) == len(values), "a step was written twice"
    return {value.step: value.value for value in values}


def test_scalars_are_means_since_the_last_write(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=20)
    board.on_start(training)
    training.step(board, {"loss": torch.tensor(1.0), "epsilon": 0.9, "replay_size": 10.0})
    training.seconds = 4.0
    training.timer.seconds = {"act": 1.0, "learn": 3.0}
    training.step(
        board,
        {"loss": torch.tensor(2.0), "epsilon": 0.7, "replay_size": 20.0},
        (Episode(10.0, 5, {"knock_outs": 1.0}), Episode(-4.0, 8, {"knock_outs": 0.0})),
    )
    training.step(board, {"loss": 7.0, "epsilon": 0.5, "replay_size": 30.0})
    training.timer.seconds = {"act": 2.0, "learn": 3.0, "watch": 3.0}
    training.seconds = 6.0
    training.step(board, finished=(Episode(3.0, 6, {"knock_outs": 0.0}),))
    board.close()

    assert scalars(tmp_path, "episode/return") == {20: 3.0, 40: 3.0}
    assert scalars(tmp_path, "episode/length") == {20: 6.5, 40: 6.0}
    assert scalars(tmp_path, "episode/knock_outs") == {20: 0.5, 40: 0.0}
    assert scalars(tmp_path, "learning/loss") == {20: 1.5, 40: 7.0}
    assert scalars(tmp_path, "exploration/epsilon") == pytest.approx({20: 0.7, 40: 0.5})
    assert scalars(tmp_path, "replay/size") == {20: 20.0, 40: 30.0}
    assert scalars(tmp_path, "speed/steps_per_second") == {20: 5.0, 40: 10.0}
    assert scalars(tmp_path, "speed/share_act") == {20: 0.25, 40: 0.25}
    assert scalars(tmp_path, "speed/share_learn") == {20: 0.75, 40: 0.0}
    assert scalars(tmp_path, "speed/share_watch") == {40: 0.75}


def test_a_resumed_training_hides_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    lost: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=10)
    board.on_start(lost)
    lost.step(board, {"loss": 1.0})
    lost.step(board, {"loss": 2.0}, at_cut=True)
    state = json.loads(json.dumps(board.state_dict()))
    lost.step(board, {"loss": 3.0})
    lost.step(board, {"loss": 4.0})
    board._writer.flush()  # pyright: ignore[reportOptionalMemberAccess]

    resumed: Any = PretendTraining(tmp_path, steps=20)
    again = TensorBoard(every=10)
    again.load_state_dict(state)
    again.on_start(resumed)
    resumed.step(again, {"loss": 5.0})
    again.close()
    assert scalars(tmp_path, "learning/loss") == {10: 1.0, 20: 2.0, 30: 5.0}
    board.close()


def test_events_are_on_disk_when_the_stream_is_cut(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=1_000)
    board.on_start(training)
    training.step(board, {"loss": 1.0})
    training.step(board, {"loss": 3.0}, at_cut=True)
    assert scalars(tmp_path, "learning/loss") == {20: 2.0}
    # TensorBoard's writer leaves the first events on disk at once, later ones every two minutes.
    training.step(board, {"loss": 5.0}, at_cut=True)
    assert scalars(tmp_path, "learning/loss") == {20: 2.0, 30: 5.0}
    board.close()


def evaluation_line(step: int, returns: list[float], final: bool = False) -> str:
    evaluation = Evaluation(
        returns=returns,
        lengths=[7] * len(returns),
        counts={"knock_outs": [1.0] + [0.0] * (len(returns) - 1)},
        units={},
        summary=summarise_returns(returns),
        protocol={},
    )
    return json.dumps({"step": step, "final": final, **evaluation.to_json()}) + "\n"


def test_evaluations_are_shown_once_at_their_own_steps(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=40)
    board.on_start(training)
    file = training.run.evaluations_file
    for _ in range(3):
        training.step(board)
    file.write_text(evaluation_line(30, [1.0, 2.0, 3.0, 10.0]))
    training.step(board)
    training.step(board, at_cut=True)
    board.on_end(training)
    with file.open("a") as stream:  # the evaluation at the end comes after TensorBoard's on_end
        stream.write(evaluation_line(50, [5.0, 5.0]))
        stream.write(evaluation_line(30, [8.0, 10.0], final=True))
    board.close()
    assert scalars(tmp_path, "evaluation/mean") == {30: 4.0, 50: 5.0}
    assert scalars(tmp_path, "evaluation/iqm") == {30: 2.5, 50: 5.0}
    assert scalars(tmp_path, "evaluation/min") == {30: 1.0, 50: 5.0}
    assert scalars(tmp_path, "evaluation/max") == {30: 10.0, 50: 5.0}
    assert scalars(tmp_path, "evaluation/knock_outs") == {30: 0.25, 50: 0.5}
    assert scalars(tmp_path, "evaluation/length") == {30: 7.0, 50: 7.0}
    assert scalars(tmp_path, "final/mean") == {50: 9.0}


def test_a_resumed_training_does_not_repeat_evaluations(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=10)
    board.on_start(training)
    training.run.evaluations_file.write_text(evaluation_line(10, [1.0]))
    training.step(board, at_cut=True)
    state = board.state_dict()
    board.close()
    resumed: Any = PretendTraining(tmp_path, steps=10)
    again = TensorBoard(every=10)
    again.load_state_dict(state)
    again.on_start(resumed)
    with training.run.evaluations_file.open("a") as stream:
        stream.write(evaluation_line(20, [2.0]))
    resumed.step(again)
    again.close()
    assert scalars(tmp_path, "evaluation/mean") == {10: 1.0, 20: 2.0}


def hparams_message(accumulator: EventAccumulator, tag: str) -> HParamsPluginData:
    content = accumulator.SummaryMetadata(tag).plugin_data.content
    return HParamsPluginData.FromString(content)


def test_hyperparameters_stand_beside_final_scores(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard()
    board.on_start(training)
    board.on_end(training)
    board.close()
    accumulator = events(tmp_path)
    start = hparams_message(accumulator, "_hparams_/session_start_info").session_start_info
    assert start.hparams["learning_rate"].number_value == 1e-3
    assert start.hparams["network.torso"].string_value == "mlp"
    assert start.hparams["network.hidden_sizes"].string_value == "[128, 128]"
    assert start.hparams["double"].string_value == "true"
    assert start.hparams["algorithm"].string_value == "DQN"
    assert start.hparams["environment"].string_value == "CartPole-v1"
    assert start.hparams["seed"].number_value == 1
    experiment = hparams_message(accumulator, "_hparams_/experiment").experiment
    assert "evaluation/mean" in [metric.name.tag for metric in experiment.metric_infos]
    first = [info.name for info in experiment.hparam_infos if info.differs]
    assert sorted(first) == sorted(SHOWN_FIRST)
    assert set(first) <= set(start.hparams)
    assert "_hparams_/session_end_info" in accumulator.summary_metadata
    assert not [path for path in tmp_path.iterdir() if path.is_dir()], "no run beside the run"


def test_any_run_names_the_columns_of_all(tmp_path: Path) -> None:
    """TensorBoard takes one run's columns for all, and fails to filter a column of two types."""
    cartpole = find_recipe("cartpole")
    others = [
        config for start in ALGORITHMS.values() for config, _ in (start.images, start.vectors)
    ]
    settings = {"n_steps": 64, "policy_kwargs": {"net_arch": [8]}}
    others += [PPOConfig(clip_range=None), StableBaselinesConfig("sb3:SAC", 1e-3)]
    others += [StableBaselinesConfig("sb3:PPO", 1e-3, settings=settings)]
    values, columns = [], []
    for number, algorithm in enumerate(others):
        training: Any = PretendTraining(tmp_path / str(number))
        training.recipe = replace(cartpole, algorithm=algorithm)
        board = TensorBoard()
        board.on_start(training)
        board.close()
        accumulator = events(tmp_path / str(number))
        start = hparams_message(accumulator, "_hparams_/session_start_info").session_start_info
        values.append({n: v.WhichOneof("kind") for n, v in start.hparams.items()})
        experiment = hparams_message(accumulator, "_hparams_/experiment").experiment
        columns.append({info.name: info.type for info in experiment.hparam_infos})
    of_value = {"string_value": DATA_TYPE_STRING, "number_value": DATA_TYPE_FLOAT64}
    assert all(of_run == columns[0] for of_run in columns)
    for of_run in values:
        assert {name: of_value[kind] for name, kind in of_run.items()}.items() <= columns[0].items()
    assert {"target_update_every", "clip_range", "burn_in", "policy"} <= columns[0].keys()
    found = start.hparams["settings"].string_value  # pyright: ignore[reportPossiblyUnboundVariable]
    assert json.loads(found) == settings


def test_an_interrupted_training_is_not_marked_as_ended(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard()
    board.on_start(training)
    training.interrupted = True
    board.on_end(training)
    board.close()
    assert "_hparams_/session_end_info" not in events(tmp_path).summary_metadata


def test_hyperparameters_are_finite_numbers_or_text() -> None:
    recipe = find_recipe("cartpole")
    unclipped = replace(recipe, algorithm=replace(recipe.algorithm, max_gradient_norm=float("inf")))
    found = hyperparameters(unclipped)
    assert found["max_gradient_norm"] == "Infinity"  # JSON, and so the browser, knows no infinity
    assert found["learning_rate_end"] == "null"
    assert hyperparameters(find_recipe("boxing"))["learning_rate_end"] == "5e-05"
    assert found["epsilon.end"] == 0.04


def test_histograms_show_weights_and_gradients(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    layer = training.algorithm.policy.network
    layer.weight.data = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, -6.0]])
    layer.weight.grad = torch.full((2, 3), 0.5)
    layer.bias.grad = torch.tensor([float("nan"), 1.0])
    board = TensorBoard(histograms_every=20)
    board.on_start(training)
    training.step(board)
    training.step(board)
    board.close()
    accumulator = events(tmp_path)
    (weights,) = accumulator.Histograms("weights/weight")
    (gradients,) = accumulator.Histograms("gradients/weight")
    assert weights.step == 20
    assert weights.histogram_value.num == 6
    assert (weights.histogram_value.min, weights.histogram_value.max) == (-6.0, 5.0)
    assert sum(weights.histogram_value.bucket) == 6
    assert gradients.histogram_value.sum == 3.0
    assert set(accumulator.Tags()["histograms"]) == {
        "weights/weight",
        "weights/bias",
        "gradients/weight",
    }, "a histogram of values that are not finite cannot be drawn"


def moving_square(frames: int) -> list[np.ndarray]:
    pictures = np.zeros((frames, 32, 48, 3), np.uint8)
    for index, picture in enumerate(pictures):
        picture[8:24, index % 32 : index % 32 + 16] = 255
    return list(pictures)


def test_gifs_are_shown_as_they_are(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=10)
    board.on_start(training)
    training.run.videos.mkdir()
    path = training.run.videos / "episode-5.gif"
    imageio.imwrite(path, moving_square(4), duration=40)
    training.step(board)
    training.step(board)
    board.close()
    (event,) = events(tmp_path).Images("videos/episode")
    assert event.step == 5
    assert event.encoded_image_string == path.read_bytes()
    assert (event.width, event.height) == (48, 32)


def test_a_long_mp4_becomes_a_gif_that_lasts_as_long(tmp_path: Path) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=10)
    board.on_start(training)
    training.run.videos.mkdir()
    frames = MAX_FRAMES + 150
    imageio.imwrite(training.run.videos / "watch.mp4", moving_square(frames), fps=50)
    training.step(board)
    board.close()
    (event,) = events(tmp_path).Images("videos/watch")
    with Image.open(io.BytesIO(event.encoded_image_string)) as gif:
        count: int = getattr(gif, "n_frames", 1)
        durations = []
        for index in range(count):
            gif.seek(index)
            durations.append(gif.info["duration"])
    assert event.step == 10
    assert count == frames / 2
    assert sum(durations) == pytest.approx(1000 * frames / 50, rel=0.02)


def test_small_things_keep_their_colour(tmp_path: Path) -> None:
    picture = np.full((210, 160, 3), (110, 156, 66), np.uint8)  # a boxing ring
    picture[40:170, 30:130] = (198, 144, 62)
    picture[44:166, 34:126] = (110, 156, 66)
    panel = ChoicePanel([f"action {number}" for number in range(18)])
    scene = Scene("a game", picture.shape, 0.1, shows_value=True, actions=panel)
    frames = []
    for step in range(10):
        outlook = Outlook(q_values=np.cos(np.arange(18.0) + step))
        picture[80:90, 50 + step : 60 + step] = 214
        frames.append(np.asarray(scene.draw(Moment(picture, 3.0, step, step, outlook))))
    imageio.imwrite(tmp_path / "watch.mp4", frames, fps=10, macro_block_size=2)
    encoded = video_summary("videos/watch", tmp_path / "watch.mp4").value[0].image
    with Image.open(io.BytesIO(encoded.encoded_image_string)) as gif:
        for number, frame in enumerate(frames):
            gif.seek(number)
            shown = np.asarray(gif.convert("RGB")).astype(int)
            for colour in (CHOSEN, BAR, (198, 144, 62), (110, 156, 66)):
                error = np.abs(shown - colour)[(frame == colour).all(-1)].max(-1)
                assert np.median(error) < 30


@pytest.mark.parametrize("name", ["broken.gif", "broken.mp4"])
def test_a_damaged_video_is_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=10)
    board.on_start(training)
    training.run.videos.mkdir()
    (training.run.videos / name).write_bytes(b"no video at all")
    training.step(board, {"loss": 1.0})
    training.step(board, {"loss": 2.0})
    board.close()
    assert [name in record.message for record in caplog.records] == [True]
    assert scalars(tmp_path, "learning/loss") == {10: 1.0, 20: 2.0}


def test_video_names_with_a_number_share_a_tag() -> None:
    assert video_tag_and_step(Path("a/best-2000.mp4"), 7) == ("videos/best", 2000)
    assert video_tag_and_step(Path("a/best.mp4"), 7) == ("videos/best", 7)


def test_training_goes_on_when_events_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=10)
    board.on_start(training)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(board._writer, "add_scalar", full)
    training.step(board, {"loss": 1.0})
    training.step(board, {"loss": 1.0}, at_cut=True)
    board.close()
    (record,) = caplog.records
    assert "No space left on device" in record.message
    assert str(tmp_path) in record.message


@pytest.mark.parametrize("noticed", ["at a cut", "at the end"])
def test_of_what_the_writing_thread_meets_there_is_one_line(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    noticed: str,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    reported: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    usual = threading.excepthook
    training: Any = PretendTraining(tmp_path)
    board = TensorBoard(every=10)
    board.on_start(training)
    monkeypatch.setattr(RecordWriter, "write", full)
    training.step(board, {"loss": 1.0}, at_cut=noticed == "at a cut")
    if noticed == "at a cut":
        assert len(caplog.records) == 1
        other = threading.Thread(target=full)
        other.start()
        other.join()
        assert [failure.thread for failure in reported] == [other]
        reported.clear()
    board.close()
    (record,) = caplog.records
    assert "No space left on device" in record.message
    assert reported == []
    assert threading.excepthook is usual


def test_training_goes_on_when_the_run_folder_is_no_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    training: Any = PretendTraining(blocked)
    board = TensorBoard(every=10)
    board.on_start(training)
    training.step(board, {"loss": 1.0})
    board.close()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("intervals", [{"every": 0}, {"histograms_every": -1}])
def test_intervals_must_be_positive(intervals: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        TensorBoard(**intervals)


class Recording(Callback):
    """Keeps what finished, as an independent account."""

    def __init__(self) -> None:
        self.episodes: list[tuple[int, Episode]] = []

    def on_step(self, training: Any, step: Any, metrics: dict[str, Any]) -> None:
        self.episodes += [(training.steps, episode) for episode in training.stepper.finished]


def trained(recipe: Recipe, folder: Path, callbacks: list[Callback]) -> Training:
    training = Training(recipe, Run.create(recipe, folder), callbacks, device="cpu")
    training.learn()
    return training


def test_a_real_training_is_watched_and_not_changed(tmp_path: Path, small_cartpole: Recipe) -> None:
    from rich.console import Console

    network = NetworkConfig(torso="mlp", hidden_sizes=(16,), dropout=0.1, noisy=True)
    recipe = replace(
        small_cartpole,
        algorithm=replace(small_cartpole.algorithm, network=network),
        checkpoint_every=8_000,
        evaluation=EvaluationSchedule(every=0, final_episodes=0),
    )
    recording = Recording()
    watchers = [
        recording,
        GradientHealth(every=800),
        TensorBoard(every=800, histograms_every=800),
        Progress(Console(file=io.StringIO()), line_seconds=0.0),
    ]
    watched = trained(recipe, tmp_path / "watched", watchers)
    folder = watched.run.path
    for start in (0, 800, 1_600):
        returns = [e.episode_return for at, e in recording.episodes if start < at <= start + 800]
        assert scalars(folder, "episode/return")[start + 800] == pytest.approx(np.mean(returns))
    assert set(scalars(folder, "learning/q_mean")) == {800, 1_600, 2_400}
    assert set(scalars(folder, "health/gradient_norm/torso.dense1")) == {800, 1_600, 2_400}
    tags = events(folder).Tags()
    assert {"gradients/torso.dense1.weight", "weights/head.linear.bias"} <= set(tags["histograms"])
    assert json.loads(folder.joinpath("config.json").read_text())["recipe"]["name"] == recipe.name
    assert "configuration/text_summary" in tags["tensors"]
    shares = [tag for tag in tags["scalars"] if tag.startswith("speed/share_")]
    assert sum(scalars(folder, tag)[2_400] for tag in shares) == pytest.approx(1.0, abs=1e-5)

    random_watched = torch.get_rng_state()
    alone = trained(recipe, tmp_path / "alone", [])
    assert torch.equal(random_watched, torch.get_rng_state())
    for name, value in alone.algorithm.state_dict()["policy"].items():
        assert torch.equal(value, watched.algorithm.policy.state_dict()[name]), name
