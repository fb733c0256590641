"""Policy files: whole round trips, and one clear line for each way a file can be wrong."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlkit.policy_file import (
    FORMAT_VERSION,
    PolicyFileError,
    read_policy_file,
    space_from_json,
    space_to_json,
    write_policy_file,
)

from .interruptions import files_no_larger_than

HEADER: dict[str, Any] = {
    "architecture": {"torso": "small", "hidden_sizes": [256, 128]},
    "spaces": {"action": space_to_json(spaces.Discrete(18))},
    "preprocessing": {"frame_skip": 4, "colour": False},
    "protocol": {"sticky_actions": 0.25},
    "provenance": {"seed": 1, "package_versions": None},
}


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    convolution = torch.randn(4, 2, 3, 3, generator=generator)
    return {
        "convolution": convolution.to(memory_format=torch.channels_last),
        "transposed": torch.randn(3, 5, generator=generator).T,
        "half": torch.randn(3, generator=generator).to(torch.bfloat16),
        "scalar": torch.tensor(-1.5, dtype=torch.float64),
        "flags": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 3),
        "tied": convolution,
    }


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.safetensors"
    write_policy_file(path, HEADER, tensors())
    return path


def assert_same(read: dict[str, Tensor], written: dict[str, Tensor]) -> None:
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_round_trip_of_header_and_tensors(policy: Path) -> None:
    header, read = read_policy_file(policy)
    assert {part: header[part] for part in HEADER} == HEADER
    assert header["format_version"] == FORMAT_VERSION
    assert_same(read, tensors())


def test_what_was_read_can_be_written_again(policy: Path, tmp_path: Path) -> None:
    write_policy_file(tmp_path / "again", *read_policy_file(policy))
    assert (tmp_path / "again").read_bytes() == policy.read_bytes()


def test_text_of_any_language_survives(tmp_path: Path) -> None:
    header = {**HEADER, "provenance": {"author": "Grüße, 日本 🥊", "argument": "\udcff"}}
    write_policy_file(tmp_path / "policy", header, {})
    assert read_policy_file(tmp_path / "policy")[0]["provenance"] == header["provenance"]


def test_tuples_and_number_keys_come_back_as_json_has_them(tmp_path: Path) -> None:
    header = {**HEADER, "architecture": {"sizes": (3, 4), 10: "ten", 9: "nine"}}
    write_policy_file(tmp_path / "policy", header, {})
    read, _ = read_policy_file(tmp_path / "policy")
    assert read["architecture"] == {"sizes": [3, 4], "10": "ten", "9": "nine"}


def test_the_file_is_plain_safetensors_and_follows_the_umask(policy: Path) -> None:
    assert_same(safetensors.torch.load_file(policy), tensors())
    (policy.parent / "other").write_bytes(b"")
    assert policy.stat().st_mode == (policy.parent / "other").stat().st_mode


def test_tensors_outlive_the_file(policy: Path) -> None:
    _, read = read_policy_file(policy)
    os.truncate(policy, 0)
    assert_same(read, tensors())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_truncated(policy: Path, share: float) -> None:
    size = policy.stat().st_size
    os.truncate(policy, min(int(size * share), size - 1))
    assert_refused(policy, "damaged, or not a policy file")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(policy: Path, position: float, bit: int) -> None:
    data = bytearray(policy.read_bytes())
    data[int(position * len(data))] ^= 1 << bit
    flipped = policy.with_name("flipped")
    flipped.write_bytes(data)
    assert_refused(flipped)


def test_a_flipped_bit_in_a_weight_is_called_damage(policy: Path) -> None:
    data = bytearray(policy.read_bytes())
    data[-1] ^= 1
    policy.write_bytes(data)
    assert_refused(policy, "damaged: its content does not match its checksum")


def test_foreign_files(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))
    assert_refused(foreign, "not a policy file")
    torch.save(tensors(), foreign)
    assert_refused(foreign, "not a policy file")
    foreign.write_text("a line of text that is no policy\n" * 10)
    assert_refused(foreign, "not a policy file")
    safetensors.torch.save_file({"weight": torch.ones(2)}, foreign)
    assert_refused(foreign, "a safetensors file, but not an rlkit policy")


def test_unreadable_paths(tmp_path: Path) -> None:
    assert_refused(tmp_path / "missing", "cannot be read: No such file")
    assert_refused(tmp_path, "cannot be read: ")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{", "its header is not JSON"),
        ("[" * 100_000, "its header is not JSON"),
        ("[]", "its header has no format version"),
        ('{"format_version": "1"}', "its header has no format version"),
        ('{"format_version": true}', "its header has no format version"),
        (f'{{"format_version": {FORMAT_VERSION + 1}}}', "newer rlkit .* upgrade rlkit"),
        ('{"format_version": 1, "spaces": {}}', "lacks architecture, preprocessing, protocol"),
    ],
)
def test_headers_that_make_no_sense(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "policy"
    safetensors.torch.save_file({}, path, {"rlkit": header})
    assert_refused(path, message)


def test_a_changed_header_is_noticed(policy: Path) -> None:
    header, read = read_policy_file(policy)
    header["preprocessing"]["frame_skip"] = 5
    safetensors.torch.save_file(read, policy, {"rlkit": json.dumps(header)})
    assert_refused(policy, "does not match its checksum")


def assert_refused(path: Path, message: str | None = None) -> None:
    with pytest.raises(PolicyFileError, match=message) as caught:
        read_policy_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_keeps_the_old_file(policy: Path) -> None:
    before = policy.read_bytes()
    with pytest.raises(OSError, match="File too large") as caught, files_no_larger_than(1024):
        write_policy_file(policy, HEADER, {"weights": torch.ones(10_000)})
    assert caught.value.filename == str(policy)
    assert policy.read_bytes() == before
    assert list(policy.parent.iterdir()) == [policy]


def test_writing_to_a_folder_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "policy"
    with pytest.raises(FileNotFoundError) as caught:
        write_policy_file(path, HEADER, {})
    assert caught.value.filename == str(path)


def test_writing_over_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_policy_file(tmp_path, HEADER, {})
    assert list(tmp_path.parent.glob(".*.partial")) == []


def test_bad_headers_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    with pytest.raises(ValueError, match="needs protocol, provenance"):
        write_policy_file(path, {"architecture": {}, "spaces": {}, "preprocessing": {}}, {})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_policy_file(path, {**HEADER, "protocol": {"epsilon": float("nan")}}, {})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_policy_file(path, {**HEADER, "protocol": object()}, {})
    assert not path.exists()


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 255, (4, 84, 84), np.uint8),
        spaces.Box(-np.inf, np.inf, (3,)),
        spaces.Box(np.array([-1, -np.inf], np.float32), np.array([0.1, 3], np.float32)),
        spaces.Box(np.full((2, 3), -1e300), np.arange(6.0).reshape(2, 3), dtype=np.float64),
        spaces.Box(-(2**60) - 1, 2**60 + 1, (2,), np.int64),
        spaces.Box(-1, 1, (), np.float32),
        spaces.Discrete(18),
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([3, 4]),
        spaces.MultiDiscrete(np.array([[3, 4], [1, 2]]), start=np.array([[1, 1], [0, 0]])),
    ],
    ids=str,
)
def test_spaces_round_trip(space: spaces.Space[Any]) -> None:
    text = json.dumps(space_to_json(space), allow_nan=False)
    read = space_from_json(json.loads(text))
    assert read == space
    assert read.dtype == space.dtype


def test_a_frame_space_takes_one_line_of_json() -> None:
    assert space_to_json(spaces.Box(0, 255, (4, 84, 84), np.uint8)) == {
        "type": "Box",
        "low": 0,
        "high": 255,
        "shape": [4, 84, 84],
        "dtype": "uint8",
    }


def test_other_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="not Dict"):
        space_to_json(spaces.Dict({"arm": spaces.Discrete(2)}))


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Dict"},
        {"dtype": "object"},
        {"dtype": "f4,f4"},
        {"shape": [-2]},
        {"shape": None},
        {"high": "high"},
        {"high": 256},
        {"low": 9, "high": 8},
        {"low": [1, 2, 3]},
    ],
    ids=str,
)
def test_descriptions_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    good = space_to_json(spaces.Box(0, 255, (2,), np.uint8))
    with pytest.raises(ValueError, match="not the description of a space"):
        space_from_json(good | change)
    with pytest.raises(ValueError, match="not the description of a space"):
        space_from_json({key: good[key] for key in good if key not in change} | {"n": 0})
