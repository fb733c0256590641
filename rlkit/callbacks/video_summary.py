"""Turns a recorded episode into a TensorBoard image that moves.

TensorBoard has no dashboard for videos, but its images may be animated GIFs. Recording is left to
others; this only encodes.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from pathlib import Path

import cv2
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

MAX_FRAMES = 300
"""Frames kept of a video that has to be encoded anew; evenly spaced, and shown for longer."""
_MAX_COLOURS = 64
"""Colours of such a video, chosen for all frames together and not mixed by dots: a picture then
repeats most of the one before, which makes a GIF five times smaller."""
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
    picture = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=encoded)
    return Summary(value=[Summary.Value(tag=tag, image=picture)])


def video_tag_and_step(path: Path, now: int) -> tuple[str, int]:
    """`videos/best` at step 5000 for `best-5000.mp4`, at step `now` for `best.mp4`."""
    numbered = re.fullmatch(r"(.*\D)[-_](\d+)", path.stem)
    return (f"videos/{numbered[1]}", int(numbered[2])) if numbered else (f"videos/{path.stem}", now)


def _encode_gif(path: Path) -> bytes:
    video = cv2.VideoCapture(str(path))
    try:
        fps, count = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
        if fps <= 0 or count < 1:
            raise OSError("it holds no frames that can be read")
        stride = math.ceil(count / MAX_FRAMES)
        frames = []
        for index in itertools.count():
            if not video.grab():
                break
            if index % stride == 0:
                frames.append(Image.fromarray(video.retrieve()[1][..., ::-1]))  # BGR to RGB
    finally:
        video.release()
    delay_ms = max(_SHORTEST_DELAY_MS, round(1000 * stride / fps / _GIF_TICK_MS) * _GIF_TICK_MS)
    frames = _with_few_colours(frames)
    stream = io.BytesIO()
    frames[0].save(
        stream, "GIF", save_all=True, append_images=frames[1:], duration=delay_ms, loop=0
    )
    return stream.getvalue()


def _with_few_colours(frames: list[Image.Image]) -> list[Image.Image]:
    """The frames in one palette, taken from a few of them that lie far apart."""
    width, height = frames[0].size
    chosen = frames[:: max(1, len(frames) // 4)]
    sheet = Image.new("RGB", (width, height * len(chosen)))
    for row, frame in enumerate(chosen):
        sheet.paste(frame, (0, row * height))
    # The octree keeps small areas of a colour of their own, such as the bar of the action taken;
    # the median cut would spend the palette on shades of the large ones.
    palette = sheet.quantize(_MAX_COLOURS, method=Image.Quantize.FASTOCTREE)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
