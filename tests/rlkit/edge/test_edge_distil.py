"""Distillation brings a compressed body back to what its teacher does, and keeps zeros zero."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from rlkit.edge.body import Body, body_of
from rlkit.edge.distil import (
    DistilConfig,
    distil,
    distillation_loss,
    falling,
    gradual_sparsity,
    prune_gradually,
    score_scale,
)
from rlkit.edge.prune import apply_masks, choose_masks, masks_of, prunable, sparsity_of
from rlkit.recording import Recording
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy

NUMBERS = gym.spaces.Box(-1, 1, (5,), np.float32)
QUICK = DistilConfig(steps=60, batch_size=64, learning_rate=1e-2)


def q_body(seed: int = 0, *, actions: int = 3, **network: Any) -> Body:
    torch.manual_seed(seed)
    config = NetworkConfig(torso="mlp", hidden_sizes=(24,), **network)
    head = HeadConfig("expected")
    return body_of(QPolicy(NUMBERS, gym.spaces.Discrete(actions), config, head))


def recording(count: int, seed: int = 0, *state_sizes: int) -> Recording:
    random = np.random.default_rng(seed)
    state = tuple(random.normal(size=(count, size)).astype(np.float32) for size in state_sizes)
    return Recording(random.normal(size=(count, 5)).astype(np.float32), state, {})


def scores(body: Body, seen: Recording) -> Tensor:
    with torch.no_grad():
        return body(*seen.inputs())[0]


def agreement(body: Body, teacher: Body, seen: Recording) -> float:
    same = scores(body, seen).argmax(1) == scores(teacher, seen).argmax(1)
    return same.float().mean().item()


def test_the_loss_is_the_weighted_sum_of_its_three_parts():
    config = DistilConfig(temperature=0.5, mean_weight=0.25, cross_entropy_weight=3.0)
    student, teacher = np.array([[1.0, 3.0], [0.0, 4.0]]), np.array([[2.0, 0.0], [1.0, 7.0]])
    scale = 2.0
    # Advantages over the scale: student -.5 .5, -1 1; teacher .5 -.5, -1.5 1.5. Means: 1 1, .5 2.
    advantages = (1 + 1 + 0.25 + 0.25) / 4
    means = (0.25 + 1) / 2
    choice = softmax(np.array([[0.5, -0.5], [-1.5, 1.5]]) / 0.5, 1)
    taken = log_softmax(np.array([[-0.5, 0.5], [-1.0, 1.0]]) / 0.5, 1)
    wanted = advantages + 0.25 * means - 3.0 * (choice * taken).sum(1).mean()
    found = distillation_loss(torch.tensor(student), torch.tensor(teacher), scale, config)
    assert found.item() == pytest.approx(wanted)
    plain = replace(config, continuous=True)  # errors -1 3, -1 -3
    found = distillation_loss(torch.tensor(student), torch.tensor(teacher), scale, plain)
    assert found.item() == pytest.approx((1 + 9 + 1 + 9) / 4 / scale**2)


def test_scores_are_told_in_units_of_the_differences_between_actions():
    assert score_scale(torch.tensor([[101.0, 99.0], [203.0, 197.0]])) == pytest.approx(5**0.5)
    assert score_scale(torch.tensor([[3.0], [4.0]]), continuous=True) == pytest.approx(12.5**0.5)
    assert score_scale(torch.full((2, 3), 5.0)) == 1.0


def test_the_learning_rate_falls_by_half_a_cosine():
    assert [falling(2.0, step, 6) for step in (0, 2, 3, 6)] == pytest.approx([2.0, 1.5, 1.0, 0.0])


def test_later_steps_are_smaller():
    teacher, student, seen = q_body(), q_body(1), recording(64)
    config = DistilConfig(steps=4, batch_size=64, learning_rate=1e-5)
    tuned = distil(student, teacher, seen, config)
    # Adam moves what has a steady gradient by the learning rate: 1, .854, .5 and .146 of the first.
    moves = tuned.get_parameter("head.linear.bias") - student.get_parameter("head.linear.bias")
    assert moves.abs().max().item() == pytest.approx(2.5e-5, rel=0.02)


def test_sparsity_rises_as_in_zhu_and_gupta():
    assert [gradual_sparsity(0.8, stage, 4) for stage in (1, 2, 3, 4)] == pytest.approx(
        [0.8 * 37 / 64, 0.7, 0.8 * 63 / 64, 0.8]
    )


def test_a_pruned_body_learns_to_choose_as_its_teacher_again():
    teacher, seen, unseen = q_body(), recording(512), recording(512, 1)
    masks = choose_masks(teacher, 0.6, "random")
    student = apply_masks(teacher, masks)
    losses: list[float] = []
    config = replace(QUICK, steps=200)
    tuned = distil(student, teacher, seen, config, masks, lambda step, loss: losses.append(loss))
    assert len(losses) == 200
    assert np.mean(losses[-20:]) < 0.8 * losses[0]
    assert agreement(student, teacher, unseen) < 0.85
    assert agreement(tuned, teacher, unseen) > 0.9


def test_what_is_masked_stays_exactly_zero_and_the_rest_learns():
    teacher, seen = q_body(), recording(100)
    masks = choose_masks(teacher, 0.5, "magnitude")
    before = copy.deepcopy(teacher.state_dict())
    tuned = distil(teacher, teacher, seen, QUICK, masks)  # masks even what was not pruned before
    assert sparsity_of(tuned) == pytest.approx(0.5, abs=0.01)
    for name, mask in masks_of(tuned).items():
        assert torch.equal(mask, masks[name])
    for name, value in tuned.named_parameters():
        assert not torch.equal(value, before[name]), name
        assert not value.requires_grad
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_zeros_are_kept_at_every_step_not_only_at_the_end():
    teacher, seen = q_body(), recording(64)
    masks = {"torso.dense1": torch.zeros(24, 5, dtype=torch.bool)}
    config = replace(QUICK, cross_entropy_weight=0.0)
    losses: list[float] = []
    distil(teacher, teacher, seen, config, masks, lambda _, loss: losses.append(loss))
    # Such a student sees nothing: no step can be better than the best constant.
    wanted = scores(teacher, seen)
    constant = wanted.mean(0).expand_as(wanted)
    best = distillation_loss(constant, wanted, score_scale(wanted), config).item()
    assert best * (1 - 1e-6) < min(losses) < best * 1.05


def test_weights_without_masks_may_grow_back():
    teacher, seen = q_body(), recording(100)
    student = apply_masks(teacher, choose_masks(teacher, 0.5, "magnitude"))
    assert sparsity_of(distil(student, teacher, seen, QUICK)) < 0.05


def test_the_same_seed_gives_the_same_weights_and_leaves_other_draws_alone():
    teacher, seen = q_body(), recording(100)
    student = q_body(1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = (distil(student, teacher, seen, QUICK) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    other = distil(student, teacher, seen, replace(QUICK, seed=1))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
        assert not torch.equal(value, other.state_dict()[name])


def test_all_observations_are_drawn_before_any_comes_again():
    teacher = q_body()
    shared = replace(QUICK, steps=3, batch_size=4, learning_rate=1e-9)
    losses: list[float] = []
    distil(q_body(1), teacher, recording(12), shared, None, lambda _, loss: losses.append(loss))
    whole: list[float] = []
    once = replace(shared, steps=1, batch_size=99)  # of which there are 12
    distil(q_body(1), teacher, recording(12), once, None, lambda _, loss: whole.append(loss))
    assert np.mean(losses) == pytest.approx(whole[0], rel=1e-5)


def test_the_scale_of_rewards_does_not_count():
    teacher, seen = q_body(), recording(64)
    scaled = copy.deepcopy(teacher)
    linear = scaled.get_submodule("head.linear")
    assert isinstance(linear, nn.Linear)
    linear.weight.data *= 50.0
    linear.bias.data *= 50.0
    masks = choose_masks(teacher, 0.5, "magnitude")
    losses: list[float] = []
    for each in (teacher, scaled):
        once = replace(QUICK, steps=1)
        distil(each, each, seen, once, masks, lambda _, loss: losses.append(loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_memory_learns_what_to_remember(kind: Any):
    teacher = q_body(memory=kind, memory_size=6)
    sizes = teacher.state_sizes
    seen, unseen = recording(256, 0, *sizes), recording(256, 1, *sizes)
    student = copy.deepcopy(teacher)
    for name, layer in prunable(student).items():
        if name.startswith("cell"):
            layer.weight.data += 0.3 * torch.randn_like(layer.weight)

    def error(body: Body) -> float:
        with torch.no_grad():
            pairs = zip(body(*unseen.inputs())[1:], teacher(*unseen.inputs())[1:], strict=True)
            return sum((one - other).square().mean().item() for one, other in pairs)

    config = replace(QUICK, steps=120, cross_entropy_weight=0.5)
    with_state, without = (
        error(distil(student, teacher, seen, replace(config, state_weight=weight)))
        for weight in (1.0, 0.0)
    )
    assert with_state < 0.5 * error(student)
    assert with_state < 0.6 * without


def test_gradual_pruning_ends_at_the_sparsity_and_near_the_teacher():
    teacher, seen, unseen = q_body(), recording(512), recording(512, 1)
    at_once = apply_masks(teacher, choose_masks(teacher, 0.7, "random", seed=QUICK.seed))
    steps: list[int] = []
    pruned = prune_gradually(
        teacher,
        teacher,
        seen,
        0.7,
        "energy",
        QUICK,
        stages=3,
        energy_per_weight=dict.fromkeys(prunable(teacher), 1.0),
        on_step=lambda step, loss: steps.append(step),
    )
    assert steps == list(range(1, 3 * QUICK.steps + 1))
    assert sparsity_of(pruned) == pytest.approx(0.7, abs=0.01)
    assert sparsity_of(teacher) == 0.0
    assert agreement(pruned, teacher, unseen) > agreement(at_once, teacher, unseen) + 0.1
    assert agreement(pruned, teacher, unseen) > 0.8


def test_gradual_pruning_is_pruning_and_distillation_in_turn():
    teacher, seen = q_body(), recording(64)
    config = replace(QUICK, steps=5, batch_size=16, seed=3)
    by_hand = teacher
    for sparsity, seed in ((0.5 * 7 / 8, 3), (0.5, 4)):  # each stage sees another order
        masks = choose_masks(by_hand, sparsity, "magnitude")
        by_hand = distil(by_hand, teacher, seen, replace(config, seed=seed), masks)
    found = prune_gradually(teacher, teacher, seen, 0.5, "magnitude", config, stages=2)
    for name, value in found.state_dict().items():
        assert torch.equal(value, by_hand.state_dict()[name])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("temperature", float("nan")),
        ("mean_weight", -1.0),
        ("cross_entropy_weight", float("inf")),
        ("state_weight", -0.5),
    ],
)
def test_impossible_settings_are_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        DistilConfig(**{field: value})


def test_what_cannot_be_learnt_is_refused():
    teacher = q_body()
    with pytest.raises(ValueError, match="empty"):
        distil(teacher, teacher, recording(0), QUICK)
    with pytest.raises(ValueError, match=r"\(4,\).*\(3,\)"):
        distil(q_body(actions=4), teacher, recording(4), QUICK)
    with pytest.raises(ValueError, match=r"torso\.conv"):
        distil(teacher, teacher, recording(4), QUICK, {"torso.conv": torch.ones(1) > 0})
    with pytest.raises(ValueError, match=r"stages.*0"):
        prune_gradually(teacher, teacher, recording(4), 0.5, "random", QUICK, stages=0)
    broken = Recording(np.full((4, 5), np.nan, np.float32), (), {})
    with pytest.raises(FloatingPointError, match="nan at 1"):
        distil(teacher, teacher, broken, QUICK)
