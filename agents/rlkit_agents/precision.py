"""The number format of a network's heavy arithmetic: bfloat16 where the processor is fast at it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 run in hardware on `device`.

    They do with AVX512-BF16, AMX, and CUDA's compute capability 8.0 and later.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def is_bfloat16(precision: Precision, device: torch.device) -> bool:
    """What `precision` means on `device`: "auto" is bfloat16 where `has_fast_bfloat16`."""
    return precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device))


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which convolutions and dense layers compute in `precision`.

    Weights stay float32. See `is_bfloat16`.
    """
    if not is_bfloat16(precision, device):
        return nullcontext()
    # Without PyTorch's cache of converted weights: a pass uses each weight once, and threads share
    # the cache, in which a pass without gradient could leave weights that pass no gradient on.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
