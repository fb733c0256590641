"""Heat that a plan leaves behind: what is warm at its end must be cooled later.

A plan that looks an hour ahead would else end with warm racks and water, and call that a saving.
"""

from rlkit_envs.data_center.design import ChilledWaterPlantDesign, DataCenterDesign
from rlkit_envs.data_center.plant_state import PlantState
from rlkit_envs.data_center.psychrometrics import AIR_SPECIFIC_HEAT_J_KG_K, Array

_DENSITY_KG_M3 = 1.2


def stored_heat_j(design: DataCenterDesign, state: PlantState) -> Array:
    """(rows,) J in the hall's air and metal and in the chilled water, over those at 0 degC.

    The condenser's water is left out: its heat is on its way to the tower anyhow.
    """
    hall, cooling = design.hall, design.cooling
    air_j_k = hall.air_volume_m3 * (_DENSITY_KG_M3 * AIR_SPECIFIC_HEAT_J_KG_K)
    heat_j = hall.metal_heat_capacity_j_k * state.metal_degc + air_j_k * state.hall_degc
    if isinstance(cooling, ChilledWaterPlantDesign):
        heat_j = heat_j + cooling.chilled_water.heat_capacity_j_k * state.chilled_degc
    return heat_j
