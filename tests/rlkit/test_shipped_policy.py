"""The Boxing policy that ships with rlkit loads, knows where it comes from, and can box."""

import json
import re

from rlkit.environments import for_evaluation
from rlkit.evaluation import evaluate
from rlkit.policies import find_policy, load_policy


def test_the_shipped_policy_wins_by_knock_out() -> None:
    shipped = load_policy(find_policy("boxing"))
    evaluation = evaluate(shipped.policy, for_evaluation(shipped.environment), 4, seed=20)
    assert evaluation.summary.minimum > 50
    assert evaluation.counts["knock_outs"] == [1.0] * 4


def test_its_header_says_how_it_was_trained_and_names_no_path() -> None:
    header = load_policy(find_policy("boxing")).header
    assert header["provenance"]["recipe"] == "boxing"
    assert header["provenance"]["steps"] > 1_000_000
    assert not re.search(r'"[^"]*/(tmp|home|root|work)/', json.dumps(header))
