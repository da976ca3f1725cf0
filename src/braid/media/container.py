"""Media files by PyAV: opening them, choosing a stream, decoding it past its damaged packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import EOFError as EndOfStream
from av.error import FFmpegError
from av.frame import Frame
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from braid.errors import MediaError

S = TypeVar("S", bound=Stream)


@dataclass
class Tally:
    """How a decoding went.

    Attributes
    ----------
    n_damaged : int
        Packets that could not be decoded and frames that the decoder marks as corrupt.
    error : str
        What ended the reading early, else "".
    """

    n_damaged: int = 0
    error: str = ""


def open_media(path: str) -> InputContainer:
    """Return the opened file; metadata that is not UTF-8 is read with replacement characters.

    Raises
    ------
    MediaError
        The file cannot be opened as a media file.
    """
    try:
        return av.open(f"file:{path}", metadata_errors="replace")  # a bare name such as `a:b.mp4` reads as a protocol
    except FileNotFoundError as error:
        raise MediaError("the file does not exist") from error
    except PermissionError as error:
        raise MediaError("the file may not be read: permission denied") from error
    except IsADirectoryError as error:
        raise MediaError("this is a folder, not a file") from error
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            f"this is not a media file that can be read, or its beginning is damaged ({tell(error)})"
        ) from error


def video_stream(container: InputContainer) -> VideoStream | None:
    """Return the video stream that FFmpeg ranks best, or None.

    The rank is FFmpeg's: the stream marked as default, then the one with more bits and frames. Cover pictures are
    attached to sound files as video streams of one frame; they are not video.
    """
    return _best(container.streams.best("video"), [one for one in container.streams.video if not is_picture(one)])


def audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the sound stream that FFmpeg ranks best, or None."""
    return _best(container.streams.best("audio"), list(container.streams.audio))


def _best(best: Stream | None, streams: list[S]) -> S | None:
    return next((one for one in streams if one == best), streams[0] if streams else None)


def is_picture(stream: Stream) -> bool:
    """Return whether a stream is a cover picture or a thumbnail."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def decode(
    container: InputContainer, stream: Stream, tally: Tally, see: Callable[[Packet], None] = lambda _: None
) -> Iterator[Frame]:
    """Yield the frames of a stream in the order in which they are shown; damaged packets are skipped and counted.

    Each packet is shown to `see` before it is decoded. One thread decodes.
    """
    stream.codec_context.thread_count = 1
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError, ValueError) as error:
            tally.error = tell(error)
            return
        if packet is None:
            return
        see(packet)
        try:
            frames = packet.decode()
        except EndOfStream:
            return
        except (FFmpegError, ValueError):
            tally.n_damaged += 1
            continue
        for frame in frames:
            if isinstance(frame, Frame):
                tally.n_damaged += frame.is_corrupt
                yield frame


def tell(error: Exception) -> str:
    """Return what an error of FFmpeg says, without number and function name."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
