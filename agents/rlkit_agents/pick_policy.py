"""The policy that picks: a fully convolutional network maps a picture to chances of success.

Every pixel, for every way in which the tool may stand, has a logit; the action is the pixel with
the highest chance, where no failure is remembered. The network is a U-Net (Ronneberger et al. 2015)
with two levels of pooling, whose members, an ensemble, share everything but the last layer.
Observations may be codes; a decoder that does not learn then makes pictures of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rlkit_agents.coded_pictures import CodedPictures
from rlkit_agents.initialisation import initialise
from rlkit_agents.memory import State
from rlkit_agents.policy import Policy
from rlkit_agents.precision import Precision, autocast
from rlkit_agents.turns import mean_over_turns

POOLING = 4
"""Sides of pictures are multiples of this."""


@dataclass(frozen=True)
class PickNetworkConfig:
    """What the network looks like; the defaults have some 120,000 weights."""

    channels: tuple[int, int, int] = (16, 32, 64)
    """At full, half and quarter resolution."""
    members: int = 5
    """Of the ensemble, each with a last layer of its own."""
    height_scale_mm: float = 30.0
    """Height that the network sees as 1."""

    def __post_init__(self) -> None:
        if len(self.channels) != 3 or min(self.channels) < 1:
            raise ValueError(f"channels must be three positive numbers, got {self.channels}")
        if self.members < 1:
            raise ValueError(f"an ensemble needs at least one member, got {self.members}")
        if not self.height_scale_mm > 0:
            raise ValueError(f"height_scale_mm must be above 0, got {self.height_scale_mm}")


class PickNetwork(nn.Module):
    """Logits of success for every pixel."""

    def __init__(self, in_channels: int, stances: int, config: PickNetworkConfig) -> None:
        """in_channels: of a picture. stances: ways in which the tool may stand."""
        super().__init__()
        full, half, quarter = config.channels
        self.stances = stances
        self.members = config.members
        self.height_scale_mm = config.height_scale_mm
        self.full_down = _two_convolutions(in_channels, full)
        self.half_down = _two_convolutions(full, half)
        self.quarter = _two_convolutions(half, quarter)
        self.half_up = _two_convolutions(quarter + half, half)
        self.full_up = _two_convolutions(half + full, full)
        self.head = nn.Conv2d(full, config.members * stances, 1)
        initialise(self, "he")
        with torch.no_grad():
            self.head.weight *= 0.1  # every chance begins near a half
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, in_channels, height, width) -> (batch, members, stances, height, width) float32.

        The first channel is heights in mm. Height and width are multiples of 4.
        """
        full, half, quarter = self._encoded(pictures)
        half = self.half_up(_joined(quarter, half))
        return self._members_logits(self.full_up(_joined(half, full)))

    def at(self, pictures: Tensor, places: Tensor) -> Tensor:
        """Logits (batch, members, stances) at a pixel of each picture, those of `forward` there.

        places: (batch, 2) rows and columns. The way back up from the quarter is computed only
        around them, which takes less than half the work where they are near each other.
        """
        full, half, quarter = self._encoded(pictures)
        low, high = places.amin(0).tolist(), places.amax(0).tolist()
        # Two convolutions reach two pixels to each side; one at half resolution is two.
        coarse = [slice(max(a // 4 - 2, 0), b // 4 + 3) for a, b in zip(low, high, strict=True)]
        fine = [slice(max(a // 2 - 1, 0), b // 2 + 2) for a, b in zip(low, high, strict=True)]
        half = self.half_up(_joined(_cut(quarter, coarse), _cut(half, _doubled(coarse))))
        half = _cut(half, _moved(fine, _doubled(coarse)))
        full = self.full_up(_joined(half, _cut(full, _doubled(fine))))
        logits = self._members_logits(full)
        rows, columns = (places - places.new_tensor([2 * each.start for each in fine])).unbind(1)
        return logits[torch.arange(len(logits), device=logits.device), :, :, rows, columns]

    def _encoded(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at full, half and quarter resolution."""
        scale = torch.ones(pictures.shape[1], device=pictures.device)
        scale[0] = 1.0 / self.height_scale_mm
        pictures = pictures * scale[:, None, None]
        full = self.full_down(pictures.contiguous(memory_format=torch.channels_last))
        half = self.half_down(functional.max_pool2d(full, 2))
        return full, half, self.quarter(functional.max_pool2d(half, 2))

    def _members_logits(self, full: Tensor) -> Tensor:
        return self.head(full).float().unflatten(1, (self.members, self.stances))


class PickPolicy(Policy):
    """Picks where success is most likely.

    Not deterministic, it asks one member of the ensemble, drawn for every picture: Thompson
    sampling (Osband et al. 2016).
    If it is `symmetric`, chances are means over the eight turns and mirrors of a picture, which are
    as true as the picture where it is square, of heights alone, and the tool stands upright; in
    other worlds it makes no difference.
    Observations are (channels, height, width) float32, the first channel being heights in mm and
    the last marks where not to pick, which the network does not see; or bytes that `coded` makes
    such pictures of. Actions are Discrete(stances * height * width), counted in that order.
    Raises ValueError for other spaces.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        network: PickNetworkConfig,
        *,
        symmetric: bool = False,
        discount: float = 0.0,
        coded: CodedPictures | None = None,
        precision: Precision = "auto",
    ) -> None:
        super().__init__(observation_space, action_space)
        shape, dtype = observation_space.shape or (), observation_space.dtype
        if coded is not None:
            if shape != (coded.config.bytes,) or dtype != np.uint8:
                raise ValueError(
                    f"codes with marks are ({coded.config.bytes},) bytes, got {observation_space}"
                )
            shape, dtype = coded.config.picture_shape, np.float32
        if len(shape) != 3 or shape[0] < 2 or shape[1] % POOLING or shape[2] % POOLING:
            raise ValueError(
                f"a picking policy needs observations of shape (channels, height, width), at least "
                f"2 channels and sides that are multiples of {POOLING}; got {shape}"
            )
        if dtype != np.float32:
            raise ValueError(f"a picking policy needs float32 observations, got {dtype}")
        pixels = shape[1] * shape[2]
        if not isinstance(action_space, gym.spaces.Discrete) or action_space.n % pixels:
            raise ValueError(
                f"a picking policy chooses a pixel: it needs a Discrete action space with a "
                f"multiple of {pixels} actions, got {action_space}"
            )
        self.pixels = pixels
        self.stances = int(action_space.n) // pixels
        self.picture_shape: tuple[int, int, int] = shape
        """Channels, marks among them, height and width."""
        upright = self.stances == 1 and shape[0] == 2
        self.symmetric: bool = symmetric and upright and shape[1] == shape[2]
        """Whether chances are means over the eight turns and mirrors of a picture."""
        self.discount = discount
        """With which it learnt. Above 0, what it tells as chances are values: they also count what
        an attempt does to those that follow."""
        self.network_config = network
        self.precision: Precision = precision
        self.network: PickNetwork = PickNetwork(  # pyright: ignore[reportIncompatibleVariableOverride]
            shape[0] - 1, self.stances, network
        )
        self.coded: CodedPictures | None = coded

    @property
    def architecture(self) -> dict[str, Any]:
        coded = {} if self.coded is None else {"coded": asdict(self.coded.config)}
        return {
            "policy": "PickPolicy",
            "network": asdict(self.network_config),
            "symmetric": self.symmetric,
            "discount": self.discount,
            "precision": self.precision,
            **coded,
        }

    def pictures(self, observations: Tensor) -> Tensor:
        """(batch, *picture_shape) float32, what the policy sees in observations."""
        if self.coded is None:
            return observations
        with torch.no_grad():
            return self.coded(observations)

    def logits(self, pictures: Tensor) -> Tensor:
        """(batch, members, stances, height, width) for pictures without the channel of marks."""
        with autocast(self.precision, pictures.device):
            return self.network(pictures)

    def logits_at(self, pictures: Tensor, places: Tensor) -> Tensor:
        """Those of `logits` (batch, members, stances) at pixels (batch, 2), rows and columns."""
        with autocast(self.precision, pictures.device):
            return self.network.at(pictures, places)

    def forward(self, observations: Tensor) -> Tensor:
        """Chances of success (batch, actions), the mean of the members'."""
        return self._chances(self.pictures(observations))

    def _chances(self, pictures: Tensor) -> Tensor:
        return mean_chances(self.logits, pictures[:, :-1], self.symmetric)

    def outlook_map(self, observations: Tensor) -> Tensor:
        """Chances of success (batch, stances, height, width)."""
        return self(observations).unflatten(1, (self.stances, *self.picture_shape[1:]))

    def q_values(self, observations: Tensor) -> Tensor:
        """Chances of success (batch, actions), 0 less one where a failure is remembered."""
        pictures = self.pictures(observations)
        return self._chances(pictures) - self._marks(pictures)

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        if state is not None:
            raise ValueError("a recurrent state does not fit: this policy has no memory")
        return self.decide(observations, deterministic)[0], None

    def decide(self, observations: Tensor, deterministic: bool = True) -> tuple[Tensor, Tensor]:
        """Actions (batch,), and the chances of success (batch, actions) seen when choosing them."""
        if not deterministic:
            return self.sample(observations)
        pictures = self.pictures(observations)
        chances = self._chances(pictures)
        return (chances - self._marks(pictures)).argmax(1), chances

    def sample(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """What a member of the ensemble, drawn for every picture, would do, and what all expect.

        Returns actions (batch,) and chances of success (batch, actions), the mean of the members',
        both of the picture as it is.
        """
        pictures = self.pictures(observations)
        logits = self.logits(pictures[:, :-1])
        batch = torch.arange(len(logits), device=logits.device)
        asked = torch.randint(self.network.members, (len(logits),))  # alike on every device
        chances = torch.sigmoid(logits[batch, asked.to(logits.device)]).flatten(1)
        return (chances - self._marks(pictures)).argmax(1), chance_map(logits).flatten(1)

    def _marks(self, pictures: Tensor) -> Tensor:
        """(batch, actions) 1 where not to pick, else 0."""
        return pictures[:, -1].flatten(1).repeat(1, self.stances)


def mean_chances(
    logits_of: Callable[[Tensor], Tensor], pictures: Tensor, symmetric: bool
) -> Tensor:
    """Chances (batch, actions) by what makes logits of pictures, without marks, as `chance_map`.

    symmetric: whether to take the mean over the eight turns and mirrors of each picture.
    """

    def maps_of(seen: Tensor) -> Tensor:
        return chance_map(logits_of(seen))

    maps = mean_over_turns(maps_of, pictures) if symmetric else maps_of(pictures)
    return maps.flatten(1)


def chance_map(logits: Tensor) -> Tensor:
    """Logits (batch, members, stances, height, width) as chances (batch, stances, height, width).

    The mean of the members'.
    """
    return torch.sigmoid(logits).mean(1)


def _two_convolutions(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
    )


def _cut(features: Tensor, where: Sequence[slice]) -> Tensor:
    """Rows and columns of features (batch, channels, height, width)."""
    rows, columns = where
    return features[:, :, rows, columns]


def _doubled(where: Sequence[slice]) -> list[slice]:
    """The same rows and columns at twice the resolution."""
    return [slice(2 * each.start, 2 * each.stop) for each in where]


def _moved(where: Sequence[slice], cut: Sequence[slice]) -> list[slice]:
    """Rows and columns of a picture as those of what was cut out of it."""
    return [
        slice(each.start - origin.start, each.stop - origin.start)
        for each, origin in zip(where, cut, strict=True)
    ]


def _joined(coarser: Tensor, features: Tensor) -> Tensor:
    """Features at half the resolution (batch, channels, height / 2, width / 2) before these."""
    return torch.cat([functional.interpolate(coarser, scale_factor=2, mode="nearest"), features], 1)
