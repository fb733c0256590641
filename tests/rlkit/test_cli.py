"""The command line itself: how fast it answers, what it lists, and how it takes mistakes."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from rlkit.cli.main import COMMANDS, main
from rlkit.cli.mistakes import explain
from rlkit_envs.bin_picking.workers import WorkerError


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What the command says about a mistake, which must be one line, with exit code 2."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("rlkit: ")
    assert said.err.count("\n") == 1, said.err
    return said.err


def run_python(code: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return finished.stdout


def test_help_and_import_are_quick_and_load_nothing_heavy():
    code = """
import contextlib, io, sys, time
started = time.process_time()  # not of a clock, which other processes delay
import rlkit
from rlkit.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as text:
    assert main(["--help"]) == 0
assert "rlkit train" in text.getvalue()
print(time.process_time() - started)
print([name for name in ("torch", "numpy", "gymnasium", "tyro", "rich") if name in sys.modules])
"""
    seconds, heavy = run_python(code).splitlines()
    assert float(seconds) < 0.3
    assert heavy == "[]"


def test_a_command_explains_itself_without_torch():
    code = """
import sys
from rlkit.cli.main import main
for command in ("evaluate", "watch", "compare", "list", "bench"):
    try:
        main([command, "--help"])
    except SystemExit as exit:
        assert exit.code == 0
assert "torch" not in sys.modules, "torch was imported"
"""
    text = run_python(code)
    assert "--episodes INT" in text
    assert "A run's folder, a policy file, " in text
    assert "archive of Stable-Baselines3" in text


def test_the_module_runs_as_the_command():
    finished = subprocess.run(
        [sys.executable, "-m", "rlkit", "nonsense"], capture_output=True, text=True
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.splitlines() == [
        f"rlkit: unknown command 'nonsense'; known: {', '.join(COMMANDS)}"
    ]


def test_a_reader_that_leaves_early_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "rlkit", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    process.wait(timeout=60)


def test_every_name_that_the_package_hands_on_is_there():
    import rlkit

    assert all(getattr(rlkit, name) is not None for name in rlkit.__all__)
    assert set(rlkit.__all__) <= set(dir(rlkit))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = rlkit.nonsense


def test_list_shows_what_there_is(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["list", "--runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for expected in ("boxing", "cartpole", "ALE/Boxing-v5", "CartPole-v1", "dueling", "none"):
        assert expected in text
    assert "BoxingNoFrameskip" not in text


def test_the_help_of_a_recipe_explains_every_setting(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit:
        main(["train", "cartpole", "--help"])
    assert exit.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--algorithm.learning-rate FLOAT" in text
    assert "Adam's step size. (default: 0.001)" in text
    assert "--runs PATH" in text
    assert "--name" not in text


def test_a_command_or_recipe_mistyped_gets_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert "did you mean rlkit train?" in mistake(capsys, "trian")
    assert "did you mean boxing" in mistake(capsys, "train", "boxin")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--algorithm.learning-rat", "3"], "did you mean --algorithm.learning-rate?"),
        (["--steps", "5.5"], "--steps"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--minutes", "nan"], "minutes must be more than 0, got nan"),
        (["--num-envs", "0"], "num_envs must be at least 1, got 0"),
        (["--seed", "-1"], "seed must not be negative, got -1"),
        (["--evaluation.episodes", "0"], "evaluation.episodes must be at least 1, got 0"),
        (["--algorithm.network.torso", "natur"], "'nature'"),
        (["--algorithm.discount", "2"], "discount must be in (0, 1], got 2.0"),
        (["--name", "mine"], "--name"),
        (["stray"], "stray"),
    ],
)
def test_a_wrong_setting_is_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
):
    line = mistake(capsys, "train", "cartpole", *arguments)
    assert expected in line
    assert "rlkit train cartpole --help" in line


def test_an_unknown_game_is_named(capsys: pytest.CaptureFixture[str]):
    line = mistake(capsys, "train", "boxing", "--environment.game", "bxing")
    assert "unknown Atari game 'bxing': did you mean boxing" in line


def test_settings_that_do_not_fit_together_leave_no_run_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    train = ("train", "cartpole", "--runs", tmp_path)
    line = mistake(capsys, *train, "--algorithm.network.torso", "nature")
    assert "torso 'nature' needs frames" in line
    line = mistake(capsys, *train, "--algorithm.replay-capacity", "8")
    assert "not 8" in line
    line = mistake(capsys, *train, "--environment.id", "NoSuchWorld-v0")
    assert "NoSuchWorld" in line
    assert list(tmp_path.rglob("config.json")) == []


@pytest.mark.parametrize("command", ["evaluate", "watch"])
def test_a_policy_that_is_none_is_named(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    line = mistake(capsys, command, "nothing")
    assert "'nothing' is no run folder, no policy file and no recipe" in line
    (tmp_path / "note.txt").write_text("not a policy")
    assert "not a policy file" in mistake(capsys, command, tmp_path / "note.txt")
    (tmp_path / "note.zip").write_text("not an archive")
    assert "no archive of Stable-Baselines3" in mistake(capsys, command, tmp_path / "note.zip")
    assert "not a run folder" in mistake(capsys, command, tmp_path)


def test_other_commands_name_what_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert "not a run folder" in mistake(capsys, "resume", tmp_path)
    assert "not a run folder" in mistake(capsys, "compare", tmp_path)
    assert "rlkit compare RUN RUN" in mistake(capsys, "compare")
    assert "not a run folder" in mistake(capsys, "train", "--from", tmp_path)
    assert "--from needs a run folder" in mistake(capsys, "train", "--from")
    assert "the recipe comes before --steps" in mistake(capsys, "train", "--steps", "5", "boxing")
    assert "--episodes must be at least 1" in mistake(capsys, "evaluate", "x", "--episodes", "0")
    assert "'boxing', 'agents', 'storage'" in mistake(capsys, "bench", "nothing")
    assert "--minutes must be more" in mistake(capsys, "bench", "boxing", "--minutes", "0")
    line = mistake(capsys, "bench", "boxing", "--output", tmp_path / "missing" / "result.json")
    assert "there is no folder" in line


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def buggy(folder: Path) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("rlkit.cli.listing._show_runs", buggy)
    with pytest.raises(ValueError, match="a bug"):
        main(["list", "runs"])


def test_ctrl_c_leaves_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rlkit.cli.listing._show_runs", interrupted)
    assert main(["list", "runs"]) == 130
    assert capsys.readouterr().err == ""


def test_bench_prints_one_object_and_writes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    def measure(minutes: float, on_progress: Callable[[str], None]) -> dict[str, Any]:
        print("a library talks")
        on_progress("measuring")
        return {"machine": {}, "rows": [], "ratios": {"a": minutes}}

    monkeypatch.setattr("rlkit.bench.boxing.run_benchmark", measure)
    output = tmp_path / "raw.json"
    assert main(["bench", "boxing", "--minutes", "2", "--json", "--output", str(output)]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads(output.read_text())
    assert json.loads(said.out)["ratios"] == {"a": 2}
    assert said.err == "a library talks\nmeasuring\n"
    assert "trains nothing" in mistake(capsys, "bench", "storage", "--minutes", "2")


def test_a_lost_process_of_workers_is_told_in_one_line():
    assert explain(WorkerError("a process of bins ended with exit code -9")) == (
        "a process of bins ended with exit code -9"
    )
    assert explain(BrokenProcessPool("a process was\nterminated")) == "a process was terminated"
    assert explain(RuntimeError("a bug")) is None
