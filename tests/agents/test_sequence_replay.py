"""The sequence replay against a slow reference that walks through a log of everything that came."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit_agents.sequence_replay import SequenceBatch, SequenceReplay

OBSERVATION = (1, 2)
STATE = (2, 3)
DISCOUNT = 0.9


class Stream:
    """Made-up rows for a replay, and a log of them."""

    def __init__(self, seed: int, num_envs: int = 3, mean_length: float = 6) -> None:
        self.generator = np.random.default_rng(seed)
        self.num_envs, self.mean_length = num_envs, mean_length
        # Per environment a row's observation, action, reward, kind of end, validity and state.
        self.log: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]

    def next(self) -> list[Any]:
        """Arguments for `SequenceReplay.add`.

        Now and then all episodes are cut, as at a checkpoint: those that had just ended are told
        to end again, at the reset step, and the step after it resets them once more.
        """
        random = self.generator
        was_cut = bool(self.log[0]) and self.log[0][-1]["cut"]
        cut = not was_cut and random.random() < 0.05
        for environment, log in enumerate(self.log):
            valid = not log or not (was_cut or (log[-1]["valid"] and log[-1]["end"]))
            end = "truncated" if cut else None
            if valid and random.random() < 1 / self.mean_length:
                end = str(random.choice(["terminated", "truncated"]))
            log.append(
                {
                    "observation": np.array([[environment + 1, len(log) + 1]], np.uint16),
                    "action": int(random.integers(18)),
                    "reward": np.float32(random.normal() if valid else 0.0),
                    "end": end,
                    "cut": cut,
                    "valid": valid,
                    "state": random.normal(size=STATE).astype(np.float32),
                }
            )
        rows = [log[-1] for log in self.log]
        return [
            np.stack([row["observation"] for row in rows]),
            np.array([row["action"] for row in rows]),
            np.array([row["reward"] for row in rows]),
            np.array([row["end"] == "terminated" for row in rows]),
            np.array([row["end"] == "truncated" for row in rows]),
            np.array([row["valid"] for row in rows]),
            np.stack([row["state"] for row in rows]),
        ]

    def expected(self, replay: SequenceReplay) -> dict[int, dict[str, Any]]:
        """Every sequence that can be sampled, by its index, with the row as first axis."""
        found = {}
        written = len(self.log[0])
        for environment, log in enumerate(self.log):
            for number in range(written):
                first = number * replay.trace_period
                stop = first + replay.burn_in + replay.trace_length + replay.n_step
                if first < written - replay.rows_capacity or stop > written:
                    continue
                learnt = range(first + replay.burn_in, stop - replay.n_step)
                if not any(log[row]["valid"] for row in learnt):
                    continue
                found[number * self.num_envs + environment] = {
                    "observations": [log[row]["observation"] for row in range(first, stop)],
                    "starts": [
                        row > first and not log[row - 1]["valid"] for row in range(first, stop)
                    ],
                    "states": log[first]["state"],
                    "actions": [log[row]["action"] for row in learnt],
                    "valid": [log[row]["valid"] for row in learnt],
                    "windows": [
                        self.window(log, row, replay.n_step) if log[row]["valid"] else None
                        for row in learnt
                    ],
                }
        return found

    @staticmethod
    def window(log: list[dict[str, Any]], row: int, n_step: int) -> tuple[float, float, int]:
        """The return, the discount of what follows, and how many rows later that is."""
        value = 0.0
        for steps in range(1, n_step + 1):
            value += DISCOUNT ** (steps - 1) * float(log[row + steps - 1]["reward"])
            if log[row + steps - 1]["end"] == "terminated":
                return value, 0.0, steps
            if log[row + steps - 1]["end"] == "truncated":
                return value, DISCOUNT**steps, steps
        return value, DISCOUNT**n_step, n_step


def make(num_rows: int = 30, num_envs: int = 3, **changes: Any) -> SequenceReplay:
    settings: dict[str, Any] = {
        "capacity": num_rows * num_envs,
        "num_envs": num_envs,
        "observation_shape": OBSERVATION,
        "observation_dtype": np.uint16,
        "state_shape": STATE,
        "burn_in": 3,
        "trace_length": 5,
        "trace_period": 4,
        "n_step": 2,
        "discount": DISCOUNT,
        "seed": 0,
    }
    return SequenceReplay(**(settings | changes))


def feed(replay: SequenceReplay, stream: Stream, rows: int) -> None:
    for _ in range(rows):
        arguments = stream.next()
        if not replay.begins_sequences:
            arguments[-1] = None
        replay.add(*arguments)


def filled(rows: int = 50, **changes: Any) -> SequenceReplay:
    replay = make(**changes)
    feed(replay, Stream(0, replay.num_envs), rows)
    return replay


def assert_equal(one: SequenceBatch, other: SequenceBatch) -> None:
    for name in SequenceBatch.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@given(
    seed=st.integers(0, 2**32 - 1),
    num_envs=st.integers(1, 4),
    burn_in=st.integers(0, 5),
    trace_length=st.integers(1, 8),
    overlap=st.integers(0, 7),
    n_step=st.integers(1, 4),
    spare_rows=st.integers(0, 25),
    written=st.integers(1, 90),
    mean_length=st.sampled_from([1.0, 1.5, 4.0, 20.0]),
    compress=st.booleans(),
)
def test_exactly_the_sequences_of_the_reference_can_be_sampled(
    seed: int,
    num_envs: int,
    burn_in: int,
    trace_length: int,
    overlap: int,
    n_step: int,
    spare_rows: int,
    written: int,
    mean_length: float,
    compress: bool,
) -> None:
    def replay(**changes: Any) -> SequenceReplay:
        return make(
            burn_in + trace_length + n_step + spare_rows,
            num_envs,
            burn_in=burn_in,
            trace_length=trace_length,
            trace_period=max(1, trace_length - overlap),
            n_step=n_step,
            **changes,
        )

    stream = Stream(seed, num_envs, mean_length)
    prioritised, uniform = replay(priority_exponent=1.0, compress=compress), replay()
    for _ in range(written):
        arguments = stream.next()
        prioritised.add(*arguments)
        uniform.add(*arguments)
    expected = stream.expected(prioritised)
    assert len(prioritised) == len(uniform) == len(expected)
    assert prioritised.size == min(written, prioritised.rows_capacity) * num_envs
    assert not prioritised.can_sample(len(expected) + 1)
    if not expected:
        return
    # All priorities are 1 as yet, so that stratified sampling draws each sequence just once.
    batch = prioritised.sample(len(expected))
    assert sorted(batch.indices.tolist()) == sorted(expected)
    for drawn in (batch, uniform.sample(len(expected))):
        for position, index in enumerate(drawn.indices.tolist()):
            wanted = expected[index]
            for name in ("observations", "starts", "actions", "valid"):
                found = getattr(drawn, name)[:, position]
                np.testing.assert_array_equal(found, wanted[name], err_msg=name)
            np.testing.assert_array_equal(drawn.states[position], wanted["states"])
            for time, window in enumerate(wanted["windows"]):
                if window is not None:
                    found = (
                        drawn.returns[time, position],
                        drawn.bootstrap_discounts[time, position],
                        drawn.steps[time, position],
                    )
                    assert found == pytest.approx(window, rel=1e-5, abs=1e-5)


def test_a_batch_has_the_promised_types() -> None:
    batch = filled(priority_exponent=0.5).sample(7, 0.4)
    length, trace = 3 + 5 + 2, 5
    for name, shape, dtype in (
        ("observations", (length, 7, *OBSERVATION), np.uint16),
        ("starts", (length, 7), bool),
        ("states", (7, *STATE), np.float32),
        ("actions", (trace, 7), np.int64),
        ("returns", (trace, 7), np.float32),
        ("bootstrap_discounts", (trace, 7), np.float32),
        ("steps", (trace, 7), np.int64),
        ("valid", (trace, 7), bool),
        ("weights", (7,), np.float32),
        ("indices", (7,), np.int64),
    ):
        array = getattr(batch, name)
        assert (array.shape, array.dtype) == (shape, dtype), name
        assert array.flags.writeable, name


def test_a_state_is_kept_once_in_a_period() -> None:
    # 2 * 256 numbers every 16 rows are 32 numbers a row.
    settings: dict[str, Any] = {"trace_length": 16, "trace_period": 16, "num_rows": 1_000}
    without = make(state_shape=(0,), **settings)
    with_states = make(state_shape=(2, 256), **settings)
    each = (with_states.nbytes - without.nbytes) / (1_000 * 3)
    assert each == pytest.approx(32 * 4, rel=0.05)


def test_priorities_decide_how_often_a_sequence_is_drawn() -> None:
    replay = filled(priority_exponent=0.5)
    first, second, *others = np.unique(replay.sample(len(replay)).indices)
    replay.update_priorities(np.array(others), np.zeros(len(others)))
    replay.update_priorities(np.array([first, first, second]), np.array([99.0, 1.0, 9.0]))
    # Stratified. A priority of 9 has three times the mass of one of 1; the weights undo that.
    batch = replay.sample(16, 1.0)
    assert np.count_nonzero(batch.indices == first) == pytest.approx(4, abs=1)
    assert np.count_nonzero(batch.indices == second) == pytest.approx(12, abs=1)
    assert set(batch.weights[batch.indices == first]) == {1}
    np.testing.assert_allclose(batch.weights[batch.indices == second], 1 / 3, rtol=1e-6)


def test_new_sequences_come_in_with_the_highest_priority() -> None:
    stream = Stream(0, num_envs=1, mean_length=np.inf)
    replay = make(200, 1, priority_exponent=1.0)
    feed(replay, stream, 100)
    old = replay.sample(len(replay)).indices
    replay.update_priorities(old, np.where(old == old[0], 50.0, 0.0))
    feed(replay, stream, 4)
    drawn = replay.sample(20).indices
    newest = (104 - replay.length) // 4
    assert np.count_nonzero(drawn == newest) == pytest.approx(10, abs=1)
    assert np.count_nonzero(drawn == old[0]) == pytest.approx(10, abs=1)


def test_priorities_of_overwritten_sequences_are_passed_over() -> None:
    stream = Stream(0)
    replay = make(priority_exponent=1.0)
    feed(replay, stream, 30)
    stale = replay.sample(len(replay)).indices
    feed(replay, stream, 32)
    before = replay.state_dict()["sampler"]
    replay.update_priorities(stale, np.full(len(stale), 1e6))
    after = replay.state_dict()["sampler"]
    np.testing.assert_array_equal(before["masses"], after["masses"])
    assert before["max_priority"] == after["max_priority"] == 1.0


@pytest.mark.parametrize("exponent", [0.0, 0.6])
@pytest.mark.parametrize("rows_first", [False, True])
@pytest.mark.parametrize(
    ("written", "compress"), [(0, False), (2, False), (25, True), (76, False), (77, False)]
)
def test_a_saved_replay_goes_on_bit_for_bit(
    exponent: float, rows_first: bool, written: int, compress: bool
) -> None:
    def fresh(seed: int) -> SequenceReplay:
        return make(priority_exponent=exponent, compress=compress, seed=seed)

    def learn(learner: SequenceReplay, generator: np.random.Generator) -> SequenceBatch:
        batch = learner.sample(3, 0.5)
        if exponent:
            learner.update_priorities(batch.indices, generator.exponential(size=3))
        return batch

    stream = Stream(5)
    replay = fresh(seed=1)
    chunks = []
    for row in range(written):
        replay.add(*stream.next())
        if replay.can_sample(3):
            learn(replay, np.random.default_rng(row))
        if row % 10 == 9:  # as incremental checkpoints do
            chunks.append((row - 9, replay.export_rows(row - 9, row + 1)))
    chunks.append((written // 10 * 10, replay.export_rows(written // 10 * 10, written)))
    state = replay.state_dict()
    text = json.dumps(state, default=lambda array: {"array": array.tolist()})
    state = json.loads(text, object_hook=lambda d: np.array(d["array"]) if "array" in d else d)

    resumed = fresh(seed=2)
    # The newest rows that are needed, and some before them.
    needed = [chunk for chunk in chunks if chunk[0] + 10 > replay.first_row]
    if not rows_first:
        resumed.load_state_dict(state)
    for start, arrays in needed:
        resumed.import_rows(start, arrays)
    if rows_first:
        resumed.load_state_dict(state)
    assert resumed.rows_written == replay.rows_written
    assert resumed.first_row == replay.first_row
    assert len(resumed) == len(replay)
    for step in range(40):
        if replay.can_sample(3):
            one = learn(replay, np.random.default_rng(step))
            assert_equal(one, learn(resumed, np.random.default_rng(step)))
        arguments = stream.next()
        replay.add(*arguments)
        resumed.add(*arguments)


def test_a_replay_that_was_put_back_in_part_does_not_go_on() -> None:
    replay = filled()
    resumed = make()
    resumed.load_state_dict(replay.state_dict())
    resumed.import_rows(20, replay.export_rows(20, 30))
    resumed.import_rows(35, replay.export_rows(35, 50))  # rows 30 to 34 are missing
    with pytest.raises(RuntimeError, match="not whole"):
        resumed.sample(3)
    with pytest.raises(RuntimeError, match="not whole"):
        resumed.add(*Stream(0).next())
    resumed.import_rows(20, replay.export_rows(20, 50))
    assert_equal(resumed.sample(3), replay.sample(3))


def test_a_state_is_a_copy() -> None:
    stream = Stream(0)
    replay = make(priority_exponent=0.5)
    feed(replay, stream, 30)
    state = replay.state_dict()
    before = state["open_state"].copy(), state["sampler"]["masses"].copy()
    feed(replay, stream, 30)
    np.testing.assert_array_equal(state["open_state"], before[0])
    np.testing.assert_array_equal(state["sampler"]["masses"], before[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"num_rows": 31},
        {"num_envs": 4},
        {"state_shape": (3, 2)},
        {"burn_in": 2},
        {"trace_length": 4},
        {"trace_period": 5},
        {"n_step": 1},
        {"discount": 0.8},
        {"priority_exponent": 0.5},
        {"compress": True},
    ],
)
def test_a_state_of_another_replay_is_refused(changes: dict[str, Any]) -> None:
    state = filled().state_dict()
    with pytest.raises(ValueError, match=f"the saved replay has {next(iter(changes))} ="):
        make(**changes).load_state_dict(state)


def test_rows_of_another_replay_are_refused() -> None:
    arrays = filled().export_rows(20, 30)
    with pytest.raises(ValueError, match="state_shares must have shape"):
        make(state_shape=(9, 9)).import_rows(20, arrays)
    with pytest.raises(ValueError, match="not all there"):
        filled().export_rows(19, 25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacity": 29}, r"\(burn_in \+ trace_length \+ n_step\) \* num_envs = 30, not 29"),
        ({"num_envs": 0}, "num_envs"),
        ({"burn_in": -1}, "burn_in"),
        ({"trace_length": 0, "trace_period": 1}, "trace_length"),
        ({"trace_period": 0}, "trace_period must be between 1 and 5, not 0"),
        ({"trace_period": 6}, "trace_period must be between 1 and 5, not 6"),
        ({"n_step": 0}, "n_step"),
        ({"discount": float("nan")}, "discount"),
        ({"priority_exponent": -0.1}, "priority_exponent"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("position", "replace", "message"),
    [
        (0, lambda x: x[:, 0], "observations must be uint16 of shape"),
        (0, lambda x: x.astype(np.uint8), "observations must be uint16"),
        (1, lambda x: x.astype(np.float32), "actions must be integers"),
        (2, lambda x: x * np.nan, "rewards must be finite"),
        (5, lambda x: ~x, "reset step"),
        (6, lambda x: None, r"row 12 needs states of shape \(3, 2, 3\), not none"),
        (6, lambda x: x[:, :1], r"row 12 needs states of shape \(3, 2, 3\), not \(3, 1, 3\)"),
    ],
)
def test_rows_that_make_no_sense_are_refused(position: int, replace: Any, message: str) -> None:
    stream = Stream(3)
    replay, other = make(), make()
    for _ in range(12):
        arguments = stream.next()
        replay.add(*arguments)
        other.add(*arguments)
    arguments = stream.next()
    wrong = arguments.copy()
    wrong[position] = replace(arguments[position])
    with pytest.raises(ValueError, match=message):
        replay.add(*wrong)
    for _ in range(8):  # and nothing was written
        replay.add(*arguments)
        other.add(*arguments)
        arguments = stream.next()
    assert_equal(replay.sample(2), other.sample(2))


def test_batches_that_cannot_be_had_are_refused() -> None:
    replay = filled()
    for size in (0, len(replay) + 1):
        with pytest.raises(ValueError, match=f"cannot sample {size} sequences"):
            replay.sample(size)
    with pytest.raises(ValueError, match="importance_exponent"):
        replay.sample(2, 1.5)
    with pytest.raises(ValueError, match="uniformly"):
        replay.update_priorities(np.array([20]), np.array([1.0]))
