"""Where a replay keeps its frames: each frame once, written by time row, gathered at random.

`PlainFrames` is one array. `CompressedFrames` keeps each frame as an LZ4 block
(https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md), in about a tenth of the memory on
Boxing, for a few microseconds a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]

# What CPython and its allocator add to the content of one `bytes` object: 33 bytes of header, on
# average 8 of rounding to 16, 8 of the allocator's own, and 8 for the reference to it.
_BYTES_OVERHEAD = 33 + 8 + 8 + 8


class FrameStore(Protocol):
    """Slots for `rows * num_envs` frames; slot = row * num_envs + environment."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory for the frames, overhead included, with all pages of arrays in use."""
        ...

    def write(self, row: int, frames: Array) -> None:
        """Replace a row, (num_envs, *frame_shape)."""
        ...

    def gather(self, slots: Indices) -> Array:
        """A fresh array (*slots.shape, *frame_shape) with the frames in `slots`."""
        ...

    def export_rows(self, rows: Indices) -> dict[str, Array]:
        """A copy of `rows` as they are kept, in arrays whose first axis is the row."""
        ...

    def import_rows(self, rows: Indices, arrays: Mapping[str, Array]) -> None:
        """Put back what `export_rows` gave, in ascending order where a row is repeated.

        Raises ValueError for arrays that are not of such rows.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """What is needed beside the rows."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        ...


class PlainFrames:
    """Frames in one array; the system hands out its memory as rows are written."""

    def __init__(
        self, rows: int, num_envs: int, frame_shape: tuple[int, ...], frame_dtype: np.dtype
    ) -> None:
        self._frames = np.zeros((rows, num_envs, *frame_shape), frame_dtype)
        self._flat = self._frames.reshape(rows * num_envs, *frame_shape)

    @property
    def nbytes(self) -> int:
        return self._frames.nbytes

    def write(self, row: int, frames: Array) -> None:
        self._frames[row] = frames

    def gather(self, slots: Indices) -> Array:
        # One memory move per frame, in about twice the time of a straight copy of as many bytes.
        return np.take(self._flat, slots, axis=0)

    def export_rows(self, rows: Indices) -> dict[str, Array]:
        return {"frames": self._frames[rows]}

    def import_rows(self, rows: Indices, arrays: Mapping[str, Array]) -> None:
        frames = arrays["frames"]
        expected = (len(rows), *self._frames.shape[1:])
        if frames.shape != expected or frames.dtype != self._frames.dtype:
            raise ValueError(
                f"frames must be {self._frames.dtype} of shape {expected}, "
                f"not {frames.dtype} of shape {frames.shape}"
            )
        self._frames[rows] = frames

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class CompressedFrames:
    """Frames as separate LZ4 blocks that share a dictionary: the first frame that came.

    Games repaint little: against one earlier picture a frame takes a third less than on its own,
    and is decoded faster, while each frame can still be read without any other.
    """

    def __init__(
        self, rows: int, num_envs: int, frame_shape: tuple[int, ...], frame_dtype: np.dtype
    ) -> None:
        """Raises ImportError without the package lz4."""
        try:
            import lz4.block
        except ImportError as error:
            raise ImportError(
                "compressed replay needs the package lz4: pip install -e '.[lz4]' in rlkit's folder"
            ) from error
        self._compress = partial(lz4.block.compress, store_size=False, return_bytearray=False)
        self._decompress = lz4.block.decompress
        self._shape = (rows, num_envs)
        self._frame_shape = frame_shape
        self._frame_dtype = frame_dtype
        self._frame_bytes = int(np.prod(frame_shape, dtype=np.int64)) * frame_dtype.itemsize
        # One object stands for all frames that were never written, and reads as zeros.
        self._blocks = np.empty(self._shape, object)
        self._blocks.fill(self._compress(bytes(self._frame_bytes)))
        self._sizes = np.zeros(self._shape, np.int32)
        self._content_bytes = 0
        self._dictionary = b""

    @property
    def nbytes(self) -> int:
        written = int(np.count_nonzero(self._sizes))
        return self._sizes.nbytes + self._content_bytes + written * _BYTES_OVERHEAD

    def write(self, row: int, frames: Array) -> None:
        frames = np.ascontiguousarray(frames)
        if not self._dictionary:
            self._dictionary = frames[0].tobytes()
        self._put(row, list(map(partial(self._compress, dict=self._dictionary), frames)))

    def _put(self, row: int, blocks: list[bytes]) -> None:
        sizes = np.fromiter(map(len, blocks), np.int32, len(blocks))
        self._content_bytes += int(sizes.sum()) - int(self._sizes[row].sum())
        self._blocks[row] = blocks
        self._sizes[row] = sizes

    def gather(self, slots: Indices) -> Array:
        decode = partial(
            self._decompress, uncompressed_size=self._frame_bytes, dict=self._dictionary
        )
        # A bytearray, as an array over plain bytes could not be written to.
        content = bytearray().join(map(decode, self._blocks.reshape(-1)[slots.reshape(-1)]))
        return np.frombuffer(content, self._frame_dtype).reshape(*slots.shape, *self._frame_shape)

    def export_rows(self, rows: Indices) -> dict[str, Array]:
        contents = [b"".join(self._blocks[row]) for row in rows]
        longest = max(map(len, contents), default=0)
        padded = b"".join(content.ljust(longest, b"\0") for content in contents)
        return {
            "frame_blocks": np.frombuffer(padded, np.uint8).reshape(len(rows), longest),
            "frame_block_sizes": np.array(
                [[len(block) for block in self._blocks[row]] for row in rows], np.int32
            ).reshape(len(rows), self._shape[1]),
        }

    def import_rows(self, rows: Indices, arrays: Mapping[str, Array]) -> None:
        blocks, sizes = arrays["frame_blocks"], arrays["frame_block_sizes"]
        ends = np.cumsum(sizes, axis=1, dtype=np.int64)
        if (
            sizes.shape != (len(rows), self._shape[1])
            or blocks.ndim != 2
            or len(blocks) != len(rows)
            or (sizes < 1).any()
            or (ends > blocks.shape[1]).any()
        ):
            raise ValueError(
                f"compressed frames of shape {blocks.shape} and their sizes of shape "
                f"{sizes.shape} do not describe {len(rows)} rows of {self._shape[1]} frames"
            )
        for row, content, stops in zip(rows.tolist(), blocks, ends.tolist(), strict=True):
            whole = content.tobytes()
            starts = [0, *stops[:-1]]
            self._put(row, [whole[a:b] for a, b in zip(starts, stops, strict=True)])

    def state_dict(self) -> dict[str, Any]:
        return {"dictionary": np.frombuffer(self._dictionary, np.uint8)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._dictionary = np.asarray(state["dictionary"], np.uint8).tobytes()
