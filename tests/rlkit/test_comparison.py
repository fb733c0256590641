"""Comparing runs: what shares a row, what is refused, and the numbers of a row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkit.comparison import Comparison, ComparisonError, RunResult, compare

PROTOCOL = {
    "id": "ALE/Boxing-v5",
    "sticky_actions": 0.25,
    "frame_skip": 4,
    "height": 84,
    "episodes": 4,
    "seed": 3,
    "num_envs": 4,
}


def result(
    run: str,
    returns: list[float],
    *,
    seed: int = 1,
    name: str = "boxing",
    learning_rate: float = 1e-3,
    final: bool = True,
    **protocol: Any,
) -> RunResult:
    recipe = {"name": name, "seed": seed, "algorithm": {"learning_rate": learning_rate}}
    evaluation = {
        "step": 1000 * seed,
        "final": final,
        "returns": returns,
        "counts": {"knock_outs": [1.0 if value == 100 else 0.0 for value in returns]},
        "metrics": {"knock_outs": {"mean": 0.0, "unit": "knock-outs"}},
        "protocol": PROTOCOL | protocol,
    }
    return RunResult(run, recipe, evaluation)


def labels(comparison: Comparison) -> list[str]:
    return [row.label for row in comparison.rows]


def test_seeds_of_one_configuration_share_a_row():
    comparison = compare([result("a", [1, 2, 3, 100]), result("b", [5, 6, 100, 100], seed=2)])
    (row,) = comparison.rows
    assert row.runs == ("a", "b")
    assert row.seeds == (1, 2)
    assert row.steps == (1000, 2000)
    # By hand: 1 2 3 5 6 100 100 100 without two at either end.
    assert row.summary.iqm == pytest.approx((3 + 5 + 6 + 100) / 4)
    assert row.summary.mean == pytest.approx(317 / 8)
    assert row.metrics["knock_outs"] == {"mean": 3 / 8, "unit": "knock-outs"}
    assert row.summary.human_normalised == pytest.approx((317 / 8 - 0.1) / 12.0)


def test_the_interval_is_stratified_by_run():
    low, high = [0.0] * 20, [100.0] * 20
    (apart,) = compare([result("a", low), result("b", high, seed=2)]).rows
    (pooled,) = compare([result("c", low + high)]).rows
    # Within each run nothing varies, so resampling run by run gives one value.
    assert apart.summary.iqm_ci95 == (50.0, 50.0)
    assert pooled.summary.iqm_ci95 is not None
    assert pooled.summary.iqm_ci95[0] < 50 < pooled.summary.iqm_ci95[1]


def test_rows_of_one_recipe_are_told_apart_by_what_differs():
    comparison = compare(
        [
            result("a", [1, 2]),
            result("b", [3, 4], learning_rate=1e-2),
            result("c", [3, 4], name="other", learning_rate=1e-2),
            result("d", [5, 6], seed=2),
        ]
    )
    assert labels(comparison) == [
        "boxing (learning_rate=0.001)",
        "boxing (learning_rate=0.01)",
        "other",
    ]
    assert comparison.rows[0].runs == ("a", "d")


def test_a_repeated_seed_is_not_pooled_with_itself():
    comparison = compare([result("a", [1, 2]), result("b", [1, 2]), result("c", [5, 6], seed=2)])
    assert [row.runs for row in comparison.rows] == [("a", "c"), ("b",)]


@pytest.mark.parametrize(
    ("field", "value"), [("sticky_actions", 0.0), ("frame_skip", 5), ("episodes", 100), ("id", "x")]
)
def test_unlike_protocols_are_refused_by_name(field: str, value: Any):
    with pytest.raises(ComparisonError) as error:
        compare([result("first", [1, 2]), result("second", [1, 2], seed=2, **{field: value})])
    message = str(error.value)
    assert f"differ in {field}" in message
    assert "first" in message
    assert "second" in message
    assert repr(value) in message
    assert "\n" not in message


def test_a_field_that_only_one_protocol_has_is_refused():
    with pytest.raises(ComparisonError, match=r"differ in epsilon: None in a, 0\.05 in b"):
        compare([result("a", [1, 2]), result("b", [1, 2], seed=2, epsilon=0.05)])


def test_seeds_and_input_size_do_not_make_protocols_unlike():
    other = result("b", [1, 2], name="large", height=42, seed=2, num_envs=8)
    other.evaluation["protocol"]["seed"] = 99
    comparison = compare([result("a", [1, 2]), other])
    assert labels(comparison) == ["boxing", "large"]
    assert comparison.protocol == {
        "id": "ALE/Boxing-v5",
        "sticky_actions": 0.25,
        "frame_skip": 4,
        "episodes": 4,
    }


def test_an_unfinished_run_marks_its_row():
    comparison = compare([result("a", [1, 2]), result("b", [1, 2], seed=2, final=False)])
    assert not comparison.rows[0].final


def test_json_is_plain():
    comparison = compare([result("a", list(np.arange(8.0)))])
    data = json.loads(json.dumps(comparison.to_json()))
    assert data["rows"][0]["seeds"] == [1]
    assert data["rows"][0]["iqm"] == 3.5
    assert data["rows"][0]["iqm_ci95"][0] <= 3.5 <= data["rows"][0]["iqm_ci95"][1]


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ComparisonError, match="at least one run"):
        compare([])


def printed(
    path: Path, policy: str, seed: int | None, returns: list[float], **changes: Any
) -> Path:
    """A file that holds what `rlkit evaluate --json` prints."""
    evaluation = dict(result("", returns).evaluation)
    del evaluation["step"], evaluation["final"]
    provenance = {"seed": seed, "steps": 50}
    evaluation["policy"] = {"path": policy, "provenance": provenance}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(evaluation | changes))
    return path


def test_an_evaluation_in_a_file_is_a_row_beside_runs(tmp_path: Path):
    files = [
        printed(tmp_path / "a" / "scores.json", "a.zip", 1, [1, 2, 3, 4]),
        printed(tmp_path / "b" / "scores.json", "b.zip", 2, [9, 9, 9, 9]),
        printed(tmp_path / "b" / "none.json", "c.zip", None, [5, 5, 5, 5]),
    ]
    evaluated = [RunResult.of_evaluation(file) for file in files]
    comparison = compare([result("run", [7, 7, 7, 7]), *evaluated])
    # Two policies are two rows, though their files share a name and only seeds differ beside.
    assert labels(comparison) == [
        "boxing",
        "scores (policy=a.zip)",
        "scores (policy=b.zip)",
        "none",
    ]
    assert [row.summary.mean for row in comparison.rows] == [7, 2.5, 9, 5]
    assert [row.steps for row in comparison.rows] == [(1000,), (50,), (50,), (50,)]
    assert all(row.final for row in comparison.rows)
    other = printed(tmp_path / "other.json", "a.zip", 1, [1], protocol=PROTOCOL | {"frame_skip": 2})
    with pytest.raises(ComparisonError, match=r"frame_skip: 4 in run, 2 in .*other\.json"):
        compare([result("run", [7]), RunResult.of_evaluation(other)])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"policy": {"path": "a", "provenance": {}}}'])
def test_a_file_that_holds_no_evaluation_is_refused(tmp_path: Path, text: str):
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(ComparisonError, match=r"scores\.json holds no evaluation as"):
        RunResult.of_evaluation(tmp_path / "scores.json")
    with pytest.raises(ComparisonError, match=r"cannot read .*missing\.json: No such file"):
        RunResult.of_evaluation(tmp_path / "missing.json")
