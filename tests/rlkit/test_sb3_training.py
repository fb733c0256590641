"""Trainings by Stable-Baselines3 and sb3-contrib: as by themselves, resumed, and watched."""

import json
import math
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from rlkit.callbacks.callback import Callback
from rlkit.callbacks.checkpointing import Checkpointing
from rlkit.callbacks.evaluating import Evaluating
from rlkit.checkpoint import CheckpointError, CheckpointStore
from rlkit.cli.main import main
from rlkit.environments import GymnasiumEnvironment
from rlkit.policies import load_policy
from rlkit.policy_file import read_policy_file
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.run_folder import Run
from rlkit.sb3.config import ALGORITHMS, StableBaselinesConfig
from rlkit.sb3.settings import algorithm_class, default_learning_rate
from rlkit.sb3.training import StableBaselinesTraining
from rlkit.seeds import Seeds, integer_seed
from rlkit.training import Training, resume, train
from rlkit_agents.algorithm import NonFiniteGradientError
from rlkit_agents.step import Step
from rlkit_envs.atari import AtariProtocol

from .interruptions import At, Killed, kill


class Match(gym.Env):
    """In each step one of three actions is right, and shown.

    Episodes are 3 to 8 steps long, and truncated where that number is odd.
    """

    observation_space = gym.spaces.Box(0, 1, (3,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def _observation(self) -> np.ndarray:
        self.right = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.right]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(3, 9))
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        reward = float(action == self.right)
        self.steps += 1
        over, odd = self.steps == self.length, self.length % 2 == 1
        return self._observation(), reward, over and not odd, over and odd, {}

    def action_masks(self) -> np.ndarray:
        return np.arange(3) <= self.right


class Aim(Match):
    """The same with a continuous action, which is to hit a number between -2 and 1."""

    action_space = gym.spaces.Box(-2, 1, (1,), np.float32)

    def step(self, action):
        assert -2 <= action[0] <= 1
        distance = float(abs(action[0] - self.right + 1))
        observation, _, terminated, truncated, info = super().step(0)
        return observation, -distance, terminated, truncated, info


gym.register("test/Match-v0", lambda **_: Match())
gym.register("test/Aim-v0", lambda **_: Aim())

SMALL_NETWORK = {"policy_kwargs": {"net_arch": [8]}}
REPLAY = {"buffer_size": 100, "learning_starts": 40, "batch_size": 8, **SMALL_NETWORK}
ROLLOUT = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, **SMALL_NETWORK}
SETTINGS: dict[str, dict[str, Any]] = {
    "sb3:A2C": {"n_steps": 5, "use_rms_prop": True, **SMALL_NETWORK},
    "sb3:DDPG": {**REPLAY, "noise_type": "ornstein-uhlenbeck", "noise_std": 3},
    "sb3:DQN": {**REPLAY, "n_steps": 3, "exploration_fraction": 0.5, "target_update_interval": 32},
    "sb3:PPO": {**ROLLOUT, "clip_range": "lin_0.2"},
    "sb3:SAC": {**REPLAY, "use_sde": True, "sde_sample_freq": 2},
    "sb3:TD3": {**REPLAY, "noise_type": "normal", "noise_std": 0.1, "train_freq": [4, "step"]},
    "sb3-contrib:ARS": {"n_delta": 2, "delta_std": "lin_0.1"},
    "sb3-contrib:CrossQ": REPLAY,
    "sb3-contrib:MaskablePPO": ROLLOUT,
    "sb3-contrib:QRDQN": {**REPLAY, "target_update_interval": 32},
    "sb3-contrib:RecurrentPPO": {
        **ROLLOUT,
        "policy_kwargs": {"net_arch": [8], "lstm_hidden_size": 4},
    },
    "sb3-contrib:TQC": {**REPLAY, "policy_kwargs": {"net_arch": [8], "n_quantiles": 5}},
    "sb3-contrib:TRPO": {"n_steps": 16, "batch_size": 16, **SMALL_NETWORK},
}
THEIR_SETTINGS: dict[str, dict[str, Any]] = {
    "sb3:DDPG": {"action_noise": OrnsteinUhlenbeckActionNoise(np.zeros(1), np.full(1, 3.0))},
    "sb3:PPO": {"clip_range": lambda remaining: 0.2 * remaining},
    "sb3:TD3": {
        "action_noise": NormalActionNoise(np.zeros(1), np.full(1, 0.1)),
        "train_freq": (4, "step"),
    },
    "sb3-contrib:ARS": {"delta_std": lambda remaining: 0.1 * remaining},
}
"""What the library wants where `SETTINGS` says the same in plain data."""
CONTINUOUS = {"sb3:DDPG", "sb3:SAC", "sb3:TD3", "sb3-contrib:CrossQ", "sb3-contrib:TQC"}


def small(name: str, **changes: Any) -> Recipe:
    config = StableBaselinesConfig(
        name, default_learning_rate(name), learning_rate_end=1e-5, settings=SETTINGS[name]
    )
    recipe = Recipe(
        name="small",
        environment=GymnasiumEnvironment("test/Aim-v0" if name in CONTINUOUS else "test/Match-v0"),
        algorithm=config,
        num_envs=2,
        steps=240,
        seed=5,
        learner_threads=1,
        checkpoint_every=60,
        evaluation=EvaluationSchedule(every=100, episodes=2, final_episodes=3),
    )
    return replace(recipe, **changes)


def with_settings(recipe: Recipe, **settings: Any) -> Recipe:
    config = recipe.algorithm
    assert isinstance(config, StableBaselinesConfig)
    return replace(recipe, algorithm=replace(config, settings={**config.settings, **settings}))


def begin(recipe: Recipe, runs: Path, *callbacks: Callback) -> StableBaselinesTraining:
    """Train without what only watches."""
    run = Run.create(recipe, runs)
    training = StableBaselinesTraining(recipe, run, [*callbacks, Evaluating(), Checkpointing()])
    training.learn()
    return training


def go_on(run: Run, *callbacks: Callback) -> StableBaselinesTraining:
    all_callbacks = [*callbacks, Evaluating(), Checkpointing()]
    training = StableBaselinesTraining(run.recipe(), run, all_callbacks)
    training.load_checkpoint()
    training.learn()
    return training


def only_run(runs: Path) -> Run:
    (config,) = runs.glob("*/*/config.json")
    return Run.open(config.parent)


def assert_equal(found: Any, expected: Any, place: str = "state") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key, value in expected.items():
            assert_equal(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), place
        for index, value in enumerate(expected):
            assert_equal(found[index], value, f"{place}.{index}")
    elif isinstance(expected, torch.Tensor | np.ndarray):
        np.testing.assert_array_equal(found, expected, err_msg=place)
    else:
        assert found == expected, place


def evaluations(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in run.evaluations()]


# As by itself


class BeforeTheLastRollout(BaseCallback):
    """Keeps the weights that the latest rollout began with."""

    def _on_rollout_start(self) -> None:
        self.weights = {k: v.clone() for k, v in self.model.policy.state_dict().items()}

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_without_cuts_it_learns_what_it_learns_by_itself(tmp_path: Path, name: str):
    recipe = small(name, steps=160, checkpoint_every=10_000, evaluation=EvaluationSchedule(0, 1, 0))
    if name == "sb3-contrib:ARS":  # whose own loop counts the steps of one environment only
        recipe = replace(recipe, num_envs=1)
    ours = begin(recipe, tmp_path).algorithm

    # A copy: the library writes into policy_kwargs.
    settings = deepcopy(SETTINGS[name]) | THEIR_SETTINGS.get(name, {})
    envs = DummyVecEnv([Aim if name in CONTINUOUS else Match] * recipe.num_envs)
    make: Any = algorithm_class(name)
    seeds = Seeds.spawn(recipe.seed)
    start = default_learning_rate(name)
    model = make(
        "MlpLstmPolicy" if name == "sb3-contrib:RecurrentPPO" else "MlpPolicy",
        envs,
        learning_rate=lambda remaining: 1e-5 + (start - 1e-5) * remaining,
        seed=integer_seed(seeds.initialisation),
        device="cpu",
        **{key: value for key, value in settings.items() if not key.startswith("noise_")},
    )
    model.env.seed(integer_seed(seeds.environment, 0))
    watching = BeforeTheLastRollout()
    model.learn(160, callback=watching)

    expected = model.policy.state_dict()
    if name == "sb3-contrib:ARS":  # goes past its budget to the end of a rollout; ours does not
        expected = watching.weights
    else:
        assert model.num_timesteps == ours.model.num_timesteps == 160
    learnt = ours.model.policy.state_dict()
    # Rounding in schedules aside; a step more or less, or another random number, is far off.
    for key, weights in expected.items():
        torch.testing.assert_close(learnt[key], weights, rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", ["sb3:PPO", "sb3:DQN"])
def test_it_learns(tmp_path: Path, name: str):
    settings = {
        "sb3:DQN": {"buffer_size": 2_000, "learning_starts": 100, "target_update_interval": 50},
        "sb3:PPO": {"n_steps": 64, "n_epochs": 4},
    }[name]
    recipe = replace(
        small(name, steps=2_000, checkpoint_every=1_000),
        algorithm=StableBaselinesConfig(name, 5e-3, settings=settings),
        evaluation=EvaluationSchedule(0, 30, 0),
    )
    (line,) = begin(recipe, tmp_path).run.evaluations()
    assert sum(line["returns"]) / sum(line["lengths"]) > 0.9


# Resuming


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *(pytest.param(name, {}, id=name) for name in sorted(ALGORITHMS)),
        pytest.param(
            "sb3:DQN",
            {
                "n_steps": 1,
                "optimize_memory_usage": True,
                "replay_buffer_kwargs": {"handle_timeout_termination": False},
            },
            id="each observation once",
        ),
        pytest.param("sb3:TD3", {"train_freq": 3, "gradient_steps": -1}, id="rare updates"),
        pytest.param("sb3:PPO", {"use_sde": True, "sde_sample_freq": 4}, id="noise by state"),
    ],
)
def test_every_algorithm_trains_and_goes_on_bit_for_bit(
    tmp_path: Path, name: str, settings: dict[str, Any]
):
    recipe = with_settings(small(name), **settings)
    if settings.get("use_sde"):
        recipe = replace(recipe, environment=GymnasiumEnvironment("test/Aim-v0"))
    whole = begin(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        begin(recipe, tmp_path / "killed", At(130, kill))
    killed = only_run(tmp_path / "killed")
    torch.randn(7)  # as would another process
    np.random.seed(1)  # noqa: NPY002
    resumed = go_on(killed)
    assert resumed.steps == whole.steps == whole.algorithm.model.num_timesteps == 240
    assert whole.stepper.cuts >= 3
    assert whole.algorithm.updates > 1
    if whole.algorithm.replay is not None:
        assert whole.algorithm.replay.first_row > 0  # the ring has wrapped around
    states = [CheckpointStore(run.checkpoints).load().state for run in (killed, whole.run)]
    for state in states:
        del state["seconds"]
    assert_equal(states[0], states[1])
    assert evaluations(killed) == evaluations(whole.run)
    assert [line["step"] for line in evaluations(killed)][:-1] == [100, 200, 240]
    for file in ("best", "last"):
        weights = [
            read_policy_file(r.policies / f"{file}.safetensors") for r in (killed, whole.run)
        ]
        assert_equal(weights[0][1], weights[1][1])
        assert weights[0][0]["architecture"] == weights[1][0]["architecture"]
    fresh = StableBaselinesTraining(recipe, killed, []).algorithm.policy.state_dict()
    last = read_policy_file(killed.policies / "last.safetensors")[1]
    assert any(not torch.equal(last[key], weights) for key, weights in fresh.items())


def test_train_and_resume_with_all_that_watches(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = small("sb3-contrib:RecurrentPPO")
    whole = train(recipe, runs=tmp_path / "whole")
    with pytest.raises(Killed):
        train(recipe, runs=tmp_path / "killed", callbacks=[At(130, kill)])
    killed = resume(only_run(tmp_path / "killed"))
    assert evaluations(killed) == evaluations(whole)
    longer = replace(recipe, steps=300)
    resume(killed, recipe=longer)
    assert killed.recipe() == longer
    assert read_policy_file(killed.policies / "last.safetensors")[0]["provenance"]["steps"] == 300
    # What was trained here plays without being trusted, as in its own evaluations.
    assert main(["evaluate", str(whole.path), "--episodes", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"]["architecture"]["algorithm"] == (
        "sb3-contrib:RecurrentPPO"
    )


def test_another_trainings_checkpoint_is_refused(tmp_path: Path):
    recipe = small("sb3:DQN", steps=80)
    run = begin(recipe, tmp_path).run
    for settings in ({"buffer_size": 60}, {"policy_kwargs": {"net_arch": [9]}}):
        with pytest.raises(CheckpointError, match=r"does not fit the run's|replay") as caught:
            resume(run, recipe=with_settings(recipe, **settings))
        assert "\n" not in str(caught.value)


def test_no_stretch_between_cuts_begins_like_another(tmp_path: Path):
    firsts: list[bytes] = []

    class Watching(Callback):
        def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
            assert isinstance(training, StableBaselinesTraining)
            if training.stepper.steps_since_cut <= 4:
                firsts.append(step.observations.tobytes())

    recipe = small("sb3-contrib:QRDQN", num_envs=4)
    cuts = begin(recipe, tmp_path, Watching()).stepper.cuts
    stretches = {tuple(firsts[start : start + 4]) for start in range(0, len(firsts), 4)}
    assert len(stretches) == cuts > 3


# Budgets, stopping


@pytest.mark.parametrize(("steps", "taken"), [(32, 32), (33, 34), (95, 96), (96, 96)])
def test_a_budget_of_steps_ends_with_the_step_that_reaches_it(
    tmp_path: Path, steps: int, taken: int
):
    schedule = EvaluationSchedule(0, 1, 0)
    recipe = small("sb3:PPO", steps=steps, checkpoint_every=1_000, evaluation=schedule)
    training = begin(recipe, tmp_path)
    assert training.steps == taken
    assert CheckpointStore(training.run.checkpoints).steps() == [taken]
    # Rollouts of 32 steps, each learnt from twice in batches of 16: a rollout begun is not.
    assert training.algorithm.updates == taken // 32 * 4


def test_a_checkpoint_waits_for_the_end_of_a_rollout(tmp_path: Path):
    recipe = small("sb3:PPO", steps=150, checkpoint_every=64, checkpoints_kept=9)
    training = begin(recipe, tmp_path)
    assert CheckpointStore(training.run.checkpoints).steps() == [64, 128, 150]


def test_a_budget_of_minutes_ends_and_leaves_a_checkpoint(tmp_path: Path):
    recipe = small("sb3:A2C", steps=None, minutes=0.005, evaluation=EvaluationSchedule(0, 1, 0))
    begun = time.perf_counter()
    training = begin(recipe, tmp_path)
    assert time.perf_counter() - begun >= 0.3
    last = CheckpointStore(training.run.checkpoints).steps()[-1]
    assert last == training.steps
    assert go_on(training.run).steps == last


@pytest.mark.parametrize("name", ["sb3:PPO", "sb3:SAC", "sb3-contrib:ARS"])
def test_a_stopped_training_leaves_a_checkpoint_at_once_and_goes_on(tmp_path: Path, name: str):
    training = begin(small(name), tmp_path, At(110, Training.stop))
    assert training.interrupted
    assert training.steps == 112
    assert CheckpointStore(training.run.checkpoints).steps()[-1] == 112
    assert go_on(training.run).steps == 240


# What others see


def test_callbacks_see_every_step_once_it_is_learnt_from(tmp_path: Path):
    seen: list[tuple[int, dict[str, Any]]] = []
    episodes = []

    class Watching(Callback):
        def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
            assert step.observations is training.observations
            assert step.valid.all()
            finished = training.stepper.finished
            assert step.terminated.sum() == sum(e.length % 2 == 0 for e in finished)
            assert step.truncated.sum() == sum(e.length % 2 == 1 for e in finished)
            # Not what the library adds at a time limit.
            assert set(step.rewards) <= {0.0, 1.0}
            episodes.extend(finished)
            seen.append((training.steps, metrics))

    recipe = small("sb3:PPO", steps=200, evaluation=EvaluationSchedule(0, 1, 0))
    training = begin(recipe, tmp_path, Watching())
    assert [steps for steps, _ in seen] == list(range(2, 202, 2))
    learnt = {steps: metrics for steps, metrics in seen if metrics}
    assert list(learnt) == [32, 64, 96, 128, 160, 192]
    # Under the names of our own PPO.
    ours = {"loss", "policy_loss", "value_loss", "entropy", "approximate_kl", "clip_fraction"}
    assert learnt[32].keys() >= ours | {"explained_variance", "learning_rate", "updates"}
    assert math.log(3) - 0.01 < learnt[32]["entropy"] <= math.log(3)
    assert [metrics["updates"] for metrics in learnt.values()] == [4, 8, 12, 16, 20, 24]
    assert all(3 <= episode.length <= 8 for episode in episodes)
    assert len(episodes) > 20
    assert set(training.timer.seconds) == {"act", "environments", "learn", "remember", "watch"}


def test_metrics_of_value_learning_have_our_names(tmp_path: Path):
    seen: dict[str, float] = {}

    class Watching(Callback):
        def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
            seen.update(metrics)

    recipe = small("sb3:DQN", steps=400, checkpoint_every=1_000)
    training = begin(recipe, tmp_path, Watching())
    assert seen["epsilon"] == pytest.approx(0.05)
    assert seen["replay_size"] == 100
    assert seen["updates"] == training.algorithm.updates == (400 - 40) // 8
    assert seen["learning_rate"] == pytest.approx(1e-5, rel=0.1)
    assert seen["loss"] > 0
    recipe = small("sb3-contrib:ARS", steps=400, checkpoint_every=1_000)
    updates = begin(recipe, tmp_path, Watching()).algorithm.updates
    assert seen["updates"] == updates
    # Each update plays four episodes at least, of 8 steps at most in two environments.
    assert updates >= 400 // (4 * 8 * 2)


def test_atari_with_what_the_game_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from rlkit.callbacks import evaluating

    short = AtariProtocol("boxing", height=42, width=42, max_frames=80)
    monkeypatch.setattr(evaluating, "for_evaluation", lambda environment: short)
    episodes = []

    class Watching(Callback):
        def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
            episodes.extend(training.stepper.finished)

    recipe = small("sb3:PPO", environment=short, steps=64, evaluation=EvaluationSchedule(0, 2, 0))
    training = begin(with_settings(recipe, policy_kwargs={}), tmp_path, Watching())
    assert [episode.length for episode in episodes] == [20] * 2
    assert episodes[0].counts.keys() > {"knock_outs", "hits_taken"}
    (line,) = training.run.evaluations()
    assert line["lengths"] == [20, 20]
    assert line["metrics"].keys() > {"knock_outs", "hits_taken"}
    loaded = load_policy(training.run.policies / "best.safetensors")
    assert loaded.header["architecture"]["network"] == "CnnPolicy"
    assert loaded.environment == short
    # Each weight once, though actor and critic share their convolutions.
    count = sum(weights.numel() for weights in training.algorithm.policy.parameters())
    assert (training.run.policies / "best.safetensors").stat().st_size < 4 * count + 10_000


# Divergence


@pytest.mark.parametrize("name", ["sb3:PPO", "sb3:SAC"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_learning_that_diverges_is_found(tmp_path: Path, name: str):
    recipe = small(name)
    wild = replace(recipe, algorithm=replace(recipe.algorithm, learning_rate=1e30))
    with pytest.raises(NonFiniteGradientError, match="not a finite number"):
        begin(wild, tmp_path)
