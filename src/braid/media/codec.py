"""Frames as bytes: JPEG, or zstd of the raw pixels.

Letters: H and W pixels of a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import simplejpeg

ZSTD_LEVEL = 1
"""Higher levels cost several times the time and save a few percent on decoded video."""


class Planes(NamedTuple):
    """A frame as JPEG has it inside (BT.601, full range, 4:2:0).

    Attributes
    ----------
    y : np.ndarray
        Luma, uint8 [H, W].
    cb, cr : np.ndarray
        Colour differences + 128, uint8 [ceil(H / 2), ceil(W / 2)].
    """

    y: np.ndarray
    cb: np.ndarray
    cr: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape


def encoder(settings: dict[str, Any]) -> Callable[[np.ndarray | Planes], bytes]:
    """Return the function that turns a frame into bytes by the config's `codec`.

    A frame is uint8 [H, W, 3] RGB, for JPEG also `Planes`.
    """
    if settings["codec"] == "lossless":
        from numcodecs import Zstd

        zstd = Zstd(ZSTD_LEVEL)
        return lambda frame: bytes(zstd.encode(np.ascontiguousarray(frame)))
    quality = settings["jpeg_quality"]

    def jpeg(frame: np.ndarray | Planes) -> bytes:
        if isinstance(frame, Planes):
            return simplejpeg.encode_jpeg_yuv_planes(*frame, quality=quality)
        return simplejpeg.encode_jpeg(
            np.ascontiguousarray(frame), quality=quality, colorspace="RGB", colorsubsampling="420"
        )

    return jpeg


def decode(data: bytes | memoryview, codec: str, out: np.ndarray) -> None:
    """Write the frame that `data` holds into `out`, uint8 [H, W, 3] RGB, contiguous.

    Raises
    ------
    ValueError, RuntimeError
        The bytes are no such frame.
    """
    if codec == "lossless":
        from numcodecs import Zstd

        Zstd().decode(data, out)
    else:
        simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out)
