"""Trains an autoencoder's network: epochs over the data, until held-out data gain no more."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlkit.autoencoder.network import AutoencoderNetwork
from rlkit.divergence import DivergenceError
from rlkit_agents.augmentation import Augmenter

_MAX_GRADIENT_NORM = 10.0


@dataclass(frozen=True)
class Epoch:
    """One pass over the data."""

    number: int
    """Counted from 1."""
    loss: float
    """Mean over the pass, of what learning minimises."""
    held_out: float
    """The same on held-out data, afterwards."""
    best: bool
    """Whether no earlier pass had a lower loss on held-out data."""
    learning_rate: float
    """During the pass."""
    seconds: float
    """Since the beginning."""


OnEpoch = Callable[[Epoch, AutoencoderNetwork], None]
"""Watches an epoch's end: the network has the weights of that moment."""


def fit(
    network: AutoencoderNetwork,
    observations: np.ndarray,
    held_out: np.ndarray,
    on_epoch: Sequence[OnEpoch] = (),
) -> list[Epoch]:
    """Train `network` on observations (count, *shape); it ends with the weights that were best.

    held_out: (any, *shape). The network's configuration says how. It computes on the device that
    the network is on.
    Raises DivergenceError where the loss became NaN or infinite; the network then has the best
    weights from before.
    """
    config = network.config
    device = network.mean.device
    generator = torch.Generator(device).manual_seed(config.seed)
    shuffler = np.random.default_rng(config.seed)
    augmenter = Augmenter(config.augmentation, np.random.SeedSequence(config.seed), device)
    augmenter.check_fits(observations.shape[1:], observations.dtype)
    data, others = torch.from_numpy(observations), torch.from_numpy(held_out)
    network.learn_scaling(data.to(device))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    epochs: list[Epoch] = []
    best, best_weights, idle = math.inf, copy.deepcopy(network.state_dict()), 0
    begun = time.perf_counter()
    for number in range(1, config.epochs + 1):
        rate = optimizer.param_groups[0]["lr"]
        loss = _pass(network, optimizer, data, shuffler, generator, augmenter)
        told = _held_out_loss(network, others, config.seed)
        if not (math.isfinite(loss) and math.isfinite(told)):
            network.load_state_dict(best_weights)
            raise DivergenceError(
                f"the loss is not a finite number after epoch {number}: a smaller learning_rate "
                f"than {config.learning_rate:g} would help"
            )
        is_best = told < best
        epoch = Epoch(number, loss, told, is_best, rate, time.perf_counter() - begun)
        epochs.append(epoch)
        for watch in on_epoch:
            watch(epoch, network)
        if is_best:
            best, best_weights, idle = told, copy.deepcopy(network.state_dict()), 0
            continue
        idle += 1
        if idle == config.patience:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate / 2
    network.load_state_dict(best_weights)
    network.eval()
    return epochs


def _pass(
    network: AutoencoderNetwork,
    optimizer: torch.optim.Optimizer,
    data: Tensor,
    shuffler: np.random.Generator,
    generator: torch.Generator,
    augmenter: Augmenter,
) -> float:
    """One epoch; returns the mean loss, NaN as soon as one is not finite."""
    network.train()
    device = network.mean.device
    order = torch.from_numpy(shuffler.permutation(len(data)))
    total = 0.0
    for rows in order.split(network.config.batch_size):
        changed, clean = augmenter.with_clean(data[rows].to(device))
        loss = network.loss(changed, generator, target=clean)
        if not torch.isfinite(loss):
            return math.nan
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
        optimizer.step()
        total += float(loss.detach()) * len(rows)
    return total / len(data)


def _held_out_loss(network: AutoencoderNetwork, others: Tensor, seed: int) -> float:
    """The mean loss, with the same noise every time."""
    network.eval()
    device = network.mean.device
    generator = torch.Generator(device).manual_seed(seed + 1)
    total = 0.0
    with torch.no_grad():
        for part in others.split(network.config.batch_size):
            total += float(network.loss(part.to(device), generator)) * len(part)
    return total / len(others)
