"""Deployed policies: the same actions as PyTorch's, integers inside, clear words for mistakes."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
import pytest
import torch

from rlkit.edge.body import body_of
from rlkit.edge.deploy import deploy, to_onnx
from rlkit.edge.export import body_to_onnx
from rlkit.edge.onnx_file import OnnxFileError, write_onnx_file
from rlkit.edge.prune import apply_masks, choose_masks
from rlkit.edge.quantize import QuantizeConfig, quantize, quantize_weights, to_bytes
from rlkit.edge.runtime import EdgePolicy
from rlkit.environments import GymnasiumEnvironment
from rlkit.evaluation import evaluate
from rlkit.outlook import outlook_of
from rlkit.policies import LoadedPolicy, load_policy
from rlkit.recording import Recording
from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.pick_policy import PickNetworkConfig, PickPolicy
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy

FRAMES = gym.spaces.Box(0, 255, (2, 42, 42), np.uint8)
CART = gym.make("CartPole-v1").observation_space
POLE = GymnasiumEnvironment("CartPole-v1")
TINY = NetworkConfig(torso="mlp", hidden_sizes=(16, 16))


def loaded(policy: Policy) -> LoadedPolicy:
    return LoadedPolicy(policy, POLE, {"sha256": "0" * 64, "provenance": {"seed": 1}}, Path("p"))


def of_cart(network: NetworkConfig) -> QPolicy:
    head = HeadConfig("expected")
    return QPolicy(CART, gym.spaces.Discrete(2), network, head, precision="float32").eval()


def recorded(policy: Policy, count: int = 192) -> Recording:
    """Random observations: of bytes, or normal; with random states where there is memory."""
    random = np.random.default_rng(0)
    space = policy.observation_space
    shape = (count, *(space.shape or ()))
    seen = (
        random.integers(0, 256, shape, dtype=np.uint8)
        if space.dtype == np.uint8
        else random.normal(size=shape).astype(np.float32)
    )
    sizes = body_of(policy).state_sizes
    state = tuple(random.normal(size=(count, n)).astype(np.float32) for n in sizes)
    return Recording(seen, state, {"id": "CartPole-v1"})


@pytest.fixture(scope="module")
def of_frames() -> QPolicy:
    torch.manual_seed(0)
    network = NetworkConfig(torso="compact", dense_size=32, dueling=True, layer_norm="dense")
    return QPolicy(
        FRAMES, gym.spaces.Discrete(5), network, HeadConfig("quantile", 4), precision="float32"
    ).eval()


@pytest.fixture(scope="module")
def float_model(of_frames: QPolicy) -> Any:
    return body_to_onnx(body_of(of_frames), FRAMES.shape)


@pytest.fixture(scope="module")
def integer_model(of_frames: QPolicy, float_model: Any) -> Any:
    return quantize(float_model, recorded(of_frames))


def run(model: Any, recording: Recording) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = {"observations": recording.observations}
    return np.asarray(session.run(None, feed)[0])


def expected(policy: QPolicy | PickPolicy, recording: Recording) -> np.ndarray:
    with torch.no_grad():
        return policy.q_values(torch.from_numpy(recording.observations)).numpy()


def test_a_float_file_computes_what_pytorch_does_in_batches_of_any_size(
    of_frames: QPolicy, tmp_path: Path
):
    path = tmp_path / "policy.onnx"
    header = deploy(loaded(of_frames), path)
    runner = EdgePolicy(path)
    assert header["deployment"]["bits"] == 32
    seen = recorded(of_frames)
    for count in (1, 3, 64):
        scores, state = runner.scores(seen.observations[:count])
        assert state is None
        np.testing.assert_allclose(scores, expected(of_frames, seen[:count]), atol=2e-5)
    one, _ = runner.predict(seen.observations[0])
    assert one == expected(of_frames, seen[:1]).argmax()


@pytest.mark.parametrize("bits", [32, 8])
def test_bits_of_a_consoles_memory_are_taken_as_they_come(tmp_path: Path, bits: int):
    space = gym.spaces.Box(0, 1, (32,), np.int8)
    network = NetworkConfig(torso="mlp", hidden_sizes=(16,))
    policy = QPolicy(
        space, gym.spaces.Discrete(3), network, HeadConfig("expected"), precision="float32"
    ).eval()
    seen = np.random.default_rng(0).integers(0, 2, (64, 32), np.int8)
    path = tmp_path / "policy.onnx"
    recording = Recording(seen, (), {"id": "CartPole-v1"}) if bits == 8 else None
    deploy(loaded(policy), path, recording=recording)
    scores, _ = EdgePolicy(path).scores(seen)
    exact = policy.q_values(torch.from_numpy(seen)).detach().numpy()
    np.testing.assert_allclose(scores, exact, atol=2e-5 if bits == 32 else 0.1)


def test_a_picking_file_sees_pictures_in_all_eight_ways():
    torch.manual_seed(0)
    space = gym.spaces.Box(0, 100, (2, 16, 16), np.float32)
    policy = PickPolicy(
        space,
        gym.spaces.Discrete(256),
        PickNetworkConfig((4, 6, 8), members=2, height_scale_mm=1.0),
        symmetric=True,
        precision="float32",
    ).eval()
    with torch.no_grad():
        policy.network.head.weight *= 10.0  # chances near a half would all be alike
    seen = recorded(policy, 64)
    seen.observations[:, 1] = 0.0
    chances = expected(policy, seen)
    assert chances.std() > 0.02
    exact = body_to_onnx(body_of(policy), space.shape)
    np.testing.assert_allclose(run(exact, seen), chances, atol=1e-5)
    whole = to_onnx(body_of(policy), space, seen)
    assert np.abs(run(whole, seen) - chances).mean() < 0.1 * chances.std()


def test_integers_agree_with_floats_and_the_file_is_a_quarter(
    of_frames: QPolicy, integer_model: Any, float_model: Any
):
    seen = recorded(of_frames)
    exact, rounded = expected(of_frames, seen), run(integer_model, seen)
    assert np.abs(rounded - exact).max() < 0.1 * exact.std()
    assert (rounded.argmax(1) == exact.argmax(1)).mean() > 0.9
    assert len(integer_model.SerializeToString()) < 0.4 * len(float_model.SerializeToString())


def test_nothing_before_the_last_integer_layer_computes_in_floats(integer_model: Any):
    """Each layer but the last reads what was dequantized; between them are only such pairs."""
    graph = integer_model.graph
    (observations,) = graph.input
    assert observations.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    makers = {output: node for node in graph.node for output in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert [node.op_type for node in layers] == ["Conv", "Conv", "Gemm", "Gemm"]
    for layer in layers[:-1]:
        for name in layer.input[:2]:
            back = makers[name]
            while back.op_type == "Reshape":  # moves numbers, and computes nothing
                back = makers[back.input[0]]
            assert back.op_type == "DequantizeLinear"
    before = list(graph.node)[: list(graph.node).index(layers[-2])]
    assert {node.op_type for node in before} <= {
        *("Conv", "DequantizeLinear", "QuantizeLinear", "Reshape", "Relu")
    }


def test_a_file_holds_nothing_that_no_node_reads(integer_model: Any):
    read = {name for node in integer_model.graph.node for name in node.input}
    assert {each.name for each in integer_model.graph.initializer} <= read


def test_the_runtime_is_told_not_to_report_home(of_frames: QPolicy, tmp_path: Path):
    path = tmp_path / "policy.onnx"
    deploy(loaded(of_frames), path)
    tell = f"import os; from rlkit.edge.runtime import EdgePolicy; EdgePolicy({str(path)!r})"
    tell += "; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    plain = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    for given, expected in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        command = [sys.executable, "-c", tell]
        done = subprocess.run(command, env=plain | given, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr


def test_bytes_are_taken_as_they_are(integer_model: Any):
    """Observations keep the scale 1/255 whatever the calibration saw."""
    scales = {node.input[1] for node in integer_model.graph.node if node.input[0] == "observations"}
    values = {each.name: each for each in integer_model.graph.initializer}
    (scale,) = (onnx.numpy_helper.to_array(values[name]) for name in scales)
    assert float(scale) == np.float32(1.0 / 255.0)


def test_compensated_rounding_comes_nearer_than_the_nearest(of_frames: QPolicy, float_model: Any):
    seen = recorded(of_frames, 512)
    exact = expected(of_frames, seen)
    errors = {
        rounding: np.square(run(quantize(float_model, seen, config), seen) - exact).mean()
        for rounding in ("nearest", "compensated")
        if (config := QuantizeConfig(rounding=rounding))  # pyright: ignore[reportArgumentType]
    }
    assert errors["compensated"] < errors["nearest"]


def test_a_runtime_without_integer_kernels_says_so(of_frames: QPolicy, tmp_path: Path):
    """ONNX Runtime has no kernel for a dense layer of long integers, as a small build of it has
    none for others."""
    path = tmp_path / "policy.onnx"
    header = deploy(loaded(of_frames), path, recording=recorded(of_frames))
    made, kinds = onnx.helper, onnx.TensorProto
    seen = made.make_tensor_value_info("observations", kinds.INT32, [4, 4])
    told = made.make_tensor_value_info("scores", kinds.INT32, [4, 4])
    node = made.make_node("Gemm", ["observations", "observations"], ["scores"])
    graph = made.make_graph([node], "integers", [seen], [told])
    model = made.make_model(graph, opset_imports=[made.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    write_onnx_file(path, model.SerializeToString(), header)
    with pytest.raises(OnnxFileError, match=r"cannot run it: .*NOT_IMPLEMENTED.*export --bits 32"):
        EdgePolicy(path)


def test_pruned_weights_stay_gone(of_frames: QPolicy):
    """Whatever is rounded makes up for others' rounding by weights that are still there alone."""
    body = body_of(of_frames)
    masks = choose_masks(body, 0.8, "magnitude")
    pruned = apply_masks(body, masks)
    model = to_onnx(pruned, FRAMES, recorded(of_frames, 256))
    values = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    by_size = {mask.numel(): mask.numpy() for mask in masks.values()}
    stored = [each for each in values.values() if each.size in by_size]
    assert len(stored) == len(masks)
    for weights in stored:
        mask = by_size[weights.size]
        gone = weights[~mask] if weights.shape == mask.shape else weights.T[~mask]
        assert not gone.any()
        assert weights.any()


@pytest.mark.parametrize("bits", [4, 6])
def test_fewer_bits_are_fewer_different_bytes(of_frames: QPolicy, float_model: Any, bits: int):
    seen = recorded(of_frames, 256)
    model = quantize(float_model, seen, QuantizeConfig(weight_bits=bits))
    weights = [
        values
        for each in model.graph.initializer
        if (values := onnx.numpy_helper.to_array(each)).dtype == np.int8 and values.size > 100
    ]
    assert len(weights) == 3
    most = 2 ** (bits - 1) - 1
    assert all(np.abs(values.astype(int)).max() == most for values in weights)
    errors = np.abs(run(model, seen) - expected(of_frames, seen)).max()
    assert 0 < errors < expected(of_frames, seen).std()


def test_bytes_of_weights_by_hand():
    weights = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]], np.float32)
    whole, scale = to_bytes(weights, 0)
    assert whole.tolist() == [[64, -127, 32], [0, 0, 0]]  # 1 / (2 / 127) = 63.5 and 31.75
    np.testing.assert_allclose(scale, [2.0 / 127.0, 1.0])
    across, scales = to_bytes(weights, 1)
    assert across.tolist() == [[127, -127, 127], [0, 0, 0]]
    np.testing.assert_allclose(scales, np.array([1.0, 2.0, 0.5]) / 127.0, rtol=1e-6)


def test_weights_alone_can_be_bytes(of_frames: QPolicy, float_model: Any):
    model = quantize_weights(float_model)
    kept = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    before = {each.name: onnx.numpy_helper.to_array(each) for each in float_model.graph.initializer}
    rounded = [name for name in kept if name.endswith(".bytes")]
    assert len(rounded) == 4
    for name in rounded:
        weight = before[name.removesuffix(".bytes")]
        scale = kept[name.replace(".bytes", ".scale")].reshape(-1, *(1,) * (weight.ndim - 1))
        assert np.abs(kept[name] * scale - weight).max() <= scale.max() / 2 + 1e-7
    seen = recorded(of_frames)
    config = QuantizeConfig(weights_only=True)
    errors = run(quantize(float_model, seen, config), seen) - expected(of_frames, seen)
    assert 0 < np.abs(errors).max() < 0.1


@pytest.mark.parametrize("memory", ["lstm", "gru"])
def test_a_recurrent_file_goes_the_way_of_pytorch_for_a_thousand_steps(memory: Any, tmp_path: Path):
    torch.manual_seed(1)
    network = NetworkConfig(torso="mlp", hidden_sizes=(8,), memory=memory, memory_size=12)
    policy = QPolicy(
        CART, gym.spaces.Discrete(2), network, HeadConfig("expected"), precision="float32"
    ).eval()
    path = tmp_path / "policy.onnx"
    deploy(loaded(policy), path)
    runner = EdgePolicy(path)
    random = np.random.default_rng(2)
    ours, theirs = None, None
    worst = 0.0
    for _ in range(1_000):
        seen = random.normal(size=(2, 4)).astype(np.float32)
        with torch.no_grad():
            values, theirs = policy._q_values_and_state(torch.from_numpy(seen), theirs)
        scores, ours = runner.scores(seen, ours)
        assert ours is not None
        assert theirs is not None
        pairs = zip((scores, *ours), (values, *theirs), strict=True)
        worst = max(worst, *(np.abs(a - b.numpy()).max() for a, b in pairs))
    assert worst < 1e-4
    with pytest.raises(ValueError, match="this policy over a batch of 1 needs"):
        runner.scores(np.zeros((1, 4), np.float32), ours)


def test_evaluation_plays_a_file_as_it_plays_the_policy(tmp_path: Path):
    torch.manual_seed(0)
    policy = QPolicy(
        CART, gym.spaces.Discrete(2), TINY, HeadConfig("expected"), precision="float32"
    ).eval()
    path = tmp_path / "policy.onnx"
    deploy(loaded(policy), path)
    deployed = load_policy(path)
    assert deployed.environment == POLE
    assert deployed.header["provenance"]["deployed_from"] == "0" * 64
    ours, theirs = (evaluate(each, POLE, 6, num_envs=3) for each in (deployed.policy, policy))
    assert ours.returns == theirs.returns
    observation = torch.from_numpy(recorded(policy).observations[:1])
    told = outlook_of(deployed.policy, observation, None)
    assert told.q_values == pytest.approx(policy.q_values(observation)[0].tolist(), abs=1e-5)
    again = pickle.loads(pickle.dumps(deployed.policy))  # as other processes get it
    assert torch.equal(again.act(observation)[0], deployed.policy.act(observation)[0])
    with pytest.raises(ValueError, match="it cannot act at random"):
        deployed.policy.act(observation, deterministic=False)


def test_continuous_actions_stay_within_their_bounds(tmp_path: Path):
    torch.manual_seed(0)
    high = np.array([0.1, 2.0], np.float32)
    space = gym.spaces.Box(-high, high)
    policy = ActorCriticPolicy(CART, space, TINY, precision="float32").eval()
    with torch.no_grad():
        policy.network.action_head.bias[:] = torch.tensor([1.0, 0.5])
    path = tmp_path / "policy.onnx"
    deploy(loaded(policy), path)
    seen = recorded(policy).observations
    actions = np.asarray(EdgePolicy(path).act(seen))
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions, policy.predict(seen, deterministic=True)[0], atol=1e-5)
    assert actions[:, 0].max() == np.float32(0.1)


def test_a_recording_of_another_environment_is_refused(of_frames: QPolicy, tmp_path: Path):
    elsewhere = replace(recorded(of_frames), environment={"id": "ALE/Pong-v5"})
    with pytest.raises(ValueError, match="recording is of ALE/Pong-v5, and this policy plays Cart"):
        deploy(loaded(of_frames), tmp_path / "policy.onnx", recording=elsewhere)
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_refused(of_frames: QPolicy, float_model: Any, tmp_path: Path):
    path = tmp_path / "policy.onnx"
    deploy(loaded(of_frames), path)
    runner = EdgePolicy(path)
    with pytest.raises(ValueError, match=r"takes observations of shape \(batch, 2, 42, 42\)"):
        runner.scores(np.zeros((1, 4, 42, 42), np.uint8))
    with pytest.raises(ValueError, match="takes observations of uint8, got float64"):
        runner.scores(np.zeros((1, 2, 42, 42)))
    other = of_cart(TINY)
    with pytest.raises(ValueError, match=r"the recording, of CartPole-v1, has .*calibrate on what"):
        quantize(float_model, recorded(other))
    with pytest.raises(ValueError, match="there are none"):
        quantize(float_model, recorded(of_frames)[:0])
    with pytest.raises(ValueError, match="calibration must be min-max"):
        QuantizeConfig(calibration="best")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="weight_bits must be from 3 to 8, got 2"):
        QuantizeConfig(weight_bits=2)
    with pytest.raises(ValueError, match="fewer than 8 weight_bits need compensated rounding"):
        QuantizeConfig(weight_bits=6, rounding="nearest")
    with pytest.raises(ValueError, match=r"percentile must be in \(50, 100\]"):
        QuantizeConfig(percentile=0.0)


def test_floats_are_quantized_where_they_come_in(tmp_path: Path):
    torch.manual_seed(0)
    policy = QPolicy(
        CART, gym.spaces.Discrete(2), TINY, HeadConfig("expected"), precision="float32"
    ).eval()
    seen = recorded(policy, 256)
    model = to_onnx(body_of(policy), CART, seen)
    (first,) = (node for node in model.graph.node if "observations" in node.input)
    assert first.op_type == "QuantizeLinear"
    exact = expected(policy, seen)
    assert (run(model, seen).argmax(1) == exact.argmax(1)).mean() > 0.9
