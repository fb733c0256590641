"""What a user reads in the terminal, or in a log, while a training runs."""

import io
import json
import logging
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from rlkit import evaluation
from rlkit.callbacks.callback import Callback
from rlkit.callbacks.evaluating import Evaluating
from rlkit.callbacks.progress import Progress
from rlkit.recipe import Recipe
from rlkit.recipes import find_recipe
from rlkit.run_folder import Run
from rlkit.stepping import Episode
from rlkit.training import Training


def pretend_training(folder: Path) -> Any:
    return SimpleNamespace(
        recipe=replace(find_recipe("cartpole"), steps=10_000),
        run=Run(folder),
        steps=0,
        seconds=0.0,
        progress=0.0,
        stepper=SimpleNamespace(num_envs=8, finished=[]),
        callbacks=[],
    )


def advance(
    training: Any, progress: Progress, steps: int, seconds: float, *episodes: Episode
) -> None:
    training.steps, training.seconds = steps, seconds
    training.progress = steps / 10_000
    training.stepper.finished = list(episodes)
    progress.on_step(training, None, {})  # pyright: ignore[reportArgumentType]


def log() -> Console:
    return Console(file=io.StringIO(), width=60)


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None)


def lines(console: Console) -> list[str]:
    file: Any = console.file
    return file.getvalue().splitlines()


def last_bar(console: Console) -> str:
    """What was drawn last, from the recipe's name on."""
    return "\n".join(lines(console)).rsplit("cartpole", 1)[1]


def test_lines_hold_share_time_left_score_counts_and_speed(tmp_path: Path) -> None:
    console = log()
    progress = Progress(console, line_seconds=0.0)
    training = pretend_training(tmp_path)
    progress.on_start(training)
    advance(training, progress, 1_000, 2.0)
    advance(training, progress, 2_000, 4.0, Episode(10.0, 5, {"knock_outs": 1.0, "hits": 3.0}))
    training.run.evaluations_file.write_text(
        json.dumps({"mean": 1.0}) + "\n" + json.dumps({"mean": 61.25}) + "\n"
    )
    advance(training, progress, 2_500, 10.0, Episode(-5.0, 5, {"knock_outs": 0.0, "hits": 4.0}))
    progress.close()
    assert lines(console)[:3] == [
        "cartpole 10%  0:18 left  step 1,000  500 steps/s",
        "cartpole 20%  0:16 left  score 10  knock outs 1  hits 3  step 2,000  500 steps/s",
        "cartpole 25%  0:30 left  score 2.5  evaluated 61.25  knock outs 0.5  hits 3.5  "
        "step 2,500  250 steps/s",
    ]


def test_the_score_is_of_the_last_hundred_episodes(tmp_path: Path) -> None:
    console = log()
    progress = Progress(console, line_seconds=0.0)
    training = pretend_training(tmp_path)
    progress.on_start(training)
    advance(training, progress, 1_000, 2.0, *[Episode(1_000.0, 1, {})] * 50)
    advance(training, progress, 2_000, 4.0, *[Episode(7.0, 1, {})] * 100)
    progress.close()
    assert "score 1000 " in lines(console)[0]
    assert "score 7 " in lines(console)[1]


def test_lines_are_rare_and_the_last_one_always_comes(tmp_path: Path) -> None:
    console = log()
    progress = Progress(console, line_seconds=3_600.0)
    training = pretend_training(tmp_path)
    progress.on_start(training)
    for step in range(1, 101):
        advance(training, progress, 100 * step, float(step))
    assert lines(console) == []
    progress.close()
    (line,) = lines(console)
    assert line.startswith("cartpole 100%")
    assert "step 10,000" in line


def test_nothing_moves_and_nothing_is_coloured_without_a_terminal(tmp_path: Path) -> None:
    console = log()
    progress = Progress(console, line_seconds=0.0)
    training = pretend_training(tmp_path)
    progress.on_start(training)
    advance(training, progress, 1_000, 2.0)
    logging.getLogger("rlkit.anything").warning("Layer torso.conv1 is [ill]")
    progress.close()
    text = "\n".join(lines(console))
    assert "\x1b" not in text
    assert "\r" not in text
    assert "warning: Layer torso.conv1 is [ill]" in lines(console)


def test_on_a_terminal_warnings_stand_above_the_bar(tmp_path: Path) -> None:
    console = terminal()
    progress = Progress(console)
    training = pretend_training(tmp_path)
    progress.on_start(training)
    logging.getLogger("rlkit.anything").warning("Layer torso.conv1 is ill")
    progress._shown = -1e9
    advance(training, progress, 5_000, 20.0, Episode(12.5, 3, {}))
    progress.close()
    file: Any = console.file
    output = file.getvalue()
    assert "\x1b[" in output, "the bar moves"
    shown = [
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).strip("\r") for line in output.splitlines()
    ]
    warning = next(i for i, line in enumerate(shown) if "torso.conv1 is ill" in line)
    bars = [i for i, line in enumerate(shown) if line.startswith("cartpole") and "50%" in line]
    assert bars
    assert min(bars) > warning
    assert re.search(r"━.* 50%  0:20 left", shown[bars[-1]])
    assert shown[bars[-1] + 1].startswith("score 12.5  step 5,000  250 steps/s")


def test_on_a_terminal_the_bar_goes_on_while_the_training_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlkit.callbacks.progress._LIVE_SECONDS", 0.02)
    console, evaluating = terminal(), Callback()
    progress = Progress(console)
    training = pretend_training(tmp_path)
    training.callbacks = [progress, evaluating]
    progress.on_start(training)
    try:
        for activity in ("evaluating 12/100", "evaluating 13/100"):
            evaluating.activity = activity
            deadline = time.monotonic() + 60
            while f"{activity}  step 0" not in last_bar(console):
                assert time.monotonic() < deadline, "the bar stands still"
                time.sleep(0.01)
        evaluating.activity = ""
    finally:
        progress.close()
    assert "step 0" in last_bar(console)
    assert "evaluating" not in last_bar(console)


def test_the_bar_counts_the_episodes_of_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cartpole: Recipe
) -> None:
    recipe = replace(small_cartpole, steps=80)
    console = terminal()
    progress, evaluating = Progress(console), Evaluating()
    evaluate, seen = evaluation.evaluate, []

    def watched(*arguments: Any, on_episode: Any, **options: Any) -> Any:
        def note(done: int, episode_return: float) -> None:
            on_episode(done, episode_return)
            look()

        look()
        return evaluate(*arguments, on_episode=note, **options)

    def look() -> None:
        assert progress._live is not None
        progress._live.refresh()
        seen.append(re.findall(r"evaluating \d+/\d+", last_bar(console)))

    monkeypatch.setattr("rlkit.callbacks.evaluating.evaluate", watched)
    Training(recipe, Run.create(recipe, tmp_path), [progress, evaluating]).learn()
    counted = [*(f"evaluating {done}/2" for done in range(3))]
    counted += [f"evaluating {done}/3" for done in range(4)]
    assert seen == [[text] for text in counted]
    assert "evaluating" not in last_bar(console)


def test_the_terminal_is_given_back_after_a_failure(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    progress = Progress(console)
    handlers = list(logging.getLogger("rlkit").handlers)
    progress.on_start(pretend_training(tmp_path))
    progress.close()
    progress.close()
    assert logging.getLogger("rlkit").handlers == handlers
    file: Any = console.file
    assert file.getvalue().rstrip("\n").endswith("\x1b[?25h"), "the cursor is shown again"


def test_time_left_follows_the_pace_of_the_last_minute(tmp_path: Path) -> None:
    console = log()
    progress = Progress(console, line_seconds=0.0)
    training = pretend_training(tmp_path)
    progress.on_start(training)
    for second in range(1, 11):  # 200 steps a second at first
        advance(training, progress, 200 * second, float(second))
    for second in range(11, 111):  # 20 steps a second later
        advance(training, progress, 2_000 + 20 * (second - 10), float(second))
    progress.close()
    assert "20 steps/s" in lines(console)[-1]
    assert "5:00 left" in lines(console)[-1]  # 6,000 steps to go


@pytest.mark.parametrize(("seconds", "shown"), [(5, "0:05"), (125.4, "2:05"), (3_725, "1:02:05")])
def test_durations(seconds: float, shown: str) -> None:
    from rlkit.callbacks.progress import _duration

    assert _duration(seconds) == shown
