"""Files of measurements that are gone on with."""

from pathlib import Path

import pytest

from rlkit.cli.json_lines import append_line, read_lines
from rlkit.cli.mistakes import Mistake


def test_rows_come_back_and_none_where_there_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    assert read_lines(None) == read_lines(file) == []
    rows = [{"seed": 1}, {"seed": 2}]
    for row in rows:
        append_line(file, row)
    assert read_lines(file) == rows


def test_a_line_that_was_broken_off_is_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"seed": 1}\n{"seed": 2, "los')
    assert read_lines(file) == [{"seed": 1}]
    append_line(file, {"seed": 2})
    assert read_lines(file) == [{"seed": 1}, {"seed": 2}]
    file.write_text('{"se')
    assert read_lines(file) == []
    assert file.read_text() == ""


@pytest.mark.parametrize("text", ["1\n", "no JSON\n", '{"a": 1}\n[2]\n', "a table, not lines"])
def test_other_files_are_refused_and_left_as_they_are(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.txt"
    file.write_text(text)
    with pytest.raises(Mistake, match="does not hold measurements in JSON lines"):
        read_lines(file)
    assert file.read_text() == text
