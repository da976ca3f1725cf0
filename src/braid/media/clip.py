"""One clip from its files into a spool file: frames, times and sound, with the status of both streams.

The spool holds, one after another, the encoded frames, their offsets, their times and the waveform, so that a clip
of any length passes through a bounded memory: one frame, one block of sound, and 16 bytes a frame.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from io import RawIOBase
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.errors import MediaError
from braid.media.codec import encoder
from braid.media.container import Tally
from braid.media.frames import PyavFrames
from braid.media.probe import Facts, VideoFacts, probe, why_not_decord
from braid.media.sound import Sound
from braid.media.spool import Spool

if TYPE_CHECKING:
    from braid.media.by_decord import DecordFrames

SHORT_SECONDS = 0.5
"""A stream is short when it ends this much before its header or the other stream does. Less is usual: the last
packet of sound, or the duration of the last frame."""


@dataclass
class Record:
    """What is known of one stream; `end` and the end that its header promises are seconds."""

    status: str
    reason: str
    info: dict[str, Any] = field(default_factory=dict)
    end: float | None = None
    promised_end: float | None = None

    def json(self) -> dict[str, Any]:
        """Return what the shard keeps of it."""
        return {"status": self.status, "reason": self.reason, "info": self.info}


@dataclass
class Picture:
    """The frames that lie in the spool: bytes at `offsets` (T + 1 of them), shown at `times`; `size` is (W, H)."""

    decoder: str
    why: str
    facts: Facts
    tally: Tally
    offsets: array[int]
    times: array[float]
    size: tuple[int, int]
    n_timed: int


def decode_clip(
    video: str, audio: str, settings: dict[str, Any], file: RawIOBase, alive: Callable[[], None]
) -> dict[str, Any]:
    """Decode one clip and return its record.

    Parameters
    ----------
    video, audio : str
        Paths; equal where one file holds both, "" where the clip has no such stream.
    settings : dict
        The section `decode` of the config.
    file : RawIOBase
        Spool file, which is overwritten.
    alive : callable
        Called at every sign of progress.

    Returns
    -------
    dict
        JSON: `video` and `audio` (`status`, `reason`, `info`), `audio_start_seconds`, and `arrays`: name → [byte
        offset in the spool, number of elements] of `frames` (uint8), `offsets` (int64), `times` (float64) and
        `waveform` (float32).

    Raises
    ------
    SpoolError
        The spool cannot be written.
    """
    spool = Spool(file)
    video_record, picture = _video(video, settings, spool, alive)
    arrays = {"frames": (0, spool.size)}
    if picture is not None:
        arrays["offsets"] = spool.write_array(np.array(picture.offsets, np.int64))
        arrays["times"] = spool.write_array(np.array(picture.times, np.float64))
    audio_record, start_seconds, arrays["waveform"] = _audio(audio, settings, spool, alive)
    _shorten(video_record, audio_record)
    return {
        "video": video_record.json(),
        "audio": audio_record.json(),
        "audio_start_seconds": start_seconds,
        "arrays": arrays,
    }


def _video(
    path: str, settings: dict[str, Any], spool: Spool, alive: Callable[[], None]
) -> tuple[Record, Picture | None]:
    if not path:
        return Record("missing", "the manifest names no video file"), None
    try:
        picture = _picture(path, settings, spool, alive)
    except MediaError as error:
        return Record("unreadable", str(error)), None
    if picture.facts.video is None:
        return Record("missing", "the file has no video stream"), None
    return _judge(picture, picture.facts.video), picture


def _picture(path: str, settings: dict[str, Any], spool: Spool, alive: Callable[[], None]) -> Picture:
    """Return the frames, read by the decoder that the config forces, or by the faster one that is right.

    Raises
    ------
    MediaError
        The file cannot be opened, or the config forces decord, which would read it wrongly.
    """

    def read(source: DecordFrames | PyavFrames, decoder: str, why: str) -> Picture:
        encode = encoder(settings)
        offsets, times, size = array("q", [0]), array("d"), (0, 0)
        for seconds, frame in source:
            size = frame.shape[1], frame.shape[0]
            spool.write(encode(frame))
            offsets.append(spool.size)
            times.append(seconds)
            alive()
        return Picture(decoder, why, source.facts, source.tally, offsets, times, size, source.n_timed)

    forced, short_side, jpeg = settings["decoder"], settings["short_side"], settings["codec"] == "jpeg"
    if forced == "pyav":
        why = "the config forces PyAV"
    elif forced == "auto" and jpeg:
        why = "PyAV gives the planes that JPEG stores"
    else:
        facts = probe(path, alive)
        why = why_not_decord(facts)
        if not why:
            from braid.media.by_decord import DecordFrames  # not imported where it reads nothing

            try:
                return read(DecordFrames(path, facts, short_side, alive), "decord", "checked against PyAV")
            except MediaError as error:
                why = str(error)
                spool.rewind()
        if forced == "decord" and facts.video is not None:
            raise MediaError(f"{why}; the config forces decord: set decode.decoder to auto")
    return read(PyavFrames(path, short_side, planes=jpeg), "pyav", why)


def _judge(picture: Picture, video: VideoFacts) -> Record:
    """Return the record of a video stream that was read as far as it goes."""
    facts, times, tally = picture.facts, picture.times, picture.tally
    info = {
        "decoder": picture.decoder,
        "decoder_reason": picture.why,
        "n_frames": len(times),
        "width": picture.size[0],
        "height": picture.size[1],
        "source_width": video.width,
        "source_height": video.height,
        "stream": video.index,
        "codec": video.codec,
        "pixel_format": video.pixel_format,
        "container": facts.container,
        "n_packets": video.n_packets,
        "n_packets_trimmed": video.n_trimmed,
        "n_frames_promised": video.n_promised,
        "n_times_made": picture.n_timed,
    }
    stopped = tally.error or facts.error
    if not times:
        why = stopped or f"none of its {video.n_packets} packets can be decoded"
        return Record("unreadable", f"the video stream gives no frame: {why}", info)
    faults = []
    if tally.n_damaged:
        faults.append(f"{tally.n_damaged} of {video.n_packets} packets or their frames are damaged")
    if stopped:
        faults.append(f"reading stopped early ({stopped})")
    if video.cut_off:
        faults.append("the file is cut off: its index lists data beyond its end")
    reason = "; ".join([*faults, f"{len(times)} frames were read"]) if faults else ""
    last = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return Record("damaged" if faults else "ok", reason, info, times[-1] + last, video.end_seconds)


def _audio(
    path: str, settings: dict[str, Any], spool: Spool, alive: Callable[[], None]
) -> tuple[Record, float, tuple[int, int]]:
    """Return the record of the sound, its start in seconds, and where it lies in the spool."""
    begin, nowhere = spool.size, (0, 0)
    if not path:
        return Record("missing", "the manifest names no audio file"), 0.0, nowhere
    rate, n_samples = settings["sample_rate"], 0
    sound = Sound(path, rate)
    try:
        for block in sound:
            spool.write(block)
            n_samples += len(block)
            alive()
    except MediaError as error:
        return Record("unreadable", str(error)), 0.0, nowhere
    if not sound.found:
        return Record("missing", "the file has no sound stream"), 0.0, nowhere
    info = {**sound.info, "n_samples": n_samples, "n_samples_filled": sound.n_filled}
    tally = sound.tally
    if not n_samples:
        why = tally.error or "none of its packets can be decoded"
        return Record("unreadable", f"the sound stream gives no samples: {why}", info), 0.0, nowhere
    faults = []
    if tally.n_damaged:
        faults.append(f"{tally.n_damaged} packets are damaged")
    if sound.n_absurd:
        faults.append(f"{sound.n_absurd} samples are NaN or absurdly large, there is silence in their place")
    if tally.error:
        faults.append(f"reading stopped early ({tally.error})")
    reason = "; ".join([*faults, f"{n_samples / rate:.2f} s were read"]) if faults else ""
    end = sound.start_seconds + n_samples / rate
    record = Record("damaged" if faults else "ok", reason, info, end, sound.end_seconds)
    return record, sound.start_seconds, (begin, n_samples)


def _shorten(video: Record, audio: Record) -> None:
    """Mark the stream that ends well before its own header or the other stream says."""
    for name, record, other_name, other in (("video", video, "sound", audio), ("sound", audio, "video", video)):
        if record.status != "ok" or record.end is None:
            continue
        if record.promised_end is not None and record.end < record.promised_end - SHORT_SECONDS:
            why = f"its header promises {record.promised_end:.2f} s"
        elif other.end is not None and record.end < other.end - SHORT_SECONDS:
            why = f"the {other_name} goes on until {other.end:.2f} s"
        else:
            continue
        record.status, record.reason = "short", f"the {name} ends at {record.end:.2f} s, {why}"
