"""Run folders hold what they should, and what cannot be read or written is one clear line."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlkit import run_folder
from rlkit.recipes import RECIPES
from rlkit.run_folder import Run, RunError, machine, provenance

BOXING, CARTPOLE = RECIPES["boxing"], RECIPES["cartpole"]


def test_a_run_folder_is_named_for_environment_recipe_time_and_seed(tmp_path: Path):
    run = Run.create(replace(BOXING, seed=12), tmp_path)
    assert run.path.parent == tmp_path / "ALE-Boxing-v5"
    assert re.fullmatch(r"boxing-\d{8}-\d{6}-s12", run.path.name)
    assert sorted(path.name for path in run.path.iterdir()) == ["config.json", "policies"]
    assert [path.parent for path in (run.checkpoints, run.policies, run.videos)] == [run.path] * 3
    assert run.evaluations_file == run.path / "evaluations.jsonl"


def test_the_configuration_is_complete_and_comes_back(tmp_path: Path):
    recipe = replace(CARTPOLE, seed=5, minutes=0.5)
    run = Run.create(recipe, tmp_path)
    assert Run.open(run.path).recipe() == recipe
    config = json.loads(run.config_file.read_text())
    assert config["format_version"] == 1
    assert {"torch", "numpy", "gymnasium", "ale-py"} <= set(config["packages"])
    assert config["packages"]["torch"]
    assert {"processor", "cores", "memory_gib", "system"} == set(config["machine"])
    assert isinstance(config["command"], list)
    assert {"git_revision", "python", "created"} <= set(config)
    assert not list(run.path.glob("*.partial"))


def test_runs_begun_in_the_same_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_folder.time, "strftime", lambda form: "20300101-000000")
    names = [Run.create(CARTPOLE, tmp_path).path.name for _ in range(3)]
    assert names == [f"cartpole-20300101-000000-s1{tail}" for tail in ("", "-2", "-3")]


def test_provenance_names_no_path_of_this_machine_but_in_the_command(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("sys.argv", ["/some/where/bin/rlkit", "train", "boxing"])
    found = provenance()
    assert found["command"] == ["rlkit", "train", "boxing"]

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for part in value.values() for text in texts(part)]
        if isinstance(value, list):
            return [text for part in value for text in texts(part)]
        return [value] if isinstance(value, str) else []

    assert not [text for text in texts(found) if text.startswith("/") or str(Path.home()) in text]
    assert json.loads(json.dumps(found)) == found


def test_the_machine_has_a_processor_cores_and_memory():
    found = machine()
    assert found["cores"] == os.cpu_count()
    assert found["processor"]
    assert found["memory_gib"] is None or 0.1 < found["memory_gib"] < 100_000


@pytest.mark.parametrize("place", ["file", "file/below", "file/below/further"])
def test_a_root_that_cannot_be_a_folder_is_one_line(tmp_path: Path, place: str):
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as caught:
        Run.create(CARTPOLE, tmp_path / place)
    assert str(caught.value).startswith(f"cannot write the run folder {tmp_path / place}")
    assert str(caught.value).endswith(": Not a directory")
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_no_half_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*arguments: Any, **options: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunError, match=r"cannot write the run folder .*: No space left on device"):
        Run.create(CARTPOLE, tmp_path)
    assert not list(tmp_path.glob("*/*"))


def test_what_is_no_run_folder_is_refused(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match=f"{path} is not a run folder: it has no config.json"):
            Run.open(path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"null", b"\xff", b'{"format_version": "x"}']
)
def test_a_damaged_configuration_is_one_line(tmp_path: Path, content: bytes):
    run = Run.create(CARTPOLE, tmp_path)
    run.config_file.write_bytes(content)
    with pytest.raises(RunError, match=f"cannot read {run.config_file}: ") as caught:
        Run.open(run.path).recipe()
    assert "\n" not in str(caught.value)


def edit(run: Run, **changes: Any) -> None:
    configuration = json.loads(run.config_file.read_text())
    run.config_file.write_text(json.dumps(configuration | changes))


def test_a_newer_configuration_says_so(tmp_path: Path):
    run = Run.create(CARTPOLE, tmp_path)
    edit(run, format_version=2, recipe="in a new form")
    with pytest.raises(RunError, match=r"has format version 2; .* up to 1: update rlkit"):
        run.recipe()


def test_a_recipe_at_fault_is_named_with_file_and_field(tmp_path: Path):
    run = Run.create(CARTPOLE, tmp_path)
    recipe = json.loads(run.config_file.read_text())["recipe"]
    edit(run, recipe=recipe | {"num_envs": "many"})
    with pytest.raises(RunError, match=f"cannot read {run.config_file}: .*'many' .*num_envs"):
        run.recipe()


def test_a_changed_recipe_is_kept_beside_the_earlier_ones(tmp_path: Path):
    run = Run.create(CARTPOLE, tmp_path)
    for steps in (60_000, 70_000):
        run.change_recipe(replace(CARTPOLE, steps=steps))
    assert run.recipe() == replace(CARTPOLE, steps=70_000)
    earlier = json.loads(run.config_file.read_text())["earlier_recipes"]
    assert [recipe["steps"] for recipe in earlier] == [50_000, 60_000]


def test_a_recipe_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Run.create(CARTPOLE, tmp_path)

    def fail(*arguments: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RunError, match=f"cannot write {run.config_file}: Read-only file system"):
        run.change_recipe(replace(CARTPOLE, steps=9))
    assert run.recipe() == CARTPOLE


def test_evaluations_are_read_without_a_line_cut_off_by_a_crash(tmp_path: Path):
    run = Run.create(CARTPOLE, tmp_path)
    assert run.evaluations() == []
    run.evaluations_file.write_text('{"mean": 1}\n{"mean": 2}\n{"me')
    assert run.evaluations() == [{"mean": 1}, {"mean": 2}]
    run.evaluations_file.write_text('{"mean": 1}\n{"me\n{"mean": 2}\n')
    with pytest.raises(RunError, match=f"cannot read {run.evaluations_file}"):
        run.evaluations()
