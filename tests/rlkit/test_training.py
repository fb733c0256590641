"""Whole small trainings: repeated, killed, resumed, and ended by their budget or an error."""

import errno
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkit import checkpoint
from rlkit.callbacks import evaluating
from rlkit.callbacks.callback import Callback
from rlkit.callbacks.checkpointing import Checkpointing
from rlkit.callbacks.evaluating import Evaluating
from rlkit.checkpoint import CheckpointError, CheckpointStore
from rlkit.environments import Environment, GymnasiumEnvironment
from rlkit.policies import load_policy
from rlkit.policy_file import read_policy_file
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.run_folder import Run
from rlkit.training import RecipeError, Training, resume, train
from rlkit_agents.algorithm import NonFiniteGradientError
from rlkit_agents.dqn import DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick import PickConfig
from rlkit_agents.pick_policy import PickNetworkConfig
from rlkit_agents.ppo_config import PPOConfig
from rlkit_agents.pqn import PQNConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.r2d2_config import R2D2Config
from rlkit_agents.step import Step
from rlkit_envs.atari import AtariProtocol

from .interruptions import At, Killed, kill

BOXING = AtariProtocol("boxing", height=42, width=42)
BINS = GymnasiumEnvironment("rlkit/BinPicking-v0", {"tier": "single", "parts": 3, "pixels": 16})
DATA_CENTER = GymnasiumEnvironment(
    "rlkit/DataCenterCooling-v0", {"episode_days": 1, "discrete": True}
)
REMEMBERING = NetworkConfig(torso="mlp", hidden_sizes=(8,), memory="gru", memory_size=8)
_OFF_POLICY: dict[str, Any] = dict(replay_capacity=400, batch_size=4, learning_starts=20)
SMALL_ALGORITHMS = {
    "dqn": DQNConfig(NetworkConfig(torso="mlp", hidden_sizes=(8,)), n_step=3, **_OFF_POLICY),
    "ppo": PPOConfig(network=REMEMBERING, rollout_length=20, minibatch_size=40),
    "pqn": PQNConfig(network=REMEMBERING, rollout_length=20, minibatches=2),
    "r2d2": R2D2Config(
        network=REMEMBERING, trace_length=8, trace_period=4, burn_in=4, **_OFF_POLICY
    ),
    "pick": PickConfig(
        PickNetworkConfig(channels=(4, 4, 4), members=2),
        window=8,
        samples_per_step=1.0,
        **_OFF_POLICY,
    ),
}


@pytest.fixture
def rainbow(small_cartpole: Recipe) -> Recipe:
    """Every part that holds a state of its own."""
    return replace(
        small_cartpole,
        algorithm=replace(
            small_cartpole.algorithm,
            network=NetworkConfig(
                torso="mlp", hidden_sizes=(16,), dueling=True, noisy=True, dropout=0.2
            ),
            head=HeadConfig("categorical", atoms=11, value_max=100.0, value_min=0.0),
            priority_exponent=0.5,
            learning_rate_end=1e-4,
            learning_rate_steps=2_000,
            compress_replay=True,
            precision="float32",
        ),
    )


@pytest.fixture
def small_boxing(small_cartpole: Recipe) -> Recipe:
    return Recipe(
        name="small-boxing",
        environment=BOXING,
        algorithm=replace(
            small_cartpole.algorithm,
            network=NetworkConfig(torso="compact", dueling=True),
            head=HeadConfig("quantile", atoms=8),
            replay_capacity=200,
            n_step=3,
        ),
        num_envs=4,
        steps=720,
        seed=3,
        environment_threads=1,
        learner_threads=1,
        checkpoint_every=240,
        evaluation=EvaluationSchedule(every=0, episodes=1, final_episodes=0),
    )


@pytest.fixture(autouse=True)
def _short_atari_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluating.for_evaluation

    def short(environment: Environment) -> Environment:
        environment = whole(environment)
        if isinstance(environment, AtariProtocol):
            environment = replace(environment, max_frames=80)
        return environment

    monkeypatch.setattr(evaluating, "for_evaluation", short)


def begin(recipe: Recipe, runs: Path, *callbacks: Callback) -> Run:
    """Train without what only watches."""
    run = Run.create(recipe, runs)
    Training(recipe, run, [*callbacks, Evaluating(), Checkpointing()]).learn()
    return run


def go_on(run: Run, *callbacks: Callback, step: int | None = None) -> Training:
    training = Training(run.recipe(), run, [*callbacks, Evaluating(), Checkpointing()])
    training.load_checkpoint(step)
    training.learn()
    return training


def only_run(runs: Path) -> Run:
    (config,) = runs.glob("*/*/config.json")
    return Run.open(config.parent)


def weights(run: Run, name: str = "last") -> dict[str, torch.Tensor]:
    return read_policy_file(run.policies / f"{name}.safetensors")[1]


def assert_same_weights(run: Run, other: Run) -> None:
    for name in ("last", "best"):
        found, expected = weights(run, name), weights(other, name)
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            assert torch.equal(found[key], tensor), f"{name}: {key}"


def evaluations(run: Run) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in run.evaluations()
    ]


def same_weights(run: Run, other: Run) -> bool:
    others = weights(other)
    return all(torch.equal(tensor, others[name]) for name, tensor in weights(run).items())


# Repeating and resuming


@pytest.mark.parametrize(
    ("name", "killed_at", "from_step"),
    [
        pytest.param("small_cartpole", 2_000, None, id="cartpole"),
        # Later than checkpoint 1600, from an earlier one.
        pytest.param("small_cartpole", 2_320, 800, id="cartpole-from-an-earlier-checkpoint"),
        pytest.param("rainbow", 2_000, None, id="rainbow"),
        pytest.param("small_boxing", 600, None, id="boxing"),
    ],
)
def test_a_killed_training_goes_on_bit_for_bit(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    name: str,
    killed_at: int,
    from_step: int | None,
):
    recipe: Recipe = request.getfixturevalue(name)
    whole = begin(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        begin(recipe, tmp_path / "killed", At(killed_at, kill))
    killed = only_run(tmp_path / "killed")
    torch.randn(7)  # as would another process
    training = go_on(killed, step=from_step)
    assert training.steps == recipe.steps
    assert training.algorithm.replay is not None
    assert training.algorithm.replay.first_row > 0  # the ring has wrapped around
    assert training.algorithm.updates > 100
    assert_same_weights(killed, whole)
    assert evaluations(killed) == evaluations(whole)
    last = [CheckpointStore(run.checkpoints).load().state for run in (killed, whole)]
    for state in last:
        del state["seconds"]
    assert_equal_states(last[0], last[1])


@pytest.mark.parametrize("name", ["dqn", "ppo", "pqn", "r2d2", "pick"])
def test_checkpoints_change_nothing_where_environments_save_their_state(tmp_path: Path, name: str):
    scale = 1 if name == "pick" else 5  # attempts take their time
    recipe = Recipe(
        name="small",
        environment=BINS if name == "pick" else DATA_CENTER,
        algorithm=SMALL_ALGORITHMS[name],
        num_envs=4,
        steps=80 * scale,
        seed=3,
        environment_threads=1,
        learner_threads=1,
        checkpoint_every=1_000,
        evaluation=EvaluationSchedule(every=0, episodes=1, final_episodes=0),
    )
    whole = begin(recipe, tmp_path / "whole")
    often = replace(recipe, checkpoint_every=20 * scale)
    with pytest.raises(Killed):
        begin(often, tmp_path / "killed", At(56 * scale, kill))
    killed = only_run(tmp_path / "killed")
    training = go_on(killed)
    assert training.algorithm.updates > 5
    assert training.stepper.cuts == 4  # the last as the budget was spent
    found, expected = weights(killed), weights(whole)
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    last = [CheckpointStore(run.checkpoints).load().state for run in (killed, whole)]
    assert_equal_states(last[0]["stepper"]["environments"], last[1]["stepper"]["environments"])


def assert_equal_states(found: Any, expected: Any, place: str = "state") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key, value in expected.items():
            assert_equal_states(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), place
        for index, value in enumerate(expected):
            assert_equal_states(found[index], value, f"{place}.{index}")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), place
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, err_msg=place)
    else:
        assert found == expected, place


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tmp_path: Path, small_cartpole: Recipe
):
    recipe = replace(small_cartpole, steps=800, evaluation=EvaluationSchedule(0, 1, 0))
    first, again = begin(recipe, tmp_path / "a"), begin(recipe, tmp_path / "b")
    other = begin(replace(recipe, seed=4), tmp_path / "c")
    assert_same_weights(first, again)
    assert evaluations(first) == evaluations(again)
    assert not same_weights(first, other)


def test_train_and_resume_with_all_that_watches(tmp_path: Path, rainbow: Recipe):
    recipe = replace(rainbow, steps=1_200, checkpoint_every=400)
    whole = train(recipe, runs=tmp_path / "whole")
    with pytest.raises(Killed):
        train(recipe, runs=tmp_path / "killed", callbacks=[At(1_000, kill)])
    killed = resume(only_run(tmp_path / "killed"))
    assert_same_weights(killed, whole)
    assert evaluations(killed) == evaluations(whole)
    # A larger budget goes on, and is remembered.
    longer = replace(recipe, steps=1_400)
    resume(killed, recipe=longer)
    assert killed.recipe() == longer
    assert killed.evaluations()[-1]["final"]
    assert read_policy_file(killed.policies / "last.safetensors")[0]["provenance"]["steps"] == 1_400


def test_a_training_killed_in_its_last_evaluation_only_repeats_that(
    tmp_path: Path, small_cartpole: Recipe
):
    class AtEnd(Callback):
        def on_end(self, training: Training) -> None:
            raise Killed

    recipe = replace(small_cartpole, steps=800)
    whole = begin(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        begin(recipe, tmp_path / "killed", AtEnd())
    killed = only_run(tmp_path / "killed")
    assert len(killed.evaluations()) == 1
    training = go_on(killed)
    assert training.steps == 800
    assert evaluations(killed) == evaluations(whole)
    assert_same_weights(killed, whole)


def test_evaluations_after_the_checkpoint_are_dropped_and_made_again(
    tmp_path: Path, small_cartpole: Recipe
):
    with pytest.raises(Killed):
        begin(small_cartpole, tmp_path, At(2_000, kill))
    run = only_run(tmp_path)
    assert [line["step"] for line in run.evaluations()] == [600, 1_200, 1_800]
    with run.evaluations_file.open("a") as file:
        file.write('{"step": 2000, "retur')  # cut off by the crash
    go_on(run)  # from 1600
    assert [line["step"] for line in run.evaluations()][:-1] == [600, 1_200, 1_800, 2_400]
    assert run.evaluations()[-1]["final"]


# Budgets


@pytest.mark.parametrize(("steps", "taken"), [(1, 8), (8, 8), (9, 16), (203, 208), (408, 408)])
def test_a_budget_of_steps_ends_with_the_batched_step_that_reaches_it(
    tmp_path: Path, steps: int, taken: int, small_cartpole: Recipe
):
    # At 408 the last step is the one that starts afresh after the cut at 400.
    recipe = replace(
        small_cartpole, steps=steps, checkpoint_every=400, evaluation=EvaluationSchedule(0, 1, 0)
    )
    run = Run.create(recipe, tmp_path)
    training = Training(recipe, run, [Evaluating(), Checkpointing()])
    training.learn()
    assert training.steps == taken
    assert training.progress == 1
    assert CheckpointStore(run.checkpoints).steps()[-1] == (400 if taken == 408 else taken)
    assert read_policy_file(run.policies / "last.safetensors")[0]["provenance"]["steps"] == taken


def test_a_budget_of_minutes_ends_and_leaves_a_checkpoint(tmp_path: Path, small_cartpole: Recipe):
    recipe = replace(
        small_cartpole, steps=None, minutes=0.01, evaluation=EvaluationSchedule(0, 1, 0)
    )
    run = Run.create(recipe, tmp_path)
    training = Training(recipe, run, [Evaluating(), Checkpointing()])
    begun = time.perf_counter()
    training.learn()
    assert time.perf_counter() - begun >= 0.6
    assert training.progress == 1
    assert CheckpointStore(run.checkpoints).steps()[-1] == training.steps
    # Time already spent counts after a resume: nothing is left to do but to evaluate.
    resumed = go_on(run)
    assert resumed.steps == training.steps
    assert resumed.seconds >= 0.6


def test_whichever_budget_is_spent_first_ends_the_training(tmp_path: Path, small_cartpole: Recipe):
    recipe = replace(small_cartpole, steps=80, minutes=60, evaluation=EvaluationSchedule(0, 1, 0))
    run = Run.create(recipe, tmp_path)
    training = Training(recipe, run, [Evaluating(), Checkpointing()])
    assert training.progress == 0
    training.learn()
    assert training.steps == 80


# Stopping


@pytest.mark.parametrize("stopped_at", [8, 504, 800, 808])
def test_a_stopped_training_leaves_a_checkpoint_and_goes_on(
    tmp_path: Path, stopped_at: int, small_cartpole: Recipe
):
    # At 800 a cut is due anyway; at 808 the next step starts afresh after it.
    recipe = replace(small_cartpole, steps=1_200, evaluation=EvaluationSchedule(0, 2, 3))
    run = Run.create(recipe, tmp_path)
    stop = At(stopped_at, Training.stop)
    training = Training(recipe, run, [stop, Evaluating(), Checkpointing()])
    training.learn()
    assert training.interrupted
    assert training.steps == stopped_at + 8
    saved = CheckpointStore(run.checkpoints).steps()[-1]
    assert training.steps - saved == (8 if stopped_at == 800 else 0)
    assert run.evaluations() == []
    assert load_policy(run.policies / "last.safetensors").header["provenance"]["steps"] == (
        training.steps
    )
    resumed = go_on(run)
    assert not resumed.interrupted
    assert resumed.steps == recipe.steps
    assert [line["final"] for line in run.evaluations()] == [False, True]


def test_stopping_does_not_wait_for_an_evaluation_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cartpole: Recipe
):
    run = Run.create(small_cartpole, tmp_path)
    training = Training(small_cartpole, run, [Evaluating(), Checkpointing()])
    evaluate = evaluating.evaluate

    def stopped_meanwhile(*arguments: Any, **options: Any) -> Any:
        training.stop()
        return evaluate(*arguments, **options)

    monkeypatch.setattr(evaluating, "evaluate", stopped_meanwhile)
    training.learn()
    assert training.steps == 608
    assert run.evaluations() == []
    assert CheckpointStore(run.checkpoints).steps() == [608]


# Evaluations and policies


def test_evaluations_come_when_due_and_the_best_policy_is_kept(
    tmp_path: Path, small_cartpole: Recipe
):
    run = begin(small_cartpole, tmp_path)
    lines = run.evaluations()
    assert [line["step"] for line in lines[:-1]] == [600, 1_200, 1_800, 2_400]
    assert [len(line["returns"]) for line in lines] == [2, 2, 2, 2, 3]
    means = {line["step"]: line["mean"] for line in lines[:-1]}
    best = max(means, key=lambda step: (means[step], step))
    assert lines[-1]["step"] == best
    header = read_policy_file(run.policies / "best.safetensors")[0]
    assert header["provenance"]["steps"] == best
    assert header["provenance"]["seed"] == 3
    assert header["provenance"]["recipe"] == "small-cartpole"
    # The evaluation at the end plays on seeds that chose nothing.
    assert len({line["protocol"]["seed"] for line in lines[:-1]}) == 1
    assert lines[-1]["protocol"]["seed"] != lines[0]["protocol"]["seed"]
    assert lines[0]["seconds"] <= lines[-1]["seconds"]


def test_the_best_policy_may_be_the_one_with_most_of_what_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cartpole: Recipe
):
    evaluate = evaluating.evaluate
    counted = iter([1.0, 3.0, 2.0, 0.0])

    def counting(*arguments: Any, **options: Any) -> Any:
        made = evaluate(*arguments, **options)
        return replace(made, counts={"correct": made.returns, "delay": [next(counted)]})

    monkeypatch.setattr(evaluating, "evaluate", counting)
    run = begin(_recall(small_cartpole, best_by="delay"), tmp_path)
    steps = [line["step"] for line in run.evaluations() if not line["final"]]
    assert len(steps) == 3
    header = read_policy_file(run.policies / "best.safetensors")[0]
    assert header["provenance"]["steps"] == steps[1]


@pytest.mark.parametrize(("best_by", "place"), [("return", 0), ("steps", -1)])
def test_the_best_policy_may_be_the_latest(
    best_by: str,
    place: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_cartpole: Recipe,
):
    evaluate = evaluating.evaluate
    falling = iter([3.0, 2.0, 1.0, 1.0])

    def worse_and_worse(*arguments: Any, **options: Any) -> Any:
        made = evaluate(*arguments, **options)
        return replace(made, summary=replace(made.summary, mean=next(falling)))

    monkeypatch.setattr(evaluating, "evaluate", worse_and_worse)
    run = begin(_recall(small_cartpole, best_by=best_by), tmp_path)
    steps = [line["step"] for line in run.evaluations() if not line["final"]]
    assert len(steps) == 3
    header = read_policy_file(run.policies / "best.safetensors")[0]
    assert header["provenance"]["steps"] == steps[place]


def test_choosing_the_best_policy_by_what_nobody_counts_is_refused_at_once(
    tmp_path: Path, small_cartpole: Recipe
):
    with pytest.raises(RecipeError, match="best_by is 'points'; there is return, steps, correct"):
        begin(_recall(small_cartpole, best_by="points"), tmp_path)


def _recall(recipe: Recipe, best_by: str) -> Recipe:
    """The same training, shorter and on the recall task, with three evaluations of two episodes."""
    schedule = EvaluationSchedule(every=200, episodes=2, final_episodes=1, best_by=best_by)
    world = GymnasiumEnvironment("rlkit/Recall-v0")
    return replace(recipe, environment=world, steps=600, evaluation=schedule)


def test_a_policy_is_evaluated_under_the_protocol_whatever_made_its_training_easier(
    tmp_path: Path, small_boxing: Recipe
):
    easier = replace(BOXING, sticky_actions=0.0, clip_rewards=True, max_noops=0)
    recipe = replace(small_boxing, environment=easier, steps=40)
    run = begin(recipe, tmp_path)
    protocol = run.evaluations()[0]["protocol"]
    assert protocol["sticky_actions"] == 0.25
    assert protocol["clip_rewards"] is False
    assert protocol["max_noops"] == 30
    header = read_policy_file(run.policies / "last.safetensors")[0]
    assert header["protocol"]["sticky_actions"] == 0.0
    assert set(run.evaluations()[0]["metrics"]) > {"knock_outs", "hits_taken", "length"}


# Errors


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, small_cartpole: Recipe):
    def spoil(training: Training) -> None:
        with torch.no_grad():
            next(training.algorithm.policy.network.get_submodule("torso").parameters()).view(-1)[
                0
            ] = float("nan")

    recipe = replace(
        small_cartpole,
        algorithm=replace(small_cartpole.algorithm, learning_starts=10_000),
        evaluation=EvaluationSchedule(every=400, episodes=1, final_episodes=0),
    )
    with pytest.raises(NonFiniteGradientError, match=r"weights of network\.torso\..* step 1200"):
        begin(recipe, tmp_path, At(1_000, spoil))
    run = only_run(tmp_path)
    assert CheckpointStore(run.checkpoints).steps() == [800]
    for name in ("last", "best"):
        assert all(torch.isfinite(tensor).all() for tensor in weights(run, name).values())
    assert read_policy_file(run.policies / "last.safetensors")[0]["provenance"]["steps"] == 800


def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_the_last_checkpoint(
    tmp_path: Path, small_cartpole: Recipe
):
    def spoil(training: Training) -> None:
        with torch.no_grad():
            next(training.algorithm.policy.network.get_submodule("torso").parameters()).view(-1)[
                0
            ] = float("inf")

    with pytest.raises(NonFiniteGradientError, match=r"torso\..* update \d+, environment step 10"):
        begin(
            replace(small_cartpole, evaluation=EvaluationSchedule(0, 1, 0)),
            tmp_path,
            At(1_000, spoil),
        )
    run = only_run(tmp_path)
    assert CheckpointStore(run.checkpoints).steps() == [800]
    assert go_on(run).steps == small_cartpole.steps


def test_a_full_disk_ends_the_training_and_the_last_checkpoint_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cartpole: Recipe
):
    with monkeypatch.context() as patch:

        def full(*arguments: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        fill = At(1_000, lambda training: patch.setattr(checkpoint, "save_file", full))
        with pytest.raises(CheckpointError, match="No space left on device"):
            begin(small_cartpole, tmp_path, fill)
    run = only_run(tmp_path)
    assert CheckpointStore(run.checkpoints).steps() == [800]
    assert go_on(run).steps == small_cartpole.steps
    whole = begin(small_cartpole, tmp_path / "whole")
    assert_same_weights(run, whole)


def test_nothing_is_being_written_once_a_training_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cartpole: Recipe
):
    save_file = checkpoint.save_file

    def slow(*arguments: Any) -> None:
        time.sleep(0.3)
        save_file(*arguments)

    monkeypatch.setattr(checkpoint, "save_file", slow)
    recipe = replace(small_cartpole, evaluation=EvaluationSchedule(0, 1, 0))
    with pytest.raises(Killed):
        begin(recipe, tmp_path, At(808, kill))
    assert CheckpointStore(only_run(tmp_path).checkpoints).steps() == [800]


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path, small_cartpole: Recipe):
    recipe = replace(small_cartpole, steps=160, evaluation=EvaluationSchedule(0, 1, 0))
    run = begin(recipe, tmp_path)
    wider = replace(recipe.algorithm, network=NetworkConfig(torso="mlp", hidden_sizes=(24,)))
    other_discount = replace(recipe.algorithm, discount=0.5)
    for changes in ({"algorithm": wider}, {"algorithm": other_discount}, {"num_envs": 4}):
        with pytest.raises(CheckpointError, match="does not fit the run's configuration") as caught:
            resume(run, recipe=replace(recipe, **changes))
        assert "\n" not in str(caught.value)
        assert run.recipe() == recipe
    assert CheckpointStore(run.checkpoints).steps() == [160]


def test_a_run_without_a_checkpoint_cannot_be_resumed(tmp_path: Path, small_cartpole: Recipe):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        go_on(Run.create(small_cartpole, tmp_path))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"environment": GymnasiumEnvironment("Nope-v1")}, "Nope"),
        ({"environment": GymnasiumEnvironment("CartPole-v1", {"nope": 1})}, "nope"),
        ({"environment": GymnasiumEnvironment("Pendulum-v1")}, "Discrete"),
        ({"algorithm": {"replay_capacity": 8}}, "capacity"),
        ({"algorithm": {"network": NetworkConfig(torso="nature")}}, "torso|image"),
    ],
)
def test_a_recipe_that_makes_no_sense_leaves_no_run_behind(
    tmp_path: Path, changes: dict[str, Any], complaint: str, small_cartpole: Recipe
):
    if "algorithm" in changes:
        changes = {"algorithm": replace(small_cartpole.algorithm, **changes["algorithm"])}
    expected = f"recipe 'small-cartpole' cannot be trained: .*({complaint})"
    with pytest.raises(RecipeError, match=expected):
        train(replace(small_cartpole, **changes), runs=tmp_path)
    assert not list(tmp_path.rglob("config.json"))


# The loop


def test_callbacks_see_every_step_in_order_and_are_closed_whatever_happens(
    tmp_path: Path, small_cartpole: Recipe
):
    seen: list[Any] = []

    class Watching(Callback):
        def on_start(self, training: Training) -> None:
            seen.append("start")

        def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
            seen.append(training.steps)
            assert step.observations is training.observations

        def on_end(self, training: Training) -> None:
            seen.append("end")

        def close(self) -> None:
            seen.append("close")

    recipe = replace(small_cartpole, steps=40, evaluation=EvaluationSchedule(0, 1, 0))
    begin(recipe, tmp_path, Watching())
    assert seen == ["start", 8, 16, 24, 32, 40, "end", "close"]
    seen.clear()
    with pytest.raises(Killed):
        begin(recipe, tmp_path, Watching(), At(16, kill))
    assert seen == ["start", 8, 16, "close"]


def test_states_of_callbacks_are_kept(tmp_path: Path, small_cartpole: Recipe):
    class Counting(Callback):
        def __init__(self) -> None:
            self.count = 0

        def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
            self.count += 1

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    with pytest.raises(Killed):
        begin(small_cartpole, tmp_path, Counting(), At(1_000, kill))
    counting = Counting()
    go_on(only_run(tmp_path), counting)
    assert counting.count == small_cartpole.steps // small_cartpole.num_envs  # pyright: ignore


def test_the_time_is_accounted_for_by_phase(tmp_path: Path, small_cartpole: Recipe):
    recipe = replace(small_cartpole, steps=400, evaluation=EvaluationSchedule(0, 1, 0))
    run = Run.create(recipe, tmp_path)
    training = Training(recipe, run, [Checkpointing()])
    training.learn()
    assert set(training.timer.seconds) == {"act", "learn", "environments", "remember", "watch"}
    assert 0 < sum(training.timer.seconds.values()) <= training.seconds


def test_the_configuration_in_the_run_repeats_the_training(tmp_path: Path, small_cartpole: Recipe):
    recipe = replace(small_cartpole, steps=400, evaluation=EvaluationSchedule(0, 1, 0))
    run = begin(recipe, tmp_path / "a")
    again = begin(Run.open(run.path).recipe(), tmp_path / "b")
    assert_same_weights(run, again)
    assert json.loads(run.config_file.read_text())["recipe"]["environment"] == {
        "kind": "GymnasiumEnvironment",
        **asdict(GymnasiumEnvironment("CartPole-v1")),
    }
