"""Inputs of backbones, their settings, and clips in memory that they read."""

from __future__ import annotations

from typing import Any

import numpy as np
from fake_clips import FakeClip

from braid import config
from braid.backbones.inputs import MIDDLE, Clips, Input, make

SMALL = {"crop": 32, "clip_length": 4, "frame_rate": 5.0}
"""Views of four frames, every fifth of a fake clip's."""


def settings(kind: str = "x3d", **changes: Any) -> dict[str, Any]:
    """Return the settings of a backbone: random weights, small views, else the schema's defaults."""
    properties = config.types("backbones")[kind]["properties"]
    rules = {name: config.resolve(rule, "backbones") for name, rule in properties.items()}
    defaults = {name: rule["default"] for name, rule in rules.items() if "default" in rule}
    small = {key: value for key, value in SMALL.items() if key in properties}
    return {"type": kind, **defaults, "weights": "random", **small, **changes}


def video(kind: str = "rgb", views: dict[str, Any] | None = None, **changes: Any) -> Any:
    """Return the input of an X3D by the name of what it reads."""
    return make(settings(input=kind, flow="farneback", **changes), {**MIDDLE, **(views or {})})


def sound(views: dict[str, Any] | None = None, **changes: Any) -> Any:
    """Return the input of a log-mel network on views of a quarter of a second at 16 kHz."""
    few = {"architecture": "resnet18", "sample_rate": 16000, "n_fft": 512, "hop_length": 160, "n_mels": 40}
    return make(settings("logmel", **few, **{"seconds": 0.25, **changes}), {**MIDDLE, **(views or {})})


def clips(seed: int = 0, **changes: Any) -> Clips:
    """Return a fake clip as both shards have it."""
    clip = FakeClip(seed, **changes)
    return Clips(clip, clip)


def extent(source: Input, clip: Clips) -> tuple[float, float]:
    """Return the seconds that there are of a clip."""
    cover = source.cover(clip)
    return cover.start_seconds, cover.end_seconds


class Fixed:
    """A generator of random numbers that are given."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self, n: int) -> np.ndarray:
        return np.full(n, self.number)
