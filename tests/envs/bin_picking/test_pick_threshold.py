"""A plate lifts when the law of the magnet says so, and what the robot's motion costs beyond that.

Measured: lifted smoothly, a centred plate needs 1.01 to 1.02 times the force of the law. Off the
centre the law is optimistic, by 1.1 to 1.4 at the magnet's g0 of 1 mm: the plate turns about the
balls of the face, 8.5 mm from its middle and not 10, and where contacts give way by a tenth of a
millimetre, the gap that opens on the other side weakens the pull. With a g0 of 20 mm, which
such a gap hardly matters to, physics and law for 8.5 mm agree to 8 %. An attempt needs more, 1.4 to
2.0 times the force for the acceleration that it is told: as the spring of the tip reaches its stop,
the part is jerked up to the tool's speed, at 20 to 40 m/s2 for some milliseconds.
"""

import numpy as np
import pytest

from rlkit_envs.bin_picking.controller import Controller, MotionConfig, Outcome
from rlkit_envs.bin_picking.magnet import Magnet, MagnetConfig, heaviest_held_kg
from rlkit_envs.bin_picking.scene import BinConfig, Scene

UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])
HALF_M = (0.03, 0.03, 0.004)
CONTACT_RING_M = 0.0085
"""Where the balls of a face of 10 mm touch."""


def force_of_law_n(mass_kg, offset_m, acceleration, radius_m=0.010) -> float:
    """F0 for which the heaviest part held has this mass: the law gives a mass for each newton."""
    return mass_kg / heaviest_held_kg(1.0, offset_m, radius_m, acceleration)


@pytest.fixture
def plate(lay, box):
    """Makes a scene with a plate of steel's size and any mass, at rest."""

    def make(mass_kg: float) -> Scene:
        bin_ = BinConfig(side_m=0.2, wall_height_m=0.1)
        return lay([box(*HALF_M, mass_kg=mass_kg)], [(0.0, 0.0, HALF_M[2])], bin_=bin_)

    return make


def lifts_smoothly(scene, force_n, offset_m, acceleration, gap_m=0.001) -> bool:
    """Lift by 40 mm with a constant acceleration, the tip's spring being relaxed from the start."""
    scene.place(np.array([[0.0, 0.0, HALF_M[2], 1.0, 0.0, 0.0, 0.0]]), np.array([True]))
    magnet = Magnet(scene, MagnetConfig(force_n, gap_m))
    scene.move_tool_to(np.array([offset_m, 0.0, 2 * HALF_M[2]]))
    speed = 0.0
    for _ in range(25):
        magnet.pull()
        scene.set_tool_velocity(np.zeros(3))
        scene.step()
    while scene.tool_position[2] < 2 * HALF_M[2] + 0.04:
        speed += acceleration * scene.timestep_s
        magnet.pull()
        scene.set_tool_velocity(np.array([0.0, 0.0, speed]))
        scene.step()
    return bool(magnet.pull().by_part_n[0] > 0.8 * force_n)


@pytest.mark.parametrize("mass_kg", [0.1, 0.3])
@pytest.mark.parametrize("acceleration", [0.2, 3.0])
def test_a_centred_plate_lifts_exactly_when_the_law_says(plate, mass_kg, acceleration):
    scene = plate(mass_kg)
    law = force_of_law_n(mass_kg, 0.0, acceleration)
    assert not lifts_smoothly(scene, 0.99 * law, 0.0, acceleration)
    assert lifts_smoothly(scene, 1.03 * law, 0.0, acceleration)


@pytest.mark.parametrize("offset_m", [0.005, 0.010, 0.020])
@pytest.mark.parametrize("acceleration", [0.2, 3.0])
def test_off_the_centre_a_plate_turns_about_the_ring_where_it_touches(
    plate, offset_m, acceleration
):
    scene = plate(0.3)
    law = force_of_law_n(0.3, offset_m, acceleration, CONTACT_RING_M)
    assert not lifts_smoothly(scene, 0.94 * law, offset_m, acceleration, gap_m=0.02)
    assert lifts_smoothly(scene, 1.09 * law, offset_m, acceleration, gap_m=0.02)


@pytest.mark.parametrize("offset_m", [0.005, 0.010, 0.020])
def test_off_the_centre_the_law_is_optimistic_by_no_more_than_a_half(plate, offset_m):
    scene = plate(0.3)
    law = force_of_law_n(0.3, offset_m, 0.2)
    assert not lifts_smoothly(scene, 1.1 * law, offset_m, 0.2)
    assert lifts_smoothly(scene, 1.5 * law, offset_m, 0.2)


def outcome(scene, force_n, offset_m, motion=MotionConfig()) -> Outcome:  # noqa: B008 (frozen)
    scene.place(np.array([[0.0, 0.0, HALF_M[2], 1.0, 0.0, 0.0, 0.0]]), np.array([True]))
    controller = Controller(scene, Magnet(scene, MagnetConfig(force_n, 0.001)), motion)
    return controller.attempt(np.array([offset_m, 0.0]), UPRIGHT).outcome


@pytest.mark.parametrize("mass_kg", [0.1, 0.3])
@pytest.mark.parametrize("offset_m", [0.0, 0.005, 0.010])
def test_an_attempt_needs_hardly_more_than_the_force_of_the_law(plate, mass_kg, offset_m):
    scene = plate(mass_kg)
    law = force_of_law_n(mass_kg, offset_m, MotionConfig().lift_m_per_s2)
    assert outcome(scene, 0.95 * law, offset_m) in (Outcome.MISS, Outcome.DROPPED)
    assert outcome(scene, 1.35 * law, offset_m) is Outcome.OK


def test_an_attempt_without_a_jerk_lifts_by_the_law(plate):
    gentle = MotionConfig(press_m=0.0002, lift_m_per_s=0.1, lift_m_per_s2=0.1, carry_m_per_s2=0.1)
    scene = plate(0.3)
    law = force_of_law_n(0.3, 0.0, 0.1)
    assert outcome(scene, 1.0 * law, 0.0, gentle) is Outcome.MISS
    assert outcome(scene, 1.15 * law, 0.0, gentle) is Outcome.OK


def test_the_end_of_the_spring_does_not_jerk_the_part(plate):
    scene = plate(0.3)
    controller = Controller(scene, Magnet(scene, MagnetConfig(12.0)), MotionConfig())
    body, speeds, heights = scene.part_bodies[0], [], []

    def watch() -> None:
        speeds.append(scene.data.cvel[body, 5])
        heights.append(scene.tool_position[2])

    assert controller.attempt(np.zeros(2), UPRIGHT, watch).outcome is Outcome.OK
    lowest = int(np.argmin(heights))
    first = next(i for i in range(lowest, len(heights)) if heights[i] > heights[lowest] + 2e-4)
    accelerations = np.diff(speeds[first:]) / scene.timestep_s
    assert 2.0 < accelerations.max() < 10.0  # the lift's own is 3
