"""Records whole episodes of a policy as a video, with score, values and actions drawn in.

ffmpeg (from the package imageio-ffmpeg) encodes while the episode is played, so that memory does
not grow with the length. A still is the last frame alone. How a frame looks is left to
`rlkit.drawing`, `rlkit.action_panels` and `rlkit.map_panel`.

An environment may have more than a picture a step: `pictures_of_last_step()` then gives those of
what happened within it, and its metadata `pictures_per_second` their pace.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

from rlkit.action_panels import ChoicePanel, LevelPanel, RangePanel
from rlkit.drawing import Moment, Panel, Scene
from rlkit.environments import Environment, environment_id, make_watchable
from rlkit.evaluation import check_spaces
from rlkit.outlook import Outlook, outlook_of
from rlkit.whole_files import whole_file
from rlkit_agents.memory import State
from rlkit_agents.policy import Policy

_ENCODERS = {
    ".mp4": "-c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p -movflags +faststart -f mp4",
    # A palette a frame, so that nothing is kept until the end; no dithering of flat colours.
    ".gif": "-filter_complex split[a][b];[a]palettegen=stats_mode=single[p];"
    "[b][p]paletteuse=new=1:dither=none -f gif",
}
_STILL = ".png"
_TALLEST_PANEL = 720


class VideoError(OSError):
    """A video that could not be written; the message is one line for users."""


@dataclass(frozen=True, slots=True)
class RecordedEpisode:
    """An episode as it was recorded.

    episode_return: sum of rewards. steps: environment steps; a video has one frame more, and those
    that the environment has of what happened within steps.
    counts: what the environment counts, by name; empty if it counts nothing.
    """

    episode_return: float
    steps: int
    counts: dict[str, float]


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished video, or a still of one frame. size: (width, height) in pixels."""

    path: Path
    episodes: list[RecordedEpisode]
    frames: int
    frames_per_second: float
    size: tuple[int, int]


def record(
    policy: Policy,
    environment: Environment,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    episodes: int = 1,
    deterministic: bool = True,
    frames_per_second: float | None = None,
    on_frame: Callable[[int, float], None] | None = None,
) -> Recording:
    """Play whole episodes one after the other into one video at `path`, an .mp4 or a .gif.

    A .png holds the last frame alone, which shows a whole episode where the environment's pictures
    do. The file appears as a whole once it is finished; an older one stays until then.
    frames_per_second: None shows an environment at its own pace; an Atari game at frame skip 4
    takes 15 steps a second.
    on_frame is called with the number of frames played and the score.
    Raises ValueError for another suffix, for a policy whose spaces are not the environment's, and
    for an environment that cannot be drawn; VideoError or another OSError where the file cannot be
    written.
    """
    path = Path(path)
    check_video_path(path)
    if episodes < 1:
        raise ValueError(f"a video needs at least one episode, got {episodes}")
    if frames_per_second is not None and not frames_per_second > 0:
        raise ValueError(f"frames_per_second must be more than 0, got {frames_per_second}")
    env = make_watchable(environment)
    was_training = policy.training
    try:
        check_spaces(policy, env.observation_space, env.action_space)
        own_pace = float(env.metadata.get("render_fps") or 30)
        shown_pace = float(env.metadata.get("pictures_per_second") or own_pace)
        rate = shown_pace if frames_per_second is None else frames_per_second
        policy.eval()
        observation, _ = env.reset(seed=seed)
        with torch.inference_mode():
            told = outlook_of(policy, _batch_of_one(observation, policy), None)
        scene = Scene(
            environment_id(environment),
            _picture(env).shape,
            env.metadata.get("seconds_per_step", 1 / own_pace),
            shows_value=told.q_values is not None or told.value is not None,
            actions=_action_panel(env),
        )
        recorded: list[RecordedEpisode] = []
        frames = 0
        still = path.suffix.lower() == _STILL
        writer = _still(path) if still else _encoder(path, scene.size, rate)
        with torch.random.fork_rng(), writer as write:
            torch.manual_seed(seed)
            for number in range(episodes):
                scene.restart()
                first_seed = seed if number == 0 else None
                for moment, ended in _play(policy, env, first_seed, deterministic, not still):
                    if moment.picture is None:
                        scene.follow(moment)
                    else:
                        write(scene.draw(moment))
                    frames += 1
                    if on_frame is not None:
                        on_frame(frames, moment.score)
                    if ended is not None:
                        recorded.append(ended)
        return Recording(path, recorded, 1 if still else frames, rate, scene.size)
    finally:
        policy.train(was_training)
        env.close()


def check_video_path(path: Path) -> None:
    """Raise ValueError for a file name that `record` has no encoder for."""
    if path.suffix.lower() not in (*_ENCODERS, _STILL):
        raise ValueError(
            f"cannot write a video as {path.name!r}: its name must end in "
            f"{', '.join(_ENCODERS)}, or {_STILL} for a still"
        )


def _play(
    policy: Policy, env: gym.Env, seed: int | None, deterministic: bool, pictured: bool
) -> Iterator[tuple[Moment, RecordedEpisode | None]]:
    """The moments of one episode; the last comes with what became of the episode.

    pictured: whether all have a picture, or the last alone.
    """
    observation, _ = env.reset(seed=seed)
    state: State = None
    outlook = Outlook()
    score, steps = 0.0, 0
    while True:
        with torch.inference_mode():
            tensor = _batch_of_one(observation, policy)
            outlook = outlook_of(policy, tensor, state)
            actions, state = policy.act(tensor, state, deterministic)
        action = actions.cpu().numpy()[0]
        picture = _picture(env) if pictured else None
        yield Moment(picture, score, steps, _drawn(action, env), outlook), None
        observation, reward, terminated, truncated, info = env.step(action)
        for picture in _pictures_within(env) if pictured else ():
            within = Moment(picture, score, steps, _drawn(action, env), outlook, continues=True)
            yield within, None
        score += float(reward)
        steps += 1
        if terminated or truncated:
            counts = {name: float(n) for name, n in info.get("episode_counts", {}).items()}
            last = Moment(_picture(env), score, steps, None, outlook)
            yield last, RecordedEpisode(score, steps, counts)
            return


def _batch_of_one(observation: Any, policy: Policy) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(observation)[None]).to(policy.device)


def _picture(env: gym.Env) -> np.ndarray:
    return np.asarray(env.render(), np.uint8)


def _pictures_within(env: gym.Env) -> Iterator[np.ndarray]:
    """What happened within the last step, of an environment that has pictures of that."""
    if env.has_wrapper_attr("pictures_of_last_step"):
        yield from env.get_wrapper_attr("pictures_of_last_step")()


def _action_panel(env: gym.Env) -> Panel | None:
    """What draws the environment's actions, under its own names for them if it has any.

    These stand in its attribute `action_meanings`: a name for each action or component, or a
    mapping of settings to levels for each action that combines some. Actions that are places have
    no names but an attribute `action_grid`: stances, rows and columns.
    """
    space = env.action_space
    if env.has_wrapper_attr("action_grid"):
        from rlkit.map_panel import MapPanel

        return MapPanel(env.get_wrapper_attr("action_grid"))
    if env.has_wrapper_attr("action_meanings"):
        names = list(env.get_wrapper_attr("action_meanings"))
    else:
        names = []
    match space:
        case gym.spaces.Discrete():
            if names and isinstance(names[0], Mapping):
                panel = LevelPanel(names)
                if panel.height <= _TALLEST_PANEL:
                    return panel
                names = [", ".join(meaning.values()) for meaning in names]
            numbers = range(int(space.start), int(space.start + space.n))
            return ChoicePanel(names or [f"action {number}" for number in numbers])
        case gym.spaces.Box():
            low, high = space.low.ravel(), space.high.ravel()
        case gym.spaces.MultiDiscrete():
            low = space.start.ravel()
            high = low + space.nvec.ravel() - 1
        case gym.spaces.MultiBinary():
            low, high = np.zeros(int(np.prod(space.shape))), np.ones(int(np.prod(space.shape)))
        case _:
            return None
    return RangePanel(names or [f"action {i}" for i in range(len(low))], low, high)


def _drawn(action: np.ndarray, env: gym.Env) -> np.ndarray | int:
    """The index of an action to choose, or the components of a continuous one."""
    space = env.action_space
    return int(action - space.start) if isinstance(space, gym.spaces.Discrete) else action.ravel()


@contextmanager
def _still(path: Path) -> Iterator[Callable[[Image.Image], None]]:
    """Gives a function that takes images; puts the last of them in place at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    last: Image.Image | None = None

    def write(image: Image.Image) -> None:
        nonlocal last
        last = image

    with whole_file(path) as beside:
        beside.touch()  # where no file can be, that is known before the episode is played
        yield write
        if last is None:
            raise ValueError("a still needs an image")
        try:
            last.save(beside, format="PNG")
        except OSError as error:
            raise VideoError(f"cannot write the still {path}: {error.strerror or error}") from error


@contextmanager
def _encoder(
    path: Path, size: tuple[int, int], frames_per_second: float
) -> Iterator[Callable[[Image.Image], None]]:
    """Gives a function that appends an image of `size`; puts the file in place at the end."""
    import imageio_ffmpeg

    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}"),
        *("-r", f"{frames_per_second:g}", "-i", "-", *_ENCODERS[path.suffix.lower()].split()),
    ]
    with whole_file(path) as beside, tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            [*command, os.fspath(beside)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=messages,
        )
        assert process.stdin is not None
        pipe = process.stdin

        def failure() -> VideoError:
            messages.seek(0)
            lines = messages.read().decode(errors="replace").splitlines()
            reason = lines[0] if lines else "ffmpeg died"
            return VideoError(f"cannot write the video {path}: {reason}")

        def write(image: Image.Image) -> None:
            try:
                pipe.write(image.tobytes())
            except BrokenPipeError:
                process.wait()
                raise failure() from None

        try:
            yield write
            with suppress(BrokenPipeError):  # the exit status tells as much
                pipe.close()
            if process.wait() != 0:
                raise failure()
        except BaseException:
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):
                pipe.close()
            raise
