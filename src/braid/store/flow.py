"""Flow shards: one zarr file, written once, that gives back pixels.

A shard is a zip store with a group a clip. The group holds `times` [T] in seconds and, where the clip has pairs,
`flow` [T - 1, 2, h, w] in the shard's encoding; pair t is the motion from frame t to frame t + 1, u right and v down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import ZipStore

from braid.errors import StoreError
from braid.files import whole
from braid.flow.quantise import DTYPES, dequantise, quantise

FORMAT = "braid flow shard"
CHUNK_PAIRS = 8
"""Pairs a chunk: one clip of 16 frames then reads three chunks at most."""


class FlowWriter:
    """Context manager that writes a flow shard, whole or not at all.

    Parameters
    ----------
    path : Path
        The shard, ending in ``.zarr.zip``.
    encoding : str
        ``uint8`` or ``float16``, see `braid.flow.quantise`.
    bound : float
        Pixels that values are clipped to, at the stored scale.
    attrs : dict
        Whatever says how the flow was made; JSON.
    """

    def __init__(self, path: Path, encoding: str, bound: float, attrs: dict[str, Any]) -> None:
        self.path = path
        self.encoding = encoding
        self.bound = bound
        self.attrs = {**attrs, "format": FORMAT, "encoding": encoding, "bound": bound}

    def __enter__(self) -> FlowWriter:
        with ExitStack() as stack:
            beside = stack.enter_context(whole(self.path))
            store = ZipStore(beside, mode="w")
            self._root = zarr.create_group(store, attributes=self.attrs)
            stack.callback(store.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def write(self, clip: str, times: np.ndarray, status: str, reason: str, blocks: Iterable[np.ndarray]) -> None:
        """Write one clip.

        Parameters
        ----------
        clip : str
            Key of the clip.
        times : np.ndarray
            Seconds of the frames, float64 [T].
        status, reason : str
            Of the video stream.
        blocks : iterable of np.ndarray
            Float32 pixels [n, 2, h, w], together T - 1 pairs in order. `n` is a multiple of `CHUNK_PAIRS` but in the
            last block, since a chunk of a zip file is written once.
        """
        group = self._root.create_group(clip, attributes={"status": status, "reason": reason})
        group.create_array("times", data=np.asarray(times, np.float64))
        n_pairs, written, array = max(len(times) - 1, 0), 0, None
        for block in blocks:
            if array is None:
                array = group.create_array(
                    "flow",
                    shape=(n_pairs, *block.shape[1:]),
                    chunks=(CHUNK_PAIRS, *block.shape[1:]),
                    dtype=DTYPES[self.encoding],
                    compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
                )
            assert written % CHUNK_PAIRS == 0
            array[written : written + len(block)] = quantise(block, self.encoding, self.bound)
            written += len(block)
        assert written == n_pairs, f"{written} pairs of {n_pairs}"


class FlowShard:
    """Read-only flow shard, a context manager.

    Parameters
    ----------
    path : Path
        A file that `FlowWriter` wrote.

    Attributes
    ----------
    attrs : dict
        What the writer was given, with `encoding` and `bound`.
    clips : tuple of str
        Keys of the clips.

    Raises
    ------
    StoreError
        The file is missing, truncated or no flow shard.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        with _reading(self.path):
            self._store = ZipStore(self.path, mode="r")
            self._root = zarr.open_group(self._store, mode="r")
            self.attrs: dict[str, Any] = dict(self._root.attrs)
            if self.attrs.get("format") != FORMAT:
                self._store.close()
                raise StoreError(f"{self.path} is no flow shard, its format is {self.attrs.get('format')!r}.")
            self.clips = tuple(sorted(self._root.group_keys()))

    def __enter__(self) -> FlowShard:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def __getitem__(self, clip: str) -> FlowClip:
        if clip not in self.clips:
            raise StoreError(f"{self.path} holds no clip {clip}; delete the shard and run the flow stage again.")
        with _reading(self.path):
            return FlowClip(self.path, clip, cast(zarr.Group, self._root[clip]), self.attrs)


class FlowClip:
    """Flow of one clip.

    Attributes
    ----------
    times : np.ndarray
        Seconds of the frames on the clip's clock, float64 [T]; pair t spans times[t] to times[t + 1].
    n_pairs : int
        T - 1, or 0 where there is no flow.
    status, reason : str
        Of the video stream; ``short`` where it has a single frame.
    """

    def __init__(self, path: Path, clip: str, group: zarr.Group, attrs: dict[str, Any]) -> None:
        self._path, self._clip = path, clip
        self._encoding, self._bound = attrs["encoding"], attrs["bound"]
        self._flow = cast(zarr.Array, group["flow"]) if "flow" in group else None
        self.times = np.asarray(cast(zarr.Array, group["times"])[:])
        self.n_pairs = 0 if self._flow is None else self._flow.shape[0]
        self.status = str(group.attrs["status"])
        self.reason = str(group.attrs["reason"])

    def pairs(self, indices: np.ndarray | slice) -> np.ndarray:
        """Return the flow of some pairs.

        Parameters
        ----------
        indices : np.ndarray or slice
            Pairs in [0, n_pairs), in any order, repeated or not.

        Returns
        -------
        np.ndarray
            Float32 [n, 2, h, w]: u right and v down, in pixels at the flow's own scale.

        Raises
        ------
        StoreError
            The clip has no flow (`n_pairs` is 0), or the file is damaged.
        """
        if self._flow is None:
            raise StoreError(f"{self._path} holds no flow of clip {self._clip}: {self.reason}")
        with _reading(self._path):
            codes = self._flow.oindex[indices]
        return dequantise(np.asarray(codes), self._encoding, self._bound)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (BadZipFile, OSError, KeyError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read as a flow shard ({error}); it is missing, truncated or another kind of file: "
            f"delete it and run the flow stage again."
        ) from error
