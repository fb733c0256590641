"""The Boxing policies that ship with rlkit load, know where they come from, and can box."""

import json
import re

import pytest

from rlkit.environments import for_evaluation
from rlkit.evaluation import evaluate
from rlkit.policies import find_policy, load_policy

SHIPPED = ("boxing", "boxing-recurrent")


@pytest.mark.parametrize("recipe", SHIPPED)
def test_the_shipped_policies_win_by_knock_out(recipe: str) -> None:
    shipped = load_policy(find_policy(recipe))
    evaluation = evaluate(shipped.policy, for_evaluation(shipped.environment), 4, seed=20)
    assert evaluation.summary.minimum > 50
    assert evaluation.counts["knock_outs"] == [1.0] * 4


@pytest.mark.parametrize("recipe", SHIPPED)
def test_headers_say_how_they_were_trained_and_name_no_path(recipe: str) -> None:
    header = load_policy(find_policy(recipe)).header
    assert header["provenance"]["recipe"] == recipe
    assert header["provenance"]["steps"] > 1_000_000
    assert not re.search(r'"[^"]*/(tmp|home|root|work)/', json.dumps(header))
