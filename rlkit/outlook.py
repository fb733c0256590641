"""What a policy makes of an observation, beside the action that it takes: values, and how likely
each action is.

A policy tells by methods that it may or may not have, so that any kind, of any library, can be
asked: `outlook`, which answers for itself; `q_values` of value-based ones, with `outlook_map` of
those that rate places; `unroll` and `values` of actor-critics. With memory they take the recurrent
state after the observations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlkit_agents.memory import State
from rlkit_agents.policy import Policy


@dataclass(frozen=True, slots=True)
class Outlook:
    """As far as the policy tells; None for the rest.

    q_values: (actions,) expected return of each action. value: expected return as a critic says.
    probabilities: (actions,) of being drawn. gaussian: means and standard deviations, (components,)
    each, that a continuous action is drawn with, before it is clipped to its bounds. chances:
    (stances, rows, columns) of success at each place, whatever else speaks against acting there.
    """

    q_values: np.ndarray | None = None
    value: float | None = None
    probabilities: np.ndarray | None = None
    gaussian: tuple[np.ndarray, np.ndarray] | None = None
    chances: np.ndarray | None = None

    @property
    def preferences(self) -> np.ndarray | None:
        """(actions,) higher for what the policy would rather do; None where it does not tell."""
        return self.probabilities if self.q_values is None else self.q_values


def outlook_of(policy: Policy, observations: Tensor, state: State) -> Outlook:
    """What `policy` makes of one observation (1, *observation_shape) that follows on `state`.

    Computes as `policy.act` does, so that a greedy action is the one with the highest number here.
    """
    told: Any = policy
    if hasattr(policy, "outlook"):
        return told.outlook(observations, state)
    if hasattr(policy, "q_values"):
        past = () if state is None else (state,)  # only policies with memory know a state
        places = hasattr(policy, "outlook_map")
        return Outlook(
            q_values=as_array(told.q_values(observations, *past)),
            chances=as_array(told.outlook_map(observations)) if places else None,
        )
    if hasattr(policy, "unroll") and hasattr(policy, "values"):
        outputs, values, _ = told.unroll(observations.unsqueeze(0), state)
        value = float(values)
        if isinstance(policy.action_space, gym.spaces.Discrete):
            return Outlook(value=value, probabilities=as_array(torch.softmax(outputs[0], -1)))
        deviations = told.network.log_standard_deviation.exp().unsqueeze(0)
        return Outlook(value=value, gaussian=(as_array(outputs[0]), as_array(deviations)))
    return Outlook()


def as_array(of_one: Tensor) -> np.ndarray:
    """(1, n), of any type, on any device, as (n,) float32."""
    return of_one[0].detach().float().cpu().numpy()
