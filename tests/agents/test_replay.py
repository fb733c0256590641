"""The replay against a slow reference that keeps whole episodes in lists."""

import json
from typing import Any

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from rlkit_agents.replay import Batch, Replay

FRAME = (2, 1)


class Stream:
    """Made-up rows for a replay, with a reference that works them out episode by episode."""

    def __init__(self, seed: int, num_envs: int, frame_stack: int, mean_length: float) -> None:
        self.generator = np.random.default_rng(seed)
        self.num_envs, self.frame_stack, self.mean_length = num_envs, frame_stack, mean_length
        self.row = 0
        # Per environment its episodes: first row, frames, actions, rewards, kind of end.
        self.episodes: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]

    def next(self) -> tuple[np.ndarray, ...]:
        """Arguments for `Replay.add`."""
        observations, actions, rewards, ends, valid = [], [], [], [], []
        for environment, episodes in enumerate(self.episodes):
            if not episodes or len(episodes[-1]["frames"]) > len(episodes[-1]["rewards"]):
                start = {"row": self.row, "frames": [], "actions": [], "rewards": [], "end": None}
                episodes.append(start)
            episode = episodes[-1]
            frame = np.array([[environment + 1], [self.row + 1]], np.uint16)  # never zero
            episode["frames"].append(frame)
            observations.append(self.stack(episode["frames"]))
            action, reward = int(self.generator.integers(18)), float(self.generator.normal())
            end = None
            actions.append(action)
            valid.append(episode["end"] is None)
            if valid[-1]:
                if self.generator.random() < 1 / self.mean_length:
                    end = str(self.generator.choice(["terminated", "truncated"]))
                episode["actions"].append(action)
                episode["rewards"].append(np.float32(reward))
                episode["end"] = end
            ends.append(end)
            rewards.append(reward if valid[-1] else 0.0)
        self.row += 1
        return (
            np.stack(observations),
            np.array(actions),
            np.array(rewards, np.float32),
            np.array([end == "terminated" for end in ends]),
            np.array([end == "truncated" for end in ends]),
            np.array(valid),
        )

    def stack(self, frames: list[np.ndarray]) -> np.ndarray:
        """The observation after `frames` of an episode: zeros before its start, as in ale-py."""
        padded = [np.zeros(FRAME, np.uint16)] * self.frame_stack + frames
        return np.stack(padded[-self.frame_stack :]) if self.frame_stack > 1 else frames[-1]

    def expected(self, rows_capacity: int, n_step: int, discount: float) -> dict[int, dict]:
        """Every transition that can be sampled, by its index."""
        found = {}
        oldest, newest = self.row - rows_capacity, self.row - 1
        for environment, episodes in enumerate(self.episodes):
            for episode in episodes:
                length = len(episode["rewards"])
                for i in range(length):
                    row = episode["row"] + i
                    oldest_frame = episode["row"] + max(0, i - self.frame_stack + 1)
                    if oldest_frame < oldest or row + n_step > newest:
                        continue
                    steps = min(n_step, length - i)
                    value = 0.0
                    for j in range(steps):
                        value += discount**j * float(episode["rewards"][i + j])
                    terminated = i + steps == length and episode["end"] == "terminated"
                    found[row * self.num_envs + environment] = {
                        "observations": self.stack(episode["frames"][: i + 1]),
                        "actions": episode["actions"][i],
                        "returns": value,
                        "bootstrap_discounts": 0.0 if terminated else discount**steps,
                        "next_observations": self.stack(episode["frames"][: i + steps + 1]),
                    }
        return found


def make(stream: Stream, rows: int, n_step: int = 3, **changes: Any) -> Replay:
    settings: dict[str, Any] = {
        "capacity": rows * stream.num_envs,
        "num_envs": stream.num_envs,
        "frame_shape": FRAME,
        "frame_dtype": np.uint16,
        "frame_stack": stream.frame_stack,
        "n_step": n_step,
        "discount": 0.9,
        "seed": 0,
    }
    return Replay(**(settings | changes))


def filled(rows: int = 30, written: int = 50, num_envs: int = 3, **changes: Any) -> Replay:
    stream = Stream(0, num_envs, changes.pop("frame_stack", 4), mean_length=8)
    replay = make(stream, rows, **changes)
    for _ in range(written):
        replay.add(*stream.next())
    return replay


def assert_equal(one: Batch, other: Batch) -> None:
    for name in Batch.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype


@given(
    seed=st.integers(0, 2**32 - 1),
    num_envs=st.integers(1, 4),
    frame_stack=st.integers(1, 5),
    n_step=st.integers(1, 6),
    spare_rows=st.integers(0, 25),
    written=st.integers(1, 90),
    mean_length=st.sampled_from([1.0, 1.5, 4.0, 20.0]),
    compress=st.booleans(),
)
def test_exactly_the_transitions_of_the_reference_can_be_sampled(
    seed: int,
    num_envs: int,
    frame_stack: int,
    n_step: int,
    spare_rows: int,
    written: int,
    mean_length: float,
    compress: bool,
) -> None:
    stream = Stream(seed, num_envs, frame_stack, mean_length)
    rows = n_step + frame_stack + spare_rows
    replay = make(stream, rows, n_step, priority_exponent=1.0, compress=compress)
    uniform = make(stream, rows, n_step)
    for _ in range(written):
        arguments = stream.next()
        replay.add(*arguments)
        uniform.add(*arguments)
    expected = stream.expected(rows, n_step, discount=0.9)
    assert len(replay) == len(uniform) == len(expected)
    assert replay.can_sample(len(expected))
    assert not replay.can_sample(len(expected) + 1)
    if not expected:
        return
    # All priorities are 1 as yet, so that stratified sampling draws each transition just once.
    batch = replay.sample(len(expected))
    assert sorted(batch.indices.tolist()) == sorted(expected)
    for drawn in (batch, uniform.sample(len(expected))):
        for position, index in enumerate(drawn.indices.tolist()):
            for name, value in expected[index].items():
                found = getattr(drawn, name)[position]
                np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("compress", [False, True])
def test_stacks_equal_those_of_the_atari_environment(compress: bool) -> None:
    num_envs, num_rows = 2, 130
    envs = AtariVectorEnv(
        "boxing",
        num_envs=num_envs,
        img_height=42,
        img_width=42,
        use_fire_reset=False,
        max_num_frames_per_episode=90,  # several episodes
        num_threads=1,
    )
    replay = Replay(
        capacity=num_envs * num_rows,
        num_envs=num_envs,
        frame_shape=(42, 42),
        frame_dtype=np.uint8,
        frame_stack=4,
        n_step=2,
        discount=0.9,
        priority_exponent=1.0,
        compress=compress,
        seed=0,
    )
    generator = np.random.default_rng(0)
    observations, _ = envs.reset(seed=1)
    seen, ended, episodes = [], np.zeros(num_envs, bool), 0
    for _ in range(num_rows):
        seen.append(observations.copy())
        actions = generator.integers(0, 18, num_envs)
        following, rewards, terminated, truncated, _ = envs.step(actions)
        replay.add(seen[-1], actions, rewards, terminated, truncated, ~ended)
        ended = terminated | truncated
        episodes += int(ended.sum())
        observations = following
    envs.close()
    assert episodes >= 4
    batch = replay.sample(len(replay))
    steps = np.rint(np.log(batch.bootstrap_discounts) / np.log(0.9)).astype(int)
    assert set(steps) == {1, 2}  # windows that a truncation cut are among them
    for i, (row, environment) in enumerate(zip(*divmod(batch.indices, num_envs), strict=True)):
        np.testing.assert_array_equal(batch.observations[i], seen[row][environment])
        np.testing.assert_array_equal(batch.next_observations[i], seen[row + steps[i]][environment])


def test_a_batch_has_the_promised_types() -> None:
    batch = filled(priority_exponent=0.5).sample(16, 0.4)
    assert batch.observations.shape == batch.next_observations.shape == (16, 4, *FRAME)
    assert batch.observations.flags.c_contiguous
    assert batch.next_observations.flags.c_contiguous
    assert batch.observations.flags.writeable
    assert batch.actions.dtype == batch.indices.dtype == np.int64
    for name in ("returns", "bootstrap_discounts", "weights"):
        assert getattr(batch, name).dtype == np.float32
        assert getattr(batch, name).shape == (16,)
    assert filled(frame_stack=1).sample(16).observations.shape == (16, *FRAME)


@pytest.mark.parametrize(("rows", "written"), [(30, 55), (200, 40), (9, 60)])
def test_uniform_sampling_is_uniform(rows: int, written: int) -> None:
    # Of 9 rows, fewer than half hold transitions that can be sampled.
    replay = filled(rows, written)
    batches = [replay.sample(len(replay)).indices for _ in range(40_000 // len(replay))]
    indices, counts = np.unique(np.concatenate(batches), return_counts=True)
    assert len(indices) == len(replay)
    assert chisquare(counts).pvalue > 0.001
    assert (replay.sample(8).weights == 1).all()


def test_priorities_give_the_frequencies_and_weights_of_the_paper() -> None:
    exponent = 0.6
    replay = filled(priority_exponent=exponent)
    indices = replay.sample(len(replay)).indices
    priorities = np.random.default_rng(1).exponential(size=len(indices)) ** 2 + 0.01
    replay.update_priorities(indices, priorities)
    # Schaul et al. 2016, eq. 1: P(i) = p_i ** alpha / sum of p ** alpha.
    exact = dict(zip(indices, priorities**exponent / (priorities**exponent).sum(), strict=True))
    draws = 60_000
    batches = [replay.sample(32, 0.4) for _ in range(draws // 32)]
    found, counts = np.unique(np.concatenate([b.indices for b in batches]), return_counts=True)
    assert set(found) <= set(exact)
    frequency = dict(zip(found, counts / draws, strict=True))
    for index, probability in exact.items():
        # Four standard errors of independent draws; stratified ones vary less.
        tolerance = 4 * np.sqrt(probability / draws)
        assert abs(frequency.get(index, 0.0) - probability) < tolerance
    # Section 3.4: w_i = (size * P(i)) ** -beta, divided by the largest.
    for batch in batches[:5]:
        probabilities = np.array([exact[index] for index in batch.indices])
        weights = (len(replay) * probabilities) ** -0.4
        np.testing.assert_allclose(batch.weights, weights / weights.max(), rtol=1e-5)
    assert (replay.sample(32, 0.0).weights == 1).all()


def test_new_transitions_come_in_with_the_highest_priority() -> None:
    stream = Stream(0, num_envs=1, frame_stack=1, mean_length=np.inf)
    replay = make(stream, rows=200, n_step=1, priority_exponent=1.0)
    for _ in range(100):
        replay.add(*stream.next())
    old = replay.sample(len(replay)).indices
    replay.update_priorities(old, np.where(old == old[0], 50.0, 1e-9))
    for _ in range(2):
        replay.add(*stream.next())
    newest = {100, 99, int(old[0])}  # one step more makes row 99 whole, the next one row 100
    drawn = replay.sample(90).indices
    assert set(drawn.tolist()) == newest
    assert all(np.count_nonzero(drawn == index) >= 29 for index in newest)


def test_of_a_repeated_index_the_last_priority_stays() -> None:
    replay = filled(priority_exponent=1.0)
    first, second, *others = np.unique(replay.sample(len(replay)).indices)
    replay.update_priorities(np.array(others), np.zeros(len(others)))
    replay.update_priorities(np.array([first, first, second]), np.array([9.0, 1.0, 3.0]))
    drawn = replay.sample(40).indices
    assert abs(np.count_nonzero(drawn == first) - 10) <= 1
    assert abs(np.count_nonzero(drawn == second) - 30) <= 1


def test_priorities_of_overwritten_transitions_are_passed_over() -> None:
    stream = Stream(0, num_envs=2, frame_stack=2, mean_length=6)
    replay = make(stream, rows=20, n_step=1, priority_exponent=1.0)
    for _ in range(20):
        replay.add(*stream.next())
    stale = replay.sample(len(replay)).indices
    for _ in range(20):
        replay.add(*stream.next())
    before = replay.state_dict()["sampler"]
    replay.update_priorities(stale, np.full(len(stale), 1e6))
    after = replay.state_dict()["sampler"]
    np.testing.assert_array_equal(before["masses"], after["masses"])
    assert before["max_priority"] == after["max_priority"] == 1.0


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("exponent", [0.0, 0.6])
@pytest.mark.parametrize("rows_first", [False, True])
@pytest.mark.parametrize("written", [0, 2, 25, 77])
def test_a_saved_replay_goes_on_bit_for_bit(
    compress: bool, exponent: float, rows_first: bool, written: int
) -> None:
    def fresh(seed: int) -> Replay:
        return make(stream, 30, priority_exponent=exponent, compress=compress, seed=seed)

    def learn(learner: Replay, generator: np.random.Generator) -> Batch:
        batch = learner.sample(6, 0.5)
        if exponent:
            learner.update_priorities(batch.indices, generator.exponential(size=6))
        return batch

    stream = Stream(5, num_envs=3, frame_stack=3, mean_length=6)
    replay = fresh(seed=1)
    chunks = []
    for row in range(written):
        replay.add(*stream.next())
        if replay.can_sample(6):
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
        if replay.can_sample(6):
            one = learn(replay, np.random.default_rng(step))
            assert_equal(one, learn(resumed, np.random.default_rng(step)))
        arguments = stream.next()
        replay.add(*arguments)
        resumed.add(*arguments)


def test_a_replay_that_was_put_back_in_part_does_not_go_on() -> None:
    stream = Stream(0, num_envs=3, frame_stack=4, mean_length=8)
    replay = filled()
    early, late = replay.export_rows(20, 30), replay.export_rows(35, 50)
    resumed = filled(written=3)
    resumed.load_state_dict(replay.state_dict())
    with pytest.raises(RuntimeError, match="not whole"):
        resumed.sample(4)
    resumed.import_rows(20, early)
    resumed.import_rows(35, late)  # rows 30 to 34 are missing
    with pytest.raises(RuntimeError, match="not whole"):
        resumed.sample(4)
    with pytest.raises(RuntimeError, match="not whole"):
        resumed.add(*stream.next())
    resumed.import_rows(20, replay.export_rows(20, 50))
    assert_equal(resumed.sample(4), replay.sample(4))


def test_a_state_of_another_replay_is_refused() -> None:
    state = filled().state_dict()
    others: list[dict[str, Any]] = [{"n_step": 2}, {"rows": 31}, {"num_envs": 4}, {"discount": 0.8}]
    for changes in others:
        with pytest.raises(ValueError, match="the saved replay has"):
            filled(**changes).load_state_dict(state)
    with pytest.raises(ValueError, match="priority_exponent"):
        filled(priority_exponent=0.5).load_state_dict(state)
    with pytest.raises(ValueError, match="compress"):
        filled(compress=True).load_state_dict(state)


def test_rows_that_are_not_there_cannot_be_exported() -> None:
    replay = filled(rows=30, written=50)
    for start, stop in ((19, 25), (40, 51), (30, 29)):
        with pytest.raises(ValueError, match="not all there"):
            replay.export_rows(start, stop)
    arrays = replay.export_rows(20, 30)
    arrays["rewards"] = arrays["rewards"][:, :2]
    with pytest.raises(ValueError, match="rewards must have shape"):
        replay.import_rows(20, arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacity": 20}, "capacity must be at least .* 21, not 20"),
        ({"num_envs": 0}, "num_envs"),
        ({"frame_stack": 0}, "frame_stack"),
        ({"n_step": 0}, "n_step"),
        ({"discount": 1.01}, "discount"),
        ({"discount": float("nan")}, "discount"),
        ({"priority_exponent": -0.1}, "priority_exponent"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(Stream(0, 3, 4, 8), rows=30, **changes)


@pytest.mark.parametrize(
    ("position", "replace", "message"),
    [
        (0, lambda x: x[:, 1:], "observations must be uint16 of shape"),
        (0, lambda x: x.astype(np.uint8), "observations must be uint16"),
        (1, lambda x: x[:2], "actions must have shape"),
        (1, lambda x: x.astype(np.float32), "actions must be integers"),
        (2, lambda x: x[:, None], "rewards must have shape"),
        (2, lambda x: x * np.nan, "rewards must be finite"),
        (5, lambda x: x[:1], "valid must have shape"),
        (5, lambda x: ~x, "reset step"),
    ],
)
def test_rows_that_make_no_sense_are_refused(position: int, replace: Any, message: str) -> None:
    stream = Stream(0, num_envs=3, frame_stack=4, mean_length=8)
    replay = make(stream, rows=30)
    for _ in range(10):
        replay.add(*stream.next())
    arguments = list(stream.next())
    wrong = arguments.copy()
    wrong[position] = replace(arguments[position])
    with pytest.raises(ValueError, match=message):
        replay.add(*wrong)
    replay.add(*arguments)  # and nothing was written
    assert replay.rows_written == 11


def test_batches_that_cannot_be_had_are_refused() -> None:
    replay = filled()
    for size in (0, len(replay) + 1):
        with pytest.raises(ValueError, match=f"cannot sample {size} transitions"):
            replay.sample(size)
    with pytest.raises(ValueError, match="importance_exponent"):
        replay.sample(4, 1.5)
    with pytest.raises(ValueError, match="uniformly"):
        replay.update_priorities(np.array([100]), np.array([1.0]))


def test_priorities_that_make_no_sense_are_refused() -> None:
    replay = filled(priority_exponent=0.5)
    indices = replay.sample(2).indices
    for wrong in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match="finite and not negative"):
            replay.update_priorities(indices, np.array([1.0, wrong]))
    with pytest.raises(ValueError, match="one shape"):
        replay.update_priorities(indices, np.ones(3))
    for wrong in (-1, 50 * 3):
        with pytest.raises(ValueError, match=f"never been a transition {wrong}"):
            replay.update_priorities(np.array([100, wrong]), np.ones(2))
    masses = replay.state_dict()["sampler"]["masses"]
    assert set(np.unique(masses)) == {0.0, 1.0}
