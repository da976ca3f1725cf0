"""What only the libraries know of the settings of backbones, asked before the first job of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from braid.backbones import inputs
from braid.backbones.registry import REGISTRY
from braid.errors import BraidError, ConfigError
from braid.extractors.logmel import LogMelNetwork
from braid.extractors.timm_frames import check_name


def check_backbones(backbones: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse settings that a backbone could not be constructed with.

    Parameters
    ----------
    backbones : mapping
        The section of that name of the config, complete.

    Raises
    ------
    ConfigError
        With a sentence for each backbone that has such settings.
    """
    wrong = []
    for name, settings in backbones.items():
        try:
            if settings["type"] == "timm":
                check_name(settings["architecture"])
            if settings["type"] == "logmel":
                LogMelNetwork.check(settings)
            n_channels = inputs.make(settings).n_channels
            with torch.device("meta"):  # where a network has shapes and no numbers
                REGISTRY[settings["type"]].load()(settings, n_channels, n_classes=2)
        except BraidError as error:
            wrong.append(f"config key backbones.{name}: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
