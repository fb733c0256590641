"""The network of a policy, in plain layers: what is pruned, quantized and exported.

Whatever is linear after the last non-linearity is one layer here: a dueling head, and the mean over
quantiles, are folded into its weights, which is exact. So are the order in which a picture's
features are flattened, and the scaling of heights. Noisy layers have their mean weights. A memory
is written out as its two matrix products.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from rlkit.recording import Recording
from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.heads import QHead, categorical_values
from rlkit_agents.losses import signed_parabolic
from rlkit_agents.memory import Memory
from rlkit_agents.networks import DenseTorso, FlattenChannelsLast, PixelConv2d
from rlkit_agents.pick_policy import PickNetwork, PickPolicy, mean_chances
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy


class ExportError(ValueError):
    """A policy that cannot be deployed, or a file that cannot be written; the message says why."""


class Body(nn.Module):
    """From one batch of observations, and a recurrent state, to scores.

    Observations are floats (batch, *observation_shape), bytes scaled to [0, 1]. Scores are
    (batch, outputs) float32: expected returns or logits of actions, of which the highest is taken;
    or the components of a continuous action before they are clipped. The state is as the policy's
    (`rlkit_agents.memory`), a tensor after the other; there is none without memory.
    """

    def __init__(self, torso: nn.Module, cell: LSTMCell | GRUCell | None, head: nn.Module) -> None:
        super().__init__()
        self.torso = torso
        self.cell = cell
        self.head = head

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Units of each part of the recurrent state."""
        return () if self.cell is None else (self.cell.size,) * self.cell.parts

    def forward(self, observations: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Scores, and the parts of the state to pass with the next observations."""
        features = self.torso(observations)
        if self.cell is not None:
            state = self.cell(features, *state)
            features = state[0]
        return self.head(features), *state


def body_of(policy: Policy) -> Body:
    """A policy's body, with weights of its own, in float32 and in evaluation mode.

    Raises ExportError for a kind of policy that has none.
    """
    frames = policy.observation_space.shape or ()
    with torch.no_grad():
        if isinstance(policy, QPolicy):
            network = policy.network
            head = _q_head(network.head, policy.head, policy.value_rescaling)
            body = Body(_torso(network.torso, frames), _cell(network.memory), head)
        elif isinstance(policy, ActorCriticPolicy):
            network = policy.network
            head = _linear(network.action_head)
            body = Body(_torso(network.torso, frames), _cell(network.memory), head)
        elif isinstance(policy, PickPolicy):
            if policy.coded is not None:
                raise ExportError("a picking policy that sees codes cannot be deployed")
            body = Body(PickMap(policy.network, policy.symmetric), None, nn.Identity())
        else:
            body = _of_stable_baselines(policy)
    body.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return body.float().cpu().eval().requires_grad_(False)


def _of_stable_baselines(policy: Policy) -> Body:
    from rlkit.edge.sb3_body import body_of_stable_baselines  # the library takes long to import
    from rlkit.sb3.policy import StableBaselinesPolicy

    if isinstance(policy, StableBaselinesPolicy):
        return body_of_stable_baselines(policy)
    raise ExportError(
        f"a {type(policy).__name__} cannot be deployed; value-based, actor-critic and picking "
        "policies can, and those of Stable-Baselines3"
    )


class PickMap(nn.Module):
    """Chances of success at every pixel (batch, actions), less one where a failure is marked."""

    def __init__(self, network: PickNetwork, symmetric: bool) -> None:
        """symmetric: as `PickPolicy.symmetric`."""
        super().__init__()
        self.symmetric = symmetric
        self.network = copy.deepcopy(network)
        with torch.no_grad():  # heights come in mm
            first = self.network.full_down[0]
            assert isinstance(first, nn.Conv2d)
            first.weight[:, 0] /= network.height_scale_mm
        self.network.height_scale_mm = 1.0

    def forward(self, observations: Tensor) -> Tensor:
        """observations: (batch, channels, height, width), the last channel being marks."""
        chances = mean_chances(self.network, observations[:, :-1], self.symmetric)
        return chances - observations[:, -1].flatten(1).repeat(1, self.network.stances)


class ColoursToChannels(nn.Module):
    """Stacks of colour frames as one picture, as `rlkit_agents.networks.ImageTorso` reads them."""

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, stack, height, width, colours) -> (batch, stack * colours, height, width)."""
        return frames.permute(0, 1, 4, 2, 3).flatten(1, 2)


class ChannelsFirst(nn.Module):
    """A picture's channels before its rows."""

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, height, width, channels) -> (batch, channels, height, width)."""
        return pictures.permute(0, 3, 1, 2)


class LSTMCell(nn.Module):
    """One step of an LSTM (Gers et al. 2000), as two dense layers and what follows them."""

    parts = 2

    def __init__(self, size: int, input: nn.Linear, hidden: nn.Linear) -> None:
        super().__init__()
        self.size = size
        self.input, self.hidden = input, hidden

    def forward(self, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, any) features and the state (batch, size) each -> the next state."""
        gates = self.input(features) + self.hidden(hidden)
        enter, keep, candidate, leave = gates.chunk(4, 1)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        return torch.sigmoid(leave) * torch.tanh(cell), cell


class GRUCell(nn.Module):
    """One step of a GRU (Cho et al. 2014), as PyTorch has it: reset after the matrix product."""

    parts = 1

    def __init__(self, size: int, input: nn.Linear, hidden: nn.Linear) -> None:
        super().__init__()
        self.size = size
        self.input, self.hidden = input, hidden

    def forward(self, features: Tensor, hidden: Tensor) -> tuple[Tensor]:
        """(batch, any) features and the state (batch, size) -> the next state."""
        reset_in, update_in, new_in = self.input(features).chunk(3, 1)
        reset_hidden, update_hidden, new_hidden = self.hidden(hidden).chunk(3, 1)
        update = torch.sigmoid(update_in + update_hidden)
        new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_hidden) * new_hidden)
        return ((1.0 - update) * new + update * hidden,)


class Rescaled(nn.Module):
    """Values from their rescaled atoms (`losses.signed_hyperbolic`): the mean of true returns."""

    def __init__(self, atoms: int) -> None:
        super().__init__()
        self.atoms = atoms

    def forward(self, outputs: Tensor) -> Tensor:
        """(batch, actions * atoms) -> (batch, actions)."""
        values = signed_parabolic(outputs)
        return values if self.atoms == 1 else values.unflatten(1, (-1, self.atoms)).mean(-1)


class Histogram(nn.Module):
    """Values from logits of their histograms."""

    support: Tensor

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.atoms = config.atoms
        self.register_buffer("support", config.support(torch.device("cpu")))

    def forward(self, outputs: Tensor) -> Tensor:
        """(batch, actions * atoms) -> (batch, actions)."""
        return categorical_values(outputs.unflatten(1, (-1, self.atoms)), self.support)


def _q_head(head: QHead, config: HeadConfig, rescaled: bool) -> nn.Sequential:
    """A head as one linear layer, and what cannot be folded into it."""
    linear = _linear(head.linear)
    weight, bias = (
        each.unflatten(0, (-1, head.atoms)) for each in (linear.weight.data, linear.bias.data)
    )
    if head.dueling:
        weight, bias = (
            each[1:] + each[:1] - each[1:].mean(0, keepdim=True) for each in (weight, bias)
        )
    last: list[tuple[str, nn.Module]] = []
    if config.kind == "categorical":
        last.append(("values", Histogram(config)))
    elif rescaled:
        last.append(("values", Rescaled(head.atoms)))
    else:  # the mean over atoms is linear too
        weight, bias = weight.mean(1, keepdim=True), bias.mean(1, keepdim=True)
    folded = dense(weight.flatten(0, 1), bias.flatten(0, 1))
    return nn.Sequential(OrderedDict([("linear", folded), *last]))


def _torso(torso: nn.Module, frames: tuple[int, ...]) -> nn.Sequential:
    """A torso as a sequence of PyTorch's own layers, flattened in PyTorch's own order.

    frames: the shape of an observation.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if isinstance(torso, DenseTorso):
        layers["flatten"] = nn.Flatten()
    elif len(frames) == 4:
        layers["colours"] = ColoursToChannels()
    channels = 0
    for name, layer in torso.named_children():
        plain = _plain(layer)
        if isinstance(layer, nn.Dropout):
            continue
        if isinstance(plain, nn.Linear) and channels:
            weight = plain.weight.data.unflatten(1, (-1, channels))  # pixels, then channels
            plain = dense(weight.movedim(1, 2).flatten(1), plain.bias.data)
            channels = 0
        if isinstance(layer, FlattenChannelsLast):
            convolutions = [each for each in torso.modules() if isinstance(each, nn.Conv2d)]
            channels = convolutions[-1].out_channels
            plain = nn.Flatten()
        layers[name] = plain
    return nn.Sequential(layers)


def _plain(layer: nn.Module) -> nn.Module:
    """A copy in which first convolutions and noisy layers are ordinary ones."""
    if isinstance(layer, nn.Linear):
        return _linear(layer)
    if isinstance(layer, PixelConv2d):
        plain = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # pyright: ignore[reportArgumentType]
            layer.stride,  # pyright: ignore[reportArgumentType]
            layer.padding,  # pyright: ignore[reportArgumentType]
        )
        plain.load_state_dict(layer.state_dict())
        return plain
    copied = copy.deepcopy(layer)
    for name, child in list(copied.named_children()):
        setattr(copied, name, _plain(child))
    return copied


def _linear(layer: nn.Linear) -> nn.Linear:
    """A linear layer's copy; a noisy one is, in evaluation, the linear layer of its means."""
    return dense(layer.weight.data, layer.bias.data)


def dense(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A dense layer with copies of these (outputs, inputs) and (outputs,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight.detach().clone(), bias.detach().clone()
    return layer


def _cell(memory: Memory | None) -> LSTMCell | GRUCell | None:
    if memory is None:
        return None
    weights = dict(memory.recurrent.named_parameters())
    input, hidden = (
        dense(weights[f"weight_{which}_l0"].data, weights[f"bias_{which}_l0"].data)
        for which in ("ih", "hh")
    )
    return (LSTMCell if memory.kind == "lstm" else GRUCell)(memory.size, input, hidden)


def outputs_of(body: Body, recording: Recording) -> list[Tensor]:
    """Scores, and the parts of the next state, of all recorded observations: (count, any) each."""
    with torch.no_grad():
        parts = [body(*batch.inputs()) for batch in recording.batches()]
    return [torch.cat(part) for part in zip(*parts, strict=True)]
