"""Saves policies with all that is known about them, loads them, and finds what a user names."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch

from rlkit.configuration import from_json, to_json
from rlkit.edge.onnx_file import SUFFIXES
from rlkit.environments import (
    Environment,
    GymnasiumEnvironment,
    describe,
    preprocessing,
    seen_alike,
)
from rlkit.policy_file import (
    PolicyFileError,
    read_policy_file,
    space_from_json,
    space_to_json,
    write_policy_file,
)
from rlkit.recipes import RECIPES, find_recipe
from rlkit.run_folder import Run
from rlkit.sb3.config import POLICY as STABLE_BASELINES_POLICY
from rlkit_agents.building import build_policy
from rlkit_agents.policy import Policy
from rlkit_envs.atari import AtariProtocol


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy from a file, with the world that it is to play in and the file's whole header.

    Of an archive of Stable-Baselines3, the header holds architecture, provenance and sha256.
    """

    policy: Policy
    environment: Environment
    header: dict[str, Any]
    path: Path

    def describe(self) -> dict[str, Any]:
        """Plain JSON data on which policy it is and how it came about."""
        return {
            "path": str(self.path),
            "sha256": self.header["sha256"],
            "architecture": self.header["architecture"],
            "provenance": self.header["provenance"],
        }


def save_policy(
    policy: Policy, path: Path, environment: Environment, provenance: dict[str, Any]
) -> None:
    """Write `policy` to a safetensors file that `load_policy` reads, replacing it as a whole.

    provenance: plain JSON data on how it was trained. Raises OSError where writing fails.
    """
    header = {
        "architecture": policy.architecture,
        "spaces": {
            "observation": space_to_json(policy.observation_space),
            "action": space_to_json(policy.action_space),
        },
        "environment": to_json(environment, Environment),
        "preprocessing": preprocessing(environment),
        "protocol": describe(environment),
        "provenance": provenance,
    }
    write_policy_file(path, header, policy.state_dict())


def load_policy(
    path: Path,
    device: torch.device | str = "cpu",
    *,
    on: Environment | None = None,
    trust: bool = False,
) -> LoadedPolicy:
    """Read a policy from one of our files, also deployed ones (.onnx), or from an archive that
    Stable-Baselines3 saved.

    on: the world to play in, by default the one it was trained in, which an archive does not know.
    How an Atari game is seen is up to the policy. trust: read an archive's pickles, which can run
    any code; our own files hold none.
    Raises PolicyFileError where the file holds no policy, is damaged, or is too new, and for an
    archive without `on` and `trust`.
    """
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return _load_archive(path, device, on, trust)
    if path.name.lower().endswith(SUFFIXES):
        from rlkit.edge.policy import open_deployed

        header, policy = open_deployed(path)
    else:
        header, tensors = read_policy_file(path)
        with _blaming(path):
            policy = _build(
                header["architecture"],
                space_from_json(header["spaces"]["observation"]),
                space_from_json(header["spaces"]["action"]),
            )
            policy.load_state_dict(tensors)
    with _blaming(path):
        environment = from_json(header["environment"], Environment)  # pyright: ignore[reportArgumentType]
    if on is not None:
        environment = seen_alike(environment, on)
    return LoadedPolicy(policy.to(device).eval(), environment, header, path)


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turn what fails in a header, or in building from it, into a PolicyFileError."""
    try:
        yield
    except KeyError as error:
        raise PolicyFileError(f"{path} does not hold a whole policy: {error} is missing") from error
    except (AttributeError, ImportError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PolicyFileError(
            f"{path} does not hold a policy that rlkit can build: {reason}"
        ) from error


def _load_archive(
    path: Path, device: torch.device | str, on: Environment | None, trust: bool
) -> LoadedPolicy:
    from rlkit.sb3.archive import open_archive, trusted_policy

    archive = open_archive(path)
    if not trust:
        raise PolicyFileError(
            f"{path}: an archive of Stable-Baselines3 holds pickles, and loading it can run any "
            "code that is in it; if you trust who made it, add --trust --on ENVIRONMENT"
        )
    if on is None:
        raise PolicyFileError(
            f"{path}: an archive does not say which environment its policy is for; add "
            "--on ENVIRONMENT, such as --on CartPole-v1"
        )
    policy, environment, header = trusted_policy(archive, on)
    return LoadedPolicy(policy.to(device).eval(), environment, header, path)


def _build(architecture: Any, observation_space: gym.Space, action_space: gym.Space) -> Policy:
    if architecture.get("policy") == STABLE_BASELINES_POLICY:
        from rlkit.sb3 import policy

        return policy.build(architecture, observation_space, action_space)
    return build_policy(architecture, observation_space, action_space)


def find_policy(name: str) -> Path:
    """The policy file that a recipe's name, a run folder or a file stands for.

    A recipe stands for the policy that ships with it, a run for its best. A recipe's name always
    means the recipe; a folder or file of that name in the current folder is reached as `./name`.
    Raises ValueError where there is none, RunError for a folder that is no run.
    """
    path = Path(name)
    if name in RECIPES:
        shipped = Path(str(resources.files("rlkit_agents"))) / "policies" / f"{name}.safetensors"
        if shipped.is_file():
            return shipped
        here = f" (what lies here is ./{name})" if path.exists() else ""
        raise ValueError(
            f"no policy ships with recipe {name!r}{here}; train one: rlkit train {name}"
        )
    if path.is_dir():
        run = Run.open(path)
        for file in (run.policies / "best.safetensors", run.policies / "last.safetensors"):
            if file.is_file():
                return file
        raise ValueError(f"{name} has no saved policy yet")
    if path.is_file():
        return path
    raise ValueError(f"{name!r} is no run folder, no policy file and no recipe")


def find_environment(name: str) -> Environment:
    """The world that a recipe, a run folder or a registered id such as `CartPole-v1` stands for.

    Raises ValueError where there is none, RunError for a folder that is no run.
    """
    if name in RECIPES:
        return find_recipe(name).environment
    if Path(name).is_dir():
        return Run.open(name).recipe().environment
    if name.startswith("ALE/"):
        return AtariProtocol(name)
    try:
        gym.spec(name)
    except (gym.error.Error, ImportError) as error:
        raise ValueError(f"{name!r} is no environment, no run folder and no recipe") from error
    return GymnasiumEnvironment(name)
