"""Updates of restricted Boltzmann machines against exact gradients of the likelihood, which come
from automatic differentiation through the enumerated partition function."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlkit.dbn.likelihood import exact_log_partition
from rlkit.dbn.machine import BernoulliMachine, GaussianMachine, Machine, base_rates
from rlkit.dbn.noise import Noise
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rbm_training import Trainer, initial_machine

CONFIG = RBMConfig(hidden_units=3, batch_size=6, learning_rate=0.1)
ROWS = torch.tensor([[1.0, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0.5, 1], [1, 1, 0, 1], [0, 0, 0, 1.0]])


def machine_of(kind: str, seed: int = 0, visible: int = 4, hidden: int = 3) -> Machine:
    draw = torch.Generator().manual_seed(seed)
    weights = torch.randn(hidden, visible, generator=draw) * 0.5
    visible_bias = torch.randn(visible, generator=draw) * 0.5
    hidden_bias = torch.randn(hidden, generator=draw) * 0.5
    if kind == "bernoulli":
        return BernoulliMachine(weights, visible_bias, hidden_bias)
    variance = torch.randn(visible, generator=draw) * 0.3
    return GaussianMachine(weights, visible_bias, hidden_bias, variance, torch.zeros(visible))


def exact_gradient(machine: Machine, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of the mean log-likelihood of rows, by automatic differentiation."""
    leaves = {n: t.double().requires_grad_() for n, t in machine.tensors().items()}
    double = type(machine)(**leaves)
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * machine.hidden_units).double()
    terms = states @ double.hidden_bias + double.log_sum_over_visible(states @ double.weights)
    objective = -double.free_energy(rows.double()).mean() - torch.logsumexp(terms, dim=0)
    objective.backward()
    return {n: t.grad.float() for n, t in leaves.items() if t.grad is not None and n != "offset"}


def moved(trainer: Trainer, before: Machine) -> dict[str, torch.Tensor]:
    """How far a step went."""
    now = trainer.machine.tensors()
    return {n: now[n] - t for n, t in before.tensors().items() if n != "offset"}


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("chains", ["persistent", "tempered", "noise"])
def test_many_chains_approach_the_exact_gradient(kind: str, chains: str):
    machine = machine_of(kind)
    rows = ROWS if kind == "bernoulli" else torch.randn(5, 4, generator=torch.manual_seed(1))
    expected = exact_gradient(machine, rows)
    many = 20_000
    config = replace(
        CONFIG,
        visible=kind,
        negative_chains=chains,
        chains=many if chains != "tempered" else 8_000,
        batch_size=many if chains == "noise" else 5,
        gibbs_steps=30,
        temperatures=3,
        gradient_norm=1e9,
    )
    trainer = Trainer(machine.copy(), machine.base(), config, Noise(0))
    trainer.step(rows, 1.0, 0.0)
    for name, step in moved(trainer, machine).items():
        torch.testing.assert_close(step, expected[name], atol=0.035, rtol=0.0, msg=name)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("bfloat16", 3e-4)])
def test_the_positive_phase_is_exact_and_the_fused_step_is_the_clipped_one(precision, tolerance):
    """Both ways to update draw the same samples, so that they must agree to the last digits."""
    machine = machine_of("bernoulli")
    steps = []
    for limit, momentum in ((None, 0.0), (1e9, 0.0), (None, 1e-9)):
        config = replace(
            CONFIG,
            negative_chains="data",
            gradient_norm=limit,
            momentum=momentum,
            weight_decay=0.01,
            sparsity_target=0.2,
            precision=precision,
        )
        trainer = Trainer(machine.copy(), machine.base(), config, Noise(0))
        trainer.step(ROWS, 0.1, 0.0)
        steps.append(moved(trainer, machine))
    for other in steps[1:]:
        for name, step in steps[0].items():
            torch.testing.assert_close(step, other[name], atol=tolerance, rtol=1e-4, msg=name)


def test_bfloat16_changes_a_step_by_its_rounding_alone():
    noise = Noise(0)
    rows = (torch.rand(4_000, 40, generator=torch.manual_seed(0)) < 0.3).float()
    base = base_rates(rows, "bernoulli", 30)
    machine = initial_machine(base, noise)
    machine.weights.mul_(30.0)
    for chains, momentum in (("data", 0.0), ("persistent", 0.5)):
        steps = []
        for precision in ("float32", "bfloat16"):
            config = replace(
                CONFIG,
                hidden_units=30,
                batch_size=4_000,
                negative_chains=chains,
                momentum=momentum,
                gibbs_steps=3,
                precision=precision,
            )
            trainer = Trainer(machine.copy(), base, config, Noise(1))
            trainer.step(rows, 1.0, momentum)
            assert trainer.machine.weights.dtype == torch.float32
            steps.append(moved(trainer, machine))
        for name, exact in steps[0].items():
            assert not torch.equal(exact, steps[1][name])
            assert float((steps[1][name] - exact).norm()) < 0.03 * float(exact.norm()), name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_step_of_contrastive_divergence_by_hand(precision):
    """Weights so large that every sample is certain: v = 1 gives h = 1 gives v = 0 in column 1."""
    machine = BernoulliMachine(
        torch.tensor([[50.0, -50.0]]), torch.tensor([0.0, 0.0]), torch.tensor([0.0])
    )
    config = replace(CONFIG, hidden_units=1, negative_chains="data", precision=precision)
    trainer = Trainer(machine.copy(), machine.base(), config, Noise(0))
    trainer.step(torch.tensor([[1.0, 0.5]]), 0.1, 0.0)
    # data: v = (1, 0.5), h = sigmoid(25) = 1; sample: h = 1, v = (1, 0), h = sigmoid(50) = 1
    step = moved(trainer, machine)
    assert step["weights"].tolist()[0] == pytest.approx([0.0, 0.05], abs=1e-5)
    assert step["visible_bias"].tolist() == pytest.approx([0.0, 0.05], abs=1e-6)
    assert step["hidden_bias"].tolist() == pytest.approx([0.0], abs=1e-6)


def test_momentum_lengthens_steps_and_decay_shrinks_weights():
    """Chains and data that agree leave decay and momentum alone at work."""
    machine = BernoulliMachine(torch.tensor([[1.0]]), torch.tensor([50.0]), torch.tensor([50.0]))
    config = replace(CONFIG, hidden_units=1, negative_chains="data", momentum=0.5, weight_decay=0.2)
    trainer = Trainer(machine.copy(), machine.base(), config, Noise(0))
    trainer.step(torch.ones(1, 1), 0.1, 0.5)
    # 1 - learning_rate * weight_decay / (1 - momentum) = 1 - 0.1 * 0.2 / 0.5
    assert trainer.machine.weights.item() == pytest.approx(0.96)
    trainer = Trainer(machine.copy(), machine.base(), replace(config, weight_decay=0.0), Noise(0))
    trainer.step(torch.zeros(1, 1), 0.1, 0.5)  # v = 0 against v = 1 in the sample
    trainer.step(torch.ones(1, 1), 0.1, 0.5)  # no gradient, half of the last step
    assert trainer.machine.visible_bias.item() == pytest.approx(50.0 - 0.1 - 0.05)


def test_long_gradients_are_clipped_to_the_norm():
    machine = machine_of("gaussian")
    rows = 100.0 * torch.randn(6, 4, generator=torch.manual_seed(1))
    config = replace(CONFIG, visible="gaussian", negative_chains="data", gradient_norm=2.0)
    trainer = Trainer(machine.copy(), machine.base(), config, Noise(0))
    trainer.step(rows, 0.1, 0.0)
    length = sum(float(s.square().sum()) for s in moved(trainer, machine).values()) ** 0.5
    assert length == pytest.approx(0.2, rel=1e-4)


def test_a_sparsity_target_brings_the_activity_down():
    rows = (torch.rand(200, 12, generator=torch.manual_seed(0)) < 0.5).float()
    shares = []
    for target in (None, 0.1):
        config = replace(
            CONFIG, hidden_units=8, batch_size=20, sparsity_target=target, sparsity_cost=2.0
        )
        noise = Noise(0)
        base = base_rates(rows, "bernoulli", 8)
        trainer = Trainer(initial_machine(base, noise), base, config, noise)
        for _ in range(30):
            for batch in rows.split(20):
                trainer.step(batch, 0.1, 0.0)
        shares.append(float(trainer.machine.hidden_mean(rows).mean()))
    assert shares[0] > 0.4
    assert shares[1] == pytest.approx(0.1, abs=0.05)


def test_several_gibbs_steps_are_those_of_the_machine():
    """The trainer's own buffers and the machine's Gibbs step sample the same density."""
    machine = machine_of("bernoulli", seed=3)
    config = replace(CONFIG, negative_chains="persistent", chains=20_000, gibbs_steps=2)
    rows = ROWS[:1]
    trainer = Trainer(machine.copy(), machine.base(), config, Noise(0))
    trainer.step(rows, 1.0, 0.0)
    v = machine.base().sample_visible(torch.zeros(20_000, 3), Noise(1))
    for _ in range(2):
        v = machine.gibbs_step(v, Noise(int(v.sum())))
    expected = rows.mean(dim=0) - v.mean(dim=0)
    torch.testing.assert_close(
        moved(trainer, machine)["visible_bias"], expected, atol=0.025, rtol=0.0
    )


def test_exact_likelihood_rises_under_training():
    rows = ROWS.round()
    config = replace(CONFIG, chains=100, gibbs_steps=2, batch_size=5)
    noise = Noise(0)
    base = base_rates(rows, "bernoulli", 3)
    machine = initial_machine(base, noise)
    before = -machine.free_energy(rows).mean() - exact_log_partition(machine).value
    trainer = Trainer(machine, base, config, noise)
    for _ in range(1000):
        trainer.step(rows, 0.3, 0.0)
    after = -machine.free_energy(rows).mean() - exact_log_partition(machine).value
    # five rows, of equal chances: -log 5 is the best there is
    assert float(before) < -1.9
    assert -np.log(5) - 0.15 < float(after) < -np.log(5) + 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_units": 0}, "hidden_units must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"visible": "poisson"}, "visible must be"),
        ({"negative_chains": "long"}, "negative_chains must be"),
        ({"sparsity_target": 1.0}, r"sparsity_target must be in \(0, 1\), got 1.0"),
        ({"final_learning_rate": 1.0}, "final_learning_rate must be from 0 to learning_rate"),
        ({"gradient_norm": -1.0}, "gradient_norm must be positive and finite, got -1.0"),
        ({"chains": 0}, "chains must be at least 1, got 0"),
        ({"weight_decay": float("nan")}, "weight_decay must be finite and not negative, got nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        RBMConfig(**changes)


def test_learning_rate_and_momentum_follow_their_schedules():
    config = RBMConfig(learning_rate=0.2, final_learning_rate=0.0, momentum=0.9, momentum_epochs=2)
    assert [config.learning_rate_at(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.1, 0.0])
    assert [config.momentum_at(epoch) for epoch in (0, 1, 2)] == [0.5, 0.5, 0.9]
