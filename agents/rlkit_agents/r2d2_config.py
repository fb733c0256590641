"""What can be set about an R2D2 (Kapturowski et al. 2019), with the paper's numbers beside ours."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlkit_agents.augmentation import check_keeps_actions
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.precision import Precision
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.symmetry import Symmetry


@dataclass(frozen=True)
class R2D2Config:
    """Everything about an R2D2; time is in rows of the replay, one a step of each environment."""

    network: NetworkConfig = field(
        default_factory=lambda: NetworkConfig(memory="lstm", dueling=True)
    )
    """Torso, memory (which must be lstm or gru), dueling and noisy layers."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """How values are represented: expected as in the paper, quantile or categorical."""
    double: bool = True
    """Choose the bootstrap action by the online network, value it by the target network
    (van Hasselt 2016)."""
    value_rescaling: bool = True
    """Learn h(return), h being `losses.signed_hyperbolic`, in place of the return; not with a
    categorical head."""
    discount: float = 0.997
    """Discount for one environment step."""
    n_step: int = 5
    """Rewards summed before bootstrapping."""
    burn_in: int = 20
    """Rows that bring a stored state up to date before each trace; 40 in the paper."""
    trace_length: int = 40
    """Rows learnt from in a sequence; 80 in the paper."""
    trace_period: int = 20
    """Rows from the beginning of a sequence to that of the next; 40 in the paper."""
    replay_capacity: int = 500_000
    """Transitions kept, over all environments."""
    compress_replay: bool = False
    """Keep observations LZ4-compressed: about a sixth of the memory for some speed (extra
    `lz4`)."""
    priority_exponent: float = 0.9
    """How strongly sequences of large errors are sampled more often (Schaul 2016's alpha); 0 is
    uniform."""
    importance_exponent: LinearSchedule = LinearSchedule(0.6, 0.6, 0)
    """How far sampling bias is corrected, over environment steps (Schaul 2016's beta)."""
    priority_max_share: float = 0.9
    """A sequence's priority is this share of its largest absolute error, plus the rest of the mean
    (the paper's eta)."""
    batch_size: int = 16
    """Sequences in a gradient step; 64 in the paper."""
    samples_per_step: float = 6.0
    """Time steps trained on for each environment step, those of a batch being its size times the
    trace's length."""
    learning_starts: int = 20_000
    """Environment steps before the first gradient step."""
    learning_rate: float = 3e-4
    """Adam's step size; 1e-4 in the paper."""
    learning_rate_end: float | None = None
    """Step size after `learning_rate_steps`, reached in a straight line; None keeps it constant."""
    learning_rate_steps: int = 5_000_000
    """Environment steps from `learning_rate` to `learning_rate_end`."""
    adam_epsilon: float = 1e-5
    """Adam's denominator offset; 1e-3 in the paper."""
    l1: float = 0.0
    """Weight of the sum of absolute weights in the loss."""
    l2: float = 0.0
    """Weight of the sum of squared weights in the loss."""
    max_gradient_norm: float = 10.0
    """Gradients are scaled down to this norm over all weights; infinity never scales."""
    target_update_every: int = 500
    """Gradient steps between copies of the online network into the target network; 2,500 in the
    paper."""
    epsilon: LinearSchedule = LinearSchedule(1.0, 0.01, 250_000)
    """Share of random actions over environment steps; with noisy layers LinearSchedule(0, 0, 0)."""
    epsilon_spread: float = 0.0
    """How much less than the first the last environment explores: environment i of N acts at
    random with probability epsilon ** (1 + epsilon_spread * i / (N - 1)) (Horgan et al. 2018, with
    a spread of 7 and an epsilon of 0.4)."""
    symmetries: tuple[Symmetry, ...] = ()
    """Mirrorings of the world that leave its rules unchanged; each is applied to an equal share of
    every batch, and an equal share stays as it is. A mirrored sequence begins with a clear state:
    the stored one remembers an unmirrored world."""
    augmentation: tuple[str, ...] = ()
    """Random changes of the observations in every batch, in this order, such as `shift:4 noise:8`
    (`augmentation.KINDS`). What is drawn for a sequence holds all through it, burn-in included, and
    for both networks. Only such as leave actions as they are; see `symmetries`."""
    average_decay: float = 0.0
    """Of the running average of the weights that is evaluated and saved in place of the latest
    weights (`averaging`), below 1; 0 takes the latest. 0.9999 averages over some 10,000 gradient
    steps."""
    precision: Precision = "auto"
    """Number format of convolutions and dense layers; the memory computes in float32."""

    def __post_init__(self) -> None:
        for name in (
            "batch_size",
            "n_step",
            "trace_length",
            "trace_period",
            "target_update_every",
            "replay_capacity",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("samples_per_step", "learning_rate", "adam_epsilon", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in (
            "burn_in",
            "l1",
            "l2",
            "learning_starts",
            "learning_rate_end",
            "learning_rate_steps",
            "epsilon_spread",
        ):
            if not (getattr(self, name) or 0) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("epsilon", "importance_exponent"):
            schedule = getattr(self, name)
            if not (0 <= schedule.start <= 1 and 0 <= schedule.end <= 1):
                raise ValueError(f"{name} must stay within 0 and 1, got {schedule}")
        for name in ("priority_exponent", "priority_max_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {self.average_decay}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must be in (0, 1], got {self.discount}")
        for name in ("burn_in", "n_step"):
            if self.trace_length < getattr(self, name):
                raise ValueError(
                    f"trace_length {self.trace_length} is shorter than {name} "
                    f"{getattr(self, name)}: lengthen the trace to at least that, or shorten {name}"
                )
        if self.trace_period > self.trace_length:
            raise ValueError(
                f"a trace_period of {self.trace_period} leaves rows between traces of "
                f"{self.trace_length} out: it must be at most the trace_length"
            )
        check_keeps_actions(self.augmentation)
        if self.network.memory == "none":
            raise ValueError(
                "R2D2 learns what to remember and needs network.memory 'lstm' or 'gru', got "
                "'none'; without memory, DQN learns from single transitions"
            )
        if self.value_rescaling and self.head.kind == "categorical":
            raise ValueError(
                "value_rescaling needs an expected or quantile head: a categorical one is a "
                "histogram over the returns themselves"
            )

    def learning_rate_at(self, step: int) -> float:
        """Adam's step size after `step` environment steps."""
        end = self.learning_rate if self.learning_rate_end is None else self.learning_rate_end
        return LinearSchedule(self.learning_rate, end, self.learning_rate_steps).at(step)
