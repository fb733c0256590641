"""The interface through which anything watches or accompanies a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlkit_agents.step import Step

if TYPE_CHECKING:
    from rlkit.training import Training


class Callback:
    """Does nothing; subclasses override what they need. Callbacks are called in their order."""

    activity: str = ""
    """What the training waits for while the callback is at it, such as "evaluating 12/100"."""

    remark: str = ""
    """What it has to tell beside the progress, such as "picked 94 % of the last 200"."""

    def on_start(self, training: Training) -> None:
        """Before the first step, also of a resumed training."""

    def on_step(self, training: Training, step: Step, metrics: dict[str, Any]) -> None:
        """After each batched step.

        metrics: scalars (numbers or tensors of no dimension) of the latest gradient step, empty
        where none was taken.
        """

    def on_end(self, training: Training) -> None:
        """After the last step, when the training ends as planned or was asked to stop."""

    def close(self) -> None:
        """Let go of files, whether the training ended well or not."""

    def state_dict(self) -> dict[str, Any]:
        """What the callback needs in order to go on after a resume, as plain data."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
