"""`rlkit watch`: which policy it records, where the video goes, and what it says."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkit import video
from rlkit.cli.main import main
from rlkit.environments import Environment, GymnasiumEnvironment
from rlkit.policies import save_policy
from rlkit.recipe import Recipe
from rlkit.run_folder import Run
from rlkit.video import RecordedEpisode, Recording, VideoError
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.atari import AtariProtocol

COUNTED = RecordedEpisode(1_234_567.0, 1_786, {"knock_outs": 1.0, "points_landed": 100.0})
SHORT_BOXING = AtariProtocol("boxing", height=42, width=42, max_frames=40, max_noops=0)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of recordings, of which none is made."""
    calls = []

    def record(policy: Policy, environment: Any, path: Path, **settings: Any) -> Recording:
        calls.append({"policy": policy, "environment": environment, "path": path, **settings})
        settings["on_frame"](300, 12.0)
        return Recording(path, [COUNTED], 1_787, 15.0, (852, 662))

    monkeypatch.setattr(video, "record", record)
    return calls


def save(path: Path, environment: Environment) -> Path:
    """An untrained policy."""
    from rlkit.environments import make_envs

    envs = make_envs(environment, 1)
    spaces = envs.single_observation_space, envs.single_action_space
    envs.close()
    atari = isinstance(environment, AtariProtocol)
    network = NetworkConfig(torso="compact" if atari else "mlp", hidden_sizes=(8,))
    policy = QPolicy(*spaces, network, HeadConfig("expected"))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_policy(policy, path, environment, {"recipe": "mine", "steps": 500})
    return path


def test_a_recipe_stands_for_its_policy_and_its_video_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: list[dict[str, Any]]
):
    monkeypatch.chdir(tmp_path)
    Path("boxing").mkdir()
    assert main(["watch", "boxing", "--seed", "7"]) == 0
    (call,) = recorded
    assert call["path"].parent == Path(), "a folder of the same name has nothing to do with it"
    assert call["path"].name.startswith("boxing-")
    assert call["path"].name.endswith("-s7.mp4")
    assert call["environment"].sticky_actions == 0.25
    assert call["environment"].max_frames > 100_000
    assert (call["seed"], call["episodes"], call["deterministic"]) == (7, 1, True)


@pytest.mark.parametrize("inside", [False, True])
def test_the_video_of_a_run_lies_in_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[dict[str, Any]],
    small_cartpole: Recipe,
    inside: bool,
):
    run = Run.create(small_cartpole, tmp_path)
    save(run.policies / "best.safetensors", small_cartpole.environment)
    monkeypatch.chdir(run.path if inside else tmp_path)
    named = "." if inside else os.path.relpath(run.path, tmp_path)
    assert main(["watch", named]) == 0
    assert recorded[0]["path"].resolve() == run.videos / "mine-500-s0.mp4"


def test_a_policy_file_leaves_its_video_here_or_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: list[dict[str, Any]]
):
    file = save(tmp_path / "kept" / "a.safetensors", GymnasiumEnvironment("CartPole-v1"))
    monkeypatch.chdir(tmp_path)
    assert main(["watch", str(file)]) == 0
    assert main(["watch", "kept/a.safetensors", "--video", "b.gif", "--stochastic"]) == 0
    assert [call["path"] for call in recorded] == [Path("mine-500-s0.mp4"), Path("b.gif")]
    assert [call["deterministic"] for call in recorded] == [True, False]


def test_another_world_and_the_archives_of_another_library_can_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recorded: list[dict[str, Any]]
):
    file = save(tmp_path / "a.safetensors", SHORT_BOXING)
    assert main(["watch", str(file), "--on", "ALE/Pong-v5"]) == 0
    played = recorded[0]["environment"]
    assert (played.environment_id, played.height) == ("ALE/Pong-v5", 42)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("data", "policy.pth", "_stable_baselines3_version"):
            archive.writestr(name, "{}")
    assert main(["watch", str(tmp_path / "a.zip")]) == 2
    assert "--trust" in capsys.readouterr().err
    assert main(["watch", str(tmp_path / "a.zip"), "--trust"]) == 2
    assert "--on ENVIRONMENT" in capsys.readouterr().err


def test_it_says_how_the_episodes_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recorded: list[dict[str, Any]]
):
    file = save(tmp_path / "a.safetensors", SHORT_BOXING)
    assert main(["watch", str(file), "--video", str(tmp_path / "a.mp4")]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "return 1234567 in 1786 steps, knock outs 1, points landed 100",
        f"video: {tmp_path / 'a.mp4'}",
    ]
    assert said.err == "", "what moves is for terminals"


def test_a_still_is_called_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recorded: list[dict[str, Any]]
):
    file = save(tmp_path / "a.safetensors", SHORT_BOXING)
    assert main(["watch", str(file), "--video", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"still: {tmp_path / 'a.png'}"


def test_a_saved_policy_is_played_into_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(
        "rlkit.environments.for_evaluation",
        lambda environment: replace(environment, sticky_actions=0.25),  # but not whole episodes
    )
    file = save(tmp_path / "a.safetensors", SHORT_BOXING)
    video_file = tmp_path / "new" / "a.gif"
    assert main(["watch", str(file), "--video", str(video_file), "--episodes", "2"]) == 0
    assert capsys.readouterr().out.count("in 10 steps") == 2
    import imageio.v3 as imageio

    frames = imageio.imread(video_file, plugin="pillow")
    assert len(frames) == 22
    assert np.ptp(frames[0]) > 100


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--video", "a.avi"], "its name must end in .mp4, .gif, or .png for a still"),
        (["--seed", "-1"], "--seed must not be negative, got -1"),
        (["--episodes", "0"], "a video needs at least one episode, got 0"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
):
    file = save(tmp_path / "kept" / "a.safetensors", SHORT_BOXING)
    monkeypatch.chdir(tmp_path)
    assert main(["watch", str(file), *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("rlkit: ")
    assert said.err.count("\n") == 1
    assert expected in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(*arguments: Any, **settings: Any) -> None:
        raise VideoError("cannot write the video a.mp4: no space left")

    monkeypatch.setattr(video, "record", refuse)
    file = save(tmp_path / "a.safetensors", SHORT_BOXING)
    assert main(["watch", str(file)]) == 2
    assert capsys.readouterr().err == "rlkit: cannot write the video a.mp4: no space left\n"
