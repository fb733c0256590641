"""Objects for the water loops: coil, plate exchanger, chiller, pumps, tower.

Exchanger and chiller stand in series in the chilled water, each with its own set point, and side
by side in the condenser water: in series there, EnergyPlus 25.2 goes on exchanging heat in an
exchanger that is switched off, and does not settle.
"""

import numpy as np

from rlkit_envs.data_center.chiller import ChillerDesign, chiller_state
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.economisers import PlateExchangerDesign
from rlkit_envs.data_center.energyplus.hall_model import WATER_DENSITY_AT_LOOP_START_KG_M3
from rlkit_envs.data_center.energyplus.objects import (
    Model,
    add,
    branch,
    branches,
    component,
    cubic,
    pipe,
    setpoint,
    table,
)
from rlkit_envs.data_center.energyplus.representation import represented_plant
from rlkit_envs.data_center.pumps import PumpDesign

_CHILLER = "Chiller:Electric:EIR"
_CHILLED_DEGC, _CONDENSER_DEGC = (3.0, 30.0), (1.0, 60.0)
"""Ends of the tables of the chiller's curves."""
_HOTTEST_LOOP_DEGC, _COLDEST_LOOP_DEGC = 80.0, 1.0


def add_chilled_water(model: Model, design: DataCenterDesign) -> None:
    """The chilled-water loop: pump, plate exchanger, chiller; coil and a bypass."""
    plant, exchanger = represented_plant(design)
    flow_m3_s = _volume_flow_m3_s(plant.chilled_pump.flow_kg_s)
    _loop(model, "chilled water", flow_m3_s, plant.chilled_water.volume_m3)
    branches(model, "chilled water supply branches", "chilled water plant")
    branch(
        model,
        "chilled water plant",
        component(
            "Pump:VariableSpeed",
            "chilled water pump",
            "chilled water return",
            "chilled water pump outlet",
        ),
        component(
            "HeatExchanger:FluidToFluid",
            "economiser",
            "chilled water pump outlet",
            "chilled water after economiser",
        ),
        component(
            _CHILLER,
            "chiller",
            "chilled water after economiser",
            "chilled water supply",
        ),
    )
    _demand_branches(
        model,
        "chilled water",
        {
            "coil branch": component(
                "Coil:Cooling:Water", "coil", "coil water inlet", "coil water outlet"
            )
        },
    )
    least = plant.chilled_pump.minimum_flow_ratio
    _pump(model, "chilled water", plant.chilled_pump, least * flow_m3_s)
    setpoint(model, "chilled water setpoint", "chilled water after economiser")
    setpoint(model, "chiller setpoint", "chilled water supply")
    add(
        model,
        "PlantEquipmentOperation:ComponentSetpoint",
        "chilled water scheme",
        equipment_1_object_type="HeatExchanger:FluidToFluid",
        equipment_1_name="economiser",
        demand_calculation_1_node_name="chilled water pump outlet",
        setpoint_1_node_name="chilled water after economiser",
        component_1_flow_rate=flow_m3_s,
        operation_1_type="Cooling",
        equipment_2_object_type=_CHILLER,
        equipment_2_name="chiller",
        demand_calculation_2_node_name="chilled water after economiser",
        setpoint_2_node_name="chilled water supply",
        component_2_flow_rate=flow_m3_s,
        operation_2_type="Cooling",
    )
    _operation(model, "chilled water", "PlantEquipmentOperation:ComponentSetpoint")
    _add_exchanger(model, exchanger, flow_m3_s)
    _add_chiller(model, plant.chiller, flow_m3_s, plant.chiller_condenser_kg_s)


def _add_exchanger(model: Model, exchanger: PlateExchangerDesign, flow_m3_s: float) -> None:
    add(
        model,
        "HeatExchanger:FluidToFluid",
        "economiser",
        availability_schedule_name="economiser",
        loop_demand_side_inlet_node_name="economiser condenser inlet",
        loop_demand_side_outlet_node_name="economiser condenser outlet",
        loop_demand_side_design_flow_rate=_volume_flow_m3_s(exchanger.condenser_flow_kg_s),
        loop_supply_side_inlet_node_name="chilled water pump outlet",
        loop_supply_side_outlet_node_name="chilled water after economiser",
        loop_supply_side_design_flow_rate=flow_m3_s,
        heat_exchange_model_type="CounterFlow",
        heat_exchanger_u_factor_times_area_value=exchanger.conductance_w_k,
        control_type="CoolingSetpointModulated",
        heat_exchanger_setpoint_node_name="chilled water after economiser",
        minimum_temperature_difference_to_activate_heat_exchanger=0.1,
        heat_transfer_metering_end_use_type="FreeCooling",
    )


def _add_chiller(
    model: Model, chiller: ChillerDesign, flow_m3_s: float, condenser_kg_s: float
) -> None:
    """Chiller:Electric:EIR with tables that hold the curves of Chiller:Electric.

    Both compute capacity x power ratio x part-load ratio / COP. But Chiller:Electric (25.2) takes
    for the leaving water what its design flow would make of it, wherever a pump runs slower: up to
    a tenth too little power. And it knows no limits of the lift. No chiller is asked for more than
    its reference capacity, however cold its condenser: so that is the largest that the curves give.
    """
    chilled = np.arange(_CHILLED_DEGC[0], _CHILLED_DEGC[1] + 0.25, 0.5)
    condenser = np.arange(_CONDENSER_DEGC[0], _CONDENSER_DEGC[1] + 0.5, 1.0)
    state = chiller_state(chiller, chilled[:, np.newaxis], condenser[np.newaxis, :])
    largest_w = float(state.capacity_w.max())
    capacity = state.capacity_w / largest_w
    power = state.full_load_power_w / state.capacity_w * chiller.cop
    inputs = [chilled.tolist(), condenser.tolist()]
    table(model, "chiller capacity", inputs, capacity.ravel().tolist())
    table(model, "chiller power", inputs, power.ravel().tolist())
    constant, linear, square = chiller.part_load_coefficients
    cubic(model, "chiller part load", (constant, linear, square, 0.0), largest=1.0)
    add(
        model,
        _CHILLER,
        "chiller",
        condenser_type="WaterCooled",
        reference_capacity=largest_w,
        reference_cop=chiller.cop,
        reference_leaving_chilled_water_temperature=chiller.reference_chilled_degc,
        reference_entering_condenser_fluid_temperature=chiller.reference_condenser_degc,
        reference_chilled_water_flow_rate=flow_m3_s,
        reference_condenser_fluid_flow_rate=_volume_flow_m3_s(condenser_kg_s),
        cooling_capacity_function_of_temperature_curve_name="chiller capacity",
        electric_input_to_cooling_output_ratio_function_of_temperature_curve_name="chiller power",
        electric_input_to_cooling_output_ratio_function_of_part_load_ratio_curve_name=(
            "chiller part load"
        ),
        minimum_part_load_ratio=chiller.minimum_part_load_ratio,
        minimum_unloading_ratio=chiller.minimum_part_load_ratio,
        maximum_part_load_ratio=1.0,
        optimum_part_load_ratio=max(0.65, chiller.minimum_part_load_ratio),
        chilled_water_inlet_node_name="chilled water after economiser",
        chilled_water_outlet_node_name="chilled water supply",
        condenser_inlet_node_name="chiller condenser inlet",
        condenser_outlet_node_name="chiller condenser outlet",
        fraction_of_compressor_electric_consumption_rejected_by_condenser=1.0,
        leaving_chilled_water_lower_temperature_limit=chiller.minimum_chilled_degc,
        chiller_flow_mode="NotModulated",
    )


def add_condenser_water(model: Model, design: DataCenterDesign) -> None:
    """The condenser loop: pump and tower; chiller, exchanger and a bypass side by side.

    The pump moves at least what one of the two takes; what the exchanger's valve holds back then
    bypasses it, so that the tower is not starved.
    """
    plant, exchanger = represented_plant(design)
    pump, tower = plant.condenser_pump, plant.tower
    volume_m3 = plant.condenser_water.volume_m3
    _loop(model, "condenser water", _volume_flow_m3_s(pump.flow_kg_s), volume_m3)
    branches(model, "condenser water supply branches", "condenser water plant")
    branch(
        model,
        "condenser water plant",
        component(
            "Pump:VariableSpeed",
            "condenser water pump",
            "condenser water return",
            "condenser water pump outlet",
        ),
        component(
            "CoolingTower:VariableSpeed",
            "tower",
            "condenser water pump outlet",
            "condenser water supply",
        ),
    )
    _demand_branches(
        model,
        "condenser water",
        {
            "chiller condenser branch": component(
                _CHILLER, "chiller", "chiller condenser inlet", "chiller condenser outlet"
            ),
            "economiser condenser branch": component(
                "HeatExchanger:FluidToFluid",
                "economiser",
                "economiser condenser inlet",
                "economiser condenser outlet",
            ),
        },
    )
    least = min(plant.chiller_condenser_kg_s, exchanger.condenser_flow_kg_s)
    _pump(model, "condenser water", pump, _volume_flow_m3_s(least))
    setpoint(model, "condenser water setpoint", "condenser water supply")
    add(
        model,
        "PlantEquipmentOperation:CoolingLoad",
        "condenser water scheme",
        load_range_1_lower_limit=0.0,
        load_range_1_upper_limit=1e9,
        range_1_equipment_list_name="towers",
    )
    add(
        model,
        "PlantEquipmentList",
        "towers",
        equipment=[
            {"equipment_object_type": "CoolingTower:VariableSpeed", "equipment_name": "tower"}
        ],
    )
    _operation(model, "condenser water", "PlantEquipmentOperation:CoolingLoad")
    cubic(model, "tower fan power", tower.fan_coefficients, largest=1.0)
    add(
        model,
        "CoolingTower:VariableSpeed",
        "tower",
        water_inlet_node_name="condenser water pump outlet",
        water_outlet_node_name="condenser water supply",
        model_type="YorkCalc",
        design_inlet_air_wet_bulb_temperature=tower.wet_bulb_degc,
        design_approach_temperature=tower.approach_k,
        design_range_temperature=tower.range_k,
        design_water_flow_rate=_volume_flow_m3_s(tower.water_flow_kg_s),
        design_air_flow_rate=tower.air_flow_m3_s,
        design_fan_power=tower.fan_power_w,
        fan_power_ratio_function_of_air_flow_rate_ratio_curve_name="tower fan power",
        minimum_air_flow_rate_ratio=tower.minimum_fan_ratio,
        fraction_of_tower_capacity_in_free_convection_regime=tower.free_convection_ratio,
        evaporation_loss_mode="SaturatedExit",
        drift_loss_percent=100.0 * tower.drift_ratio,
        blowdown_calculation_mode="ConcentrationRatio",
        blowdown_concentration_ratio=tower.cycles_of_concentration,
        number_of_cells=1,
    )


def _loop(model: Model, name: str, flow_m3_s: float, volume_m3: float) -> None:
    """A water loop; its branches, connectors and operation are named after it."""
    add(
        model,
        "PlantLoop",
        f"{name} loop",
        fluid_type="Water",
        plant_equipment_operation_scheme_name=f"{name} operation",
        loop_temperature_setpoint_node_name=f"{name} supply",
        maximum_loop_temperature=_HOTTEST_LOOP_DEGC,
        minimum_loop_temperature=_COLDEST_LOOP_DEGC,
        maximum_loop_flow_rate=flow_m3_s,
        minimum_loop_flow_rate=0.0,
        plant_loop_volume=volume_m3,
        plant_side_inlet_node_name=f"{name} return",
        plant_side_outlet_node_name=f"{name} supply",
        plant_side_branch_list_name=f"{name} supply branches",
        demand_side_inlet_node_name=f"{name} demand inlet",
        demand_side_outlet_node_name=f"{name} demand outlet",
        demand_side_branch_list_name=f"{name} demand branches",
        demand_side_connector_list_name=f"{name} demand branches connectors",
        load_distribution_scheme="SequentialLoad",
        plant_loop_demand_calculation_scheme="SingleSetpoint",
    )


def _demand_branches(model: Model, name: str, consumers: dict[str, dict[str, str]]) -> None:
    """Consumers side by side with a bypass, between two pipes."""
    pipe(model, f"{name} inlet pipe", f"{name} demand inlet", f"{name} inlet pipe outlet")
    pipe(model, f"{name} bypass", f"{name} bypass inlet", f"{name} bypass outlet")
    pipe(model, f"{name} outlet pipe", f"{name} outlet pipe inlet", f"{name} demand outlet")
    for consumer, entry in consumers.items():
        branch(model, consumer, entry)
    branches(
        model,
        f"{name} demand branches",
        f"{name} inlet pipe",
        *consumers,
        f"{name} bypass",
        f"{name} outlet pipe",
    )


def _pump(model: Model, name: str, pump: PumpDesign, least_flow_m3_s: float) -> None:
    constant, linear, square, cube = pump.power_coefficients
    add(
        model,
        "Pump:VariableSpeed",
        f"{name} pump",
        inlet_node_name=f"{name} return",
        outlet_node_name=f"{name} pump outlet",
        design_maximum_flow_rate=_volume_flow_m3_s(pump.flow_kg_s),
        design_pump_head=pump.head_pa,
        design_power_consumption=pump.power_w,
        motor_efficiency=pump.motor_efficiency,
        fraction_of_motor_inefficiencies_to_fluid_stream=pump.motor_loss_to_water,
        coefficient_1_of_the_part_load_performance_curve=constant,
        coefficient_2_of_the_part_load_performance_curve=linear,
        coefficient_3_of_the_part_load_performance_curve=square,
        coefficient_4_of_the_part_load_performance_curve=cube,
        design_minimum_flow_rate=least_flow_m3_s,
        pump_control_type="Intermittent",
    )


def _operation(model: Model, name: str, scheme: str) -> None:
    add(
        model,
        "PlantEquipmentOperationSchemes",
        f"{name} operation",
        control_scheme_1_object_type=scheme,
        control_scheme_1_name=f"{name} scheme",
        control_scheme_1_schedule_name="always",
    )


def _volume_flow_m3_s(flow_kg_s: float) -> float:
    return flow_kg_s / WATER_DENSITY_AT_LOOP_START_KG_M3
