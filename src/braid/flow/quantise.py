"""Flow in fewer bits: clipped to ±bound, then 8-bit codes or half floats.

The 8-bit code is that of the I3D and TSN flow pipelines, ``q = round(128 + 255 / (2 bound) f)``: a step is
``2 bound / 255`` pixels and zero flow comes back as exactly zero. Codes are clipped to [1, 255]. At +bound this
takes care of 255.5, which would round to 256; at -bound, of 0.5, so that codes of mirrored flow are mirrored codes.
The error is at most half a step everywhere.
"""

from __future__ import annotations

import numpy as np

ZERO = 128
FIRST, LAST = 1, 255

DTYPES = {"uint8": np.dtype(np.uint8), "float16": np.dtype(np.float16)}


def step(bound: float) -> float:
    """Return the pixels between two neighbouring 8-bit codes."""
    return 2 * bound / 255


def quantise(flow: np.ndarray, encoding: str, bound: float) -> np.ndarray:
    """Return `flow`, float pixels of any shape, clipped to ±`bound` pixels, as `encoding`: ``uint8`` or ``float16``."""
    clipped = np.clip(flow, -bound, bound)
    if encoding == "uint8":
        clipped /= step(bound)
        np.rint(clipped, out=clipped)
        clipped += ZERO
        np.clip(clipped, FIRST, LAST, out=clipped)
    return clipped.astype(DTYPES[encoding])


def dequantise(codes: np.ndarray, encoding: str, bound: float) -> np.ndarray:
    """Return float32 pixels of `codes`, as `quantise` made them; 8-bit ones lie within ± 254 / 255 × `bound`."""
    pixels = codes.astype(np.float32)
    if encoding == "uint8":
        pixels -= ZERO
        pixels *= step(bound)
    return pixels
