"""One clip from its files into a spool file: frames, times and sound, with the status of both streams.

The spool holds, one after another, the encoded frames, their offsets, their times and the waveform, so that a clip
of any length passes through a bounded memory: one frame, one block of sound, and 16 bytes a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from io import RawIOBase
from typing import Any

import numpy as np

from braid.errors import MediaError
from braid.media.codec import encoder
from braid.media.container import Tally
from braid.media.frames import DecordFrames, PyavFrames
from braid.media.probe import Facts, probe, why_not_decord
from braid.media.sound import Sound

SHORT_SECONDS = 0.5
"""A stream is short when it ends this much before its header or the other stream does. Less is usual: the last
packet of sound, or the last frame's duration."""


@dataclass
class Record:
    """What is known of one stream of a decoded clip: `status`, `reason`, `info`, and when it ends in seconds."""

    status: str
    reason: str
    info: dict[str, Any] = field(default_factory=dict)
    end: float | None = None
    promised_end: float | None = None


class SpoolError(Exception):
    """The spool file cannot be written: no fault of the clip."""


class Spool:
    """An unbuffered file that is written from its beginning; what fails is the disk's fault, never the clip's."""

    def __init__(self, file: RawIOBase) -> None:
        self._file = file
        self.size = 0
        self.rewind(0)

    def rewind(self, size: int) -> None:
        """Drop what was written after `size` bytes."""
        self._file.seek(size)
        self._file.truncate()
        self.size = size

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes; SpoolError where the disk does not take them."""
        rest = memoryview(data)
        self.size += len(rest)
        while rest:
            try:
                rest = rest[self._file.write(rest) :]
            except OSError as error:
                raise SpoolError(error.strerror or str(error)) from error


def decode_clip(video: str, audio: str, settings: dict[str, Any], file: RawIOBase, alive: Callable[[], None]) -> dict:
    """Decode one clip and return its record.

    Parameters
    ----------
    video, audio : str
        Paths; equal where one file holds both, "" where the clip has no such stream.
    settings : dict
        The section `decode` of the config.
    file : RawIOBase
        Spool that is overwritten.
    alive : callable
        Called at every sign of progress.

    Returns
    -------
    dict
        JSON: `video` and `audio` (`status`, `reason`, `info`), `audio_start_seconds`, and `arrays`, name → [byte
        offset in the spool, number of elements] of `frames` (uint8), `offsets` (int64), `times` (float64) and
        `waveform` (float32).

    Raises
    ------
    SpoolError
        The spool cannot be written.
    """
    spool = Spool(file)
    arrays: dict[str, tuple[int, int]] = {}
    picture, offsets, times = _video(video, settings, spool, alive)
    arrays["frames"] = (0, spool.size)
    for name, values in (("offsets", np.array(offsets, np.int64)), ("times", np.array(times, np.float64))):
        spool.write(b"\0" * (-spool.size % values.itemsize))
        arrays[name] = (spool.size, len(values))
        spool.write(memoryview(values).cast("B") if len(values) else b"")
    begin = spool.size
    sound, start_seconds = _audio(audio, settings, spool, alive)
    arrays["waveform"] = (begin, (spool.size - begin) // 4)
    _shorten(picture, sound)
    streams = {
        name: {key: asdict(record)[key] for key in ("status", "reason", "info")}
        for name, record in (("video", picture), ("audio", sound))
    }
    return {**streams, "audio_start_seconds": start_seconds, "arrays": arrays}


def _video(path: str, settings: dict, spool: Spool, alive: Callable[[], None]) -> tuple[Record, list[int], list[float]]:
    nothing: tuple[list[int], list[float]] = ([0], [])
    if not path:
        return Record("missing", "the manifest names no video file"), *nothing
    try:
        facts = probe(path, alive)
    except MediaError as error:
        return Record("unreadable", str(error)), *nothing
    if facts.video is None:
        return Record("missing", "the file has no video stream"), *nothing
    why = why_not_decord(facts)
    wanted = settings["decoder"]
    if wanted == "decord" and why:
        return Record("unreadable", f"{why}; the config forces decord: set decode.decoder to auto"), *nothing
    if wanted != "pyav" and not why:
        source = DecordFrames(path, facts, settings["short_side"])
        try:
            offsets, times, size = _spool_frames(source, settings, spool, alive)
            return (
                _judge(facts, source.tally, 0, offsets, times, size, "decord", "checked against PyAV"),
                offsets,
                times,
            )
        except MediaError as error:
            why = str(error)
            spool.rewind(0)
            if wanted == "decord":
                return Record("unreadable", f"{why}; the config forces decord: set decode.decoder to auto"), *nothing
    source = PyavFrames(path, settings["short_side"])
    offsets, times, size = _spool_frames(source, settings, spool, alive)
    why = why if wanted == "auto" else "the config forces PyAV"
    return _judge(facts, source.tally, source.n_timed, offsets, times, size, "pyav", why), offsets, times


def _spool_frames(
    source: DecordFrames | PyavFrames, settings: dict, spool: Spool, alive: Callable[[], None]
) -> tuple[list[int], list[float], tuple[int, int]]:
    encode = encoder(settings)
    offsets, times, size = [0], [], (0, 0)
    for seconds, frame in source:
        size = frame.shape[1], frame.shape[0]
        spool.write(encode(frame))
        offsets.append(spool.size)
        times.append(seconds)
        alive()
    return offsets, times, size


def _judge(
    facts: Facts,
    tally: Tally,
    n_timed: int,
    offsets: list[int],
    times: list[float],
    size: tuple[int, int],
    decoder: str,
    why: str,
) -> Record:
    """Return the record of a video stream that was read as far as it goes."""
    video = facts.video
    assert video is not None
    info = {
        "decoder": decoder,
        "decoder_reason": why,
        "n_frames": len(times),
        "width": size[0],
        "height": size[1],
        "source_width": video.width,
        "source_height": video.height,
        "stream": video.index,
        "codec": video.codec,
        "pixel_format": video.pixel_format,
        "container": facts.container,
        "n_packets": video.n_packets,
        "n_trimmed": video.n_trimmed,
        "n_frames_promised": video.n_promised,
        "n_times_repaired": n_timed,
    }
    if not times:
        what = tally.error or facts.error or f"none of its {video.n_packets} packets can be decoded"
        return Record("unreadable", f"the video stream gives no frame: {what}", info)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    faults = []
    if tally.n_damaged:
        faults.append(f"{tally.n_damaged} of {video.n_packets} video packets or frames are damaged")
    if tally.error or facts.error:
        faults.append(f"reading stopped early ({tally.error or facts.error})")
    if video.cut_off:
        faults.append("the file is cut off: its index lists data beyond its end")
    reason = "; ".join(faults) + (f"; {len(times)} frames were read" if faults else "")
    return Record("damaged" if faults else "ok", reason, info, times[-1] + step, video.end_seconds)


def _audio(path: str, settings: dict, spool: Spool, alive: Callable[[], None]) -> tuple[Record, float]:
    if not path:
        return Record("missing", "the manifest names no sound file"), 0.0
    rate = settings["sample_rate"]
    sound, n_samples = Sound(path, rate), 0
    try:
        for block in sound:
            spool.write(memoryview(np.ascontiguousarray(block)).cast("B"))
            n_samples += len(block)
            alive()
    except MediaError as error:
        return Record("unreadable", str(error)), 0.0
    if not sound.found:
        return Record("missing", "the file has no sound stream"), 0.0
    info = {**sound.info, "n_samples": n_samples, "n_filled": sound.n_filled}
    if not n_samples:
        what = sound.tally.error or "none of its packets can be decoded"
        return Record("unreadable", f"the sound stream gives no samples: {what}", info), 0.0
    faults = []
    if sound.tally.n_damaged:
        faults.append(f"{sound.tally.n_damaged} packets of the sound are damaged")
    if sound.tally.error:
        faults.append(f"reading stopped early ({sound.tally.error})")
    end = sound.start_seconds + n_samples / rate
    reason = "; ".join(faults) + (f"; {n_samples / rate:.2f} s were read" if faults else "")
    return Record("damaged" if faults else "ok", reason, info, end, sound.end_seconds), sound.start_seconds


def _shorten(video: Record, audio: Record) -> None:
    """Mark the stream that ends well before its own header or the other stream does."""
    for name, record, other, other_name in (("video", video, audio, "sound"), ("sound", audio, video, "video")):
        if record.status != "ok" or record.end is None:
            continue
        if record.promised_end is not None and record.end < record.promised_end - SHORT_SECONDS:
            why = f"its header promises {record.promised_end:.2f} s"
        elif other.end is not None and record.end < other.end - SHORT_SECONDS:
            why = f"the {other_name} goes on until {other.end:.2f} s"
        else:
            continue
        record.status, record.reason = "short", f"the {name} ends at {record.end:.2f} s, {why}"
