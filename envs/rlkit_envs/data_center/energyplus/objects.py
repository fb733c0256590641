"""Objects of EnergyPlus's input, as epJSON has them: by type, then by name."""

from collections.abc import Sequence
from typing import Any

Model = dict[str, dict[str, dict[str, Any]]]
"""Fields of every object, by its type and its name."""

HOTTEST_CURVE_DEGC = 90.0
"""Upper end of temperatures in curves; EnergyPlus holds a curve beyond its ends."""
COLDEST_CURVE_DEGC = -40.0
"""Lower end of temperatures in curves."""


def add(model: Model, kind: str, name: str, **fields: Any) -> None:
    """Add an object. Raises ValueError where its name is taken: EnergyPlus would keep one."""
    objects = model.setdefault(kind, {})
    if name in objects:
        raise ValueError(f"the model has two objects {kind} named {name!r}")
    objects[name] = fields


def schedule(model: Model, name: str, value: float) -> None:
    """Add a schedule with one value, for good or until it is overridden."""
    limits = "any number"
    if limits not in model.setdefault("ScheduleTypeLimits", {}):
        add(model, "ScheduleTypeLimits", limits, numeric_type="Continuous")
    add(model, "Schedule:Constant", name, schedule_type_limits_name=limits, hourly_value=value)


def setpoint(
    model: Model, schedule_name: str, node: str, control_variable: str = "Temperature"
) -> None:
    """Hold a set point of a node at a schedule's value."""
    add(
        model,
        "SetpointManager:Scheduled",
        f"{node} {control_variable} manager",
        control_variable=control_variable,
        schedule_name=schedule_name,
        setpoint_node_or_nodelist_name=node,
    )


def cubic(
    model: Model, name: str, coefficients: Sequence[float], largest: float, least: float = 0.0
) -> None:
    """Add a cubic of one variable in least..largest, coefficients constant first."""
    add(
        model,
        "Curve:Cubic",
        name,
        coefficient1_constant=coefficients[0],
        coefficient2_x=coefficients[1],
        coefficient3_x_2=coefficients[2],
        coefficient4_x_3=coefficients[3],
        minimum_value_of_x=least,
        maximum_value_of_x=largest,
    )


def biquadratic(
    model: Model,
    name: str,
    coefficients: Sequence[float],
    temperatures_degc: tuple[float, float] = (COLDEST_CURVE_DEGC, HOTTEST_CURVE_DEGC),
    largest_output: float | None = None,
) -> None:
    """Add c1 + c2 x + c3 x^2 + c4 y + c5 y^2 + c6 x y of x in 0..1 and a temperature y."""
    constant, x, x_square, y, y_square, x_y = coefficients
    limit = {} if largest_output is None else {"maximum_curve_output": largest_output}
    add(
        model,
        "Curve:Biquadratic",
        name,
        coefficient1_constant=constant,
        coefficient2_x=x,
        coefficient3_x_2=x_square,
        coefficient4_y=y,
        coefficient5_y_2=y_square,
        coefficient6_x_y=x_y,
        minimum_value_of_x=0.0,
        maximum_value_of_x=1.0,
        minimum_value_of_y=temperatures_degc[0],
        maximum_value_of_y=temperatures_degc[1],
        **limit,
    )


def table(
    model: Model, name: str, inputs: Sequence[Sequence[float]], outputs: Sequence[float]
) -> None:
    """Add a function of one or more variables, linear between points and constant beyond them.

    inputs: rising points of every variable. outputs: one for each combination of them, the last
    variable running fastest.
    """
    for index, points in enumerate(inputs, 1):
        add(
            model,
            "Table:IndependentVariable",
            f"{name} input {index}",
            interpolation_method="Linear",
            extrapolation_method="Constant",
            minimum_value=points[0],
            maximum_value=points[-1],
            values=[{"value": value} for value in points],
        )
    names = [f"{name} input {index}" for index in range(1, len(inputs) + 1)]
    add(
        model,
        "Table:IndependentVariableList",
        f"{name} inputs",
        independent_variables=[{"independent_variable_name": input} for input in names],
    )
    add(
        model,
        "Table:Lookup",
        name,
        independent_variable_list_name=f"{name} inputs",
        values=[{"output_value": value} for value in outputs],
    )


def component(kind: str, name: str, inlet: str, outlet: str) -> dict[str, str]:
    """An entry of a branch: an object between two nodes."""
    return {
        "component_object_type": kind,
        "component_name": name,
        "component_inlet_node_name": inlet,
        "component_outlet_node_name": outlet,
    }


def branch(model: Model, name: str, *components: dict[str, str]) -> None:
    """Add a branch of components, one after the other."""
    add(model, "Branch", name, components=list(components))


def pipe(model: Model, name: str, inlet: str, outlet: str) -> None:
    """Add a branch that only passes water on, named like its pipe."""
    add(model, "Pipe:Adiabatic", name, inlet_node_name=inlet, outlet_node_name=outlet)
    branch(model, name, component("Pipe:Adiabatic", name, inlet, outlet))


def branches(model: Model, name: str, *names: str) -> None:
    """Add a list of branches in order: inlet, those side by side, outlet; and what joins them."""
    add(model, "BranchList", name, branches=[{"branch_name": branch} for branch in names])
    if len(names) == 1:
        return
    inlet, *parallel, outlet = names
    add(
        model,
        "Connector:Splitter",
        f"{name} splitter",
        inlet_branch_name=inlet,
        branches=[{"outlet_branch_name": branch} for branch in parallel],
    )
    add(
        model,
        "Connector:Mixer",
        f"{name} mixer",
        outlet_branch_name=outlet,
        branches=[{"inlet_branch_name": branch} for branch in parallel],
    )
    add(
        model,
        "ConnectorList",
        f"{name} connectors",
        connector_1_object_type="Connector:Splitter",
        connector_1_name=f"{name} splitter",
        connector_2_object_type="Connector:Mixer",
        connector_2_name=f"{name} mixer",
    )
