"""The policies that ship with rlkit load, know where they come from, and do their work."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from rlkit.data_center_years import UNSEEN_SEED
from rlkit.environments import GymnasiumEnvironment, for_evaluation
from rlkit.evaluation import evaluate
from rlkit.policies import find_policy, load_policy

BOXERS = ("boxing", "boxing-recurrent")
COOLERS = ("data-center", "data-center-recurrent")


@pytest.mark.parametrize("recipe", BOXERS)
def test_the_shipped_policies_win_by_knock_out(recipe: str) -> None:
    shipped = load_policy(find_policy(recipe))
    evaluation = evaluate(shipped.policy, for_evaluation(shipped.environment), 4, seed=20)
    assert evaluation.summary.minimum > 50
    assert evaluation.counts["knock_outs"] == [1.0] * 4


@pytest.mark.parametrize("recipe", COOLERS)
def test_the_shipped_policies_cool_with_little_power_in_years_they_have_not_seen(
    recipe: str,
) -> None:
    shipped = load_policy(find_policy(recipe))
    assert isinstance(shipped.environment, GymnasiumEnvironment)
    unseen = {"weather_seed": UNSEEN_SEED, "load_seed": UNSEEN_SEED, "pairing": "in_turn"}
    days = {"episode_days": 2, "start_day": 100.0}
    arguments = {**shipped.environment.arguments, **unseen, **days}
    counts = evaluate(
        shipped.policy, replace(shipped.environment, arguments=arguments), 24, seed=20
    ).counts
    # With 20 degC, no economiser and the other set points of a start it is 1.27 to 1.33.
    assert max(counts["pue"]) < 1.27
    assert np.mean(counts["pue"]) < 1.2
    assert np.mean(counts["hours_outside_recommended"]) < 0.1


def test_the_shipped_policy_picks_parts_out_of_bins_it_has_not_seen() -> None:
    shipped = load_policy(find_policy("bin-picking"))
    bins = for_evaluation(shipped.environment)
    assert isinstance(bins, GymnasiumEnvironment)
    assert bins.arguments["tier"] == "mixed"
    counts = evaluate(shipped.policy, bins, 4, seed=20, num_envs=4).counts
    attempts = sum(sum(counts[name]) for name in ("ok", "miss", "collision", "dropped", "double"))
    # The best heuristic succeeds in four of five.
    assert sum(counts["ok"]) / attempts > 0.88


@pytest.mark.parametrize(
    ("recipe", "least_steps"),
    [*((name, 1_000_000) for name in (*BOXERS, *COOLERS)), ("bin-picking", 2_000)],
)
def test_headers_say_how_they_were_trained_and_name_no_path(recipe: str, least_steps: int) -> None:
    header = load_policy(find_policy(recipe)).header
    assert header["provenance"]["recipe"] == recipe
    assert header["provenance"]["steps"] >= least_steps
    assert not re.search(r'"[^"]*/(tmp|home|root|work)/', json.dumps(header))
