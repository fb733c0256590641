"""Benchmarks with tiny windows: what they report, and that peers are run as they are described."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from rlkit.bench import agents, boxing, peers, storage
from rlkit.bench.measured_training import MeasuredTraining
from rlkit.environments import Environment, for_evaluation, make_envs
from rlkit.evaluation import evaluate
from rlkit.recipe import Recipe
from rlkit.recipes import RECIPES, find_recipe
from rlkit.sb3.config import StableBaselinesConfig
from rlkit_agents.dqn import DQN
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo_config import PPOConfig
from rlkit_envs.atari import AtariProtocol

PROTOCOL = AtariProtocol("boxing", height=42, width=42, max_frames=200, sticky_actions=0.1)
RECIPE = replace(
    RECIPES["boxing"],
    environment=PROTOCOL,
    algorithm=replace(
        RECIPES["boxing"].algorithm,
        network=NetworkConfig(torso="compact", dense_size=16),
        replay_capacity=400,
        batch_size=8,
        samples_per_step=2.0,
    ),
    num_envs=2,
    learner_threads=1,
    checkpoint_every=100,
)

ZOO_PPO = peers.PPO_SETTINGS | {"envs": peers.PPO_ENVS}  # which a fixture makes small


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def small_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_WARM_UP_STEPS", 60)
    monkeypatch.setattr(peers, "PPO_ENVS", 2)
    monkeypatch.setattr(peers, "DQN_SETTINGS", peers.DQN_SETTINGS | {"buffer_size": 200})
    small = {"n_steps": 8, "n_epochs": 1, "batch_size": 16}
    monkeypatch.setattr(peers, "PPO_SETTINGS", peers.PPO_SETTINGS | small)


def printed(show: Any, result: dict[str, Any]) -> str:
    stream = io.StringIO()
    show(result, Console(file=stream, width=160))
    return stream.getvalue()


def test_boxing_reports_rates_ratios_and_scores(monkeypatch: pytest.MonkeyPatch):
    def short(environment: Environment) -> Environment:
        return replace(for_evaluation(environment), max_frames=200)  # pyright: ignore

    monkeypatch.setattr(boxing, "for_evaluation", short)
    lines: list[str] = []
    result = boxing.run_benchmark(
        0.01,
        recipe=RECIPE,
        window_seconds=0.05,
        repeats=3,
        warm_up_steps=60,
        episodes=1,
        on_progress=lines.append,
    )
    assert json.loads(json.dumps(result)) == result
    assert {"machine", "versions", "rows", "ratios"} <= set(result)
    assert result["versions"]["stable-baselines3"]
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == [
        "emulator alone, 42x42",
        "emulator alone, 84x84",
        "Stable-Baselines3 DQN",
        "Stable-Baselines3 PPO",
        "rlkit, recipe boxing",
    ]
    for row in rows.values():
        assert len(row["windows"]) == 3
        assert min(row["windows"]) > 0
        assert row["steps_per_second"] == sorted(row["windows"])[1]
        assert row["settings"]
    rates = {name: row["steps_per_second"] for name, row in rows.items()}
    ours = rates["rlkit, recipe boxing"]
    assert result["ratios"] == {
        "rlkit_to_sb3_dqn": ours / rates["Stable-Baselines3 DQN"],
        "rlkit_to_sb3_ppo": ours / rates["Stable-Baselines3 PPO"],
        "rlkit_to_emulator": ours / rates["emulator alone, 42x42"],
    }
    scores = [row["score"] for row in result["rows"]]
    assert scores[:2] == [None, None]
    for score in scores[2:]:
        assert score["steps"] >= 0  # a busy machine may start late
        assert len(score["returns"]) == 1
        # The evaluation's protocol, not the training's.
        assert score["protocol"]["sticky_actions"] == 0.25
    assert scores[2]["protocol"] == scores[3]["protocol"]
    assert any("round 3 of 3" in line for line in lines)
    table = printed(boxing.print_table, result)
    assert all(name in table for name in rows)
    assert "returns after 0.01 minutes of training" in table


def test_boxing_refuses_what_it_cannot_measure():
    with pytest.raises(ValueError, match="needs an Atari recipe, 'cartpole' is none"):
        boxing.run_benchmark(recipe=find_recipe("cartpole"))
    with pytest.raises(ValueError, match="window_seconds must be more than 0, got 0"):
        boxing.run_benchmark(recipe=RECIPE, window_seconds=0)
    with pytest.raises(ValueError, match="minutes must be more than 0, got -1"):
        boxing.run_benchmark(-1, recipe=RECIPE)


def test_the_peers_are_set_as_described():
    for peer in (
        peers.dqn(PROTOCOL, for_throughput=False),
        peers.dqn(PROTOCOL, for_throughput=True),
        peers.ppo(PROTOCOL),
    ):
        model = peer._make(0)
        assert model.env is not None
        assert model.env.num_envs == peer.settings["envs"]
        assert model.observation_space.shape == (4, 84, 84)
        for name in set(peer.settings) - {"envs", "buffer_size", "train_freq"}:
            value = getattr(model, name)
            # Schedules are functions of the progress that remains.
            assert (value(1.0) if callable(value) else value) == pytest.approx(peer.settings[name])
        (ale,) = {env.unwrapped.ale for env in model.env.unwrapped.envs[:1]}  # pyright: ignore
        assert ale.getFloat("repeat_action_probability") == np.float32(PROTOCOL.sticky_actions)
        assert ale.getInt("frame_skip") == 1
        model.env.close()


def test_a_peer_learns_in_its_windows():
    peer = peers.dqn(PROTOCOL, for_throughput=True)
    peer.warm_up()
    assert peer._model is not None
    before = peer._model._n_updates  # pyright: ignore[reportAttributeAccessIssue]
    assert before > 0
    assert peer.window(0.1) > 0
    assert peer._model._n_updates > before  # pyright: ignore[reportAttributeAccessIssue]
    peer.close()


def test_our_evaluation_plays_a_peer_as_stable_baselines3_would():
    policy, steps = peers.dqn(PROTOCOL, for_throughput=False).train(0.2, seed=0)
    assert steps > 0
    seen = boxing.peer_protocol(PROTOCOL)
    envs = make_envs(seen, 3)
    observations, _ = envs.reset(seed=0)
    actions, _ = policy.act(torch.from_numpy(observations))
    with torch.no_grad():
        q_values = policy.network.q_net(torch.from_numpy(observations))  # pyright: ignore
    assert actions.tolist() == q_values.argmax(1).tolist()
    envs.close()
    evaluation = evaluate(policy, seen, 2, seed=1)
    assert evaluation.lengths == [50, 50]  # 200 frames, 4 a step


def test_agents_with_memory_are_measured_like_those_without():
    recipes = agents.measured_recipes()
    for name in ("dqn-small", "ppo-small", "pqn-small"):
        without, with_memory = recipes[name], recipes[f"{name}-memory"]
        assert without.environment.frame_stack == 4  # pyright: ignore
        assert replace(without.environment, frame_stack=1) == with_memory.environment  # pyright: ignore
        assert without.num_envs == with_memory.num_envs
        network = with_memory.algorithm.network  # pyright: ignore
        assert network.memory == "lstm"  # pyright: ignore
        assert replace(network, memory="none") == without.algorithm.network  # pyright: ignore
        if name != "dqn-small":  # whose like with memory is R2D2
            algorithm = replace(with_memory.algorithm, network=without.algorithm.network)  # pyright: ignore
            assert algorithm == without.algorithm
    dqn, r2d2 = (recipes[name].algorithm for name in ("dqn-small", "dqn-small-memory"))
    assert dqn.samples_per_step == r2d2.samples_per_step  # pyright: ignore


def test_both_libraries_are_measured_in_the_recipes_world():
    recipes = agents.measured_recipes()
    for name in ("ppo-42", "sb3-ppo-42", "sb3-dqn-42"):
        assert recipes[name].environment == recipes["boxing"].environment
    ours, theirs = recipes["ppo-42"], recipes["sb3-ppo-42"]
    assert ours.algorithm == recipes["ppo"].algorithm
    assert ours.num_envs == theirs.num_envs
    config = theirs.algorithm
    assert isinstance(config, StableBaselinesConfig)
    assert config.settings["n_steps"] == ours.algorithm.rollout_length  # pyright: ignore
    assert config.settings["batch_size"] == ours.algorithm.minibatch_size  # pyright: ignore


def test_our_ppo_is_set_as_stable_baselines3s():
    recipe = agents.measured_recipes()["ppo"]
    config, theirs = recipe.algorithm, ZOO_PPO
    assert isinstance(config, PPOConfig)
    assert recipe.num_envs == theirs["envs"]
    assert config.network.torso == "nature"
    assert config.rollout_length == theirs["n_steps"]
    assert config.epochs == theirs["n_epochs"]
    assert config.minibatch_size == theirs["batch_size"]
    assert config.clip_range_at(0) == theirs["clip_range"]
    assert config.learning_rate_at(0) == theirs["learning_rate"]
    assert config.clip_range_at(peers.TOTAL_TIMESTEPS) == 0
    assert config.learning_rate_at(peers.TOTAL_TIMESTEPS) == 0
    assert config.value_weight == theirs["vf_coef"]
    assert config.entropy_weight == theirs["ent_coef"]


def test_agents_reports_rates_and_ratios():
    few = {
        name: replace(RECIPE, name=name)
        for name in agents.measured_recipes()
        if name == "ppo" or name.startswith(("dqn", "ppo-small", "pqn-small"))
    }
    lines: list[str] = []
    result = agents.run_benchmark(
        recipes=few, window_seconds=0.02, repeats=3, warm_up_steps=40, on_progress=lines.append
    )
    assert json.loads(json.dumps(result)) == result
    rate = {row["name"]: sorted(row["windows"])[1] for row in result["rows"]}
    assert list(rate) == [*few, "Stable-Baselines3 PPO"]
    assert result["ratios"] == {
        "ppo_to_sb3_ppo": rate["ppo"] / rate["Stable-Baselines3 PPO"],
        "dqn_with_memory_to_without": rate["dqn-small-memory"] / rate["dqn-small"],
        "ppo_with_memory_to_without": rate["ppo-small-memory"] / rate["ppo-small"],
        "pqn_with_memory_to_without": rate["pqn-small-memory"] / rate["pqn-small"],
    }
    assert any("round 3 of 3: dqn-small," in line for line in lines)
    assert all(name in printed(agents.print_table, result) for name in rate)


SB3_RECIPE = replace(
    RECIPE,
    algorithm=StableBaselinesConfig(
        "sb3:PPO", learning_rate=1e-3, settings={"n_steps": 8, "batch_size": 16, "n_epochs": 1}
    ),
)


@pytest.mark.parametrize("recipe", [RECIPE, SB3_RECIPE], ids=["ours", "sb3"])
def test_a_training_stands_still_between_its_windows(tmp_path: Path, recipe: Recipe):
    with MeasuredTraining(recipe, tmp_path, 60) as training:
        training.warm_up()
        before = training.steps
        assert training.window(0.05) > 0
        after = training.steps
        assert after > before
        torch.randn(200, 200).det()
        assert training.steps == after
    assert not training._thread.is_alive()


def test_what_training_raises_reaches_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(algorithm: DQN) -> dict[str, Any]:
        raise ArithmeticError("not a finite number")

    with MeasuredTraining(RECIPE, tmp_path, 60) as training:
        training.warm_up()
        monkeypatch.setattr(DQN, "update", fail)
        with pytest.raises(ArithmeticError, match="not a finite number"):
            training.window(5.0)


def test_storage_reports_memory_times_and_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("lz4")
    monkeypatch.setattr(storage, "_import_seconds", lambda: 0.25)
    few = partial(storage._boxing_frames, rows=20, stride=2)
    monkeypatch.setattr(storage, "_boxing_frames", few)
    result = storage.run_benchmark(
        recipe=RECIPE,
        frames=4_000,
        compressed_frames=400,
        window_seconds=0.05,
        repeats=1,
        warm_up_steps=60,
        folder=tmp_path,
    )
    assert json.loads(json.dumps(result)) == result
    rows = {row["name"]: row for row in result["rows"]}
    assert rows["import rlkit"]["value"] == 0.25
    plain = rows["a million 84x84 frames, plain: replay"]
    assert plain["value"] == pytest.approx(7.06, abs=0.1)  # 84 * 84 bytes, and little beside
    assert plain["settings"]["frames_stored"] == 4_000
    compressed = rows["a million 84x84 frames, LZ4: replay"]["value"]
    assert 0.1 < compressed < 2.0
    assert result["ratios"]["lz4_to_plain_memory"] == compressed / plain["value"]
    for size in ("42x42", "84x84"):
        rate = {n: rows[f"training, {n} replay, {size}"]["value"] for n in ("plain", "LZ4")}
        ratio = result["ratios"][f"lz4_to_plain_throughput_{size}"]
        assert ratio == rate["LZ4"] / rate["plain"] > 0
    for which in ("the first", "a later"):
        row = rows[f"{which} checkpoint with a full replay blocks training"]
        assert 0 < row["value"] <= row["settings"]["written_after_seconds"]
    assert not list(tmp_path.iterdir()), "what was saved is removed"
    assert "import rlkit" in printed(storage.print_table, result)


def test_importing_is_timed_in_a_fresh_process():
    assert 0 < storage._import_seconds() < 60
