"""The reward: minus what the whole site's energy costs, less a penalty for unsafe inlets.

Temperature limits are ASHRAE TC 9.9's (Thermal Guidelines for Data Processing Environments, 5th
edition, 2021), at the hottest inlet, without the derating for altitude.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from rlkit_envs.data_center.psychrometrics import Array, Quantity
from rlkit_envs.data_center.ranges import check_positive, check_ranges
from rlkit_envs.data_center.weather import STEPS_PER_DAY, STEPS_PER_HOUR, STEPS_PER_YEAR

RECOMMENDED_DEGC = (18.0, 27.0)
"""Of every class."""
RECOMMENDED_DEW_POINT_DEGC = (-9.0, 15.0)
"""Of every class."""
ALLOWABLE_DEGC: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"A1": (15.0, 32.0), "A2": (10.0, 35.0), "A3": (5.0, 40.0), "A4": (5.0, 45.0)}
)
"""By class of the servers."""

Signal = float | tuple[float, ...]
"""One number; or 24, one an hour of the day; or one a step of the year."""


@dataclass(frozen=True)
class RewardSettings:
    """What energy costs, and how unsafe inlets are paid for.

    The unit is what the rated power of the servers costs in a step at the mean price: a site that
    draws 1.3 times that power at a constant price is rewarded with -1.3.
    """

    price_per_kwh: Signal = 0.10
    """Of electricity, in any currency, 0 or more; a `Signal`."""
    carbon_price_per_kg: float = 0.0
    """Of emitted carbon dioxide, in that currency, 0 or more; 0 leaves it out."""
    carbon_kg_per_kwh: Signal = 0.4
    """Emitted by the grid, 0 or more; a `Signal`."""
    inlet_class: str = "A1"
    """ASHRAE class of the servers, A1 to A4."""
    recommended_penalty: float = 0.1
    """For a hottest inlet outside the recommended 18 to 27 degC, however little, 0 or more. Doing
    without the chiller saves up to about 0.09 (measured on `chilled_water_hall`), so that less
    would pay for staying a little too warm."""
    recommended_penalty_per_k: float = 0.1
    """For each kelvin outside that range, on top of that, 0 or more. A warmer kelvin saves about
    0.005."""
    margin_k: float = 0.0
    """How far within the recommended range these two already begin, kelvin, 0 to 4: what an agent
    keeps away from while it learns. Violations are counted without it."""
    allowable_penalty_per_k: float = 1.0
    """For each kelvin outside the class's allowable range, on top of that, 0 or more."""
    withstood_rise: float = 0.0
    """Share of the load's sharpest rise (`sensors.RISE_SENSOR`) that inlets must withstand, 0 to 2.
    Above 0 the three penalties before this one are for the warmer of two inlets: that of the step,
    and that of the same step had the load risen by so much more within it. Bursts are too rare to
    learn from by waiting for them; this asks at every step. Violations are counted without it.
    Costs a second step of the plant; not with `engine="energyplus"`."""
    economiser_change_penalty: float = 0.0
    """For each change of the economiser's mode, 0 or more: chillers and valves wear with their
    starts, which energy does not tell."""
    shutdown_penalty: float = 10.0
    """For all servers having switched themselves off for heat, in proportion for some of them, 0 or
    more: work that is not done must never pay."""
    relative_to_load: bool = False
    """Leave out what the servers would draw at the same utilisation and 20 degC inlets. Nothing
    that an agent does changes that sum, so the best policy stays the same; but its effect is no
    longer drowned by the load's."""
    scale: float = 1.0
    """What the whole reward is multiplied by, above 0. A loss that is quadratic up to an error of 1
    and linear beyond looks past rare disasters where ordinary differences have that size: 20."""

    def __post_init__(self) -> None:
        for name in ("price_per_kwh", "carbon_kg_per_kwh"):
            value = getattr(self, name)
            if not isinstance(value, int | float):
                object.__setattr__(self, name, tuple(float(entry) for entry in value))
            _check_signal(name, getattr(self, name))
        check_ranges(
            self,
            carbon_price_per_kg=(0.0, np.inf),
            recommended_penalty=(0.0, np.inf),
            recommended_penalty_per_k=(0.0, np.inf),
            margin_k=(0.0, 4.0),
            allowable_penalty_per_k=(0.0, np.inf),
            withstood_rise=(0.0, 2.0),
            economiser_change_penalty=(0.0, np.inf),
            shutdown_penalty=(0.0, np.inf),
        )
        check_positive(self, "scale")
        if self.inlet_class not in ALLOWABLE_DEGC:
            raise ValueError(
                f"RewardSettings.inlet_class is {self.inlet_class!r}: "
                f"there are {', '.join(ALLOWABLE_DEGC)}"
            )
        if not float(np.mean(cost_per_kwh(self))) > 0.0:
            raise ValueError("price_per_kwh is 0 and no carbon is paid for: energy must cost")

    @property
    def allowable_degc(self) -> tuple[float, float]:
        """Allowable inlet temperatures of the class."""
        return ALLOWABLE_DEGC[self.inlet_class]


class Excursions(NamedTuple):
    """How far the hottest inlet lies outside its ranges; arrays (num_envs,), 0 within."""

    recommended_k: Array
    allowable_k: Array
    inlet_degc: Array
    """The inlet itself."""


def excursions(hottest_inlet_degc: Array, allowable_degc: tuple[float, float]) -> Excursions:
    """Kelvin below the lower or above the upper limit, of both ranges."""
    return Excursions(
        outside_k(hottest_inlet_degc, RECOMMENDED_DEGC),
        outside_k(hottest_inlet_degc, allowable_degc),
        hottest_inlet_degc,
    )


def outside_k(values: Array, limits: tuple[float, float]) -> Array:
    """Distance to a closed range, 0 within it."""
    return np.maximum(np.maximum(limits[0] - values, values - limits[1]), 0.0)


def inlet_penalty(settings: RewardSettings, outside: Excursions) -> Array:
    """(num_envs,) what excursions cost, 0 or more, before `scale`."""
    near_k = outside.recommended_k
    if settings.margin_k > 0.0:
        low, high = RECOMMENDED_DEGC
        near_k = outside_k(outside.inlet_degc, (low + settings.margin_k, high - settings.margin_k))
    penalty = settings.recommended_penalty_per_k * near_k
    penalty += settings.recommended_penalty * (near_k > 0.0)
    penalty += settings.allowable_penalty_per_k * outside.allowable_k
    return penalty


def reward(
    settings: RewardSettings,
    energy_cost_ratio: Array,
    penalty: Array,
    servers_off_ratio: Quantity = 0.0,
    economiser_changed: Quantity = 0.0,
) -> Array:
    """Minus the energy's cost, less the penalties; all (num_envs,).

    energy_cost_ratio: cost of the facility's energy over that of the servers' rated power at the
    mean price, in the same time. penalty: `inlet_penalty`. servers_off_ratio: share of the servers
    that heat has stopped. economiser_changed: whether its mode is another than in the step before.
    """
    penalty = penalty + settings.shutdown_penalty * servers_off_ratio
    penalty += settings.economiser_change_penalty * economiser_changed
    return -settings.scale * (energy_cost_ratio + penalty)


def cost_per_kwh(settings: RewardSettings) -> Array:
    """(STEPS_PER_YEAR,) of electricity and the carbon that it emits, or (1,) if constant."""
    price = signal_of_steps(settings.price_per_kwh)
    return price + settings.carbon_price_per_kg * signal_of_steps(settings.carbon_kg_per_kwh)


def signal_of_steps(signal: Signal) -> Array:
    """(STEPS_PER_YEAR,), or (1,) where the signal is one number."""
    if isinstance(signal, int | float):
        return np.array([float(signal)])
    values = np.array(signal, dtype=np.float64)
    if len(values) == STEPS_PER_YEAR:
        return values
    return np.tile(np.repeat(values, STEPS_PER_HOUR), STEPS_PER_YEAR // STEPS_PER_DAY)


def _check_signal(name: str, signal: Signal) -> None:
    values = np.atleast_1d(np.array(signal, dtype=np.float64))
    if not isinstance(signal, int | float) and len(values) not in (24, STEPS_PER_YEAR):
        raise ValueError(
            f"{name} has {len(values)} values: one number, 24 (an hour each) or "
            f"{STEPS_PER_YEAR} (a step each) would fit"
        )
    wrong = np.flatnonzero(~((values >= 0.0) & np.isfinite(values)))
    if wrong.size:
        raise ValueError(f"{name}[{wrong[0]}] is {values[wrong[0]]:g}: it must be 0 or more")
