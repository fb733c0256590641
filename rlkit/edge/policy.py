"""A deployed policy as any other: evaluated, watched and compared, but run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rlkit.edge.onnx_file import SCORES_OF_CHANCES, SCORES_OF_VALUES, OnnxFileError
from rlkit.edge.runtime import EdgePolicy
from rlkit.extras import installing
from rlkit.outlook import Outlook
from rlkit.policy_file import space_from_json
from rlkit_agents.memory import State
from rlkit_agents.policy import Policy


class DeterministicError(ValueError):
    """A policy that has no other than its best action was asked for one at random."""


class DeployedPolicy(Policy):
    """What a file of `rlkit edge` does, which is always the policy's best action."""

    def __init__(self, runner: EdgePolicy) -> None:
        spaces = runner.header["spaces"]
        super().__init__(space_from_json(spaces["observation"]), space_from_json(spaces["action"]))
        self.runner = runner
        self.network = nn.Identity()  # it has no weights of PyTorch's

    @property
    def architecture(self) -> dict[str, Any]:
        return self.runner.header["architecture"]

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def act(
        self, observations: Tensor, state: State = None, deterministic: bool = True
    ) -> tuple[Tensor, State]:
        """As `Policy.act`; DeterministicError where it is not to be deterministic."""
        if not deterministic:
            raise DeterministicError(
                "a deployed policy takes its best action; it cannot act at random"
            )
        scores, following = self._scores(observations, state)
        return torch.from_numpy(self.runner.actions(scores)), following

    def outlook(self, observations: Tensor, state: State) -> Outlook:
        """What it makes of one observation, as `rlkit.outlook.outlook_of` asks for it."""
        scores = self._scores(observations, state)[0][0]
        kind = self.runner.header["deployment"]["scores"]
        if kind == SCORES_OF_VALUES:
            return Outlook(q_values=scores)
        if kind == SCORES_OF_CHANCES:
            marks = observations[0, -1].numpy()
            chances = scores.reshape(-1, *marks.shape) + marks
            return Outlook(q_values=scores, chances=chances)
        if isinstance(self.action_space, gym.spaces.Discrete):
            odds = np.exp(scores - scores.max())
            return Outlook(probabilities=odds / odds.sum())
        return Outlook()

    def _scores(self, observations: Tensor, state: State) -> tuple[np.ndarray, State]:
        before = None if state is None else tuple(part.numpy() for part in state)
        scores, following = self.runner.scores(observations.numpy(), before)
        after = None if following is None else tuple(map(torch.from_numpy, following))
        return scores, after


def open_deployed(path: Path) -> tuple[dict[str, Any], DeployedPolicy]:
    """The header and the policy of a file; raises OnnxFileError as `EdgePolicy` does.

    Raises ValueError where ONNX Runtime is missing, naming what to install.
    """
    try:
        runner = EdgePolicy(path)
        return runner.header, DeployedPolicy(runner)
    except ImportError as error:
        raise ValueError(f"{path} needs ONNX Runtime: {installing('edge')}") from error
    except (KeyError, TypeError) as error:
        raise OnnxFileError(f"{path}: damaged: its header lacks {error}") from error
