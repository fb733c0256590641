"""Files of machines, stacks and networks: what is saved comes back, and what is damaged is
refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from rlkit.dbn import rbm_file
from rlkit.dbn.dbn import DBN
from rlkit.dbn.finetune import DBNClassifier, DBNRegressor
from rlkit.dbn.finetune_config import FinetuneConfig
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rbm_file import RBMFileError, load, read_provenance, save
from rlkit.estimator import NotFittedError
from rlkit.tensor_file import digest

BINARY = RBMConfig(hidden_units=3, epochs=2, batch_size=5)
REAL = RBMConfig.gaussian(hidden_units=4, epochs=2, batch_size=5)


def rows_of(visible: str) -> np.ndarray:
    rows = np.random.default_rng(0).random((20, 5))
    return rows.round() if visible == "bernoulli" else 100.0 + 7.0 * rows


@pytest.mark.parametrize("config", [BINARY, REAL], ids=["bernoulli", "gaussian"])
def test_a_machine_comes_back_with_all_that_it_knew(tmp_path: Path, config: RBMConfig):
    rows = rows_of(config.visible)
    rbm = RBM(config).fit(rows)
    save(tmp_path / "rbm.safetensors", rbm)
    again = load(tmp_path / "rbm.safetensors")
    assert isinstance(again, RBM)
    assert again.config == config
    assert again.history_ == rbm.history_
    np.testing.assert_array_equal(again.transform(rows), rbm.transform(rows))
    np.testing.assert_array_equal(again.score_samples(rows), rbm.score_samples(rows))
    np.testing.assert_array_equal(again.sample(4, steps=2, seed=0), rbm.sample(4, steps=2, seed=0))
    again.partial_fit(rows)  # goes on
    assert not np.array_equal(again.components_, rbm.components_)


def test_provenance_comes_back(tmp_path: Path):
    rbm = RBM(BINARY).fit(rows_of("bernoulli"))
    save(tmp_path / "a.safetensors", rbm)
    assert read_provenance(tmp_path / "a.safetensors") == {}
    save(tmp_path / "b.safetensors", rbm, provenance={"source": {"seed": 3}})
    assert read_provenance(tmp_path / "b.safetensors") == {"source": {"seed": 3}}
    assert isinstance(load(tmp_path / "b.safetensors"), RBM)


def test_a_stack_comes_back(tmp_path: Path):
    rows = rows_of("gaussian")
    dbn = DBN(layers=(REAL, BINARY), seed=4).fit(rows)
    save(tmp_path / "dbn.safetensors", dbn)
    again = load(tmp_path / "dbn.safetensors")
    assert isinstance(again, DBN)
    assert again.config == dbn.config
    np.testing.assert_array_equal(again.transform(rows), dbn.transform(rows))
    np.testing.assert_array_equal(again.sample(3, steps=2, seed=1), dbn.sample(3, steps=2, seed=1))


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [False, True]])
def test_a_classifier_comes_back_with_its_labels(tmp_path: Path, labels: list):
    rows = rows_of("gaussian")
    y = np.array(labels)[(rows[:, 0] > 103.0).astype(int)]
    tuning = FinetuneConfig(epochs=2, dropout=0.2, drop_connect=0.1)
    classifier = DBNClassifier(layers=(REAL, BINARY), finetune=tuning).fit(rows, y)
    save(tmp_path / "c.safetensors", classifier)
    again = load(tmp_path / "c.safetensors")
    assert isinstance(again, DBNClassifier)
    assert again.config == classifier.config
    assert again.predict(rows).dtype == y.dtype
    assert again.history_ == classifier.history_
    np.testing.assert_array_equal(again.predict_proba(rows), classifier.predict_proba(rows))
    np.testing.assert_array_equal(again.dbn_.transform(rows), classifier.dbn_.transform(rows))


def test_a_regressor_comes_back(tmp_path: Path):
    rows = rows_of("bernoulli")
    tuning = FinetuneConfig(epochs=2)
    regressor = DBNRegressor(layers=(BINARY,), finetune=tuning).fit(rows, rows[:, 0] * 9.0)
    save(tmp_path / "r.safetensors", regressor)
    again = load(tmp_path / "r.safetensors")
    assert isinstance(again, DBNRegressor)
    np.testing.assert_array_equal(again.predict(rows), regressor.predict(rows))


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("rbm") / "rbm.safetensors"
    save(path, RBM(BINARY).fit(rows_of("bernoulli")))
    return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_refused_wherever_it_is(content: bytes, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "rbm.safetensors"
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    with pytest.raises(RBMFileError, match=r"rbm\.safetensors: [^\n]+$"):
        load(path)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.0, 0.999))
def test_a_file_that_is_cut_off_is_refused(content: bytes, tmp_path_factory, share: float):
    path = tmp_path_factory.mktemp("cut") / "rbm.safetensors"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(RBMFileError, match=r"rbm\.safetensors: damaged"):
        load(path)


def test_other_files_are_named_for_what_they_are(tmp_path: Path):
    with pytest.raises(RBMFileError, match="cannot be read: No such file"):
        load(tmp_path / "nothing.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(RBMFileError, match="not an rlkit Boltzmann machine"):
        load(foreign)


def changed(path: Path, content: bytes, **changes: object) -> None:
    """Write the file with other entries of its header, and the checksum that belongs to them."""
    path.write_bytes(content)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[rbm_file.FILE.metadata_key])
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    header |= changes
    header["sha256"] = digest(header, tensors)
    safetensors.torch.save_file(tensors, path, {rbm_file.FILE.metadata_key: json.dumps(header)})


def test_a_newer_format_asks_for_a_newer_rlkit(tmp_path: Path, content: bytes):
    path = tmp_path / "rbm.safetensors"
    changed(path, content, format_version=rbm_file.FILE.version + 1)
    with pytest.raises(RBMFileError, match=r"written by a newer rlkit.*upgrade rlkit"):
        load(path)


@pytest.mark.parametrize(
    "changes", [{"kind": "gan"}, {"kind": "dbn"}, {"layers": []}, {"layers": [{"config": {}}]}]
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, content: bytes, changes: dict):
    path = tmp_path / "rbm.safetensors"
    changed(path, content, **changes)
    with pytest.raises(RBMFileError, match="its header and tensors make no estimator"):
        load(path)


def test_saving_fails_without_leaving_anything_behind(tmp_path: Path):
    with pytest.raises(NotFittedError):
        save(tmp_path / "rbm.safetensors", RBM())
    rbm = RBM(BINARY).fit(rows_of("bernoulli"))
    with pytest.raises(OSError, match=r"missing/rbm\.safetensors"):
        save(tmp_path / "missing" / "rbm.safetensors", rbm)
    assert list(tmp_path.iterdir()) == []
