"""Steps of either side: the other one stays as it is, bit for bit; gradients worked out by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rlkit.gan.alternation import Alternation, frozen
from rlkit.gan.configuration import GANConfig, Loss
from rlkit.gan.discriminators import build_discriminator
from rlkit.gan.generators import build_generator


def state(network: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, such as the vectors of spectral norm."""
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(before: dict[str, Tensor], network: nn.Module) -> bool:
    after = network.state_dict()
    return all(torch.equal(value, after[name]) for name, value in before.items())


def alternation(shape: tuple[int, ...] = (3,), classes: int = 0, **fields: Any) -> Alternation:
    settings = {"latents": 4, "channels": 2, "hidden_sizes": (8, 8), **fields}
    config = GANConfig(**settings)
    torch.manual_seed(1)
    return Alternation(
        build_generator(config, shape, classes),
        build_discriminator(config, shape, classes),
        config,
        latents=4,
    )


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("loss", ["original", "hinge", "relativistic"])
@pytest.mark.parametrize("shape", [(3,), (1, 16, 16)])
def test_the_other_side_stays_bit_identical(
    shape: tuple[int, ...], loss: Loss, spectral_norm: bool
) -> None:
    taken = alternation(shape, 2, loss=loss, spectral_norm=spectral_norm)
    real, labels = torch.randn(6, *shape), torch.tensor([0, 1, 0, 1, 0, 1])
    if spectral_norm:
        assert any(name.endswith("_u") for name in taken.discriminator.state_dict())
    for _ in range(3):
        generator, discriminator = state(taken.generator), state(taken.discriminator)
        taken.step_discriminator(real, labels)
        assert same(generator, taken.generator)
        assert not same(discriminator, taken.discriminator)
        discriminator = state(taken.discriminator)
        taken.step_generator(real, labels)
        assert same(discriminator, taken.discriminator)
        assert not same(generator, taken.generator)


def test_every_weight_of_a_side_learns_in_its_steps() -> None:
    taken = alternation((1, 16, 16), 2)
    real, labels = torch.randn(6, 1, 16, 16), torch.tensor([0, 1, 0, 1, 0, 1])
    generator, discriminator = state(taken.generator), state(taken.discriminator)
    taken.step_discriminator(real, labels)
    taken.step_generator(real, labels)
    for before, side in ((generator, taken.generator), (discriminator, taken.discriminator)):
        for name, value in side.named_parameters():
            # A relativistic loss does not see an offset of both logits.
            if name != "head.linear.bias":
                assert not torch.equal(value, before[name]), name


def test_freezing_is_undone_whatever_happens() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].requires_grad_(False)

    def broken() -> None:
        with frozen(network):
            assert not network.training
            assert not any(p.requires_grad for p in network.parameters())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        broken()
    assert network.training
    assert [p.requires_grad for p in network.parameters()] == [True, True, False, False]


class Constant(nn.Module):
    """A generator whose samples are all its weights."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, noise: Tensor, condition: Tensor | None) -> Tensor:
        return self.values.expand(len(noise), -1)


class Linear(nn.Module):
    """A discriminator without offset."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, examples: Tensor, condition: Tensor | None) -> Tensor:
        return examples @ self.weights


def by_hand(**fields: Any) -> Alternation:
    config = GANConfig(loss="original", **fields)
    return Alternation(Constant([1.0, 0.0]), Linear([0.5, -1.0]), config, latents=1)


REAL = torch.tensor([[2.0, 1.0], [2.0, 1.0]])


def discriminator_gradient(taken: Alternation) -> Tensor:
    taken.step_discriminator(REAL, None)
    gradient = taken.discriminator.weights.grad
    assert isinstance(gradient, Tensor)
    return gradient


def test_gradients_of_a_linear_discriminator_by_hand() -> None:
    # Logits: real 2 * 0.5 - 1 = 0, generated 0.5.
    expected = -0.5 * REAL[0] + torch.sigmoid(torch.tensor(0.5)) * torch.tensor([1.0, 0.0])
    plain = discriminator_gradient(by_hand(r1=0.0, r2=0.0))
    assert torch.allclose(plain, expected)
    # R1 and R2 are gamma / 2 |w|^2 each, with the gradient gamma w.
    weights = torch.tensor([0.5, -1.0])
    penalised = discriminator_gradient(by_hand(r1=0.3, r2=0.2, penalty_every=1))
    assert torch.allclose(penalised, expected + 0.5 * weights)
    only_r2 = discriminator_gradient(by_hand(r1=0.0, r2=0.2, penalty_every=1))
    assert torch.allclose(only_r2, expected + 0.2 * weights)


def test_lazy_penalties_come_seldom_and_weigh_more() -> None:
    lazy = by_hand(r1=0.3, r2=0.2, penalty_every=3, discriminator_learning_rate=1e-12)
    plain = discriminator_gradient(by_hand(r1=0.0, r2=0.0))
    extra = [(discriminator_gradient(lazy) - plain).clone() for _ in range(4)]
    penalty = 3 * 0.5 * torch.tensor([0.5, -1.0])
    assert torch.allclose(extra[0], penalty, atol=1e-5)
    assert torch.allclose(extra[1], torch.zeros(2), atol=1e-5)
    assert torch.allclose(extra[2], torch.zeros(2), atol=1e-5)
    assert torch.allclose(extra[3], penalty, atol=1e-5)
    assert lazy.step_discriminator(REAL, None).gradient_real is None


def test_what_a_step_tells_by_hand() -> None:
    step = by_hand(r1=0.3, r2=0.2).step_discriminator(REAL, None)
    fake = torch.tensor(0.5)
    loss = float(torch.log(torch.tensor(2.0)) + torch.nn.functional.softplus(fake))
    assert float(step.loss) == pytest.approx(loss)
    assert float(step.accuracy_real) == 0.0  # a logit of 0 is not above 0
    assert float(step.accuracy_fake) == 0.0
    assert step.gradient_real is not None
    assert float(step.gradient_real) == pytest.approx(1.25)


def test_the_generator_goes_where_the_discriminator_believes_it() -> None:
    taken = by_hand()
    taken.step_generator(REAL, None)
    gradient = taken.generator.values.grad
    # d softplus(-w.g) / dg = -sigmoid(-w.g) w
    expected = -torch.sigmoid(torch.tensor(-0.5)) * torch.tensor([0.5, -1.0])
    assert isinstance(gradient, Tensor)
    assert torch.allclose(gradient, expected)


def test_the_reconstruction_error_joins_in() -> None:
    config = GANConfig(loss="original")
    taken = Alternation(
        Constant([1.0, 0.0]), Linear([0.5, -1.0]), config, latents=1, reconstruction=10.0
    )
    loss = taken.step_generator(REAL, None)
    assert float(loss) == pytest.approx(float(torch.nn.functional.softplus(torch.tensor(-0.5))))
    gradient = taken.generator.values.grad
    assert isinstance(gradient, Tensor)
    # Each of two numbers is below the real one: the mean absolute error falls by 1/2 for each.
    adversarial = -torch.sigmoid(torch.tensor(-0.5)) * torch.tensor([0.5, -1.0])
    assert torch.allclose(gradient, adversarial + 10.0 * torch.tensor([-0.5, -0.5]))


def test_a_step_whose_loss_is_not_finite_changes_nothing() -> None:
    taken = alternation()
    before = state(taken.generator), state(taken.discriminator)
    broken = torch.full((4, 3), torch.nan)
    assert not torch.isfinite(taken.step_discriminator(broken, None).loss)
    assert not torch.isfinite(taken.step_generator(broken, None))
    assert same(before[0], taken.generator)
    assert same(before[1], taken.discriminator)


def test_bfloat16_gradients_are_near_those_of_float32() -> None:
    gradients = []
    for precision in ("float32", "bfloat16"):
        config = GANConfig(latents=4, channels=8)
        torch.manual_seed(2)
        taken = Alternation(
            build_generator(config, (1, 16, 16), 0),
            build_discriminator(config, (1, 16, 16), 0),
            config,
            latents=4,
            precision=precision,
        )
        taken.step_discriminator(torch.rand(8, 1, 16, 16, generator=torch.manual_seed(3)), None)
        parts = [p.grad.flatten() for p in taken.discriminator.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert float(torch.cosine_similarity(gradients[0], gradients[1], 0)) > 0.98
