"""Turns a recorded episode into a TensorBoard image that moves.

TensorBoard has no dashboard for videos, but its images may be animated GIFs. Recording is left to
others; this only encodes.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import imageio.v3 as imageio
from PIL import Image
from torch.utils.tensorboard.summary import Summary

MAX_FRAMES = 450
"""Frames kept of a video that has to be encoded anew; evenly spaced, and shown correspondingly longer."""
_GIF_TICK_MS = 10  # GIFs count time in hundredths of a second
_SHORTEST_DELAY_MS = 20  # browsers slow down anything faster


def video_summary(tag: str, path: Path) -> Summary:
    """A summary that shows the GIF or MP4 file `path` under `tag`.

    A GIF is embedded as it is; an MP4 is encoded as a GIF of at most `MAX_FRAMES` frames that
    lasts as long. Raises OSError where the file cannot be read or holds no video.
    """
    try:
        encoded = path.read_bytes() if path.suffix.lower() == ".gif" else _encode_gif(path)
        with Image.open(io.BytesIO(encoded)) as image:
            width, height = image.size
    except (ValueError, RuntimeError, LookupError) as error:  # what decoders say of damaged files
        raise OSError(f"not a whole video: {error}") from error
    picture = Summary.Image(
        width=width, height=height, colorspace=3, encoded_image_string=encoded
    )
    return Summary(value=[Summary.Value(tag=tag, image=picture)])


def video_tag_and_step(path: Path, now: int) -> tuple[str, int]:
    """`videos/episode` at step 5000 for `episode-5000.mp4`; at step `now` for a name without a number."""
    numbered = re.fullmatch(r"(.*\D)[-_](\d+)", path.stem)
    return (f"videos/{numbered[1]}", int(numbered[2])) if numbered else (f"videos/{path.stem}", now)


def _encode_gif(path: Path) -> bytes:
    facts = imageio.immeta(path, plugin="FFMPEG")
    fps = float(facts["fps"])
    stride = max(1, math.ceil(facts["duration"] * fps / MAX_FRAMES))
    frames = [
        Image.fromarray(frame)
        for index, frame in enumerate(imageio.imiter(path, plugin="FFMPEG"))
        if index % stride == 0
    ]
    if not frames:
        raise OSError(f"{path} holds no frames")
    delay_ms = max(_SHORTEST_DELAY_MS, round(1000 * stride / fps / _GIF_TICK_MS) * _GIF_TICK_MS)
    stream = io.BytesIO()
    frames[0].save(
        stream, "GIF", save_all=True, append_images=frames[1:], duration=delay_ms, loop=0
    )
    return stream.getvalue()
