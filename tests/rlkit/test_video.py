"""Videos: whole files with the right frames, and one clear line where none can be made."""

import os
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from rlkit.action_panels import ChoicePanel, LevelPanel
from rlkit.drawing import SMALL, Moment, Scene, clock_text, score_text, shortened
from rlkit.environments import GymnasiumEnvironment, make_envs, make_watchable
from rlkit.outlook import Outlook
from rlkit.video import VideoError, _action_panel, record
from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.atari import AtariEnvs, AtariProtocol

# imageio leaves its reading end of ffmpeg's pipes open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

BOXING = AtariProtocol("boxing", height=42, width=42, max_frames=81, max_noops=0)


class Corridor(gym.Env):
    """Walk three squares to the right; drawn at odd sizes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gym.spaces.Box(0, 3, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.square = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.square = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.square += 1
        observation = np.full(1, self.square, np.float32)
        return observation, 1.5, self.square == 3, False, {}

    def render(self):
        picture = np.zeros((31, 45, 3), np.uint8)
        picture[:, self.square * 10 : self.square * 10 + 10] = (255, 0, 0)
        return picture


class Undrawable(Corridor):
    metadata = {"render_modes": []}  # noqa: RUF012


class Named(Corridor):
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_meanings = ("speed", "turn")


class CountingFromOne(Corridor):
    action_space = gym.spaces.Discrete(2, start=1)


class Combining(Corridor):
    """Two settings with two levels each; a day a step."""

    metadata = {**Corridor.metadata, "seconds_per_step": 86_400}  # noqa: RUF012
    action_space = gym.spaces.Discrete(4)
    action_meanings = tuple({"heat": heat, "fan": fan} for heat in "01" for fan in ("low", "high"))


gym.register("test/Combining-v0", lambda **settings: Combining(**settings))
gym.register("test/Corridor-v0", lambda **settings: Corridor(**settings))
gym.register("test/Undrawable-v0", lambda **settings: Undrawable(**settings))
gym.register("test/Named-v0", lambda **settings: Named(**settings))
gym.register("test/CountingFromOne-v0", lambda **settings: CountingFromOne(**settings))
CORRIDOR = GymnasiumEnvironment("test/Corridor-v0")


def random_policy(environment: AtariProtocol | GymnasiumEnvironment) -> QPolicy:
    """A policy with values, untrained."""
    envs = make_envs(environment, 1)
    atari = isinstance(environment, AtariProtocol)
    network = NetworkConfig(torso="compact" if atari else "mlp", hidden_sizes=(8,))
    torch.manual_seed(0)
    policy = QPolicy(
        envs.single_observation_space,
        envs.single_action_space,
        network,
        HeadConfig("expected"),
        epsilon=0.5,
        precision="float32",
    )
    envs.close()
    return policy


class AlwaysRight(Policy):
    """A policy without values."""

    architecture = {}  # pyright: ignore # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(Corridor.observation_space, Corridor.action_space)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def act(self, observations, state: State = None, deterministic: bool = True):
        return torch.ones(len(observations), dtype=torch.int64), state


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[Moment]:
    """What is drawn."""
    drawn: list[Moment] = []
    draw = Scene.draw

    def remember(scene: Scene, moment: Moment) -> Image.Image:
        drawn.append(moment)
        return draw(scene, moment)

    monkeypatch.setattr(Scene, "draw", remember)
    return drawn


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written."""
    written: list[str] = []
    write = ImageDraw.ImageDraw.text

    def note(draw: ImageDraw.ImageDraw, xy: Any, text: str, *rest: Any, **settings: Any) -> None:
        written.append(text)
        write(draw, xy, text, *rest, **settings)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return written


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_boxing_video_has_a_frame_a_step_and_one_more(tmp_path: Path, suffix: str):
    path = tmp_path / "new folder" / f"round{suffix}"
    seen = []
    recording = record(
        random_policy(BOXING), BOXING, path, on_frame=lambda n, score: seen.append((n, score))
    )
    (episode,) = recording.episodes
    assert episode.steps == 21  # 81 frames, 4 a step
    assert set(episode.counts) == set(AtariEnvs(BOXING).metadata["episode_counts"])
    assert recording.frames == 22
    assert recording.frames_per_second == 15
    assert seen[-1] == (22, episode.episode_return)
    frames = imageio.imread(path, plugin="FFMPEG" if suffix == ".mp4" else "pillow")
    assert frames.shape == (22, recording.size[1], recording.size[0], 3)
    assert recording.size[0] % 2 == recording.size[1] % 2 == 0
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing may lie beside it"
    if suffix == ".mp4":
        facts = imageio.immeta(path, plugin="FFMPEG")
        assert (facts["codec"], facts["fps"]) == ("h264", 15)
        assert facts["pix_fmt"].startswith("yuv420p")


def test_the_picture_is_the_emulators_own(tmp_path: Path):
    env = make_watchable(BOXING)
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (210, 160, 3)
    env.close()
    record(random_policy(BOXING), BOXING, tmp_path / "a.gif")
    first = imageio.imread(tmp_path / "a.gif", plugin="pillow", index=0)
    shown = first[16 : 16 + 630 : 3, 16 : 16 + 480 : 3]  # each pixel is drawn three by three
    assert (np.abs(shown.astype(int) - picture) <= 4).mean() > 0.99


@pytest.mark.parametrize("clip_rewards", [False, True])
def test_watched_games_are_those_of_the_vector_environment(clip_rewards: bool):
    """Frames are compared at length in tests/envs; here: what watching adds."""
    protocol = AtariProtocol("boxing", max_noops=0, max_frames=1500, clip_rewards=clip_rewards)
    seed = next(s for s in range(20) if np.random.SeedSequence(s).generate_state(2)[1] < 2**31)
    env = make_watchable(protocol)
    envs = AtariEnvs(protocol, 1)
    assert env.observation_space == envs.single_observation_space
    assert env.action_space == envs.single_action_space
    observation, _ = env.reset(seed=seed)
    emulator_seed = np.random.SeedSequence(seed).generate_state(2)[1].astype(np.int64)
    observations, _ = envs.reset(seed=np.array([emulator_seed]))
    random = np.random.default_rng(0)
    ended, scored = False, set()
    while not ended:
        np.testing.assert_array_equal(observation, observations[0])
        actions = random.integers(18, size=1)
        observation, reward, terminated, truncated, info = env.step(actions[0])
        observations, rewards, *ends, infos = envs.step(actions)
        assert (reward, terminated, truncated) == (rewards[0], ends[0][0], ends[1][0])
        counts = {name: values[0] for name, values in infos["episode_counts"].items()}
        assert info["episode_counts"] == counts
        scored.add(reward)
        ended = terminated or truncated
    assert len(scored) > 1, "the test has to see points"
    env.reset()
    assert not any(env.step(0)[4]["episode_counts"].values())
    env.close()
    envs.close()


def test_episodes_follow_one_another(tmp_path: Path):
    recording = record(
        random_policy(CORRIDOR), CORRIDOR, tmp_path / "a.mp4", episodes=2, frames_per_second=25
    )
    assert [(e.episode_return, e.steps, e.counts) for e in recording.episodes] == [(4.5, 3, {})] * 2
    assert imageio.imread(tmp_path / "a.mp4", plugin="FFMPEG").shape[0] == recording.frames == 8
    assert imageio.immeta(tmp_path / "a.mp4", plugin="FFMPEG")["fps"] == 25


def test_a_policy_without_values_is_drawn_with_its_score(tmp_path: Path):
    policy = AlwaysRight().train()
    recording = record(policy, CORRIDOR, tmp_path / "a.gif")
    assert recording.episodes[0].episode_return == 4.5
    assert recording.frames_per_second == 10
    assert policy.training, "recording gives the policy back as it was"


@torch.inference_mode()
def test_a_memory_is_drawn_with_the_values_it_acts_on_and_cleared_between_episodes(
    tmp_path: Path, moments: list[Moment]
):
    torch.manual_seed(0)
    network = NetworkConfig(torso="mlp", hidden_sizes=(8,), memory="lstm", memory_size=8)
    policy = QPolicy(
        Corridor.observation_space, Corridor.action_space, network, HeadConfig("expected")
    )
    record(policy, CORRIDOR, tmp_path / "a.gif", episodes=2)
    squares = torch.arange(3.0).reshape(3, 1, 1)  # seen in an episode, up to the last action
    expected = policy.expected_returns(policy.unroll(squares)[0].squeeze(1)).numpy()
    forgetful = policy.q_values(squares.squeeze(1)).numpy()
    assert np.abs(expected[1:] - forgetful[1:]).min() > 1e-3, "memory has to matter"
    assert len(moments) == 2 * 4
    for episode in (moments[:4], moments[4:]):
        for moment, values in zip(episode[:3], expected, strict=True):
            assert moment.outlook.q_values is not None
            np.testing.assert_allclose(moment.outlook.q_values, values, atol=1e-6)
        actions = [moment.action for moment in episode]
        assert actions == [*expected.argmax(1), None]
        values = [moment.value for moment in episode[:3]]
        assert values == pytest.approx(expected.max(1).tolist(), abs=1e-6)


def test_an_actor_critic_is_drawn_with_probabilities_and_the_value_of_the_state(
    tmp_path: Path, moments: list[Moment], texts: list[str]
):
    network = NetworkConfig(torso="mlp", hidden_sizes=(8,))
    spaces = Corridor.observation_space, Corridor.action_space
    record(ActorCriticPolicy(*spaces, network), CORRIDOR, tmp_path / "a.gif")
    for moment in moments[:3]:
        assert moment.outlook.probabilities is not None
        assert moment.action == moment.outlook.probabilities.argmax()
        assert moment.value == moment.outlook.value is not None
        assert f"{moment.outlook.probabilities[1]:.1%}" in texts
        assert f"{moment.value:z.2f}" in texts
    assert {"value of the state", "probabilities of the actions"} <= set(texts)
    texts.clear()
    record(AlwaysRight(), CORRIDOR, tmp_path / "a.gif")
    assert "action taken" in texts
    assert not any("value" in text for text in texts)


def test_continuous_actions_are_drawn_under_the_environments_names_for_them(
    tmp_path: Path, moments: list[Moment], texts: list[str]
):
    spaces = Named.observation_space, Named.action_space
    policy = ActorCriticPolicy(*spaces, NetworkConfig(torso="mlp", hidden_sizes=(8,)))
    record(policy, GymnasiumEnvironment("test/Named-v0"), tmp_path / "a.gif", deterministic=False)
    assert {"speed", "turn", "-1", "1"} <= set(texts)
    for moment in moments[:3]:
        assert moment.outlook.gaussian is not None
        assert f"mean {moment.outlook.gaussian[0][1]:z.2f} \u00b1 1.00" in texts
        assert isinstance(moment.action, np.ndarray)
        assert f"{moment.action[1]:z.2f}" in texts


def test_choices_need_not_count_from_zero(tmp_path: Path, moments: list[Moment]):
    policy = AlwaysRight()
    policy.action_space = CountingFromOne.action_space
    record(policy, GymnasiumEnvironment("test/CountingFromOne-v0"), tmp_path / "a.gif")
    assert [moment.action for moment in moments] == [0, 0, 0, None]


def test_actions_that_combine_levels_have_a_row_a_level(
    tmp_path: Path, moments: list[Moment], texts: list[str]
):
    environment = GymnasiumEnvironment("test/Combining-v0")
    record(random_policy(environment), environment, tmp_path / "a.gif")
    assert {"heat", "   0", "   1", "fan", "   low", "   high", "2 d 0:00:00"} <= set(texts)
    assert "best Q-values, bars above the lowest" in texts
    assert len(moments) == 4


def test_where_levels_are_too_many_the_preferred_actions_have_rows(texts: list[str]):
    env = Combining()
    env.action_space = gym.spaces.Discrete(80)  # pyright: ignore[reportIncompatibleVariableOverride]
    env.action_meanings = tuple(  # pyright: ignore[reportAttributeAccessIssue]
        {"heat": f"{heat}", "fan": fan} for heat in range(40) for fan in ("low", "high")
    )
    assert isinstance(_action_panel(env), ChoicePanel)
    env.action_meanings = env.action_meanings[:20]
    assert isinstance(_action_panel(env), LevelPanel)


def test_a_still_is_the_last_frame_of_the_video(tmp_path: Path, moments: list[Moment]):
    policy, seen = random_policy(CORRIDOR), []
    still = record(
        policy, CORRIDOR, tmp_path / "a.png", episodes=2, on_frame=lambda n, _: seen.append(n)
    )
    assert (still.frames, still.path, len(still.episodes)) == (1, tmp_path / "a.png", 2)
    assert seen == list(range(1, 9))
    assert [moment.step for moment in moments] == [3, 3], "only what is looked at is drawn"
    record(policy, CORRIDOR, tmp_path / "a.gif", episodes=2)
    last = imageio.imread(tmp_path / "a.gif", plugin="pillow", index=7)
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.size) == ("PNG", still.size)
        difference = np.abs(np.asarray(image).astype(int) - last[..., :3])
    assert (difference <= 8).mean() > 0.99  # of the GIF's palette
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.png"]


def test_a_moment_without_a_picture_is_not_drawn():
    scene = Scene("a game", (30, 40, 3), 0.1)
    with pytest.raises(ValueError, match="step 7 has no picture"):
        scene.draw(Moment(None, 0.0, 7))


@pytest.mark.parametrize("discrete", [False, True])
def test_a_day_of_a_data_centre_is_a_frame_every_five_minutes(
    tmp_path: Path, discrete: bool, texts: list[str]
):
    arguments = {"site": "small_room", "episode_days": 1, "discrete": discrete}
    environment = GymnasiumEnvironment("rlkit/DataCenterCooling-v0", arguments)
    if discrete:
        policy = random_policy(environment)
    else:
        envs = make_envs(environment, 1)
        spaces = envs.single_observation_space, envs.single_action_space
        policy = ActorCriticPolicy(*spaces, NetworkConfig(torso="mlp", hidden_sizes=(8,)))
    recording = record(policy, environment, tmp_path / ("a.mp4" if discrete else "a.png"))
    assert recording.episodes[0].steps == 288
    assert recording.episodes[0].counts["facility_energy"] > 0.0
    assert "1 d 0:00:00" in texts
    if discrete:
        assert (recording.frames, recording.frames_per_second) == (289, 48)
        frames = imageio.imread(tmp_path / "a.mp4", plugin="FFMPEG")
        assert frames.shape == (289, recording.size[1], recording.size[0], 3)
        assert {"supply air", "   18 \u00b0C", "air flow", "   100 %"} <= set(texts)
    else:
        assert recording.frames == 1
        assert {"supply air", "air flow"} <= set(texts)


def test_numbers_and_names_fit():
    assert [score_text(score) for score in (7.0, -0.0, 1_234_567.0, -1234.56, -0.04)] == [
        *("7", "0", "1,234,567", "-1,234.6", "0.0"),
    ]
    assert [clock_text(seconds) for seconds in (7.25, 3599.9, 3600.0, 90_061.5)] == [
        *("0:07.2", "59:59.9", "1:00:00", "1 d 1:01:01"),
    ]
    assert shortened("UPFIRE", 118) == "UPFIRE"
    short = shortened("supply_air_temperature_of_the_third_room", 118)
    assert short.startswith("supply_air")
    assert short.endswith("\u2026")
    assert 100 < SMALL.getlength(short) <= 118


def test_the_same_seed_gives_the_same_video(tmp_path: Path):
    policy = random_policy(BOXING)
    videos = []
    for _ in range(2):
        record(policy, BOXING, tmp_path / "a.mp4", seed=3, deterministic=False)
        videos.append(imageio.imread(tmp_path / "a.mp4", plugin="FFMPEG"))
        torch.rand(1)
    np.testing.assert_array_equal(*videos)


@pytest.mark.parametrize("shape", [(31, 45, 3), (400, 600, 3), (1081, 1920, 3)])
def test_any_picture_size_gives_even_sides(shape: tuple[int, int, int]):
    panel = ChoicePanel([f"action {i}" for i in range(60)])
    scene = Scene("a game", shape, 0.1, shows_value=True, actions=panel)
    outlook = Outlook(q_values=np.arange(60.0))
    image = scene.draw(Moment(np.zeros(shape, np.uint8), -1.0, 0, 59, outlook))
    assert image.size == scene.size
    assert image.size[0] % 2 == image.size[1] % 2 == 0
    assert max(image.size) < 2000


@pytest.mark.parametrize("name", ["a.avi", "a", "a.mp4.txt"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match=r"must end in \.mp4, \.gif, or \.png") as caught:
        record(random_policy(CORRIDOR), CORRIDOR, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_policy_for_another_world_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="the policy was made for observations"):
        record(random_policy(CORRIDOR), BOXING, tmp_path / "a.mp4")


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(ValueError, match=r"cannot draw environment 'test/Undrawable-v0'"):
        make_watchable(GymnasiumEnvironment("test/Undrawable-v0"))
    with pytest.raises(ValueError, match=r"cannot make environment 'test/Missing-v0'"):
        make_watchable(GymnasiumEnvironment("test/Missing-v0"))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ValueError, match="pygame is not installed") as caught:
        make_watchable(GymnasiumEnvironment("CartPole-v1"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_an_older_video_stays_until_the_new_one_is_whole(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(b"older")

    def interrupt(frames: int, score: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(random_policy(CORRIDOR), CORRIDOR, path, on_frame=interrupt)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_a_full_disk_is_one_clear_line(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(b"older")
    os.symlink("/dev/full", tmp_path / f".{name}.partial")
    with pytest.raises(VideoError, match=rf"cannot write the (video|still) .*{name}") as caught:
        record(random_policy(BOXING), BOXING, path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_pillow_reads_what_was_drawn(tmp_path: Path):
    record(AlwaysRight(), CORRIDOR, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert getattr(image, "n_frames", 0) == 4
        assert image.info["duration"] == 100  # ms, at 10 frames a second
