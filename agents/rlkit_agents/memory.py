"""Memory: a recurrent layer between torso and heads, whose state an episode's start clears.

LSTM (Hochreiter & Schmidhuber 1997; with forget gates, Gers et al. 2000) or GRU (Cho et al. 2014).
A recurrent state is a tuple of tensors (batch, size), zeros at the start of an episode: hidden and
cell state of an LSTM, the hidden state of a GRU.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

MemoryKind = Literal["none", "lstm", "gru"]
State = tuple[Tensor, ...] | None
"""The recurrent state of a batch of environments; None for a policy without memory."""


class Memory(nn.Module):
    """One recurrent layer over a batch of sequences.

    Computes in float32 under autocast as well: rounding errors would build up in its state.
    """

    def __init__(self, kind: Literal["lstm", "gru"], in_features: int, size: int) -> None:
        """size: units of the layer, and features that come out."""
        super().__init__()
        self.kind = kind
        self.size = size
        self.recurrent = (nn.LSTM if kind == "lstm" else nn.GRU)(in_features, size)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """The state (batch, size) before the first observation of an episode: zeros."""
        weight = next(self.recurrent.parameters())
        return tuple(weight.new_zeros(batch, self.size) for _ in range(self.state_parts))

    @property
    def state_parts(self) -> int:
        """Tensors in a state: 2 for an LSTM, 1 for a GRU."""
        return 2 if self.kind == "lstm" else 1

    def forward(
        self, features: Tensor, state: State = None, starts: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run over time.

        features: (time, batch, in_features). state: that before the first features, zeros if None.
        starts: (time, batch) bool, True where features are the first of an episode: the state is
        cleared before them. Returns outputs (time, batch, size) and the state after the last.
        Raises ValueError where the state is not one of this memory for a batch of this size, or
        `starts` has another shape.
        """
        batch = features.shape[1]
        if starts is not None and starts.shape != features.shape[:2]:
            raise ValueError(
                f"starts of shape {tuple(starts.shape)} do not fit: a batch of {batch} over "
                f"{len(features)} times needs {tuple(features.shape[:2])}"
            )
        state = self.initial_state(batch) if state is None else self.checked_state(state, batch)
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            outputs = []
            for first, stop in _runs_without_start(starts, len(features)):
                if starts is not None:
                    state = cleared(state, starts[first])
                output, state = self._run(features[first:stop], state)
                outputs.append(output)
        return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)), state

    def _run(
        self, features: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run over features (time, batch, in_features) in which no episode starts."""
        layered = tuple(part.contiguous().unsqueeze(0) for part in state)  # as cuDNN wants it
        if self.kind == "lstm":
            output, (hidden, cell) = self.recurrent(features, layered)
            return output, (hidden.squeeze(0), cell.squeeze(0))
        output, hidden = self.recurrent(features, layered[0])
        return output, (hidden.squeeze(0),)

    def checked_state(self, state: tuple[Tensor, ...], batch: int) -> tuple[Tensor, ...]:
        """`state`, or ValueError where it is not one of this memory for `batch` environments."""
        shapes = [tuple(part.shape) for part in state]
        wanted = [(batch, self.size)] * self.state_parts
        if shapes != wanted:
            raise ValueError(
                f"a recurrent state of shapes {shapes} does not fit: this policy's {self.kind} "
                f"over a batch of {batch} needs {wanted}"
            )
        return state


def cleared(state: tuple[Tensor, ...], starts: Tensor) -> tuple[Tensor, ...]:
    """The state with zeros where `starts` (batch,) bool says that an episode starts.

    Raises ValueError where the state is one of a batch of another size.
    """
    if any(len(part) != len(starts) for part in state):
        shapes = [tuple(part.shape) for part in state]
        raise ValueError(
            f"a recurrent state of shapes {shapes} does not fit a batch of {len(starts)}"
        )
    keep = (~starts).unsqueeze(1)
    return tuple(torch.where(keep, part, torch.zeros_like(part)) for part in state)


def _runs_without_start(starts: Tensor | None, length: int) -> list[tuple[int, int]]:
    """Stretches (first, past the last) of `length` times; no episode starts but at their first.

    A stretch is one call of PyTorch's recurrent layer, far faster than a call a time.
    """
    if starts is None:
        return [(0, length)]
    bounds = [0, *(starts[1:].any(1).nonzero().squeeze(1) + 1).tolist(), length]
    return list(pairwise(bounds))
