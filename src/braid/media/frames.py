"""The frames of a file by PyAV, in order: upright, scaled, each with its time, as RGB or as the planes of a JPEG.

Letters: T frames, H and W pixels of the upright and scaled frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, VideoReformatter

from braid.media.codec import Planes
from braid.media.container import Tally, decode, open_media, video_stream
from braid.media.probe import Facts, Scan

INTERPOLATION = "BILINEAR"
"""Both decoders scale by swscale's bilinear filter, which averages over pixels that it drops; decord has no other."""
LIKE_JPEG = ("yuv420p", "yuvj420p")
"""Pixel formats with the planes of a JPEG, but for the range."""
BT601 = (2, 5, 6)
"""FFmpeg's numbers of the matrix that JPEG has: not stated (taken for BT.601, as FFmpeg does), BT.470, BT.601."""


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

    After iteration `facts`, `n_timed` and `tally` say how it went.

    Attributes
    ----------
    path : str
        The file.
    short_side : int
        See `upright_size`.
    planes : bool
        Give `Planes` where the file has them upright and by BT.601, without a way through RGB.
    facts : Facts
        What the demuxer says of the file; known after the last frame.
    n_timed : int
        Frames without a usable time of their own, placed one frame duration after the one before.
    tally : Tally
        Damage met.
    """

    path: str
    short_side: int
    planes: bool = False
    facts: Facts = field(default_factory=lambda: Facts("", 0, None, ""), init=False)
    n_timed: int = field(default=0, init=False)
    tally: Tally = field(default_factory=Tally, init=False)

    def __iter__(self) -> Iterator[tuple[float, np.ndarray | Planes]]:
        """Yield (seconds, uint8 [H, W, 3] or planes); all frames have the size of the first; none without video.

        Raises
        ------
        MediaError
            The file cannot be opened as a media file.
        """
        with open_media(self.path) as container:
            stream = video_stream(container)
            if stream is None:
                self.facts = Facts(container.format.name, container.size, None, "")
                return
            scan = Scan(container, stream)
            step = 1 / float(stream.average_rate or 25)
            last: float | None = None
            picture = None
            for frame in decode(container, stream, self.tally, scan.see):
                assert isinstance(frame, VideoFrame)
                seconds = frame.time
                if seconds is None or (last is not None and seconds <= last):
                    self.n_timed += 1
                    seconds = 0.0 if last is None else last + step
                last = seconds
                if picture is None:
                    picture = _Picture(frame, self.short_side, self.planes)
                yield seconds, picture.of(frame)
            self.facts = scan.facts(self.tally.error)


class _Picture:
    """Frames as arrays of one size, decided by the first."""

    def __init__(self, first: VideoFrame, short_side: int, planes: bool) -> None:
        self._matrix = display_matrix(first)
        width, height = first.width, first.height
        lies = abs(self._matrix[1]) > abs(self._matrix[0])
        size = upright_size(*((height, width) if lies else (width, height)), short_side)
        self._size = size[::-1] if lies else size
        self._planes = planes and not lies and min(self._matrix[0], self._matrix[3]) > 0
        self._reformatter = VideoReformatter()

    def of(self, frame: VideoFrame) -> np.ndarray | Planes:
        reformat, (width, height) = self._reformatter.reformat, self._size
        if self._planes and frame.format.name in LIKE_JPEG and frame.colorspace in BT601:
            full = frame.color_range == ColorRange.JPEG or frame.format.name == "yuvj420p"
            if frame.width != width or frame.height != height:
                stated = ColorRange.JPEG if full else ColorRange.MPEG
                frame = reformat(
                    frame,
                    width,
                    height,
                    interpolation=INTERPOLATION,
                    src_color_range=stated,
                    dst_color_range=stated,
                    threads=1,
                )
            y, cb, cr = (_array(plane) for plane in frame.planes)
            return Planes(y, cb, cr) if full else Planes(full_luma(y), full_chroma(cb), full_chroma(cr))
        rgb = reformat(frame, width, height, "rgb24", interpolation=INTERPOLATION, threads=1)
        return turn(rgb.to_ndarray(), self._matrix)


def full_luma(plane: np.ndarray) -> np.ndarray:
    """Return luma of limited range, 16 to 235, in full range: uint8 [H, W], what lies beyond it clipped."""
    # A weighted sum with a second weight of 0: the one pass of OpenCV that scales, shifts, rounds and saturates.
    return cv2.addWeighted(plane, 255 / 219, plane, 0, -16 * 255 / 219)


def full_chroma(plane: np.ndarray) -> np.ndarray:
    """Return colour differences of limited range, 16 to 240, in full range: as `full_luma`, but 128 stays."""
    return cv2.addWeighted(plane, 255 / 224, plane, 0, 128 - 128 * 255 / 224)


def _array(plane: VideoPlane) -> np.ndarray:
    """Return a view of a plane, uint8 [H, W]; its rows have gaps between them."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
