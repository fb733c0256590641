"""Turns a configuration into the arguments that an algorithm of the library takes, by known names.

Nothing in a configuration or in a policy file names a class that is not in a table here.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import (
    ActionNoise,
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
)
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.common.utils import LinearSchedule
from torch import nn, optim

from rlkit.extras import installing
from rlkit.sb3.config import StableBaselinesConfig, check_name

_MODULES = {"sb3": "stable_baselines3", "sb3-contrib": "sb3_contrib"}

_OURS = {
    "learning_rate": "it is a field of its own (--algorithm.learning-rate)",
    "policy": "it is a field of its own (--algorithm.policy)",
    "seed": "the recipe has it (--seed)",
    "env": "the recipe has it",
    "device": "rlkit chooses it",
    "action_noise": "write noise_type and noise_std",
    "replay_buffer_class": "rlkit's checkpoints know the library's own buffers",
    "rollout_buffer_class": "rlkit's checkpoints know the library's own buffers",
    "tensorboard_log": "rlkit writes TensorBoard events itself",
    "stats_window_size": "rlkit writes TensorBoard events itself",
    "verbose": "rlkit shows progress itself",
    "_init_setup_model": "it is the library's own",
}
"""Arguments that are no settings, and why."""

_NOISES: dict[str, type[NormalActionNoise | OrnsteinUhlenbeckActionNoise]] = {
    "normal": NormalActionNoise,
    "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise,
}

_CLASSES: dict[str, dict[str, type]] = {
    "activation_fn": {
        "elu": nn.ELU,
        "gelu": nn.GELU,
        "leaky_relu": nn.LeakyReLU,
        "relu": nn.ReLU,
        "silu": nn.SiLU,
        "tanh": nn.Tanh,
    },
    "features_extractor_class": {"flatten": FlattenExtractor, "nature": NatureCNN},
    "optimizer_class": {
        "adam": optim.Adam,
        "adamw": optim.AdamW,
        "rmsprop": optim.RMSprop,
        "rmsprop_tf": RMSpropTFLike,
        "sgd": optim.SGD,
    },
}
"""Names for the classes that stand in `policy_kwargs`."""

_KINDS: dict[Any, tuple[str, tuple[Any, ...]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    bool: ("true or false", (bool,)),
    str: ("text", (str,)),
    tuple: ("a list", (list,)),
    dict: ("an object of names and values", (dict,)),
    Callable: ("like lin_0.1", (Callable,)),
    NoneType: ("null", (NoneType,)),
}
"""What an argument's annotation says -> the plain data for it, in words, and as `_kind` tells."""


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """The class of an algorithm in `rlkit.sb3.config.ALGORITHMS`.

    Raises ValueError for any other name, ImportError where its library is not installed.
    """
    check_name(name)
    library, algorithm = name.split(":")
    try:
        return getattr(import_module(_MODULES[library]), algorithm)
    except ModuleNotFoundError as error:
        if error.name != "sb3_contrib":
            raise
        raise ImportError(
            f"{name} needs the package sb3-contrib: {installing('sb3-contrib')}"
        ) from error


def default_learning_rate(name: str) -> float:
    """The library's own."""
    return inspect.signature(algorithm_class(name)).parameters["learning_rate"].default


def policy_alias(config: StableBaselinesConfig, observation_space: gym.Space) -> str:
    """The library's name of the network that `config` means for observations as the library sees.

    Raises ValueError where the algorithm has none of that name, or none for images.
    """
    known = list(algorithm_class(config.name).policy_aliases)
    if config.policy != "auto":
        if config.policy not in known:
            raise ValueError(
                f"{config.name} has no policy {config.policy!r}; it has {', '.join(known)}"
            )
        return config.policy
    kind = "Cnn" if is_image_space(observation_space) else "Mlp"
    fitting = [alias for alias in known if alias.startswith(kind)]
    if not fitting:
        raise ValueError(
            f"{config.name} has no network for images; it has {', '.join(known)} "
            "(--algorithm.policy)"
        )
    return fitting[0]


def constructor_arguments(config: StableBaselinesConfig, action_space: gym.Space) -> dict[str, Any]:
    """Keyword arguments for `algorithm_class(config.name)`, but for policy, env, seed and device.

    Raises ValueError for settings that the algorithm does not have, or whose value makes no sense.
    """
    parameters = inspect.signature(algorithm_class(config.name)).parameters
    known = [name for name in parameters if name not in _OURS]
    if "action_noise" in parameters:
        known += ["noise_type", "noise_std"]
    for name in config.settings:
        if name in _OURS:
            raise ValueError(f"{name!r} is no setting of {config.name}: {_OURS[name]}")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            raise ValueError(f"{config.name} has no setting {name!r}; {hint}")
        if name in parameters:
            _check_kind(name, config.settings[name], parameters[name].annotation)
    arguments: dict[str, Any] = {"learning_rate": _learning_rate(config)}
    for name, value in config.settings.items():
        if name == "policy_kwargs":
            value = policy_arguments(value)
        elif name == "train_freq" and isinstance(value, list):
            value = tuple(value)
        elif _kind(value) is Callable:
            value = _falling(name, value)
        arguments[name] = value
    noise = {name: arguments.pop(name, None) for name in ("noise_type", "noise_std")}
    if any(value is not None for value in noise.values()):
        arguments["action_noise"] = _noise(action_space=action_space, **noise)
    return arguments


def policy_arguments(plain: Any) -> dict[str, Any]:
    """`policy_kwargs` with the classes that names stand for.

    Raises ValueError where it is no JSON object, or for a name that is not known.
    """
    if not isinstance(plain, Mapping):
        raise ValueError(f"policy_kwargs must be an object of names and values, got {plain!r}")
    arguments = dict(plain)
    for name, classes in _CLASSES.items():
        if name in arguments:
            if arguments[name] not in classes:
                raise ValueError(
                    f"unknown {name} {arguments[name]!r} in policy_kwargs; known: "
                    f"{', '.join(classes)}"
                )
            arguments[name] = classes[arguments[name]]
    return arguments


def plain_policy_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What `policy_arguments` turns into `arguments`, but for the optimiser: it does not act."""
    plain = {}
    for name, value in arguments.items():
        if name not in ("optimizer_class", "optimizer_kwargs"):
            names = {known: text for text, known in _CLASSES.get(name, {}).items()}
            plain[name] = names.get(value, value) if isinstance(value, type) else value
    return plain


def _kind(plain: Any) -> Any:
    """The type, exactly: Python counts bools among the numbers. Callable for a schedule."""
    return Callable if isinstance(plain, str) and plain.startswith("lin_") else type(plain)


def _check_kind(name: str, value: Any, annotation: Any) -> None:
    """The library itself would notice while it learns, or take the text "no" for true."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    origins = [get_origin(kind) or kind for kind in kinds]
    if all(kind in _KINDS and _kind(value) not in _KINDS[kind][1] for kind in origins):
        wanted = " or ".join(_KINDS[kind][0] for kind in origins)
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def _learning_rate(config: StableBaselinesConfig) -> float | Callable[[float], float]:
    if config.learning_rate_end is None:
        return config.learning_rate
    return LinearSchedule(config.learning_rate, config.learning_rate_end, 1.0)


def _falling(name: str, text: str) -> Callable[[float], float]:
    try:
        return LinearSchedule(float(text.removeprefix("lin_")), 0.0, 1.0)
    except ValueError as error:
        raise ValueError(f"{name} must be a number or like lin_0.1, got {text!r}") from error


def _noise(*, noise_type: Any, noise_std: Any, action_space: gym.Space) -> ActionNoise:
    if noise_type not in _NOISES:
        raise ValueError(f"noise_type must be {' or '.join(_NOISES)}, got {noise_type!r}")
    if isinstance(noise_std, bool) or not isinstance(noise_std, int | float) or noise_std < 0:
        raise ValueError(f"noise_std must be a number of at least 0, got {noise_std!r}")
    zeros = np.zeros(action_space.shape or ())
    return _NOISES[noise_type](zeros, zeros + noise_std)
