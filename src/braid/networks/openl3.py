"""OpenL3 (Cramer et al., ICASSP 2019), audio and image, with the names of the layers of the official Keras files.

The front end of sound is the one that the weights were trained with (kapre 0.1.4, as openl3 up to 0.3 has it): HTK mel
bands of the power, their square root, decibels below the loudest of the window. openl3 0.4 computes other spectrograms
(Slaney's mel scale, of magnitudes) for the same weights.

Pictures are in [-1, 1], as in training. openl3 itself does so with pictures of 224×224 only: others it gives to the
network in [0, 1], or divided by the brightest value of the batch.

Letters: N windows, B pictures, C channels, F bands, T frames, D numbers of an embedding.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks
from torchvision.transforms.v2 import functional as pictures

from braid.errors import ConfigError, FeatureError

SAMPLE_RATE = 48_000
WINDOW = SAMPLE_RATE
"""Samples that the audio network hears at once: one second."""
HOP_LENGTH = 242
N_FFT = {"mel256": 2048, "mel128": 2048, "linear": 512}
LEAST_AMPLITUDE, RANGE_DB = 1e-10, 80.0
SIDE = 224
"""Pixels on a side that the image network sees."""
RESIZED_SIDE = 256
"""Pictures whose shorter side is longer than this are made as small before they are cropped."""
POOLS = {
    "mel256": {512: (32, 24), 6144: (8, 8)},
    "mel128": {512: (16, 24), 6144: (4, 8)},
    "linear": {512: (32, 24), 6144: (8, 8)},
    "image": {512: (28, 28), 8192: (7, 7)},
}
"""Windows of the last max-pooling, by input and embedding size."""
WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512)
HALVED = (2, 4, 6)
"""Convolutions, counted from 1, after which the sides are halved."""


class Trunk(nn.Module):
    """Eight 3×3 convolutions with BatchNorm before each, under the names that Keras gives its layers.

    Parameters
    ----------
    n_channels : C
    last : name of the last convolution
    pool : window of the last max-pooling
    rectified_first : convolutions, counted from 1, that are rectified before BatchNorm instead of after it
    """

    def __init__(
        self, n_channels: int, last: str, pool: tuple[int, int], rectified_first: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.pool, self.rectified_first = pool, rectified_first
        self.convolutions = (*(f"conv2d_{i}" for i in range(1, len(WIDTHS))), last)
        for i, (name, width) in enumerate(zip(self.convolutions, WIDTHS, strict=True), start=1):
            self.add_module(f"batch_normalization_{i}", nn.BatchNorm2d(n_channels, eps=1e-3, momentum=0.01))
            conv = nn.Conv2d(n_channels, width, 3, padding=1)
            # A quarter faster on a CPU.
            conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
            self.add_module(name, conv)
            n_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings [B, D] of [B, C, H, W], D in the order row, column, channel."""
        x = x.contiguous(memory_format=torch.channels_last)
        for i, name in enumerate(self.convolutions):
            norm = self.get_submodule(f"batch_normalization_{i + 1}")
            if i == 0:
                x = norm(x)
            elif i in self.rectified_first:
                x = norm(x.relu_())
            else:
                x = norm(x).relu_()
            if i in HALVED:
                x = nn.functional.max_pool2d(x, 2)
            x = self.get_submodule(name)(x)
        return nn.functional.max_pool2d(x, self.pool).permute(0, 2, 3, 1).flatten(1)


class Image(Trunk):
    """The image network.

    Parameters
    ----------
    embedding : D, 512 or 8192
    """

    def __init__(self, embedding: int = 512) -> None:
        super().__init__(3, "vision_embedding_layer", _pool("image", embedding), rectified_first=(2,))

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings [B, D] of pictures [B, 3, 224, 224] in [-1, 1]; `image_tensor` makes them."""
        return super().forward(x)


class Audio(Trunk):
    """The audio network with its front end.

    Parameters
    ----------
    input : `mel256`, `mel128` or `linear`
    embedding : D, 512 or 6144
    """

    def __init__(self, input: str = "mel256", embedding: int = 512) -> None:
        super().__init__(1, "audio_embedding_layer", _pool(input, embedding))
        self.spectrogram = Spectrogram(input)

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings [N, D] of windows of sound [N, 1, 48000] in [-1, 1]; `windows` makes them."""
        return super().forward(self.spectrogram(x))


class Spectrogram(nn.Module):
    """The front end: bands over frames in decibels, 0 the loudest of the window and -80 what is as soft or softer.

    Parameters
    ----------
    input : `mel256` (F 256, T 199), `mel128` (F 128, T 199) or `linear` (F 257, T 197)
    """

    bank: Tensor | None
    window: Tensor

    def __init__(self, input: str) -> None:
        super().__init__()
        self.n_fft = N_FFT[input]
        bank, missing = None, 0
        if input != "linear":
            bank = _mel_bank(self.n_fft, int(input.removeprefix("mel")))
            missing = max(self.n_fft - WINDOW % HOP_LENGTH, 0)
        # Keras' padding `same`: an odd sample would go to the end.
        self.padding = (missing // 2, missing - missing // 2)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft, dtype=torch.float64), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Return [N, 1, F, T] of [N, 1, 48000], in float32 under autocast too."""
        # In single precision the transform's own noise is audible in the quietest bins, where decibels are steep.
        with torch.autocast(windows.device.type, enabled=False):
            sound = nn.functional.pad(windows[:, 0].double(), self.padding)
            spectrum = torch.stft(sound, self.n_fft, HOP_LENGTH, window=self.window, center=False, return_complex=True)
            power = torch.view_as_real(spectrum).square().sum(dim=-1)
            amplitude = (power if self.bank is None else self.bank @ power.float()).sqrt().float()
            decibels = 10 * amplitude.clamp(min=LEAST_AMPLITUDE).log10()
            decibels = decibels - decibels.amax(dim=(1, 2), keepdim=True)
            return decibels.clamp(min=-RANGE_DB)[:, None]


def _mel_bank(n_fft: int, n_mels: int) -> Tensor:
    """Return triangles [F, n_fft / 2 + 1] on the HTK scale, of equal area."""
    with warnings.catch_warnings():
        # The lowest bands are narrower than a bin, and the two that lie between bins are zero in training too.
        warnings.filterwarnings("ignore", "At least one mel filterbank has all zero values")
        bank = melscale_fbanks(n_fft // 2 + 1, 0.0, SAMPLE_RATE / 2, n_mels, SAMPLE_RATE, "slaney", "htk")
    return bank.T.contiguous()


def _pool(input: str, embedding: int) -> tuple[int, int]:
    if input not in POOLS:
        raise ConfigError(f"OpenL3 has no input {input!r}; choose from {', '.join(N_FFT)}")
    if embedding not in POOLS[input]:
        raise ConfigError(
            f"OpenL3 has no embedding of {embedding} numbers for {input}; choose from "
            f"{', '.join(map(str, POOLS[input]))}"
        )
    return POOLS[input][embedding]


def n_windows(n_samples: int, hop_seconds: float, center: bool = True) -> int:
    """Return how many windows `windows` cuts a sound of `n_samples` into."""
    beyond = n_samples + (WINDOW // 2 if center else 0) - WINDOW
    return 1 + max(0, math.ceil(beyond / _hop(hop_seconds)))


def windows(waveform: np.ndarray | Tensor, hop_seconds: float = 0.1, center: bool = True) -> Tensor:
    """Return a sound as overlapping windows of a second, as openl3 cuts it.

    Parameters
    ----------
    waveform : float32 [n] in [-1, 1] at 48 kHz
    hop_seconds : from one window to the next
    center : half a second of silence before the sound, so that window k is centred on k × `hop_seconds`; else it
        starts there

    Returns
    -------
    float32 [N, 1, 48000], silence after the sound where the last window is longer; a view, not a copy for each window

    Raises
    ------
    FeatureError
        There is no sample.
    """
    sound = torch.as_tensor(waveform, dtype=torch.float32)
    if sound.numel() == 0:
        raise FeatureError("OpenL3 got a sound without a sample; leave such clips out")
    n, hop = n_windows(len(sound), hop_seconds, center), _hop(hop_seconds)
    before = WINDOW // 2 if center else 0
    after = WINDOW + (n - 1) * hop - before - len(sound)
    return nn.functional.pad(sound, (before, after)).unfold(0, WINDOW, hop)[:, None]


def _hop(seconds: float) -> int:
    hop = round(seconds * SAMPLE_RATE)
    if hop < 1:
        raise ConfigError(f"the hop of OpenL3 must be at least one sample, 1/{SAMPLE_RATE} s, got {seconds} s")
    return hop


def resized(x: Tensor) -> Tensor:
    """Return pictures, uint8 [..., 3, H, W], at the size that the image network's crop is cut from.

    The shorter side becomes 256 pixels if it is longer and 224 if it is shorter, by antialiased bilinear interpolation
    of 8-bit values.
    """
    height, width = x.shape[-2:]
    short = min(height, width)
    side = min(max(short, SIDE), RESIZED_SIDE)
    if side == short:
        return x
    size = [max(round(height * side / short), SIDE), max(round(width * side / short), SIDE)]
    return pictures.resize(x, size, pictures.InterpolationMode.BILINEAR, antialias=True)


def image_tensor(frames: np.ndarray | Tensor) -> Tensor:
    """Return pictures as the image network was trained on them: `resized`, the 224×224 in the middle, in [-1, 1].

    Parameters
    ----------
    frames : uint8 [..., H, W, 3], RGB

    Returns
    -------
    float32 [..., 3, 224, 224] in [-1, 1]
    """
    x = resized(torch.as_tensor(frames).movedim(-1, -3))
    top, left = x.shape[-2] // 2 - SIDE // 2, x.shape[-1] // 2 - SIDE // 2
    return x[..., top : top + SIDE, left : left + SIDE].float() / 127.5 - 1
