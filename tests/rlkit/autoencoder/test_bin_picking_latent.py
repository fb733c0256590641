"""Picking from codes of heightmaps: recorded, coded, learnt from, resumed, evaluated, watched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkit.autoencoder.autoencoder import Autoencoder, find_autoencoder, load_autoencoder
from rlkit.autoencoder.encode_observation import EncodeObservations, ObservationCoder
from rlkit.autoencoder.pictures import pictures_of_codes
from rlkit.autoencoder.quality import measure
from rlkit.bin_picking_evaluation import config_of
from rlkit.callbacks.checkpointing import Checkpointing
from rlkit.checkpoint import CheckpointStore
from rlkit.cli.main import main
from rlkit.configuration import to_json
from rlkit.edge.body import ExportError, body_of
from rlkit.environments import (
    EncodedEnvironment,
    Environment,
    GymnasiumEnvironment,
    coded_pictures,
    for_evaluation,
    make_envs,
    make_watchable,
)
from rlkit.observations import PlayConfig, gather
from rlkit.policies import load_policy, save_policy
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.recipes import find_recipe
from rlkit.run_folder import Run
from rlkit.training import Training
from rlkit_agents.coded_pictures import MapDecoder
from rlkit_agents.pick import Pick, PickConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_envs.bin_picking import photography
from rlkit_envs.bin_picking.environment import BinPickingEnvs

BINS = GymnasiumEnvironment("rlkit/BinPicking-v0", {"tier": "mixed", "parts": 3, "pixels": 16})
HALVED: dict[str, Any] = {"latents": 8, "halvings": 3, "batch_size": 8, "epochs": 1}


@pytest.fixture(scope="module", autouse=True)
def one_process() -> Iterator[None]:
    """Others take seconds to start."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def heights() -> np.ndarray:
    """(24, 1, 16, 16) float32 in mm, of parts as bins have them."""
    return gather(BINS, PlayConfig(count=24, every=1, channels=(0,)))


@pytest.fixture(scope="module")
def encoder(heights: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoders") / "heights.safetensors"
    Autoencoder(**HALVED).fit(heights).save(path)
    return path


@pytest.fixture(scope="module")
def environment(encoder: Path) -> EncodedEnvironment:
    return EncodedEnvironment(BINS, str(encoder), marks=True)


def small_recipe(environment: EncodedEnvironment) -> Recipe:
    algorithm = PickConfig(
        network=PickNetworkConfig(channels=(3, 4, 5), members=2),
        window=16,
        learning_starts=8,
        replay_capacity=200,
        batch_size=8,
        samples_per_step=4.0,
        precision="float32",
    )
    return Recipe(
        name="latent",
        environment=environment,
        algorithm=algorithm,
        num_envs=2,
        steps=48,
        environment_threads=1,
        learner_threads=1,
        checkpoint_every=32,
        evaluation=EvaluationSchedule(every=0, final_episodes=0),
    )


# Codes that are maps


def test_a_map_learns_to_code_what_lies_about() -> None:
    """Squares of one height each, anywhere: a few numbers a place tell where and how high."""
    random = np.random.default_rng(0)
    pictures = np.zeros((200, 1, 8, 8), np.float32)
    for picture, (row, column), height in zip(
        pictures, random.integers(0, 5, (200, 2)), random.uniform(10, 50, 200), strict=True
    ):
        picture[0, row : row + 4, column : column + 4] = height
    autoencoder = Autoencoder(
        latents=16, halvings=1, epochs=30, batch_size=16, learning_rate=4e-3, precision="float32"
    )
    autoencoder.fit(pictures[40:])
    rebuilt = autoencoder.decode_bytes(autoencoder.encode_bytes(pictures[:40]))
    left = np.square(rebuilt - pictures[:40]).mean() / pictures[:40].var(0).mean()
    assert left < 0.2


def test_a_map_s_code_is_about_places(heights: np.ndarray) -> None:
    network = Autoencoder(latents=2 * 4, halvings=3, epochs=1).fit(heights).network
    other = torch.from_numpy(heights[:1].copy())
    other[..., :4, :4] += 30.0
    with torch.no_grad():
        change = (network.encode(torch.from_numpy(heights[:1])) != network.encode(other))[0]
    assert change.view(2, 2, 2)[:, 0, 0].all()
    assert isinstance(network.decoder, MapDecoder)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"halvings": -1}, "halvings must not be negative"),
        ({"halvings": 2, "mirrored": True}, "mirrored"),
        ({"halvings": 2, "torso": "small"}, "has no torso"),
    ],
)
def test_maps_that_make_no_sense_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Autoencoder(**changes)


def test_a_map_has_no_torso_to_start_from(encoder: Path) -> None:
    with pytest.raises(ValueError, match="no torso"):
        _ = load_autoencoder(encoder).network.encoder.torso


def test_a_file_of_maps_codes_as_before_and_takes_bytes_too(
    encoder: Path, heights: np.ndarray
) -> None:
    fitted = Autoencoder(**HALVED).fit(heights)
    assert np.array_equal(load_autoencoder(encoder).transform(heights), fitted.transform(heights))
    bytes_ = heights.clip(0, 255).astype(np.uint8)
    small = Autoencoder(**{**HALVED, "kind": "variational"}).fit(bytes_)
    assert small.decode_bytes(small.encode_bytes(bytes_)).shape == bytes_.shape


# Observations


def test_an_observation_is_a_code_and_exact_marks(
    encoder: Path, environment: EncodedEnvironment
) -> None:
    envs, plain = make_envs(environment, 2), make_envs(BINS, 2)
    autoencoder = load_autoencoder(encoder)
    observations, _ = envs.reset(seed=3)
    seen, _ = plain.reset(seed=3)
    pictures = coded_pictures(environment)
    assert pictures is not None
    marked = []
    for _ in range(4):
        assert observations.shape == (2, 8 + 16 * 16 // 8)
        assert observations.dtype == np.uint8
        assert observations in envs.observation_space
        codes = autoencoder.encode_bytes(seen[:, :1], precision="auto")
        assert np.array_equal(observations[:, :8], codes)
        made = pictures(torch.from_numpy(observations)).numpy()
        np.testing.assert_array_equal(made[:, 1], seen[:, 1])
        np.testing.assert_allclose(made[:, :1], autoencoder.decode_bytes(codes), atol=1e-3)
        marked.append(seen[:, 1].sum())
        actions = np.array([120, 136])
        observations, *_ = envs.step(actions)
        seen, *_ = plain.step(actions)
    assert len(set(marked)) > 1  # failures were marked meanwhile
    envs.close()
    plain.close()


def test_marks_need_channels_bytes_and_a_single_code(encoder: Path) -> None:
    autoencoder = load_autoencoder(encoder)
    envs = BinPickingEnvs(1, **BINS.arguments)
    space = envs.single_observation_space
    for wrong in ({"frame_stack": 4}, {"as_bytes": False}):
        with pytest.raises(ValueError, match="neither floats nor stacks"):
            EncodeObservations(envs, autoencoder, **{"as_bytes": True, **wrong}, marks=True)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="codes observations in"):
        ObservationCoder(autoencoder, space, as_bytes=True)
    with pytest.raises(ValueError, match="last of some channels"):
        ObservationCoder(autoencoder, autoencoder.space, as_bytes=True, marks=True)
    envs.close()


def test_pictures_are_made_of_maps_of_floats_alone(
    heights: np.ndarray, environment: EncodedEnvironment
) -> None:
    dense = Autoencoder(latents=4, torso="compact", dense_size=8, epochs=1).fit(heights)
    of_bytes = Autoencoder(**HALVED).fit(heights.clip(0, 255).astype(np.uint8))
    for autoencoder in (dense, of_bytes):
        with pytest.raises(ValueError, match="codes that are maps"):
            pictures_of_codes(autoencoder)
    assert coded_pictures(BINS) is None
    assert coded_pictures(replace(environment, marks=False)) is None


def test_channels_and_the_world_of_trainings_are_recorded() -> None:
    everything = gather(BINS, PlayConfig(count=8, every=1))
    assert np.array_equal(
        gather(BINS, PlayConfig(count=8, every=1, channels=(1,))), everything[:, 1:]
    )
    all_tiers = replace(BINS, arguments={**BINS.arguments, "tier": "all"})
    play = PlayConfig(count=8, every=1)
    assert np.array_equal(gather(all_tiers, play), everything)  # evaluations are of the mixed tier
    assert not np.array_equal(gather(all_tiers, replace(play, as_trained=True)), everything)
    with pytest.raises(ValueError, match="have no"):
        gather(BINS, replace(play, channels=(2,)))
    with pytest.raises(ValueError, match="counted from 0"):
        PlayConfig(channels=(-1,))


# The agent


def test_a_training_on_codes_goes_on_where_it_was(
    environment: EncodedEnvironment, tmp_path: Path
) -> None:
    recipe = small_recipe(environment)
    run = Run.create(recipe, tmp_path)
    whole, resumed = (Training(recipe, run, [Checkpointing()]) for _ in range(2))
    whole.learn()
    assert CheckpointStore(run.checkpoints).steps()[0] == 32
    resumed.load_checkpoint(32)
    resumed.learn()
    assert resumed.algorithm.updates == whole.algorithm.updates >= 3
    weights = whole.algorithm.policy.state_dict()
    for name, tensor in resumed.algorithm.policy.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert isinstance(whole.algorithm, Pick)
    assert whole.algorithm.replay.export_rows(0, 1)["frames"].shape == (1, 2, 8 + 32)


@pytest.fixture(scope="module")
def policy(environment: EncodedEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    envs = make_envs(environment, 1)
    made = PickPolicy(
        envs.single_observation_space,
        envs.single_action_space,
        PickNetworkConfig(channels=(3, 4, 5), members=2),
        coded=coded_pictures(environment),
        precision="float32",
    )
    envs.close()
    path = tmp_path_factory.mktemp("policies") / "latent.safetensors"
    save_policy(made, path, environment, {"recipe": "bin-picking-latent", "steps": 0})
    return path


def test_a_policy_file_holds_the_decoder(policy: Path, environment: EncodedEnvironment) -> None:
    loaded = load_policy(policy)
    assert loaded.environment == environment
    assert isinstance(loaded.policy, PickPolicy)
    assert loaded.policy.coded is not None
    expected = coded_pictures(environment)
    assert expected is not None
    for name, tensor in expected.state_dict().items():
        assert torch.equal(loaded.policy.coded.state_dict()[name], tensor), name
    assert config_of(for_evaluation(environment)).parts == 3
    with pytest.raises(ExportError, match="sees codes"):
        body_of(loaded.policy)


def test_it_is_evaluated_beside_others_and_watched(
    policy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photography, "_RAYS", (240, 180))  # a ray for sixteen, to be fast
    few = ("--tiers", "mixed", "--pickers", "highest", "--episodes", "1")
    assert main(["evaluate", str(policy), *few, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["tiers"]["mixed"]) == {"agent", "highest"}
    # The same bin, picked from through the environment that makes codes.
    loaded = load_policy(policy)
    envs = make_envs(for_evaluation(loaded.environment), 1)
    observations, _ = envs.reset(seed=0)
    rewards, over = 0.0, False
    while not over:
        actions, _ = loaded.policy.predict(observations, deterministic=True)
        observations, reward, terminated, truncated, _ = envs.step(actions)
        rewards += float(reward[0])
        over = bool(terminated[0] | truncated[0])
    envs.close()
    assert told["returns"] == [rewards]
    picture = tmp_path / "end.png"
    assert main(["watch", str(policy), "--video", str(picture)]) == 0
    assert picture.stat().st_size > 1_000


def test_an_encoder_is_judged_on_the_channels_and_by_the_players_that_it_learnt_from(
    encoder: Path, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    autoencoder = load_autoencoder(encoder)
    play = PlayConfig(count=8, every=1, channels=(0,), policies=(str(policy),), random=False)
    described = to_json(BINS, Environment)
    autoencoder.provenance = {"environment": described, "play": asdict(play)}
    autoencoder.save(tmp_path / "told.safetensors")
    few = ("--play.count", "8", "--play.every", "1", "--play.seed", "5", "--json")
    assert main(["autoencoder", "evaluate", str(tmp_path / "told.safetensors"), *few]) == 0
    told = json.loads(capsys.readouterr().out)
    seen = gather(BINS, replace(play, seed=5))
    assert told["error"] == measure(autoencoder, seen).error
    assert told["code_bytes"] == 8


# What ships


def test_the_encoder_that_ships_codes_heightmaps_of_bins() -> None:
    recipe = find_recipe("bin-picking-latent")
    environment = recipe.environment
    assert isinstance(environment, EncodedEnvironment)
    assert environment.environment == find_recipe("bin-picking").environment
    autoencoder = find_autoencoder(environment.encoder)
    env = make_watchable(environment.environment)
    seen, _ = env.reset(seed=5)
    env.close()
    heights = np.asarray(seen)[None, :1]
    decoded = autoencoder.decode_bytes(autoencoder.encode_bytes(heights))
    # Means of 4x4 pixels, in floating point, would take twice the bytes and blur every edge.
    means = heights.reshape(16, 4, 16, 4).mean((1, 3)).repeat(4, 0).repeat(4, 1)
    assert np.square(decoded - heights).sum() < 0.3 * np.square(means - heights).sum()
    pictures = coded_pictures(environment)
    assert pictures is not None
    assert pictures.config.bytes * 32 == np.asarray(seen).nbytes
