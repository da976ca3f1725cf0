"""OpenL3's official files: Keras HDF5 on the branch `models` of its repository; no checksum or size is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid.errors import WeightsError
from braid.weights.record import Weights

INPUTS = ("mel256", "mel128", "linear")
CONTENTS = ("env", "music")


def audio(settings: Mapping[str, Any]) -> Weights:
    """Return the audio network for `input` (mel256, mel128, linear), trained on `content` (env, music)."""
    return _network("audio", settings)


def image(settings: Mapping[str, Any]) -> Weights:
    """Return the image network that was trained beside the audio network of the same `input` and `content`."""
    return _network("image", settings)


def _network(stream: str, settings: Mapping[str, Any]) -> Weights:
    for key, known in (("input", INPUTS), ("content", CONTENTS)):
        if settings[key] not in known:
            raise WeightsError(f"OpenL3 has no weights for {key} {settings[key]!r}; choose from {', '.join(known)}")
    file = f"openl3_{stream}_{settings['input']}_{settings['content']}-v0_4_0.h5.gz"
    return Weights(
        file=file,
        url=f"https://github.com/marl/openl3/raw/models/{file}",
        sha256="",
        licence="CC-BY-4.0",
        citation="Cramer et al., Look, listen, and learn more: design choices for deep audio embeddings, ICASSP 2019",
    )
