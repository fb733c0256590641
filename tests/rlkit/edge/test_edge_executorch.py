"""ExecuTorch programs compute what PyTorch does; without the package the error says what to do."""

import importlib.util
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.cli.main import main
from rlkit.edge.body import Body, ExportError, body_of
from rlkit.edge.executorch import body_to_executorch
from rlkit.environments import GymnasiumEnvironment
from rlkit.policies import save_policy
from rlkit.recording import Recording
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy

INSTALLED = importlib.util.find_spec("executorch") is not None
FRAMES = gym.spaces.Box(0, 255, (2, 42, 42), np.uint8)
CART = gym.make("CartPole-v1").observation_space


@pytest.fixture
def body() -> Body:
    torch.manual_seed(0)
    network = NetworkConfig(torso="compact", dense_size=32, dueling=True, layer_norm="dense")
    head = HeadConfig("quantile", 4)
    return body_of(QPolicy(FRAMES, gym.spaces.Discrete(5), network, head, precision="float32"))


@pytest.mark.skipif(not INSTALLED, reason="needs the extra executorch")
@pytest.mark.filterwarnings("ignore")  # ExecuTorch's own
@pytest.mark.parametrize("bits", [32, 8])
def test_a_program_computes_what_pytorch_does(body: Body, bits: int):
    from executorch.runtime import Runtime  # pyright: ignore[reportMissingImports]

    random = np.random.default_rng(0)
    seen = random.integers(0, 256, (64, *FRAMES.shape), dtype=np.uint8)
    recording = Recording(seen, (), {"id": "random"})
    program = body_to_executorch(body, FRAMES, recording if bits == 8 else None)
    method = Runtime.get().load_program(program).load_method("forward")
    assert method is not None
    found = np.concatenate(
        [method.execute([torch.from_numpy(one[None])])[0].numpy() for one in seen]
    )
    wanted = body(*recording.inputs())[0].numpy()
    assert np.abs(found - wanted).max() < (1e-5 if bits == 32 else 0.2 * wanted.std())


@pytest.mark.skipif(INSTALLED, reason="needs ExecuTorch to be missing")
def test_a_missing_package_is_named(body: Body, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ExportError, match=r"pip install -e '.\[executorch\]' in"):
        body_to_executorch(body, FRAMES)
    network = NetworkConfig(torso="mlp", hidden_sizes=(8,))
    policy = QPolicy(CART, gym.spaces.Discrete(2), network, HeadConfig("expected"))
    path, program = tmp_path / "cart.safetensors", tmp_path / "cart.pte"
    save_policy(policy, path, GymnasiumEnvironment("CartPole-v1"), {"seed": 3})
    command = ["edge", "export", str(path), "--output", str(program), "--bits", "32"]
    assert main(command) == 2
    assert "pip install -e '.[executorch]' in rlkit's folder" in capsys.readouterr().err
    assert not program.exists()


def test_an_empty_recording_is_refused(body: Body):
    nothing = Recording(np.zeros((0, *FRAMES.shape), np.uint8), (), {"id": "none"})
    with pytest.raises(ValueError, match="there are none"):
        body_to_executorch(body, FRAMES, nothing)
