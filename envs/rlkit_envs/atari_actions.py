"""The joystick's eighteen actions in the emulator's order, and what they become in a mirror."""

from __future__ import annotations

ACTION_NAMES = (
    "NOOP",
    "FIRE",
    "UP",
    "RIGHT",
    "LEFT",
    "DOWN",
    "UPRIGHT",
    "UPLEFT",
    "DOWNRIGHT",
    "DOWNLEFT",
    "UPFIRE",
    "RIGHTFIRE",
    "LEFTFIRE",
    "DOWNFIRE",
    "UPRIGHTFIRE",
    "UPLEFTFIRE",
    "DOWNRIGHTFIRE",
    "DOWNLEFTFIRE",
)
"""Name of each action of the full action set (ale-py's `Action` enumeration)."""


def mirrored_actions(*, up_down: bool = False, left_right: bool = False) -> tuple[int, ...]:
    """For each of the eighteen actions, the one that does the same in a mirrored picture."""
    swaps: list[tuple[str, str]] = []
    if up_down:
        swaps.append(("UP", "DOWN"))
    if left_right:
        swaps.append(("LEFT", "RIGHT"))
    return tuple(ACTION_NAMES.index(_swapped(name, swaps)) for name in ACTION_NAMES)


def _swapped(name: str, swaps: list[tuple[str, str]]) -> str:
    for one, other in swaps:
        if one in name:
            name = name.replace(one, other)
        elif other in name:
            name = name.replace(other, one)
    return name
