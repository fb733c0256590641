"""Losses against numbers worked out by hand and against slow, independent NumPy loops."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp, softmax

from rlkit_agents import losses


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def transitions(batch=5, actions=4, atoms=None, seed=0) -> dict[str, Any]:
    """Random arguments of a double Q-learning loss."""
    random = np.random.default_rng(seed)
    shape = (batch, actions) if atoms is None else (batch, actions, atoms)
    values = {name: tensor(random.normal(size=shape) * 2) for name in ("q_tm1", "q_t_value")}
    return values | {
        "a_tm1": torch.from_numpy(random.integers(actions, size=batch)),
        "r_t": tensor(random.normal(size=batch)),
        "discount_t": tensor(random.choice([0.0, 0.97], size=batch)),
        "q_t_selector": tensor(random.normal(size=shape)),
    }


def test_td_target_discounts_the_next_value():
    target = losses.td_target(tensor([1, 2]), tensor([0.5, 0]), tensor([10, 10]))
    assert target.tolist() == [6, 2]
    atoms = losses.td_target(tensor([1]), tensor([0.5]), tensor([[2, 4]]))
    assert atoms.tolist() == [[2, 3]]


def test_value_rescaling_by_hand():
    # sqrt(9) - 1 + 8 / 1000, and the same below zero
    values = tensor([8, -8, 0, 99, -3])
    rescaled = losses.signed_hyperbolic(values)
    assert rescaled.tolist() == pytest.approx([2.008, -2.008, 0, 9.099, -1.003])
    assert losses.signed_parabolic(rescaled).tolist() == pytest.approx(values.tolist())


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_value_rescaling_loses_nothing(dtype, error):
    sizes = torch.logspace(-6, 6, 200, dtype=dtype)
    values = torch.cat([-sizes, sizes])
    back = losses.signed_parabolic(losses.signed_hyperbolic(values))
    torch.testing.assert_close(back, values, rtol=error, atol=0)
    back = losses.signed_hyperbolic(losses.signed_parabolic(values))
    torch.testing.assert_close(back, values, rtol=error, atol=0)


def test_rescaled_targets_are_made_of_true_returns():
    # h(8) = 2.008 and h(99) = 9.099: 1 + 0.25 * 8 = 3, -4.8 + 0.2 * 99 = 15, and 24 at the end
    target = losses.td_target(
        tensor([1, -4.8, 24]),
        tensor([0.25, 0.2, 0]),
        tensor([2.008, 9.099, 1]),
        value_rescaling=True,
    )
    assert target.tolist() == pytest.approx([1.003, 3.015, 4.024])


def test_rescaled_double_q_learning_by_hand():
    # The target of the last test's first row, off by 1.003 - 0.503
    loss, priority = losses.double_q_learning(
        q_tm1=tensor([[0.503, 7]]),
        a_tm1=torch.tensor([0]),
        r_t=tensor([1]),
        discount_t=tensor([0.25]),
        q_t_value=tensor([[5, 2.008]]),
        q_t_selector=tensor([[0, 1]]),
        value_rescaling=True,
    )
    assert priority.tolist() == pytest.approx([0.5])
    assert loss.tolist() == pytest.approx([0.125])


def test_rescaled_quantiles_choose_by_true_returns_and_rescale_each_atom():
    # Returns 0 or 99 (rescaled 0 or 9.099) against 35 for sure (rescaled 5.035): the mean return of
    # the first is larger, its mean rescaled value smaller.
    gamble, sure = [0, 9.099], [5.035, 5.035]
    result = losses.double_quantile_q_learning(
        q_tm1=tensor([[[0, 1], [9, 9]]]),
        a_tm1=torch.tensor([0]),
        r_t=tensor([1]),
        discount_t=tensor([0.5]),
        q_t_value=tensor([[gamble, sure]]),
        q_t_selector=tensor([[gamble, sure]]),
        value_rescaling=True,
    )
    # Targets h(1 + 0) and h(1 + 49.5)
    targets = tensor([[2**0.5 - 1 + 0.001, 51.5**0.5 - 1 + 0.0505]])
    expected = losses.quantile_huber_loss(tensor([[0, 1]]), targets)
    assert result.loss.tolist() == pytest.approx(expected.loss.tolist())
    assert result.priority.tolist() == pytest.approx(expected.priority.tolist())


# The selector prefers action 1, which the value network gives 4 in the first row and 20 in the
# second. First row: target 1 + 0.5 * 4 = 3, prediction 2.5, error 0.5, both losses 0.5^2 / 2.
# Second row: terminated, target -1, prediction 2, error -3: squared 9 / 2, Huber 3 - 1 / 2.
@pytest.mark.parametrize(("kappa", "second"), [(1.0, 2.5), (None, 4.5)])
def test_double_q_learning_by_hand(kappa, second):
    loss, priority = losses.double_q_learning(
        q_tm1=tensor([[2.5, 0], [0, 2]]),
        a_tm1=torch.tensor([0, 1]),
        r_t=tensor([1, -1]),
        discount_t=tensor([0.5, 0]),
        q_t_value=tensor([[8, 4], [10, 20]]),
        q_t_selector=tensor([[0, 1], [0, 1]]),
        huber_kappa=kappa,
    )
    assert loss.tolist() == pytest.approx([0.125, second])
    assert priority.tolist() == pytest.approx([0.5, 3])


# Quantiles 0 and 1 stand at tau 1/4 and 3/4.
# Target 1/2: errors 1/2 and -1/2, Huber 1/8 each, weights 1/4 and |3/4 - 1|: 1/32 + 1/32.
# Target 3: errors 3 and 2, Huber 5/2 and 3/2, weights 1/4 and 3/4: 5/8 + 9/8.
# Both targets, averaged: (1/16 + 7/4) / 2.
@pytest.mark.parametrize(
    ("targets", "loss", "priority"),
    [([0.5], 1 / 16, 0.5), ([3.0], 7 / 4, 2.5), ([0.5, 3.0], 29 / 32, 1.5)],
)
def test_quantile_huber_by_hand(targets, loss, priority):
    result = losses.quantile_huber_loss(tensor([[0, 1]]), tensor([targets]))
    assert result.loss.tolist() == pytest.approx([loss])
    assert result.priority.tolist() == pytest.approx([priority])


@pytest.mark.parametrize("kappa", [0.3, 1.0, 2.5])
def test_quantile_huber_matches_loops_and_numerical_gradients(kappa):
    random = np.random.default_rng(1)
    quantiles, targets = random.normal(size=(3, 6)) * 2, random.normal(size=(3, 4)) * 2
    expected = np.zeros(3)
    for b in range(3):
        for i in range(6):
            for j in range(4):
                u = targets[b, j] - quantiles[b, i]
                huber = u * u / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)
                expected[b] += abs((i + 0.5) / 6 - (u < 0)) * huber / kappa / 4
    predicted = tensor(quantiles).requires_grad_()
    loss, priority = losses.quantile_huber_loss(predicted, tensor(targets), kappa)
    np.testing.assert_allclose(loss.detach(), expected)
    pairs = np.abs(targets[:, None, :] - quantiles[:, :, None])
    np.testing.assert_allclose(priority, pairs.mean((1, 2)))
    assert not priority.requires_grad
    assert torch.autograd.gradcheck(
        lambda q: losses.quantile_huber_loss(q, tensor(targets), kappa).loss, predicted
    )


def test_quantile_huber_descends_to_the_quantiles_of_the_targets():
    samples = np.random.default_rng(2).exponential(size=400)
    quantiles = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([quantiles], lr=0.02)
    for _ in range(1500):
        optimiser.zero_grad()
        losses.quantile_huber_loss(quantiles, tensor(samples[None]), 0.01).loss.sum().backward()
        optimiser.step()
    expected = np.quantile(samples, [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(quantiles.detach()[0], expected, atol=0.05)


def test_double_quantile_values_the_selected_action_with_the_other_network():
    # The selector's means are 1 and 2, so action 1 is valued: atoms 1 + 0.5 * (2, 6) = (2, 4).
    taken: dict[str, Any] = {
        "a_tm1": torch.tensor([0]),
        "r_t": tensor([1]),
        "discount_t": tensor([0.5]),
    }
    result = losses.double_quantile_q_learning(
        tensor([[[1, 2], [9, 9]]]),
        q_t_value=tensor([[[50, 60], [2, 6]]]),
        q_t_selector=tensor([[[0, 2], [1, 3]]]),
        **taken,
    )
    expected = losses.quantile_huber_loss(tensor([[1, 2]]), tensor([[2, 4]]))
    assert result.loss.tolist() == expected.loss.tolist()
    assert result.priority.tolist() == expected.priority.tolist() == [1.5]


# Support -1, 0, 1. An atom at 0.25 gives 3/4 to 0 and 1/4 to 1; one exactly on 0 stays there;
# those beyond the ends go to the ends.
@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        ([0.25, 0.25, 0.25], [0, 0.75, 0.25]),
        ([-1.0, 0.0, 1.0], [0.2, 0.3, 0.5]),
        ([-7.0, 0.0, 3.0], [0.2, 0.3, 0.5]),
        ([2.0, 2.0, -0.5], [0.25, 0.25, 0.5]),
    ],
)
def test_categorical_projection_by_hand(atoms, expected):
    projected = losses.categorical_projection(
        tensor([atoms]), tensor([[0.2, 0.3, 0.5]]), tensor([-1, 0, 1])
    )
    np.testing.assert_allclose(projected, [expected], atol=1e-12)


@given(
    atoms=st.lists(st.floats(-9.5, 9.5), min_size=1, max_size=8),
    size=st.integers(2, 51),
    seed=st.integers(0, 100),
)
def test_categorical_projection_keeps_total_and_mean(atoms, size, seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(atoms)))
    support = torch.linspace(-10, 10, size, dtype=torch.float64)
    projected = losses.categorical_projection(
        tensor([atoms]), tensor(probabilities[None]), support
    ).numpy()[0]
    assert projected.min() >= 0
    assert projected.sum() == pytest.approx(1)
    assert projected @ support.numpy() == pytest.approx(probabilities @ atoms, abs=1e-9)


def project_slowly(atoms: np.ndarray, probabilities: np.ndarray, support: np.ndarray):
    """Algorithm 1 of Bellemare et al. 2017, line by line, for one sample."""
    projected = np.zeros(len(support))
    spacing = support[1] - support[0]
    for atom, probability in zip(atoms, probabilities, strict=True):
        b = (np.clip(atom, support[0], support[-1]) - support[0]) / spacing
        low, high = int(np.floor(b)), int(np.ceil(b))
        if low == high:
            projected[low] += probability
        else:
            projected[low] += probability * (high - b)
            projected[high] += probability * (b - low)
    return projected


def test_categorical_loss_matches_loops():
    support = np.linspace(-3, 3, 7)
    arguments = transitions(atoms=7)
    arguments["r_t"][0] = 1.0  # lands exactly on atoms of the support
    arguments["discount_t"][0] = 1.0
    loss, priority = losses.double_categorical_q_learning(**arguments, support=tensor(support))
    for b in range(5):
        values = softmax(arguments["q_t_selector"][b].numpy(), axis=-1) @ support
        probabilities = softmax(arguments["q_t_value"][b, values.argmax()].numpy())
        atoms = arguments["r_t"][b].item() + arguments["discount_t"][b].item() * support
        target = project_slowly(atoms, probabilities, support)
        prediction = log_softmax(arguments["q_tm1"][b, arguments["a_tm1"][b]].numpy())
        assert loss[b].item() == pytest.approx(-(target * prediction).sum())
        kept = target > 0
        divergence = (target[kept] * (np.log(target[kept]) - prediction[kept])).sum()
        assert priority[b].item() == pytest.approx(divergence)


# With temperature 1, action values 0 and ln 3 make a policy of 1/4 and 3/4. Log-policies:
# ln 1/4 = -1.386, clipped to -1, and ln 3/4 = -0.288.
@pytest.mark.parametrize(("action", "reward"), [(0, -0.9), (1, 0.9 * np.log(0.75))])
def test_munchausen_reward_by_hand(action, reward):
    q = tensor([[0, np.log(3)]])
    result = losses.munchausen_reward(q, torch.tensor([action]), temperature=1)
    assert result.tolist() == pytest.approx([reward])


def test_munchausen_q_learning_by_hand():
    # The same policy follows: its soft value is ln(e^0 + e^(ln 3)) = ln 4, so the target is
    # 2 - 0.9 + 0.5 ln 4 = 2 - 0.9 + ln 2 = 1.793.
    q = tensor([[0, np.log(3)]])
    loss, priority = losses.munchausen_q_learning(
        tensor([[1, 0]]), torch.tensor([0]), tensor([2]), tensor([0.5]), q, q, temperature=1
    )
    error = 0.1 + np.log(2)
    assert priority.tolist() == pytest.approx([error])
    assert loss.tolist() == pytest.approx([error**2 / 2])


def test_munchausen_quantiles_match_loops():
    arguments = transitions(atoms=3)
    q_tm1_target, q_t_target = arguments.pop("q_t_selector"), arguments.pop("q_t_value")
    tau = 0.7
    result = losses.munchausen_quantile_q_learning(
        **arguments, q_tm1_target=q_tm1_target, q_t_target=q_t_target, temperature=tau
    )
    for b, action in enumerate(arguments["a_tm1"].tolist()):
        before, after = q_tm1_target[b].numpy(), q_t_target[b].numpy()
        q = before.mean(1)
        log_policy = q[action] / tau - logsumexp(q / tau)
        bonus = 0.9 * np.clip(tau * log_policy, -1, 0)
        policy = softmax(after.mean(1) / tau)
        soft = np.zeros(3)
        for a in range(4):
            soft += policy[a] * (after[a] - tau * np.log(policy[a]))
        target = arguments["r_t"][b].item() + bonus + arguments["discount_t"][b].item() * soft
        prediction = arguments["q_tm1"][b : b + 1, action]
        expected = losses.quantile_huber_loss(prediction, tensor(target[None]))
        assert result.loss[b].item() == pytest.approx(expected.loss.item())
        assert result.priority[b].item() == pytest.approx(expected.priority.item())


def test_munchausen_stays_finite_at_small_temperatures():
    q = torch.tensor([[-1000.0, 0.0, 1000.0]])
    loss, _ = losses.munchausen_q_learning(
        q, torch.tensor([0]), torch.zeros(1), torch.ones(1), q, q, temperature=1e-3
    )
    assert torch.isfinite(loss).all()


@pytest.mark.parametrize(
    ("loss", "atoms", "names"),
    [
        (losses.double_q_learning, None, ("q_t_value", "q_t_selector")),
        (losses.double_quantile_q_learning, 3, ("q_t_value", "q_t_selector")),
        (losses.double_categorical_q_learning, 3, ("q_t_value", "q_t_selector")),
        (losses.munchausen_q_learning, None, ("q_tm1_target", "q_t_target")),
        (losses.munchausen_quantile_q_learning, 3, ("q_tm1_target", "q_t_target")),
    ],
)
def test_gradients_flow_into_the_taken_actions_alone(loss, atoms, names):
    arguments = transitions(atoms=atoms)
    arguments[names[0]], arguments[names[1]] = (
        arguments.pop("q_t_value"),
        arguments.pop("q_t_selector"),
    )
    for name in ("q_tm1", *names):
        arguments[name].requires_grad_()
    if loss is losses.double_categorical_q_learning:
        arguments["support"] = torch.linspace(-1, 1, 3, dtype=torch.float64)
    result = loss(**arguments)
    assert result.loss.shape == result.priority.shape == (5,)
    assert not result.priority.requires_grad
    result.loss.sum().backward()
    assert all(arguments[name].grad is None for name in names)
    gradient = arguments["q_tm1"].grad.reshape(5, 4, -1).abs().sum(-1)
    taken = torch.nn.functional.one_hot(arguments["a_tm1"], 4).bool()
    assert (gradient[taken] > 0).all()
    assert (gradient[~taken] == 0).all()


def test_penalties_by_hand():
    parameters = [tensor([[1, -2], [0, 3]]), tensor([-4])]
    assert losses.l1_penalty(parameters).item() == 10
    assert losses.l2_penalty(iter(parameters)).item() == 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q_tm1": torch.zeros(5, 4)}, r"q_tm1 must have 3 axes, got shape \(5, 4\)"),
        ({"r_t": torch.zeros(5, 1)}, "r_t must have 1 axes"),
        ({"r_t": torch.zeros(1)}, "batch sizes differ"),
        ({"discount_t": torch.zeros(4)}, "batch sizes differ"),
        ({"q_t_value": torch.zeros(5, 3, 6)}, "numbers of actions differ"),
        ({"a_tm1": torch.zeros(5, dtype=torch.uint8)}, "a_tm1 must be int64 or int32"),
        ({"huber_kappa": 0.0}, "huber_kappa must be positive"),
    ],
)
def test_wrong_shapes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        losses.double_quantile_q_learning(**(transitions(atoms=6) | change))


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="does not fit a support"):
        losses.double_categorical_q_learning(**transitions(atoms=6), support=torch.zeros(5))
    with pytest.raises(ValueError, match="2 atoms do not fit 3 probabilities"):
        losses.categorical_projection(torch.zeros(1, 2), torch.zeros(1, 3), torch.arange(3.0))
    with pytest.raises(ValueError, match="support must be a vector"):
        losses.categorical_projection(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1))
    with pytest.raises(ValueError, match="positive or None"):
        losses.double_q_learning(**transitions(), huber_kappa=-1)
    with pytest.raises(ValueError, match="batch sizes differ"):
        losses.quantile_huber_loss(torch.zeros(2, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="batch sizes differ"):
        losses.td_target(torch.zeros(2), torch.zeros(2), torch.zeros(1))
