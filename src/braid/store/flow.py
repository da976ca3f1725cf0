"""Flow shards: one zarr file, written once, that gives back pixels.

A shard is a zip store with a group a clip. The group holds `times` [T] in seconds and, where the clip has pairs,
`flow` [T - 1, 2, h, w] in the shard's encoding; pair t is the motion from frame t to frame t + 1, u right and v down.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import ZipStore

from braid.errors import StoreError
from braid.files import digest, whole
from braid.flow.quantise import DTYPES, dequantise, quantise
from braid.store.passes import KeptPasses
from braid.store.zipped import ZippedShard, check_pixels

FORMAT = "braid flow shard"
CHUNK_PAIRS = 8
"""Pairs a chunk: one clip of 16 frames then reads three chunks at most."""
PART = ".zarr.zip"


class FlowWriter:
    """Context manager that writes a flow shard, whole or not at all, and keeps the clips that a killed job finished.

    Each clip is written whole into a folder in `<path>.parts` that is named after the digest of `attrs` and `source`.
    When all are there, the shard is put together from them and the folders go; until then a new writer of the same
    content finds them, and one of other content removes them.

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
    source : JSON
        What tells the decoded shard apart; with `attrs` it decides whether parts that are there are of this shard.

    Attributes
    ----------
    finished : set of str
        Clips that need not be written again.
    kept : KeptPasses
        Flow of clips that are not finished; there once the context is entered.
    """

    def __init__(self, path: Path, encoding: str, bound: float, attrs: dict[str, Any], source: Any = None) -> None:
        self.path = Path(path)
        self.parts = self.path.with_name(f"{self.path.name}.parts")
        self.encoding = encoding
        self.bound = bound
        self.attrs = {**attrs, "format": FORMAT, "encoding": encoding, "bound": bound}
        self._ours = self.parts / digest([self.attrs, source])
        self.finished: set[str] = set()

    def __enter__(self) -> FlowWriter:
        self._ours.mkdir(parents=True, exist_ok=True)
        for other in self.parts.iterdir():
            if other != self._ours:
                shutil.rmtree(other)
        self.finished = {part.name.removesuffix(PART) for part in self._ours.glob(f"[!.]*{PART}")}
        self.kept = KeptPasses(self._ours, self.encoding, self.bound)
        self.kept.drop(self.finished)
        return self

    def __exit__(self, *raised: Any) -> None:
        if raised[0] is None:
            with whole(self.path) as beside:
                with closing(ZipStore(beside, mode="w")) as store:
                    zarr.create_group(store, attributes=self.attrs)
                with ZipFile(beside, "a") as shard:
                    for name in sorted(self.finished):
                        with ZipFile(self._part(name)) as part:
                            for entry in part.infolist():
                                if entry.filename.startswith(f"{name}/"):
                                    shard.writestr(entry, part.read(entry))
        if raised[0] is None or not (self.finished or len(self.kept)):
            shutil.rmtree(self.parts)

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
            Float32 pixels [n, 2, h, w], together T - 1 pairs in order.
        """
        n_pairs, written, array = max(len(times) - 1, 0), 0, None
        with whole(self._part(clip)) as beside, closing(ZipStore(beside, mode="w")) as store:
            group = zarr.create_group(store, path=clip, attributes={"status": status, "reason": reason})
            group.create_array("times", data=np.asarray(times, np.float64))
            for block in _in_chunks(blocks):
                if array is None:
                    array = group.create_array(
                        "flow",
                        shape=(n_pairs, *block.shape[1:]),
                        chunks=(CHUNK_PAIRS, *block.shape[1:]),
                        dtype=DTYPES[self.encoding],
                        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
                    )
                array[written : written + len(block)] = quantise(block, self.encoding, self.bound)
                written += len(block)
            assert written == n_pairs, f"{written} pairs of {n_pairs}"
        self.finished.add(clip)
        self.kept.drop(self.finished)

    def _part(self, clip: str) -> Path:
        return self._ours / f"{clip}{PART}"


def _in_chunks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the same pairs in multiples of `CHUNK_PAIRS`, but in the end: a chunk of a zip file is written once."""
    rest: list[np.ndarray] = []
    for block in blocks:
        rest.append(block)
        if (n := sum(map(len, rest))) >= CHUNK_PAIRS:
            joined = np.concatenate(rest)
            cut = n - n % CHUNK_PAIRS
            yield joined[:cut]
            rest = [joined[cut:]] if cut < n else []
    if rest:
        yield np.concatenate(rest)


class FlowShard(ZippedShard["FlowClip"]):
    """What `FlowWriter` wrote; `attrs` holds what the writer was given, with `encoding` and `bound`."""

    FORMAT = FORMAT
    LEAVES_OUT_ZEROS = True  # half floats of a picture that stands still

    def _keys(self) -> tuple[str, ...]:
        return tuple(sorted(self._root.group_keys()))

    def _clip(self, clip: str, group: zarr.Group) -> FlowClip:
        return FlowClip(self, clip, group)


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

    def __init__(self, shard: FlowShard, clip: str, group: zarr.Group) -> None:
        self._shard, self._clip = shard, clip
        self._encoding, self._bound = shard.attrs["encoding"], shard.attrs["bound"]
        self._flow = cast(zarr.Array, group["flow"]) if "flow" in group else None
        if self._flow is not None:
            check_pixels(*self._flow.shape[-2:])
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
            raise StoreError(f"{self._shard.path} holds no flow of clip {self._clip}: {self.reason}")
        with self._shard.reading():
            codes = np.asarray(self._codes(self._flow, indices))
        return dequantise(codes, self._encoding, self._bound)

    def _codes(self, flow: zarr.Array, indices: np.ndarray | slice) -> Any:
        """Return stored pairs; all between them are read where that is no more chunks than pairs are wanted: faster."""
        if isinstance(indices, np.ndarray) and indices.size and indices.min() >= 0:
            first, last = int(indices.min()), int(indices.max())
            if last < self.n_pairs and last - first < CHUNK_PAIRS * indices.size:
                return self._shard.rows(flow, first, last + 1)[indices - first]
        return flow.oindex[indices]
