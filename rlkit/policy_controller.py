"""A policy as a controller of a data centre, beside those that data centres use today."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from rlkit.evaluation import SpaceMismatchError, check_spaces
from rlkit_agents.memory import State
from rlkit_agents.policy import Policy
from rlkit_envs.data_center.actions import ContinuousActions, DiscreteActions
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers.controller import Observed, TrackingController
from rlkit_envs.data_center.controllers.line_up import LINE_UP, Assignment, Build
from rlkit_envs.data_center.controllers.supervisor import Supervisor
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.observation import ObservationModel
from rlkit_envs.data_center.plant_state import PlantActions
from rlkit_envs.data_center.reward import cost_per_kwh
from rlkit_envs.data_center.sensors import Sensor

AGENT, SUPERVISED = "agent", "agent, supervised"


def agents(policy: Policy, site: DataCenterConfig, seed: int | None = None) -> dict[str, Build]:
    """How a policy, trained at `site`, is made controllers for `evaluate_data_center`, by name.

    By itself, and under a supervisor that falls back on the line-up's PID. seed: as
    `PolicyController` takes it.
    """
    return {
        AGENT: partial(_alone, policy, site, seed),
        SUPERVISED: partial(_supervised, policy, site, seed),
    }


def _alone(
    policy: Policy, site: DataCenterConfig, seed: int | None, assignment: Assignment
) -> PolicyController:
    return PolicyController(policy, site, assignment.envs, seed=seed)


def _supervised(
    policy: Policy, site: DataCenterConfig, seed: int | None, assignment: Assignment
) -> Supervisor:
    envs = assignment.envs
    agent = _alone(policy, site, seed, assignment)
    fallback = LINE_UP["PID"](assignment)
    assert isinstance(fallback, TrackingController)
    return Supervisor(agent, fallback, envs.design, envs.config.ranges, name=SUPERVISED)


class PolicyController:
    """A policy of any kind, with memory or without, that acts as in the world it was trained in.

    Its actions mean what they mean there, whatever those of the environment are that it runs in.
    """

    def __init__(
        self,
        policy: Policy,
        site: DataCenterConfig,
        envs: DataCenterEnvs,
        *,
        name: str = AGENT,
        seed: int | None = None,
    ) -> None:
        """site: the configuration of the environment that the policy was trained in. envs: those
        that it is to run in, some or all of them. seed: of a policy that acts at random as far as
        it does by itself; None takes its best action.

        Raises SpaceMismatchError where `envs` are another site or have other sensors, and where
        the policy's spaces are not those of `site`.
        """
        self._policy = policy
        self._name = name
        self._random = None if seed is None else torch.Generator().manual_seed(seed).get_state()
        design = site.design()
        if design != envs.design:
            raise SpaceMismatchError(
                f"the policy was made for the site {design.name!r}, but this is "
                f"{envs.design.name!r}" + (" of another design" * (design.name == envs.design.name))
            )
        model = ObservationModel(design, site.sensors, site.faults, cost_per_kwh(site.reward))
        _check_sensors(model.sensors, envs.sensors)
        self._actions = (
            DiscreteActions(design, site.levels)
            if site.discrete
            else ContinuousActions(design, site.ranges)
        )
        check_spaces(policy, model.space, self._actions.space)
        self._state: State = None
        self._starts: NDArray[np.bool_] | None = None

    @property
    def name(self) -> str:
        """For tables."""
        return self._name

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Forget what was remembered of these rows."""
        self._starts = rows.copy() if self._starts is None else self._starts | rows

    def act(self, observed: Observed) -> PlantActions:
        """The policy's set points; NaN where it gives numbers that are none."""
        policy = self._policy.eval()
        if self._starts is not None:
            starts = torch.from_numpy(self._starts).to(policy.device)
            self._state = policy.forget(self._state, starts)
            self._starts = None
        with torch.inference_mode(), self._own_random_numbers():
            scaled = torch.from_numpy(np.ascontiguousarray(observed.scaled)).to(policy.device)
            chosen, self._state = policy.act(scaled, self._state, self._random is None)
        actions = chosen.cpu().numpy()
        if actions.dtype.kind in "iu":
            return self._actions.to_plant(actions)
        sound = np.asarray(np.isfinite(actions).all(axis=1))
        told = self._actions.to_plant(actions, sound)
        # A number that is none must stay one, for whoever watches over the policy.
        return told._replace(supply_air_degc=np.where(sound, told.supply_air_degc, np.nan))

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Leaves PyTorch's as they are, and draws what an uninterrupted stream would."""
        if self._random is None:
            yield
            return
        with torch.random.fork_rng(devices=()):
            torch.set_rng_state(self._random)
            yield
            self._random = torch.get_rng_state()


def _check_sensors(wanted: tuple[Sensor, ...], given: tuple[Sensor, ...]) -> None:
    """Equal sensors in the same order, each with the same range."""
    meant, found = ([(s.name, s.low, s.high) for s in sensors] for sensors in (wanted, given))
    if meant == found:
        return
    odd = sorted({name for name, *_ in set(meant) ^ set(found)})
    what = ", ".join(odd) if odd else "their order"
    raise SpaceMismatchError(
        f"the policy was made for {len(meant)} sensors, this site has {len(found)}; "
        f"they differ in {what}"
    )
