"""A policy does in an evaluation what it would do in the world that it was trained in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlkit.data_center_evaluation import evaluate_data_center
from rlkit.data_center_pass import ControllerError
from rlkit.data_center_years import unseen_years
from rlkit.evaluation import SpaceMismatchError
from rlkit.policy_controller import AGENT, SUPERVISED, PolicyController, agents
from rlkit.sb3.policy import build
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.data_center.actions import ActuatorRanges, DiscreteActions
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.controllers.controller import Observed
from rlkit_envs.data_center.controllers.fixed import FixedSetPoints, FixedSettings
from rlkit_envs.data_center.environment import DataCenterEnvs
from rlkit_envs.data_center.reward import RewardSettings
from rlkit_envs.data_center.sensors import SensorSettings

LEVELS: Mapping[str, tuple[float | str, ...]] = {
    "supply_air_degc": (13.5, 24.0),
    "air_flow_ratio": (0.55, 0.9),
    "chilled_water_degc": (12.5,),
    "tower_fan_ratio": (0.25, 0.45),
    "economiser": ("off", "precool"),
}
GRID = DataCenterConfig(discrete=True, levels=LEVELS)
NARROW = DataCenterConfig(
    ranges=ActuatorRanges(supply_air_degc=(10.0, 26.0), air_flow_ratio=(0.4, 0.8))
)


class Script(Policy):
    """Gives the next of some answers at each step since it began, the same everywhere."""

    def __init__(self, site: DataCenterConfig, answers: Any) -> None:
        envs = DataCenterEnvs(1, config=site)
        super().__init__(envs.single_observation_space, envs.single_action_space)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.answers = torch.as_tensor(np.array(answers))
        self.seen: list[Tensor] = []
        self.asked: list[tuple[bool, bool]] = []

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        self.seen.append(observations)
        self.asked.append((deterministic, self.training))
        age = torch.zeros(len(observations), 1) if state is None else state[0]
        return self.answers[age[:, 0].long() % len(self.answers)], (age + 1,)


def envs_for(config: DataCenterConfig, rows: int = 2) -> DataCenterEnvs:
    return DataCenterEnvs(rows, config=unseen_years(config, weather=("cold",), days=1))


def observed(envs: DataCenterEnvs) -> Observed:
    observations, _ = envs.reset(seed=0)
    return Observed(observations, envs.readings(observations))


# What its actions mean


def test_numbers_of_a_grid_mean_its_levels():
    (action,) = [
        number
        for number, levels in enumerate(DiscreteActions(GRID.design(), LEVELS).meanings)
        if tuple(levels.values()) == (13.5, 0.9, 12.5, 0.25, "precool")
    ]
    same = FixedSettings(
        supply_air_degc=13.5,
        air_flow_ratio=0.9,
        chilled_water_degc=12.5,
        tower_fan_ratio=0.25,
        economiser="precool",
    )
    config = unseen_years(GRID, weather=("cold",), days=1)
    alone = agents(Script(GRID, [action]), GRID)[AGENT]
    found = evaluate_data_center({AGENT: alone, "fixed": lambda _: FixedSetPoints(same)}, config)
    assert found.counts[AGENT]["facility_energy"] == found.counts["fixed"]["facility_energy"]
    for count, values in found.counts["fixed"].items():
        np.testing.assert_allclose(found.counts[AGENT][count], values, rtol=1e-12, err_msg=count)


def test_numbers_from_minus_one_to_one_mean_the_ranges_of_its_own_world():
    envs = envs_for(DataCenterConfig())  # whose ranges are others
    controller = PolicyController(Script(NARROW, [[-1.0, 0.5, 0.0, 1.0, 0.9]]), NARROW, envs)
    controller.reset(np.ones(2, bool))
    told = controller.act(observed(envs))
    assert np.asarray(told.supply_air_degc).tolist() == [10.0, 10.0]
    np.testing.assert_allclose(told.air_flow_ratio, 0.7)
    np.testing.assert_allclose(told.chilled_water_degc, 13.0)
    np.testing.assert_allclose(told.tower_fan_ratio, 1.0)
    assert np.asarray(told.economiser).tolist() == [2, 2]


def test_it_sees_the_scaled_observation_and_acts_as_asked():
    envs = envs_for(GRID)
    policy = Script(GRID, [0]).train()
    seen = observed(envs)
    for number, seed in enumerate((None, 5)):
        PolicyController(policy, GRID, envs, seed=seed).act(seen)
        np.testing.assert_array_equal(policy.seen[number].numpy(), seen.scaled)
    assert policy.asked == [(True, False), (False, False)], "its best action, or as it likes"


# Kinds of policies


def q_policy(memory: str) -> QPolicy:
    torch.manual_seed(3)
    network = NetworkConfig(torso="mlp", hidden_sizes=(16,), memory=memory, memory_size=8)  # pyright: ignore[reportArgumentType]
    envs = DataCenterEnvs(1, config=GRID)
    spaces = envs.single_observation_space, envs.single_action_space
    return QPolicy(*spaces, network, HeadConfig("expected"), precision="float32")


def sb3_policy(algorithm: str, network: str) -> Policy:
    torch.manual_seed(3)
    envs = DataCenterEnvs(1, config=NARROW)
    description = {"algorithm": algorithm, "network": network, "arguments": {}}
    return build(description, envs.single_observation_space, envs.single_action_space)


@pytest.mark.parametrize(
    ("policy", "site"),
    [
        (q_policy("none"), GRID),
        (q_policy("lstm"), GRID),
        (sb3_policy("sb3:SAC", "MlpPolicy"), NARROW),
        (sb3_policy("sb3-contrib:RecurrentPPO", "MlpLstmPolicy"), NARROW),
    ],
    ids=["q", "recurrent q", "sac", "recurrent ppo"],
)
def test_any_policy_does_what_it_does_in_its_own_world(policy: Policy, site: DataCenterConfig):
    own = DataCenterEnvs(2, config=site, weather="cold", episode_days=1, start_day=40.0)
    config = unseen_years(site, weather=("cold",), days=1, first_day=40)
    other = DataCenterEnvs(2, config=config, weather_seed=0, load_seed=0)
    controller = PolicyController(policy, site, other)
    controller.reset(np.ones(2, bool))
    here, there = own.reset(seed=1)[0], other.reset(seed=1)[0]
    state: Any = None
    for _ in range(25):
        np.testing.assert_allclose(here, there, atol=1e-5)
        actions, state = policy.predict(here, state, deterministic=True)
        told = controller.act(Observed(there, other.readings(there)))
        here, _, _, _, info = own.step(actions)
        there = other.step(other.actions.from_plant(told))[0]
        for name, values in info["actions"].items():
            np.testing.assert_allclose(np.asarray(getattr(told, name)), values, rtol=1e-5)


def test_memory_is_forgotten_where_an_episode_begins_and_only_there():
    envs = envs_for(GRID, rows=3)
    controller = PolicyController(Script(GRID, [0, 1, 2]), GRID, envs)
    meanings = DiscreteActions(GRID.design(), LEVELS)
    seen = observed(envs)
    controller.reset(np.ones(3, bool))
    for numbers, starts in (
        ([0, 0, 0], None),
        ([1, 1, 1], None),
        ([2, 0, 2], [False, True, False]),
        ([0, 1, 0], None),
    ):
        if starts is not None:
            controller.reset(np.array(starts))
        told = controller.act(seen)
        for mine, meant in zip(told, meanings.to_plant(np.array(numbers)), strict=True):
            np.testing.assert_array_equal(mine, meant)


def test_a_random_policy_draws_from_its_seed_and_leaves_other_random_numbers_alone():
    policy = q_policy("none")
    policy.epsilon = 1.0
    envs = envs_for(GRID)
    seen = observed(envs)

    def first_actions(seed: int) -> list[list[float]]:
        controller = PolicyController(policy, GRID, envs, seed=seed)
        return [np.stack(controller.act(seen)).ravel().tolist() for _ in range(6)]

    torch.manual_seed(1)
    before = torch.get_rng_state()
    drawn = first_actions(4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert first_actions(4) == drawn
    assert first_actions(5) != drawn
    assert drawn[0] != drawn[1] or drawn[1] != drawn[2]


# What does not fit


def test_an_action_that_is_no_number_reaches_whoever_watches_over_the_policy():
    site = DataCenterConfig()
    policy = Script(site, np.array([[0.0] * 5, [0.0, np.nan, 0.0, 0.0, 0.0]], np.float32))
    envs = envs_for(site)
    controller = PolicyController(policy, site, envs)
    controller.reset(np.ones(2, bool))
    seen = observed(envs)
    assert np.isfinite(controller.act(seen).supply_air_degc).all()
    controller.reset(np.array([True, False]))
    assert np.isnan(controller.act(seen).supply_air_degc).tolist() == [False, True]
    config = unseen_years(site, weather=("cold",), days=1)
    with pytest.raises(ControllerError, match="controller 'agent': supply_air_degc is nan"):
        evaluate_data_center({AGENT: agents(policy, site)[AGENT]}, config)
    watched = evaluate_data_center({SUPERVISED: agents(policy, site)[SUPERVISED]}, config)
    (year,) = watched.measured.supervision[SUPERVISED]
    assert "not_finite" in {interval["reason"] for interval in year["intervals"]}
    assert year["bills"]["fallback"]["hours"] > 20.0
    assert year["bills"]["both"]["hours"] == pytest.approx(24.0)
    assert watched.counts[SUPERVISED]["hours_outside_allowable"] == 0.0


@pytest.mark.parametrize(
    ("made_for", "runs_in", "expected"),
    [
        (DataCenterConfig(site="small_room"), {}, "made for the site 'small_room'.*'chilled_water"),
        (
            DataCenterConfig(sensors=SensorSettings(forecast_hours=(1.0,))),
            {},
            r"sensors.*differ in forecast_dry_bulb_3h_degc",
        ),
        (
            DataCenterConfig(),
            {"reward": RewardSettings(price_per_kwh=(0.1,) * 12 + (0.2,) * 12)},
            "differ in cost_per_kwh",
        ),
        (  # the same sensors, of which one has another range
            DataCenterConfig(reward=RewardSettings(price_per_kwh=(0.1,) * 12 + (0.3,) * 12)),
            {"reward": RewardSettings(price_per_kwh=(0.1,) * 12 + (0.2,) * 12)},
            "differ in cost_per_kwh",
        ),
    ],
)
def test_another_site_or_other_sensors_are_refused(
    made_for: DataCenterConfig, runs_in: dict[str, Any], expected: str
):
    envs = envs_for(DataCenterConfig(**runs_in))
    policy = Script(made_for, [0.0] * 5)
    with pytest.raises(SpaceMismatchError, match=expected):
        PolicyController(policy, made_for, envs)


def test_a_policy_for_another_world_is_refused():
    policy = Script(GRID, [0])
    with pytest.raises(SpaceMismatchError, match=r"made for actions Discrete\(16\)"):
        PolicyController(policy, DataCenterConfig(), envs_for(DataCenterConfig()))
    other = DataCenterConfig(discrete=True)
    with pytest.raises(SpaceMismatchError, match=r"Discrete\(16\).*Discrete\(216\)"):
        PolicyController(policy, other, envs_for(other))
