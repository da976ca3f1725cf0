"""PaSST (Koutini et al., Interspeech 2022): an audio transformer trained on AudioSet, network by hear21passt.

The front end is that of hear21passt in evaluation, written with the present interface of `torch.stft`. It runs on the
CPU; what reaches the network is cut to whole patches, since the network drops the rest anyway, so that sounds of
nearly the same length share a batch. Each window has a spectrogram of its own, as in the reference: at its two ends
the sound is reflected, so windows that overlap do not have the same frames.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from hear21passt.models import passt as reference
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from braid.extractors.audio import AudioExtractor
from braid.extractors.base import build
from braid.extractors.plan import View

SAMPLE_RATE = 32_000
N_FFT, WINDOW_LENGTH, HOP_LENGTH = 1024, 800, 320
N_MELS, MAX_HZ = 128, 15_000.0
PATCH_FRAMES = 16
LEAST = PATCH_FRAMES * HOP_LENGTH
"""Samples of the shortest sound that fills a patch."""
TIMESTAMP_HOP = SAMPLE_RATE // 20
TIMESTAMP_WINDOWS = {"timestamps": (LEAST,), "two_levels": (LEAST, 5 * LEAST)}
"""Samples of the windows around a moment, 160 ms and 800 ms, by the setting `tokens`."""


class Variant(NamedTuple):
    """What an architecture was trained on: frames between patches, frames in all, and how longer sound is cut."""

    stride: int = 10
    max_frames: int = 998
    window_seconds: float = 10.0
    hop_seconds: float = 2.5


VARIANTS = {
    "passt_s_p16_s16_128_ap468": Variant(stride=16),
    "passt_20sec": Variant(max_frames=2000, window_seconds=20.0, hop_seconds=5.0),
    "passt_30sec": Variant(max_frames=3000, window_seconds=30.0, hop_seconds=10.0),
}
"""Those that are not `Variant()`."""


class Passt(AudioExtractor):
    """Embeddings of whole scenes or of moments, and logits of AudioSet's 527 classes.

    `tokens: scene` is one token for a sound of up to 10 s, one for each window of a longer one: windows of 10 s lie
    every 2.5 s, centred on 0, 2.5, …. `timestamps` is a token every 50 ms, of the 160 ms around it; `two_levels` adds
    the numbers of the 800 ms around it. What a window lacks at the ends of the item is mirrored.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights`, `tokens`, `mode`: `embed_only` (768 numbers), `logits` (527) or `all` (the logits,
        then the 768: 1295); `two_levels` has twice as many.
    """

    sample_rate = SAMPLE_RATE
    several_classes = True

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.architecture = settings["architecture"]
        self.variant = VARIANTS.get(self.architecture, Variant())
        self.window_lengths = TIMESTAMP_WINDOWS.get(settings["tokens"], ())
        self.mode = settings["mode"]
        self.least_seconds = max(self.window_lengths, default=LEAST) / SAMPLE_RATE
        self.short_rule = "the sound is mirrored" if self.window_lengths else "the sound is repeated"
        self.network = build(settings, self._make)
        self.window = torch.hann_window(WINDOW_LENGTH, periodic=False)
        banks, _ = get_mel_banks(N_MELS, N_FFT, SAMPLE_RATE, 0.0, MAX_HZ, 100.0, -500.0, 1.0)
        self.banks = nn.functional.pad(banks, (0, 1))  # [128, 513]

    def _make(self) -> nn.Module:
        reference.first_RUN = False  # else the first forward pass prints every shape
        stride, frames = self.variant.stride, self.variant.max_frames
        with contextlib.redirect_stdout(io.StringIO()):
            return reference.get_model(
                self.architecture, pretrained=False, fstride=stride, tstride=stride, input_tdim=frames
            )

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        first, last = self.bounds(clip, start, end)
        if self.window_lengths:
            length, hop = max(self.window_lengths), TIMESTAMP_HOP
        else:
            length, hop = (
                round(seconds * SAMPLE_RATE) for seconds in (self.variant.window_seconds, self.variant.hop_seconds)
            )
            if last - first <= length:
                return [self.view(clip, start, end, first, last)]
        lefts = range(first - length // 2, last - length // 2 + 1, hop)
        return [self.view(clip, start, end, left, left + length) for left in lefts]

    def load(self, clip: Any, view: View) -> Tensor:
        """Return the log-mel spectrogram [1, 128, frames]; those of two windows one after the other."""
        left, right, first, last = view.indices.tolist()
        places = _mirrored(np.arange(left, right) - first, last - first) + first
        low, high = int(places.min()), int(places.max()) + 1
        sound = torch.from_numpy(self.sound(clip, low, high)[places - low])
        if not self.window_lengths:
            if len(sound) < LEAST:
                sound = sound.repeat(-(-LEAST // len(sound)))[:LEAST]
            return self.spectrogram(sound)[None]
        margins = [(right - left - length) // 2 for length in self.window_lengths]
        return torch.cat([self.spectrogram(sound[at : len(sound) - at]) for at in margins], dim=1)[None]

    def spectrogram(self, sound: Tensor) -> Tensor:
        """Return the normalised log-mel spectrogram [128, frames] of a sound [n] in [-1, 1], cut to whole patches."""
        emphasised = sound[1:] - 0.97 * sound[:-1]
        spectrum = torch.stft(emphasised, N_FFT, HOP_LENGTH, WINDOW_LENGTH, self.window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        frames = (((self.banks @ power) + 1e-5).log() + 4.5) / 5
        return frames[:, : self._whole_patches(frames.shape[1])]

    def _whole_patches(self, n_frames: int) -> int:
        n_patches = (min(n_frames, self.variant.max_frames) - PATCH_FRAMES) // self.variant.stride + 1
        return PATCH_FRAMES + (n_patches - 1) * self.variant.stride

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens [B, D], and logits [B, 527] of the longest window."""
        lengths = [self._whole_patches(length // HOP_LENGTH) for length in self.window_lengths] or [batch.shape[-1]]
        tokens, logits = zip(*map(self._hear, batch.split(lengths, dim=-1)), strict=True)
        return torch.cat(tokens, dim=1), logits[-1]

    def _hear(self, spectrograms: Tensor) -> tuple[Tensor, Tensor]:
        self.network.patch_embed.img_size = spectrograms.shape[-2:]  # else it warns of any other length than 10 s
        logits, features = self.network(spectrograms)
        tokens = {"embed_only": features, "logits": logits, "all": torch.cat([logits, features], dim=1)}
        return tokens[self.mode], logits


def _mirrored(places: np.ndarray, n: int) -> np.ndarray:
    """Return places, int64, in [0, n), counted back and forth between the first and the last one."""
    turn = max(n - 1, 1)
    return np.minimum(np.abs((places + turn) % (2 * turn) - turn), n - 1)
