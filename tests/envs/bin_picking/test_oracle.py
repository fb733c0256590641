"""The oracle: what it finds succeeds, and where it finds nothing, nothing it tried does."""

import numpy as np
import pytest

from rlkit_envs.bin_picking.configuration import BinPickingConfig
from rlkit_envs.bin_picking.controller import Outcome
from rlkit_envs.bin_picking.environment import BinPickingEnvs
from rlkit_envs.bin_picking.episode import PickingBin
from rlkit_envs.bin_picking.oracle import find_pick, inside_of, success_map, view_of

SMALL = {"tier": "mixed", "parts": 5, "pixels": 32, "bin_side_m": 0.13}


def begun(seed: int, **settings) -> PickingBin:
    bin_ = PickingBin(BinPickingConfig(**{**SMALL, **settings}), (seed,))
    bin_.begin()
    return bin_


@pytest.mark.parametrize("seed", [0, 1])
def test_what_it_finds_succeeds_until_the_bin_is_cleared(seed):
    bin_ = begun(seed, force_n=12.0)
    random = np.random.default_rng(0)
    while True:
        before = bin_.state()
        found = find_pick(bin_, 60, random)
        after = bin_.state()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert found.succeeds
        result = bin_.attempt(found.action)
        assert result.reward == 1.0
        if result.terminated:
            break
    assert not (bin_.scene.present & bin_.ferrous).any()


def test_it_finds_nothing_where_nothing_can_be_lifted():
    bin_ = begun(0, force_n=0.05)
    found = find_pick(bin_, 15, np.random.default_rng(0))
    assert not found.succeeds
    assert found.tried == 15
    assert bin_.attempt(found.action).reward == 0.0


def test_it_tries_parts_only_and_the_promising_first():
    bin_ = begun(2, force_n=0.05, tier="single")
    tried = []
    real = bin_.try_out

    def watched(action):
        tried.append(action)
        return real(action)

    bin_.try_out = watched
    find_pick(bin_, 1000, np.random.default_rng(0))
    on_part = np.flatnonzero(view_of(bin_).on_part)
    assert sorted(tried) == on_part.tolist()  # all of them, each once
    first = bin_.points_m.reshape(-1, 2)[tried[:3]]
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1)[np.triu_indices(3, 1)]
    assert apart.min() >= 0.006  # spread out


def test_its_candidates_clear_the_walls():
    bin_ = begun(0)
    limit = 0.13 / 2 - 0.010
    np.testing.assert_array_equal(inside_of(bin_), np.abs(bin_.points_m).max(-1) < limit)


def test_a_map_of_successes_agrees_with_attempts():
    bin_ = begun(1, parts=2, tier="single", pixels=24, force_n=6.0)
    successes = success_map(bin_, every=2)
    tried = np.argwhere(np.isfinite(successes))
    on_part = view_of(bin_).on_part
    assert len(tried) == on_part[::2, ::2].sum() > 5
    assert np.nansum(successes) > 0
    state = bin_.state()
    for row, column in tried:
        reward = bin_.attempt(int(row * 24 + column)).reward
        assert reward == successes[row, column]
        bin_.set_state(state)


def test_the_environment_asks_it_for_every_bin():
    envs = BinPickingEnvs(2, processes=1, **{**SMALL, "force_n": 12.0})
    envs.reset(seed=0)
    actions, succeed = envs.find_picks(60)
    outcomes = envs.try_out(actions)
    assert succeed.all()
    assert (outcomes == list(Outcome).index(Outcome.OK)).all()
    _, rewards, *_ = envs.step(actions)
    assert rewards.tolist() == [1.0, 1.0]
    envs.close()


def test_it_has_nothing_to_say_of_an_episode_that_is_over():
    envs = BinPickingEnvs(1, **{**SMALL, "failures_in_a_row": 1})
    envs.reset(seed=0)
    envs.step(np.array([0]))
    actions, succeed = envs.find_picks(5)
    assert (actions.tolist(), succeed.tolist()) == ([0], [False])
