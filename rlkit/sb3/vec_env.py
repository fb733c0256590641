"""Shows any Gymnasium vector environment to Stable-Baselines3, as one of its own.

The two differ at the end of an episode. Stable-Baselines3 wants the first observation of the next
episode in the very step that ends one, with the final observation in `info` (Gymnasium calls that
SAME_STEP). A NEXT_STEP environment needs a further step, whose action it ignores and which no
learner may see; here it is spared that step by resetting what has ended, and only that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)


def can_reset_partially(envs: VectorEnv) -> bool:
    """Whether `envs`, under NEXT_STEP autoreset, can reset some environments between two steps.

    So can Gymnasium's `SyncVectorEnv` and `AsyncVectorEnv` (with shared memory: without it, a
    process forgets that it was reset), ale-py's `AtariVectorEnv`, everything that says so by
    `metadata["partial_resets"]`, and an environment that is alone.
    """
    inner = envs.unwrapped
    if isinstance(inner, AsyncVectorEnv):
        return bool(inner.shared_memory)
    return (
        isinstance(inner, SyncVectorEnv)
        or type(inner).__module__ == "ale_py.vector_env"
        or bool(envs.metadata.get("partial_resets"))
        or envs.num_envs == 1
    )


class VectorEnvAsVecEnv(VecEnv):
    """`envs` behind Stable-Baselines3's interface.

    Observations, rewards and ends are those of `envs`, without reset steps. `info["episode"]` holds
    return ("r"), length ("l") and seconds ("t") where an episode ended, as from a `Monitor`, and
    `env_is_wrapped` says so. Attributes and methods are those of the single environments where
    `envs` has such (`SyncVectorEnv`, `AsyncVectorEnv`), else those of `envs`, whose methods are to
    return one value for each environment.

    Raises ValueError for a NEXT_STEP environment that cannot reset some of its environments, and
    for one that steps only a part of them at a time.
    """

    def __init__(self, envs: VectorEnv) -> None:
        mode = AutoresetMode(envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        if mode is AutoresetMode.NEXT_STEP and not can_reset_partially(envs):
            raise ValueError(
                f"{envs} resets an environment in the step after an episode's end (NEXT_STEP) and "
                "cannot reset one between steps, so that Stable-Baselines3 would learn from reset "
                "steps; use autoreset mode SAME_STEP or DISABLED, or gymnasium.make_vec(..., "
                "vectorization_mode='sync')"
            )
        if getattr(envs.unwrapped, "batch_size", envs.num_envs) != envs.num_envs:
            raise ValueError(f"{envs} steps a part of its environments; a VecEnv steps all at once")
        self.envs = envs
        self._listed = DictInfoToList(envs)
        self._resets_itself = mode is AutoresetMode.SAME_STEP
        self._per_environment = isinstance(envs.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        self._seed: int | None = None
        self._actions: np.ndarray | None = None
        self._seen: Any = None
        self._begun = time.perf_counter()
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, np.int64)
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Start the next `reset` from `seed`; an environment's own seed is up to `envs`."""
        seeds = super().seed(seed)
        self._seed = seeds[0]
        return seeds

    def set_options(self, options: list[dict] | dict | None = None) -> None:
        """Pass `options` to the next `reset`. Raises ValueError where environments' ones differ."""
        if isinstance(options, list):
            if any(option != options[0] for option in options):
                raise ValueError("a vector environment resets all environments with one option")
            options = options[0] if options else None
        super().set_options(options)

    def reset(self) -> VecEnvObs:
        """Start a new episode everywhere."""
        observations, infos = self._listed.reset(seed=self._seed, options=self._options[0] or None)
        self.reset_infos = infos
        self._seed = None
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        self._seen = observations
        # An environment that writes into one array shows itself only in its second.
        return _copied(observations)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        assert self._actions is not None, "step_async comes before step_wait"
        observations, rewards, terminated, truncated, infos = self._listed.step(self._actions)
        self._actions = None
        dones = terminated | truncated
        # A copy: on-policy algorithms add to the rewards.
        rewards = np.array(rewards, np.float32)
        self._returns += rewards
        self._lengths += 1
        if dones.any():
            if self._resets_itself:
                infos = self._separated(infos, dones)
            else:
                observations = self._reset_ended(observations, dones, infos)
            for env in np.flatnonzero(dones):
                infos[env]["episode"] = {
                    "r": float(self._returns[env]),
                    "l": int(self._lengths[env]),
                    "t": time.perf_counter() - self._begun,
                }
            self._returns[dones] = 0
            self._lengths[dones] = 0
        for info, cut_short in zip(infos, truncated & ~terminated, strict=True):
            info["TimeLimit.truncated"] = bool(cut_short)
        reused = _share_memory(observations, self._seen)
        self._seen = observations
        return (_copied(observations) if reused else observations), rewards, dones, infos

    def _separated(self, infos: list[dict[str, Any]], dones: np.ndarray) -> list[dict[str, Any]]:
        """The last step's `info` where an episode ended; the reset's goes to `reset_infos`."""
        separated = []
        for env, info in enumerate(infos):
            # Final observations may come in one array for all environments.
            final, last = info.pop("final_obs", None), info.pop("final_info", {})
            if dones[env]:
                self.reset_infos[env] = info
                info = {**last, "terminal_observation": _copied(final)}
            separated.append(info)
        return separated

    def _reset_ended(self, final: Any, dones: np.ndarray, infos: list[dict[str, Any]]) -> Any:
        for env in np.flatnonzero(dones):
            infos[env]["terminal_observation"] = _copied(_row(final, int(env)))
        options = None if dones.all() else {"reset_mask": dones.copy()}
        observations, reset_infos = self._listed.reset(options=options)
        for env in np.flatnonzero(dones):
            self.reset_infos[env] = reset_infos[env]
        return observations

    def close(self) -> None:
        self.envs.close()

    def has_attr(self, attr_name: str) -> bool:
        if self._per_environment:
            # Asking for what is not there would end the processes of an AsyncVectorEnv.
            return all(self._call("has_wrapper_attr", attr_name))
        return hasattr(self.envs, attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Raises AttributeError where there is none."""
        chosen = self._chosen(indices)
        if attr_name == "render_mode":
            return [self.envs.render_mode for _ in chosen]
        if not self.has_attr(attr_name):
            raise AttributeError(f"{self.envs} has no attribute {attr_name!r}")
        if self._per_environment:
            # Not the attribute's own name, by which a method would be called.
            values = self._call("get_wrapper_attr", attr_name)
            return [values[env] for env in chosen]
        value = getattr(self.envs, attr_name)
        return [value for _ in chosen]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raises ValueError where only a part of a natively vectorised environment is meant."""
        chosen = set(self._chosen(indices))
        whole = chosen == set(range(self.num_envs))
        if not self._per_environment:
            if not whole:
                raise ValueError(f"{self.envs} has one {attr_name!r} for all environments")
            setattr(self.envs.unwrapped, attr_name, value)
            return
        kept = [None] * self.num_envs if whole else self.get_attr(attr_name)
        values = [value if env in chosen else kept[env] for env in range(self.num_envs)]
        self.envs.unwrapped.set_attr(attr_name, values)  # pyright: ignore[reportAttributeAccessIssue]

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Raises ValueError where environments in other processes, or natively vectorised ones,
        cannot be called one by one."""
        chosen = self._chosen(indices)
        inner = self.envs.unwrapped
        if isinstance(inner, SyncVectorEnv):
            methods = [inner.envs[env].get_wrapper_attr(method_name) for env in chosen]
            return [method(*method_args, **method_kwargs) for method in methods]
        if sorted(chosen) != list(range(self.num_envs)):
            raise ValueError(f"{self.envs} can call {method_name!r} only in all environments")
        if not self.has_attr(method_name):
            raise AttributeError(f"{self.envs} has no method {method_name!r}")
        if self._per_environment:
            results = self._call(method_name, *method_args, **method_kwargs)
        else:
            results = getattr(self.envs, method_name)(*method_args, **method_kwargs)
            if not isinstance(results, Sequence | np.ndarray) or len(results) != self.num_envs:
                raise ValueError(f"{method_name!r} of {self.envs} must return a value for each one")
        return [results[env] for env in chosen]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """True for `Monitor`, whose work is done here; else known for a `SyncVectorEnv` only."""
        chosen = self._chosen(indices)
        inner = self.envs.unwrapped
        if issubclass(wrapper_class, Monitor):
            return [True for _ in chosen]
        if isinstance(inner, SyncVectorEnv):
            return [is_wrapped(inner.envs[env], wrapper_class) for env in chosen]
        return [False for _ in chosen]

    def get_images(self) -> Sequence[np.ndarray | None]:
        images = self.envs.render()
        return [None] * self.num_envs if images is None else [np.asarray(i) for i in images]

    def _chosen(self, indices: VecEnvIndices) -> list[int]:
        """Numbers of environments, counted from 0. Raises IndexError where there are fewer."""
        return [range(self.num_envs)[env] for env in self._get_indices(indices)]

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Sequence[Any]:
        return self.envs.unwrapped.call(name, *args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]


def _copied(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {key: np.array(part) for key, part in observations.items()}
    return np.array(observations)


def _row(observations: Any, env: int) -> Any:
    if isinstance(observations, dict):
        return {key: part[env] for key, part in observations.items()}
    return observations[env]


def _share_memory(observations: Any, others: Any) -> bool:
    if isinstance(observations, dict):
        return any(_share_memory(part, others[key]) for key, part in observations.items())
    return np.may_share_memory(observations, others)
