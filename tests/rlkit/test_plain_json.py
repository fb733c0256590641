"""What is written as JSON holds nothing that other readers of JSON refuse."""

import json
from pathlib import Path

import numpy as np

from rlkit.plain_json import finite, write_finite


def test_numbers_that_json_does_not_know_become_none() -> None:
    data = {"a": [1.0, float("nan")], "b": (float("inf"), "x", 3), "c": {"d": [-np.inf, True]}}
    plain = {"a": [1.0, None], "b": [None, "x", 3], "c": {"d": [None, True]}}
    assert finite(data) == plain
    assert finite(np.float64("nan")) is None
    assert json.loads(json.dumps(finite(data), allow_nan=False)) == plain


def test_a_file_holds_what_is_given_back(tmp_path: Path) -> None:
    told = write_finite(tmp_path / "told.json", {"a": (1.0, float("nan"))})
    assert told == {"a": [1.0, None]}
    assert json.loads((tmp_path / "told.json").read_text()) == told
