"""What TensorBoard and the terminal show while picking is learnt, against slow recomputations."""

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.checkpointing import Checkpointing
from rlkit.callbacks.picking import FEWEST_JUDGED, JUDGED, Picking
from rlkit.callbacks.progress import Progress
from rlkit.callbacks.tensorboard import TensorBoard
from rlkit.environments import GymnasiumEnvironment
from rlkit.nested_state import join_state, split_state
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.run_folder import Run
from rlkit.sb3.stepping import RolloutStepper
from rlkit.seeds import Seeds
from rlkit.stepping import Stepper
from rlkit.training import Training, _standard_callbacks
from rlkit_agents.pick import Attempts, Pick, PickConfig
from rlkit_agents.pick_policy import chance_map
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.step import Step
from rlkit_envs.bin_picking.drawing import attempt_picture
from rlkit_envs.bin_picking.episode import OUTCOMES

NUM_ENVS = 8
SIDE = 8
KINDS = [outcome.value for outcome in OUTCOMES]


def make_pick(num_envs: int = NUM_ENVS, **settings: Any) -> Pick:
    seeds = np.random.SeedSequence(5).spawn(3)
    return Pick(
        PickConfig(window=8, replay_capacity=100, **settings),
        gym.spaces.Box(0.0, 1e3, (2, SIDE, SIDE), np.float32),
        gym.spaces.Discrete(SIDE**2),
        num_envs,
        exploration_seed=seeds[0],
        replay_seed=seeds[1],
        initialisation_seed=seeds[2],
    )


class Written(TensorBoard):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.scalars: dict[str, list[tuple[int, float]]] = {}
        self.pictures: dict[str, list[tuple[int, np.ndarray]]] = {}
        self.texts: list[str] = []
        self.charts: list[Any] = []

    def add_scalars(self, scalars: dict[str, float], step: int) -> None:
        for tag, value in scalars.items():
            self.scalars.setdefault(tag, []).append((step, value))

    def add_image(self, tag: str, picture: np.ndarray, step: int) -> None:
        self.pictures.setdefault(tag, []).append((step, picture))

    def add_text(self, tag: str, text: str, step: int) -> None:
        self.texts.append(text)

    def add_charts(self, charts: Any) -> None:
        self.charts.append(charts)


class Stream:
    """A training whose attempts a test makes up, and what the callback should know of them."""

    def __init__(self, callback: Picking, steps: int = 0, algorithm: Any = None) -> None:
        self.written = Written()
        self.random = np.random.default_rng(3)
        self.algorithm = make_pick() if algorithm is None else algorithm
        self.callback = callback
        self.training: Any = SimpleNamespace(
            callbacks=[callback, self.written],
            steps=steps,
            stepper=SimpleNamespace(num_envs=NUM_ENVS, info={}),
            algorithm=self.algorithm,
        )
        self.seen: list[tuple[int, float | None]] = []
        """(outcome, chance where the policy chose) of every attempt, in order."""
        callback.on_start(self.training)

    def made_up(self) -> tuple[Attempts, np.ndarray, np.ndarray]:
        """Attempts, outcomes and which are none, 0 being success as often as expected."""
        random, shape = self.random, (NUM_ENVS, 2, SIDE, SIDE)
        chances = random.random((NUM_ENVS, SIDE**2), np.float32)
        attempts = Attempts(
            random.random(shape, np.float32),
            random.integers(SIDE**2, size=NUM_ENVS),
            random.random(NUM_ENVS) < 0.3,
            None if random.random() < 0.1 else chances,
        )
        given = chances[np.arange(NUM_ENVS), attempts.actions]
        failures = random.integers(1, len(KINDS), NUM_ENVS)
        outcomes = np.where(random.random(NUM_ENVS) < given, 0, failures)
        valid = random.random(NUM_ENVS) < 0.9
        return attempts, np.where(valid, outcomes, -1), valid

    def step(self, attempts: Attempts, outcomes: np.ndarray, valid: np.ndarray) -> None:
        self.training.steps += NUM_ENVS
        self.training.stepper.info = {"outcome": outcomes}
        self.algorithm.attempts = attempts
        never = np.zeros(NUM_ENVS, bool)
        rewards = (outcomes == 0).astype(np.float32)
        self.callback.on_step(
            self.training, Step(attempts.pictures, rewards, never, never, valid), {}
        )
        for env in range(NUM_ENVS):
            if valid[env]:
                chosen = attempts.chances is not None and not attempts.random[env]
                given = attempts.chances[env, attempts.actions[env]] if chosen else None  # pyright: ignore[reportOptionalSubscript]
                self.seen.append((int(outcomes[env]), None if given is None else float(given)))

    def run(self, attempts: int) -> None:
        while len(self.seen) < attempts:
            self.step(*self.made_up())


def slow_numbers(seen: list[tuple[int, float | None]]) -> dict[str, float]:
    """What should stand in TensorBoard after these attempts."""
    latest = [outcome for outcome, _ in seen[-200:]]
    numbers = {
        f"picking/outcomes/{kind}": latest.count(i) / len(latest) for i, kind in enumerate(KINDS)
    }
    numbers["picking/success_last_200"] = numbers["picking/outcomes/ok"]
    numbers["picking/human_programmed"] = 0.9
    numbers["picking/attempts"] = len(seen)
    numbers["picking/eight_hours_at_10_s"] = 1.0 if len(seen) >= 2880 else 0.0
    numbers["picking/eight_hours_at_6_s"] = 1.0 if len(seen) >= 4800 else 0.0
    judged = [(chance, outcome == 0) for outcome, chance in seen[-1000:] if chance is not None]
    if len(judged) >= 100:
        squares = [(chance - success) ** 2 for chance, success in judged]
        numbers["picking/brier"] = sum(squares) / len(judged)
        error = 0.0
        for i in range(15):
            inside = [(c, s) for c, s in judged if i / 15 < c <= (i + 1) / 15]
            error += abs(sum(c - s for c, s in inside)) / len(judged)
        numbers["picking/ece"] = error
    return numbers


def test_numbers_are_those_of_a_slow_recomputation() -> None:
    stream = Stream(Picking())
    expected: dict[str, list[tuple[int, float]]] = {}
    while len(stream.seen) < 5_000:
        before = len(stream.seen)
        stream.step(*stream.made_up())
        after, steps = len(stream.seen), stream.training.steps
        due = after // 100 > before // 100
        for mark, tag in (
            (2_880, "picking/eight_hours_at_10_s"),
            (4_800, "picking/eight_hours_at_6_s"),
        ):
            if before < mark <= after:  # the curve jumps within a step
                due = True
                expected[tag].append((steps - NUM_ENVS, 0.0))
        if due:
            for tag, value in slow_numbers(stream.seen).items():
                expected.setdefault(tag, []).append((steps, value))
    written = stream.written.scalars
    assert written.keys() == expected.keys()
    assert len(written["picking/success_last_200"]) == 51, "every 100 attempts, and at 2,880"
    assert 0 < len(written["picking/brier"]) < 51, "of few chosen attempts nothing is said"
    for tag, points in expected.items():
        assert [step for step, _ in written[tag]] == [step for step, _ in points]
        assert [value for _, value in written[tag]] == pytest.approx([value for _, value in points])


def test_the_state_is_bounded_plain_and_enough_to_go_on() -> None:
    whole = Stream(Picking())
    whole.run(4_000)
    begun = Stream(Picking())
    begun.run(2_345)
    plain, tensors = split_state(begun.callback.state_dict())
    assert max(len(tensor) for tensor in tensors.values()) <= JUDGED

    resumed = Stream(Picking(), steps=begun.training.steps, algorithm=begun.algorithm)
    resumed.callback.load_state_dict(join_state(json.loads(json.dumps(plain)), tensors))
    resumed.random, resumed.seen = begun.random, begun.seen
    resumed.run(4_000)
    assert whole.written.scalars.keys() == resumed.written.scalars.keys()
    for tag, points in whole.written.scalars.items():
        assert begun.written.scalars.get(tag, []) + resumed.written.scalars[tag] == points
    for tag, pictures in whole.written.pictures.items():
        pieces = begun.written.pictures[tag] + resumed.written.pictures[tag]
        assert [step for step, _ in pieces] == [step for step, _ in pictures]
        assert all((a == b).all() for (_, a), (_, b) in zip(pieces, pictures, strict=True))
    assert resumed.callback.remark == whole.callback.remark
    assert (len(begun.written.texts), len(resumed.written.texts)) == (1, 0)


def test_the_picture_is_of_an_attempt_that_the_policy_chose() -> None:
    stream = Stream(Picking(pictures_every=6))
    attempts, _, _ = stream.made_up()
    chances = np.linspace(0, 1, NUM_ENVS * SIDE**2, dtype=np.float32).reshape(NUM_ENVS, -1)
    # The first bin is filled in this step, and exploring chose for the next.
    valid = np.array([False, *[True] * 7])
    random = np.array([False, True, *[False] * 6])
    attempts = Attempts(attempts.pictures, attempts.actions, random, chances)
    stream.step(attempts, np.array([-1, 0, 3, 0, 0, 0, 0, 0]), valid)
    observation = attempts.pictures[2]
    expected = attempt_picture(
        observation[0],
        chances[2].reshape(SIDE, SIDE),
        int(attempts.actions[2]),
        KINDS[3],
        marked=observation[1],
    )
    ((step, picture),) = stream.written.pictures["picking/attempt"]
    assert step == NUM_ENVS
    np.testing.assert_array_equal(picture, expected)
    stream.step(
        Attempts(attempts.pictures, attempts.actions, ~valid | valid, None),
        *(np.ones(NUM_ENVS, np.int64), np.ones(NUM_ENVS, bool)),
    )
    assert len(stream.written.pictures["picking/attempt"]) == 2, "also where no chance is known"


def test_of_other_algorithms_all_is_said_but_chances() -> None:
    """As of a DQN that is to be compared, and of a Pick that values what an attempt leaves."""
    whole, other = Stream(Picking()), Stream(Picking(), algorithm=SimpleNamespace(attempts=None))
    later = Stream(Picking(), algorithm=make_pick(discount=0.5))
    for stream in (whole, other, later):
        stream.run(2_000)
    judged = {"picking/brier", "picking/ece"}
    common = {tag: v for tag, v in whole.written.scalars.items() if tag not in judged}
    assert judged < whole.written.scalars.keys()
    assert other.written.scalars == later.written.scalars == common
    assert other.written.pictures.keys() == {"picking/curve"}
    assert later.written.pictures.keys() == {"picking/curve", "picking/attempt"}
    assert other.callback.remark == whole.callback.remark


def test_nothing_is_said_of_other_worlds() -> None:
    other_world = Stream(Picking())
    other_world.training.stepper.info = {}
    other_world.algorithm.attempts, _, valid = other_world.made_up()
    step = Step(np.zeros(1), np.zeros(NUM_ENVS), ~valid, ~valid, valid)
    for _ in range(50):
        other_world.callback.on_step(other_world.training, step, {})
    assert other_world.written.scalars == {}
    assert other_world.written.pictures == {}
    assert other_world.written.texts == []
    assert other_world.callback.remark == ""
    assert other_world.callback.state_dict() == {}


@pytest.mark.parametrize("intervals", [{"every": 0}, {"pictures_every": -1}])
def test_intervals_must_be_positive(intervals: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(intervals.values())))):
        Picking(**intervals)


def test_it_comes_before_what_writes_and_saves() -> None:
    order = [type(callback) for callback in _standard_callbacks()]
    assert order.index(Picking) < order.index(TensorBoard) < order.index(Checkpointing)


# What it learns from


def test_the_agent_tells_the_chances_that_it_saw_before_acting() -> None:
    observations = np.random.default_rng(1).uniform(0, 50, (NUM_ENVS, 2, SIDE, SIDE))
    observations = observations.astype(np.float32)
    chooses = make_pick(learning_starts=0, epsilon=LinearSchedule(0.0, 0.0, 1))
    chooses.steps = 1
    actions = chooses.act(observations)
    attempts = chooses.attempts
    assert attempts is not None
    assert attempts.chances is not None
    assert not attempts.random.any()
    np.testing.assert_array_equal(attempts.actions, actions)
    np.testing.assert_array_equal(attempts.pictures, observations)
    heights = torch.from_numpy(observations[:, :-1])
    with torch.no_grad():
        expected = chance_map(chooses.policy.logits(heights)).flatten(1).numpy()
    np.testing.assert_allclose(attempts.chances, expected, rtol=1e-5)

    explores = make_pick()
    explores.act(observations)
    assert explores.attempts is not None
    assert explores.attempts.random.all()
    assert explores.attempts.chances is None


def test_a_stepper_hands_on_what_the_last_step_told() -> None:
    envs = gym.make_vec("CartPole-v1", 2, "sync")
    told: list[dict[str, Any]] = []
    usual = envs.step

    def step(actions: np.ndarray) -> Any:
        *outcome, _ = usual(actions)
        told.append({"number": np.full(2, len(told))})
        return *outcome, told[-1]

    envs.step = step
    stepper = Stepper(envs, Seeds.spawn(1).environment, cut_every=2)
    stepper.reset()
    infos = []
    for _ in range(4):
        stepper.send(np.zeros(2, np.int64))
        stepper.recv()
        infos.append(stepper.info)
    envs.close()
    assert infos[:2] == told[:2]
    assert infos[2] == {}, "after a cut nothing is known"
    assert infos[3] is told[2]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_so_does_that_of_stable_baselines(mode: AutoresetMode) -> None:
    class Counting(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, **arguments: Any) -> Any:
            self.number = 0
            return self.env.reset(**arguments)[0], {"number": 0}

        def step(self, action: Any) -> Any:
            self.number += 1
            *outcome, _ = self.env.step(action)
            return *outcome, {"number": self.number, "list": [1]}

    envs = gym.make_vec(
        "CartPole-v1",
        2,
        "sync",
        vector_kwargs={"autoreset_mode": mode},
        wrappers=[Counting],
        max_episode_steps=3,
    )
    stepper = RolloutStepper(envs, Seeds.spawn(1).environment, lambda: None, lambda _: None)
    stepper.reset()
    numbers = []
    for _ in range(5):
        *_, infos = stepper.step(np.zeros(2, np.int64))
        numbers.append(stepper.info["number"].tolist())
        assert [info["number"] for info in infos] == numbers[-1]
        assert "list" not in stepper.info
    envs.close()
    assert numbers == [[1, 1], [2, 2], [3, 3], [1, 1], [2, 2]], "the last of an episode as well"


# A real training


class Recording(Callback):
    """Keeps what happened at every attempt."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float | None]] = []
        self.at: list[int] = []

    def on_step(self, training: Any, step: Step, metrics: dict[str, Any]) -> None:
        attempts = training.algorithm.attempts
        for env in np.flatnonzero(step.valid):
            assert (step.rewards[env] == 1.0) == (training.stepper.info["outcome"][env] == 0)
            given = None
            if not attempts.random[env]:
                given = float(attempts.chances[env, attempts.actions[env]])
            self.seen.append((int(training.stepper.info["outcome"][env]), given))
        self.at.append(len(self.seen))


RECIPE = Recipe(
    name="small-bins",
    environment=GymnasiumEnvironment("rlkit/BinPicking-v0", {"parts": 3, "pixels": 32}),
    algorithm=PickConfig(
        window=16, learning_starts=40, epsilon=LinearSchedule(0.2, 0.0, 100), samples_per_step=8
    ),
    num_envs=4,
    steps=280,
    environment_threads=1,
    learner_threads=1,
    checkpoint_every=140,
    evaluation=EvaluationSchedule(every=0, final_episodes=0),
)


def trained(run: Run, *others: Callback, checkpoint: int | None = None) -> None:
    callbacks = [*others, Picking(every=50, pictures_every=100), TensorBoard(), Checkpointing()]
    training = Training(RECIPE, run, callbacks, device="cpu")
    if checkpoint is not None:
        training.load_checkpoint(checkpoint)
    training.learn()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Recording, str]:
    run, recording = Run.create(RECIPE, tmp_path_factory.mktemp("runs")), Recording()
    console = Console(file=io.StringIO(), width=200)
    progress = Progress(console, line_seconds=1e9)
    trained(run, recording, progress)
    return run, recording, console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def picking_events(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scalars and images, by tag: steps and what was written."""
    everything = {"images": 0, "scalars": 0, "tensors": 0}
    events = EventAccumulator(str(run.path), size_guidance=everything).Reload()
    tags = events.Tags()
    scalars = {t: events.Scalars(t) for t in tags["scalars"] if t.startswith("picking/")}
    images = {t: events.Images(t) for t in tags["images"] if t.startswith("picking/")}
    assert len(events.Tensors("picking/about/text_summary")) == 1
    assert len(events.Tensors("custom_scalars__config__")) == 1
    return (
        {tag: [(e.step, e.value) for e in found] for tag, found in scalars.items()},
        {tag: [(e.step, e.encoded_image_string) for e in found] for tag, found in images.items()},
    )


def test_a_training_shows_what_happened_in_it(whole: tuple[Run, Recording, str]) -> None:
    run, recording, _ = whole
    assert len(recording.seen) > 200
    assert sum(chance is not None for _, chance in recording.seen) >= FEWEST_JUDGED
    scalars, images = picking_events(run)
    assert set(images) >= {"picking/attempt", "picking/curve", "picking/reliability"}
    for found in images.values():
        assert all(Image.open(io.BytesIO(encoded)).size[0] > 500 for _, encoded in found)
    expected: dict[str, list[tuple[int, float]]] = {}
    for number, (before, after) in enumerate(zip([0, *recording.at], recording.at, strict=False)):
        if after // 50 > before // 50:
            for tag, value in slow_numbers(recording.seen[:after]).items():
                expected.setdefault(tag, []).append((4 * (number + 1), value))
    assert scalars.keys() == expected.keys()
    for tag, points in expected.items():
        assert scalars[tag] == [(step, pytest.approx(value)) for step, value in points]


def test_the_terminal_tells_the_latest_success(whole: tuple[Run, Recording, str]) -> None:
    _, recording, printed = whole
    share = sum(outcome == 0 for outcome, _ in recording.seen[-200:]) / 200
    assert f"picked {100 * share:.0f} % of the last 200  step 280" in printed


def test_a_resumed_training_shows_the_same(
    whole: tuple[Run, Recording, str], tmp_path: Path
) -> None:
    run, _, _ = whole
    copy = Run.open(shutil.copytree(run.path, tmp_path / "copy"))
    trained(copy, checkpoint=140)
    assert len(list(copy.path.glob("events.out.tfevents.*"))) == 2
    assert picking_events(copy) == picking_events(run)
