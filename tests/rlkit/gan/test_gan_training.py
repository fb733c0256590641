"""Training on tiny mixtures, the generator's average, and stops in plain words."""

import copy
import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlkit.divergence import DivergenceError, DivergenceWarning
from rlkit.gan.alternation import Alternation, DiscriminatorStep
from rlkit.gan.configuration import GANConfig
from rlkit.gan.gan import GAN
from rlkit.gan.monitoring import EpochRecord, Monitor, Tally, deviations
from rlkit.gan.training import train, watched_rows
from rlkit.gan.training_data import Examples, Scaling

CENTRES = 2.0 * np.stack([(math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8)])
NEAR = 0.6
"""Three standard deviations of a mode."""


def ring(count: int, modes: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of so many normal distributions on a circle, and which of them they are of."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, modes, count)
    points = CENTRES[:: 8 // modes][labels] + 0.2 * generator.normal(size=(count, 2))
    return points.astype(np.float32), labels


def quick(**fields: Any) -> GAN:
    """For two dimensions: small networks that learn fast."""
    settings: dict[str, Any] = {
        "latents": 4,
        "hidden_sizes": (64, 64),
        "batch_size": 128,
        "generator_learning_rate": 1e-2,
        "discriminator_learning_rate": 1e-2,
        "r1": 0.01,
        "r2": 0.01,
        "average_decay": 0.98,
    }
    return GAN(**{**settings, **fields})


def distances(samples: np.ndarray) -> np.ndarray:
    return np.linalg.norm(samples[:, None] - CENTRES, axis=2)


def test_all_modes_of_a_mixture_are_found() -> None:
    data, _ = ring(1000)
    gan = quick(epochs=60).fit(data)
    found = distances(gan.sample(2000, seed=1))
    near = found.min(1) < NEAR
    shares = np.bincount(found.argmin(1)[near], minlength=8) / 2000
    # A normal distribution of the same covariance has 0.28 of its samples near modes.
    assert near.mean() > 0.5
    assert shares.min() > 0.03
    assert 0.8 < gan.history_[-1].spread < 1.2


def test_samples_of_a_label_land_at_its_mode() -> None:
    data, labels = ring(800, modes=4)
    gan = quick(epochs=30).fit(data, labels)
    wanted = np.repeat(np.arange(4), 200)
    samples = gan.sample(800, wanted, seed=1)
    nearest = distances(samples)[:, ::2].argmin(1)
    assert (nearest == wanted).mean() > 0.97
    for label in range(4):
        assert samples[wanted == label].std(0).min() > 0.05


def test_the_same_seed_gives_the_same_weights() -> None:
    data, labels = ring(256)
    fitted = [quick(epochs=2, seed=seed).fit(data, labels) for seed in (3, 3, 4)]
    weights = [gan.generator_.state_dict() for gan in fitted]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())
    assert [replace(r, seconds=0.0) for r in fitted[0].history_] == [
        replace(r, seconds=0.0) for r in fitted[1].history_
    ]


def test_a_fit_leaves_the_global_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    quick(epochs=1).fit(ring(128)[0])
    assert torch.equal(torch.rand(3), expected)


def steps_of(config: GANConfig, count: int = 40) -> tuple[list[str], nn.Module, list[Any]]:
    """The order of steps of a training, the averaged generator, and the weights of each step."""
    from rlkit.gan.discriminators import build_discriminator
    from rlkit.gan.generators import build_generator

    torch.manual_seed(0)
    generator = build_generator(config, (2,), 0)
    alternation = Alternation(
        generator, build_discriminator(config, (2,), 0), config, latents=config.latents
    )
    order: list[str] = []
    weights = [copy.deepcopy(generator.state_dict())]
    discriminate, generate = alternation.step_discriminator, alternation.step_generator

    def discriminator_step(real: Tensor, condition: Tensor | None) -> DiscriminatorStep:
        order.append("d")
        return discriminate(real, condition)

    def generator_step(real: Tensor, condition: Tensor | None) -> Tensor:
        order.append("g")
        loss = generate(real, condition)
        weights.append(copy.deepcopy(generator.state_dict()))
        return loss

    alternation.step_discriminator = discriminator_step
    alternation.step_generator = generator_step
    data = torch.from_numpy(ring(count)[0])
    scaling = Scaling(data.mean(0), data.std(0, correction=0))
    examples = Examples(data, None, scaling, torch.device("cpu"))
    average, _ = train(alternation, examples, lambda record, generator: None)
    return order, average, weights


def test_the_average_against_a_slow_reference() -> None:
    config = GANConfig(latents=2, hidden_sizes=(4, 4), batch_size=8, epochs=10, average_decay=0.7)
    _, average, weights = steps_of(config)
    assert len(weights) == 51
    for name, found in average.state_dict().items():
        expected = weights[0][name].double().numpy()
        for step, each in enumerate(weights[1:], start=1):
            share = max(0.3, 10.0 / (9.0 + step))
            expected = (1.0 - share) * expected + share * each[name].double().numpy()
        assert np.allclose(found.numpy(), expected, atol=1e-5)
    assert not torch.equal(average.state_dict()["out.weight"], weights[-1]["out.weight"])


def test_the_discriminator_has_its_head_start_and_its_steps() -> None:
    config = GANConfig(latents=2, hidden_sizes=(4, 4), batch_size=8, epochs=2)
    assert steps_of(config)[0] == ["d", "g"] * 10
    headed = replace(config, head_start=6)
    assert steps_of(headed)[0] == ["d"] * 6 + ["d", "g"] * 4
    twice = replace(config, head_start=1, discriminator_steps=2)
    assert steps_of(twice)[0] == ["d", *["d", "d", "g"] * 4, "d"]


def test_an_epoch_without_a_generators_step_says_so() -> None:
    with pytest.warns(DivergenceWarning, match="no step: .* of which head_start takes 100"):
        gan = quick(epochs=1, head_start=100).fit(ring(256)[0])
    assert gan.history_[0].generator_loss is None
    assert gan.history_[0].generator_steps == 0


def test_training_that_diverges_from_the_start_has_nothing_to_keep() -> None:
    gan = quick(epochs=1).fit(ring(128)[0])
    kept = gan.generator_
    gan.set_params(generator_learning_rate=1e30, discriminator_learning_rate=1e30)
    with pytest.raises(DivergenceError, match=r"no longer finite.*discriminator_learning_rate"):
        gan.fit(ring(256)[0])
    assert gan.generator_ is kept


def test_training_that_diverges_later_keeps_the_last_good_generator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, Tensor]] = []
    taken = Alternation.step_generator
    steps = 0

    def failing(self: Alternation, real: Tensor, condition: Tensor | None) -> Tensor:
        nonlocal steps
        steps += 1
        loss = taken(self, real, condition)
        return loss * math.nan if steps == 7 else loss  # the first step of epoch 4

    monkeypatch.setattr(Alternation, "step_generator", failing)
    gan = quick(epochs=10)

    def keep(record: EpochRecord, current: GAN) -> None:
        seen.append(copy.deepcopy(current.generator_.state_dict()))

    with pytest.warns(DivergenceWarning, match=r"epoch 4.*kept the generator of epoch 3"):
        gan.fit(ring(256)[0], on_epoch=[keep])
    assert len(gan.history_) == 4
    assert gan.history_[-1].generator_loss is not None
    assert not math.isfinite(gan.history_[-1].generator_loss)
    for name, value in gan.generator_.state_dict().items():
        assert torch.equal(value, seen[2][name])
    assert np.isfinite(gan.sample(10)).all()


def doomed(epochs: int, patience: int) -> GAN:
    """Its discriminator learns nothing, and has one place that it likes best."""
    return GAN(
        network="dense",
        latents=4,
        hidden_sizes=(32, 32),
        batch_size=64,
        epochs=epochs,
        patience=patience,
        loss="original",
        r1=0.0,
        r2=0.0,
        generator_learning_rate=0.2,
        discriminator_learning_rate=1e-12,
        average_decay=0.5,
    )


def test_training_that_collapses_stops_and_says_so() -> None:
    data = np.random.default_rng(0).integers(0, 255, (64, 1, 8, 8)).astype(np.uint8)
    gan = doomed(epochs=400, patience=20)
    with pytest.warns(DivergenceWarning, match=r"all but alike.*kept the generator of epoch"):
        gan.fit(data)
    assert len(gan.history_) < 400
    assert gan.history_[-1].spread < 0.1
    assert any("collapsed" in alarm for alarm in gan.history_[-1].alarms)
    kept, real = (float(np.sqrt(part.var(0).mean())) for part in (gan.sample(256, seed=0), data))
    assert kept > 0.4 * real


def tally(real: float, fake: float, loss: float = 1.0) -> Tally:
    made = Tally()
    first, second, third = (torch.tensor(value) for value in (loss, real, fake))
    step = DiscriminatorStep(first, second, third, None, None)
    assert made.add_discriminator_step(step) == math.isfinite(loss)
    made.add_generator_step(torch.tensor(2.0))
    return made


class Given(nn.Module):
    """A generator of given samples."""

    def __init__(self, samples: Tensor) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, noise: Tensor, condition: Tensor | None) -> Tensor:
        return self.samples


def judged(samples: Tensor, labels: Tensor | None = None, **fields: Any) -> EpochRecord:
    torch.manual_seed(0)
    real = torch.randn(40, 2)
    monitor = Monitor(GANConfig(**fields), real, labels, torch.zeros(40, 1))
    return monitor.judge(1, 1.0, 5, tally(0.7, 0.8), Given(samples))[0]


def test_alarms_say_what_goes_wrong() -> None:
    torch.manual_seed(1)
    apart = torch.randn(40, 2)
    assert judged(apart).alarms == ()
    assert "all but alike" in judged(apart * 0.01).alarms[0]
    labels = torch.arange(40) % 4
    one_class = torch.where((labels == 2)[:, None], apart[:1], apart)
    assert judged(one_class, labels).alarms == (
        "samples of one class are all but alike, in classes 2",
    )
    monitor = Monitor(GANConfig(), apart, labels, torch.zeros(40, 1), (5, 30, 70, 71))
    record, _ = monitor.judge(1, 1.0, 5, tally(0.7, 0.8), Given(one_class))
    assert record.alarms == ("samples of one class are all but alike, in classes 70",)
    monitor = Monitor(GANConfig(head_start=7, r1=0.0), apart, None, torch.zeros(40, 1))
    record, trouble = monitor.judge(1, 1.0, 5, tally(1.0, 0.995), Given(apart))
    assert trouble is None
    (alarm,) = record.alarms
    assert "saturated: it tells 100.0% of real and 99.5% of generated" in alarm
    assert "head_start (now 7), or set r1 and r2" in alarm


def test_labels_alone_do_not_count_as_spread() -> None:
    """A generator that ignores its noise makes one sample of each class, which lie far apart."""
    labels = torch.arange(40) % 4
    centres = torch.tensor([[0.0, 9.0], [9.0, 0.0], [0.0, -9.0], [-9.0, 0.0]])
    assert judged(centres[labels], labels).spread == pytest.approx(0.0, abs=1e-6)


def test_what_is_kept_is_no_generator_that_has_all_but_collapsed() -> None:
    torch.manual_seed(0)
    apart = torch.randn(40, 2)
    monitor = Monitor(GANConfig(), apart, None, torch.zeros(40, 1))
    for epoch, scale in enumerate((0.2, 0.4, 0.3, 0.8, 0.6, 0.4, 0.12), start=1):
        monitor.judge(epoch, 1.0, epoch, tally(0.5, 0.5), Given(apart * scale))
        assert monitor.good_epoch == (1, 2, 2, 4, 5, 5, 5)[epoch - 1]


def test_collapse_is_granted_its_patience() -> None:
    torch.manual_seed(0)
    apart = torch.randn(40, 2)
    monitor = Monitor(GANConfig(patience=100), apart, None, torch.zeros(40, 1))
    states = [(50, 0.01), (99, 0.01), (120, 1.0), (219, 0.01), (220, 0.01)]
    troubles = [
        monitor.judge(epoch, 1.0, steps, tally(0.5, 0.5), Given(apart * scale))[1]
        for epoch, (steps, scale) in enumerate(states, start=1)
    ]
    assert troubles[:4] == [None] * 4
    assert troubles[4] is not None
    assert "for 100 steps" in troubles[4]
    assert monitor.good_epoch == 3
    kept = monitor.good_or_raise("")
    assert torch.equal(kept(torch.zeros(40, 1), None), apart)


def test_a_collapse_too_late_for_patience_is_told_at_the_end() -> None:
    torch.manual_seed(0)
    apart = torch.randn(40, 2)
    monitor = Monitor(GANConfig(patience=1_000), apart, None, torch.zeros(40, 1))
    never = Monitor(GANConfig(patience=1_000), apart, None, torch.zeros(40, 1))
    told = []
    for epoch, scale in enumerate((1.0, 0.01, 1.0, 0.01), start=1):
        record, _ = monitor.judge(epoch, 1.0, epoch, tally(0.5, 0.5), Given(apart * scale))
        told.append(monitor.collapsed_at_last(record))
        record, _ = never.judge(epoch, 1.0, epoch, tally(0.5, 0.5), Given(apart * 0.01))
        assert never.collapsed_at_last(record) is None  # perhaps it has not begun yet
    assert [words is None for words in told] == [True, False, True, False]
    assert "by its last epoch, 4" in (told[-1] or "")


def test_training_that_ends_collapsed_keeps_what_was_good() -> None:
    data = np.random.default_rng(0).integers(0, 255, (64, 1, 8, 8)).astype(np.uint8)
    gan = doomed(epochs=100, patience=10_000)
    with pytest.warns(DivergenceWarning, match=r"by its last epoch, 100.*kept the generator of"):
        gan.fit(data)
    assert len(gan.history_) == 100
    kept, real = (float(np.sqrt(part.var(0).mean())) for part in (gan.sample(256, seed=0), data))
    assert kept > 0.4 * real


def test_what_is_no_number_is_trouble() -> None:
    real = torch.randn(40, 2)
    monitor = Monitor(GANConfig(), real, None, torch.zeros(40, 1))
    trouble = monitor.judge(1, 1.0, 5, tally(0.5, 0.5), Given(real * math.nan))[1]
    assert trouble is not None
    trouble = monitor.judge(1, 1.0, 5, tally(0.5, 0.5, math.inf), Given(real))[1]
    assert trouble is not None
    with pytest.raises(DivergenceError, match="why; lower"):
        monitor.good_or_raise("why")


def test_deviations_against_numpy() -> None:
    generator = np.random.default_rng(0)
    data = generator.normal(size=(30, 2, 3)) * 3.0 + 7.0
    groups = generator.integers(0, 3, 30)
    found = deviations(torch.from_numpy(data), torch.from_numpy(groups)).tolist()
    parts = [data[groups == group].reshape(-1, 6) for group in range(3)]
    expected = [math.sqrt(part.var(0, ddof=1).sum()) for part in parts]
    pooled = sum(((part - part.mean(0)) ** 2).sum() for part in parts) / 27
    assert found == pytest.approx([*expected, math.sqrt(pooled)])
    alone = deviations(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 1, 1]))
    assert math.isnan(alone[0])
    assert alone[1:].tolist() == pytest.approx([math.sqrt(2.0)] * 2)


def test_watched_rows_hold_every_label() -> None:
    labels = torch.cat((torch.zeros(4000), torch.ones(30), torch.full((3,), 2.0))).long()
    examples = Examples(torch.zeros(len(labels), 1), labels, Scaling(), torch.device("cpu"))
    rows = watched_rows(examples, 0)
    assert torch.bincount(labels[rows]).tolist() == [170, 30, 3]
    assert len(set(rows.tolist())) == len(rows)


def test_nothing_is_warned_of_where_all_goes_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(epochs=2).fit(ring(256)[0])
