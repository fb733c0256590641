"""The head of a Q-network, and what a policy reads from its output.

The expected values of actions from their distributions; the losses are in `losses.py`.
"""

import torch
from torch import Tensor, nn

from rlkit_agents.noisy import NoisyLinear


class QHead(nn.Module):
    """Features to (actions, atoms), by one linear layer, dueling or not, noisy or not.

    Dueling (Wang et al. 2016, eq. 9): output = value + advantage - mean advantage over actions,
    for each atom. Departure: there each stream has a hidden layer of its own; here both are linear
    in the torso's features and share one matrix product, whose first `atoms` outputs are the value.

    Expected values (one atom) are computed in float32 under autocast as well: the 8 bits of
    bfloat16 would hide the differences between actions. Many atoms average that rounding away.
    """

    def __init__(
        self,
        in_features: int,
        num_actions: int,
        atoms: int,
        *,
        dueling: bool = False,
        noisy_sigma0: float | None = None,
    ) -> None:
        """noisy_sigma0: initial noise of a noisy layer; None for an ordinary one."""
        if num_actions < 1 or atoms < 1:
            raise ValueError(f"num_actions and atoms must be positive, got {num_actions}, {atoms}")
        super().__init__()
        self.num_actions = num_actions
        self.atoms = atoms
        self.dueling = dueling
        outputs = (num_actions + dueling) * atoms
        self.linear = (
            nn.Linear(in_features, outputs)
            if noisy_sigma0 is None
            else NoisyLinear(in_features, outputs, noisy_sigma0)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(batch, in_features) -> (batch, num_actions, atoms) float32."""
        if self.atoms == 1:
            with torch.autocast(features.device.type, enabled=False):
                streams = self.linear(features.float())
        else:
            streams = self.linear(features).float()
        streams = streams.unflatten(1, (-1, self.atoms))
        if not self.dueling:
            return streams
        value, advantage = streams[:, :1], streams[:, 1:]
        return advantage + (value - advantage.mean(1, keepdim=True))


def quantile_values(quantiles: Tensor) -> Tensor:
    """Expected values (batch, actions) of quantiles (batch, actions, atoms): their mean.

    Dabney et al. 2018, section 4; with one atom, that atom.
    """
    return quantiles.mean(-1)


def categorical_values(logits: Tensor, support: Tensor) -> Tensor:
    """Expected values (batch, actions) of categorical distributions on a support (atoms,).

    logits: (batch, actions, atoms), not normalised (Bellemare et al. 2017, section 4).
    """
    return torch.softmax(logits, -1) @ support
