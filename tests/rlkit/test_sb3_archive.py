"""Archives of Stable-Baselines3: nothing runs from one that is not trusted, and what they play."""

import base64
import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from rlkit.cli.main import main
from rlkit.environments import Environment, GymnasiumEnvironment
from rlkit.evaluation import evaluate
from rlkit.policies import load_policy, save_policy
from rlkit.policy_file import PolicyFileError
from rlkit.recipes import RECIPES
from rlkit.run_folder import Run
from rlkit.sb3.config import ALGORITHMS
from rlkit.sb3.settings import algorithm_class
from rlkit_envs.atari import AtariProtocol

CARTPOLE = GymnasiumEnvironment("CartPole-v1")
PENDULUM = GymnasiumEnvironment("Pendulum-v1")
CONTINUOUS = {"sb3:DDPG", "sb3:SAC", "sb3:TD3", "sb3-contrib:CrossQ", "sb3-contrib:TQC"}


class Blank(gym.Env):
    """Two steps before nothing; only its spaces matter."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros_like(self.observation_space.sample()), {}

    def step(self, action):
        return np.zeros_like(self.observation_space.sample()), 0.0, True, False, {}

    def action_masks(self) -> np.ndarray:
        return np.ones(2, bool)


def like(environment: Environment) -> Blank:
    env = gym.make(environment.id)  # pyright: ignore[reportAttributeAccessIssue]
    blank = Blank(env.observation_space, env.action_space)
    env.close()
    return blank


def ppo(tmp_path: Path, **settings: Any) -> Path:
    model = PPO("MlpPolicy", like(CARTPOLE), n_steps=8, batch_size=8, seed=3, **settings)
    model.save(tmp_path / "ppo.zip")
    return tmp_path / "ppo.zip"


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The archive with its parts changed in place."""
    with zipfile.ZipFile(archive) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    change(parts)
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return archive


def with_setting(archive: Path, name: str, value: Any) -> Path:
    def change(parts: dict[str, bytes]) -> None:
        settings = json.loads(parts["data"])
        pickled = base64.b64encode(pickle.dumps(value)).decode()
        settings[name] = {":type:": "mine", ":serialized:": pickled}
        parts["data"] = json.dumps(settings).encode()

    return rewritten(archive, change)


# Trust


class Trap:
    """Makes the file `marker` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("part", ["policy_kwargs", "policy_class", "observation_space", "mine"])
def test_nothing_in_an_archive_runs_unless_it_is_trusted(tmp_path: Path, part: str):
    archive = with_setting(ppo(tmp_path), part, Trap(tmp_path / "sprung"))
    with pytest.raises(PolicyFileError, match=r"can run any code that is in it; .* add --trust"):
        load_policy(archive, on=CARTPOLE)
    assert not (tmp_path / "sprung").exists()
    with suppress(PolicyFileError):  # the trap stands where the network should
        load_policy(archive, on=CARTPOLE, trust=True)
    # Not even then is more run than is needed.
    assert (tmp_path / "sprung").exists() == (part in ("policy_kwargs", "policy_class"))


def test_nothing_in_the_weights_runs_though_the_archive_is_trusted(tmp_path: Path):
    def spring(parts: dict[str, bytes]) -> None:
        stream = io.BytesIO()
        torch.save({"weight": Trap(tmp_path / "sprung")}, stream)
        parts["policy.pth"] = stream.getvalue()

    with pytest.raises(PolicyFileError, match="its weights cannot be read"):
        load_policy(rewritten(ppo(tmp_path), spring), on=CARTPOLE, trust=True)
    assert not (tmp_path / "sprung").exists()


def test_an_archive_needs_an_environment(tmp_path: Path):
    with pytest.raises(PolicyFileError, match=r"does not say which environment .* add --on"):
        load_policy(ppo(tmp_path), trust=True)


# What they play


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_the_policy_of_every_algorithm_acts_as_its_model(tmp_path: Path, name: str):
    environment = PENDULUM if name in CONTINUOUS else CARTPOLE
    aliases = algorithm_class(name).policy_aliases
    alias = next(alias for alias in aliases if alias.startswith("Mlp"))
    make: Any = algorithm_class(name)
    settings = {"zero_policy": False} if name == "sb3-contrib:ARS" else {}
    model: BaseAlgorithm = make(alias, like(environment), seed=3, device="cpu", **settings)
    model.save(tmp_path / "model.zip")
    loaded = load_policy(tmp_path / "model.zip", on=environment, trust=True)
    assert loaded.environment == environment
    assert loaded.header["architecture"]["network"] == alias
    told = "sb3:TD3" if name == "sb3:DDPG" else name  # DDPG is TD3 with other arguments
    assert loaded.header["architecture"]["algorithm"] == told
    assert loaded.header["provenance"] == {"steps": 0, "seed": 3}
    seen = np.random.default_rng(0).normal(size=(20, *model.observation_space.shape))  # pyright: ignore
    seen = seen.astype(np.float32)
    actions, _ = loaded.policy.predict(seen, deterministic=True)
    np.testing.assert_allclose(actions, model.predict(seen, deterministic=True)[0], rtol=1e-6)
    # Once trusted, it can be kept as a file that needs no trust.
    save_policy(loaded.policy, tmp_path / "kept.safetensors", environment, {})
    kept = load_policy(tmp_path / "kept.safetensors").policy
    np.testing.assert_array_equal(kept.predict(seen, deterministic=True)[0], actions)


def test_its_returns_are_those_of_the_library(tmp_path: Path):
    archive = ppo(tmp_path, learning_rate=lambda remaining: remaining)
    venv = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    venv.seed(5)
    expected, _ = evaluate_policy(
        PPO.load(archive, device="cpu"), venv, 12, return_episode_rewards=True, warn=False
    )
    loaded = load_policy(archive, on=CARTPOLE, trust=True)
    found = evaluate(loaded.policy, loaded.environment, 12, seed=5, num_envs=1)
    assert found.returns == expected
    assert len(set(found.returns)) > 2


class Doubled(FlattenExtractor):
    """What a user's own program may hand to a network."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(observations)


def test_a_network_with_parts_of_its_own_and_state_dependent_noise(tmp_path: Path):
    arguments = {"features_extractor_class": Doubled, "activation_fn": torch.nn.ELU}
    model = A2C("MlpPolicy", like(PENDULUM), use_sde=True, seed=0, policy_kwargs=arguments)
    model.save(tmp_path / "a2c.zip")
    loaded = load_policy(tmp_path / "a2c.zip", on=PENDULUM, trust=True)
    seen = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    actions, _ = loaded.policy.predict(seen, deterministic=True)
    np.testing.assert_allclose(actions, model.predict(seen, deterministic=True)[0], atol=1e-6)
    described = loaded.header["architecture"]["arguments"]
    assert described["activation_fn"] == "elu"
    assert "Doubled" in json.dumps(described)
    # A file cannot bring the class back, and says so.
    save_policy(loaded.policy, tmp_path / "kept.safetensors", PENDULUM, {})
    with pytest.raises(PolicyFileError, match=r"unknown features_extractor_class .*Doubled"):
        load_policy(tmp_path / "kept.safetensors")


@pytest.mark.parametrize(
    ("shape", "actions", "seen"),
    [
        ((84, 84, 4), 18, {}),
        ((40, 36, 4), 6, {"height": 40, "width": 36, "full_action_space": False}),
        ((84, 84, 12), 18, {"grayscale": False}),
        ((50, 84, 3), 18, {"grayscale": False, "frame_stack": 1, "height": 50}),
    ],
)
def test_the_archive_decides_how_an_atari_game_is_seen(
    tmp_path: Path, shape: tuple[int, ...], actions: int, seen: dict[str, Any]
):
    box = gym.spaces.Box(0, 255, shape, np.uint8)
    env = Blank(box, gym.spaces.Discrete(actions))
    model = DQN("CnnPolicy", env, buffer_size=1, seed=0, device="cpu")
    model.save(tmp_path / "dqn.zip")
    wide = AtariProtocol("pong", height=42, width=42)
    loaded = load_policy(tmp_path / "dqn.zip", on=wide, trust=True)
    assert loaded.environment == AtariProtocol("pong", **seen)
    pictures = np.random.default_rng(0).integers(0, 256, (5, *shape), np.uint8)
    stack = shape[2] // 3 if shape[2] % 3 == 0 else shape[2]
    ours = pictures.reshape(5, *shape[:2], stack, -1).transpose(0, 3, 1, 2, 4)
    np.testing.assert_array_equal(
        loaded.policy.predict(ours if shape[2] % 3 == 0 else ours[..., 0], deterministic=True)[0],
        model.predict(pictures, deterministic=True)[0],
    )


def test_an_archive_from_before_parts_shared_their_weights_under_three_names(tmp_path: Path):
    archive = ppo(tmp_path)
    expected = load_policy(archive, on=CARTPOLE, trust=True).policy.state_dict()

    def thin(parts: dict[str, bytes]) -> None:
        weights = torch.load(io.BytesIO(parts["policy.pth"]), weights_only=True)
        stream = io.BytesIO()
        torch.save({k: v for k, v in weights.items() if "f_features" not in k}, stream)
        parts["policy.pth"] = stream.getvalue()

    found = load_policy(rewritten(archive, thin), on=CARTPOLE, trust=True).policy.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


# Mistakes


def truncate(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-100])


def flip_a_bit(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        place = file.getinfo("policy.pth").header_offset + 200
    content = bytearray(archive.read_bytes())
    content[place] ^= 1
    archive.write_bytes(content)


def replace_by_notes(archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("notes.txt", "no policy")


def replace_by_weights(archive: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, archive)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (truncate, "damaged, or no archive of Stable-Baselines3"),
        (flip_a_bit, "damaged, or no archive of Stable-Baselines3"),
        (lambda archive: archive.write_bytes(b""), "damaged, or no archive"),
        (replace_by_notes, r"no archive .*no data and no policy\.pth in it"),
        (replace_by_weights, r"no archive .*no data and no policy\.pth in it"),
        (
            lambda archive: rewritten(archive, lambda parts: parts.update(data=b"{")),
            "damaged, or no archive",
        ),
        (
            lambda archive: rewritten(archive, lambda parts: parts.update(data=b"[3]")),
            "its data are no JSON object",
        ),
    ],
)
@pytest.mark.parametrize("trust", [False, True])
def test_a_damaged_or_foreign_file_is_one_line(
    tmp_path: Path, damage: Callable[[Path], object], complaint: str, trust: bool
):
    archive = ppo(tmp_path)
    damage(archive)
    with pytest.raises(PolicyFileError, match=complaint) as caught:
        load_policy(archive, on=CARTPOLE, trust=trust)
    assert str(caught.value).startswith(str(archive))
    assert "\n" not in str(caught.value)


class Stranger(torch.nn.Module):
    pass


@pytest.mark.parametrize(
    ("change", "on", "complaint"),
    [
        (lambda a: a, PENDULUM, r"observation space of \(4,\), the environment has \(3,\)"),
        (
            lambda a: a,
            GymnasiumEnvironment("CartPole-v2"),
            "cannot make environment 'CartPole-v2'",
        ),
        (lambda a: a, AtariProtocol("pong"), r"observation space of \(4,\), .* \(4, 84, 84\)"),
        (
            lambda a: with_setting(a, "policy_class", Stranger),
            CARTPOLE,
            "its policy_class is no network of the library",
        ),
        (lambda a: with_setting(a, "policy_kwargs", {"net_arch": [9]}), CARTPOLE, "size mismatch"),
        (lambda a: with_setting(a, "policy_kwargs", {"windows": 2}), CARTPOLE, "windows"),
        (
            lambda a: rewritten(a, lambda parts: parts.update({"policy.pth": b"nothing"})),
            CARTPOLE,
            "its weights cannot be read",
        ),
    ],
)
def test_a_policy_that_cannot_play_there_is_one_line(
    tmp_path: Path, change: Callable[[Path], Path], on: Environment, complaint: str
):
    with pytest.raises(PolicyFileError, match=complaint) as caught:
        load_policy(change(ppo(tmp_path)), on=on, trust=True)
    assert "\n" not in str(caught.value)


def test_other_actions_are_named(tmp_path: Path):
    mountain = like(GymnasiumEnvironment("MountainCar-v0")).observation_space
    blank = Blank(mountain, gym.spaces.Discrete(2))
    PPO("MlpPolicy", blank, n_steps=8, batch_size=8).save(tmp_path / "ppo.zip")
    with pytest.raises(PolicyFileError, match="action space of 2, the environment has 3"):
        load_policy(tmp_path / "ppo.zip", on=GymnasiumEnvironment("MountainCar-v0"), trust=True)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sb3_contrib import TRPO

    TRPO("MlpPolicy", like(CARTPOLE)).save(tmp_path / "trpo.zip")
    with_class_of_it = with_setting(tmp_path / "trpo.zip", "policy_kwargs", {"mine": TRPO})
    for module in [name for name in sys.modules if name.startswith("sb3_contrib")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PolicyFileError, match=r"pip install -e '.\[sb3-contrib\]'"):
        load_policy(with_class_of_it, on=CARTPOLE, trust=True)


# The commands


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    return said.err


def test_an_archive_is_evaluated_and_compared_with_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    archive = ppo(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "add --trust --on ENVIRONMENT" in mistake(capsys, "evaluate", "ppo.zip")
    assert "add --on ENVIRONMENT" in mistake(capsys, "evaluate", "ppo.zip", "--trust")
    line = mistake(capsys, "evaluate", "ppo.zip", "--trust", "--on", "CartPole-v9")
    assert "'CartPole-v9' is no environment" in line
    playing = ["--trust", "--on", "CartPole-v1", "--episodes", "4", "--json"]
    assert main(["evaluate", str(archive), *playing]) == 0
    printed = capsys.readouterr().out
    evaluation = json.loads(printed)
    assert len(evaluation["returns"]) == 4
    assert evaluation["policy"]["architecture"]["algorithm"] == "sb3:PPO"
    (tmp_path / "ppo.json").write_text(printed)

    run = Run.create(RECIPES["cartpole"], tmp_path / "runs")
    line = {k: v for k, v in evaluation.items() if k != "policy"}
    line |= {"step": 7, "final": True, "returns": [9.0, 9.0, 9.0, 9.0]}
    run.evaluations_file.write_text(json.dumps(line) + "\n")
    assert main(["compare", str(run.path), "ppo.json", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["label"] for row in rows] == ["cartpole", "ppo"]
    assert [row["mean"] for row in rows] == [9.0, evaluation["mean"]]
    assert [row["steps"] for row in rows] == [[7], [0]]

    line = mistake(capsys, "compare", run.path, "ppo.zip")
    assert "rlkit evaluate ppo.zip --trust --on ENVIRONMENT --json > ppo.json" in line
    line = mistake(capsys, "compare", run.path, run.config_file)
    assert "holds no evaluation as `rlkit evaluate --json` prints it" in line
    assert "cannot read" in mistake(capsys, "compare", run.path, "nothing.json")


def test_a_run_stands_for_its_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    run = Run.create(RECIPES["cartpole"], tmp_path / "runs")
    archive = ppo(tmp_path)
    for world in (run.path, "cartpole"):
        arguments = ["evaluate", archive, "--trust", "--on", world, "--episodes", "1", "--json"]
        assert main([str(argument) for argument in arguments]) == 0
        assert json.loads(capsys.readouterr().out)["protocol"]["id"] == "CartPole-v1"
