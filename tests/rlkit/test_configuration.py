"""Configurations survive JSON unchanged; what does not fit is refused with the field's name."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlkit.algorithms import AlgorithmConfig
from rlkit.configuration import ConfigurationError, from_json, to_json
from rlkit.environments import Environment, GymnasiumEnvironment
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit.recipes import RECIPES
from rlkit_agents.dqn import DQNConfig, rainbow
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.ppo import PPOConfig, a2c, atari
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.schedules import LinearSchedule
from rlkit_agents.symmetry import Symmetry
from rlkit_envs.atari import AtariProtocol


def through_json(configuration: Any, kind: Any) -> Any:
    return from_json(json.loads(json.dumps(to_json(configuration, kind))), kind)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_comes_back(recipe: Recipe):
    assert through_json(recipe, Recipe) == recipe


def test_rainbow_and_symmetries_come_back():
    config = rainbow(symmetries=(Symmetry(True, False, (1, 0)),), max_gradient_norm=float("inf"))
    assert through_json(config, DQNConfig) == config


@pytest.mark.parametrize("config", [rainbow(), atari(), a2c(), PPOConfig(shared_torso=True)])
def test_every_kind_of_algorithm_comes_back(config: AlgorithmConfig):
    recipe = replace(RECIPES["cartpole"], algorithm=config)
    assert through_json(recipe, Recipe) == recipe
    assert through_json(config, AlgorithmConfig) == config


def test_an_algorithm_without_a_kind_is_the_first_that_there_was():
    data = to_json(RECIPES["boxing"])
    assert data["algorithm"].pop("kind") == "DQNConfig"
    assert from_json(data, Recipe) == RECIPES["boxing"]


WHOLE = st.integers(1, 2**40)
SHARE = st.floats(0, 1)
POSITIVE = st.floats(1e-12, 1e12)


@given(
    st.builds(
        Recipe,
        name=st.text(max_size=8),
        environment=st.builds(
            AtariProtocol,
            st.sampled_from(["boxing", "ms_pacman"]),
            sticky_actions=SHARE,
            frame_skip=st.integers(1, 9),
            grayscale=st.booleans(),
        )
        | st.builds(
            GymnasiumEnvironment,
            st.text(min_size=1, max_size=8),
            st.dictionaries(
                st.text(max_size=4),
                st.none() | st.booleans() | st.integers() | POSITIVE | st.lists(st.text()),
                max_size=2,
            ),
        ),
        algorithm=st.builds(
            DQNConfig,
            network=st.builds(
                NetworkConfig,
                torso=st.sampled_from(["small", "mlp", "impala"]),
                hidden_sizes=st.lists(st.integers(1, 999), min_size=1, max_size=3).map(tuple),
                dense_size=st.none() | st.integers(1, 999),
                dropout=st.floats(0, 0.99),
                noisy=st.booleans(),
            ),
            head=st.builds(HeadConfig, st.just("quantile"), atoms=st.integers(2, 300)),
            discount=st.floats(0.01, 1),
            learning_rate=POSITIVE,
            learning_rate_end=st.none() | SHARE,
            batch_size=WHOLE,
            epsilon=st.builds(LinearSchedule, SHARE, SHARE, st.integers(0, 2**40)),
        ),
        num_envs=st.integers(1, 64),
        steps=WHOLE,
        minutes=st.none() | POSITIVE,
        seed=st.integers(0, 2**64),
        evaluation=st.builds(EvaluationSchedule, WHOLE, WHOLE, WHOLE),
    )
)
def test_any_recipe_comes_back(recipe: Recipe):
    assert through_json(recipe, Recipe) == recipe


def test_whole_numbers_are_taken_for_real_ones():
    data = to_json(RECIPES["boxing"]) | {"minutes": 5}
    recipe = from_json(data, Recipe)
    assert recipe == replace(RECIPES["boxing"], minutes=5.0)
    assert isinstance(recipe.minutes, float)


def test_a_member_of_a_union_carries_its_kind():
    for environment in (AtariProtocol("pong"), GymnasiumEnvironment("CartPole-v1", {"a": 1})):
        data = to_json(environment, Environment)
        assert data["kind"] == type(environment).__name__
        assert from_json(data, Environment) == environment  # pyright: ignore[reportArgumentType]


def set_to(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for name in path[:-1]:
            data = data[name]
        data[path[-1]] = value

    return change


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for name in path[:-1]:
            data = data[name]
        del data[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (set_to(1, "nonsense"), r"extra fields found \(nonsense\) @ configuration$"),
        (
            set_to(1, "algorithm", "network", "depth"),
            r"\(depth\) @ configuration\.algorithm\.network$",
        ),
        (without("name"), r"'name' is missing .* @ configuration\.name$"),
        (without("environment", "kind"), r"'kind' is missing .* @ configuration\.environment$"),
        (set_to("Maze", "environment", "kind"), r"'Maze' is .*unknown @ .*\.environment$"),
        (set_to("Guessing", "algorithm", "kind"), r"'Guessing' is .*unknown @ .*\.algorithm$"),
        (set_to("PPOConfig", "algorithm", "kind"), r"extra fields .*target_.* @ .*\.algorithm$"),
        (set_to("8", "num_envs"), r"expected int, got '8' @ configuration\.num_envs$"),
        (set_to(3.5, "num_envs"), r"expected int, got 3\.5 @ configuration\.num_envs$"),
        (set_to(True, "num_envs"), r"expected int, got True @ configuration\.num_envs$"),
        (set_to(None, "seed"), r"expected int, got None @ configuration\.seed$"),
        (set_to("x", "minutes"), r"expected float, got 'x' @ configuration\.minutes$"),
        (set_to("no", "environment", "grayscale"), r"expected bool, got 'no' @ .*\.grayscale$"),
        (set_to(7, "environment", "game"), r"expected str, got 7 @ .*\.game$"),
        (set_to("34", "algorithm", "network", "hidden_sizes"), r"got '3' @ .*\.hidden_sizes\[0\]"),
        (set_to("big", "algorithm", "network", "torso"), r"big.*'impala'.* @ .*\.network\.torso$"),
        (set_to(5, "algorithm", "network"), r"@ configuration\.algorithm\.network$"),
        (set_to([], "evaluation"), r"@ configuration\.evaluation$"),
        (set_to(0, "steps"), r"steps must be at least 1, got 0 @ configuration$"),
        (set_to(2.0, "algorithm", "discount"), r"discount must be in .* @ .*\.algorithm$"),
        (set_to("nopong", "environment", "game"), r"unknown Atari game 'nopong'.* @ .*environment"),
    ],
)
def test_what_does_not_fit_is_named(change: Callable[[dict[str, Any]], None], fault: str):
    data = copy.deepcopy(to_json(RECIPES["boxing"]))
    change(data)
    with pytest.raises(ConfigurationError, match=fault) as caught:
        from_json(data, Recipe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, 5, "boxing", [], [1], True])
def test_what_is_no_object_is_refused(data: Any):
    with pytest.raises(ConfigurationError, match="not a configuration"):
        from_json(data, Recipe)


def test_all_faults_are_told_at_once():
    data = to_json(RECIPES["boxing"]) | {"num_envs": "x", "seed": "y"}
    with pytest.raises(ConfigurationError, match=r"num_envs; .*seed"):
        from_json(data, Recipe)
