"""The benchmarks run, and say what they measured."""

import json

import numpy as np
import torch

from rlkit.dbn.bench import bench_likelihood, bench_speed


def test_speed_is_told_for_each_batch_size():
    before = torch.get_num_threads()
    told = bench_speed(rows=40, visible=12, hidden=5, batch_sizes=(5, 20), threads=1, rounds=2)
    assert json.loads(json.dumps(told)) == told
    assert [row["batch_size"] for row in told["rows"]] == [5, 20]
    for row in told["rows"]:
        assert row["rlkit_seconds"] > 0.0
        assert row["sklearn_seconds"] > 0.0
        assert row["rlkit_bfloat16_seconds"] > 0.0
        assert row["times_faster"] > 0.0
        assert row["bfloat16_times_faster"] > 0.0
    assert torch.get_num_threads() == before


def test_likelihoods_are_those_of_held_out_rows():
    rows = np.repeat(np.kron(np.eye(2), np.ones(3)), 40, axis=0)
    told = bench_likelihood(rows, rows[::5], hidden=4, batch_size=10, epochs=2)
    for name in ("rlkit", "sklearn"):
        # independent pixels give -4.16 nats, and nothing more than -0.69
        assert -6.0 < told[name]["nats"] < -0.6
        assert told[name]["seconds"] > 0.0
    assert told["sklearn"]["epochs"] == 2
