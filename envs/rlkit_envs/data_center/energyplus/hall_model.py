"""Objects for the hall: zone, envelope, metal, servers, air loop with coil and fan.

Walls have no mass and hardly radiate, so that heat is stored where our plant stores it: in the air
and in one piece of metal with a fixed conductance to it.
"""

import numpy as np

from rlkit_envs.data_center.chilled_water_coil import CoilDesign, cross_flow_effectiveness
from rlkit_envs.data_center.design import DataCenterDesign
from rlkit_envs.data_center.energyplus.objects import (
    Model,
    add,
    biquadratic,
    branch,
    component,
    cubic,
    setpoint,
    table,
)
from rlkit_envs.data_center.energyplus.representation import (
    largest_server_power_w,
    power_chain_efficiency,
    power_loss_to_hall_ratio,
    represented_plant,
)
from rlkit_envs.data_center.humidity import operate_humidifier
from rlkit_envs.data_center.psychrometrics import (
    WATER_SPECIFIC_HEAT_J_KG_K,
    specific_heat_j_kg_k,
    standard_pressure_pa,
)
from rlkit_envs.data_center.servers import energyplus_curves

RECIRCULATION_SCALE = 0.5
"""Recirculation at which its curve is 1: the most that EnergyPlus takes as a design value. The
engine overrides the curve, so that any ratio can be had."""

WATER_DENSITY_AT_LOOP_START_KG_M3 = 999.9
"""Density, at 5 degC, with which EnergyPlus turns design water flows into masses."""

_HUMIDIFIER = "Humidifier:Steam:Electric"
_STEEL_DENSITY_KG_M3, _STEEL_SPECIFIC_HEAT_J_KG_K, _STEEL_THICKNESS_M = 7800.0, 500.0, 0.005
_NO_RADIATION = {
    "thermal_absorptance": 0.01,
    "solar_absorptance": 0.01,
    "visible_absorptance": 0.01,
}
_DESIGN_AIR_DEGC, _DESIGN_WATER_DEGC, _DRY_HUMIDITY_RATIO = 31.0, 13.0, 0.005
"""Design point of the coil, dry: there EnergyPlus finds its conductance, which then rises by 0.5 %
per kelvin of the air on one side and 1.2 % per kelvin of the water on the other. Ours does not; so
the point lies in the middle of what data centres run at."""


def standard_density_kg_m3(elevation_m: float) -> float:
    """Density of dry air of 20 degC at a site, with which EnergyPlus turns volumes into masses.

    As PsyRhoAirFnPbTdbW (Engineering Reference), whose least humidity ratio is 1e-5.
    """
    pressure_pa = float(standard_pressure_pa(elevation_m))
    return pressure_pa / (287.0 * 293.15 * (1.0 + 1.6077687e-5))


def add_hall(model: Model, design: DataCenterDesign) -> None:
    """The zone, its envelope, the metal in it, and outdoor air that leaks in."""
    hall = design.hall
    side_m = hall.air_volume_m3 ** (1.0 / 3.0)
    add(model, "Zone", "hall", volume=hall.air_volume_m3, ceiling_height=side_m)
    _add_shell(model, hall.envelope_conductance_w_k, side_m)
    area = _STEEL_DENSITY_KG_M3 * _STEEL_SPECIFIC_HEAT_J_KG_K * _STEEL_THICKNESS_M
    area = hall.metal_heat_capacity_j_k / area
    add(
        model,
        "Material",
        "steel",
        roughness="Smooth",
        thickness=_STEEL_THICKNESS_M,
        conductivity=45.0,
        density=_STEEL_DENSITY_KG_M3,
        specific_heat=_STEEL_SPECIFIC_HEAT_J_KG_K,
        **_NO_RADIATION,
    )
    add(model, "Construction", "metal", outside_layer="steel")
    add(
        model,
        "InternalMass",
        "metal",
        construction_name="metal",
        zone_or_zonelist_name="hall",
        surface_area=area,
    )
    _fix_convection(model, "metal", hall.metal_conductance_w_k / area)
    add(
        model,
        "ZoneInfiltration:DesignFlowRate",
        "infiltration",
        zone_or_zonelist_or_space_or_spacelist_name="hall",
        schedule_name="always",
        design_flow_rate_calculation_method="Flow/Zone",
        design_flow_rate=design.humidity.outdoor_air_m3_s,
        constant_term_coefficient=1.0,
    )


def _add_shell(model: Model, conductance_w_k: float, side_m: float) -> None:
    """A cube without mass whose roof conducts all that the envelope does, to the outdoor dry bulb.

    Half of the resistance lies in the roof, a quarter in the film on either side. The other
    surfaces are adiabatic.
    """
    per_area = max(conductance_w_k, 1e-3) / side_m**2
    for name, resistance in (("wall", 4.0), ("roof", 0.5 / per_area)):
        add(
            model,
            "Material:NoMass",
            f"{name} insulation",
            roughness="Rough",
            thermal_resistance=resistance,
            **_NO_RADIATION,
        )
        add(model, "Construction", name, outside_layer=f"{name} insulation")
    add(
        model,
        "SurfaceProperty:OtherSideCoefficients",
        "outdoors",
        combined_convective_radiative_film_coefficient=4.0 * per_area,
        constant_temperature_coefficient=0.0,
        external_dry_bulb_temperature_coefficient=1.0,
        ground_temperature_coefficient=0.0,
        wind_speed_coefficient=0.0,
        zone_air_temperature_coefficient=0.0,
    )
    corners = [(0.0, 0.0), (side_m, 0.0), (side_m, side_m), (0.0, side_m)]
    for index, (start, end) in enumerate(zip(corners, corners[1:] + corners[:1], strict=True)):
        wall = [(*start, side_m), (*start, 0.0), (*end, 0.0), (*end, side_m)]
        _surface(model, f"wall {index + 1}", "Wall", wall)
    _surface(model, "floor", "Floor", [(*corner, 0.0) for corner in reversed(corners)])
    _surface(model, "roof", "Roof", [(*corner, side_m) for corner in corners])
    _fix_convection(model, "roof", 4.0 * per_area)


def _surface(model: Model, name: str, kind: str, corners: list[tuple[float, float, float]]) -> None:
    if kind == "Roof":
        outside = {
            "construction_name": "roof",
            "outside_boundary_condition": "OtherSideCoefficients",
            "outside_boundary_condition_object": "outdoors",
        }
    else:
        outside = {"construction_name": "wall", "outside_boundary_condition": "Adiabatic"}
    add(
        model,
        "BuildingSurface:Detailed",
        name,
        surface_type=kind,
        zone_name="hall",
        sun_exposure="NoSun",
        wind_exposure="NoWind",
        vertices=[
            {"vertex_x_coordinate": x, "vertex_y_coordinate": y, "vertex_z_coordinate": z}
            for x, y, z in corners
        ],
        **outside,
    )


def _fix_convection(model: Model, surface: str, w_m2_k: float) -> None:
    add(
        model,
        "SurfaceProperty:ConvectionCoefficients",
        f"{surface} convection",
        surface_name=surface,
        convection_coefficient_1_location="Inside",
        convection_coefficient_1_type="Value",
        convection_coefficient_1=w_m2_k,
    )


def add_servers(model: Model, design: DataCenterDesign) -> None:
    """The servers with their curves, and the losses of the power chain as those of its UPS."""
    servers, curves = design.servers, energyplus_curves(design.servers)
    biquadratic(model, "compute power", curves.compute_power)
    biquadratic(model, "server flow", curves.flow, curves.flow_degc, largest_output=1.0)
    cubic(model, "server fan power", curves.fan_power, largest=1.0)
    constant = design.airflow.recirculation_ratio / RECIRCULATION_SCALE
    biquadratic(model, "recirculation", (constant, 0.0, 0.0, 0.0, 0.0, 0.0))
    loads = np.linspace(0.05, 1.1, 106).tolist()
    efficiencies = [power_chain_efficiency(design, load) for load in loads]
    table(model, "power chain efficiency", [loads], efficiencies)
    largest_w = largest_server_power_w(design)
    add(
        model,
        "ElectricEquipment:ITE:AirCooled",
        "servers",
        zone_or_space_name="hall",
        air_flow_calculation_method="FlowFromSystem",
        design_power_input_calculation_method="Watts/Unit",
        watts_per_unit=largest_w,
        number_of_units=1,
        design_power_input_schedule_name="servers running",
        cpu_loading_schedule_name="utilisation",
        cpu_power_input_function_of_loading_and_air_temperature_curve_name="compute power",
        design_fan_power_input_fraction=1.0 - servers.rated_power_w / largest_w,
        design_fan_air_flow_rate_per_power_input=servers.rated_flow_m3_s / largest_w,
        air_flow_function_of_loading_and_air_temperature_curve_name="server flow",
        fan_power_input_function_of_flow_curve_name="server fan power",
        design_entering_air_temperature=20.0,
        air_inlet_connection_type="AdjustedSupply",
        supply_air_node_name="hall inlet",
        design_recirculation_fraction=RECIRCULATION_SCALE,
        recirculation_function_of_loading_and_supply_temperature_curve_name="recirculation",
        design_electric_power_supply_efficiency=1.0,
        electric_power_supply_efficiency_function_of_part_load_ratio_curve_name=(
            "power chain efficiency"
        ),
        fraction_of_electric_power_supply_losses_to_zone=power_loss_to_hall_ratio(design),
    )


def add_air_handlers(model: Model, design: DataCenterDesign, elevation_m: float) -> None:
    """The air loop: return air, coil, fan, supply air, one terminal whose flow is overridden.

    A humidifier stands behind the fan, and keeps the supply, where our plant keeps the hall, above
    its least humidity; with the hall's air renewed every half minute they differ little.
    """
    fan, flow = design.fan, design.fan.rated_flow_m3_s
    coil = represented_plant(design)[0].coil
    add(
        model,
        "ZoneHVAC:EquipmentConnections",
        "hall connections",
        zone_name="hall",
        zone_conditioning_equipment_list_name="hall equipment",
        zone_air_inlet_node_or_nodelist_name="hall inlet",
        zone_air_node_name="hall air",
        zone_return_air_node_or_nodelist_name="hall return",
    )
    add(
        model,
        "ZoneHVAC:EquipmentList",
        "hall equipment",
        equipment=[
            {
                "zone_equipment_object_type": "ZoneHVAC:AirDistributionUnit",
                "zone_equipment_name": "distribution",
                "zone_equipment_cooling_sequence": 1,
                "zone_equipment_heating_or_no_load_sequence": 1,
            }
        ],
    )
    terminal = "AirTerminal:SingleDuct:ConstantVolume:NoReheat"
    add(
        model,
        "ZoneHVAC:AirDistributionUnit",
        "distribution",
        air_distribution_unit_outlet_node_name="hall inlet",
        air_terminal_object_type=terminal,
        air_terminal_name="terminal",
    )
    add(
        model,
        terminal,
        "terminal",
        availability_schedule_name="always",
        air_inlet_node_name="terminal inlet",
        air_outlet_node_name="hall inlet",
        maximum_air_flow_rate=flow,
    )
    for path, joint, node in (
        ("Supply", "Splitter", "plenum"),
        ("Return", "Mixer", "mixed return"),
    ):
        side = "inlet" if path == "Supply" else "outlet"
        entry = {
            "component_object_type": f"AirLoopHVAC:Zone{joint}",
            "component_name": f"air {joint.lower()}",
        }
        fields = {f"{path.lower()}_air_path_{side}_node_name": node, "components": [entry]}
        add(model, f"AirLoopHVAC:{path}Path", f"{path.lower()} path", **fields)
    add(
        model,
        "AirLoopHVAC:ZoneSplitter",
        "air splitter",
        inlet_node_name="plenum",
        nodes=[{"outlet_node_name": "terminal inlet"}],
    )
    add(
        model,
        "AirLoopHVAC:ZoneMixer",
        "air mixer",
        outlet_node_name="mixed return",
        nodes=[{"inlet_node_name": "hall return"}],
    )
    add(
        model,
        "AirLoopHVAC",
        "air handlers",
        controller_list_name="coil controllers",
        design_supply_air_flow_rate=flow,
        branch_list_name="air branches",
        supply_side_inlet_node_name="return air",
        demand_side_outlet_node_name="mixed return",
        demand_side_inlet_node_names="plenum",
        supply_side_outlet_node_names="supply air",
    )
    add(model, "BranchList", "air branches", branches=[{"branch_name": "air branch"}])
    fan_outlet, humidifier = "supply air", []
    if design.humidity.humidifier_kg_s > 0.0:
        fan_outlet = "fan outlet"
        _add_humidifier(model, design, fan_outlet)
        humidifier = [component(_HUMIDIFIER, "humidifier", fan_outlet, "supply air")]
    branch(
        model,
        "air branch",
        component("Coil:Cooling:Water", "coil", "return air", "coil air outlet"),
        component("Fan:SystemModel", "air handler fan", "coil air outlet", fan_outlet),
        *humidifier,
    )
    cubic(model, "air handler fan power", fan.power_coefficients, largest=1.0)
    add(
        model,
        "Fan:SystemModel",
        "air handler fan",
        availability_schedule_name="always",
        air_inlet_node_name="coil air outlet",
        air_outlet_node_name=fan_outlet,
        design_maximum_air_flow_rate=flow,
        speed_control_method="Continuous",
        electric_power_minimum_flow_rate_fraction=0.0,
        design_pressure_rise=fan.pressure_pa,
        fan_total_efficiency=fan.efficiency,
        motor_in_air_stream_fraction=1.0,
        design_electric_power_consumption=fan.rated_power_w,
        electric_power_function_of_flow_fraction_curve_name="air handler fan power",
    )
    add(
        model,
        "AirLoopHVAC:ControllerList",
        "coil controllers",
        controller_1_object_type="Controller:WaterCoil",
        controller_1_name="coil controller",
    )
    add(
        model,
        "Controller:WaterCoil",
        "coil controller",
        control_variable="Temperature",
        action="Reverse",
        actuator_variable="Flow",
        sensor_node_name="supply air",
        actuator_node_name="coil water inlet",
        controller_convergence_tolerance=0.001,
        maximum_actuated_flow=coil.rated_water_kg_s / WATER_DENSITY_AT_LOOP_START_KG_M3,
        minimum_actuated_flow=0.0,
    )
    setpoint(model, "supply air setpoint", "supply air")
    add(
        model,
        "Coil:Cooling:Water",
        "coil",
        availability_schedule_name="always",
        design_water_flow_rate=coil.rated_water_kg_s / WATER_DENSITY_AT_LOOP_START_KG_M3,
        design_air_flow_rate=coil.rated_air_kg_s / standard_density_kg_m3(elevation_m),
        design_inlet_water_temperature=_DESIGN_WATER_DEGC,
        design_inlet_air_temperature=_DESIGN_AIR_DEGC,
        design_outlet_air_temperature=_design_outlet_degc(coil),
        design_inlet_air_humidity_ratio=_DRY_HUMIDITY_RATIO,
        design_outlet_air_humidity_ratio=_DRY_HUMIDITY_RATIO,
        water_inlet_node_name="coil water inlet",
        water_outlet_node_name="coil water outlet",
        air_inlet_node_name="return air",
        air_outlet_node_name="coil air outlet",
        # The simple analysis takes a coil for wet all over as soon as any of it is; the supply then
        # jumps by kelvins when the hall's dew point passes the water's temperature.
        type_of_analysis="DetailedAnalysis",
        heat_exchanger_configuration="CrossFlow",
    )


def _add_humidifier(model: Model, design: DataCenterDesign, inlet: str) -> None:
    """An electric steam boiler in the supply air; unlike ours its losses stay out of the hall."""
    humidity = design.humidity
    add(
        model,
        _HUMIDIFIER,
        "humidifier",
        availability_schedule_name="always",
        rated_capacity=humidity.humidifier_kg_s / WATER_DENSITY_AT_LOOP_START_KG_M3,
        rated_power=float(operate_humidifier(humidity, humidity.humidifier_kg_s, 20.0).power_w),
        rated_fan_power=0.0,
        standby_power=0.0,
        air_inlet_node_name=inlet,
        air_outlet_node_name="supply air",
    )
    setpoint(model, "minimum humidity ratio", "supply air", "MinimumHumidityRatio")


def _design_outlet_degc(coil: CoilDesign) -> float:
    """Air that leaves the dry coil at its design point: EnergyPlus inverts this for its UA."""
    air_w_k = coil.rated_air_kg_s * float(specific_heat_j_kg_k(_DRY_HUMIDITY_RATIO))
    water_w_k = coil.rated_water_kg_s * WATER_SPECIFIC_HEAT_J_KG_K
    smaller, larger = sorted((air_w_k, water_w_k))
    units = coil.rated_conductance_w_k / smaller
    effectiveness = float(cross_flow_effectiveness(units, smaller / larger))
    drop = effectiveness * (_DESIGN_AIR_DEGC - _DESIGN_WATER_DEGC) * smaller / air_w_k
    return _DESIGN_AIR_DEGC - drop
