"""Networks on sound."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import keras_files
import numpy as np
import torch
from cases import Outputs, case, checkpoint, draw, ours, tokens
from fake_clips import FakeClip
from torch import Tensor, nn


@case("torchopenl3", "mel256 512", "mel256 6144", "mel128 512", "mel128 6144", "linear 512", "linear 6144")
def openl3_audio(file: Path, variant: str) -> Outputs:
    """From the waveform on, cut into windows by the reference too.

    The reference makes its mel bands with norm=1, which in librosa has meant something else since 0.8; the weights were
    trained before, with what librosa now calls "slaney".
    """
    import librosa  # pyright: ignore[reportMissingImports]
    from torchopenl3.models import PytorchOpenl3  # pyright: ignore[reportMissingImports]
    from torchopenl3.utils import preprocess_audio_batch  # pyright: ignore[reportMissingImports]

    kind, size = variant.split()
    network = PytorchOpenl3("env", kind, int(size))
    front_end = network.speclayer
    if kind != "linear":
        bands = {"sr": 48_000, "n_fft": 2048, "n_mels": int(kind.removeprefix("mel")), "htk": True, "norm": "slaney"}
        front_end.mel_basis = torch.from_numpy(librosa.filters.mel(**bands))
    network.speclayer = nn.Identity()
    draw(network)
    network.speclayer = front_end
    file = file.with_suffix(".h5")
    keras_files.write(file, keras_files.layers(network))
    clip = _sound(48_000, 1.3)
    extractor = ours("openl3_audio", file, input=kind, embedding_size=int(size), hop_seconds=0.5)
    views = extractor.plan(clip, None, None).views
    windows = preprocess_audio_batch(torch.from_numpy(clip.sound)[None], 48_000, hop_size=0.5)
    return extractor.forward(torch.stack([extractor.load(clip, view) for view in views]))[0], network(windows)


PASST = {
    "passt_s_p16_s16_128_ap468": {"fstride": 16, "tstride": 16},
    "passt_20sec": {"input_tdim": 2000},
    "passt_30sec": {"input_tdim": 3000},
}
"""What hear21passt wants to know of an architecture besides its name."""


def _passt(file: Path, architecture: str) -> Any:
    """Return hear21passt's wrapper, whose weights are in `file`; the caller keeps away what it prints."""
    from hear21passt.models.passt import get_model
    from hear21passt.models.preprocess import AugmentMelSTFT
    from hear21passt.wrapper import PasstBasicWrapper

    network = get_model(architecture, pretrained=False, **PASST.get(architecture, {}))
    mel = AugmentMelSTFT(sr=32_000, win_length=800, hopsize=320, fmin_aug_range=10, fmax_aug_range=2000)
    checkpoint(network, file)
    return PasstBasicWrapper(mel=mel, net=network, mode="all").eval()


@case(
    "hear21passt",
    "passt_s_swa_p16_128_ap476",
    "passt_s_kd_p16_128_ap486",
    "passt_s_p16_s16_128_ap468",
    "passt_l_kd_p16_128_ap47",
    "passt_20sec",
    "passt_30sec",
)
def passt(file: Path, architecture: str) -> Outputs:
    """Logits and embedding of a scene, from the waveform on."""
    clips = [_sound(32_000, 2.0, seed) for seed in (0, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = _passt(file, architecture).get_scene_embeddings(_waveforms(clips))
    return tokens(ours("passt", file, architecture=architecture, mode="all"), clips), theirs


@case("hear21passt", "scene", "timestamps", "two_levels")
def passt_windows(file: Path, kind: str) -> Outputs:
    """The mean over the windows of a scene of more than 10 s, and the tokens of moments."""
    from hear21passt.base2level import get_2lvl_timestamp_embeddings

    architecture = "passt_s_p16_s16_128_ap468"
    clips = [_sound(32_000, 10.3 if kind == "scene" else 0.45, seed) for seed in (0, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        wrapper = _passt(file, architecture)
        reference = {
            "scene": wrapper.get_scene_embeddings,
            "timestamps": lambda sounds: wrapper.get_timestamp_embeddings(sounds)[0],
            "two_levels": lambda sounds: get_2lvl_timestamp_embeddings(sounds, wrapper)[0],
        }
        theirs = reference[kind](_waveforms(clips))
    extractor = ours("passt", file, architecture=architecture, mode="all", tokens=kind)
    mine = []
    for clip in clips:
        views = extractor.plan(clip, None, None).views
        mine.append(extractor.forward(torch.stack([extractor.load(clip, view) for view in views]))[0])
    return torch.stack([each.mean(dim=0) if kind == "scene" else each for each in mine]), theirs


@case("timm", "regnety_064.ra3_in1k", "resnest50d.in1k", "tf_efficientnet_b1.ns_jft_in1k")
def logmel(file: Path, architecture: str) -> Outputs:
    """The network for RGB, on torchaudio's spectrogram in all three channels.

    The weights are those that timm begins with: after `draw` the gates of EfficientNet leave nothing of its input.
    """
    import timm
    from torchaudio.transforms import MelSpectrogram

    torch.manual_seed(0)
    network: Any = timm.create_model(architecture).eval().requires_grad_(False)
    torch.save(network.state_dict(), file)
    clips = [_sound(48_000, 1.0, seed) for seed in (0, 1)]
    clips[1].sound = (np.cumsum(clips[1].sound) / 30).astype(np.float32)  # brown noise beside white noise
    mel: Any = MelSpectrogram(48_000, n_fft=2048, hop_length=512, n_mels=128)
    values = (mel(_waveforms(clips)) + 1e-6).log()
    deviation, mean = torch.std_mean(values, dim=(1, 2), correction=0, keepdim=True)
    pictures = ((values - mean) / deviation)[:, None].expand(2, 3, 128, 94)
    theirs = network.forward_head(network.forward_features(pictures), pre_logits=True)
    return tokens(ours("logmel", file, architecture=architecture), clips), theirs


def _sound(sample_rate: int, seconds: float, seed: int = 0) -> FakeClip:
    """Return a clip with sound of this rate, louder and louder."""
    clip = FakeClip(seed, seconds)
    clip.sample_rate, clip.n_samples = sample_rate, round(sample_rate * seconds)
    noises = np.random.default_rng(seed).normal(0, 0.2, clip.n_samples)
    clip.sound = (noises * np.linspace(0.1, 1, clip.n_samples)).astype(np.float32)
    return clip


def _waveforms(clips: list[FakeClip]) -> Tensor:
    return torch.from_numpy(np.stack([clip.sound for clip in clips]))
