"""What can be set about PPO and A2C, and the settings that they are known by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from rlkit_agents.actor_critic import check_network
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.precision import Precision
from rlkit_agents.schedules import LinearSchedule


@dataclass(frozen=True)
class PPOConfig:
    """Everything about a PPO; the defaults are those of Stable-Baselines3's, for flat observations.

    See `atari` for images, and `a2c`.
    """

    network: NetworkConfig = field(
        default_factory=lambda: NetworkConfig(
            torso="mlp", activation="tanh", initialisation="orthogonal", hidden_sizes=(64, 64)
        )
    )
    """Torso, activation, initialisation and memory."""
    shared_torso: bool | None = None
    """Whether actions and value share a torso. None shares it unless the torso is "mlp" without
    memory, as Stable-Baselines3 does."""
    log_standard_deviation: float = 0.0
    """Natural logarithm of the standard deviation that continuous actions start with, in the units
    of the action."""
    rollout_length: int = 2048
    """Steps of each environment between updates; times the environments, the transitions that an
    update learns from. 128 with 8 environments for Atari in the paper."""
    epochs: int = 10
    """Passes over these transitions in an update; 3 for Atari in the paper."""
    minibatch_size: int | None = 64
    """Most transitions in a gradient step; None takes all at once. With memory a minibatch is made
    of whole sequences, each an environment's part of the rollout, and this is a multiple of
    `rollout_length`."""
    discount: float = 0.99
    """Discount for one environment step."""
    trace_decay: float = 0.95
    """Lambda of the generalised advantages; 1 takes all rewards up to the rollout's end, 0 one."""
    clip_range: float | None = 0.2
    """How far an action's probability may move, as a share, before it is not pushed further; 0.1
    for Atari in the paper. None does not clip."""
    clip_range_end: float | None = None
    """Clip range after `clip_range_steps`, reached in a straight line; None keeps it constant."""
    clip_range_steps: int = 10_000_000
    """Environment steps from `clip_range` to `clip_range_end`."""
    clip_value_range: float | None = None
    """How far a value may move, in units of return, before its error counts as if it had moved no
    further; None does not clip."""
    value_weight: float = 0.5
    """Weight of the values' mean squared error in the loss."""
    entropy_weight: float = 0.0
    """Weight of the policy's entropy, which the loss rewards; 0.01 for Atari in the paper."""
    standardise_advantages: bool = True
    """Give each minibatch's advantages mean 0 and standard deviation 1."""
    learning_rate: float = 3e-4
    """The optimizer's step size."""
    learning_rate_end: float | None = None
    """Step size after `learning_rate_steps`, reached in a straight line; None keeps it constant."""
    learning_rate_steps: int = 10_000_000
    """Environment steps from `learning_rate` to `learning_rate_end`."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Adam, or RMSprop with a decay of 0.99, which is A2C's."""
    optimizer_epsilon: float = 1e-5
    """The optimizer's denominator offset."""
    max_gradient_norm: float = 0.5
    """Gradients are scaled down to this norm over all weights; infinity never scales."""
    target_kl: float | None = None
    """An update ends before the gradient step at which the policy has moved away by more than 1.5
    times this estimated divergence, in nats; None always takes all steps."""
    precision: Precision = "float32"
    """Number format of convolutions and dense layers; "auto" pays for images."""

    def __post_init__(self) -> None:
        for name in ("rollout_length", "epochs", "minibatch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in (
            "clip_range",
            "clip_value_range",
            "learning_rate",
            "optimizer_epsilon",
            "max_gradient_norm",
            "target_kl",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name in (
            "value_weight",
            "entropy_weight",
            "learning_rate_end",
            "learning_rate_steps",
            "clip_range_end",
            "clip_range_steps",
        ):
            if not (getattr(self, name) or 0) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must be in (0, 1], got {self.discount}")
        if not 0 <= self.trace_decay <= 1:
            raise ValueError(f"trace_decay must be in [0, 1], got {self.trace_decay}")
        if not math.isfinite(self.log_standard_deviation):
            raise ValueError(
                f"log_standard_deviation must be finite, got {self.log_standard_deviation}"
            )
        if self.optimizer not in ("adam", "rmsprop"):
            raise ValueError(f"optimizer must be 'adam' or 'rmsprop', got {self.optimizer!r}")
        if self.clip_range is None and self.clip_range_end is not None:
            raise ValueError(
                f"clip_range_end {self.clip_range_end} has no clip_range to start from"
            )
        if self.minibatch_size == 1 and self.standardise_advantages:
            raise ValueError(
                "minibatch_size 1 leaves nothing to standardise: take more, or turn "
                "standardise_advantages off"
            )
        check_network(self.network, self.shares_torso)
        if self.network.memory != "none" and (self.minibatch_size or 0) % self.rollout_length:
            raise ValueError(
                f"with memory a minibatch is made of whole sequences: minibatch_size "
                f"{self.minibatch_size} is not a multiple of rollout_length {self.rollout_length}"
            )

    @property
    def shares_torso(self) -> bool:
        """`shared_torso`, None replaced by what it stands for."""
        if self.shared_torso is not None:
            return self.shared_torso
        return self.network.torso != "mlp" or self.network.memory != "none"

    def learning_rate_at(self, step: int) -> float:
        """The optimizer's step size after `step` environment steps."""
        end = self.learning_rate if self.learning_rate_end is None else self.learning_rate_end
        return LinearSchedule(self.learning_rate, end, self.learning_rate_steps).at(step)

    def clip_range_at(self, step: int) -> float | None:
        """The clip range after `step` environment steps."""
        if self.clip_range is None or self.clip_range_end is None:
            return self.clip_range
        return LinearSchedule(self.clip_range, self.clip_range_end, self.clip_range_steps).at(step)


def atari(**changes: Any) -> PPOConfig:
    """PPO for Atari games, for 8 environments, with the numbers of Stable-Baselines3's zoo.

    They are those of the paper (table 5), but for 4 epochs instead of 3, half the value loss, and a
    learning rate and clip range that fall to 0 over 10 million environment steps, where the paper
    counts frames. `changes` override fields.
    """
    settings: dict[str, Any] = dict(
        network=NetworkConfig(torso="nature", initialisation="orthogonal"),
        rollout_length=128,
        epochs=4,
        minibatch_size=256,
        clip_range=0.1,
        clip_range_end=0.0,
        entropy_weight=0.01,
        learning_rate=2.5e-4,
        learning_rate_end=0.0,
        precision="auto",
    )
    return PPOConfig(**(settings | changes))


def a2c(**changes: Any) -> PPOConfig:
    """A2C (Mnih et al. 2016) with the numbers of Stable-Baselines3's; `changes` override fields."""
    settings: dict[str, Any] = dict(
        rollout_length=5,
        epochs=1,
        minibatch_size=None,
        trace_decay=1.0,
        clip_range=None,
        standardise_advantages=False,
        learning_rate=7e-4,
        optimizer="rmsprop",
    )
    return PPOConfig(**(settings | changes))
