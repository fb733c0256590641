"""Training, resuming, evaluating and comparing from the command line, and what goes wrong there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.stop_on_signal import StopOnSignal
from rlkit.cli.main import main
from rlkit.environments import GymnasiumEnvironment
from rlkit.policies import load_policy, save_policy
from rlkit.run_folder import Run
from rlkit.sb3.config import StableBaselinesConfig
from rlkit.training import Training
from rlkit_agents.ppo_config import PPOConfig
from rlkit_agents.step import Step

from .interruptions import files_no_larger_than

QUICK = (
    "--learner-threads=1",
    "--num-envs=4",
    "--checkpoint-every=400",
    "--algorithm.samples-per-step=2",
    "--algorithm.batch-size=16",
    "--algorithm.learning-starts=100",
    "--algorithm.network.hidden-sizes",
    "16",
    "--evaluation.every=400",
    "--evaluation.episodes=2",
    "--evaluation.final-episodes=4",
)


def train(runs: Path, *arguments: str) -> int:
    return main(["train", "cartpole", f"--runs={runs}", *QUICK, *arguments])


def only_run(runs: Path) -> Run:
    (config,) = runs.glob("*/*/config.json")
    return Run.open(config.parent)


def checkpoints(run: Run) -> list[int]:
    """Every 400 steps, and a reset step of 4 environments after each."""
    return sorted(int(path.name) for path in run.checkpoints.iterdir() if path.name.isdigit())


def has_checkpoint(runs: Path) -> bool:
    """Whether one is whole: while it is written, its folder is called otherwise."""
    return any(path.parent.name.isdigit() for path in runs.glob("*/*/checkpoints/*/state.json"))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def mistake(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line on standard error, which must be the only one of a mistake."""
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("rlkit: ")] == lines[-1:], lines
    return lines[-1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run that tests only read."""
    runs = tmp_path_factory.mktemp("trained")
    assert train(runs, "--steps=1000", "--seed=5") == 0
    return only_run(runs)


@pytest.fixture
def finished(trained: Run, tmp_path: Path) -> Run:
    """A finished run of the test's own."""
    path = tmp_path / "CartPole-v1" / trained.path.name
    shutil.copytree(trained.path, path)
    return Run.open(path)


@contextmanager
def callback_in_trainings(monkeypatch: pytest.MonkeyPatch, callback: Callback) -> Iterator[None]:
    """All trainings that begin inside are watched by `callback` as well."""
    from rlkit import training

    usual = training._standard_callbacks
    with monkeypatch.context() as patch:
        patch.setattr(training, "_standard_callbacks", lambda: [callback, *usual()])
        yield


class AtStep(Callback):
    """Does something once, after a number of environment steps."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        if training.steps == self.step:
            self.action()


def test_a_training_says_where_it_writes_and_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert train(tmp_path, "--steps=400") == 0
    run = only_run(tmp_path)
    said = capsys.readouterr().out
    assert f"run:   {run.path}\n" in said
    assert f"tensorboard --logdir {tmp_path}\n" in said
    assert "final evaluation of the best policy: CartPole-v1, 4 episodes" in said
    assert f"rlkit watch {run.path}" in said
    (final,) = [line for line in run.evaluations() if line["final"]]
    assert f"{final['mean']:.2f}" in said
    assert list(run.path.glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("flags", "budget"),
    [
        (["--minutes=0.01"], (None, 0.01)),
        (["--steps", "400"], (400, None)),
        (["--steps=400", "--minutes=9"], (400, 9.0)),
    ],
)
def test_the_budget_that_is_named_replaces_the_recipe_s(
    flags: list[str], budget: tuple[int | None, float | None], tmp_path: Path
):
    assert train(tmp_path, "--evaluation.final-episodes=0", *flags) == 0
    recipe = only_run(tmp_path).recipe()
    assert (recipe.steps, recipe.minutes) == budget


def test_from_repeats_a_run_with_what_is_changed(trained: Run, tmp_path: Path):
    assert main(["train", "--from", str(trained.path), f"--runs={tmp_path}", "--seed", "6"]) == 0
    again = only_run(tmp_path)
    assert again.recipe() == replace(trained.recipe(), seed=6)
    assert not same(
        weights(again.policies / "last.safetensors"), weights(trained.policies / "last.safetensors")
    )


def test_a_run_repeated_without_change_gives_the_same_weights(trained: Run, tmp_path: Path):
    assert main(["train", f"--from={trained.path}", f"--runs={tmp_path}"]) == 0
    again = only_run(tmp_path)
    assert again.recipe() == trained.recipe()
    assert same(
        weights(again.policies / "last.safetensors"), weights(trained.policies / "last.safetensors")
    )


def test_evaluate_prints_one_object(trained: Run, capsys: pytest.CaptureFixture[str]):
    arguments = ["evaluate", str(trained.path), "--episodes", "6", "--seed", "3", "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert len(first["returns"]) == first["protocol"]["episodes"] == 6
    assert first["min"] <= first["iqm_ci95"][0] <= first["iqm"] <= first["iqm_ci95"][1]
    assert first["mean"] == pytest.approx(sum(first["returns"]) / 6)
    assert first["max"] == max(first["returns"])
    assert first["protocol"]["seed"] == 3
    assert first["protocol"]["deterministic"] is True
    assert first["metrics"]["length"]["unit"] == "steps per episode"
    assert first["policy"]["path"] == str(trained.policies / "best.safetensors")
    assert first["policy"]["provenance"]["recipe"] == "cartpole"
    # The policy file itself gives the same, and so does the same seed.
    arguments[1] = first["policy"]["path"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == first


def test_a_stochastic_evaluation_is_stamped_so(trained: Run, capsys: pytest.CaptureFixture[str]):
    arguments = ["evaluate", str(trained.path), "--episodes=2", "--json", "--stochastic"]
    assert main(arguments) == 0
    protocol = json.loads(capsys.readouterr().out)["protocol"]
    assert protocol["deterministic"] is False
    assert protocol["epsilon"] == 0.001


def test_evaluate_shows_a_table(trained: Run, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(trained.path), "--episodes=2"]) == 0
    said = capsys.readouterr().out
    for expected in ("CartPole-v1, 2 episodes", "interquartile mean", "worst", "steps per episode"):
        assert expected in said


def test_a_policy_of_another_world_is_refused(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    policy = load_policy(trained.policies / "best.safetensors").policy
    path = tmp_path / "stray.safetensors"
    save_policy(policy, path, GymnasiumEnvironment("Acrobot-v1"), {"recipe": "none"})
    assert main(["evaluate", str(path)]) == 2
    line = mistake(capsys)
    assert "the policy was made for observations" in line
    assert "the environment has" in line


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_policy_is_refused(
    damage: str, finished: Run, capsys: pytest.CaptureFixture[str]
):
    path = finished.policies / "best.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[-100:]
    else:
        content[-100] ^= 1
    path.write_bytes(content)
    assert main(["evaluate", str(finished.path)]) == 2
    line = mistake(capsys)
    assert str(path) in line
    assert "damaged" in line


def test_compare_sets_runs_side_by_side(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", "--from", str(trained.path), f"--runs={tmp_path}", "--seed", "8"]) == 0
    other = only_run(tmp_path)
    capsys.readouterr()
    assert main(["compare", str(trained.path), str(other.path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["seeds"] == [5, 8]
    assert row["returns"] == [
        *trained.evaluations()[-1]["returns"],
        *other.evaluations()[-1]["returns"],
    ]
    assert main(["compare", str(trained.path), str(other.path)]) == 0
    assert "cartpole" in capsys.readouterr().out


def test_compare_draws_learning_curves(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "curves.svg"
    assert main(["compare", str(trained.path), "--plot", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]
    assert "CartPole-v1: return against environment steps" in file.read_text()
    file.unlink()
    for options, expected in (
        (["--plot", "curves.png"], "--plot writes SVG; name a file that ends in .svg"),
        (["--plot", str(tmp_path / "none" / "a.svg")], "--plot: there is no folder"),
        (["--metric", "success"], "name a file for it too, --plot FILE.svg"),
        (["--plot", str(file), "--metric", "success"], "no metric 'success'; there are return"),
    ):
        assert main(["compare", str(trained.path), *options]) == 2
        assert expected in mistake(capsys)
        assert not file.exists()


def test_compare_refuses_unlike_protocols(
    trained: Run, finished: Run, capsys: pytest.CaptureFixture[str]
):
    lines = finished.evaluations()
    lines[-1]["protocol"]["deterministic"] = False
    finished.evaluations_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    capsys.readouterr()
    assert main(["compare", str(trained.path), str(finished.path)]) == 2
    assert "the protocols differ in deterministic: True in" in mistake(capsys)


def test_a_finished_run_goes_on_only_with_a_larger_budget(
    finished: Run, capsys: pytest.CaptureFixture[str]
):
    assert main(["resume", str(finished.path)]) == 2
    assert "is finished; --steps N or --minutes M" in mistake(capsys)
    assert main(["resume", str(finished.path), "--steps", "1000"]) == 2
    assert "has taken 1000 steps already" in mistake(capsys)
    assert main(["resume", str(finished.path), "--checkpoint", "3", "--steps", "1400"]) == 2
    assert "holds no checkpoint 3, only 804, 1000" in mistake(capsys)
    assert main(["resume", str(finished.path), "--steps", "1400"]) == 0
    assert checkpoints(finished)[-1] == 1400
    assert finished.recipe().steps == 1400
    configuration = json.loads(finished.config_file.read_text())
    assert [recipe["steps"] for recipe in configuration["earlier_recipes"]] == [1000]
    assert [line["step"] for line in finished.evaluations() if not line["final"]][-1] == 1400


def test_a_run_that_is_being_trained_can_be_read_but_not_resumed(
    finished: Run, capsys: pytest.CaptureFixture[str]
):
    before = {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()}
    with finished.lock():
        assert main(["evaluate", str(finished.path), "--episodes=1"]) == 0
        assert main(["compare", str(finished.path), str(finished.path)]) == 0
        assert main(["list", "runs", f"--runs={finished.path.parent.parent}"]) == 0
        capsys.readouterr()
        assert main(["resume", str(finished.path), "--steps", "1400"]) == 2
    assert f"{finished.path} is being trained by process" in mistake(capsys)
    assert {path: path.read_bytes() for path in before} == before
    assert main(["resume", str(finished.path), "--steps", "1400"]) == 0


def test_a_run_without_a_checkpoint_begins_again(finished: Run, capsys: pytest.CaptureFixture[str]):
    shutil.rmtree(finished.checkpoints)
    assert main(["resume", str(finished.path)]) == 2
    assert f"begin again with: rlkit train --from {finished.path}" in mistake(capsys)


def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(
    finished: Run, capsys: pytest.CaptureFixture[str]
):
    path = finished.checkpoints / "1000" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main(["resume", str(finished.path), "--steps", "1400"]) == 2
    line = mistake(capsys)
    assert "checkpoint 1000 in" in line
    assert "does not match its checksum" in line
    assert "804 (--checkpoint)" in line
    assert finished.recipe().steps == 1000
    assert main(["resume", str(finished.path), "--checkpoint=804", "--steps=1200"]) == 0
    assert checkpoints(finished) == [804, 1200]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_a_signal_saves_a_checkpoint_and_says_how_to_go_on(
    number: signal.Signals,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    before = signal.getsignal(number)
    raised = AtStep(600, lambda: signal.raise_signal(number))
    with callback_in_trainings(monkeypatch, raised):
        assert train(tmp_path, "--steps=1000") == code
    assert signal.getsignal(number) is before
    run = only_run(tmp_path)
    assert checkpoints(run) == [400, 604]
    said = capsys.readouterr()
    assert f"go on with: rlkit resume {run.path}" in said.err
    assert "final evaluation" not in said.out
    assert (run.policies / "last.safetensors").is_file()
    assert main(["resume", str(run.path)]) == 0
    assert run.evaluations()[-1]["final"]


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from rlkit.callbacks import evaluating

    usual = evaluating.evaluate

    def evaluate_interrupted(*arguments: Any, **settings: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return usual(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "evaluate", evaluate_interrupted)
        assert train(tmp_path, "--steps=1000", "--evaluation.every=600") == 130
    run = only_run(tmp_path)
    assert run.evaluations() == []
    assert checkpoints(run) == [400, 604]


def test_the_second_signal_leaves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    left: list[int] = []

    def leave(code: int) -> None:
        left.append(code)
        raise SystemExit(code)

    def twice() -> None:
        latest = time.monotonic() + 60.0  # the checkpoint of step 400 is written beside learning
        while not checkpoints(only_run(tmp_path)) and time.monotonic() < latest:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("rlkit.cli.running._leave_at_once", leave)
    with callback_in_trainings(monkeypatch, AtStep(600, twice)), pytest.raises(SystemExit):
        train(tmp_path, "--steps=1000")
    assert left == [130]
    assert checkpoints(only_run(tmp_path)) == [400]


def test_signals_stop_a_training_only_while_it_runs():
    stopping = StopOnSignal()
    before = signal.getsignal(signal.SIGTERM)
    stopping.close()
    assert signal.getsignal(signal.SIGTERM) is before


BINS = (
    *("bin-picking", "--environment.arguments.tier=single", "--num-envs=2"),
    *("--environment-threads=1", "--learner-threads=1", "--evaluation.every=0"),
    *("--evaluation.episodes=1", "--evaluation.final-episodes=0", "--checkpoint-every=8"),
)
"""Filled and emptied by a process of its own."""


@pytest.mark.parametrize("wanted", [("cartpole", *QUICK), BINS], ids=["cartpole", "bin-picking"])
def test_sigterm_to_a_group_ends_a_training_cleanly(tmp_path: Path, wanted: tuple[str, ...]):
    """As `timeout` sends it, to a training and all that it has begun."""
    command = [sys.executable, "-m", "rlkit", "train", *wanted, f"--runs={tmp_path}"]
    process = subprocess.Popen(
        [*command, "--steps=100000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("run:   ")
        while not has_checkpoint(tmp_path):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    run = only_run(tmp_path)
    assert f"go on with: rlkit resume {run.path}" in errors
    last = checkpoints(run)[-1]
    assert main(["resume", str(run.path), "--steps", str(last + 40)]) == 0


def test_a_run_in_training_is_not_resumed_until_its_process_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = [sys.executable, "-m", "rlkit", "train", "cartpole", f"--runs={tmp_path}", *QUICK]
    process = subprocess.Popen(
        [*command, "--steps=100000000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not has_checkpoint(tmp_path):
            assert process.poll() is None
            time.sleep(0.05)
        run = only_run(tmp_path)
        assert main(["resume", str(run.path)]) == 2
        assert f"{run.path} is being trained by process {process.pid}; " in mistake(capsys)
    finally:
        process.kill()
        process.wait()
    last = checkpoints(run)[-1]
    assert main(["resume", str(run.path), "--steps", str(last + 40)]) == 0


def test_a_runs_folder_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    assert train(tmp_path / "file", "--steps=400") == 2
    line = mistake(capsys)
    assert f"cannot write the run folder {tmp_path / 'file'}" in line
    assert "Not a directory" in line
    assert "--runs" in line

    # Permissions do not bind every user that runs tests, so the refusal is made up.
    def refuse(path: Path, *arguments: Any, **settings: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        assert train(tmp_path / "locked", "--steps=400") == 2
    assert "Permission denied" in mistake(capsys)


def test_a_full_disk_loses_nothing_that_was_saved(
    finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def content() -> dict[str, bytes]:
        kept = [finished.checkpoints / "1000", finished.policies]
        return {str(p): p.read_bytes() for folder in kept for p in folder.iterdir() if p.is_file()}

    before = content()
    policy = (finished.policies / "last.safetensors").stat().st_size
    # Room for a policy file and for replay rows, not for the optimiser and target networks too.
    with files_no_larger_than(policy + 8_000):
        assert main(["resume", str(finished.path), "--steps", "100000", "--minutes", "1"]) == 2
    line = mistake(capsys)
    assert f"cannot save a checkpoint in {finished.checkpoints}: " in line
    assert "File too large" in line
    assert "checkpoint 1000 is whole" in line
    assert f"rlkit resume {finished.path}" in line
    assert {path: before[path] for path in before if "checkpoints" in path} == {
        path: data for path, data in content().items() if "checkpoints" in path
    }
    assert load_policy(finished.policies / "best.safetensors").policy
    assert list(finished.path.rglob("*.partial")) == []
    assert main(["resume", str(finished.path), "--steps", "1400"]) == 0
    assert checkpoints(finished)[-1] == 1400


@contextmanager
def disk_of_its_own(folder: Path, *options: str) -> Iterator[None]:
    """Mount a disk in memory at `folder`; skips the test where that is not permitted."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only who may mount disks can test this")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_stops_the_training_until_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    disk = tmp_path / "disk"

    def fill() -> None:
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as stream:
            while stream.write(bytes(1 << 16)):
                pass

    with disk_of_its_own(disk, "size=4m"):
        with callback_in_trainings(monkeypatch, AtStep(600, fill)):
            assert train(disk, "--steps=1000") == 2
        run = only_run(disk)
        line = mistake(capsys)
        assert "No space left on device" in line
        assert "checkpoint 400 is whole" in line
        assert f"rlkit resume {run.path}" in line
        (disk / "filler").unlink()
        assert main(["resume", str(run.path)]) == 0
        assert checkpoints(run)[-1] == 1000


def test_a_disk_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with disk_of_its_own(tmp_path / "disk", "ro"):
        assert train(tmp_path / "disk", "--steps=400") == 2
        line = mistake(capsys)
    assert f"cannot write the run folder {tmp_path / 'disk'}" in line
    assert "Read-only file system" in line


def test_a_disk_that_is_full_from_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with files_no_larger_than(100):
        assert train(tmp_path, "--steps=400") == 2
    assert "cannot write the run folder" in mistake(capsys)
    assert list(tmp_path.rglob("config.json")) == []
    with files_no_larger_than(9_000):
        assert train(tmp_path, "--steps=1000") == 2
    line = mistake(capsys)
    assert "File too large" in line
    assert "nothing was saved before" in line


def test_a_training_that_diverges_keeps_the_last_good_checkpoint(
    finished: Run, capsys: pytest.CaptureFixture[str]
):
    arguments = ["resume", str(finished.path), "--learning-rate"]
    assert main([*arguments, "1e38", "--steps", "1600"]) == 2
    line = mistake(capsys)
    assert "not a finite number in the" in line
    assert "torso" in line or "head" in line
    assert "the last good checkpoint, 1000, is kept" in line
    assert f"rlkit resume {finished.path} --learning-rate 1e+37" in line
    assert checkpoints(finished) == [804, 1000]
    state = load_file(finished.checkpoints / "1000" / "state.safetensors")
    assert all(torch.isfinite(part).all() for part in state.values() if part.is_floating_point())
    assert main([*arguments, "0.001", "--steps", "1400"]) == 0


def test_a_training_that_diverges_before_any_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert train(tmp_path, "--steps=400", "--algorithm.learning-rate=1e38") == 2
    line = mistake(capsys)
    assert "no checkpoint was due before" in line
    assert f"rlkit train --from {only_run(tmp_path).path} --algorithm.learning-rate 1e+37" in line


@pytest.mark.parametrize("named", [("--algorithm", "ppo"), ("--algorithm=sb3:PPO",)])
def test_another_algorithm_trains_in_the_same_world(named: tuple[str, ...], tmp_path: Path):
    settings = (
        ("--algorithm.rollout-length=16", "--algorithm.minibatch-size=32")
        if "ppo" in named
        else ("--algorithm.settings", "n_steps=16", "batch_size=32")
    )
    command = ("train", "cartpole", f"--runs={tmp_path}", "--steps=512", "--evaluation.every=0")
    quick = ("--learner-threads=1", "--evaluation.final-episodes=2")
    assert main([*command, *quick, *named, *settings]) == 0
    run = only_run(tmp_path)
    recipe = run.recipe()
    assert recipe.name in ("cartpole-ppo", "cartpole-sb3-PPO")
    assert run.path.name.startswith(recipe.name)
    assert isinstance(recipe.algorithm, PPOConfig | StableBaselinesConfig)
    assert run.evaluations()[-1]["final"]
    assert main(["resume", str(run.path), "--steps=1024"]) == 0
    again = ("train", "--from", str(run.path), f"--runs={tmp_path / 'again'}", "--steps=256")
    assert main(again) == 0
    assert replace(only_run(tmp_path / "again").recipe(), steps=512) == recipe


def test_settings_that_are_not_named_stay_as_they_were(tmp_path: Path):
    command = ("train", "cartpole", f"--runs={tmp_path}", "--steps=64", "--evaluation.every=0")
    quick = ("--learner-threads=1", "--evaluation.final-episodes=0", "--evaluation.episodes=1")
    settings = ("--algorithm.settings", "batch_size=32", "n_steps=8")
    assert main([*command, *quick, "--algorithm=sb3:PPO", *settings]) == 0
    first = only_run(tmp_path)
    again = ("train", "--from", str(first.path), f"--runs={tmp_path / 'again'}")
    assert main([*again, "--algorithm.settings", "n_epochs=2", "batch_size=16"]) == 0
    algorithm = only_run(tmp_path / "again").recipe().algorithm
    assert isinstance(algorithm, StableBaselinesConfig)
    assert algorithm.settings == {"batch_size": 16, "n_steps": 8, "n_epochs": 2}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--algorithm",), "--algorithm needs a name; `rlkit list algorithms` shows them"),
        (("--algorithm", "--steps=9"), "--algorithm needs a name"),
        (("--algorithm=ppp",), "no algorithm is called 'ppp'; did you mean ppo"),
        (("--algorithm=sb3:SAC",), "recipe 'cartpole-sb3-SAC' cannot be trained: "),
        (
            ("--algorithm=sb3:PPO", "--algorithm.settings", "use_sde=False"),
            "write use_sde=false, not use_sde=False",
        ),
        (("--algorithm=ppo", "--algorithm.batch-size=2"), "unrecognized options: --algorithm.bat"),
    ],
)
def test_an_algorithm_that_does_not_fit_is_explained(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", "cartpole", f"--runs={tmp_path}", *arguments]) == 2
    assert complaint in mistake(capsys)
    assert not list(tmp_path.glob("*/*"))
