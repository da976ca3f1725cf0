"""The input of a backbone, by its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid.backbones.base import Clips, Input
from braid.backbones.pictures import INPUTS
from braid.backbones.sound import Sound

__all__ = ["MIDDLE", "Clips", "Input", "make"]

MIDDLE: Mapping[str, Any] = {"views": 1, "placement": "even", "crops": 1, "crop_layout": "line"}
"""One view and one crop, both in the middle."""


def make(settings: Mapping[str, Any], views: Mapping[str, Any] = MIDDLE) -> Input:
    """Return the input of a backbone.

    Parameters
    ----------
    settings : mapping
        The completed entry of the backbone.
    views : mapping
        `views`, `placement`, `crops` and `crop_layout` of an extractor; in training there is but one view.

    Raises
    ------
    ConfigError
        The settings contradict each other.
    """
    return Sound(settings, views) if settings["type"] == "logmel" else INPUTS[settings["input"]](settings, views)
