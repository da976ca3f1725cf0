"""Media files made in code. Each frame shows its own number as bright and dark bands, so that a test reads it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, BANDS = 128, 96, 8
TICKS = 1000
"""Ticks of the clock a second, for frames at given times."""


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return a frame, uint8 [H, W, 3], whose vertical bands are the bits of `number`."""
    bits = [number >> band & 1 for band in range(BANDS)]
    return np.repeat(np.array([40, 200], np.uint8)[bits], width // BANDS)[None, :, None].repeat(height, 0).repeat(3, 2)


def numbers(frames: np.ndarray) -> list[int]:
    """Return the numbers that frames [T, H, W, 3] show."""
    bands = frames.mean(axis=(1, 3)).reshape(len(frames), BANDS, -1).mean(axis=2) > 120
    return (bands @ (1 << np.arange(BANDS))).tolist()


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    codec: str = "libx264",
    rate: int = 25,
    times: Sequence[float] | None = None,
    pixel_format: str = "yuv420p",
    rotation: int = 0,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    sound: tuple[str, np.ndarray, int, float] | None = None,
) -> Path:
    """Encode frames, at `times` seconds where given, with `sound`: (codec, int16 [C, n], samples a second, start)."""
    with av.open(str(path), "w", container_options=container or {}) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(stream, av.VideoStream)
        audio = None if sound is None else out.add_stream(sound[0], rate=sound[2], layout=_layout(sound[1]))
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if i == 0:
                stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, pixel_format
                if rotation:
                    stream.set_display_rotation(rotation)
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, TICKS)
            if times is not None:
                picture.pts, picture.time_base = round(times[i] * TICKS), Fraction(1, TICKS)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if audio is not None and sound is not None:
            _encode_sound(out, audio, *sound[1:])
    return path


def write_sound(path: Path, codec: str, samples: np.ndarray, rate: int, start: float = 0.0) -> Path:
    """Encode int16 [C, n] samples; the first is at `start` seconds."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=_layout(samples))
        _encode_sound(out, stream, samples, rate, start)
    return path


def _encode_sound(out, stream, samples: np.ndarray, rate: int, start: float) -> None:
    block = 1024
    for begin in range(0, samples.shape[1], block):
        piece = np.ascontiguousarray(samples[:, begin : begin + block].T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=_layout(samples))
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), begin + round(start * rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())


def _layout(samples: np.ndarray) -> str:
    return "mono" if len(samples) == 1 else "stereo"


def copy_packets(source: Path, target: Path, keep, shift: int = 0, container: dict[str, str] | None = None) -> Path:
    """Copy the video packets for which `keep(number, packet)` is true, their times moved back by `shift` ticks."""
    with av.open(str(source)) as read, av.open(str(target), "w", container_options=container or {}) as out:
        stream = read.streams.video[0]
        copied = out.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in read.demux(stream) if packet.size):
            if keep(number, packet):
                assert packet.pts is not None and packet.dts is not None
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copied
                out.mux(packet)
    return target
