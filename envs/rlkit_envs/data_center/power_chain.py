"""From the utility to the servers: losses of transformer, UPS and power distribution units.

Each loss is a parabola of the load, as in Avelar's Making Large UPS Systems More Efficient
(Schneider Electric white paper 108): without load, in proportion to it, and with its square.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from rlkit_envs.data_center.psychrometrics import Array, Quantity
from rlkit_envs.data_center.ranges import check_positive, check_ranges


@dataclass(frozen=True)
class LossCurve:
    """Losses over rated power: no_load + proportional x + square x^2, x being output over rated."""

    no_load: float
    """Lost without load, 0..0.2: magnetisation, control, fans."""
    proportional: float
    """Lost in proportion, 0..0.2: switching, voltage drop of semiconductors."""
    square: float
    """Lost with the square, 0..0.2: resistance of conductors."""

    def __post_init__(self) -> None:
        limits = (0.0, 0.2)
        check_ranges(self, no_load=limits, proportional=limits, square=limits)


DOUBLE_CONVERSION_UPS = LossCurve(0.013, 0.012, 0.016)
"""A double-conversion UPS without transformer: efficiency 93.6, 95.6, 96.0 and 96.1 % at a quarter,
half, three quarters and full load (assumed)."""
DISTRIBUTION_UNIT = LossCurve(0.005, 0.0, 0.010)
"""A distribution unit with its transformer and the cables behind it: 98.5 % at full load
(assumed)."""
UTILITY_TRANSFORMER = LossCurve(0.002, 0.0, 0.008)
"""A medium-voltage transformer: 99.0 % at full load (assumed)."""


@dataclass(frozen=True)
class PowerChainDesign:
    """Ratings and losses from the utility to the servers."""

    ups_rated_w: float
    """Rated output of all UPS together, W: twice the load where they are doubled (2N)."""
    distribution_rated_w: float
    """Rated output of all power distribution units together, W."""
    transformer_rated_w: float
    """Rated output of the utility's transformers together, W."""
    ups_loss: LossCurve = field(default_factory=lambda: DOUBLE_CONVERSION_UPS)
    """Of the UPS."""
    distribution_loss: LossCurve = field(default_factory=lambda: DISTRIBUTION_UNIT)
    """Of the power distribution units."""
    transformer_loss: LossCurve = field(default_factory=lambda: UTILITY_TRANSFORMER)
    """Of the transformers, outdoors."""
    ups_hall_share: float = 1.0
    """Share of the UPS losses that the hall's cooling removes, 0..1; EnergyPlus' default is 1."""
    distribution_hall_share: float = 1.0
    """The same for the power distribution units, which stand in the hall."""

    def __post_init__(self) -> None:
        check_positive(self, "ups_rated_w", "distribution_rated_w", "transformer_rated_w")
        check_ranges(self, ups_hall_share=(0.0, 1.0), distribution_hall_share=(0.0, 1.0))


class CriticalPower(NamedTuple):
    """Power behind the UPS; arrays of one shape."""

    distribution_loss_w: Array
    ups_loss_w: Array
    input_w: Array
    """Into the UPS: servers and both losses."""
    hall_heat_w: Array
    """Share of both losses that heats the hall; the servers' power is not in it."""


class FacilityPower(NamedTuple):
    """Power from the utility; arrays of one shape."""

    transformer_loss_w: Array
    power_w: Array


def loss_w(curve: LossCurve, rated_w: float, output_w: Quantity) -> Array:
    """What is lost while `output_w` leaves."""
    load = output_w * (1.0 / rated_w)
    return ((curve.square * load + curve.proportional) * load + curve.no_load) * rated_w


def efficiency(curve: LossCurve, load: Quantity) -> Array:
    """Output over input at a load above 0, over the rated one."""
    return load / (load + loss_w(curve, 1.0, load))


def operate_critical_power(design: PowerChainDesign, server_power_w: Quantity) -> CriticalPower:
    """Losses between the UPS and servers that draw `server_power_w`, fans included.

    EnergyPlus counts the loss of ElectricEquipment:ITE:AirCooled as output times (1 - efficiency
    curve): a curve of 1 - (distribution + UPS loss) / output over the load gives the same.
    """
    distribution = loss_w(design.distribution_loss, design.distribution_rated_w, server_power_w)
    ups_output = server_power_w + distribution
    ups = loss_w(design.ups_loss, design.ups_rated_w, ups_output)
    hall = design.distribution_hall_share * distribution + design.ups_hall_share * ups
    return CriticalPower(distribution, ups, ups_output + ups, hall)


def operate_transformer(
    design: PowerChainDesign, critical_w: Quantity, mechanical_w: Quantity
) -> FacilityPower:
    """What the utility delivers for the UPS's input and for everything that cools."""
    output = critical_w + mechanical_w
    loss = loss_w(design.transformer_loss, design.transformer_rated_w, output)
    return FacilityPower(loss, output + loss)
