"""Plain and compressed frames behind one interface, and what a million of them take."""

import sys
from functools import cache

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from rlkit_agents.frame_store import CompressedFrames, FrameStore, PlainFrames
from rlkit_agents.replay import Replay

STORES = [PlainFrames, CompressedFrames]
SHAPE = (3, 5)


def make(kind: type, rows: int = 4, num_envs: int = 2) -> FrameStore:
    return kind(rows, num_envs, SHAPE, np.dtype(np.float32))


@pytest.mark.parametrize("kind", STORES)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 2**32 - 1))
def test_frames_come_back_as_written_and_zero_before(
    kind: type, rows: list[int], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    store, expected = make(kind), np.zeros((4, 2, *SHAPE), np.float32)
    for row in rows:
        expected[row] = generator.normal(size=(2, *SHAPE)) * (generator.random(SHAPE) < 0.3)
        store.write(row, expected[row])
    slots = generator.integers(8, size=(2, 3))
    gathered = store.gather(slots)
    np.testing.assert_array_equal(gathered, expected.reshape(8, *SHAPE)[slots])
    gathered[:] = 7  # a copy, that a learner may write to
    np.testing.assert_array_equal(store.gather(np.arange(8)), expected.reshape(8, *SHAPE))


@pytest.mark.parametrize("kind", STORES)
def test_exported_rows_fit_into_another_store(kind: type) -> None:
    generator = np.random.default_rng(0)
    store, other = make(kind), make(kind)
    frames = np.repeat(generator.normal(size=(1, *SHAPE)).astype(np.float32), 2, axis=0)
    for row in range(4):  # much alike, so that compressed ones lean on the first
        frames[0, 0, 0] = row
        store.write(row, frames)
    other.load_state_dict(store.state_dict())
    rows = np.array([1, 2, 3])
    exported = store.export_rows(rows)
    assert all(len(array) == 3 for array in exported.values())
    other.import_rows(rows[1:], {name: array[1:] for name, array in exported.items()})
    np.testing.assert_array_equal(other.gather(np.arange(4, 8)), store.gather(np.arange(4, 8)))
    assert not other.gather(np.arange(4)).any()
    with pytest.raises(ValueError, match="shape"):
        other.import_rows(rows[:1], exported)


def test_the_size_of_a_compressed_store_follows_what_is_overwritten() -> None:
    store = make(CompressedFrames)
    random = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    store.write(0, np.zeros_like(random))
    small = store.nbytes
    store.write(0, random)
    assert store.nbytes > small
    store.write(0, np.zeros_like(random))
    assert store.nbytes == small


def test_without_lz4_compression_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lz4.block", None)
    with pytest.raises(ImportError, match=r"'.\[lz4\]'"):
        make(CompressedFrames)
    make(PlainFrames)


@cache
def boxing_frames() -> np.ndarray:
    """(steps, num_envs, 84, 84), random play."""
    envs = AtariVectorEnv("boxing", num_envs=8, use_fire_reset=False, num_threads=1)
    envs.reset(seed=0)
    generator = np.random.default_rng(0)
    frames = [envs.step(generator.integers(0, 18, 8))[0][:, -1].copy() for _ in range(150)]
    envs.close()
    return np.stack(frames)


@pytest.mark.parametrize(("compress", "limit_bytes"), [(False, 7.2e9), (True, 1.5e9)])
def test_a_million_boxing_transitions_fit_in_the_memory_promised(
    compress: bool, limit_bytes: float
) -> None:
    frames = boxing_frames()
    steps, num_envs = frames.shape[:2]
    replay = Replay(
        capacity=steps * num_envs,
        num_envs=num_envs,
        frame_shape=(84, 84),
        frame_dtype=np.uint8,
        frame_stack=4,
        n_step=3,
        discount=0.99,
        priority_exponent=0.5,
        compress=compress,
        seed=0,
    )
    never = np.zeros(num_envs, bool)
    observations = np.zeros((num_envs, 4, 84, 84), np.uint8)
    for row in frames:
        observations[:, -1] = row
        replay.add(observations, never.astype(int), never.astype(float), never, never, ~never)
    assert replay.nbytes / (steps * num_envs) * 1e6 < limit_bytes
