"""Values that change over a training, as functions of the number of environment steps taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LinearSchedule:
    """Moves from `start` to `end` in a straight line over `steps` steps, then stays at `end`."""

    start: float
    """Value at step 0."""
    end: float
    """Value from step `steps` on."""
    steps: int
    """Length of the line, in environment steps over all environments; 0 means `end` at once."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"a schedule cannot last {self.steps} steps")

    def at(self, step: int) -> float:
        """The value after `step` environment steps."""
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * step / self.steps
