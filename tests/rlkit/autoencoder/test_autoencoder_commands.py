"""`rlkit autoencoder train`, `evaluate` and `encode`, as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlkit import observations
from rlkit.autoencoder.autoencoder import load_autoencoder
from rlkit.cli.main import main

QUICK = ["--autoencoder.epochs", "2", "--autoencoder.hidden-sizes", "8", "--json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an autoencoder of CartPole."""
    runs = tmp_path_factory.mktemp("runs")
    command = ["autoencoder", "train", "cartpole", "--play.count", "300", "--keep"]
    assert main([*command, "--autoencoder.latents", "2", "--runs", str(runs), *QUICK]) == 0
    (folder,) = (runs / "CartPole-v1").iterdir()
    return folder


def test_training_leaves_everything_about_it(trained: Path) -> None:
    told = json.loads((trained / "autoencoder.json").read_text())
    assert told["config"]["latents"] == 2
    assert len(told["epochs"]) == 2
    assert told["quality"]["observations"] == 30
    assert told["quality"]["ratio"] == 16 / 2
    autoencoder = load_autoencoder(trained / "autoencoder.safetensors")
    assert autoencoder.provenance["environment"]["id"] == "CartPole-v1"
    with np.load(trained / "observations.npz") as archive:
        assert archive["observations"].shape == (300, 4)
    events = EventAccumulator(str(trained)).Reload()
    assert {"loss/learning", "loss/held_out"} <= set(events.Tags()["scalars"])
    assert events.Tags()["histograms"] == ["code/0", "code/1"]
    assert (trained / "projector_config.pbtxt").is_file()


def test_what_is_held_out_comes_of_other_episodes(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = []
    gather = observations.gather

    def watched(environment, play):
        played.append((play.count, play.seed))
        return gather(environment, play)

    monkeypatch.setattr(observations, "gather", watched)
    command = ["autoencoder", "train", "cartpole", "--play.count", "100", "--play.seed", "3"]
    assert main([*command, "--runs", str(tmp_path), *QUICK]) == 0
    assert played == [(10, 1_000_003), (90, 3)]
    told = json.loads(capsys.readouterr().out)
    assert told["quality"]["observations"] == 10
    assert (told["provenance"]["play"]["count"], told["provenance"]["play"]["seed"]) == (100, 3)


def test_a_file_of_observations_will_do(trained: Path, tmp_path: Path, capsys) -> None:
    source = str(trained / "observations.npz")
    assert main(["autoencoder", "train", source, "--runs", str(tmp_path), *QUICK]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["provenance"]["file"] == "observations.npz"
    assert main(["autoencoder", "evaluate", told["file"]]) == 2
    assert "--observations FILE" in capsys.readouterr().err
    assert main(["autoencoder", "evaluate", told["file"], "--observations", source, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["observations"] == 300


def test_evaluating_records_other_observations(trained: Path, capsys) -> None:
    file = str(trained / "autoencoder.safetensors")
    command = ["autoencoder", "evaluate", file, "--play.count", "100"]
    assert main([*command, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["observations"] == 100
    assert 0 < first["error"] < 2
    assert main([*command, "--play.seed", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["error"] != first["error"]
    assert first["absolute_error"] > 0
    assert main(command) == 0
    assert "16 bytes in 2 (8 to 1)" in capsys.readouterr().out


@pytest.mark.parametrize("floats", [False, True])
def test_codes_go_into_a_file_and_come_back(
    trained: Path, tmp_path: Path, capsys, floats: bool
) -> None:
    flags = ["--floats"] if floats else []
    source, codes, back = trained / "observations.npz", tmp_path / "c.npz", tmp_path / "b.npz"
    encode = ["autoencoder", "encode", str(trained / "autoencoder.safetensors")]
    assert main([*encode, "--input", str(source), "--output", str(codes), *flags]) == 0
    assert "300 codes" in capsys.readouterr().out
    decode = [*encode, "--decode", "--input", str(codes)]
    assert main([*decode, "--output", str(back), *flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["array"] == "observations"
    autoencoder = load_autoencoder(trained / "autoencoder.safetensors")
    with np.load(source) as given, np.load(codes) as coded, np.load(back) as decoded:
        assert coded["codes"].dtype == (np.float32 if floats else np.uint8)
        expected = (autoencoder.transform if floats else autoencoder.encode_bytes)(
            given["observations"]
        )
        assert np.array_equal(coded["codes"], expected)
        assert decoded["observations"].shape == given["observations"].shape
    wrong = [] if floats else ["--floats"]
    assert main([*decode, "--output", str(back), *wrong]) == 2
    assert "decode it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere"], "'nowhere' is no environment"),
        (["train", "nowhere.npz"], "cannot be read"),
        (["train", "cartpole", "--play.size", "84"], "size is for Atari"),
        (["train", "cartpole", "--play.count", "5"], "too few"),
        (["train", "cartpole", "--play.policies", "boxing"], "plays another world"),
        (["train", "cartpole", "--autoencoder.latents", "0"], "latents must be at least 1"),
        (["evaluate", "nowhere"], "no such file"),
        (["encode", "nowhere", "--input", "a.npz", "--output", "b.npz"], "no such file"),
        (["fly"], "no command 'fly'"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["autoencoder", *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rlkit: ")
    assert message in error
