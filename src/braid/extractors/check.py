"""What only the libraries know of the settings of extractors, asked before the first job of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid.errors import BraidError, ConfigError
from braid.extractors.registry import REGISTRY


def check_extractors(extractors: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse settings that an extractor could not be constructed with.

    Parameters
    ----------
    extractors : mapping
        The section of that name of the config, complete.

    Raises
    ------
    ConfigError
        With a sentence for each extractor that has such settings.
    """
    wrong = []
    for name, settings in extractors.items():
        try:
            if REGISTRY[settings["type"]].checked:
                REGISTRY[settings["type"]].load().check(settings)
        except BraidError as error:
            wrong.append(f"config key extractors.{name}: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
