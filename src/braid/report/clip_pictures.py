"""What is seen and heard of an item, as two small pictures: frames side by side, and below them the sound.

Both show the same stretch of time from left to right: where a stream begins later or ends earlier, nothing is drawn.

Letters: n moments, H and W pixels, F frequencies.
"""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import torchaudio

from braid.extractors import sampling
from braid.extractors.plan import Cover

N_FRAMES = 6
FRAME_HEIGHT = 60
GAP = 2
"""Columns of each frame but the first that are white."""
SOUND_WIDTH, N_MELS = 480, 48
WINDOW_SECONDS = 0.04
RANGE_DECIBELS = 70
"""What is softer than the loudest moment by this is drawn as silence."""
MOST_BYTES = 6_000
QUALITIES = (75, 55, 35, 20)
SHRINKING = 0.75
"""A picture of noise, too large at the least quality, becomes smaller by this until it is not."""


def draw(clip: Any, start: float | None, end: float | None) -> dict[str, str | None]:
    """Return pictures of the item that is [start, end) seconds of `clip`; None is the clip's own start or end.

    Parameters
    ----------
    clip : braid.store.decoded.DecodedClip

    Returns
    -------
    dict
        `frames` and `sound`, data URLs of JPEG files of at most `MOST_BYTES`, None where there is nothing of the
        stream; `why` says why.
    """
    seen = sampling.cover(clip.video.status, clip.video.reason, clip.times if clip.video.usable else np.empty(0))
    first = clip.audio_start_seconds
    heard = Cover(clip.audio.status, clip.audio.reason, first, first + clip.n_samples / clip.sample_rate)
    there = {
        name: cover
        for name, cover, usable in (("frames", seen, clip.video.usable), ("sound", heard, clip.audio.usable))
        if usable and _inside(cover, start, end)
    }
    why = {name: cover.reason or "nothing within the item" for name, cover in (("frames", seen), ("sound", heard))}
    gone = "; ".join(f"no {name}: {why[name]}" for name in why if name not in there)
    if not there:
        return {"frames": None, "sound": None, "why": gone}
    low = min(cover.start_seconds for cover in there.values()) if start is None else start
    high = max(cover.end_seconds for cover in there.values()) if end is None else end
    return {
        "frames": jpeg(filmstrip(clip, low, high)) if "frames" in there else None,
        "sound": jpeg(spectrogram(clip, low, high)) if "sound" in there else None,
        "why": gone or None,
    }


def filmstrip(clip: Any, start: float, end: float) -> np.ndarray:
    """Return `N_FRAMES` frames of [start, end) seconds side by side, uint8 [FRAME_HEIGHT, W, 3], RGB.

    Each is that on screen in the middle of an equal part.
    """
    _, indices = sampling.middles(clip.times, start, end, N_FRAMES)
    frames = clip.frames(indices)
    width = max(1, round(frames.shape[2] * FRAME_HEIGHT / frames.shape[1]))
    small = np.stack([cv2.resize(frame, (width, FRAME_HEIGHT), interpolation=cv2.INTER_AREA) for frame in frames])
    small[1:, :, :GAP] = 255
    return np.hstack(list(small))


def spectrogram(clip: Any, start: float, end: float) -> np.ndarray:
    """Return the sound of [start, end) seconds, uint8 [N_MELS, SOUND_WIDTH, 3], RGB: low frequencies at the bottom.

    A column is the power of a Hann window around its moment, in mel bands and decibels below the loudest; colours are
    those of viridis, which get lighter evenly and which readers with colour vision deficiency can tell apart.
    """
    rate = clip.sample_rate
    n = round(WINDOW_SECONDS * rate)
    middles = start + (np.arange(SOUND_WIDTH) + 0.5) * (end - start) / SOUND_WIDTH
    begins = np.round((middles - clip.audio_start_seconds) * rate).astype(np.int64) - n // 2
    first, last = (int(np.clip(at, 0, clip.n_samples)) for at in (begins[0], begins[-1] + n))
    sound = clip.waveform(first, last)
    at = begins[:, None] + np.arange(n) - first
    there = (at >= 0) & (at < len(sound))
    windows = np.where(there, sound[np.clip(at, 0, max(len(sound) - 1, 0))] if len(sound) else 0.0, 0.0)
    power = np.abs(np.fft.rfft(windows * np.hanning(n))) ** 2  # [SOUND_WIDTH, F]
    bands = torchaudio.functional.melscale_fbanks(power.shape[1], 0.0, rate / 2, N_MELS, rate).numpy()
    loud = power @ bands
    decibels = 10 * np.log10(np.maximum(loud / max(loud.max(), 1e-12), 1e-12))
    shades = np.clip(1 + decibels / RANGE_DECIBELS, 0, 1)
    colours = cv2.applyColorMap((255 * shades.T[::-1]).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)


def jpeg(picture: np.ndarray) -> str:
    """Return a picture, uint8 [H, W, 3], RGB, as the data URL of a JPEG file of at most `MOST_BYTES`."""
    while True:
        for quality in QUALITIES:
            _, content = cv2.imencode(
                ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
            )
            if content.size <= MOST_BYTES:
                return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
        picture = cv2.resize(picture, None, fx=SHRINKING, fy=SHRINKING, interpolation=cv2.INTER_AREA)


def _inside(cover: Cover, start: float | None, end: float | None) -> bool:
    """Return whether there is something of the stream in [start, end) seconds."""
    low = cover.start_seconds if start is None else max(start, cover.start_seconds)
    high = cover.end_seconds if end is None else min(end, cover.end_seconds)
    return high > low
