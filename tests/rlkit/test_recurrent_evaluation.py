"""Policies with memory are evaluated alike by rlkit and by Stable-Baselines3's `evaluate_policy`.

The recall task asks for what was seen some steps before: an evaluation that loses the recurrent
state, or carries it into the next episode, gives other returns.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from rlkit.environments import GymnasiumEnvironment
from rlkit.evaluation import evaluate
from rlkit.sb3.policy import StableBaselinesPolicy, build
from rlkit.sb3.vec_env import VectorEnvAsVecEnv
from rlkit_agents.actor_critic import ActorCriticPolicy
from rlkit_agents.memory import State
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.policy import Policy
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.recall import RecallEnv, RecallEnvs

gym.register(
    "test/RecallInTurn-v0", entry_point="rlkit_envs.recall:RecallEnv"
)  # not natively vectorised

DELAYS: dict[str, Any] = {"min_delay": 0, "max_delay": 2}
NATIVE = GymnasiumEnvironment("rlkit/Recall-v0", DELAYS)
IN_TURN = GymnasiumEnvironment("test/RecallInTurn-v0", DELAYS)
SEEN, CHOICE = gym.spaces.Box(0, 1, (5,), np.float32), gym.spaces.Discrete(4)
EPISODES = 48


class Latch(Policy):
    """Answers with the first symbol that it has seen since its state was cleared: the optimum."""

    def __init__(self) -> None:
        super().__init__(SEEN, CHOICE)
        self.weight = torch.nn.Parameter(torch.zeros(()))

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        kept = torch.zeros(len(observations), 4) if state is None else state[0]
        kept = torch.where(kept.any(1, keepdim=True), kept, observations[:, :4])
        return kept.argmax(1), (kept,)


def alone() -> RecallEnv:
    return RecallEnv(**DELAYS)


def magnified(policy: Policy, factor: float) -> Policy:
    """`policy` with weights so large that what it remembers shows in what it does."""
    with torch.no_grad():
        for weights in policy.parameters():
            weights.mul_(factor)
    return policy.eval()


def recurrent_ppo() -> StableBaselinesPolicy:
    torch.manual_seed(0)
    arguments = {"lstm_hidden_size": 6, "n_lstm_layers": 2, "net_arch": [6]}
    name = {"algorithm": "sb3-contrib:RecurrentPPO", "network": "MlpLstmPolicy"}
    return build({**name, "arguments": arguments}, SEEN, CHOICE)


def q_policy(memory: Any = "lstm") -> Policy:
    torch.manual_seed(0)
    network = NetworkConfig(torso="mlp", hidden_sizes=(6,), memory=memory, memory_size=6)
    return QPolicy(SEEN, CHOICE, network, HeadConfig("expected"), precision="float32")


def actor_critic() -> Policy:
    torch.manual_seed(2)
    network = NetworkConfig(torso="mlp", hidden_sizes=(6,), memory="gru", memory_size=6)
    return ActorCriticPolicy(SEEN, CHOICE, network, shared_torso=True, precision="float32")


POLICIES = {
    "optimum": Latch,
    "q-lstm": lambda: magnified(q_policy(), 2),
    "actor-critic-gru": lambda: magnified(actor_critic(), 2),
    "recurrent-ppo": lambda: magnified(recurrent_ppo(), 4),
}


def returns_by_sb3(model: Any, venv: VecEnv) -> list[float]:
    venv.seed(7)
    returns, _ = evaluate_policy(
        model, venv, n_eval_episodes=EPISODES, return_episode_rewards=True, warn=False
    )
    venv.close()
    return returns  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("name", POLICIES)
def test_one_environment_gives_the_returns_of_stable_baselines3(name: str):
    policy = POLICIES[name]()
    found = evaluate(policy, NATIVE, EPISODES, seed=7, num_envs=1)
    assert found.returns == returns_by_sb3(policy, VectorEnvAsVecEnv(RecallEnvs(1, **DELAYS)))
    assert found.returns == returns_by_sb3(policy, DummyVecEnv([alone]))
    if name == "optimum":
        assert found.summary.mean == 1
    else:
        assert 0 < found.summary.mean < 1


@pytest.mark.parametrize("name", POLICIES)
def test_several_environments_give_the_mean_of_stable_baselines3(name: str):
    policy = POLICIES[name]()
    found = evaluate(policy, IN_TURN, EPISODES, seed=7, num_envs=3)
    expected = returns_by_sb3(policy, DummyVecEnv([alone] * 3))
    assert found.summary.mean == np.mean(expected)
    if isinstance(policy, StableBaselinesPolicy):
        by_itself = returns_by_sb3(policy.network, DummyVecEnv([alone] * 3))
        assert by_itself == expected


@pytest.mark.parametrize("name", ["q-lstm", "actor-critic-gru", "recurrent-ppo"])
def test_what_it_does_depends_on_what_it_remembers(name: str):
    """Else the tests above could not tell a state that is kept or cleared from one that is not."""

    class Forgetful(Policy):
        def __init__(self, policy: Policy) -> None:
            super().__init__(SEEN, CHOICE)
            self.policy = policy

        @property
        def architecture(self) -> dict[str, Any]:
            return {}

        def act(
            self, observations: Tensor, state: State = None, deterministic: bool = True
        ) -> tuple[Tensor, State]:
            return self.policy.act(observations, None, deterministic)[0], None

    class NeverForgetting(Forgetful):
        def act(
            self, observations: Tensor, state: State = None, deterministic: bool = True
        ) -> tuple[Tensor, State]:
            return self.policy.act(observations, state, deterministic)

        @staticmethod
        def forget(state: State, starts: Tensor) -> State:
            return state

    policy = POLICIES[name]()
    returns = [
        evaluate(each, NATIVE, EPISODES, seed=7, num_envs=1).returns
        for each in (policy, Forgetful(policy), NeverForgetting(policy))
    ]
    assert returns[0] != returns[1]
    assert returns[0] != returns[2]


# States that do not fit


@pytest.mark.parametrize("name", ["q-lstm", "actor-critic-gru", "recurrent-ppo"])
def test_a_state_of_another_batch_or_policy_is_refused(name: str):
    policy = POLICIES[name]()
    zeros = np.zeros((3, 5), np.float32)
    _, state = policy.predict(zeros, deterministic=True)
    assert state is not None
    width = 12 if name == "recurrent-ppo" else 6
    assert {part.shape for part in state} == {(3, width)}
    for other in (tuple(part[:2] for part in state), (*state, state[0])):
        with pytest.raises(ValueError, match=rf"does not fit.*batch of 3 needs.*\(3, {width}\)"):
            policy.predict(zeros, other)
    with pytest.raises(ValueError, match=r"does not fit a batch of 3"):
        policy.predict(zeros, tuple(part[:2] for part in state), np.ones(3, bool))
    with pytest.raises(ValueError, match="does not fit: this policy has no memory"):
        q_policy("none").predict(zeros, state)
    dqn = {"algorithm": "sb3:DQN", "network": "MlpPolicy", "arguments": {"net_arch": [4]}}
    with pytest.raises(ValueError, match="does not fit: this policy has no memory"):
        build(dqn, SEEN, CHOICE).predict(zeros, state)


def test_a_recurrent_state_goes_on_as_by_the_library_itself():
    policy = recurrent_ppo()
    starts = np.ones(3, bool)
    state: Any = None
    theirs: Any = None
    random = np.random.default_rng(0)
    for _ in range(20):
        seen = random.normal(size=(3, 5)).astype(np.float32)
        actions, state = policy.predict(seen, state, starts, deterministic=True)
        wanted, theirs = policy.network.predict(seen, theirs, starts, deterministic=True)
        np.testing.assert_array_equal(actions, wanted)
        # After the actor's comes the critic's, of which the library's own state knows nothing.
        for part, their_part in zip(state[:2], theirs, strict=True):
            # The library's axes are (layers, batch, units).
            layered = part.reshape(3, 2, 6).transpose(1, 0, 2)
            np.testing.assert_allclose(layered, their_part, atol=1e-6)
        starts = random.random(3) < 0.2
