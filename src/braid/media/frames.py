"""The frames of a file, in order: upright, scaled, RGB, each with its time, by decord or by PyAV.

Letters: T frames, H and W pixels of the upright and scaled frame.
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
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from braid.errors import MediaError
from braid.media.container import Tally, decode, open_media, video_stream
from braid.media.probe import VideoFacts

INTERPOLATION = "BILINEAR"
"""Both decoders scale by swscale's bilinear filter, which averages over pixels that it drops; decord has no other."""
SAME_PICTURE = 3.0
"""Mean difference in grey levels up to which two decoders gave the same picture. Frames at their own size are
identical; scaled ones differ by 0.1 to 0.6, and by 2 where colours are strong, since swscale has changed between the
two. A wrong turn, range or plane differs by more."""
HARMLESS = "[swscaler"
"""How FFmpeg's messages on colour range begin; anything else that it prints while decoding speaks of damage."""

decord.logging.set_level(decord.logging.INFO)  # the level at which FFmpeg says that it conceals damage


def upright_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return (width, height) of stored frames: `short_side` pixels on the shorter side, an even number on the longer.

    Frames whose shorter side is not longer than `short_side` keep their size, and so do all with `short_side` 0.
    """
    shorter, longer = sorted((width, height))
    if short_side == 0 or shorter <= short_side:
        return width, height
    even = 2 * round(longer * short_side / shorter / 2)
    return (short_side, even) if width <= height else (even, short_side)


def turn(frame: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Return a frame [H, W, 3] as it is to be shown.

    Parameters
    ----------
    frame : np.ndarray
        As coded.
    matrix : tuple of int
        (a, b, c, d) of the display matrix: x' = a x + c y and y' = b x + d y. It is taken to the nearest quarter turn,
        mirrored or not.
    """
    a, b, c, d = matrix
    if abs(b) > abs(a):  # x' depends on y
        frame, a, d = frame.transpose(1, 0, 2), c, b
    return frame[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return (a, b, c, d) of a frame's display matrix in 16.16 fixed point; the identity where it has none."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    return a, b, c, d


@dataclass
class PyavFrames:
    """Frames by PyAV: any codec and container, packets that are damaged skipped and counted.

    After iteration the counts say how it went.

    Attributes
    ----------
    path : str
        The file.
    short_side : int
        See `upright_size`.
    n_timed : int
        Frames without a usable time of their own, placed one frame duration after the one before.
    tally : Tally
        Damage met.
    """

    path: str
    short_side: int
    n_timed: int = 0
    tally: Tally = field(default_factory=Tally)

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield (seconds, uint8 [H, W, 3]); all frames have the size of the first."""
        with open_media(self.path) as container:
            stream = video_stream(container)
            assert stream is not None
            stream.codec_context.thread_count = 1
            step = 1 / float(stream.average_rate or 25)
            last: float | None = None
            picture = None
            for frame in decode(container, stream, self.tally):
                assert isinstance(frame, VideoFrame)
                seconds = frame.time
                if seconds is None or (last is not None and seconds <= last):
                    self.n_timed += 1
                    seconds = 0.0 if last is None else last + step
                last = seconds
                if picture is None:
                    picture = _Picture(frame, self.short_side)
                yield seconds, picture.of(frame)


class _Picture:
    """Frames as RGB arrays of one size, decided by the first."""

    def __init__(self, first: VideoFrame, short_side: int) -> None:
        self._matrix = display_matrix(first)
        width, height = first.width, first.height
        lies = abs(self._matrix[1]) > abs(self._matrix[0])
        size = upright_size(*((height, width) if lies else (width, height)), short_side)
        self._size = size[::-1] if lies else size
        self._reformatter = VideoReformatter()

    def of(self, frame: VideoFrame) -> np.ndarray:
        width, height = self._size
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=INTERPOLATION, threads=1)
        return turn(rgb.to_ndarray(), self._matrix)


@dataclass
class DecordFrames:
    """Frames by decord, in order, each checked against what PyAV's demuxer counted and timed.

    Attributes
    ----------
    path : str
        The file.
    video : VideoFacts
        What `probe` said of its video stream.
    short_side : int
        See `upright_size`.
    alive : callable
        Called while frames are counted.
    """

    path: str
    video: VideoFacts
    short_side: int
    alive: Callable[[], None]
    n_timed: int = field(default=0, init=False)
    tally: Tally = field(default_factory=Tally, init=False)

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield (seconds, uint8 [H, W, 3]).

        Raises
        ------
        MediaError
            decord counts other frames than there are packets, its first picture is not PyAV's, it meets damage, or it
            fails.
        """
        _, first = next(iter(PyavFrames(self.path, self.short_side)), (0.0, None))
        if first is None:
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
            stream.codec_context.thread_count = 1
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
