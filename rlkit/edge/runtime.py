"""Runs a deployed policy: needs NumPy and ONNX Runtime, and neither PyTorch nor Gymnasium.

    policy = EdgePolicy("policy.onnx")
    action = policy.act(observation[None])[0]        # a batch of one

Everything that the file says is checked before anything runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlkit.edge.onnx_file import OBSERVATIONS, OnnxFileError, read_onnx_file, state_names
from rlkit.edge.onnx_runtime import onnx_runtime
from rlkit.reasons import reason_of

if TYPE_CHECKING:
    import onnxruntime

Array = NDArray[Any]
State = tuple[NDArray[np.float32], ...] | None


class EdgePolicy:
    """A policy from a file that `rlkit edge` wrote.

    header: what the file says of itself. Raises OnnxFileError where the file is damaged or holds
    no policy, or where this ONNX Runtime cannot run it; ImportError without ONNX Runtime.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 1) -> None:
        """threads: of the processor, for one inference."""
        self._path, self._threads = path, threads
        path = Path(path)
        self.header, model = read_onnx_file(path)
        deployment, spaces = self.header["deployment"], self.header["spaces"]
        self._session = _session(path, model, threads, deployment["bits"])
        self.observation_shape = tuple(int(side) for side in spaces["observation"]["shape"])
        self.observation_dtype = np.dtype(spaces["observation"]["dtype"])
        self.state_sizes = tuple(int(size) for size in deployment["state_sizes"])
        self._action = spaces["action"]
        inputs = [each.name for each in self._session.get_inputs()]
        self._state_names = state_names(len(self.state_sizes))
        # Of the model itself: bytes stay bytes, but bits of a console's memory become floats.
        takes_bytes = self._session.get_inputs()[0].type == "tensor(uint8)"
        self._input_dtype = np.dtype(np.uint8 if takes_bytes else np.float32)
        if inputs != [OBSERVATIONS, *self._state_names]:
            raise OnnxFileError(f"{path}: damaged: its model takes {', '.join(inputs)}")

    @property
    def continuous(self) -> bool:
        """Whether an action is a vector in a box, not a choice among several."""
        return self._action["type"] != "Discrete"

    @property
    def action_range(self) -> Array:
        """Width (components) of each component of a continuous action."""
        low, high = self._bounds
        return high - low

    @property
    def _bounds(self) -> tuple[Array, Array]:
        return np.asarray(self._action["low"], float), np.asarray(self._action["high"], float)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process, or copied, it is read from its file again."""
        return partial(EdgePolicy, threads=self._threads), (self._path,)

    def scores(self, observations: Array, state: State = None) -> tuple[NDArray[np.float32], State]:
        """Scores (batch, outputs) of observations (batch, *observation_shape), and the next state.

        Scores are expected returns, logits or chances of actions, or the components of a continuous
        action. state: what the last call returned; None before an episode's first observation.
        Raises ValueError for observations of another shape or type, and for a state that does not
        fit them.
        """
        if observations.shape[1:] != self.observation_shape:
            raise ValueError(
                f"this policy takes observations of shape (batch, "
                f"{', '.join(map(str, self.observation_shape))}), got {observations.shape}"
            )
        if observations.dtype != self.observation_dtype:
            raise ValueError(
                f"this policy takes observations of {self.observation_dtype}, "
                f"got {observations.dtype}"
            )
        before = self._checked(state, len(observations))
        feed = {OBSERVATIONS: np.ascontiguousarray(observations, self._input_dtype)}
        feed |= dict(zip(self._state_names, before, strict=True))
        outputs: list[Any] = list(self._session.run(None, feed))
        return outputs[0], tuple(outputs[1:]) or None

    def act(self, observations: Array, state: State = None) -> Array | tuple[Array, State]:
        """The best actions (batch, ...) for observations (batch, *observation_shape).

        A policy with memory also returns the state to pass with the next observations.
        """
        scores, following = self.scores(observations, state)
        actions = self.actions(scores)
        return (actions, following) if self.state_sizes else actions

    def predict(
        self,
        observation: Array,
        state: State = None,
        episode_start: Array | None = None,
        deterministic: bool = True,
    ) -> tuple[Array, State]:
        """As Stable-Baselines3's `predict`; what was exported is the deterministic policy.

        observation: one, or a batch; the actions come back in the same form. episode_start:
        (batch,) bool, where the state is to be forgotten.
        """
        single = observation.shape == self.observation_shape
        batch = observation[None] if single else observation
        if state is not None and episode_start is not None:
            keep = ~np.broadcast_to(np.asarray(episode_start, bool), len(batch))[:, None]
            state = tuple(np.where(keep, part, np.float32(0.0)) for part in state)
        scores, following = self.scores(batch, state)
        actions = self.actions(scores)
        return (actions[0] if single else actions), following

    def actions(self, scores: NDArray[np.float32]) -> Array:
        """The best actions (batch, ...) by their scores (batch, outputs)."""
        space = self._action
        if not self.continuous:
            return scores.argmax(1) + space["start"]
        low, high = self._bounds
        within = np.clip(scores.reshape(-1, *space["shape"]), low, high)
        return within.astype(space["dtype"])

    def _checked(self, state: State, batch: int) -> Sequence[NDArray[np.float32]]:
        wanted = [(batch, size) for size in self.state_sizes]
        if state is None:
            return [np.zeros(shape, np.float32) for shape in wanted]
        shapes = [part.shape for part in state]
        if shapes != wanted:
            raise ValueError(
                f"a recurrent state of shapes {shapes} does not fit: this policy over a batch of "
                f"{batch} needs {wanted}"
            )
        return state


def _session(path: Path, model: bytes, threads: int, bits: int) -> onnxruntime.InferenceSession:
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class of error for each of its codes
        hint = "; where 8 bits cannot be run, 32 can: rlkit edge export --bits 32"
        raise OnnxFileError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot run it: {reason_of(error)}"
            f"{hint if bits == 8 else ''}"
        ) from error
