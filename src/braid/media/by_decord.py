"""The frames of a file by decord, in order and checked: upright, scaled, RGB, each with its time.

Letters: H and W pixels of the upright and scaled frame.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import decord
import numpy as np

from braid.errors import MediaError
from braid.media.container import Tally, decode, open_media, video_stream
from braid.media.frames import PyavFrames
from braid.media.probe import Facts, VideoFacts

SAME_PICTURE = 3.0
"""Mean difference in grey levels up to which two decoders gave the same picture. Frames at their own size are
identical; scaled ones differ by 0.1 to 0.6, and by 2 where colours are strong, since swscale has changed between the
two. A wrong turn, range or plane differs by more."""
HARMLESS = "[swscaler"
"""How FFmpeg's messages on colour range begin; anything else that it prints while decoding speaks of damage."""

decord.logging.set_level(decord.logging.INFO)  # the level at which FFmpeg says that it conceals damage


@dataclass
class DecordFrames:
    """Frames by decord, in order, each checked against what PyAV's demuxer counted and timed.

    Attributes
    ----------
    path : str
        The file.
    facts : Facts
        What `probe` said of it, with a video stream.
    short_side : int
        See `upright_size`.
    alive : callable
        Called while frames are counted.
    """

    path: str
    facts: Facts
    short_side: int
    alive: Callable[[], None]
    n_timed: int = field(default=0, init=False)
    tally: Tally = field(default_factory=Tally, init=False)

    @property
    def video(self) -> VideoFacts:
        assert self.facts.video is not None
        return self.facts.video

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield (seconds, uint8 [H, W, 3]).

        Raises
        ------
        MediaError
            decord counts other frames than there are packets, its first picture is not PyAV's, it meets damage, or it
            fails.
        """
        _, first = next(iter(PyavFrames(self.path, self.short_side)), (0.0, None))
        if not isinstance(first, np.ndarray):
            raise MediaError("PyAV finds no frame")
        height, width = first.shape[:2]
        scaled = self.short_side > 0 and min(self.video.width, self.video.height) > self.short_side
        size = {"width": width, "height": height} if scaled else {}
        try:
            with _printed() as printed:
                reader = decord.VideoReader(f"file:{self.path}", num_threads=1, **size)
                if len(reader) != self.video.n_packets:
                    raise MediaError(f"decord counts {len(reader)} frames in {self.video.n_packets} packets")
                before = frame = first
                for number, seconds in enumerate(self.video.times):
                    before, frame = frame, reader.next().asnumpy()
                    if number == 0:
                        _compare(frame, first)
                    yield float(seconds), frame
                printed.seek(0)
                damage = [line for line in printed.read().decode(errors="replace").splitlines() if HARMLESS not in line]
        except decord.DECORDError as error:
            raise MediaError(f"decord stopped ({_cause(error)})") from error
        except StopIteration as error:
            raise MediaError("decord ends before the last packet") from error
        if damage:
            raise MediaError(f"decord conceals damage ({damage[0].partition('] ')[2]})")
        if np.array_equal(before, frame):
            self._count()

    def _count(self) -> None:
        """Raise unless each packet gives a frame; decord repeats the last picture in place of frames that it lacks."""
        with open_media(self.path) as container:
            stream = video_stream(container)
            assert stream is not None
            n_frames = 0
            for _ in decode(container, stream, Tally()):
                n_frames += 1
                self.alive()
        if n_frames != self.video.n_packets:
            raise MediaError(f"decord repeats its last picture: {self.video.n_packets} packets hold {n_frames} frames")


@contextmanager
def _printed() -> Iterator[BinaryIO]:
    """Yield a file that receives what is printed on standard error, by C libraries too."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _compare(frame: np.ndarray, first: np.ndarray) -> None:
    if frame.shape != first.shape:
        raise MediaError(f"decord gives frames of shape {frame.shape} where PyAV gives {first.shape}")
    difference = float(np.abs(frame.astype(np.int16) - first).mean())
    if difference > SAME_PICTURE:
        raise MediaError(f"the first picture of decord differs from PyAV's by {difference:.1f} grey levels")


def _cause(error: Exception) -> str:
    """Return what a message of decord says, without the time, source line and failed check before it."""
    return re.sub(r"^.*(\.cc:\d+: |Check failed: .*\) |\] )", "", str(error).strip().splitlines()[-1])
