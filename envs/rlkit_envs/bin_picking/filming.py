"""Films one bin: its present, and how its last attempt went.

While an attempt is simulated, only where things are is taken down; pictures are drawn when somebody
asks for them. The controller does not simulate the tool's way from one attempt to the next, so that
is made up here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.drawing import Picture, greatest_mm
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.photography import Photographer, Pose
from rlkit_envs.bin_picking.scene import Array
from rlkit_envs.bin_picking.sheet import Standing, draw_sheet

PICTURES_PER_SECOND = 25
"""At which an attempt takes one to two seconds, about as long as it does in the simulation."""

_COMING, _RISING, _SHOWN = 9, 5, 9  # pictures
_SLOW_MOMENTS, _SLOW, _QUICK = 32, 4, 12  # descent and grip are seen slower than the rest
_BESIDE_M = 0.08


@dataclass(frozen=True)
class _Taken:
    """What is known of an attempt. poses: while it lasted; before and after: parts at rest."""

    action: int
    heights_mm: NDArray[np.float32]
    marked: NDArray[np.bool_]
    standing: Standing
    came_from: Array
    before: Pose
    poses: tuple[Pose, ...]
    after: Pose


class Film:
    """Follows one bin; call `restart` wherever it did not get by attempts."""

    def __init__(self, bin_: PickingBin) -> None:
        self._bin = bin_
        self._photographer: Photographer | None = None
        self._scene: object = None
        self._moments = 0
        self._poses: list[Pose] = []
        self._taking: _Taken | None = None
        self._taken: _Taken | None = None
        self._outcome: Outcome | None = None
        self._tool_at = np.zeros(3)
        self._tallest_mm = 0.0

    def restart(self) -> None:
        """Forget the last attempt: another pile lies there."""
        self._taking = self._taken = self._outcome = None
        self._poses = []
        self._tallest_mm = greatest_mm(self._bin.observation[0])  # one scale for an episode
        self._tool_at = np.array([self._bin.config.bin_side_m / 2 + _BESIDE_M, 0.0, self._high_m])

    @property
    def _high_m(self) -> float:
        return self._bin.scene.bin.wall_height_m + self._bin.config.motion.clearance_m

    def begin(self, action: int) -> None:
        """An attempt comes."""
        self._moments, self._poses = 0, []
        before = Pose.of(self._bin.scene)
        self._taking = _Taken(
            action,
            *self._seen(),
            replace(self._standing(), attempt=self._bin.attempts + 1, outcome=None),
            *(self._tool_at, before, (), before),
        )

    def on_moment(self) -> None:
        """Take down where things are, every few time steps."""
        every = _SLOW if self._moments < _SLOW_MOMENTS else _QUICK
        if self._moments % every == 0:
            self._poses.append(Pose.of(self._bin.scene))
        self._moments += 1

    def end(self, outcome: Outcome) -> None:
        """The attempt that came is over."""
        assert self._taking is not None, "begin comes before end"
        self._taken = replace(
            self._taking, poses=tuple(self._poses), after=Pose.of(self._bin.scene)
        )
        self._outcome = outcome
        if self._poses:
            self._tool_at = np.array([*self._tool(self._poses[-1])[:2], self._high_m])
        self._taking, self._poses = None, []

    def present(self) -> Picture:
        """What there is now."""
        heights_mm, marked = self._seen()
        pose = self._with_tool(Pose.of(self._bin.scene), self._tool_at, upright=True)
        return draw_sheet(
            self._photograph(pose), heights_mm, marked, self._tallest_mm, None, self._standing()
        )

    def last_attempt(self) -> Iterator[Picture]:
        """The tool comes, goes down, grips, lifts, carries; then what came of it.

        Empty where there was none.
        """
        taken = self._taken
        if taken is None:
            return
        for pose in self._on_the_way(taken):
            yield draw_sheet(
                self._photograph(pose),
                taken.heights_mm,
                taken.marked,
                self._tallest_mm,
                taken.action % taken.marked.size,
                taken.standing,
            )
        present = self.present()
        for _ in range(_SHOWN):
            yield present

    def _on_the_way(self, taken: _Taken) -> Iterator[Pose]:
        if not taken.poses:
            return
        first, last = taken.poses[0], taken.poses[-1]
        begin = self._tool(first)
        above = np.array([*begin[:2], self._high_m])
        for number in range(_COMING):
            share = _eased((number + 1) / (_COMING + 1))
            on_way = (1 - share) ** 2 * taken.came_from + 2 * share * (1 - share) * above
            coming = replace(taken.before, lean=first.lean)
            yield self._with_tool(coming, on_way + share**2 * begin)
        yield from taken.poses
        end = self._tool(last)
        missing = self._high_m - end[2]
        if missing > 0.005:  # it let go, or never held anything
            rising = replace(taken.after, lean=last.lean)
            for number in range(_RISING):
                share = _eased((number + 1) / _RISING)
                yield self._with_tool(rising, end + np.array([0.0, 0.0, share * missing]))

    def _photograph(self, pose: Pose) -> Picture:
        if self._photographer is None or self._scene is not self._bin.scene:
            self._scene = self._bin.scene
            self._photographer = Photographer(self._bin.scene)
        return self._photographer.take(pose)

    def _seen(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Heights in mm as the policy sees them, and where not to pick."""
        return self._bin.observation[0].copy(), self._bin.observation[-1] > 0

    def _standing(self) -> Standing:
        bin_, outcome = self._bin, self._outcome
        left = bin_.scene.present
        failed = outcome not in (None, Outcome.OK, Outcome.UNSTABLE)
        every = bin_.config.shake_after
        return Standing(
            attempt=bin_.attempts,
            most_attempts=2 * len(bin_.parts),
            outcome=None if outcome is None else outcome.value,
            shaken=failed and every > 0 and bin_.failures_in_a_row % every == 0,
            counts={each.value: int(bin_.counts[each.value]) for each in Outcome},
            ferrous_left=int((left & bin_.ferrous).sum()),
            others_left=int((left & ~bin_.ferrous).sum()),
        )

    def _tool(self, pose: Pose) -> Array:
        """(3,) where the tool's face is, its spring relaxed."""
        return pose.qpos[self._carriage]

    def _with_tool(self, pose: Pose, position: Array, *, upright: bool = False) -> Pose:
        """The pose with its tool moved there and its spring relaxed."""
        qpos = pose.qpos.copy()
        qpos[self._carriage] = position
        qpos[self._bin.scene.model.joint("compression").qposadr] = 0.0
        return Pose(qpos, np.array([1.0, 0.0, 0.0, 0.0]) if upright else pose.lean)

    @property
    def _carriage(self) -> slice:
        first = int(self._bin.scene.model.joint("x").qposadr[0])
        return slice(first, first + 3)


def _eased(share: float) -> float:
    """A share of a way that begins and ends slowly."""
    return share * share * (3.0 - 2.0 * share)
