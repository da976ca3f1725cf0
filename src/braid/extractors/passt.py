"""PaSST (Koutini et al., Interspeech 2022): an audio transformer trained on AudioSet, network by hear21passt.

The front end is that of hear21passt in evaluation, written with the present interface of `torch.stft`. It runs on the
CPU; what reaches the network is cut to whole patches, since the network drops the rest anyway, so that sounds of
nearly the same length share a batch.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hear21passt.models import passt as reference
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from braid.errors import FeatureError
from braid.extractors.base import Cover, Extractor, View, build

SAMPLE_RATE = 32_000
WINDOW = 10 * SAMPLE_RATE
"""Samples that the network sees at once; longer sounds are seen through windows of this length."""
HOP = WINDOW // 4
N_FFT, WINDOW_LENGTH, HOP_LENGTH = 1024, 800, 320
N_MELS, MAX_HZ = 128, 15_000.0
PATCH_FRAMES = 16
MAX_FRAMES = 998
LEAST = PATCH_FRAMES * HOP_LENGTH
"""Samples of the shortest sound that fills a patch."""
STRIDE = {"passt_s_p16_s16_128_ap468": 16}
"""Frames between patches, where it is not 10."""


class Passt(Extractor):
    """Scene embeddings: one token for a sound of up to 10 s, one for each window of a longer one, and their mean.

    Windows of 10 s lie every 2.5 s, centred on 0, 2.5, …; the sound is reflected at its ends. The logits are those
    of AudioSet's 527 classes, the mean over windows.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights`, `mode`: `embed_only` (768 numbers), `logits` (527) or `all` (the logits, then the
        768: 1295).
    """

    several_classes = True
    least_seconds = LEAST / SAMPLE_RATE
    short_rule = "the sound is repeated"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.architecture = settings["architecture"]
        self.stride = STRIDE.get(self.architecture, 10)
        self.mode = settings["mode"]
        self.network = build(settings, self._make)
        self.window = torch.hann_window(WINDOW_LENGTH, periodic=False)
        banks, _ = get_mel_banks(N_MELS, N_FFT, SAMPLE_RATE, 0.0, MAX_HZ, 100.0, -500.0, 1.0)
        self.banks = nn.functional.pad(banks, (0, 1))  # [128, 513]

    def _make(self) -> nn.Module:
        reference.first_RUN = False  # else the first forward pass prints every shape
        with contextlib.redirect_stdout(io.StringIO()):
            return reference.get_model(
                self.architecture, pretrained=False, fstride=self.stride, tstride=self.stride, input_tdim=MAX_FRAMES
            )

    def cover(self, clip: Any) -> Cover:
        if clip.audio.status in ("missing", "unreadable"):
            return Cover(clip.audio.status, clip.audio.reason, 0.0, 0.0)
        if clip.sample_rate != SAMPLE_RATE:
            raise FeatureError(
                f"passt reads sound at {SAMPLE_RATE} Hz, the decoded shard has {clip.sample_rate} Hz; "
                f"set `decode.sample_rate: {SAMPLE_RATE}`"
            )
        start = clip.audio_start_seconds
        return Cover(clip.audio.status, clip.audio.reason, start, start + clip.n_samples / SAMPLE_RATE)

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        """Return views whose indices are [first, last) of the view, then [first, last) of the item, in samples."""
        origin = clip.audio_start_seconds
        first = min(round((start - origin) * SAMPLE_RATE), clip.n_samples - 1)
        last = max(min(round((end - origin) * SAMPLE_RATE), clip.n_samples), first + 1)
        if last - first <= WINDOW:
            return [View(start, end, np.array([first, last, first, last]))]
        lefts = range(first - WINDOW // 2, last + WINDOW // 2 - WINDOW + 1, HOP)
        return [
            View(
                origin + max(left, first) / SAMPLE_RATE,
                origin + min(left + WINDOW, last) / SAMPLE_RATE,
                np.array([left, left + WINDOW, first, last]),
            )
            for left in lefts
        ]

    def load(self, clip: Any, view: View) -> Tensor:
        """Return the log-mel spectrogram [1, 128, frames]."""
        left, right, first, last = view.indices.tolist()
        mirrored = np.abs(np.arange(left, right) - first)
        mirrored = np.minimum(mirrored, 2 * (last - first - 1) - mirrored) + first
        low, high = int(mirrored.min()), int(mirrored.max()) + 1
        sound = clip.waveform(low, high)[mirrored - low]
        if len(sound) < LEAST:
            sound = np.resize(sound, LEAST)  # repeats it
        return self.spectrogram(torch.from_numpy(sound))[None]

    def spectrogram(self, sound: Tensor) -> Tensor:
        """Return the normalised log-mel spectrogram [128, frames] of a sound [n] in [-1, 1], cut to whole patches."""
        emphasised = sound[1:] - 0.97 * sound[:-1]
        spectrum = torch.stft(emphasised, N_FFT, HOP_LENGTH, WINDOW_LENGTH, self.window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(dim=-1)
        frames = (((self.banks @ power) + 1e-5).log() + 4.5) / 5
        n_patches = (min(frames.shape[1], MAX_FRAMES) - PATCH_FRAMES) // self.stride + 1
        return frames[:, : PATCH_FRAMES + (n_patches - 1) * self.stride]

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        self.network.patch_embed.img_size = batch.shape[-2:]  # else it warns of any other length than 10 s
        logits, features = self.network(batch)
        tokens = {"embed_only": features, "logits": logits, "all": torch.cat([logits, features], dim=1)}
        return tokens[self.mode], logits
