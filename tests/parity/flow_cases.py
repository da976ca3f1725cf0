"""Networks of optical flow."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import Outputs, case, checkpoint

from braid import config
from braid.flow.registry import REGISTRY as FLOW

PIXELS = 1e-4


def _flow_method(kind: str, file: Path, architecture: str, **changes: Any) -> Any:
    rules = {name: config.resolve(rule, "flow") for name, rule in config.types("flow")[kind]["properties"].items()}
    defaults = {name: rule["default"] for name, rule in rules.items() if "default" in rule}
    chosen = {"type": kind, **defaults, "architecture": architecture, "weights": str(file), **changes}
    with contextlib.redirect_stdout(io.StringIO()):
        return FLOW[kind].load()(chosen, 1, "cpu", 2)


def _three_frames(height: int, width: int) -> np.ndarray:
    """Return frames, uint8 [3, height, width, 3], of which the pairs move differently."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 16 + 4, width // 16 + 4, 3), np.uint8)
    scene = coarse.repeat(16, axis=0).repeat(16, axis=1)
    return np.stack([scene[y : y + height, x : x + width] for y, x in ((8, 8), (11, 6), (9, 20))])


@case("torchvision", "raft_large", "raft_small", pixels=PIXELS)
def raft(file: Path, architecture: str) -> Outputs:
    """Flow of two pairs of frames that need no padding, three updates; motion of up to 20 pixels comes out."""
    from torchvision.models import get_model

    network = get_model(architecture)
    checkpoint(network, file, gain=1.0)
    frames = _three_frames(128, 160)
    method = _flow_method("raft", file, architecture, updates=3)
    encoded = method.encode(frames)
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1
    theirs = network(pictures[:2], pictures[1:], num_flow_updates=3)[-1]
    return method.match(encoded[:2], encoded[1:]), theirs


@case("ptlflow", "gmflow", "gmflow_refine", pixels=PIXELS)
def gmflow(file: Path, architecture: str) -> Outputs:
    """Flow of two pairs of frames that the reference pads.

    The gain is small, for large features make matching a choice between equals, which rounding decides.
    """
    import ptlflow  # pyright: ignore[reportMissingImports]

    network = ptlflow.get_model(architecture)
    checkpoint(network, file, under="state_dict", gain=0.35)
    frames = _three_frames(120, 154)
    method = _flow_method("gmflow", file, architecture)
    encoded = method.encode(frames)
    bgr = torch.from_numpy(frames[..., ::-1].copy()).permute(0, 3, 1, 2).contiguous() / 255
    theirs = network({"images": torch.stack([bgr[:2], bgr[1:]], dim=1)})["flows"][:, 0]
    return method.match(encoded[:2], encoded[1:]), theirs
