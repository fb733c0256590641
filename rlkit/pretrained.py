"""Agents whose torso starts with weights that were learnt before, without rewards.

A companion that learns such weights has a file of its own, and a module with a function
`torso_weights(path)` that says what a torso of `rlkit_agents.networks` would hold.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from rlkit.companion_files import companion_module
from rlkit_agents.algorithm import Algorithm

_SOURCES = {"rlkit-autoencoder": "rlkit.autoencoder.torso", "rlkit-dbn": "rlkit.dbn.torso"}
"""Entry of a safetensors file's metadata -> module whose `torso_weights` reads it."""

_COPIES = ("policy", "target", "average")
"""Parts of an algorithm's state that hold its network, or a copy of it."""

_TORSOS = ("torso", "value_torso")


def torso_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The torso's weights in a companion's file, by their names in the torso.

    Raises ValueError where the file cannot be read, or holds no such weights.
    """
    module = companion_module(path, _SOURCES)
    if module is None:
        raise ValueError(f"{path}: holds no torso that an agent could start from")
    return module.torso_weights(path)


def start_torso(algorithm: Algorithm, weights: dict[str, Tensor], source: str) -> None:
    """Let the algorithm's network, and every copy of it, start with a torso of these weights.

    Layers that normalise may be missing among the weights, and start as ever. source: where the
    weights are from, for messages. Raises ValueError where they do not fit.
    """
    torso = _torsos(algorithm)[0]
    own = torso.state_dict()
    foreign = sorted(set(weights) - set(own))
    missing = sorted(name for name in set(own) - set(weights) if "norm" not in name)
    unlike = sorted(
        f"{name} {tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
        for name in set(own) & set(weights)
        if own[name].shape != weights[name].shape
    )
    if foreign or missing or unlike:
        faults = (
            ("unknown", foreign),
            ("missing", missing),
            ("of another shape", unlike),
        )
        told = "; ".join(f"{what}: {', '.join(names)}" for what, names in faults if names)
        raise ValueError(
            f"the torso in {source} does not fit the agent's ({told}); give both the same torso, "
            "sizes and observations"
        )
    state = algorithm.state_dict()  # its tensors are those in use
    for part in _COPIES:
        for key, tensor in (state.get(part) or {}).items():
            for name in _TORSOS:
                _, found, layer = key.partition(f"network.{name}.")
                if found and layer in weights:
                    with torch.no_grad():
                        tensor.copy_(weights[layer])


def torso_depth(algorithm: Algorithm) -> int:
    """How many layers with weights the torso has; a norm belongs to the layer below it."""
    return max(len(_layers(torso)) for torso in _torsos(algorithm))


def freeze_torso(algorithm: Algorithm, layers: int) -> None:
    """Keep the lowest `layers` of the torso from learning, and let the others learn."""
    for torso in _torsos(algorithm):
        for depth, modules in enumerate(_layers(torso)):
            for module in modules:
                module.requires_grad_(depth >= layers)


def _layers(torso: nn.Module) -> list[list[nn.Module]]:
    """A torso's modules with weights by layers, from the lowest up."""
    layers: list[list[nn.Module]] = []
    for name, module in torso.named_children():
        if next(module.parameters(), None) is None:
            continue
        if "norm" in name and layers:
            layers[-1].append(module)
        else:
            layers.append([module])
    return layers


def _torsos(algorithm: Algorithm) -> list[nn.Module]:
    network = algorithm.policy.network
    torsos = [getattr(network, name, None) for name in _TORSOS]
    found = [torso for torso in torsos if isinstance(torso, nn.Module)]
    if not found:
        raise ValueError(f"{type(algorithm).__name__} has no torso that could start from a file")
    return found
