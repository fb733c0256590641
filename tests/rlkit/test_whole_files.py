"""A file that is being replaced is the old one or the new one, never half of one."""

import os
from pathlib import Path

import pytest

from rlkit import whole_files
from rlkit.whole_files import whole_file


def test_the_new_file_takes_the_place_of_the_old_one_at_the_end(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole_file(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("where", ["writer", "flush", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    existing: bool,
    where: str,
    error: BaseException,
):
    def fail(*arguments: object) -> None:
        raise error

    def write_half(beside: Path) -> None:
        beside.write_text("half")
        if where == "writer":
            fail()

    path = tmp_path / "a.txt"
    if existing:
        path.write_text("old")
    if where == "flush":
        monkeypatch.setattr(whole_files, "flush", fail)
    if where == "replace":
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)), whole_file(path) as beside:
        write_half(beside)
    assert [p.read_text() for p in tmp_path.iterdir()] == (["old"] if existing else [])


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path):
    path = tmp_path / "a.txt"
    with whole_file(path) as beside:
        place = beside
        beside.write_text("x")
    place.write_text("left behind, and longer")
    with whole_file(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_the_name_refers_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    acts: list[tuple[str, str]] = []
    flush, replace = whole_files.flush, os.replace

    def note_flush(path: Path) -> None:
        acts.append(("flush", path.name))
        flush(path)

    def note_replace(source: Path, target: Path) -> None:
        acts.append(("replace", target.name))
        replace(source, target)

    monkeypatch.setattr(whole_files, "flush", note_flush)
    monkeypatch.setattr(os, "replace", note_replace)
    with whole_file(tmp_path / "a.txt") as beside:
        beside.write_text("new")
    assert acts == [("flush", beside.name), ("replace", "a.txt"), ("flush", tmp_path.name)]


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_that_is_none_is_the_error(tmp_path: Path, folder: str):
    (tmp_path / "file").touch()
    expected = FileNotFoundError if folder == "missing" else NotADirectoryError
    with pytest.raises(expected), whole_file(tmp_path / folder / "a.txt") as beside:
        beside.write_text("new")
