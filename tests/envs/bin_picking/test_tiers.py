"""The tiers of difficulty: that they are drawn from as they say."""

from dataclasses import astuple

import numpy as np
import pytest

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.parts import DISTRACTORS, HELD_OUT_KINDS
from rlkit_envs.bin_picking.tiers import SHARES, TIERS, Tier, draw_tier, find_tier


@pytest.mark.parametrize("name", TIERS)
def test_shares_add_up_and_held_out_shapes_are_in_no_training(name):
    tier = TIERS[name]
    held_out = tier.held_out()
    assert sum(tier.kinds.values()) == pytest.approx(1.0, abs=1e-12)
    assert sum(held_out.values()) == pytest.approx(1.0, abs=1e-12)
    assert min(held_out.values()) > 0
    assert set(HELD_OUT_KINDS) <= set(held_out)
    assert not set(held_out) & (set(tier.kinds) - set(DISTRACTORS))
    for kind in set(tier.kinds) & set(DISTRACTORS):  # as many of these as in training
        assert held_out[kind] == tier.kinds[kind]
    assert not set(HELD_OUT_KINDS) & set(tier.kinds)


def begun(seed: int, **settings) -> PickingBin:
    bin_ = PickingBin(BinPickingConfig(pixels=16, **settings), (seed,))
    bin_.begin()
    return bin_


@pytest.mark.parametrize("name", TIERS)
def test_the_physics_of_every_episode_is_drawn_within_the_tier(name):
    tier = TIERS[name]
    drawn = []
    for seed in range(12):
        bin_ = begun(seed, tier=name, parts=1)
        magnet, scene = bin_.controller.magnet.config, bin_.scene
        assert scene.bin.friction == bin_.parts[0].friction
        assert scene.bin.wall_height_m == tier.wall_height_m
        assert scene.bin.ferrous == tier.ferrous_bin
        assert np.abs(bin_.parts[0].mass_offset).max() <= tier.mass_offset
        assert np.abs(bin_.camera_offset_m).max() <= tier.camera_offset_m
        drawn.append((magnet.force_n, magnet.gap_m, scene.bin.friction, *scene.bin.tilt_deg))
    values = np.array(drawn)
    limits = np.array(
        [tier.force_n, tier.gap_m, tier.friction, *2 * [(-tier.bin_tilt_deg, tier.bin_tilt_deg)]]
    )
    assert (values >= limits[:, 0]).all()
    assert (values <= limits[:, 1]).all()
    # twelve numbers that are spread evenly fill more than a third of their range
    assert (np.ptp(values, axis=0) > (limits[:, 1] - limits[:, 0]) / 3).all()


@pytest.mark.parametrize("shapes", ["training", "held_out"])
def test_bins_hold_the_kinds_and_numbers_of_parts_of_their_tier(shapes):
    tier = find_tier("mixed")
    shares = tier.kinds if shapes == "training" else tier.held_out()
    kinds = set()
    for seed in range(2):
        bin_ = begun(seed, tier="mixed", shapes=shapes)
        assert tier.parts[0] <= len(bin_.parts) <= tier.parts[1]
        kinds |= {part.kind for part in bin_.parts}
    assert kinds == set(shares)


def test_a_bin_always_holds_something_that_a_magnet_lifts():
    """Of single parts of the heavy tier a fifth would be aluminium."""
    assert all(begun(seed, tier="heavy", parts=1).parts[0].ferrous for seed in range(15))


def test_density_is_drawn_for_each_part_and_never_touches_the_catalogues_range():
    tier = find_tier("heavy")
    bin_ = begun(0, tier="heavy", parts=20)
    steel = [part.density_kg_per_m3 / 7_850.0 for part in bin_.parts if part.ferrous]
    assert tier.density[0] <= min(steel) < max(steel) <= tier.density[1]
    assert len(set(steel)) == len(steel)


def test_settings_overrule_the_tier():
    bin_ = begun(0, tier="walled", parts=2, force_n=3.0, noise_m=0.0, drop_out=0.0)
    assert (len(bin_.parts), bin_.controller.magnet.config.force_n) == (2, 3.0)
    np.testing.assert_array_equal(
        bin_.observation[0], (1e3 * bin_.picture.height_m).astype(np.float32)
    )


def test_noise_and_holes_appear_in_the_picture_as_configured():
    bin_ = PickingBin(BinPickingConfig(tier="single", parts=3, noise_m=0.002, drop_out=0.1), (0,))
    bin_.begin()
    seen, true = bin_.observation[0], 1e3 * bin_.picture.height_m
    high = true > 15.0  # where noise never reaches 0
    holes = high & (seen == 0.0)
    assert high.sum() > 400  # the wall's rim alone
    assert holes.sum() / high.sum() == pytest.approx(0.1, abs=0.05)
    errors = (seen - true)[high & ~holes]
    assert errors.std() == pytest.approx(2.0, rel=0.15)
    assert errors.mean() == pytest.approx(0.0, abs=0.3)
    assert seen.min() >= 0.0


def test_noise_is_drawn_anew_for_each_picture_and_follows_from_the_seed():
    first, again, other = (begun(seed, tier="single", parts=1) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.observation, again.observation)
    assert not np.array_equal(first.observation, other.observation)
    before, seen = first.picture.height_m, first.observation[0]
    first.attempt(0)  # hits the wall: nothing moves
    np.testing.assert_allclose(first.picture.height_m, before, atol=2e-4)
    rim = before > 0.05
    assert not np.isclose(first.observation[0][rim], seen[rim], atol=1e-3).all()
    again.attempt(0)
    np.testing.assert_array_equal(first.observation, again.observation)


def test_all_stands_for_a_tier_drawn_by_shares():
    random = np.random.default_rng(0)
    drawn = [draw_tier("all", random) for _ in range(2000)]
    assert sum(SHARES.values()) == pytest.approx(1.0, abs=1e-12)
    for name, share in SHARES.items():
        assert drawn.count(TIERS[name]) / 2000 == pytest.approx(share, abs=0.04)
    assert draw_tier("heavy", random) is TIERS["heavy"]


def test_a_bin_of_all_tiers_changes_its_tier_and_camera_with_the_episode():
    bin_ = PickingBin(BinPickingConfig(tier="all", parts=1, pixels=16), (0,))
    tiers = []
    for _ in range(8):
        bin_.begin()
        tiers.append(bin_.tier)
        assert bin_.camera.config.noise_m == bin_.tier.noise_m
        assert bin_.scene.bin.wall_height_m == bin_.tier.wall_height_m
    assert len({tier.summary for tier in tiers}) > 2
    again = PickingBin(BinPickingConfig(tier="all", parts=1, pixels=16), (0,))
    again.set_state(bin_.state())
    assert again.tier is bin_.tier
    np.testing.assert_array_equal(again.observation, bin_.observation)


def test_every_tier_differs_from_the_others():
    assert len({str(astuple(tier)) for tier in TIERS.values()}) == len(TIERS) == 5


def test_tiers_and_kinds_that_do_not_exist_are_named_with_those_that_do():
    with pytest.raises(ValueError, match="no tier is called 'easy'; there are single, mixed"):
        find_tier("easy")
    with pytest.raises(ValueError, match="no tier is called 'easy'"):
        BinPickingConfig(tier="easy")
    with pytest.raises(ValueError, match="no kind of part is called nail"):
        Tier("nails", {"nail": 0.5, "box": 0.5})
