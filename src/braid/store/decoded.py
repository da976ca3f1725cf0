"""Decoded shards: one zarr file with the frames, times and sound of its clips.

A shard is a zip store. Its root holds what made it (`settings`, `versions`); a group a clip holds the arrays `frames`
(uint8 [bytes]: encoded frames end to end), `offsets` (int64 [T + 1] into them), `times` (float64 [T]) and `waveform`
(float32 [n]); the group `index`, written last, holds the record of every clip, so that all of them cost one read.

Letters: T frames of a clip, H and W pixels of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zarr
from zarr.storage import ZipStore

from braid.errors import StoreError
from braid.files import whole
from braid.media import codec
from braid.store.zipped import ZippedShard, check_pixels

FORMAT = "braid decoded shard"
INDEX = "index"
"""Name of the group with all records; clips are named by 16 hexadecimal digits."""
DTYPES = {"frames": np.uint8, "offsets": np.int64, "times": np.float64, "waveform": np.float32}
CHUNK_BYTES = 1 << 20
CHUNKS_AT_ONCE = 8
"""Chunks that are copied into a shard at once: each call of zarr costs as much as the copying of a chunk."""
KEPT_SAMPLES = 2 << 20
"""A waveform of no more, 44 s at 48 kHz, is read once for all views of its clip: each would read a whole chunk."""
USABLE = ("ok", "short", "damaged")


@dataclass(frozen=True)
class Stream:
    """Video or audio of a clip.

    Attributes
    ----------
    status : str
        ``ok``, ``missing`` (the clip has no such stream), ``short`` (it ends before its header or the other stream
        does), ``damaged`` (it has errors or is cut off; what could be read is kept) or ``unreadable``.
    reason : str
        Why the status is not ``ok``.
    info : dict
        What is known of it: `decoder`, `n_frames`, `width`, `height`, `codec`, …
    """

    status: str
    reason: str
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether there are frames or samples to use."""
        return self.status in USABLE


class DecodedWriter:
    """Context manager that writes a decoded shard, whole or not at all, clip by clip in any order.

    Parameters
    ----------
    path : Path
        The shard, ending in ``.zarr.zip``.
    attrs : dict
        JSON; `settings` is the section `decode` of the config.
    """

    def __init__(self, path: Path, attrs: dict[str, Any]) -> None:
        self.path = path
        self._attrs = {**attrs, "format": FORMAT}
        self._records: dict[str, Any] = {}

    def __enter__(self) -> DecodedWriter:
        with ExitStack() as stack:
            beside = stack.enter_context(whole(self.path))
            store = ZipStore(beside, mode="w")
            self._root = zarr.create_group(store, attributes=self._attrs)
            stack.callback(store.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        if raised[0] is None:
            self._stack.callback(self._write_index)
        self._stack.__exit__(*raised)

    def append(self, clip: str, record: dict[str, Any], spool: BinaryIO | None) -> None:
        """Write one clip.

        Parameters
        ----------
        clip : str
            Its key.
        record : dict
            JSON: `video` and `audio`, each with `status`, `reason` and `info`, and what else is known of the clip.
            With a spool also `arrays`, name → (byte offset in the spool, number of elements).
        spool : BinaryIO or None
            File that holds the arrays; None for a clip of which nothing can be used.
        """
        arrays = record.get("arrays", {})
        self._records[clip] = {key: value for key, value in record.items() if key != "arrays"}
        group = self._root.create_group(clip)
        for name, (begin, length) in arrays.items():
            if spool is not None and length:
                _copy(group, name, spool, begin, length)

    def _write_index(self) -> None:
        clips = {clip: self._records[clip] for clip in sorted(self._records)}
        self._root.create_group(INDEX, attributes={"clips": clips})


def _copy(group: zarr.Group, name: str, spool: BinaryIO, begin: int, length: int) -> None:
    """Copy an array from the spool, whole chunks at a time, since a chunk of a zip file is written once."""
    dtype = np.dtype(DTYPES[name])
    chunk = min(length, CHUNK_BYTES // dtype.itemsize)
    array = group.create_array(
        name,
        shape=(length,),
        chunks=(chunk,),
        dtype=dtype,
        compressors=None,
        filters=None,
        config={"write_empty_chunks": True},  # saves looking whether they are
    )
    spool.seek(begin)
    step = CHUNKS_AT_ONCE * chunk
    for start in range(0, length, step):
        count = min(step, length - start)
        array[start : start + count] = np.frombuffer(spool.read(count * dtype.itemsize), dtype)


class DecodedShard(ZippedShard["DecodedClip"]):
    """What `DecodedWriter` wrote; `attrs` holds `settings`, `versions`, and `clips`: key → record of each clip."""

    FORMAT = FORMAT

    def _keys(self) -> tuple[str, ...]:
        self.attrs |= self._root[INDEX].attrs
        return tuple(self.attrs["clips"])

    def _clip(self, clip: str, group: zarr.Group) -> DecodedClip:
        return DecodedClip(self, clip, group)


class DecodedClip:
    """One clip of a shard.

    Attributes
    ----------
    video, audio : Stream
        Status of both streams.
    times : np.ndarray
        Seconds of the frames on the clip's own clock, float64 [T], ascending; not forced to begin at 0.
    sample_rate : int
        Samples per second of the waveform.
    audio_start_seconds : float
        Time of the first sample on the clip's own clock.
    n_samples : int
        Samples of the waveform.
    """

    def __init__(self, shard: DecodedShard, clip: str, group: zarr.Group) -> None:
        record, settings = shard.attrs["clips"][clip], shard.attrs["settings"]
        self._shard, self._clip, self._group, self._codec = shard, clip, group, settings["codec"]
        self.video = Stream(**record["video"])
        self.audio = Stream(**record["audio"])
        self.sample_rate: int = settings["sample_rate"]
        self.audio_start_seconds: float = record["audio_start_seconds"]
        self.n_samples: int = self.audio.info.get("n_samples", 0)

    @cached_property
    def times(self) -> np.ndarray:
        return self._read("times", 0, self.video.info.get("n_frames", 0))

    def frames(self, indices: np.ndarray | slice) -> np.ndarray:
        """Return some frames.

        Parameters
        ----------
        indices : np.ndarray or slice
            Frames in [-T, T), in any order, repeated or not.

        Returns
        -------
        np.ndarray
            uint8 [n, H, W, 3], RGB in [0, 255], upright.

        Raises
        ------
        StoreError
            The clip has no frames, or the file is damaged.
        IndexError
            An index is outside [-T, T).
        """
        info = self.video.info
        if not self.video.usable:
            raise StoreError(f"{self._shard.path} holds no frames of clip {self._clip}: {self.video.reason}.")
        with self._shard.reading():
            check_pixels(info["height"], info["width"])
        wanted, places = np.unique(np.arange(info["n_frames"])[indices], return_inverse=True)
        out = np.empty((len(wanted), info["height"], info["width"], 3), np.uint8)
        with self._shard.reading():
            for run in _runs(wanted, self._offsets):
                begin, end = int(self._offsets[wanted[run[0]]]), int(self._offsets[wanted[run[-1]] + 1])
                data = self._read("frames", begin, end).data
                for i in run:
                    start, stop = self._offsets[wanted[i]] - begin, self._offsets[wanted[i] + 1] - begin
                    codec.decode(data[start:stop], self._codec, out[i])
        return out if np.array_equal(places, np.arange(len(wanted))) else out[places]

    def waveform(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return samples `start` to `stop` (to the end where None): float32 [n], mono, full scale ±1."""
        start, stop, _ = slice(start, stop).indices(self.n_samples)
        if self.n_samples <= KEPT_SAMPLES:
            return self._waveform[start:stop].copy()
        return self._read("waveform", start, max(start, stop))

    @cached_property
    def _waveform(self) -> np.ndarray:
        return self._read("waveform", 0, self.n_samples)

    @cached_property
    def _offsets(self) -> np.ndarray:
        return self._read("offsets", 0, self.video.info["n_frames"] + 1)

    def _read(self, name: str, start: int, stop: int) -> np.ndarray:
        if start == stop:
            return np.empty(0, DTYPES[name])
        with self._shard.reading():
            return self._shard.rows(self._arrays[name], start, stop)

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        arrays = dict(self._group.arrays())
        for name, array in arrays.items():
            if array.compressors or math.prod(array.shape) * array.dtype.itemsize > self._shard.n_bytes:
                raise ValueError(f"its array {name} is compressed, or claims more bytes than the file has")
        return arrays


def _runs(frames: np.ndarray, offsets: np.ndarray) -> Iterator[range]:
    """Split ascending frames into runs whose bytes are read at once: near each other, a few chunks in all."""
    begin = 0
    for i in range(1, len(frames)):
        skipped = offsets[frames[i]] - offsets[frames[i - 1] + 1]
        if skipped > CHUNK_BYTES or offsets[frames[i] + 1] - offsets[frames[begin]] > 8 * CHUNK_BYTES:
            yield range(begin, i)
            begin = i
    if len(frames):
        yield range(begin, len(frames))
