"""The backbones that a config can name; reading this imports no network.

A backbone is made by ``make(settings, n_channels, n_classes)``, see `braid.backbones.networks`. Official weights are
those of the extractor of the same type. A change of the training that all share raises the version of every entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid.registry import Entry

REGISTRY: dict[str, Entry] = {
    "x3d": Entry("braid.backbones.networks:x3d", 3),
    "torchvision_video": Entry("braid.backbones.networks:torchvision_video", 3),
    "timm": Entry("braid.backbones.networks:timm_frames", 2),
    "logmel": Entry("braid.backbones.networks:logmel", 1),
}

ORDER_TEST_VERSION = 2
"""Raised when `braid.backbones.order` gives other numbers for the same backbone."""

SOURCES: dict[str, tuple[str, ...]] = {
    "rgb": ("decoded",),
    "flow": ("flow",),
    "strided_flow": ("decoded",),
    "flow_grey": ("decoded", "flow"),
    "zeros_grey": ("decoded", "flow"),
}
"""Shards that each `input` reads: `decoded`, `flow`."""


def sources(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the shards that a backbone reads; sound is in those that are decoded."""
    return SOURCES[settings["input"]] if "input" in settings else ("decoded",)
