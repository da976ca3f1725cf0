"""A log-mel spectrogram as a picture of one channel, and any network of timm on it.

Letters: B views of a batch, n samples of a view, M mel bands, T frames of a spectrogram.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import timm
import torch
from timm.models import PretrainedCfg, adapt_input_conv, get_pretrained_cfg
from torch import Tensor, nn
from torchaudio.transforms import MelScale, Spectrogram

from braid.errors import ConfigError
from braid.extractors.audio import AudioExtractor
from braid.extractors.base import build
from braid.extractors.plan import View
from braid.extractors.timm_frames import as_timm_loads, check_name, first_convolutions

FLOOR = 1e-6
"""Power that is added to each band before the logarithm: about what the rounding of sound to 16 bits leaves in one, so
that digital silence is next to the quietest recording and not far below it."""
LEAST_DEVIATION = 0.01
"""Standard deviation that a spectrogram is taken to have at least, so that a constant one, as of silence, becomes 0."""


class LogMel(nn.Module):
    """The natural logarithm of the power in mel bands.

    Hann windows of `n_fft` samples, centred on every `hop_length`-th sample, the sound reflected at its ends; bands are
    triangles of height 1 whose corners are evenly spaced on the HTK mel scale, 2595 log10(1 + f / 700).

    Parameters
    ----------
    settings : mapping
        `sample_rate`, `n_fft`, `hop_length`, `n_mels`, `f_min`, `f_max` (Hz; None: half the sample rate) and
        `normalise`: `view` shifts and scales each spectrogram to mean 0 and standard deviation 1, as the networks of
        pictures are used to and whatever the gain of the recording; `none` leaves it as it is, for a network that was
        trained so.

    Raises
    ------
    ConfigError
        The bands lie outside what the sample rate holds, or some are narrower than the spectrum resolves.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        rate, n_fft, n_mels = settings["sample_rate"], settings["n_fft"], settings["n_mels"]
        low, high = settings["f_min"], settings["f_max"] or rate / 2
        if not low < high <= rate / 2:
            raise ConfigError(
                f"f_min {low:g} and f_max {high:g} must be in order and at most {rate / 2:g}, half the rate"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of empty bands, which are an error here
            self.mel_scale = MelScale(n_mels, rate, low, high, n_fft // 2 + 1)
        self.spectrum = Spectrogram(n_fft, hop_length=settings["hop_length"], power=None)
        n_empty = int((self.mel_scale.get_buffer("fb").amax(dim=0) == 0).sum())
        if n_empty:
            raise ConfigError(
                f"{n_empty} of {n_mels} mel bands hold no frequency of a spectrum of {n_fft} samples at {rate} Hz; "
                "lower n_mels or raise n_fft"
            )
        self.normalise = settings["normalise"]

    def forward(self, sound: Tensor) -> Tensor:
        """Return spectrograms, float32 [B, 1, M, T = 1 + n // hop_length], of sounds [B, n], full scale ±1."""
        spectrum = self.spectrum(sound)
        power = spectrum.real.square() + spectrum.imag.square()  # `power=2` takes a root first, and squares it
        values = (self.mel_scale(power) + FLOOR).log()
        if self.normalise == "view":
            deviation, mean = torch.std_mean(values, dim=(1, 2), correction=0, keepdim=True)
            values = (values - mean) / deviation.clamp(min=LEAST_DEVIATION)
        return values[:, None]


class LogMelNetwork(AudioExtractor):
    """Tokens are what the classifier of a network of timm reads, of windows of the sound.

    There are as many windows of `seconds` as would fit beginning every `hop_seconds`; they lie evenly from the item's
    start to its end, one alone in the middle.

    Parameters
    ----------
    settings : mapping
        What `LogMel` reads; `seconds`, `hop_seconds`; `architecture`, a name of timm; `weights`. The kernels of the
        first convolution of a network for RGB are summed, as timm does it: the network then sees the spectrogram in
        all three channels, and its classes, of pictures, are left out. A file of one channel is taken as it is, with
        the scores of its classes.
    """

    short_rule = "the sound is repeated"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.sample_rate = settings["sample_rate"]
        self.length = round(settings["seconds"] * self.sample_rate)
        self.hop = max(round(settings["hop_seconds"] * self.sample_rate), 1)
        self.least_seconds = settings["seconds"]
        self.check(settings)
        self.architecture = settings["architecture"]
        self.known = get_pretrained_cfg(self.architecture) or PretrainedCfg()
        self.log_mel = LogMel(settings)
        self.network = build(settings, self._make, self._adapt, classifier=str(self.known.classifier))

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        length = round(settings["seconds"] * settings["sample_rate"])
        if length <= settings["n_fft"] // 2:
            raise ConfigError(
                f"seconds {settings['seconds']:g} are {length} samples, but must be more than half of n_fft, "
                f"{settings['n_fft'] // 2}, by which a view is reflected at its ends"
            )
        LogMel(settings)
        check_name(settings["architecture"])

    def _make(self, n_classes: int = 0) -> nn.Module:
        return timm.create_model(self.architecture, in_chans=1, num_classes=n_classes)

    def _adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a state dict as timm would load it; that of a network for RGB with summed kernels, and no classes."""
        state = as_timm_loads(self.architecture, state)
        rgb = {name: state[name] for name in first_convolutions(self.architecture) if name in state}
        if all(kernels.shape[1] == 1 for kernels in rgb.values()):
            return state
        kept = {name: value for name, value in state.items() if not name.startswith(f"{self.known.classifier}.")}
        return kept | {name: adapt_input_conv(1, kernels) for name, kernels in rgb.items()}

    def views(self, clip: Any, start: float, end: float) -> list[View]:
        first, last = self.bounds(clip, start, end)
        room = max(last - first - self.length, 0)
        n = int(room / self.hop + 1e-3) + 1  # bounds are rounded to samples
        lefts = first + (np.linspace(0, room, n) if n > 1 else np.array([room / 2])).round().astype(int)
        return [self.view(clip, start, end, left, left + self.length) for left in lefts.tolist()]

    def load(self, clip: Any, view: View) -> Tensor:
        """Return the sound, float32 [n], full scale ±1."""
        return self.heard(clip, view)

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.autocast(batch.device.type, enabled=False):  # power spans more decades than bfloat16 has digits for
            spectrograms = self.log_mel.to(batch.device)(batch)
        features = self.network.forward_features(spectrograms)
        tokens = self.network.forward_head(features, pre_logits=True)
        return tokens, self.network.forward_head(features) if self.network.num_classes else None
