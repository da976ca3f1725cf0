"""Networks on several frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from cases import Outputs, case, checkpoint, draw, items, only_view, ours
from fake_clips import FakeClip
from torch import Tensor


@case("pytorchvideo", "xs", "s", "m", "l")
def x3d(file: Path, size: str) -> Outputs:
    """The logits before the softmax of the reference; XS and S at their test crops, where the head pools 2×2 times."""
    from pytorchvideo.models import hub  # pyright: ignore[reportMissingImports]

    network = getattr(hub, f"x3d_{size}")(head_activation=None)
    checkpoint(network, file, under="model_state")
    frames, side = {"xs": (4, 182), "s": (13, 182), "m": (17, 193), "l": (16, 289)}[size]
    batch = items(3, frames, side, side)
    return ours("x3d", file, architecture=size).forward(batch)[1], network(batch)


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
    views = [only_view(extractor, clip) for clip in clips]
    stored = [clip.pictures[view.indices] for clip, view in zip(clips, views, strict=True)]
    batch = torch.stack([extractor.load(clip, view) for clip, view in zip(clips, views, strict=True)])
    return [torch.from_numpy(frames).permute(0, 3, 1, 2) for frames in stored], batch
