"""Flow of a stream of frames: each is encoded once, and as many pairs share a pass as are fast and fit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch

from braid.device import is_out_of_memory
from braid.errors import FeatureError
from braid.extractors.sizing import BatchSize, BatchSizes
from braid.flow.transform import resize


class Block(NamedTuple):
    """Frames of one size, uint8 [n, H, W, 3], and the clip of each; a clip's frames stand in order."""

    frames: np.ndarray
    clips: list[str]


class Passes:
    """A flow method at work.

    Parameters
    ----------
    kind : str
        Type of the method, for messages.
    method : Any
        As `braid.flow.registry` describes it.
    sizes : BatchSizes
        Of frames; it learns what is fast and what fits.
    scale : float
        Size of the flow relative to the frame.
    """

    def __init__(self, kind: str, method: Any, sizes: BatchSizes, scale: float) -> None:
        self.kind = kind
        self.method = method
        self.sizes = sizes
        self.scale = scale
        self._encoded: list[Any] = []  # the last frame, which the next one makes a pair with
        self._clips: list[str] = []

    def size(self, height: int, width: int) -> BatchSize:
        """Return how many frames of one size share a pass."""
        return self.sizes.of(torch.empty(height, width, 3, dtype=torch.uint8))

    def flow(self, blocks: Iterable[Block]) -> Iterator[list[tuple[str, np.ndarray]]]:
        """Yield, for each pass, clips with the float32 pixels, [n, 2, h, w], of their next pairs.

        Raises
        ------
        FeatureError
            Flow is not finite, or one pair does not fit into memory; the message names the clip.
        """
        for frames, clips in blocks:
            size = self.size(*frames.shape[1:3])
            done = 0
            while done < len(clips):
                part = Block(frames[done : done + size.now], clips[done : done + size.now])
                begin = time.perf_counter()
                found = self._pass(part)
                n = len(part.clips)
                if found is not None:
                    size.took(n, time.perf_counter() - begin)
                    yield found
                    done += n
                elif n > 1:
                    size.did_not_fit(n)
                    print(f"{self.kind}: {n} frames did not fit into memory, from here on at most {size.now} do")
                else:
                    height, width = frames.shape[1:3]
                    raise FeatureError(
                        f"{self.kind}, clip {part.clips[0]}: a single pair of {height}×{width} does not fit into "
                        "memory; use a device with more of it, or decode with a smaller `short_side`."
                    )

    def _pass(self, part: Block) -> list[tuple[str, np.ndarray]] | None:
        """Return the flow of the pairs that `part` completes; None, and nothing has changed, if memory is short."""
        try:
            encoded, clips = self._encoded + self.method.encode(part.frames), self._clips + part.clips
            seconds = [i for i in range(1, len(clips)) if clips[i] == clips[i - 1]]
            stored = self._match(encoded, seconds) if seconds else np.empty(0)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._encoded, self._clips = encoded[-1:], clips[-1:]
            return self._by_clip(stored, [clips[i] for i in seconds])
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # now that the error is gone, and with it what the pass had allocated
        return None

    def _match(self, encoded: list[Any], seconds: list[int]) -> np.ndarray:
        flow = self.method.match([encoded[i - 1] for i in seconds], [encoded[i] for i in seconds])
        size = max(1, round(flow.shape[2] * self.scale)), max(1, round(flow.shape[3] * self.scale))
        return resize(flow, size).cpu().numpy()

    def _by_clip(self, stored: np.ndarray, clips: list[str]) -> list[tuple[str, np.ndarray]]:
        found = []
        for name, rows in groupby(range(len(clips)), key=clips.__getitem__):
            first, *more = rows
            flow = stored[first : first + 1 + len(more)]
            if not np.isfinite(flow).all():
                raise FeatureError(
                    f"{self.kind}, clip {name}: the flow is not finite; check the weights, or set `dtype: float32`."
                )
            found.append((name, flow))
        return found
