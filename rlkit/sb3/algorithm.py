"""An algorithm of Stable-Baselines3 or sb3-contrib, with what a run of rlkit needs of it.

The library owns the loop over steps, rollouts and gradient steps. Here it is built, asked what it
learnt, and saved: as tensors, arrays and numbers, so that it goes on bit for bit.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.type_aliases import TrainFreq
from stable_baselines3.common.vec_env import VecEnv

from rlkit.policy_file import space_to_json
from rlkit.sb3.config import StableBaselinesConfig
from rlkit.sb3.observations import seen_space, with_known_images
from rlkit.sb3.policy import StableBaselinesPolicy, wrapped
from rlkit.sb3.replay_rows import ReplayRows
from rlkit.sb3.settings import (
    algorithm_class,
    constructor_arguments,
    plain_policy_arguments,
    policy_alias,
)
from rlkit_agents.algorithm import NonFiniteGradientError

_COUNTERS = (
    "num_timesteps",
    "exploration_rate",
    "_current_progress_remaining",
    "_episode_num",
    "_n_calls",
    "_n_updates",
)
"""Attributes of a model, where it has them, that change while it learns."""

_METRICS: dict[str, tuple[str, float]] = {
    "approx_kl": ("approximate_kl", 1.0),
    "entropy_loss": ("entropy", -1.0),
    "exploration_rate": ("epsilon", 1.0),
    "policy_gradient_loss": ("policy_loss", 1.0),
}
"""The library's name of a number -> ours for the same, and what it is to be multiplied by."""


class StableBaselines:
    """Learns a `StableBaselinesPolicy`."""

    def __init__(
        self,
        config: StableBaselinesConfig,
        envs: VecEnv,
        *,
        schedule_steps: int,
        seed: int,
        device: str,
    ) -> None:
        """envs: environments as ours are seen. schedule_steps: environment steps over which
        schedules run. seed: of the process's random generators, which the library draws from.

        Raises ValueError where `config` does not fit the environments, ImportError without the
        library.
        """
        self.config = config
        self._schedule_steps = schedule_steps
        observation_space, action_space = envs.observation_space, envs.action_space
        _check_spaces(config.name, observation_space, action_space)
        if config.name.endswith(":MaskablePPO") and not envs.has_attr("action_masks"):
            raise ValueError(
                f"{config.name} needs environments with a method action_masks() -> bool for each "
                "action; these have none"
            )
        alias = policy_alias(config, seen_space(observation_space))
        self.model = _built(config, alias, with_known_images(envs), action_space, seed, device)
        frequency = getattr(self.model, "train_freq", None)
        by_episodes = isinstance(frequency, TrainFreq) and frequency.unit.value == "episode"
        if by_episodes and envs.num_envs > 1:
            raise ValueError(
                f"{config.name} counts train_freq in episodes of one environment only, got "
                f"num_envs {envs.num_envs}"
            )
        # The library would read the progress off a budget of steps, which it does not know here.
        self.model._update_current_progress_remaining = self._follow_schedules
        self._logger = Logger(None, [])
        self.model.set_logger(self._logger)
        self.policy: StableBaselinesPolicy = wrapped(
            observation_space,
            action_space,
            self.model.policy,
            {
                "algorithm": config.name,
                "network": alias,
                "arguments": plain_policy_arguments(_policy_arguments(self.model)),
            },
        )
        # While steps are taken, which is when others look, the library's networks do not train.
        self.policy.eval()
        buffer = getattr(self.model, "replay_buffer", None)
        self.replay = None if buffer is None else ReplayRows(buffer)
        self.updates = 0
        """Gradient steps taken, of the critic where an actor has an optimiser of its own."""
        optimizers = {name: self._part(name) for name in self._state_names if "optimizer" in name}
        main = optimizers.get("critic.optimizer", optimizers.get("policy.optimizer"))
        if main is not None:
            main.register_step_post_hook(self._count_update)

    @property
    def evaluated_policy(self) -> StableBaselinesPolicy:
        """As `Algorithm.evaluated_policy`."""
        return self.policy

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def rollout_steps(self) -> int | None:
        """Environment steps before the first gradient step of an on-policy algorithm."""
        if not isinstance(self.model, OnPolicyAlgorithm):
            return None
        return self.model.n_steps * self.model.n_envs

    def learn(self, callback: BaseCallback) -> None:
        """Step and learn until `callback` or an environment raises an exception."""
        never: Any = None
        self.model.learn(
            sys.maxsize, callback=callback, log_interval=never, reset_num_timesteps=False
        )

    def count_steps(self, steps: int) -> None:
        """All transitions of `steps` environment steps have been handed over.

        The library's own count is corrected: it counts steps of ARS once for each environment.
        """
        self.model.num_timesteps = steps
        if self.replay is not None:
            self.replay.rows_written = steps // self.model.n_envs

    def cut(self) -> None:
        """Break the running episodes off: the next step belongs to new ones."""
        # Makes the library reset them; with that it also forgets noise and recurrent states.
        self.model._last_obs = None
        if self.replay is not None:
            self.replay.cut()

    def take_metrics(self) -> dict[str, float]:
        """What the gradient steps since the last call measured; nothing where there were none.

        Raises NonFiniteGradientError where a loss is not finite.
        """
        recorded = dict(self._logger.name_to_value)
        if not any(name.startswith("train/") for name in recorded):
            return {}
        self._logger.name_to_value.clear()
        metrics: dict[str, float] = {}
        for tag, value in recorded.items():
            name = tag.rsplit("/", 1)[-1]
            ours, factor = _METRICS.get(name, (name, 1.0))
            if np.ndim(value) == 0:
                metrics[ours] = factor * float(value)
        metrics.pop("n_updates", None)  # rounds through a rollout, with some algorithms
        if "iterations" in metrics:  # ARS has no optimiser that could count
            self.updates = int(metrics.pop("iterations")) + 1
        for name, value in metrics.items():
            if "loss" in name and not math.isfinite(value):
                raise NonFiniteGradientError(
                    f"not a finite number in the {name.replace('_', ' ')} at update "
                    f"{self.updates}, environment step {self.model.num_timesteps}"
                )
        metrics["updates"] = float(self.updates)
        if self.replay is not None:
            metrics["replay_size"] = float(len(self.replay))
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Everything but the rows of `replay`, right after a `cut`."""
        state: dict[str, Any] = {
            "modules": self.model.get_parameters(),
            "variables": {name: self._part(name) for name in self._variable_names},
            "counters": {name: getattr(self.model, name) for name in self._counter_names},
            "updates": self.updates,
            "numpy_random": np.random.get_state(legacy=False),  # noqa: NPY002 (the library's)
            "action_random": self.model.action_space.np_random.bit_generator.state,
        }
        if self.replay is not None:
            state["replay"] = self.replay.state_dict()
        if self.device.type == "cuda":
            state["cuda_random"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, on environments about to start afresh.

        Raises KeyError, ValueError or RuntimeError where it is of another configuration.
        """
        self.model.set_parameters(state["modules"], device=self.device)
        with torch.no_grad():
            for name in self._variable_names:
                self._part(name).copy_(state["variables"][name])
        if hasattr(self.model, "weights"):  # ARS moves these, and its policy follows
            vector = torch.nn.utils.parameters_to_vector(self.model.policy.parameters())
            self.model.weights = vector.detach()  # pyright: ignore[reportAttributeAccessIssue]
        for name in self._counter_names:
            setattr(self.model, name, state["counters"][name])
        self.updates = int(state["updates"])
        np.random.set_state(state["numpy_random"])  # noqa: NPY002
        self.model.action_space.np_random.bit_generator.state = state["action_random"]
        if self.replay is not None:
            self.replay.load_state_dict(state["replay"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_random"], self.device)

    @property
    def _state_names(self) -> list[str]:
        return self.model._get_torch_save_params()[0]

    @property
    def _variable_names(self) -> list[str]:
        return self.model._get_torch_save_params()[1]

    @property
    def _counter_names(self) -> list[str]:
        return [name for name in _COUNTERS if hasattr(self.model, name)]

    def _part(self, name: str) -> Any:
        return recursive_getattr(self.model, name)

    def _count_update(self, *_: Any) -> None:
        self.updates += 1

    def _follow_schedules(self, num_timesteps: int, total_timesteps: int) -> None:
        done = self.model.num_timesteps / self._schedule_steps
        self.model._current_progress_remaining = max(0.0, 1.0 - done)


class Watcher(BaseCallback):
    """Tells where the library's loop stands: `at_rollout` before each rollout, `after_rollout`."""

    def __init__(self, at_rollout: Callable[[], None], after_rollout: Callable[[], None]) -> None:
        super().__init__()
        self._at_rollout, self._after_rollout = at_rollout, after_rollout

    def _on_rollout_start(self) -> None:
        self._at_rollout()

    def _on_rollout_end(self) -> None:
        self._after_rollout()

    def _on_step(self) -> bool:
        return True


def _built(
    config: StableBaselinesConfig,
    alias: str,
    envs: VecEnv,
    action_space: gym.Space,
    seed: int,
    device: str,
) -> BaseAlgorithm:
    arguments = constructor_arguments(config, action_space)
    try:
        return algorithm_class(config.name)(alias, envs, seed=seed, device=device, **arguments)  # pyright: ignore[reportCallIssue]
    except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        # "only supports Box", where the library writes <class 'gymnasium.spaces.box.Box'>.
        reason = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", " ".join(str(error).split()))
        raise ValueError(f"{config.name} with these settings: {reason}") from error


def _check_spaces(name: str, observation_space: gym.Space, action_space: gym.Space) -> None:
    for space in (observation_space, action_space):
        space_to_json(space)  # else its policy could not be saved
    if isinstance(action_space, gym.spaces.Discrete) and action_space.start != 0:
        raise ValueError(f"{name} needs actions that count from 0, got {action_space}")


def _policy_arguments(model: BaseAlgorithm) -> dict[str, Any]:
    """What the network was built with, besides spaces and schedule."""
    return {**model.policy_kwargs, **({"use_sde": True} if model.use_sde else {})}
