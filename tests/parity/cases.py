"""Networks and their references: one function a network, one row of the table for each of its variants.

To add a network, write a function and mark it with `@case`:

    @case("torchvision", "r2plus1d_18", "s3d")
    def torchvision_video(file: Path, architecture: str) -> Outputs:
        network = models.get_model(architecture).eval()            # 1. the reference
        checkpoint(network, file)                                  # 2. seeded numbers in the official layout
        extractor = ours("torchvision_video", file, architecture=architecture)   # 3. ours, from that file
        batch = items(3, 16, 112, 112)                             # 4. the same input, two different items
        return extractor.forward(batch)[1], network(batch)         # 5. ours first; no softmax, no argmax

Its rows are called `torchvision_video r2plus1d_18` and `torchvision_video s3d`; the table names the package and its
installed version. Import a reference inside its function: those that are no part of the product are only in
.venv-parity, and one that breaks should cost its own rows only. A package that .venv lacks is added to the group
`parity` of pyproject.toml and locked by `make lock`. Where the reference has a preprocessing of its own, begin with
clips (`fake_clips.FakeClip`) and compare everything up to the embedding.

The error is max |ours - reference| / max |reference| over all numbers of the output. So that it means something,
`checkpoint` draws weights that keep the scale of activations, and `compare.py` refuses a case whose outputs for its
two items differ by less than a thousand times the tolerance.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_files
import numpy as np
import torch
from fake_clips import FakeClip, settings
from torch import Tensor, nn

from braid import config
from braid.extractors.registry import REGISTRY
from braid.flow.registry import REGISTRY as FLOW

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"

Outputs = tuple[Tensor, Tensor]
"""Ours and the reference's, of equal shape [2, ...]."""


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes
    ----------
    name : what the row is called
    package : the reference's, whose version is quoted
    outputs : what compares; it gets the path of a checkpoint that it may write
    tolerance : largest error that is no difference
    """

    name: str
    package: str
    outputs: Callable[[Path], Outputs]
    tolerance: float = 1e-5


CASES: list[Case] = []


def case(package: str, *variants: str, tolerance: float = 1e-5) -> Callable[[Callable[..., Outputs]], Any]:
    """Register a function as a case, once for each variant, which it gets as its second argument."""

    def register(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
        for variant in variants:
            CASES.append(
                Case(f"{function.__name__} {variant}", package, lambda file, v=variant: function(file, v), tolerance)
            )
        return function

    return register


def items(*shape: int) -> Tensor:
    """Return two items [2, *shape], float32: normal numbers, and others that are weaker and lie around one half."""
    numbers = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    numbers[1] = numbers[1] / 4 + 0.5
    return numbers


def draw(network: nn.Module, gain: float = 2**0.5) -> Any:
    """Fill a network with seeded numbers that keep the scale of what passes through it: `gain` for rectified layers."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim > 1:
            value.normal_(0, gain * value[0].numel() ** -0.5, generator=generator)
        elif name.endswith("weight"):
            value.uniform_(0.5, 1.0, generator=generator)
        else:
            value.normal_(0, 0.1, generator=generator)
    return network.eval().requires_grad_(False)


def checkpoint(
    network: nn.Module, file: Path, under: str = "", seen: Tensor | None = None, gain: float = 2**0.5
) -> Path:
    """Draw the numbers of a reference and save them as its publisher does, below the key `under` if there is one.

    With `seen` the statistics of its BatchNorms are those of this batch: in a deep network that gates what passes
    through it, drawn ones would leave nothing of the input.
    """
    draw(network, gain)
    if seen is not None:
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train().momentum = 1.0
        network(seen)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval().momentum = momentum
    state = network.state_dict()
    torch.save({under: state} if under else state, file)
    return file


def ours(kind: str, file: Path, **changes: Any) -> Any:
    """Return an extractor with the weights of a file."""
    with contextlib.redirect_stdout(io.StringIO()):
        return REGISTRY[kind].load()(settings(kind, weights=str(file), **changes))


def tokens(extractor: Any, clips: list[FakeClip]) -> Tensor:
    """Return the token of each clip that gives one view, [2, D]."""
    return torch.stack(
        [extractor.forward(extractor.load(clip, _only_view(extractor, clip))[None])[0][0] for clip in clips]
    )


def _only_view(extractor: Any, clip: FakeClip) -> Any:
    (view,) = extractor.plan(clip, None, None).views
    return view


@case("pytorchvideo", "xs", "s", "m", "l")
def x3d(file: Path, size: str) -> Outputs:
    """The logits before the softmax of the reference; XS and S at their test crops, where the head pools 2×2 times."""
    from pytorchvideo.models import hub  # pyright: ignore[reportMissingImports]

    network = getattr(hub, f"x3d_{size}")(head_activation=None)
    checkpoint(network, file, under="model_state")
    frames, side = {"xs": (4, 182), "s": (13, 182), "m": (17, 193), "l": (16, 289)}[size]
    batch = items(3, frames, side, side)
    return ours("x3d", file, architecture=size).forward(batch)[1], network(batch)


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


@case("keras", "512", "8192")
def openl3_image(file: Path, size: str) -> Outputs:
    """Against the published list of layers built anew in Keras, and the file that Keras writes: nothing else has it."""
    import h5py
    import keras  # pyright: ignore[reportMissingImports]
    from keras.src.legacy.saving import legacy_h5_format  # pyright: ignore[reportMissingImports]

    from braid import weights
    from braid.networks.openl3 import Image

    layers = keras.layers
    network = keras.Sequential([keras.Input((224, 224, 3)), layers.BatchNormalization()])
    for width in (64, 128, 256):
        network.add(layers.Conv2D(width, 3, padding="same"))
        network.add(layers.BatchNormalization())
        network.add(layers.ReLU())
        network.add(layers.Conv2D(width, 3, padding="same"))
        last = [layers.BatchNormalization(), layers.ReLU()]
        for layer in reversed(last) if width == 64 else last:
            network.add(layer)
        network.add(layers.MaxPooling2D(2, strides=2, padding="same"))
    network.add(layers.Conv2D(512, 3, padding="same"))
    network.add(layers.BatchNormalization())
    network.add(layers.ReLU())
    network.add(layers.Conv2D(512, 3, padding="same", name="vision_embedding_layer"))
    file = file.with_suffix(".h5")
    network.set_weights(list(_keras_numbers(network)))
    with h5py.File(file, "w") as opened:
        legacy_h5_format.save_weights_to_hdf5_group(opened, network)
    pool = {"512": 28, "8192": 7}[size]
    network.add(layers.MaxPooling2D(pool, padding="same"))
    network.add(layers.Flatten())
    pictures = items(3, 224, 224).tanh()
    mine = Image(int(size)).eval()
    weights.fill(mine, weights.load(file), file)
    return mine(pictures), network(pictures.permute(0, 2, 3, 1), training=False)


def _keras_numbers(network: Any) -> Iterator[np.ndarray]:
    """Yield an array for each weight of a Keras network, by the rule of `draw`."""
    rng = np.random.default_rng(1)
    for weight in network.weights:
        shape = tuple(weight.shape)
        if len(shape) > 1:
            yield rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape).astype(np.float32)
        elif weight.name in ("gamma", "moving_variance"):
            yield rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            yield rng.normal(0, 0.1, shape).astype(np.float32)


def _sound(sample_rate: int, seconds: float, seed: int = 0) -> FakeClip:
    """Return a clip with sound of this rate, louder and louder."""
    clip = FakeClip(seed, seconds)
    clip.sample_rate, clip.n_samples = sample_rate, round(sample_rate * seconds)
    noises = np.random.default_rng(seed).normal(0, 0.2, clip.n_samples)
    clip.sound = (noises * np.linspace(0.1, 1, clip.n_samples)).astype(np.float32)
    return clip


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


def _waveforms(clips: list[FakeClip]) -> Tensor:
    return torch.from_numpy(np.stack([clip.sound for clip in clips]))


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


@case("open_clip_torch", "ViT-B-32-quickgelu", "RN101-quickgelu", "RN50x4-quickgelu")
def clip(file: Path, architecture: str) -> Outputs:
    """Normalised embeddings of the frame in the middle, from the stored frame on."""
    import open_clip
    from PIL import Image

    created: Any = open_clip.create_model_and_transforms(architecture, pretrained_text=False)
    network, _, preprocess = created
    checkpoint(network, file)
    clips = [FakeClip(seed, seconds=1.0) for seed in (0, 1)]
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[12])) for clip in clips])
    theirs = network.encode_image(images, normalize=True)
    return tokens(ours("clip", file, architecture=architecture, frames=1), clips), theirs


@case("open_clip_torch", "ViT-B-32-quickgelu", "RN101-quickgelu")
def clip_classes(file: Path, architecture: str) -> Outputs:
    """Zero-shot logits of classes, from the stored frame and the names of the classes on."""
    import open_clip
    from open_clip.zero_shot_classifier import build_zero_shot_classifier
    from PIL import Image

    names = ["metro station", "park", "tram"]
    created: Any = open_clip.create_model_and_transforms(architecture, pretrained_text=False)
    network, _, preprocess = created
    checkpoint(network, file)
    clips = [FakeClip(seed, seconds=1.0) for seed in (0, 1)]
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[12])) for clip in clips])
    sentences = ["a photo of a {}.", "a photo of the {}."]
    classes = build_zero_shot_classifier(network, open_clip.get_tokenizer(architecture), names, sentences)
    theirs = network.logit_scale.exp() * network.encode_image(images, normalize=True) @ classes
    extractor = ours("clip", file, architecture=architecture, classes=names, templates="sun397")
    batch = torch.stack([extractor.load(clip, _only_view(extractor, clip)) for clip in clips])
    return extractor.forward(batch)[1], theirs


@case(
    "timm",
    "convnext_base.fb_in1k",
    "hrnet_w18.ms_aug_in1k",
    "regnety_064.ra3_in1k",
    "resnest50d.in1k",
    "tf_efficientnet_b1.ns_jft_in1k",
    "vit_small_patch16_dinov3.lvd1689m",
)
def timm(file: Path, architecture: str) -> Outputs:
    """The numbers before the classifier, of the frame in the middle, from the stored frame on."""
    from PIL import Image
    from timm import create_model
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    network: Any = create_model(architecture)
    preprocess: Any = create_transform(**resolve_model_data_config(network))
    clips = [FakeClip(seed, seconds=1.0) for seed in (0, 1)]
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[12])) for clip in clips])
    checkpoint(network, file, seen=images)
    theirs = network.forward_head(network.forward_features(images), pre_logits=True)
    extractor = ours("timm", file, architecture=architecture)
    batch = torch.stack([extractor.load(clip, _only_view(extractor, clip)) for clip in clips])
    return extractor.forward(batch)[0], theirs


@case("torchvision", "convnext_base", "resnet152", "inception_v3")
def torchvision(file: Path, architecture: str) -> Outputs:
    """Logits of the frame in the middle, from the stored frame on."""
    from PIL import Image
    from torchvision import models

    inception = {"transform_input": True, "init_weights": False} if architecture == "inception_v3" else {}
    network = models.get_model(architecture, **inception)
    weights: Any = models.get_model_weights(architecture)
    preprocess = weights.DEFAULT.transforms()
    clips = [FakeClip(seed, seconds=1.0) for seed in (0, 1)]
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[12])) for clip in clips])
    checkpoint(network, file, seen=images)
    extractor = ours("torchvision", file, architecture=architecture)
    batch = torch.stack([extractor.load(clip, _only_view(extractor, clip)) for clip in clips])
    return extractor.forward(batch)[1], network(images)


@case(
    "torchvision",
    "r2plus1d_18",
    "r3d_18",
    "mc3_18",
    "s3d",
    "mvit_v1_b",
    "mvit_v2_s",
    "swin3d_t",
    "swin3d_s",
    "swin3d_b",
)
def torchvision_video(file: Path, architecture: str) -> Outputs:
    """Logits of views, from the stored frames on; fewer frames than in training where a network takes them."""
    from torchvision import models

    network: Any = models.get_model(architecture)
    checkpoint(network, file)
    transform: Any = models.get_model_weights(architecture)
    preprocess = transform.DEFAULT.transforms()
    clip_length = None if architecture.startswith("mvit") else 16
    extractor = ours("torchvision_video", file, architecture=architecture, clip_length=clip_length, views=1)
    frames, batch = _views(extractor)
    return extractor.forward(batch)[1], network(torch.stack([preprocess(each) for each in frames]))


@case(
    "transformers", "videomae", "videomae classes", "vjepa2", "vjepa2 classes", "timesformer classes", "vivit classes"
)
def transformers_video(file: Path, variant: str) -> Outputs:
    """From the stored frames on, with files as Hugging Face keeps them; two layers of each network.

    The logits of a classifier, else the mean of the last hidden state.
    """
    import transformers

    family, *classes = variant.split()
    processors: Any = {
        "videomae": transformers.VideoMAEVideoProcessor,
        "vjepa2": transformers.VJEPA2VideoProcessor,
        "timesformer": transformers.TimesformerVideoProcessor,
        "vivit": transformers.VivitVideoProcessor,
    }
    config: Any = transformers.AutoConfig.for_model(family, num_hidden_layers=2)
    if family == "vjepa2":
        config.frames_per_clip = 8  # of 64: as many tokens as the others
    models: Any = transformers.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING if classes else transformers.MODEL_MAPPING
    network = models[type(config)](config)
    draw(network).save_pretrained(file.parent)
    processor = processors[family]()
    processor.save_pretrained(file.parent)
    file = file.parent / "model.safetensors"
    extractor = ours("transformers_video", file, architecture=str(file.parent), views=1)
    frames, batch = _views(extractor)
    pixels = torch.cat([processor(each, return_tensors="pt")[network.main_input_name] for each in frames])
    theirs = network(pixels)
    mine, logits = extractor.forward(batch)
    return (logits, theirs.logits) if classes else (mine, theirs.last_hidden_state.mean(dim=1))


def _views(extractor: Any) -> tuple[list[Tensor], Tensor]:
    """Return the stored frames, uint8 [T, 3, H, W], of the only view of two clips, and what the extractor loads."""
    clips = [FakeClip(seed, seconds=2.0) for seed in (0, 1)]
    clips[1].pictures //= 4
    views = [_only_view(extractor, clip) for clip in clips]
    stored = [clip.pictures[view.indices] for clip, view in zip(clips, views, strict=True)]
    batch = torch.stack([extractor.load(clip, view) for clip, view in zip(clips, views, strict=True)])
    return [torch.from_numpy(frames).permute(0, 3, 1, 2) for frames in stored], batch


def _flow_method(kind: str, file: Path, architecture: str, **changes: Any) -> Any:
    rules = {name: config.resolve(rule, "flow") for name, rule in config.types("flow")[kind]["properties"].items()}
    defaults = {name: rule["default"] for name, rule in rules.items() if "default" in rule}
    chosen = {"type": kind, **defaults, "architecture": architecture, "weights": str(file), **changes}
    with contextlib.redirect_stdout(io.StringIO()):
        return FLOW[kind].load()(chosen, 1, "cpu", 2)


def _three_frames(height: int, width: int) -> np.ndarray:
    """Return frames, uint8 [3, height, width, 3], of which the pairs move differently."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 16 + 4, width // 16 + 4, 3), np.uint8)
    scene = coarse.repeat(16, axis=0).repeat(16, axis=1)
    return np.stack([scene[y : y + height, x : x + width] for y, x in ((8, 8), (11, 6), (9, 20))])


@case("torchvision", "raft_large", "raft_small")
def raft(file: Path, architecture: str) -> Outputs:
    """Flow of two pairs of frames that need no padding, three updates."""
    from torchvision.models import get_model

    network = get_model(architecture)
    checkpoint(network, file)
    frames = _three_frames(128, 160)
    method = _flow_method("raft", file, architecture, updates=3)
    encoded = method.encode(frames)
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1
    theirs = network(pictures[:2], pictures[1:], num_flow_updates=3)[-1]
    return method.match(encoded[:2], encoded[1:]), theirs


@case("ptlflow", "gmflow", "gmflow_refine")
def gmflow(file: Path, architecture: str) -> Outputs:
    """Flow of two pairs of frames that the reference pads.

    The gain is small, for large features make matching a choice between equals, which rounding decides.
    """
    import ptlflow  # pyright: ignore[reportMissingImports]

    network = ptlflow.get_model(architecture)
    checkpoint(network, file, under="state_dict", gain=0.5)
    frames = _three_frames(120, 154)
    method = _flow_method("gmflow", file, architecture)
    encoded = method.encode(frames)
    bgr = torch.from_numpy(frames[..., ::-1].copy()).permute(0, 3, 1, 2).contiguous() / 255
    theirs = network({"images": torch.stack([bgr[:2], bgr[1:]], dim=1)})["flows"][:, 0]
    return method.match(encoded[:2], encoded[1:]), theirs
