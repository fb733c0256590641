"""Recorded play: who plays, what is kept, and the files that hold it."""

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from rlkit.environments import GymnasiumEnvironment
from rlkit.observations import (
    ObservationsFileError,
    PlayConfig,
    gather,
    read_array,
    single_frames,
    write_array,
)
from rlkit.policies import save_policy
from rlkit_agents.networks import NetworkConfig
from rlkit_agents.q_policy import HeadConfig, QPolicy
from rlkit_envs.atari import AtariProtocol


def test_all_players_share_the_observations() -> None:
    frames = single_frames(AtariProtocol("boxing", height=42, width=42), size=50)
    play = PlayConfig(count=40, policies=("boxing",), every=1)
    observations = gather(frames, play)
    assert observations.shape == (40, 1, 50, 50)
    assert observations.dtype == np.uint8
    assert np.array_equal(gather(frames, play), observations)


def test_play_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="each player"):
        PlayConfig(count=1, policies=("boxing",))
    with pytest.raises(ValueError, match="nobody plays"):
        PlayConfig(random=False)
    with pytest.raises(ValueError, match="epsilon"):
        PlayConfig(epsilon=1.5)
    pole = GymnasiumEnvironment("CartPole-v1")
    assert single_frames(pole) == pole


def test_random_actions_can_be_left_out(tmp_path: Path) -> None:
    pole = GymnasiumEnvironment("CartPole-v1")
    space = gym.make(pole.id).observation_space
    network = NetworkConfig(torso="mlp", hidden_sizes=(4,))
    policy = QPolicy(space, gym.spaces.Discrete(2), network, HeadConfig("expected"))
    with torch.no_grad():
        bias = policy.network.state_dict()["head.linear.bias"]
        bias.copy_(torch.tensor([0.0, 100.0]))  # always to the right
    save_policy(policy, tmp_path / "right.safetensors", pole, {})
    play = PlayConfig(count=50, policies=(str(tmp_path / "right.safetensors"),), epsilon=0.0)
    mixed, alone = gather(pole, play), gather(pole, replace(play, random=False))
    assert len(mixed) == len(alone) == 50
    # A cart starts with at most 0.05 m/s and is pushed to the right from then on.
    assert (alone[:, 1] > -0.05).all()
    assert not (mixed[:, 1] > -0.05).all()


def test_an_array_comes_back_from_its_file(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    write_array(tmp_path / "a.npz", "rows", array)
    assert np.array_equal(read_array(tmp_path / "a.npz", "rows"), array)
    with pytest.raises(ObservationsFileError, match='an array "others"'):
        read_array(tmp_path / "a.npz", "others")
    assert np.array_equal(read_array(tmp_path / "a.npz", "others", or_only=True), array)
    np.savez(tmp_path / "two.npz", a=array, b=array)
    with pytest.raises(ObservationsFileError, match='an array "others"'):
        read_array(tmp_path / "two.npz", "others", or_only=True)
    (tmp_path / "b.npz").write_bytes(b"nothing")
    with pytest.raises(ObservationsFileError, match="no NumPy archive"):
        read_array(tmp_path / "b.npz", "rows")
    with pytest.raises(ObservationsFileError, match="cannot be read"):
        read_array(tmp_path / "c.npz", "rows")
