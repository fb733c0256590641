"""The controllers that an agent is measured against, by name, and how each is made for a site."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers.controller import Controller
from rlkit_envs.data_center.controllers.cross_entropy import CrossEntropy
from rlkit_envs.data_center.controllers.economiser_rule import EconomiserRule
from rlkit_envs.data_center.controllers.fixed import FixedSetPoints, FixedSettings
from rlkit_envs.data_center.controllers.linear_mpc import LinearMPC
from rlkit_envs.data_center.controllers.pid import PID, PIDSettings
from rlkit_envs.data_center.controllers.resets import Resets, ResetSettings
from rlkit_envs.data_center.controllers.static_search import StaticSearchSettings, search_static
from rlkit_envs.data_center.controllers.trim_and_respond import (
    TrimAndRespond,
    TrimAndRespondSettings,
)
from rlkit_envs.data_center.environment import DataCenterEnvs


class Assignment(NamedTuple):
    """What a controller is made for."""

    envs: DataCenterEnvs
    """The batch in which it runs; only a near-oracle may look at more of it than its design, its
    sensors and the ranges of its actions."""
    rows: slice
    """Those environments of the batch that it runs."""
    tuning: tuple[DataCenterConfig, ...]
    """The same site, for each of the rows, in a year that controllers may be tuned on."""
    report: Callable[[str], None]
    """Takes lines on what takes long."""


Build: TypeAlias = Callable[[Assignment], Controller]
"""Makes a controller of `rows.stop - rows.start` rows; may take long."""


def best_static(
    assignment: Assignment,
    settings: StaticSearchSettings = StaticSearchSettings(),  # noqa: B008 (frozen)
) -> FixedSetPoints:
    """For each row the best setting of its tuning years."""
    found: dict[tuple[Any, Any], FixedSettings] = {}
    chosen = []
    for years in assignment.tuning:
        key = (years.weather, id(years.load) if isinstance(years.load, np.ndarray) else years.load)
        if key not in found:
            assignment.report(f"searching the best static setting: {years.weather}, {years.load}")
            found[key] = search_static(years, settings).best
        chosen.append(found[key])
    return FixedSetPoints(chosen, "best static")


def fixed(supply_air_degc: float, _: Assignment) -> FixedSetPoints:
    """That supply air, everything else as sites are run before an episode."""
    return FixedSetPoints(FixedSettings(supply_air_degc=supply_air_degc))


def _outdoor_reset(assignment: Assignment) -> Controller:
    return _with_economiser(Resets(ResetSettings.for_design(assignment.envs.design)), assignment)


def _trim_and_respond(assignment: Assignment) -> Controller:
    settings = TrimAndRespondSettings.for_design(assignment.envs.design)
    return _with_economiser(TrimAndRespond(settings), assignment)


def _pid(assignment: Assignment) -> Controller:
    return _with_economiser(PID(PIDSettings.for_design(assignment.envs.design)), assignment)


def _economiser(assignment: Assignment) -> Controller:
    return EconomiserRule(fixed(20.0, assignment), assignment.envs.design)


def _with_economiser(controller: Controller, assignment: Assignment) -> Controller:
    """An economiser that a site has is used: without it, nothing could be learnt from losing."""
    design = assignment.envs.design
    if not design.has_economiser:
        return controller
    return EconomiserRule(controller, design, name=controller.name)


def _linear_mpc(assignment: Assignment) -> LinearMPC:
    return LinearMPC(assignment.envs.design, assignment.envs.config.ranges)


def _cross_entropy(assignment: Assignment) -> CrossEntropy:
    return CrossEntropy(assignment.envs, assignment.rows)


LINE_UP: Mapping[str, Build] = MappingProxyType(
    {
        "fixed 20": partial(fixed, 20.0),
        "fixed 23": partial(fixed, 23.0),
        "fixed 27": partial(fixed, 27.0),
        "best static": best_static,
        "outdoor reset": _outdoor_reset,
        "trim and respond": _trim_and_respond,
        "PID": _pid,
        "rule-based economiser": _economiser,
        "linear MPC": _linear_mpc,
        "CEM": _cross_entropy,
    }
)
"""Every controller by name, in the order of tables; all can be pickled."""

NEEDS_PLANT = frozenset({"CEM"})
"""Those that look into the NumPy plant, and cannot run where EnergyPlus is the engine."""
