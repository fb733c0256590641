"""In which number format layers compute."""

import pytest
import torch
from torch import nn

from rlkit_agents import precision
from rlkit_agents.precision import Precision, autocast

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("wanted", "fast", "dtype"),
    [
        ("float32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
    ],
)
def test_layers_compute_in_the_format_asked_for(
    monkeypatch: pytest.MonkeyPatch, wanted: Precision, fast: bool, dtype: torch.dtype
):
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: fast)
    layer = nn.Linear(3, 2)
    with autocast(wanted, CPU):
        output = layer(torch.ones(1, 3))
    assert output.dtype == dtype
    assert layer.weight.dtype == torch.float32
    assert layer(torch.ones(1, 3)).dtype == torch.float32


def test_pytorch_still_says_what_the_processor_can_do():
    # It is asked through functions that PyTorch does not document.
    assert precision.has_fast_bfloat16(CPU) in (True, False)
