"""The step stream: reset steps, cuts, what a replay makes of it, and going on after a cut."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from hypothesis import given
from hypothesis import strategies as st

from rlkit.environments import GymnasiumEnvironment, make_envs
from rlkit.seeds import Seeds
from rlkit.stepping import Stepper
from rlkit_agents.replay import Replay
from rlkit_agents.step import Step

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2


class CountingEnvs(VectorEnv):
    """Each observation names its reset seed, episode and step; each valid step is rewarded by 1.

    Episodes end at random, each step with probability `ends` for either reason, or as scripted.
    """

    def __init__(
        self, num_envs: int, ends: float = 0.0, script: list[list[int]] | None = None
    ) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = gym.spaces.Box(-1, 2**62, (3,), np.int64)
        self.single_action_space = gym.spaces.Discrete(2)
        self.ends = ends
        self.script = script
        self.terminal: set[tuple[int, ...]] = set()
        """Observations after which an episode terminated."""
        self.natural_ends = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.random = np.random.default_rng(seed)
        self.seed, self.calls = seed, 0
        # Episodes are numbered apart in each environment.
        self.episode = np.arange(self.num_envs) * 1_000_000
        self.time = np.zeros(self.num_envs, np.int64)
        self.over = np.zeros(self.num_envs, bool)
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        return np.stack([np.full(self.num_envs, self.seed), self.episode, self.time], axis=1)

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        resets = self.over
        self.time = np.where(resets, 0, self.time + 1)
        self.episode = self.episode + resets
        if self.script is None:
            draws = self.random.random(self.num_envs)
            kinds = (draws < 2 * self.ends).astype(int) + (draws < self.ends)
        else:
            kinds = np.array(self.script[self.calls])
        kinds = np.where(resets, RUNNING, kinds)
        self.calls += 1
        terminated, truncated = kinds == TERMINATED, kinds == TRUNCATED
        self.over = terminated | truncated
        self.natural_ends += int(self.over.sum())
        observations = self.observe()
        self.terminal |= {tuple(row) for row in observations[terminated].tolist()}
        counts = {"time": self.time.astype(float)}
        rewards = (~resets).astype(np.float64)
        return observations, rewards, terminated, truncated, {"episode_counts": counts}


class OverlappingCountingEnvs(CountingEnvs):
    """Steps while the caller does something else."""

    def send(self, actions: np.ndarray) -> None:
        self.sent = actions

    def recv(self) -> tuple[Any, ...]:
        return self.step(self.sent)


class SavingCountingEnvs(OverlappingCountingEnvs):
    """Can save their state; what goes on is as if it had never been asked for."""

    def __init__(self, num_envs: int, ends: float = 0.0) -> None:
        super().__init__(num_envs, ends)
        self.metadata["saves_state"] = True

    def state(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).copy() for name in ("episode", "time", "over")}
        return {"seed": self.seed, "random": self.random.bit_generator.state, **arrays}

    def set_state(self, state: dict[str, Any]) -> None:
        self.random, self.calls = np.random.default_rng(), 0
        self.random.bit_generator.state = state["random"]
        self.seed = state["seed"]
        for name in ("episode", "time", "over"):
            setattr(self, name, state[name].copy())


def stepper(envs: VectorEnv, cut_every: int | None = None, seed: int = 5) -> Stepper:
    return Stepper(envs, Seeds.spawn(seed).environment, cut_every)


def advance(stepper: Stepper) -> Step:
    stepper.send(np.zeros(stepper.num_envs, np.int64))
    return stepper.recv()


@given(
    num_envs=st.integers(1, 4),
    ends=st.floats(0, 0.4),
    cut_every=st.none() | st.integers(1, 9),
    extra_cuts=st.sets(st.integers(0, 59), max_size=6),
    n_step=st.integers(1, 4),
    seed=st.integers(0, 1000),
    overlapping=st.booleans(),
)
def test_a_replay_fed_from_the_stream_never_joins_episodes(
    num_envs: int,
    ends: float,
    cut_every: int | None,
    extra_cuts: set[int],
    n_step: int,
    seed: int,
    overlapping: bool,
):
    envs = (OverlappingCountingEnvs if overlapping else CountingEnvs)(num_envs, ends)
    stream = stepper(envs, cut_every, seed)
    replay = Replay(
        capacity=100 * num_envs,
        num_envs=num_envs,
        frame_shape=(3,),
        frame_dtype=np.int64,
        frame_stack=1,
        n_step=n_step,
        discount=1.0,
        seed=0,
    )
    observations = stream.reset()
    finished, last = [], None
    for time in range(60):
        if time in extra_cuts:
            stream.cut_after_this_step()
        step = advance(stream)
        restarts = last is not None and last[1]
        if last is None or not restarts:
            was_over = np.zeros(num_envs, bool) if last is None else last[0].ended
            np.testing.assert_array_equal(step.valid, ~was_over)
        else:
            assert not np.any([step.valid, step.ended, step.rewards])
        if stream.at_cut:
            np.testing.assert_array_equal(step.truncated, ~step.terminated)
        assert not (step.terminated & step.truncated).any()
        assert step.rewards.dtype == np.float32
        replay.add(
            observations,
            np.zeros(num_envs, int),
            step.rewards,
            step.terminated,
            step.truncated,
            step.valid,
        )
        observations, last = step.observations, (step, stream.at_cut)
        finished += stream.finished

    assert len(finished) == envs.natural_ends
    for episode in finished:
        assert episode.episode_return == episode.length == episode.counts["time"] >= 1
    if not replay.can_sample(1):
        return
    batch = replay.sample(1 if len(replay) < 64 else 64)
    # Reset seed and episode are those of the first observation, and time passed step by step.
    np.testing.assert_array_equal(batch.observations[:, :2], batch.next_observations[:, :2])
    passed = batch.next_observations[:, 2] - batch.observations[:, 2]
    assert ((passed >= 1) & (passed <= n_step)).all()
    np.testing.assert_array_equal(batch.returns, passed)
    terminal = [tuple(row) in envs.terminal for row in batch.next_observations.tolist()]
    np.testing.assert_array_equal(batch.bootstrap_discounts, 1.0 - np.array(terminal))


@pytest.mark.parametrize("kind", [CountingEnvs, OverlappingCountingEnvs])
def test_a_cut_falls_on_environments_in_every_state(kind: type[CountingEnvs]):
    # At the second step: terminates, is truncated, resets, runs on.
    script = [[0, 0, TERMINATED, 0], [TERMINATED, TRUNCATED, 0, 0]]
    stream = stepper(kind(4, script=[*script, *script]), cut_every=2)
    stream.reset()
    first, cut, restart, after = (advance(stream) for _ in range(4))
    assert first.valid.all()
    np.testing.assert_array_equal(first.ended, [False, False, True, False])
    np.testing.assert_array_equal(cut.valid, [True, True, False, True])
    np.testing.assert_array_equal(cut.terminated, [True, False, False, False])
    np.testing.assert_array_equal(cut.truncated, [False, True, True, True])
    assert not restart.valid.any()
    assert not restart.ended.any()
    np.testing.assert_array_equal(restart.rewards, np.zeros(4))
    np.testing.assert_array_equal(restart.observations[:, 2], np.zeros(4))
    assert after.valid.all()
    np.testing.assert_array_equal(after.observations[:, 2], np.ones(4))


def test_episodes_that_a_cut_breaks_off_are_not_counted_as_finished():
    script = [[0, 0, 0], [TERMINATED, 0, 0], [0, 0, TRUNCATED], [0, 0, 0]]
    stream = stepper(CountingEnvs(3, script=script), cut_every=3)
    stream.reset()
    finished = []
    for _ in range(3):
        advance(stream)
        finished.append([(e.episode_return, e.length) for e in stream.finished])
    assert stream.at_cut
    assert finished == [[], [(2.0, 2)], [(3.0, 3)]]
    advance(stream)
    assert stream.finished == []
    # What ran at the cut does not count towards the next episode.
    for _ in range(3):
        advance(stream)
    assert [(e.episode_return, e.length) for e in stream.finished] == [(3.0, 3)]


def test_regular_cuts_come_after_the_same_number_of_steps_and_their_restart_does_not_count():
    stream = stepper(CountingEnvs(2), cut_every=3)
    stream.reset()
    assert [advance(stream) is not None and stream.at_cut for _ in range(9)] == [
        *(False, False, True),
        *(False, False, False, True),
        *(False, False),
    ]
    assert stream.cuts == 2


def test_a_cut_on_request_shifts_the_regular_ones():
    stream = stepper(CountingEnvs(2), cut_every=4)
    stream.reset()
    advance(stream)
    stream.cut_after_this_step()
    advance(stream)
    assert stream.at_cut
    assert [advance(stream) is not None and stream.at_cut for _ in range(6)] == [
        *(False, False, False, False, True),
        False,
    ]


@pytest.mark.parametrize(
    ("kind", "steps"),
    [(CountingEnvs, 15), (OverlappingCountingEnvs, 15), (SavingCountingEnvs, 14)],
)
def test_going_on_from_a_cut_gives_the_same_stream(kind: type[CountingEnvs], steps: int):
    whole = stepper(kind(3, 0.1), cut_every=7)
    whole.reset()
    for _ in range(steps):
        advance(whole)
    assert whole.at_cut
    state = whole.state_dict()
    later = stepper(kind(3, 0.1), cut_every=7)
    later.load_state_dict(state)
    assert later.at_cut
    for _ in range(30):
        expected, step = advance(whole), advance(later)
        for name in ("observations", "rewards", "terminated", "truncated", "valid"):
            np.testing.assert_array_equal(getattr(step, name), getattr(expected, name))
        assert later.finished == whole.finished
        assert (later.at_cut, later.cuts) == (whole.at_cut, whole.cuts)


def test_cuts_change_nothing_where_environments_save_their_state():
    cut, whole = stepper(SavingCountingEnvs(3, 0.1), 5), stepper(SavingCountingEnvs(3, 0.1))
    np.testing.assert_array_equal(cut.reset(), whole.reset())
    at_cut = []
    for time in range(40):
        if time == 7:
            cut.cut_after_this_step()
        step, expected = advance(cut), advance(whole)
        for name in ("observations", "rewards", "terminated", "truncated", "valid"):
            np.testing.assert_array_equal(getattr(step, name), getattr(expected, name))
        assert cut.finished == whole.finished
        at_cut.append(cut.at_cut)
    assert np.flatnonzero(at_cut).tolist() == [4, 7, 12, 17, 22, 27, 32, 37]
    assert cut.cuts == 8


def test_a_cut_without_a_saved_state_starts_afresh():
    """As of a training from before environments could save theirs."""
    stream, older = stepper(SavingCountingEnvs(2)), stepper(CountingEnvs(2))
    stream.load_state_dict({"cuts": 3})
    older.load_state_dict({"cuts": 3})
    np.testing.assert_array_equal(advance(stream).observations, advance(older).observations)


def test_a_state_of_other_environments_is_refused():
    stream = stepper(SavingCountingEnvs(2))
    stream.reset()
    saved = stream.state_dict()
    with pytest.raises(ValueError, match="these can take none"):
        stepper(CountingEnvs(2)).load_state_dict(saved)
    with pytest.raises(ValueError, match="a state of other environments: 'random'"):
        stepper(SavingCountingEnvs(2)).load_state_dict({**saved, "environments": {"seed": 1}})
    with pytest.raises(ValueError, match="a state of other environments"):
        stepper(SavingCountingEnvs(2)).load_state_dict({**saved, "environments": [1]})


def test_every_cut_reseeds_differently_and_another_seed_does_too():
    def seeds(seed: int) -> list[int]:
        stream = stepper(CountingEnvs(1), cut_every=1, seed=seed)
        first = stream.reset()[0, 0]
        return [int(first), *(int(advance(stream).observations[0, 0]) for _ in range(6))]

    assert len(set(seeds(1))) == 4
    assert not set(seeds(1)) & set(seeds(2))
    assert seeds(1) == seeds(1)


def test_a_gymnasium_environment_streams_as_its_autoreset_says():
    envs = make_envs(GymnasiumEnvironment("CartPole-v1"), 3)
    stream = stepper(envs, cut_every=40)
    assert stream.reset().shape == (3, 4)
    resets, over = 0, np.zeros(3, bool)
    for _ in range(100):
        step = advance(stream)
        np.testing.assert_array_equal(step.valid, ~over)
        np.testing.assert_array_equal(step.rewards, step.valid.astype(float))
        # A first observation lies near upright.
        assert (np.abs(step.observations[~step.valid]) <= 0.05).all()
        resets, over = resets + (~step.valid).sum(), step.ended
    assert resets > 20


def test_other_autoreset_modes_are_refused():
    envs = CountingEnvs(1)
    envs.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    with pytest.raises(ValueError, match="NEXT_STEP"):
        stepper(envs)
