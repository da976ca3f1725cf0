"""Checkpoints of the official layout: the names and shapes of the release, filled from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn


def save(network: nn.Module, path: Path) -> Path:
    """Fill `network` from a seed, keep the scale of each parameter, and save it as its publisher does."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            scale = max(float(value.std(correction=0)), 0.02)
            value.copy_(0.5 + noise if "running_var" in name else value.mean() + (noise - 0.5) * 3.4 * scale)
    torch.save(network.state_dict(), path)
    return path


def token(extractor: Any, clip: Any, view: Any) -> torch.Tensor:
    """Return what an extractor gives for one view, [D]."""
    with torch.inference_mode():
        return extractor.forward(extractor.load(clip, view)[None])[0][0]
