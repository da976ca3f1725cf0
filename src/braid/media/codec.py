"""Frames as bytes: JPEG, or zstd of the raw pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import simplejpeg
from numcodecs import Zstd

ZSTD_LEVEL = 1
"""Higher levels cost several times the time and save a few percent on decoded video."""


def encoder(settings: dict[str, Any]) -> Callable[[np.ndarray], bytes]:
    """Return the function that turns a frame, uint8 [H, W, 3] RGB, into bytes by the config's `codec`."""
    if settings["codec"] == "lossless":
        zstd = Zstd(ZSTD_LEVEL)
        return lambda frame: bytes(zstd.encode(np.ascontiguousarray(frame)))
    quality = settings["jpeg_quality"]
    return lambda frame: simplejpeg.encode_jpeg(
        np.ascontiguousarray(frame), quality=quality, colorspace="RGB", colorsubsampling="420"
    )


def decode(data: bytes | memoryview, codec: str, out: np.ndarray) -> None:
    """Write the frame that `data` holds into `out`, uint8 [H, W, 3] RGB, contiguous.

    Raises
    ------
    ValueError, RuntimeError
        The bytes are no such frame.
    """
    if codec == "lossless":
        Zstd().decode(data, out)
    else:
        simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out)
