"""Restricted Boltzmann machines against brute force: every state is visited, every integral is on a
grid."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkit.dbn.likelihood import (
    annealed_log_partition,
    annealing_schedule,
    base_log_partition,
    binary_states,
    exact_log_partition,
    log_likelihood,
    pseudo_log_likelihood,
)
from rlkit.dbn.machine import BernoulliMachine, GaussianMachine, base_rates
from rlkit.dbn.noise import Noise
from rlkit.dbn.tempering import TemperedChains, TemperedPath


def bernoulli(visible: int, hidden: int, seed: int, scale: float = 1.0) -> BernoulliMachine:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64) * scale

    return BernoulliMachine(normal(hidden, visible), normal(visible), normal(hidden))


def gaussian(visible: int, hidden: int, seed: int) -> GaussianMachine:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    return GaussianMachine(
        normal(hidden, visible),
        normal(visible),
        normal(hidden),
        log_variance=0.5 * normal(visible),
        offset=normal(visible),
    )


def states(units: int) -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=units))


def plain_energy(machine: BernoulliMachine, v: tuple[int, ...], h: tuple[int, ...]) -> float:
    """Written out unit by unit."""
    energy = 0.0
    for i, on in enumerate(v):
        energy -= on * float(machine.visible_bias[i])
    for j, on in enumerate(h):
        energy -= on * float(machine.hidden_bias[j])
        for i, seen in enumerate(v):
            energy -= on * seen * float(machine.weights[j, i])
    return energy


def density(machine: BernoulliMachine) -> dict[tuple[int, ...], float]:
    """p(v) by summing over everything."""
    joint = {
        v: sum(math.exp(-plain_energy(machine, v, h)) for h in states(machine.hidden_units))
        for v in states(machine.visible_units)
    }
    total = sum(joint.values())
    return {v: mass / total for v, mass in joint.items()}


def test_a_machine_of_one_unit_a_side_by_hand():
    machine = BernoulliMachine(torch.tensor([[2.0]]), torch.tensor([-1.0]), torch.tensor([0.5]))
    v = torch.tensor([[1.0]])
    # E(1, 1) = 1 - 0.5 - 2 = -1.5; F(1) = 1 - log(1 + e^2.5); Z = 1 + e^0.5 + e^-1 + e^1.5
    assert machine.energy(v, torch.tensor([[1.0]])).item() == pytest.approx(-1.5)
    assert machine.free_energy(v).item() == pytest.approx(1.0 - math.log(1.0 + math.exp(2.5)))
    assert machine.hidden_mean(v).item() == pytest.approx(1.0 / (1.0 + math.exp(-2.5)))
    log_z = math.log(1.0 + math.exp(0.5) + math.exp(-1.0) + math.exp(1.5))
    assert exact_log_partition(machine).value == pytest.approx(log_z)


@settings(max_examples=15, deadline=None)
@given(visible=st.integers(1, 4), hidden=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_energy_free_energy_and_log_likelihood_agree_with_brute_force(visible, hidden, seed):
    machine = bernoulli(visible, hidden, seed)
    expected = density(machine)
    partition = exact_log_partition(machine)
    assert partition.exact
    assert partition.standard_error == 0.0
    for v in states(visible):
        row = torch.tensor([v], dtype=torch.float64)
        energies = [plain_energy(machine, v, h) for h in states(hidden)]
        free = -math.log(sum(math.exp(-energy) for energy in energies))
        assert machine.free_energy(row).item() == pytest.approx(free)
        h = states(hidden)[-1]
        there = machine.energy(row, torch.tensor([h], dtype=torch.float64)).item()
        assert there == pytest.approx(plain_energy(machine, v, h))
        assert math.exp(log_likelihood(machine, row, partition).item()) == pytest.approx(
            expected[v]
        )


def test_both_sides_enumerate_to_the_same_partition_function():
    machine = bernoulli(3, 5, seed=1)
    turned = BernoulliMachine(machine.weights.T, machine.hidden_bias, machine.visible_bias)
    assert exact_log_partition(machine).value == pytest.approx(exact_log_partition(turned).value)


def test_states_are_all_there_once():
    counted = binary_states(3, 0, 8)
    assert sorted(map(tuple, counted.tolist())) == [tuple(map(float, s)) for s in states(3)]
    assert binary_states(3, 5, 7).tolist() == [[1, 0, 1], [0, 1, 1]]


def test_more_units_than_can_be_gone_through_are_refused():
    with pytest.raises(ValueError, match="25 units have too many states"):
        exact_log_partition(bernoulli(30, 25, seed=0))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gaussian_machine_integrates_to_one_on_a_grid(seed: int):
    machine = gaussian(2, 3, seed)
    axis = torch.linspace(-25.0, 25.0, 1001, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    cell = float(axis[1] - axis[0]) ** 2
    log_z = exact_log_partition(machine).value
    total = (-machine.free_energy(grid)).sub(log_z).exp().sum().item() * cell
    assert total == pytest.approx(1.0, abs=1e-6)


def test_gaussian_conditionals_follow_from_the_energy():
    machine = gaussian(2, 2, seed=3)
    h = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    axis = torch.linspace(-30.0, 30.0, 20001, dtype=torch.float64)
    other = machine.visible_mean(h)[0, 1]
    v = torch.stack([axis, other.expand(len(axis))], dim=1)
    mass = (-machine.energy(v, h.expand(len(axis), 2))).softmax(dim=0)
    mean = (mass * axis).sum()
    assert mean.item() == pytest.approx(machine.visible_mean(h)[0, 0].item())
    spread = (mass * (axis - mean) ** 2).sum()
    assert spread.item() == pytest.approx(machine.variance[0].item(), rel=1e-6)


def test_a_moved_gaussian_machine_is_the_same_density_in_other_units():
    machine = gaussian(3, 2, seed=5)
    mean = torch.tensor([100.0, -3.0, 0.5], dtype=torch.float64)
    scale = torch.tensor([0.01, 20.0, 3.0], dtype=torch.float64)
    moved = machine.moved(mean, scale)
    z = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = log_likelihood(machine, z, exact_log_partition(machine))
    after = log_likelihood(moved, mean + scale * z, exact_log_partition(moved))
    torch.testing.assert_close(after, before - scale.log().sum())
    torch.testing.assert_close(moved.hidden_mean(mean + scale * z), machine.hidden_mean(z))


def test_gibbs_steps_obey_detailed_balance():
    machine = bernoulli(3, 2, seed=7)
    probability = density(machine)
    all_v = torch.tensor(states(3), dtype=torch.float64)
    all_h = torch.tensor(states(2), dtype=torch.float64)
    up = machine.hidden_mean(all_v)
    down = machine.visible_mean(all_h)
    given_v = (up[:, None] * all_h + (1 - up[:, None]) * (1 - all_h)).prod(dim=2)
    given_h = (down[:, None] * all_v + (1 - down[:, None]) * (1 - all_v)).prod(dim=2)
    moves = given_v @ given_h
    stationary = torch.tensor([probability[v] for v in states(3)], dtype=torch.float64)
    flow = stationary[:, None] * moves
    torch.testing.assert_close(flow, flow.T)
    # and the step itself draws from these chances: from one state, 40,000 times
    rows = all_v[5].expand(40_000, 3).clone()
    reached = machine.gibbs_step(rows, Noise(0))
    counts = torch.bincount((reached @ torch.tensor([4.0, 2, 1]).double()).long(), minlength=8)
    # 5 standard deviations of a share are at most 5 * 0.5 / 200
    assert (counts / 40_000 - moves[5]).abs().max() < 0.0125


def test_gaussian_gibbs_steps_keep_the_moments_of_the_density():
    machine = gaussian(1, 1, seed=11)
    axis = torch.linspace(-40.0, 40.0, 40001, dtype=torch.float64)[:, None]
    mass = (-machine.free_energy(axis)).softmax(dim=0)
    mean = float((mass * axis[:, 0]).sum())
    second = float((mass * axis[:, 0] ** 2).sum())
    v = axis[torch.multinomial(mass, 20_000, True, generator=torch.Generator().manual_seed(1))]
    for _ in range(5):
        v = machine.gibbs_step(v, Noise(3))
    deviation = math.sqrt(second - mean**2)
    assert float(v.mean()) == pytest.approx(mean, abs=5 * deviation / math.sqrt(20_000))
    assert float(v.square().mean()) == pytest.approx(second, rel=0.06)


@pytest.mark.parametrize("make", [bernoulli, gaussian])
def test_annealing_comes_within_a_nat_of_the_exact_value(make):
    machine = make(12, 10, 2)
    exact = exact_log_partition(machine).value
    estimate = annealed_log_partition(machine, chains=100, temperatures=300, seed=1)
    assert not estimate.exact
    assert abs(estimate.value - exact) < 0.5
    assert abs(estimate.value - exact) < 5 * estimate.standard_error
    assert 1.0 <= estimate.effective_chains <= 100.0


def test_annealing_from_fitted_base_rates_is_unbiased_as_well():
    machine = bernoulli(10, 8, seed=4)
    rows = machine.sample_visible(torch.zeros(200, 8, dtype=torch.float64), Noise(0))
    base = base_rates(rows, "bernoulli", 8)
    estimate = annealed_log_partition(machine, base, chains=100, temperatures=200)
    assert abs(estimate.value - exact_log_partition(machine).value) < 0.5


def test_the_standard_error_is_the_scatter_of_repeated_estimates():
    machine = bernoulli(8, 6, seed=3, scale=1.5)
    runs = [
        annealed_log_partition(machine, chains=50, temperatures=30, seed=seed) for seed in range(40)
    ]
    scatter = float(np.std([run.value for run in runs], ddof=1))
    told = float(np.mean([run.standard_error for run in runs]))
    assert 0.5 < told / scatter < 2.0


def test_annealing_without_weights_is_exact_from_the_start():
    base = bernoulli(5, 4, seed=6).base()
    estimate = annealed_log_partition(base, chains=3, temperatures=5)
    assert estimate.value == pytest.approx(base_log_partition(base), abs=1e-9)
    assert estimate.standard_error == pytest.approx(0.0, abs=1e-9)


def test_the_schedule_rises_from_0_to_1_and_is_denser_at_the_end():
    schedule = annealing_schedule(1000)
    steps = np.diff(schedule)
    assert schedule[0] == 0.0
    assert schedule[-1] == 1.0
    assert (steps > 0.0).all()
    assert steps[-1] < 0.2 * steps[0]


def test_annealing_refuses_what_it_cannot_start_from():
    machine = bernoulli(4, 3, seed=0)
    with pytest.raises(ValueError, match="neither weights nor hidden biases"):
        annealed_log_partition(machine, machine)
    with pytest.raises(ValueError, match="base must be a bernoulli machine"):
        annealed_log_partition(machine, gaussian(4, 3, seed=0).base())
    with pytest.raises(ValueError, match="chains must be at least 2, got 1"):
        annealed_log_partition(machine, chains=1)
    with pytest.raises(ValueError, match="temperatures must be at least 2, got 1"):
        annealed_log_partition(machine, temperatures=1)


def test_the_pseudo_likelihood_is_the_sum_of_conditionals():
    machine = bernoulli(4, 3, seed=8)
    probability = density(machine)
    for v in states(4)[::3]:
        expected = 0.0
        for unit in range(4):
            flipped = (*v[:unit], 1 - v[unit], *v[unit + 1 :])
            expected += math.log(probability[v] / (probability[v] + probability[flipped]))
        row = torch.tensor([v], dtype=torch.float64)
        assert pseudo_log_likelihood(machine, row).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="Bernoulli visible units alone"):
        pseudo_log_likelihood(gaussian(2, 2, 0), torch.zeros(1, 2))


def two_modes(visible: int, strength: float) -> BernoulliMachine:
    """All on or all off, equally likely, between which Gibbs steps hardly ever go."""
    return BernoulliMachine(
        torch.full((1, visible), 2.0 * strength),
        torch.full((visible,), -strength),
        torch.full((1,), -visible * strength),
    )


def test_tempered_chains_cross_where_gibbs_steps_do_not():
    machine = two_modes(8, 3.0)
    on = torch.ones(400, 8)
    noise = Noise(0)
    for _ in range(60):
        on = machine.gibbs_step(on, noise)
    assert float((on.sum(dim=1) < 4).float().mean()) < 0.05
    base = machine.base()
    tilted = BernoulliMachine(base.weights, torch.full((8,), 1.0), base.hidden_bias)
    chains = TemperedChains(tilted, chains=400, temperatures=12, noise=Noise(1))
    assert float((chains.v[:400].sum(dim=1) < 4).float().mean()) < 0.2
    v = chains.advance(machine, 140)
    assert float((v.sum(dim=1) < 4).float().mean()) == pytest.approx(0.5, abs=0.125)
    assert 0.0 < chains.swapped <= 1.0


def test_tempered_chains_sample_the_exact_density():
    machine = bernoulli(3, 2, seed=9, scale=2.0).to(torch.float32)
    expected = density(machine)
    chains = TemperedChains(machine.base(), chains=8000, temperatures=4, noise=Noise(2))
    v = chains.advance(machine, 30)
    counts = torch.bincount((v @ torch.tensor([4.0, 2.0, 1.0])).long(), minlength=8) / 8000
    for number, state in enumerate(states(3)):
        assert counts[number].item() == pytest.approx(expected[state], abs=0.028)


@pytest.mark.parametrize("make", [bernoulli, gaussian])
def test_the_path_begins_at_the_base_and_ends_at_the_machine(make):
    machine = make(3, 4, 1)
    base = base_rates(make(3, 4, 2).weights.abs().clamp(max=1.0), machine.kind, 4)
    path = TemperedPath(machine, base)
    v = torch.rand(5, 3, dtype=torch.float64)
    inputs = machine.hidden_input(v)
    torch.testing.assert_close(path.log_density(v, inputs, 1.0), -machine.free_energy(v))
    torch.testing.assert_close(path.log_density(v, inputs, 0.0), -base.free_energy(v))
    each = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    mixed = path.log_density(v, inputs, each)
    assert mixed[2].item() == pytest.approx(path.log_density(v[2:3], inputs[2:3], 0.5).item())


def test_base_rates_are_column_means():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.5], [1.0, 1.0]])
    base = base_rates(rows, "bernoulli", 2)
    # with half a row on and half a row off added: 3.5 / 4 and 2 / 4
    assert base.visible_bias.sigmoid().tolist() == pytest.approx([0.875, 0.5])
    real = base_rates(torch.tensor([[1.0], [3.0]]), "gaussian", 2)
    assert isinstance(real, GaussianMachine)
    assert real.visible_bias.tolist() == [2.0]
    assert real.variance.tolist() == pytest.approx([1.0])


def test_parameters_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"hidden_bias must have the shape \(3,\)"):
        BernoulliMachine(torch.zeros(3, 2), torch.zeros(2), torch.zeros(2))
