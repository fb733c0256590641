"""Measures a policy over whole episodes, under a stated protocol."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from rlkit.environments import Environment, describe, environment_id, make_envs
from rlkit.statistics import ReturnSummary, summarise_returns
from rlkit_agents.memory import State
from rlkit_agents.policy import Policy


class SpaceMismatchError(ValueError):
    """A policy made for other observations or actions than the environment's."""


class EvaluationStopped(Exception):
    """The evaluation was asked to stop before its last episode."""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation, with everything needed to compare it with another.

    returns: one a episode, in the order of the environments' seeds. lengths: steps a episode.
    counts: what the environment counts, name to one value an episode.
    """

    returns: list[float]
    lengths: list[int]
    counts: dict[str, list[float]]
    units: dict[str, str]
    summary: ReturnSummary
    protocol: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data with returns, statistics, metrics by name and unit, and protocol."""
        metrics = {
            name: {"mean": float(np.mean(values)), "unit": self.units.get(name, "per episode")}
            for name, values in self.counts.items()
        }
        metrics["length"] = {"mean": float(np.mean(self.lengths)), "unit": "steps per episode"}
        return {
            "returns": self.returns,
            **self.summary.to_json(),
            "metrics": metrics,
            "lengths": self.lengths,
            "counts": self.counts,
            "protocol": self.protocol,
        }


def evaluate(
    policy: Policy,
    environment: Environment,
    episodes: int = 100,
    *,
    seed: int = 0,
    deterministic: bool = True,
    num_envs: int = 25,
    threads: int = 0,
    corruption: str | None = None,
    on_episode: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Evaluation:
    """Play `episodes` whole episodes, in batches, all random numbers drawn from `seed`.

    Each environment plays a fixed share of the episodes, so that short episodes are not
    preferred. corruption: of what is seen, by name; see `rlkit.corruptions`, which needs an Atari
    game. on_episode is called with the number of episodes done and the last return; stop is
    asked before each step whether to give up.
    Raises CorruptionError for a corruption that is none, or of another environment,
    SpaceMismatchError where the policy's spaces are not the environment's, EvaluationStopped
    where `stop` said so.
    """
    if episodes < 1:
        raise ValueError(f"an evaluation needs at least one episode, got {episodes}")
    num_envs = min(num_envs, episodes)
    with ExitStack() as stack:
        envs = _made(environment, corruption, num_envs, threads)
        stack.callback(envs.close)
        if not deterministic:
            stack.enter_context(torch.random.fork_rng())
            torch.manual_seed(seed)
        check_spaces(policy, envs.single_observation_space, envs.single_action_space)
        share = np.full(num_envs, episodes // num_envs)
        share[: episodes % num_envs] += 1
        returns: list[list[float]] = [[] for _ in range(num_envs)]
        lengths: list[list[int]] = [[] for _ in range(num_envs)]
        counts: dict[str, list[list[float]]] = {}
        stack.callback(policy.train, policy.training)
        policy.eval()
        observations, _ = envs.reset(seed=seed)
        state: State = None
        ended = np.zeros(num_envs, bool)
        running_return, running_length = np.zeros(num_envs), np.zeros(num_envs, np.int64)
        done = 0
        while done < episodes:
            if stop is not None and stop():
                raise EvaluationStopped(f"stopped after {done} of {episodes} episodes")
            with torch.inference_mode():
                tensor = torch.from_numpy(np.ascontiguousarray(observations)).to(policy.device)
                actions, state = policy.act(tensor, state, deterministic)
            if ended.any():  # these were shown their last observation; the first of the next comes
                state = policy.forget(state, torch.from_numpy(ended).to(policy.device))
            observations, rewards, terminated, truncated, info = envs.step(actions.cpu().numpy())
            running_return += rewards
            running_length += ~ended
            ended = terminated | truncated
            for env in np.flatnonzero(ended):
                if len(returns[env]) < share[env]:
                    returns[env].append(float(running_return[env]))
                    lengths[env].append(int(running_length[env]))
                    for name, values in info.get("episode_counts", {}).items():
                        counts.setdefault(name, [[] for _ in range(num_envs)])
                        counts[name][env].append(float(values[env]))
                    done += 1
                    if on_episode is not None:
                        on_episode(done, returns[env][-1])
            running_return[ended] = 0
            running_length[ended] = 0
        flat = [value for values in returns for value in values]
        return Evaluation(
            returns=flat,
            lengths=[value for values in lengths for value in values],
            counts={n: [v for values in by_env for v in values] for n, by_env in counts.items()},
            units=dict(envs.metadata.get("episode_counts", {})),
            summary=summarise_returns(flat, environment=environment_id(environment)),
            protocol={
                **describe(environment),
                "episodes": episodes,
                "seed": seed,
                "num_envs": num_envs,
                "deterministic": deterministic,
                "epsilon": 0.0 if deterministic else getattr(policy, "epsilon", None),
                **({} if corruption is None else {"corruption": corruption}),
            },
        )


def _made(
    environment: Environment, corruption: str | None, num_envs: int, threads: int
) -> VectorEnv:
    if corruption is None:
        return make_envs(environment, num_envs, threads)
    from rlkit.corruptions import make_corrupted_envs

    return make_corrupted_envs(environment, corruption, num_envs, threads)


def check_spaces(policy: Policy, observation_space: Any, action_space: Any) -> None:
    """Raise SpaceMismatchError where a policy does not fit an environment's single spaces."""
    for name, wanted, given in (
        ("observations", policy.observation_space, observation_space),
        ("actions", policy.action_space, action_space),
    ):
        if wanted != given:
            raise SpaceMismatchError(
                f"the policy was made for {name} {_one_line(wanted)}, "
                f"the environment has {_one_line(given)}"
            )


def _one_line(space: Any) -> str:
    """A space's description, in which long bounds would fill several lines."""
    return " ".join(str(space).split())
