"""Tower, plate exchanger and chiller brought to balance over their common condenser water.

Exchanger and condenser stand side by side in the tower's water, each with a flow of its own; both
streams return warm and mix. What the tower rejects must be what both give, and what they give
depends on how cold the tower makes the water: one unknown, the heat rejected, found by a fixed
number of Newton steps. Energy closes whatever is left of the balance, because the heat of the last
step is what counts.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.data_center.chilled_water import (
    ChilledWaterRemoval,
    ChilledWaterStep,
    chilled_water_removal,
)
from rlkit_envs.data_center.chiller import Chiller, ChillerDesign, chiller, chiller_state
from rlkit_envs.data_center.cooling_tower import (
    TowerDesign,
    TowerState,
    tower_balance,
)
from rlkit_envs.data_center.psychrometrics import WATER_SPECIFIC_HEAT_J_KG_K, Quantity

Array = NDArray[np.float64]

LEAST_CONDENSER_FLOW_KG_S = 0.1
"""Condenser water below which the chiller's flow switch stops it (assumed)."""
_CAPACITY_FALL = 0.04
"""Share of its capacity that a chiller loses per kelvin, near enough for Newton's method."""
_POWER_RISE = 0.003
"""Rise of the condenser's heat per kelvin at a held load, near enough for Newton's method."""
_EXCHANGER_STEPS = 3
"""Newton steps from below, after which an exchanger alone is within 1e-3 K of the tower."""


class CondenserBalance(NamedTuple):
    """One step of chilled-water and condenser loops."""

    water: ChilledWaterRemoval
    """What the chilled water gave, and where that left it."""
    chiller: Chiller
    """The chiller's heat and power."""
    rejected_w: Array
    """Heat into the tower, W: exchanger, condenser and condenser pump."""
    tower_entering_degc: Array
    """Water entering the tower."""
    tower_leaving_degc: Array
    """Water leaving the tower, which enters condenser and exchanger."""
    residual_k: Array
    """Range that the water has less the range that the tower would give it, K."""


def balance_condenser(
    chiller_design: ChillerDesign,
    tower_design: TowerDesign,
    tower: TowerState,
    step: ChilledWaterStep,
    *,
    setpoint_degc: Quantity,
    chiller_running: NDArray[np.bool_] | bool = True,
    exchanger_w_k: Quantity = 0.0,
    return_degc: Quantity = 0.0,
    pump_heat_w: Quantity = 0.0,
    refrigerant_loss: Quantity = 0.0,
    condenser_fouling: Quantity = 0.0,
    iterations: int = 2,
) -> CondenserBalance:
    """Finds the condenser water's temperatures, and with them the heat and power of the chiller.

    setpoint_degc: chilled-water set point, that of `step`, which also decides the chiller's lift;
    the caller keeps it at or above the design's `minimum_chilled_degc`. exchanger_w_k:
    `plate_exchanger_w_k`, acting between return_degc, the chilled water's return at the step's
    start, and the tower's leaving water. pump_heat_w: heat of the condenser pump, added before the
    tower. iterations: Newton steps; with 2 the residual is typically 1e-5 K and within 0.1 K while
    the fan runs and the set point moves by up to 1 K (tests).
    """
    w_k = tower.water_flow_kg_s * WATER_SPECIFIC_HEAT_J_KG_K
    running = np.logical_and(chiller_running, tower.water_flow_kg_s > LEAST_CONDENSER_FLOW_KG_S)

    def balance(rejected_w: Array) -> tuple[Array, Array, ChilledWaterRemoval, Chiller, Array]:
        cooled = tower_balance(tower, rejected_w)
        leaving = np.maximum(cooled.leaving_degc, tower_design.minimum_leaving_degc)
        offered_w = exchanger_w_k * (return_degc - leaving)
        state = chiller_state(
            chiller_design,
            setpoint_degc,
            leaving,
            running=running,
            refrigerant_loss=refrigerant_loss,
            condenser_fouling=condenser_fouling,
        )
        water = chilled_water_removal(step, offered_w, state.capacity_w)
        work = chiller(chiller_design, state, water.chiller_w)
        rejected = water.exchanger_w + work.condenser_heat_w + pump_heat_w
        return leaving, cooled.warming, water, work, rejected

    wanted_w = np.maximum(step.load_w - step.held_wanted_w, 0.0)
    carried_w = np.minimum(wanted_w, chiller_design.capacity_w) * (1.0 + 0.9 / chiller_design.cop)
    alone_w_k, alone = exchanger_w_k, np.zeros_like(carried_w)
    if np.ndim(exchanger_w_k) or exchanger_w_k:  # a plant without an exchanger saves the search
        # What the exchanger would give alone: a line against the tower's curve, which bends down,
        # so that Newton's method comes from below.
        kept = 1.0 - step.removed_slope_w_k * step.mean_gain_k_w
        alone_w_k = exchanger_w_k * kept
        given_w = alone_w_k * return_degc + (1.0 - kept) * step.load_w
        for _ in range(_EXCHANGER_STEPS):
            cooled = tower_balance(tower, alone + pump_heat_w)
            missing = given_w - alone_w_k * cooled.leaving_degc - alone
            alone = alone + missing / (1.0 + alone_w_k / w_k * cooled.warming)
        most_w = given_w - alone_w_k * tower_design.minimum_leaving_degc
        alone = np.clip(alone, 0.0, np.clip(most_w, 0.0, wanted_w))
    assumed = np.where(running, np.maximum(carried_w, alone), alone) + pump_heat_w

    for _ in range(iterations):
        _, warming, water, _, rejected = balance(assumed)
        # Newton's method. A chiller that holds its set point hardly feels warmer water; one that
        # cannot, and an exchanger that cannot, give less.
        short = water.end_degc > setpoint_degc + 1e-6
        range_k = rejected / w_k
        falling = _CAPACITY_FALL * range_k + (alone_w_k / w_k) * (water.exchanger_w > 0.0)
        slope = 1.0 + np.where(short, falling, -_POWER_RISE * range_k) * warming
        assumed = np.maximum(assumed + (rejected - assumed) / slope, 0.0)
    leaving, _, water, work, rejected = balance(assumed)
    return CondenserBalance(
        water=water,
        chiller=work,
        rejected_w=rejected,
        tower_entering_degc=leaving + rejected / w_k,
        tower_leaving_degc=leaving,
        residual_k=(rejected - assumed) / w_k,
    )
