"""The sound of a file as mono float at one rate, in blocks, on the clip's clock.

Mono is the mean of the channels, which is made here: FFmpeg's own mixing to mono gives a stereo file 3 dB more than its
channels have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.frame import Frame

from braid.media.container import Tally, audio_stream, decode, open_media

GAP_SECONDS = 0.1
"""Sound that lags behind its timestamps by more than this is put right by silence; less is their rounding."""
LOUDEST = 2.0**32
"""Times full scale. Floats that hold whole numbers of 32 bits reach half of it; squares of much more overflow."""
BLOCK_SECONDS = 1.0
"""Sound that is resampled at once: a packet at a time costs twice as much."""


@dataclass
class Sound:
    """The sound of a file.

    After iteration the fields say how it went.

    Attributes
    ----------
    path : str
        The file.
    rate : int
        Samples per second to resample to.
    found : bool
        Whether the file has a sound stream.
    info : dict
        `stream`, `codec`, `source_rate`, `channels`, `end_seconds` (promised by the header or None).
    start_seconds : float
        Time of the first sample on the clip's clock.
    n_filled : int
        Samples of silence put where the file has a hole.
    n_absurd : int
        Samples of the file that are NaN or beyond `LOUDEST`, in any of its channels; there is silence in their place.
    tally : Tally
        Damage met.
    """

    path: str
    rate: int
    found: bool = False
    start_seconds: float = 0.0
    end_seconds: float | None = None
    n_filled: int = 0
    n_absurd: int = 0
    info: dict[str, object] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield float32 [n], full scale ±1."""
        with open_media(self.path) as container:
            stream = audio_stream(container)
            if stream is None:
                return
            self.found = True
            if stream.duration is not None and stream.time_base is not None:
                self.end_seconds = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
            context = stream.codec_context
            self.info = {
                "stream": stream.index,
                "codec": context.codec.canonical_name,
                "source_rate": context.sample_rate,
                "channels": context.layout.nb_channels,
            }
            yield from self._resample(decode(container, stream, self.tally))

    def _resample(self, frames: Iterator[Frame]) -> Iterator[np.ndarray]:
        mix, waiting, form, due, written = None, av.AudioFifo(), None, 0.0, 0
        for frame in frames:
            assert isinstance(frame, AudioFrame)
            seconds = due if frame.time is None else frame.time
            if mix is None:
                self.start_seconds = due = seconds
            this_form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if mix is None or this_form != form or seconds - due > GAP_SECONDS:
                if mix is not None:
                    for block in self._mono(mix, waiting, last=True):
                        written += len(block)
                        yield block
                silence = round((seconds - self.start_seconds) * self.rate) - written
                if silence > GAP_SECONDS * self.rate:
                    self.n_filled += silence
                    for begin in range(0, silence, self.rate):
                        yield np.zeros(min(self.rate, silence - begin), np.float32)
                    written += silence
                due = seconds
                mix, waiting, form = _Mix(self.rate), av.AudioFifo(), this_form
            due += frame.samples / frame.sample_rate  # not from `seconds`: many small holes add up
            frame.pts = None  # the queue would refuse the small holes
            waiting.write(frame)
            if waiting.samples >= frame.sample_rate * BLOCK_SECONDS:
                for block in self._mono(mix, waiting):
                    written += len(block)
                    yield block
        if mix is not None:
            yield from self._mono(mix, waiting, last=True)

    def _mono(self, mix: _Mix, waiting: av.AudioFifo, last: bool = False) -> Iterator[np.ndarray]:
        """Yield what waits, mixed and resampled; if it is the last, also what the resampler holds back."""
        block = waiting.read()
        for piece in [] if block is None else mix.convert.resample(block):
            samples = piece.to_ndarray()
            loudness = np.abs(samples)
            if not loudness.max() <= LOUDEST:  # NaN is not less than anything
                bad = ~(loudness <= LOUDEST)
                self.n_absurd += int(bad.sum())
                samples[bad] = 0
            mono = AudioFrame.from_ndarray(samples.mean(axis=0, keepdims=True, dtype=np.float32), "fltp", "mono")
            mono.sample_rate = piece.sample_rate
            for frame in mix.resample.resample(mono):
                yield frame.to_ndarray()[0]
        if last:
            for frame in mix.resample.resample(None):
                yield frame.to_ndarray()[0]


class _Mix:
    """What brings frames of one form to floats with a row a channel, and their mean to the rate."""

    def __init__(self, rate: int) -> None:
        self.convert = av.AudioResampler("fltp")
        self.resample = av.AudioResampler("fltp", "mono", rate)
