"""What tests of the workbench share."""

import pytest

from rlkit.environments import GymnasiumEnvironment
from rlkit.recipe import EvaluationSchedule, Recipe
from rlkit_agents.dqn import DQNConfig
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig
from rlkit_agents.schedules import LinearSchedule


@pytest.fixture(scope="session")
def small_cartpole() -> Recipe:
    """A whole training of about a second, with every event of a long one: evaluations, checkpoints,
    a target network that is replaced, and a ring of 100 rows that wraps around."""
    return Recipe(
        name="small-cartpole",
        environment=GymnasiumEnvironment("CartPole-v1"),
        algorithm=DQNConfig(
            network=NetworkConfig(torso="mlp", hidden_sizes=(16,)),
            head=HeadConfig("expected"),
            n_step=2,
            replay_capacity=800,
            batch_size=16,
            samples_per_step=4,
            learning_starts=100,
            learning_rate=1e-3,
            target_update_every=20,
            epsilon=LinearSchedule(1.0, 0.1, 1_000),
        ),
        num_envs=8,
        steps=2_400,
        seed=3,
        learner_threads=1,
        checkpoint_every=800,
        evaluation=EvaluationSchedule(every=600, episodes=2, final_episodes=3),
    )
