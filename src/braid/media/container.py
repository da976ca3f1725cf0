"""Media files by PyAV: opening them, choosing a stream, decoding it past its damaged packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.frame import Frame
from av.stream import Disposition, Stream

from braid.errors import MediaError


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
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            f"this is not a media file that can be read, or its beginning is damaged ({tell(error)})"
        ) from error


def best_stream(container: InputContainer, kind: str) -> Stream | None:
    """Return the stream of `kind` (``video`` or ``audio``) that FFmpeg ranks best, or None.

    The rank is FFmpeg's: the stream marked as default, then the one with more frames and bits. Cover pictures are
    attached to sound files as video streams of one frame; they are not video.
    """
    streams = [stream for stream in getattr(container.streams, kind) if not is_picture(stream)]
    best = container.streams.best(kind)
    return best if best in streams else next(iter(streams), None)


def is_picture(stream: Stream) -> bool:
    """Return whether a stream is a cover picture or a thumbnail."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def decode(container: InputContainer, stream: Stream, tally: Tally) -> Iterator[Frame]:
    """Yield the frames of a stream in the order in which they are shown; damaged packets are skipped and counted."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError, ValueError) as error:
            tally.error = tell(error)
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except (av.FFmpegError, ValueError):
            tally.n_damaged += 1
            continue
        for frame in frames:
            tally.n_damaged += frame.is_corrupt
            yield frame


def tell(error: Exception) -> str:
    """Return what an error of FFmpeg says, without number and function name."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
