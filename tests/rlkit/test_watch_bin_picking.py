"""`rlkit watch` of a bin: every attempt is seen as it goes, beside the policy's map of chances."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image

from rlkit.cli.main import main
from rlkit.drawing import Moment, Scene
from rlkit.environments import GymnasiumEnvironment, make_envs
from rlkit.map_panel import MapPanel
from rlkit.outlook import outlook_of
from rlkit.policies import save_policy
from rlkit.video import record
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.bin_picking import photography

# imageio leaves its reading end of ffmpeg's pipes open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

SMALL_BIN = GymnasiumEnvironment(
    "rlkit/BinPicking-v0", {"tier": "single", "parts": 1, "pixels": 32, "failures_in_a_row": 2}
)


@pytest.fixture(autouse=True)
def few_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ray for sixteen, so that tests are fast."""
    monkeypatch.setattr(photography, "_RAYS", (240, 180))


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[Moment]:
    """What is drawn."""
    seen: list[Moment] = []
    draw = Scene.draw

    def remember(scene: Scene, moment: Moment) -> Image.Image:
        seen.append(moment)
        return draw(scene, moment)

    monkeypatch.setattr(Scene, "draw", remember)
    return seen


@pytest.fixture
def policy() -> PickPolicy:
    """Untrained; it picks somewhere."""
    envs = make_envs(SMALL_BIN, 1, threads=0)
    torch.manual_seed(0)
    policy = PickPolicy(
        envs.single_observation_space,
        envs.single_action_space,
        PickNetworkConfig(channels=(4, 4, 4), members=2),
        precision="float32",
    )
    envs.close()
    return policy


def test_a_policy_file_is_watched_attempt_by_attempt(
    tmp_path: Path,
    policy: PickPolicy,
    moments: list[Moment],
    capsys: pytest.CaptureFixture[str],
):
    file = tmp_path / "picker.safetensors"
    save_policy(policy, file, SMALL_BIN, {"recipe": "bin-picking", "steps": 0})
    video = tmp_path / "bin.mp4"
    assert main(["watch", str(file), "--video", str(video), "--seed", "2"]) == 0
    said = capsys.readouterr().out
    assert "success" in said
    assert f"video: {video}" in said
    frames = imageio.imread(video, plugin="FFMPEG")
    assert imageio.immeta(video, plugin="FFMPEG")["fps"] == 25
    assert len(frames) == len(moments)
    steps = [moment.step for moment in moments]
    attempts = steps[-1]
    assert 1 <= attempts <= 2
    assert sorted(steps) == steps
    for attempt in range(attempts):
        of_attempt = [moment for moment in moments if moment.step == attempt]
        assert [moment.continues for moment in of_attempt] == [False] + [True] * (
            len(of_attempt) - 1
        )
        assert 15 < len(of_attempt) < 60, "one to two seconds"
        for moment in of_attempt:
            assert moment.outlook.chances is not None
            assert moment.outlook.chances.shape == (1, 32, 32)
            assert moment.outlook.q_values is not None
            assert moment.action == moment.outlook.q_values.argmax() == of_attempt[0].action
    assert (frames[5].astype(int) - frames[12] != 0).any(), "the tool moves"
    assert moments[-1].action is None
    assert not moments[-1].continues


def test_a_still_shows_the_end_alone(tmp_path: Path, policy: PickPolicy, moments: list[Moment]):
    seen = []
    still = record(policy, SMALL_BIN, tmp_path / "bin.png", on_frame=lambda n, _: seen.append(n))
    assert (still.frames, len(moments)) == (1, 1)
    assert len(seen) == still.episodes[0].steps + 1
    assert moments[0].step == still.episodes[0].steps
    with Image.open(still.path) as image:
        assert image.size == still.size
        assert min(image.size) > 576


def test_an_attempt_has_one_value_in_the_curve_however_many_pictures(
    tmp_path: Path, policy: PickPolicy, monkeypatch: pytest.MonkeyPatch
):
    scenes: list[Scene] = []
    restart = Scene.restart

    def remember(scene: Scene) -> None:
        scenes.append(scene)
        restart(scene)

    monkeypatch.setattr(Scene, "restart", remember)
    recording = record(policy, SMALL_BIN, tmp_path / "bin.gif")
    assert len(scenes[0]._values) == recording.episodes[0].steps
    assert isinstance(scenes[0]._actions, MapPanel)


def test_a_policy_that_learns_values_is_watched_too(tmp_path: Path, moments: list[Moment]):
    envs = make_envs(SMALL_BIN, 1, threads=0)
    policy = QPolicy(
        envs.single_observation_space,
        envs.single_action_space,
        NetworkConfig(torso="compact"),
        HeadConfig("expected"),
    )
    envs.close()
    record(policy, SMALL_BIN, tmp_path / "bin.png")
    assert moments[0].outlook.chances is None
    assert moments[0].outlook.q_values is not None


@torch.inference_mode()
def test_a_picking_policy_tells_chances_and_where_it_would_rather_not(policy: PickPolicy):
    observations = torch.rand(1, 2, 32, 32).round()
    told = outlook_of(policy, observations, None)
    assert told.chances is not None
    assert told.q_values is not None
    np.testing.assert_array_equal(told.chances, policy.outlook_map(observations)[0])
    less = told.chances.ravel() - told.q_values
    np.testing.assert_allclose(less, observations[0, 1].ravel(), atol=1e-6)
    assert 0 < told.chances.min() < told.chances.max() < 1
