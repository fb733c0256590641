"""Archives that the libraries' own `model.save` writes, as policies of rlkit.

An archive holds pickles, and a pickle can hold any code. Only those that are needed are read, the
network's class and arguments, and only for a user who trusts them. Observations that a
`VecNormalize` scaled are not scaled here: its numbers are not in the archive.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from rlkit.environments import Environment, make_envs
from rlkit.extras import installing
from rlkit.policy_file import PolicyFileError, space_to_json
from rlkit.reasons import reason_of
from rlkit.sb3.config import ALGORITHMS
from rlkit.sb3.observations import seen_space
from rlkit.sb3.policy import StableBaselinesPolicy, build_network, wrapped
from rlkit.sb3.settings import algorithm_class, plain_policy_arguments
from rlkit_envs.atari import AtariProtocol

_ATARI_ACTIONS = 18


@dataclass(frozen=True)
class Archive:
    """What stands in an archive, as bytes and JSON: no pickle has been read yet."""

    path: Path
    settings: Mapping[str, Any]
    """The algorithm's attributes; those that JSON cannot hold are pickles in text."""
    weights: bytes
    """The policy's, as PyTorch wrote them."""
    sha256: str
    """Of the whole file."""

    def extent(self, space: str) -> int | tuple[int, ...] | None:
        """Of "observation_space", as the network takes it, or "action_space": the number of values
        to choose from where it is Discrete, else the shape; None where it does not say."""
        beside_pickle = self.settings.get(space)
        if not isinstance(beside_pickle, dict):
            return None
        number, shape = str(beside_pickle.get("n")), beside_pickle.get("_shape")
        if number.isdecimal():
            return int(number)
        return tuple(shape) if isinstance(shape, list) else None


def open_archive(path: Path) -> Archive:
    """Read an archive without running anything from it.

    Raises PolicyFileError where the file cannot be read, is damaged, or is another zip file.
    """
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            missing = {"data", "policy.pth"} - set(file.namelist())
            if missing:  # so it looks when cut short, too: weights are archives in the archive
                raise ValueError(f"no {' and no '.join(sorted(missing))} in it")
            settings, weights = json.loads(file.read("data")), file.read("policy.pth")
    except OSError as error:
        raise PolicyFileError(f"{path}: cannot be read: {reason_of(error)}") from error
    except (EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise PolicyFileError(
            f"{path}: damaged, or no archive of Stable-Baselines3 ({reason_of(error)})"
        ) from error
    if not isinstance(settings, dict):
        raise PolicyFileError(f"{path}: damaged: its data are no JSON object")
    return Archive(path, settings, weights, hashlib.sha256(content).hexdigest())


def trusted_policy(
    archive: Archive, environment: Environment
) -> tuple[StableBaselinesPolicy, Environment, dict[str, Any]]:
    """The policy in an archive; its pickles, which can hold any code, are read.

    environment: the world to play in. The archive decides how an Atari game is seen.
    Returns policy, environment, and what a policy file's header would say of architecture and
    provenance. Raises PolicyFileError where there is no policy in it that rlkit can build for this
    environment.
    """
    try:
        environment = _as_seen(environment, archive)
        envs = make_envs(environment, 1)
        observation_space, action_space = envs.single_observation_space, envs.single_action_space
        envs.close()
        for space in (observation_space, action_space):
            space_to_json(space)  # else none of our policies can have it
        shown = seen_space(observation_space)
        for name, space in (("observation_space", shown), ("action_space", action_space)):
            found, wanted = _extent(space), archive.extent(name)
            if wanted not in (None, found):
                raise ValueError(
                    f"its policy was made for an {name.replace('_', ' ')} of {wanted}, the "
                    f"environment has {found}"
                )
        network_class, arguments = _unpickled_network(archive)
        algorithm, alias = _name(network_class, archive)
        network = build_network(network_class, shown, action_space, arguments)
        description = {
            "algorithm": algorithm,
            "network": alias,
            # Classes of others are named; only the archive itself can bring them back.
            "arguments": json.loads(json.dumps(plain_policy_arguments(arguments), default=str)),
        }
        policy = wrapped(observation_space, action_space, network, description)
        policy.load_state_dict({f"network.{n}": w for n, w in _weights(archive).items()})
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PolicyFileError(f"{archive.path}: cannot be used: {reason}") from error
    header = {
        "architecture": policy.architecture,
        "provenance": {
            "steps": archive.settings.get("num_timesteps"),
            "seed": archive.settings.get("seed"),
        },
        "sha256": archive.sha256,
    }
    return policy, environment, header


def _as_seen(environment: Environment, archive: Archive) -> Environment:
    """An Atari game with the pictures and actions that the archive's policy was made for.

    Three channels are taken for one frame in colour; they could be three grey ones.
    """
    shape = archive.extent("observation_space")
    if not (
        isinstance(environment, AtariProtocol) and isinstance(shape, tuple) and len(shape) == 3
    ):
        return environment
    channels, height, width = shape
    in_colour = channels % 3 == 0
    return replace(
        environment,
        frame_stack=channels // 3 if in_colour else channels,
        height=height,
        width=width,
        grayscale=not in_colour,
        full_action_space=archive.extent("action_space") == _ATARI_ACTIONS,
    )


def _extent(space: gym.Space) -> int | tuple[int, ...] | None:
    return int(space.n) if isinstance(space, gym.spaces.Discrete) else space.shape


def _unpickled_network(archive: Archive) -> tuple[type[BasePolicy], dict[str, Any]]:
    """The network's class and its arguments. Raises ValueError where they cannot be read."""
    values = {}
    for name in ("policy_class", "policy_kwargs"):
        value = archive.settings.get(name)
        if isinstance(value, dict) and ":serialized:" in value:
            try:
                value = pickle.loads(base64.b64decode(value[":serialized:"]))
            except Exception as error:  # a pickle may raise anything
                raise ValueError(f"its {name} cannot be read: {_reason(error)}") from error
        values[name] = value
    network_class, arguments = values["policy_class"], dict(values["policy_kwargs"] or {})
    if not (isinstance(network_class, type) and issubclass(network_class, BasePolicy)):
        raise ValueError(f"its policy_class is no network of the library: {network_class!r}")
    arguments.pop("device", None)
    if archive.settings.get("use_sde"):
        arguments.setdefault("use_sde", True)
    return network_class, arguments


def _name(network_class: type[BasePolicy], archive: Archive) -> tuple[str, str]:
    """The algorithm that the archive is of, as far as can be told, and its name of the network.

    Of algorithms with the same network it is the one most of whose arguments stand there.
    """
    found: dict[tuple[str, str], int] = {}
    for algorithm in ALGORITHMS:
        try:
            kind = algorithm_class(algorithm)
        except ImportError:
            continue  # then the archive is of the other library
        arguments = inspect.signature(kind).parameters
        there = sum(1 if name in archive.settings else -1 for name in arguments)
        for alias, known in kind.policy_aliases.items():
            if known is network_class:
                found[algorithm, alias] = there
    if not found:
        raise ValueError(
            f"no algorithm of Stable-Baselines3 has its network {network_class.__name__}"
        )
    return max(found, key=lambda name: found[name])


def _weights(archive: Archive) -> dict[str, Tensor]:
    try:
        weights = torch.load(io.BytesIO(archive.weights), map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch promises none in particular for what is damaged
        raise ValueError(f"its weights cannot be read: {reason_of(error)}") from error
    if not isinstance(weights, dict):
        raise ValueError("its weights are no table of tensors")
    return weights


def _reason(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("sb3_contrib"):
        return f"it is of sb3-contrib: {installing('sb3-contrib')}"
    return reason_of(error)
