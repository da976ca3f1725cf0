"""X3D's official files, from PyTorchVideo's model zoo; no checksum or size is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid.errors import WeightsError
from braid.weights.record import Weights

ARCHITECTURES = ("xs", "s", "m", "l")


def official(settings: Mapping[str, Any]) -> Weights:
    """Return the file of `architecture`."""
    name = settings["architecture"]
    if name not in ARCHITECTURES:
        raise WeightsError(f"X3D has no official weights for {name!r}; choose from {', '.join(ARCHITECTURES)}")
    file = f"X3D_{name.upper()}.pyth"
    return Weights(
        file=file,
        url=f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{file}",
        sha256="",
        licence="Apache-2.0",
        citation="Feichtenhofer, X3D: expanding architectures for efficient video recognition, CVPR 2020",
    )
