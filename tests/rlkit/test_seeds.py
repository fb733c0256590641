"""One seed gives independent streams, always the same ones."""

import numpy as np
import pytest

from rlkit.seeds import Seeds, integer_seed


def streams(seed: int) -> list[np.random.SeedSequence]:
    seeds = Seeds.spawn(seed)
    return [
        seeds.environment,
        seeds.exploration,
        seeds.replay,
        seeds.initialisation,
        seeds.evaluation,
    ]


def test_streams_are_the_same_for_the_same_seed_and_differ_from_one_another():
    def numbers(seed: int) -> list[tuple[int, ...]]:
        return [tuple(stream.generate_state(4).tolist()) for stream in streams(seed)]

    assert numbers(7) == numbers(7)
    assert len({*numbers(7), *numbers(8)}) == 10


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        Seeds.spawn(-1)


def test_integer_seeds_differ_by_stream_and_key_and_leave_room_to_count_upwards():
    seeds = [integer_seed(stream, key) for stream in streams(3) for key in range(200)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 - 2**16 for seed in seeds)
    assert integer_seed(streams(3)[0], 5) == seeds[5]


def test_an_integer_seed_does_not_depend_on_what_was_drawn_from_the_stream_before():
    fresh, used = Seeds.spawn(1).environment, Seeds.spawn(1).environment
    used.generate_state(10)
    used.spawn(3)
    assert integer_seed(fresh, 2) == integer_seed(used, 2)
