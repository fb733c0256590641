"""Early checks of designs: a number outside its range is named with what would fit."""

import math


def check_ranges(design: object, **ranges: tuple[float, float]) -> None:
    """Check that fields of `design` lie in closed ranges; an infinite bound is none.

    Raises ValueError with the class, the field, its value and its range; TypeError for a field that
    is no number.
    """
    for field, (least, most) in ranges.items():
        value = getattr(design, field)
        name = f"{type(design).__name__}.{field}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, but is {value!r}")
        if not (math.isfinite(value) and least <= value <= most):
            raise ValueError(f"{name} is {value!r}, but must be {_fitting(least, most)}")


def check_positive(design: object, *fields: str) -> None:
    """Check that fields of `design` are finite numbers above 0, as `check_ranges` does."""
    smallest = math.ulp(0.0)
    check_ranges(design, **{field: (smallest, math.inf) for field in fields})


def _fitting(least: float, most: float) -> str:
    if least == math.ulp(0.0):
        return "above 0"
    if math.isinf(most):
        return f"{least:g} or more"
    return f"from {least:g} to {most:g}"
