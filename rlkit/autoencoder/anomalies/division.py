"""Which series of a file a detector learns from, which set its threshold, and which are scored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from rlkit.autoencoder.anomalies.series import Event, Series
from rlkit.autoencoder.anomalies.telemetry import ROLES

NORMAL_ROLES = ("normal", "held_out")
"""Of series without anomalies, as ever."""

UNLEARNT_ROLES = ("unseen_weather", "changed_policy")
"""Of series without anomalies that are unlike those."""


@dataclass(frozen=True)
class Division:
    """Series by what they are for."""

    normal: tuple[Series, ...]
    """To learn from."""
    held_out: tuple[Series, ...]
    """Normal as well, for the threshold."""
    scored: tuple[Series, ...]
    """The rest."""


def role_of(series: Series) -> str | None:
    """Its `context["role"]` where that is one of `telemetry.ROLES`, else None."""
    role = series.context.get("role")
    return role if role in ROLES else None


def divide(series: Sequence[Series], held_out: float) -> Division:
    """Divide series by their roles, or where none has a role by their events.

    By roles, `normal` and `held_out` are what they say, and all others are scored. Without roles,
    series without events are normal and the others scored. held_out: share of the normal series,
    above 0 and below 1, that are held out where no role says so: the last ones, at least one; of a
    single series its end, at which a new series begins.

    Raises ValueError for a share out of range, where some series have a role and others none, or
    where there is no normal series, or one of a single step.
    """
    if not 0.0 < held_out < 1.0:
        raise ValueError(f"held_out is a share above 0 and below 1, got {held_out}")
    roles = [role_of(each) for each in series]
    if any(roles):
        if not all(roles):
            name = series[roles.index(None)].name
            raise ValueError(
                f"series {name!r} has no role, but others have: give it one of {', '.join(ROLES)}"
            )
        normal = [each for each, role in zip(series, roles, strict=True) if role == "normal"]
        others = [each for each, role in zip(series, roles, strict=True) if role == "held_out"]
        scored = with_other_roles(series, NORMAL_ROLES)
    else:
        normal = [each for each in series if not each.events]
        others, scored = [], [each for each in series if each.events]
    if not normal:
        raise ValueError("there is no normal series to learn from: none without events, or roles")
    if others:
        return Division(tuple(normal), tuple(others), tuple(scored))
    if len(normal) == 1:
        whole = normal[0]
        if len(whole) < 2:
            raise ValueError(f"series {whole.name!r} is too short to hold out its end")
        cut = min(max(round((1.0 - held_out) * len(whole)), 1), len(whole) - 1)
        before, after = _piece(whole, 0, cut, "start"), _piece(whole, cut, len(whole), "end")
        return Division((before,), (after,), tuple(scored))
    kept = min(max(round((1.0 - held_out) * len(normal)), 1), len(normal) - 1)
    return Division(tuple(normal[:kept]), tuple(normal[kept:]), tuple(scored))


def with_other_roles(series: Sequence[Series], roles: Collection[str]) -> list[Series]:
    """Those whose role is none of `roles`, or that have none."""
    return [each for each in series if role_of(each) not in roles]


def _piece(series: Series, start: int, stop: int, name: str) -> Series:
    events: tuple[Event, ...] = tuple(
        Event(
            max(each.start, start) - start, min(each.stop, stop) - start, each.kind, each.severity
        )
        for each in series.events
        if each.start < stop and each.stop > start
    )
    values = series.values[start:stop]
    return replace(series, values=values, name=f"{series.name} ({name})", events=events)
