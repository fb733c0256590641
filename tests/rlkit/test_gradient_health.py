"""Whether ill layers, and only they, are found, named, and warned of once."""

import logging
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from rlkit.callbacks.gradient_health import (
    Finding,
    GradientHealth,
    Illness,
    Thresholds,
    dead_relu_shares,
    diagnose,
    gradient_norms,
)
from rlkit.callbacks.tensorboard import TensorBoard
from rlkit.recipes import find_recipe
from rlkit.run_folder import Run
from rlkit_agents.networks import NetworkConfig, QNetwork

OBSERVATIONS = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))


def stack(activation: type[nn.Module], layers: int, seed: int = 0) -> nn.Sequential:
    """Dense layers of 32 units (dense1, ...), an activation after each, and a linear head."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        size = 8
        for index in range(1, layers + 1):
            modules[f"dense{index}"] = nn.Linear(size, 32)
            modules[f"activation{index}"] = activation()
            size = 32
        modules["head"] = nn.Linear(size, 4)
        return nn.Sequential(modules)


def findings(network: nn.Module, scale: float = 1.0) -> list[Finding]:
    """Diagnose a network whose loss is the mean square of its outputs, times `scale`."""
    network.zero_grad()
    (scale * network(OBSERVATIONS).square().mean()).backward()
    order = [name for name, _ in network.named_modules()]
    shares = dead_relu_shares(network, network, OBSERVATIONS)
    return diagnose(gradient_norms(network), shares, order)


def ill(found: list[Finding]) -> list[tuple[str, Illness]]:
    return [(finding.layer, finding.illness) for finding in found]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.ELU])
@pytest.mark.parametrize("seed", range(5))
def test_healthy_networks_get_no_warning(activation: type[nn.Module], seed: int) -> None:
    assert findings(stack(activation, 3, seed)) == []


def test_a_deep_sigmoid_stack_vanishes_at_its_first_layers() -> None:
    found = findings(stack(nn.Sigmoid, 7))
    assert {finding.illness for finding in found} == {Illness.VANISHING}
    layers = [finding.layer for finding in found]
    assert layers == [f"dense{index}" for index in range(1, len(layers) + 1)]
    assert 1 <= len(layers) <= 6, "the layers near the head still learn"


def test_vanishing_is_measured_against_the_last_layer() -> None:
    network = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(3)))
    for layer, weight in zip(network, (3.0, 2.0, 1e-4), strict=True):
        nn.init.constant_(layer.weight, weight)  # pyright: ignore[reportArgumentType]
    network(torch.ones(1, 1)).sum().backward()
    # dy/dw1 = w2 w3 = 2e-4, dy/dw2 = w1 w3 = 3e-4, dy/dw3 = w1 w2 = 6
    assert gradient_norms(network) == pytest.approx({"0": 2e-4, "1": 3e-4, "2": 6.0})
    found = diagnose(gradient_norms(network), {}, ["", "0", "1", "2"])
    assert ill(found) == [("0", Illness.VANISHING), ("1", Illness.VANISHING)]
    assert found[0].message.startswith(
        "Layer 0 hardly learns: its gradient is 3e-05 of 2's (vanishing). Try "
    )
    lenient = Thresholds(vanishing_ratio=4e-5)
    assert ill(diagnose(gradient_norms(network), {}, ["", "0", "1", "2"], lenient)) == [
        ("0", Illness.VANISHING)
    ]


def test_a_dead_layer_is_the_only_one_blamed() -> None:
    network = stack(nn.ReLU, 3)
    nn.init.constant_(network.get_submodule("dense2").bias, -100.0)  # pyright: ignore
    found = findings(network)
    # Behind it every ReLU gets constants, of which some are zero by chance: allow for those.
    first = found[0]
    assert (first.layer, first.illness) == ("activation2", Illness.DEAD)
    assert "100%" in first.message
    assert {finding.illness for finding in found} == {Illness.DEAD}, "layers before it are no cause"
    assert "activation1" not in [finding.layer for finding in found]


def test_dead_shares_count_units_and_channels_by_hand() -> None:
    dense = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    nn.init.ones_(dense[0].weight)  # pyright: ignore[reportArgumentType]
    dense[0].bias.data = torch.tensor([0.0, -100.0, 0.0, 100.0])  # pyright: ignore
    assert dead_relu_shares(dense, dense, OBSERVATIONS) == {"1": 0.25}

    image = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.ReLU())
    image[0].weight.data = torch.tensor([1.0, -1.0, 1.0, 0.0]).view(4, 1, 1, 1)  # pyright: ignore
    picture = torch.zeros(2, 1, 5, 5)
    picture[1, 0, 2, 3] = 1.0  # one pixel of one sample keeps a channel alive
    assert dead_relu_shares(image, image, picture) == {"1": 0.5}


def test_the_torsos_relus_are_probed_by_name() -> None:
    import gymnasium

    space = gymnasium.spaces.Box(0, 255, (4, 42, 42), np.uint8)
    network = QNetwork(space, 18, 8, NetworkConfig(torso="impala"))
    probe = torch.randint(0, 256, (2, 4, 42, 42), dtype=torch.uint8)
    shares = dead_relu_shares(network, network, probe)
    assert len(shares) == 3 * 2 * 2 + 2
    assert "torso.stack1.residual1.activation1" in shares
    assert all(0 <= share <= 1 for share in shares.values())


def test_exploding_and_non_finite_gradients() -> None:
    network = stack(nn.ReLU, 2)
    assert findings(network, 1.0) == []
    found = findings(network, 1e9)
    assert ill(found) == [(name, Illness.EXPLODING) for name in ("dense1", "dense2", "head")]
    assert "dense1" in found[0].message

    norms = {"first": 1.0, "second": float("nan"), "head": float("inf")}
    assert ill(diagnose(norms, {}, list(norms))) == [
        ("second", Illness.NOT_FINITE),
        ("head", Illness.NOT_FINITE),
    ]


def test_a_nan_weight_gradient_is_found_in_its_layer() -> None:
    network = stack(nn.ReLU, 2)
    network(OBSERVATIONS).square().mean().backward()
    gradient = network.get_submodule("dense2").weight.grad
    assert isinstance(gradient, Tensor)
    gradient[3, 5] = float("nan")
    order = [name for name, _ in network.named_modules()]
    assert ill(diagnose(gradient_norms(network), {}, order)) == [("dense2", Illness.NOT_FINITE)]


def test_no_gradient_anywhere_is_no_illness() -> None:
    network = stack(nn.ReLU, 2)
    assert gradient_norms(network) == {}
    assert diagnose({}, {}, []) == []
    assert diagnose({"a": 0.0, "b": 0.0}, {}, ["a", "b"]) == []


def test_probing_changes_nothing() -> None:
    network = nn.Sequential(
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
    )
    network[3].eval()  # modes differ from module to module
    network(OBSERVATIONS).sum().backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]  # pyright: ignore
    modes = [module.training for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    dead_relu_shares(network, network, OBSERVATIONS)
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [module.training for module in network.modules()]
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    for before, parameter in zip(gradients, network.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)  # pyright: ignore[reportArgumentType]
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    "wrong", [{"vanishing_ratio": 0.0}, {"exploding_norm": -1.0}, {"dead_share": 1.5}]
)
def test_thresholds_must_make_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Thresholds(**wrong)


class PretendPolicy(nn.Module):
    """Wraps a network, as policies do."""

    device = torch.device("cpu")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: Tensor) -> Tensor:
        return self.network(observations)


def pretend_training(folder: Path, network: nn.Module, callbacks: list[Any]) -> Any:
    return SimpleNamespace(
        recipe=find_recipe("cartpole"),
        run=Run(folder),
        steps=0,
        seconds=0.0,
        callbacks=callbacks,
        interrupted=False,
        timer=SimpleNamespace(seconds={}),
        stepper=SimpleNamespace(num_envs=64, finished=[], at_cut=False),
        algorithm=SimpleNamespace(policy=PretendPolicy(network)),
    )


def take_step(training: Any, callback: GradientHealth, metrics: dict[str, Any]) -> None:
    training.steps += 64
    random = np.random.default_rng(training.steps)
    observations = random.standard_normal((64, 8), np.float32)
    callback.on_step(training, SimpleNamespace(observations=observations), metrics)  # pyright: ignore


def learn(network: nn.Module, clip: float = 10.0, scale: float = 1.0) -> dict[str, Any]:
    network.zero_grad()
    (scale * network(OBSERVATIONS).square().mean()).backward()
    return {"gradient_norm": nn.utils.clip_grad_norm_(network.parameters(), clip)}


def test_a_warning_comes_once_until_the_layer_recovers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = stack(nn.ReLU, 1)
    health = GradientHealth(every=64)
    training = pretend_training(tmp_path, network, [health])
    health.on_start(training)
    bias: Any = network.get_submodule("dense1").bias
    counts = []
    for value in (0.0, -100.0, -100.0, 0.0, -100.0):
        nn.init.constant_(bias, value)
        take_step(training, health, learn(network))
        counts.append(len(caplog.records))
    assert counts == [0, 1, 1, 1, 2]
    assert caplog.records[0].levelno == logging.WARNING
    assert "activation1" in caplog.records[0].message


def test_the_diagnosis_waits_for_a_gradient_step(tmp_path: Path) -> None:
    network = stack(nn.ReLU, 1)
    nn.init.constant_(network.get_submodule("dense1").bias, -100.0)  # pyright: ignore
    health = GradientHealth(every=128)
    training = pretend_training(tmp_path, network, [health])
    health.on_start(training)
    metrics = learn(network)
    take_step(training, health, metrics)
    assert health.findings == []
    take_step(training, health, {})
    assert health.findings == [], "no gradients of this step to look at"
    take_step(training, health, metrics)
    assert ill(health.findings) == [("activation1", Illness.DEAD)]


def test_a_clipped_explosion_is_still_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = stack(nn.ReLU, 2)
    health, board = GradientHealth(every=64), TensorBoard()
    training = pretend_training(tmp_path, network, [health, board])
    for callback in (health, board):
        callback.on_start(training)
    learn(network, clip=float("inf"), scale=1e9)
    true_norms = gradient_norms(network)
    metrics = learn(network, clip=1.0, scale=1e9)
    assert max(gradient_norms(network).values()) <= 1.0
    take_step(training, health, metrics)
    board.close()
    assert ill(health.findings) == [(name, Illness.EXPLODING) for name in true_norms]
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    for name, norm in true_norms.items():
        (event,) = accumulator.Scalars(f"health/gradient_norm/{name}")
        assert event.step == 64
        assert event.value == pytest.approx(norm, rel=1e-4)
    (ratio,) = accumulator.Scalars("health/gradient_first_to_last")
    assert ratio.value == pytest.approx(true_norms["dense1"] / true_norms["head"], rel=1e-4)
    (dead,) = accumulator.Scalars("health/dead_relus/activation1")
    assert 0 <= dead.value < 0.5
    (text,) = accumulator.Tensors("warnings/text_summary")
    for record in caplog.records:
        assert record.message in text.tensor_proto.string_val[0].decode()


def test_an_interval_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        GradientHealth(every=0)
