"""Episodes are recorded when due, shown in TensorBoard, and change nothing of the training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlkit.callbacks.filming import Filming
from rlkit.policies import load_policy
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.run_folder import Run
from rlkit.training import Training, train
from rlkit_agents.dqn import DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_envs.atari import AtariProtocol

SHORT_BOXING = Recipe(
    name="boxing",
    environment=AtariProtocol(game="boxing", height=42, width=42, max_noops=0, max_frames=80),
    algorithm=DQNConfig(
        network=NetworkConfig(torso="compact"),
        head=HeadConfig(atoms=2),
        replay_capacity=400,
        batch_size=8,
        samples_per_step=1.0,
        learning_starts=40,
    ),
    num_envs=2,
    steps=120,
    learner_threads=1,
    environment_threads=1,
    checkpoint_every=60,
    evaluation=EvaluationSchedule(every=0, episodes=1, final_episodes=0, video_every=60),
)


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rounds of Boxing would take minutes; keep the cap that evaluations usually lift."""
    for module in ("rlkit.callbacks.filming", "rlkit.callbacks.evaluating"):
        monkeypatch.setattr(f"{module}.for_evaluation", lambda environment: environment)


def trained(folder: Path, recipe: Recipe) -> Run:
    return train(recipe, runs=folder)


def test_videos_appear_at_their_steps_and_in_tensorboard(tmp_path: Path) -> None:
    run = trained(tmp_path, SHORT_BOXING)
    names = sorted(path.name for path in run.videos.iterdir())
    assert names == ["best-120.mp4", "policy-120.mp4", "policy-60.mp4"]
    frames = cv2.VideoCapture(str(run.videos / "policy-60.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)
    assert frames == 21  # 80 emulator frames are 20 steps, and the first frame
    events = EventAccumulator(str(run.path), size_guidance={"images": 0}).Reload()
    assert {"videos/policy", "videos/best"} <= set(events.Tags()["images"])
    assert [image.step for image in events.Images("videos/policy")] == [60, 120]


def test_filming_does_not_change_what_is_learnt(tmp_path: Path) -> None:
    unfilmed = replace(SHORT_BOXING, evaluation=replace(SHORT_BOXING.evaluation, video_every=0))
    weights = [
        load_policy(
            trained(tmp_path / name, recipe).policies / "last.safetensors"
        ).policy.state_dict()
        for name, recipe in (("filmed", SHORT_BOXING), ("unfilmed", unfilmed))
    ]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


def test_it_says_what_the_training_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cartpole: Recipe
) -> None:
    filming, said = Filming(), []

    def record(*arguments: Any, on_frame: Any, **settings: Any) -> None:
        for frame in (1, 300):
            on_frame(frame, 0.0)
            said.append(filming.activity)

    monkeypatch.setattr("rlkit.video.record", record)
    recipe = replace(
        small_cartpole,
        steps=80,
        evaluation=EvaluationSchedule(every=0, final_episodes=0, video_every=80),
    )
    Training(recipe, Run.create(recipe, tmp_path), [filming]).learn()
    assert said == ["filming, frame 1", "filming, frame 300"]
    assert filming.activity == ""


def test_an_environment_that_cannot_be_drawn_costs_one_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    small_cartpole: Recipe,
) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise ValueError("drawing needs the package pygame")

    monkeypatch.setattr("rlkit.video.record", refuse)
    recipe = replace(
        small_cartpole,
        steps=400,
        checkpoint_every=200,
        evaluation=EvaluationSchedule(every=0, episodes=1, final_episodes=0, video_every=100),
    )
    run = trained(tmp_path, recipe)
    assert (run.policies / "last.safetensors").is_file()
    assert caplog.text.count("no videos from here on: drawing needs the package pygame") == 1
