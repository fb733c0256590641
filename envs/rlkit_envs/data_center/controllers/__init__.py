"""Controllers as data centres use them today: what an agent has to beat, and falls back on."""

from rlkit_envs.data_center.controllers.controller import (
    Controller,
    Observed,
    TrackingController,
)

__all__ = ["Controller", "Observed", "TrackingController"]
