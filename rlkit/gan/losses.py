"""What the two sides of a GAN minimise, and the penalties on the discriminator's gradient.

Pure functions on logits: `real` and `fake` are the discriminator's on as many real and generated
examples, (batch, ...), above 0 where it believes in an example.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from rlkit.gan.configuration import Loss


def discriminator_loss(loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """A scalar.

    original: softplus(-real) + softplus(fake), the negated eq. 1 of Goodfellow et al. (2014).
    hinge: relu(1 - real) + relu(1 + fake) (Lim & Ye 2017).
    relativistic: softplus(fake - real), of pairs (Jolicoeur-Martineau 2019, as R3GAN, Huang et al.
    2024).
    Raises ValueError for logits of different shapes.
    """
    _check_pairs(real, fake)
    if loss == "relativistic":
        return softplus(fake - real).mean()
    if loss == "hinge":
        return relu(1.0 - real).mean() + relu(1.0 + fake).mean()
    return softplus(-real).mean() + softplus(fake).mean()


def generator_loss(loss: Loss, real: Tensor | None, fake: Tensor) -> Tensor:
    """A scalar.

    original: softplus(-fake), which does not saturate (Goodfellow et al. 2014, section 3).
    hinge: -fake (Lim & Ye 2017). relativistic: softplus(real - fake); the others need no `real`.
    Raises ValueError for logits of different shapes.
    """
    if loss == "relativistic":
        if real is None:
            raise ValueError("a relativistic loss needs logits of real examples")
        _check_pairs(real, fake)
        return softplus(real - fake).mean()
    return -fake.mean() if loss == "hinge" else softplus(-fake).mean()


def squared_gradient_norm(logits: Tensor, examples: Tensor) -> Tensor:
    """||d logit / d example||^2 of each example, (batch,), that gradients pass through.

    logits: (batch, ...), computed of examples (batch, ...), which require a gradient; of a
    discriminator with several logits an example, their sum counts. R1 is gamma / 2 times its mean
    over real examples, R2 over generated ones (Mescheder et al. 2018, eqs. 9 and 10).
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), examples, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)


def accuracies(loss: Loss, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of real and of generated examples that the discriminator takes for what they are.

    The threshold is 0, but a relativistic discriminator only compares: there a real example must
    be above the mean of the generated ones, and a generated one below the mean of the real ones.
    """
    relative = loss == "relativistic"
    above = real > (fake.mean() if relative else 0.0)
    below = fake < (real.mean() if relative else 0.0)
    return above.float().mean(), below.float().mean()


def _check_pairs(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise ValueError(
            f"as many real as generated examples are compared, got logits {tuple(real.shape)} and"
            f" {tuple(fake.shape)}"
        )
