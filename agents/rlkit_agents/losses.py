"""Losses of value-based agents, as pure functions on batches.

Names follow rlax: t-1 is where an action was taken, t where it led; q_t_value values the action
that q_t_selector chooses. With n-step returns, r_t is the discounted sum of n rewards and
discount_t the discount to the power n; discount_t is 0 after a termination.

Every loss returns a `SampleLoss`, one number per sample; weighting and averaging over the batch
are left to the algorithm. Gradients flow into q_tm1 alone. Wrong ranks or sizes: ValueError.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from rlkit_agents.heads import categorical_values, quantile_values

RESCALING_EPSILON = 1e-3  # keeps the inverse of value rescaling smooth; that of R2D2


class SampleLoss(NamedTuple):
    """What a loss gives for every sample of a batch."""

    loss: Tensor
    """(batch,), with gradient."""

    priority: Tensor
    """(batch,), not negative, without gradient: how wrong the prediction was, for prioritised
    replay. The absolute temporal-difference error, but for C51; see each loss."""


def signed_hyperbolic(values: Tensor) -> Tensor:
    """Value rescaling: sign(x) (sqrt(|x| + 1) - 1) + epsilon x, of any shape.

    Draws large values together, so that one network can learn returns of all sizes without clipped
    rewards (Pohlen et al. 2018, "Observe and Look Further"; epsilon is 1e-3 in R2D2, Kapturowski
    et al. 2019, section 2.3).
    """
    size = values.abs()
    # |x| / (sqrt(|x| + 1) + 1) is sqrt(|x| + 1) - 1 without the difference of near numbers.
    return values / ((size + 1).sqrt() + 1) + RESCALING_EPSILON * values


def signed_parabolic(values: Tensor) -> Tensor:
    """The exact inverse of `signed_hyperbolic`, of any shape.

    With w = sqrt(|x| + 1) - 1, |h(x)| is epsilon w^2 + (1 + 2 epsilon) w. This solves it for w, in
    the form that loses no digits near 0, and returns sign(x) w (w + 2).
    """
    size = values.abs()
    linear = 1 + 2 * RESCALING_EPSILON
    root = 2 * size / (linear + (linear**2 + 4 * RESCALING_EPSILON * size).sqrt())
    return values.sign() * root * (root + 2)


def td_target(
    r_t: Tensor, discount_t: Tensor, v_t: Tensor, *, value_rescaling: bool = False
) -> Tensor:
    """r_t + discount_t * v_t, without gradient (Sutton & Barto 2018, eq. 6.2).

    r_t, discount_t: (batch,). v_t: (batch,), or (batch, atoms) for a distribution's atoms.
    value_rescaling: v_t and the target are rescaled: h(r_t + discount_t * h^-1(v_t)), h being
    `signed_hyperbolic` (Kapturowski et al. 2019, section 2.3).
    Returns the shape of v_t.
    """
    _check_ranks(r_t=(r_t, 1), discount_t=(discount_t, 1), v_t=(v_t, 2 if v_t.ndim == 2 else 1))
    if v_t.ndim == 2:
        r_t, discount_t = r_t.unsqueeze(1), discount_t.unsqueeze(1)
    if value_rescaling:
        v_t = signed_parabolic(v_t)
    target = (r_t + discount_t * v_t).detach()
    return signed_hyperbolic(target) if value_rescaling else target


def double_q_learning(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_t_value: Tensor,
    q_t_selector: Tensor,
    *,
    huber_kappa: float | None = 1.0,
    value_rescaling: bool = False,
) -> SampleLoss:
    """Double Q-learning (van Hasselt et al. 2016, eq. 4); Q-learning where both q_t are the same.

    q_tm1, q_t_value, q_t_selector: (batch, actions). a_tm1: (batch,) int64.
    r_t, discount_t: (batch,). huber_kappa: error at which half its square turns linear, 1 in
    Mnih et al. 2015; None for half the squared error throughout. value_rescaling: all values are
    rescaled, see `td_target`.
    """
    _check_transitions(
        2, a_tm1, r_t, discount_t, q_tm1=q_tm1, q_t_value=q_t_value, q_t_selector=q_t_selector
    )
    v_t = _take(q_t_value, q_t_selector.argmax(-1))
    target = td_target(r_t, discount_t, v_t, value_rescaling=value_rescaling)
    return _regression(_take(q_tm1, a_tm1), target, huber_kappa)


def double_quantile_q_learning(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_t_value: Tensor,
    q_t_selector: Tensor,
    *,
    huber_kappa: float = 1.0,
    value_rescaling: bool = False,
) -> SampleLoss:
    """QR-DQN (Dabney et al. 2018, algorithm 1), the next action chosen by q_t_selector.

    q_tm1: (batch, actions, atoms), quantiles at the midpoints (i + 1/2) / atoms. a_tm1: (batch,)
    int64. r_t, discount_t: (batch,). q_t_value: (batch, actions, target atoms), q_t_selector:
    (batch, actions, any atoms). For loss and priority see `quantile_huber_loss`.
    value_rescaling: all quantiles are rescaled, see `td_target`; the next action is still the one
    of the highest expected return.
    """
    _check_transitions(
        3, a_tm1, r_t, discount_t, q_tm1=q_tm1, q_t_value=q_t_value, q_t_selector=q_t_selector
    )
    with torch.no_grad():
        atoms = signed_parabolic(q_t_selector) if value_rescaling else q_t_selector
        v_t = _take(q_t_value, quantile_values(atoms).argmax(-1))
        target = td_target(r_t, discount_t, v_t, value_rescaling=value_rescaling)
    return quantile_huber_loss(_take(q_tm1, a_tm1), target, huber_kappa)


def quantile_huber_loss(quantiles: Tensor, targets: Tensor, huber_kappa: float = 1.0) -> SampleLoss:
    """Quantile Huber loss (Dabney et al. 2018, eqs. 9, 10), summed over the predicted quantiles and
    averaged over the targets, as in their algorithm 1 and in Dopamine.

    quantiles: (batch, atoms), at the midpoints tau_i = (i + 1/2) / atoms. targets: (batch, target
    atoms), equally likely samples. With u = target_j - quantile_i and Huber's loss L:
    sum_i mean_j |tau_i - 1{u < 0}| L(u) / kappa. huber_kappa > 0: |u| at which L turns linear.
    The division by kappa is IQN's (Dabney et al. 2018b, eq. 3): slopes stay those of quantile
    regression; with the usual kappa of 1 it changes nothing.
    Priority: |u|, averaged over all pairs.
    """
    _check_ranks(quantiles=(quantiles, 2), targets=(targets, 2))
    if not huber_kappa > 0:
        raise ValueError(f"huber_kappa must be positive, got {huber_kappa}")
    loss, priority = _QuantileHuber.apply(quantiles, targets.detach(), huber_kappa)
    return SampleLoss(loss, priority)


class _QuantileHuber(torch.autograd.Function):
    """The gradient comes almost for free with the value, and the (batch, atoms, target atoms)
    errors need not be kept: half the time of the same formula under autograd."""

    @staticmethod
    def forward(ctx, quantiles: Tensor, targets: Tensor, kappa: float) -> tuple[Tensor, Tensor]:
        atoms, target_atoms = quantiles.shape[1], targets.shape[1]
        tau = (torch.arange(atoms, device=quantiles.device, dtype=quantiles.dtype) + 0.5) / atoms
        error = targets.unsqueeze(1) - quantiles.unsqueeze(2)
        priority = torch.linalg.vector_norm(error, 1, (1, 2)) / (atoms * target_atoms)
        slope = error.clamp(-kappa, kappa)  # the derivative of Huber's loss
        # L = slope * (error - slope / 2) holds on both sides of kappa.
        error.sub_(slope, alpha=0.5)
        # |tau - 1{u < 0}| * slope, where slope is positive or negative as u is.
        slope.mul_((slope < 0).to(slope.dtype).sub_(tau.unsqueeze(1)).abs_())
        loss = (slope * error).sum((1, 2)) / (target_atoms * kappa)
        ctx.save_for_backward(slope.sum(2).div_(-target_atoms * kappa))
        ctx.mark_non_differentiable(priority)
        return loss, priority

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] (because of the decorator)
        ctx, *grad_outputs: Tensor
    ) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0].unsqueeze(1), None, None


def double_categorical_q_learning(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_t_value: Tensor,
    q_t_selector: Tensor,
    support: Tensor,
) -> SampleLoss:
    """C51 (Bellemare et al. 2017, algorithm 1), the next action chosen by q_t_selector.

    q_tm1, q_t_value, q_t_selector: (batch, actions, atoms) logits. a_tm1: (batch,) int64.
    r_t, discount_t: (batch,). support: (atoms,), evenly spaced and rising returns.
    Loss: cross-entropy. Priority: Kullback-Leibler divergence of the prediction from the target
    (Hessel et al. 2018, section on the integrated agent).
    """
    _check_transitions(
        3, a_tm1, r_t, discount_t, q_tm1=q_tm1, q_t_value=q_t_value, q_t_selector=q_t_selector
    )
    for name, logits in (
        ("q_tm1", q_tm1),
        ("q_t_value", q_t_value),
        ("q_t_selector", q_t_selector),
    ):
        if logits.shape[2:] != support.shape:
            raise ValueError(
                f"{name} of shape {tuple(logits.shape)} does not fit a support of "
                f"shape {tuple(support.shape)}"
            )
    with torch.no_grad():
        a_t = categorical_values(q_t_selector, support).argmax(-1)
        probabilities = torch.softmax(_take(q_t_value, a_t), -1)
        atoms_t = td_target(r_t, discount_t, support.expand(len(r_t), -1))
        target = categorical_projection(atoms_t, probabilities, support)
    log_probabilities = torch.log_softmax(_take(q_tm1, a_tm1), -1)
    loss = -(target * log_probabilities).sum(-1)
    entropy = -torch.special.xlogy(target, target).sum(-1)
    return SampleLoss(loss, (loss.detach() - entropy).clamp_min(0))


def categorical_projection(atoms: Tensor, probabilities: Tensor, support: Tensor) -> Tensor:
    """Move probability from arbitrary atoms onto a fixed support (Bellemare et al. 2017, eq. 7).

    Each atom's probability is split between its two neighbours on the support in proportion to
    closeness; what lies outside goes to the nearest end. Total and, inside, mean are preserved.

    atoms, probabilities: (batch, n). support: (m,), evenly spaced, rising. Returns (batch, m).
    """
    _check_ranks(atoms=(atoms, 2), probabilities=(probabilities, 2))
    if atoms.shape != probabilities.shape:
        raise ValueError(
            f"{atoms.shape[1]} atoms do not fit {probabilities.shape[1]} probabilities"
        )
    if support.ndim != 1 or len(support) < 2:
        raise ValueError(f"support must be a vector of 2 or more, got {tuple(support.shape)}")
    spacing = (support[-1] - support[0]) / (len(support) - 1)
    position = (atoms.clamp(support[0], support[-1]) - support[0]) / spacing
    index = torch.arange(len(support), device=support.device, dtype=position.dtype)
    # A matrix product instead of a scatter: the same on every device, bit for bit from run to run.
    closeness = position.unsqueeze(2).sub(index).abs_().neg_().add_(1).clamp_min_(0)
    return torch.bmm(probabilities.unsqueeze(1), closeness).squeeze(1)


def munchausen_reward(
    q_tm1_target: Tensor,
    a_tm1: Tensor,
    *,
    temperature: float = 0.03,
    scale: float = 0.9,
    log_policy_min: float = -1.0,
) -> Tensor:
    """What Munchausen learning adds to the reward: a share of the action's log-probability.

    scale * clip(temperature * log pi(a_tm1), log_policy_min, 0), with pi the softmax of
    q_tm1_target / temperature (Vieillard et al. 2020, section 3; the numbers are theirs, for
    rewards clipped to +-1: scale them with the rewards).

    q_tm1_target: (batch, actions), of the target network. a_tm1: (batch,) int64. Returns (batch,).
    """
    _check_ranks(q_tm1_target=(q_tm1_target, 2), a_tm1=(a_tm1, 1))
    log_policy = torch.log_softmax(q_tm1_target / temperature, -1)
    return scale * (temperature * _take(log_policy, a_tm1)).clamp(log_policy_min, 0)


def munchausen_q_learning(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_tm1_target: Tensor,
    q_t_target: Tensor,
    *,
    temperature: float = 0.03,
    scale: float = 0.9,
    log_policy_min: float = -1.0,
    huber_kappa: float | None = 1.0,
) -> SampleLoss:
    """Munchausen DQN (Vieillard et al. 2020, eq. 1): the target is
    r_t + munchausen_reward + discount_t * sum_a pi(a) (q_t_target(a) - temperature * log pi(a)).

    q_tm1, q_tm1_target, q_t_target: (batch, actions), the last two of the target network.
    a_tm1: (batch,) int64. r_t, discount_t: (batch,).

    With n-step returns only the first step's log-policy is added, and the entropy only of the last
    state: those between would need their observations.
    """
    _check_transitions(
        2, a_tm1, r_t, discount_t, q_tm1=q_tm1, q_tm1_target=q_tm1_target, q_t_target=q_t_target
    )
    with torch.no_grad():
        bonus = munchausen_reward(
            q_tm1_target, a_tm1, temperature=temperature, scale=scale, log_policy_min=log_policy_min
        )
        # The soft value has the closed form temperature * log sum exp(q / temperature).
        v_t = temperature * torch.logsumexp(q_t_target / temperature, -1)
        target = td_target(r_t + bonus, discount_t, v_t)
    return _regression(_take(q_tm1, a_tm1), target, huber_kappa)


def munchausen_quantile_q_learning(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_tm1_target: Tensor,
    q_t_target: Tensor,
    *,
    temperature: float = 0.03,
    scale: float = 0.9,
    log_policy_min: float = -1.0,
    huber_kappa: float = 1.0,
) -> SampleLoss:
    """Munchausen learning of quantiles (Vieillard et al. 2020, appendix on M-IQN).

    As `munchausen_q_learning`, each quantile of the target being the policy's average of the
    actions' quantiles; the policies are softmax over expected values.

    q_tm1: (batch, actions, atoms). q_tm1_target, q_t_target: (batch, actions, target atoms).
    a_tm1: (batch,) int64. r_t, discount_t: (batch,).
    """
    _check_transitions(
        3, a_tm1, r_t, discount_t, q_tm1=q_tm1, q_tm1_target=q_tm1_target, q_t_target=q_t_target
    )
    with torch.no_grad():
        bonus = munchausen_reward(
            quantile_values(q_tm1_target),
            a_tm1,
            temperature=temperature,
            scale=scale,
            log_policy_min=log_policy_min,
        )
        log_policy = torch.log_softmax(quantile_values(q_t_target) / temperature, -1)
        soft = q_t_target - temperature * log_policy.unsqueeze(2)
        target = td_target(r_t + bonus, discount_t, (log_policy.exp().unsqueeze(2) * soft).sum(1))
    return quantile_huber_loss(_take(q_tm1, a_tm1), target, huber_kappa)


def l1_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """Sum of absolute values over all parameters, a scalar (lasso; Tibshirani 1996)."""
    return torch.stack([parameter.abs().sum() for parameter in parameters]).sum()


def l2_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """Sum of squares over all parameters, a scalar; its gradient is twice each parameter."""
    return torch.stack([parameter.square().sum() for parameter in parameters]).sum()


def _regression(prediction: Tensor, target: Tensor, huber_kappa: float | None) -> SampleLoss:
    if huber_kappa is None:
        loss = 0.5 * (target - prediction).square()
    elif huber_kappa > 0:
        loss = functional.huber_loss(prediction, target, reduction="none", delta=huber_kappa)
    else:
        raise ValueError(f"huber_kappa must be positive or None, got {huber_kappa}")
    return SampleLoss(loss, (target - prediction.detach()).abs())


def _take(values: Tensor, actions: Tensor) -> Tensor:
    """The entries of the actions: (batch, actions[, atoms]), (batch,) -> (batch[, atoms])."""
    return values[torch.arange(len(values), device=values.device), actions]


def _check_transitions(
    rank: int, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, **values: Tensor
) -> None:
    """Actions, rewards and discounts fit action values with `rank` axes, which fit each other."""
    _check_ranks(
        a_tm1=(a_tm1, 1),
        r_t=(r_t, 1),
        discount_t=(discount_t, 1),
        **{name: (value, rank) for name, value in values.items()},
    )
    actions = {name: value.shape[1] for name, value in values.items()}
    if len(set(actions.values())) > 1:
        raise ValueError(f"numbers of actions differ: {actions}")
    if a_tm1.dtype not in (torch.int64, torch.int32):  # bytes and booleans would act as masks
        raise ValueError(f"a_tm1 must be int64 or int32, got {a_tm1.dtype}")


def _check_ranks(**tensors: tuple[Tensor, int]) -> None:
    """Each named tensor has its rank, and all have one batch size."""
    for name, (tensor, rank) in tensors.items():
        if tensor.ndim != rank:
            raise ValueError(f"{name} must have {rank} axes, got shape {tuple(tensor.shape)}")
    sizes = {name: len(tensor) for name, (tensor, _) in tensors.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"batch sizes differ: {sizes}")
