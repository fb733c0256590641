"""Files of machines, stacks and fine-tuned networks: safetensors with a JSON header and a checksum.

The format is that of `rlkit.tensor_file`; the header holds "kind", "config", "layers" and what else
the kind needs, such as "provenance".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlkit.dbn.dbn import DBN, DBNConfig
from rlkit.dbn.finetune import DBNClassifier, DBNRegressor, FinetunedConfig, FinetuneRecord
from rlkit.dbn.finetune_config import FinetuneConfig
from rlkit.dbn.machine import MACHINES, Machine
from rlkit.dbn.network import feed_forward
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rbm_watch import EpochRecord
from rlkit.plain_json import finite
from rlkit.reasons import reason_of
from rlkit.tensor_file import TensorFormat

Saved = RBM | DBN | DBNClassifier | DBNRegressor
KINDS = {"rbm": RBM, "dbn": DBN, "classifier": DBNClassifier, "regressor": DBNRegressor}


class RBMFileError(ValueError):
    """A file that cannot be used. The message is one line and starts with the path."""


FILE = TensorFormat("Boltzmann machine", "rlkit-dbn", 1, ("kind", "config", "layers"), RBMFileError)


def save(
    path: str | os.PathLike[str],
    estimator: Saved,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted estimator so that a crash or a full disk never leaves a damaged file.

    provenance: plain JSON data on how it came about, for `read_provenance`. What training would
    need to go on where it stopped (chains, velocities) is not stored.
    Raises NotFittedError for an estimator that is not fitted, TypeError for labels that are neither
    numbers nor text, OSError where the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    header: dict[str, Any] = {"config": asdict(estimator.config), "provenance": provenance or {}}
    if isinstance(estimator, RBM):
        header |= {"kind": "rbm", "layers": [_put_rbm(estimator, 0, tensors)]}
    elif isinstance(estimator, DBN):
        header |= {"kind": "dbn", **_put_dbn(estimator, tensors)}
    else:
        network = estimator._learned("network_")
        tensors |= {f"network.{name}": value for name, value in network.state_dict().items()}
        header |= _put_dbn(estimator.dbn_, tensors)
        header["stack"] = asdict(estimator.dbn_.config)
        header["finetuning"] = [asdict(record) for record in estimator.history_]
        if isinstance(estimator, DBNClassifier):
            kind = estimator.classes_.dtype.kind
            if kind not in "biufU":
                raise TypeError(f"labels must be numbers or text to be saved, got {kind!r}")
            classes = {
                "values": estimator.classes_.tolist(),
                "dtype": str(estimator.classes_.dtype),
            }
            header |= {"kind": "classifier", "classes": classes}
        else:
            header |= {
                "kind": "regressor",
                "target_mean": estimator.target_mean_.tolist(),
                "target_scale": estimator.target_scale_.tolist(),
                "one_column": estimator.one_column_,
            }
    # Infinities and NaN, which a history of a diverged training may hold, are none of JSON's.
    FILE.write(path, finite(header), tensors)


def load(path: str | os.PathLike[str]) -> Saved:
    """Read an estimator of the kind that was saved, fitted.

    Raises RBMFileError where the file cannot be read, is damaged, is another kind of file, or was
    written by a newer version of rlkit.
    """
    header, tensors = FILE.read(path)
    try:
        return _built(header, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RBMFileError(
            f"{path}: damaged: its header and tensors make no estimator ({reason_of(error)})"
        ) from error


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save` was told of how an estimator came about; nothing where it was told nothing.

    Raises RBMFileError as `load` does.
    """
    header, _ = FILE.read(path)
    provenance = header.get("provenance", {})
    if not isinstance(provenance, dict):
        raise RBMFileError(f"{path}: damaged: its provenance is no JSON object")
    return provenance


def _built(header: Mapping[str, Any], tensors: dict[str, Tensor]) -> Saved:
    kind = header["kind"]
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}")
    layers = [_got_rbm(number, layer, tensors) for number, layer in enumerate(header["layers"])]
    if kind == "rbm":
        (rbm,) = layers
        return rbm
    dbn = DBN(_stack(header["stack"] if "stack" in header else header["config"]))
    dbn.set_learned(layers)
    if kind == "dbn":
        return dbn
    stack = _stack(header["config"])
    tuning = FinetuneConfig(**header["config"]["finetune"])
    estimator = KINDS[kind](FinetunedConfig(stack.layers, tuning, stack.seed))
    assert isinstance(estimator, DBNClassifier | DBNRegressor)
    weights = {
        n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")
    }
    network = feed_forward(
        [layer.machine_ for layer in layers],
        outputs=len(weights["head.bias"]),
        dropout_share=tuning.dropout,
        drop_connect_share=tuning.drop_connect,
    )
    network.load_state_dict(weights)
    network.eval()
    estimator.set_learned(
        dbn, network, [FinetuneRecord(**record) for record in header["finetuning"]]
    )
    if isinstance(estimator, DBNClassifier):
        classes = header["classes"]
        estimator.classes_ = np.asarray(classes["values"], dtype=np.dtype(classes["dtype"]))
    else:
        estimator.target_mean_ = np.asarray(header["target_mean"], dtype=np.float64)
        estimator.target_scale_ = np.asarray(header["target_scale"], dtype=np.float64)
        estimator.one_column_ = bool(header["one_column"])
    return estimator


def _stack(config: Mapping[str, Any]) -> DBNConfig:
    layers = tuple(RBMConfig(**layer) for layer in config["layers"])
    return DBNConfig(layers, seed=config["seed"])


def _put_dbn(dbn: DBN, tensors: dict[str, Tensor]) -> dict[str, Any]:
    layers = dbn._learned("layers_")
    return {"layers": [_put_rbm(layer, number, tensors) for number, layer in enumerate(layers)]}


def _put_rbm(rbm: RBM, number: int, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Put a layer's tensors beside the others; what the header says of it."""
    for name, tensor in rbm._learned("machine_").tensors().items():
        tensors[f"layers.{number}.{name}"] = tensor
    for name, tensor in rbm.base_.tensors().items():
        if name not in ("weights", "hidden_bias"):
            tensors[f"layers.{number}.base.{name}"] = tensor
    return {"config": asdict(rbm.config), "history": [asdict(epoch) for epoch in rbm.history_]}


def _got_rbm(number: int, layer: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> RBM:
    config = RBMConfig(**layer["config"])
    kind = MACHINES[config.visible]
    prefix = f"layers.{number}."

    def machine_of(prefix: str, **known: Tensor) -> Machine:
        own = {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix) and "." not in name.removeprefix(prefix)
        }
        return kind(**own, **known)

    machine = machine_of(prefix)
    zero = {name: torch.zeros_like(getattr(machine, name)) for name in ("weights", "hidden_bias")}
    base = machine_of(f"{prefix}base.", **zero)
    history = [EpochRecord(**record) for record in layer["history"]]
    return RBM(config).set_learned(machine, base, history)
