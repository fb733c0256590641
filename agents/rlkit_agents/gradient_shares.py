"""The gradient of a minibatch, computed by several threads that take a share of it each.

PyTorch's own threads meet after every operation, which for networks this small costs a third of the
time: 256 frames of 84x84 through `nature` and back took 44 ms with two of them, and 30 ms as two
shares of 128 (two cores of an AMD EPYC, Zen 5, bfloat16).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from rlkit_agents.networks import NetworkConfig

Module = TypeVar("Module", bound=nn.Module)
Share = TypeVar("Share")


def useful_threads(device: torch.device, network: NetworkConfig) -> int:
    """How many threads should share a minibatch's gradient: as many as PyTorch may use, or 1.

    A flat observation's network is too small to gain; dropout draws from one global stream, whose
    order several threads would leave to chance; and other devices have no use for threads.
    """
    if device.type != "cpu" or network.dropout > 0 or network.torso == "mlp":
        return 1
    return torch.get_num_threads()


class GradientShares(Generic[Module]):
    """Computes gradients of a module's weights.

    Every thread but the first works on a copy of the module whose weights are the module's own and
    whose gradients are its own; they are added up in a fixed order, so that a seed gives the same
    weights again. Another number of threads gives others, in the last digits.
    """

    def __init__(self, module: Module, threads: int) -> None:
        """threads: shares that are computed at once. Raises ValueError for less than 1."""
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.threads = threads
        self._modules = [module, *(_sharing_weights(module) for _ in range(threads - 1))]
        self._others: ThreadPoolExecutor | None = None

    def backward(
        self,
        shares: Sequence[Share],
        objective: Callable[[Module, Share], tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Give each of the module's weights the gradient of the sum of the shares' objectives.

        shares: at least one, at most `threads`. objective: of the module, or a copy of it, and a
        share -> a scalar, and what was measured beside it, without gradient.
        Returns the sum of what was measured. Gradients of before are dropped.
        """
        for module in self._modules:
            module.train(self._modules[0].training)
            module.zero_grad()
        if len(shares) == 1:
            return _backward(self._modules[0], shares[0], objective)
        if self._others is None:
            self._others = ThreadPoolExecutor(
                self.threads - 1, "gradient", initializer=torch.set_num_threads, initargs=(1,)
            )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            begun = [
                self._others.submit(_backward, module, share, objective)
                for module, share in zip(self._modules[1:], shares[1:], strict=False)
            ]
            try:
                measured = _backward(self._modules[0], shares[0], objective)
            finally:
                others = [one.exception() for one in begun]  # none works on when this returns
        finally:
            torch.set_num_threads(threads)
        for error in others:
            if error is not None:
                raise error
        whole = list(self._modules[0].parameters())
        for module, one in zip(self._modules[1:], begun, strict=False):
            for weights, share in zip(whole, module.parameters(), strict=True):
                if share.grad is None:
                    continue
                if weights.grad is None:
                    weights.grad = share.grad
                else:
                    weights.grad.add_(share.grad)
            measured = measured + one.result()
        return measured


def _backward(
    module: Module, share: Share, objective: Callable[[Module, Share], tuple[Tensor, Tensor]]
) -> Tensor:
    loss, measured = objective(module, share)
    loss.backward()
    return measured


def _sharing_weights(module: Module) -> Module:
    """A copy of a module that has the very weights and buffers, but gradients of its own."""
    other = copy.deepcopy(module)
    for mine, theirs in zip(other.parameters(), module.parameters(), strict=True):
        mine.data = theirs.data
    for mine, theirs in zip(other.buffers(), module.buffers(), strict=True):
        mine.data = theirs.data
    return other
