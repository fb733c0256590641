"""Files of deployed policies: what is written comes back, and what is damaged is refused."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.edge.onnx_file import (
    HEADER_PARTS,
    OnnxFileError,
    read_onnx_file,
    write_onnx_file,
)

HEADER = {part: {"of": part} for part in HEADER_PARTS}


@pytest.fixture(scope="module")
def model() -> bytes:
    """y = 2 x, as an ONNX model."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 1]) for n in "xy")
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["y"])], "double", [x], [y], [two]
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, ir_version=10, opset_imports=opset).SerializeToString()


@pytest.fixture
def file(model: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "policy.onnx"
    write_onnx_file(path, model, HEADER)
    return path


@pytest.mark.parametrize("name", ["policy.onnx", "policy.onnx.xz"])
def test_what_is_written_comes_back_and_runs(model: bytes, tmp_path: Path, name: str):
    import onnxruntime

    path = tmp_path / name
    write_onnx_file(path, model, {**HEADER, "provenance": {"seed": 3}})
    header, content = read_onnx_file(path)
    assert header["provenance"] == {"seed": 3}
    assert header["format_version"] == 1
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (doubled,) = session.run(None, {"x": np.array([[1.5]], np.float32)})
    assert np.asarray(doubled).tolist() == [[3.0]]
    told = session.get_modelmeta().custom_metadata_map["rlkit"]
    assert json.loads(told) == header  # any reader of ONNX finds it


def test_writing_again_replaces_the_header(file: Path):
    content = read_onnx_file(file)[1]
    write_onnx_file(file, content, {**HEADER, "provenance": "other"})
    assert read_onnx_file(file)[0]["provenance"] == "other"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_refused_wherever_it_is(model: bytes, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "policy.onnx"
    write_onnx_file(path, model, HEADER)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(OnnxFileError, match=r"policy\.onnx: "):
        read_onnx_file(path)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.0, 0.999), packed=st.booleans())
def test_a_file_that_is_cut_off_is_refused(model: bytes, tmp_path_factory, share, packed):
    path = tmp_path_factory.mktemp("cut") / ("policy.onnx" + ".xz" * packed)
    write_onnx_file(path, model, HEADER)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(OnnxFileError, match=r"policy\.onnx"):
        read_onnx_file(path)


@given(content=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_other_file_is_refused(tmp_path_factory, content: bytes):
    path = tmp_path_factory.mktemp("any") / "policy.onnx"
    path.write_bytes(content)
    with pytest.raises(OnnxFileError):
        read_onnx_file(path)


def test_the_message_says_what_is_wrong(model: bytes, file: Path, tmp_path: Path):
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(model)
    with pytest.raises(OnnxFileError, match="without rlkit's header"):
        read_onnx_file(foreign)
    with pytest.raises(OnnxFileError, match="cannot be read: No such file"):
        read_onnx_file(tmp_path / "none.onnx")
    newer = file.read_bytes().replace(b'"format_version": 1', b'"format_version": 9')
    file.write_bytes(newer)
    with pytest.raises(OnnxFileError, match="written by a newer rlkit"):
        read_onnx_file(file)
    bomb = tmp_path / "bomb.onnx.xz"
    bomb.write_bytes(lzma.compress(b"\x00" * 1000))
    with pytest.raises(OnnxFileError, match="damaged, or no ONNX model"):
        read_onnx_file(bomb)


def test_a_header_that_lacks_a_part_is_not_written(model: bytes, tmp_path: Path):
    rest = {part: 1 for part in HEADER_PARTS if part != "spaces"}
    with pytest.raises(ValueError, match="needs spaces"):
        write_onnx_file(tmp_path / "a.onnx", model, rest)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_onnx_file(tmp_path / "a.onnx", model, {**HEADER, "spaces": float("nan")})
    assert not list(tmp_path.iterdir())
