"""How a network from a stack is fine-tuned (`rlkit.dbn.finetune`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["adam", "sgd", "lbfgs"]


@dataclass(frozen=True)
class FinetuneConfig:
    """Back-propagation at small learning rates. Raises ValueError for values without sense."""

    optimizer: Optimizer = "adam"
    """"adam", "sgd" with momentum, or "lbfgs", which takes all rows at once and suits few rows."""
    learning_rate: float = 0.001
    """Small, so that pretrained features are adjusted and not replaced; 1 is usual with "lbfgs",
    which searches along each direction for the length of the step."""
    momentum: float = 0.9
    """Of "sgd", in [0, 1)."""
    epochs: int = 50
    """Most passes over the data; with "lbfgs", ten iterations each."""
    batch_size: int = 100
    """Rows of an update; "lbfgs" takes all."""
    frozen_epochs: int = 0
    """Epochs at the start in which the head alone learns."""
    dropout: float = 0.0
    """Share of features left out while training, in [0, 1) (Srivastava et al. 2014)."""
    drop_connect: float = 0.0
    """Share of weights left out while training, in [0, 1) (Wan et al. 2013)."""
    l1: float = 0.0
    """Factor of the sum of absolute weights in the loss."""
    l2: float = 0.0
    """Factor of half the sum of squared weights in the loss."""
    held_out_share: float = 0.1
    """Share of rows, in [0, 1), whose loss says when to stop; 0 trains on all, for all epochs."""
    patience: int = 10
    """Epochs without a smaller held-out loss after which training stops."""
    seed: int = 0
    """Of the split, the order of rows, the head's first weights and what is left out."""

    def __post_init__(self) -> None:
        if self.optimizer not in ("adam", "sgd", "lbfgs"):
            raise ValueError(f'optimizer must be "adam", "sgd" or "lbfgs", got {self.optimizer!r}')
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        for name in ("momentum", "dropout", "drop_connect", "held_out_share"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("l1", "l2"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} must be finite and not negative, got {getattr(self, name)}"
                )
        for name, least in (("batch_size", 1), ("patience", 1), ("epochs", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.frozen_epochs <= self.epochs:
            raise ValueError(
                f"frozen_epochs must be from 0 to epochs ({self.epochs}), got {self.frozen_epochs}"
            )
        if self.optimizer == "lbfgs" and (self.dropout > 0.0 or self.drop_connect > 0.0):
            raise ValueError(
                'optimizer "lbfgs" needs a loss that repeats: set dropout and drop_connect to 0,'
                ' or use "adam"'
            )
