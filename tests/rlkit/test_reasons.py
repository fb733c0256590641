"""The one line that stands for an exception in messages."""

import pytest

from rlkit.reasons import reason_of


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(28, "No space left on device", "a.txt"), "No space left on device (a.txt)"),
        (OSError("ffmpeg died"), "ffmpeg died"),
        (ValueError("the first line\nthe second"), "the first line"),
        (ValueError("\nthe first line"), "the first line"),
        (MemoryError(), "MemoryError"),
    ],
    ids=["system", "file", "words", "lines", "empty-line", "nothing"],
)
def test_a_reason_is_one_line_that_says_something(error: Exception, line: str):
    assert reason_of(error) == line
