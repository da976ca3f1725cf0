"""What a file says of itself, by PyAV's demuxer, and whether decord may read it.

Packets are counted and their times kept: they are what a decoder is checked against. Header values (frame counts,
durations) are read too, but only as promises that the decoded streams may break.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from braid.media.container import is_picture, open_media, tell, video_stream

DECORD_CODECS = ("h264", "hevc", "vp9", "mpeg4")
DECORD_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
DECORD_BYTES = 1 << 30
"""Larger files are PyAV's: decord reads a file to its end before its first frame, without a sign of life."""
PACKETS_A_SIGN = 500
"""Packets between two signs of life: a few megabytes."""


@dataclass(frozen=True)
class VideoFacts:
    """The video stream of a file.

    Attributes
    ----------
    index : int
        Of the stream in the file.
    n_streams : int
        Video streams of the file, cover pictures not counted.
    codec, pixel_format : str
        FFmpeg's names.
    bits : int
        Of a colour component of a pixel; 0 where the header does not say.
    width, height : int
        Pixels, as coded: rotation is not applied.
    has_b_frames : bool
        Frames may be stored in another order than they are shown.
    times : np.ndarray
        Seconds of the packets to be shown, ascending, float64 [n]; shorter than `n_packets` where packets have none.
    n_packets, n_trimmed : int
        Packets to be shown, and packets that an edit list trims.
    n_promised : int
        Frames that the header promises, 0 where it says nothing.
    end_seconds : float | None
        Where the header says that the stream ends.
    cut_off : bool
        The file's index lists packets that lie beyond the end of the file.
    """

    index: int
    n_streams: int
    codec: str
    pixel_format: str
    bits: int
    width: int
    height: int
    has_b_frames: bool
    times: np.ndarray
    n_packets: int
    n_trimmed: int
    n_promised: int
    end_seconds: float | None
    cut_off: bool


@dataclass(frozen=True)
class Facts:
    """A file: FFmpeg's name of its container, its bytes, its video stream, the error that ended the packets early."""

    container: str
    size: int
    video: VideoFacts | None
    error: str


class Scan:
    """What is learned of a video stream while its packets pass, decoded or not."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        context = stream.codec_context
        self._container, self._stream = container, stream
        self._header = {
            "index": stream.index,
            "n_streams": sum(not is_picture(other) for other in container.streams.video),
            "codec": context.codec.canonical_name,
            "pixel_format": context.pix_fmt or "",
            "bits": max((part.bits for part in context.format.components), default=0) if context.format else 0,
            "width": context.width,
            "height": context.height,
            "has_b_frames": bool(context.has_b_frames),
        }  # before decoding, which changes some of them
        self._shown: list[int | None] = []
        self._n_trimmed = 0

    def see(self, packet: Packet) -> None:
        """Count a packet."""
        if packet.size and packet.is_discard:
            self._n_trimmed += 1
        elif packet.size:
            self._shown.append(packet.pts)

    def facts(self, error: str) -> Facts:
        """Return what is known after the last packet; `error` is what ended them early, else ""."""
        container, stream, base = self._container, self._stream, self._stream.time_base
        assert base is not None
        ticks = np.sort(np.array([pts for pts in self._shown if pts is not None], np.float64))
        begin, length = stream.start_time or 0, stream.duration
        video = VideoFacts(
            **self._header,
            times=ticks * base.numerator / base.denominator,
            n_packets=len(self._shown),
            n_trimmed=self._n_trimmed,
            n_promised=stream.frames,
            end_seconds=None if length is None else float((begin + length) * base),
            cut_off=_last_byte(stream) > container.size > 0,
        )
        return Facts(container.format.name, container.size, video, error)


def probe(path: str, alive: Callable[[], None]) -> Facts:
    """Return what the demuxer says of a file, without decoding it.

    Parameters
    ----------
    path : str
        The file.
    alive : callable
        Called every `PACKETS_A_SIGN` packets.

    Raises
    ------
    MediaError
        The file cannot be opened as a media file.
    """
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            return Facts(container.format.name, container.size, None, "")
        scan, failure = Scan(container, stream), ""
        try:
            for number, packet in enumerate(container.demux(stream)):
                if number % PACKETS_A_SIGN == 0:
                    alive()
                scan.see(packet)
        except (FFmpegError, OSError, ValueError) as error:
            failure = tell(error)
        return scan.facts(failure)


def _last_byte(stream: VideoStream) -> int:
    return max((entry.pos + entry.size for entry in stream.index_entries), default=0)


def why_not_decord(facts: Facts) -> str:
    """Return why decord would not read a video stream rightly, or "" where it would.

    decord (FFmpeg 4.1 inside) is right on H.264, HEVC, VP9 and MPEG-4 without B-frames, in mp4, mov, mkv and webm,
    where no edit list trims; elsewhere it repeats frames, loses times or hangs without a word.
    """
    video = facts.video
    if video is None:
        return "the file has no video stream"
    if facts.container not in DECORD_CONTAINERS:
        return f"decord is not right in the container {facts.container}"
    if facts.size > DECORD_BYTES:
        return f"decord would read the {facts.size >> 20} MiB of the file before its first frame"
    if video.codec not in DECORD_CODECS:
        return f"decord does not read the codec {video.codec}"
    if video.codec == "mpeg4" and video.has_b_frames:
        return "decord is not right on MPEG-4 with B-frames"
    if video.bits > 8:
        return f"decord does not round {video.bits}-bit pixels to 8 bits as others do"
    if video.n_trimmed:
        return "an edit list trims the stream, which decord does not apply"
    if video.n_streams > 1:
        return "the file has several video streams, and decord chooses by a rule of its own"
    if facts.error:
        return f"the file cannot be read to its end ({facts.error})"
    if len(video.times) < video.n_packets or len(np.unique(video.times)) < len(video.times):
        return "packets lack times of their own, which decord would make up"
    return ""
