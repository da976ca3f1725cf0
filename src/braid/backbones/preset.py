"""What the official weights of a backbone were trained on, and what a config makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torchvision.models import get_model_weights

from braid.errors import ConfigError
from braid.networks import x3d

CROPPED = 0.875
"""Share of the shorter side that a crop of timm is where nothing else is known of it."""


class Preset(NamedTuple):
    """Views as a network sees them.

    Attributes
    ----------
    clip_length : frames, or pairs of them
    frame_rate : frames a second, infinite where a view is a single frame
    crop : pixels on a side
    short_side : pixels of the shorter side of the picture that the crop is cut from in validation and use
    mean, std : of RGB in [0, 1]
    """

    clip_length: int
    frame_rate: float
    crop: int
    short_side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def preset(settings: Mapping[str, Any]) -> Preset:
    """Return what a backbone on pictures sees: what its settings say, else what its official weights were trained on.

    Raises
    ------
    ConfigError
        The crop does not fit into the picture that it is cut from.
    """
    official = PRESETS[settings["type"]](settings["architecture"])
    chosen = official._replace(
        clip_length=settings.get("clip_length") or official.clip_length,
        frame_rate=settings.get("frame_rate") or official.frame_rate,
        crop=settings["crop"] or official.crop,
        short_side=settings["short_side"] or settings["crop"] or official.short_side,
    )
    if chosen.short_side < chosen.crop:
        raise ConfigError(
            f"short_side {chosen.short_side} must be at least the crop, {chosen.crop} pixels, that is cut from it"
        )
    return chosen


def _x3d(name: str) -> Preset:
    size = x3d.ARCHITECTURES[name]
    rate = x3d.FRAME_RATE / size.stride
    return Preset(size.clip_length, rate, size.train_crop, size.test_side, (x3d.MEAN,) * 3, (x3d.STD,) * 3)


def _torchvision_video(name: str) -> Preset:
    from braid.extractors.torchvision_video import NETWORKS

    weights: Any = get_model_weights(name)
    transform, network = weights.DEFAULT.transforms(), NETWORKS[name]
    crop, side = transform.crop_size[0], min(transform.resize_size)
    return Preset(network.clip_length, network.frame_rate, crop, side, tuple(transform.mean), tuple(transform.std))


def _timm(name: str) -> Preset:
    from timm.models import PretrainedCfg, get_pretrained_cfg

    known = get_pretrained_cfg(name) or PretrainedCfg()
    crop = known.input_size[-1]
    return Preset(1, math.inf, crop, int(crop / (known.crop_pct or CROPPED)), tuple(known.mean), tuple(known.std))


PRESETS = {"x3d": _x3d, "torchvision_video": _torchvision_video, "timm": _timm}
