"""One gradient step of a GAN's discriminator or generator, the other side frozen.

Knows no data set, no epochs and no files; it serves generators of noise and label and those of
pictures alike: the condition is a label, a picture or None, and both sides are given it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from rlkit.gan import losses
from rlkit.gan.configuration import AdversarialConfig
from rlkit_agents.precision import Precision, autocast

Change = Callable[[Tensor, torch.Generator], Tensor]
"""Changes examples before the discriminator sees them, such as DiffAugment."""


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Nothing of `network` changes inside: neither weights nor buffers.

    No gradient reaches its weights; gradients pass through it. In evaluation mode spectral norm
    makes no power iteration: its vectors move in the network's own steps alone.
    """
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    was_training = network.training
    network.requires_grad_(False).eval()
    try:
        yield
    finally:
        network.train(was_training)
        for parameter, before in zip(network.parameters(), wanted, strict=True):
            parameter.requires_grad_(before)


@dataclass(frozen=True)
class DiscriminatorStep:
    """What a step of the discriminator came to; scalars, before the step."""

    loss: Tensor
    """Without penalties."""
    accuracy_real: Tensor
    """Of `losses.accuracies`."""
    accuracy_fake: Tensor
    """Of `losses.accuracies`."""
    gradient_real: Tensor | None
    """Mean squared norm of its gradient at real examples; None where the step has no penalty."""
    gradient_fake: Tensor | None
    """The same at generated examples."""


class Alternation:
    """Takes steps of either side."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: AdversarialConfig,
        *,
        latents: int,
        precision: Precision = "float32",
        reconstruction: float = 0.0,
        change: Change | None = None,
    ) -> None:
        """generator: maps noise (batch, latents) and the condition to examples. discriminator: maps
        examples and the condition to logits. Both on one device.

        latents: random numbers of an example. precision: in place of the configuration's, which
        may leave it open. reconstruction: weight of the mean absolute error in the generator's
        loss.
        """
        self.generator, self.discriminator, self.config = generator, discriminator, config
        self._latents, self._reconstruction, self._change = latents, reconstruction, change
        self._precision: Precision = precision
        self.device = next(generator.parameters()).device
        self.random = torch.Generator(self.device).manual_seed(config.seed)
        """Noise and changes are drawn from it."""
        betas = (config.beta1, config.beta2)
        self.generator_optimizer = torch.optim.Adam(
            generator.parameters(), config.generator_learning_rate, betas, fused=True
        )
        self.discriminator_optimizer = torch.optim.Adam(
            discriminator.parameters(), config.discriminator_learning_rate, betas, fused=True
        )
        self._discriminator_steps = 0

    def step_discriminator(self, real: Tensor, condition: Tensor | None) -> DiscriminatorStep:
        """Tell real examples (batch, ...) from as many generated ones; the generator is frozen.

        Real and generated examples pass through the discriminator together. The penalties are
        about the examples as it sees them, changed where they are. The weights stay as they are
        where the loss is not finite.
        """
        config = self.config
        penalised = (config.r1 > 0.0 or config.r2 > 0.0) and (
            self._discriminator_steps % config.penalty_every == 0
        )
        self._discriminator_steps += 1
        with frozen(self.generator), torch.no_grad(), self._autocast():
            fake = self.generator(self.noise(len(real)), condition).float()
        seen = torch.cat((self._changed(real), self._changed(fake))).detach()
        seen.requires_grad_(penalised)
        conditions = None if condition is None else torch.cat((condition, condition))
        with self._autocast():
            logits = self.discriminator(seen, conditions).float()
        real_logits, fake_logits = logits.chunk(2)
        loss = losses.discriminator_loss(config.loss, real_logits, fake_logits)
        objective, gradient_real, gradient_fake = loss, None, None
        if penalised:
            norms = losses.squared_gradient_norm(logits, seen)
            gradient_real, gradient_fake = (norm.mean() for norm in norms.chunk(2))
            penalty = 0.5 * (config.r1 * gradient_real + config.r2 * gradient_fake)
            objective = loss + config.penalty_every * penalty
        _descend(objective, self.discriminator_optimizer)
        accuracies = losses.accuracies(config.loss, real_logits.detach(), fake_logits.detach())
        return DiscriminatorStep(
            loss.detach() if torch.isfinite(objective) else objective.detach(),
            *accuracies,
            None if gradient_real is None else gradient_real.detach(),
            None if gradient_fake is None else gradient_fake.detach(),
        )

    def step_generator(self, real: Tensor, condition: Tensor | None) -> Tensor:
        """Make examples that the discriminator, which is frozen, takes for real.

        real: (batch, ...), to compare with. Returns the loss before the step, a scalar, without the
        reconstruction error. The weights stay as they are where the loss is not finite.
        """
        config = self.config
        with frozen(self.discriminator):
            with self._autocast():
                fake = self.generator(self.noise(len(real)), condition).float()
            changed = self._changed(fake)
            with self._autocast():
                fake_logits = self.discriminator(changed, condition).float()
            real_logits = None
            if config.loss == "relativistic":
                with torch.no_grad(), self._autocast():
                    real_logits = self.discriminator(self._changed(real), condition).float()
            loss = losses.generator_loss(config.loss, real_logits, fake_logits)
            objective = loss
            if self._reconstruction > 0.0:
                objective = loss + self._reconstruction * l1_loss(fake, real)
            _descend(objective, self.generator_optimizer)
        return loss.detach() if torch.isfinite(objective) else objective.detach()

    def noise(self, count: int) -> Tensor:
        """(count, latents), standard normal."""
        return torch.randn(count, self._latents, generator=self.random, device=self.device)

    def _changed(self, examples: Tensor) -> Tensor:
        return examples if self._change is None else self._change(examples, self.random)

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self._precision, self.device)


def _descend(objective: Tensor, optimizer: torch.optim.Optimizer) -> None:
    if torch.isfinite(objective):
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
