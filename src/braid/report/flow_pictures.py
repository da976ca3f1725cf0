"""Example clips beside their flow, as pictures in a page.

Hues are directions, and colours are full at a speed that is the same for all clips, methods and scales, so that the
pictures compare.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from braid.files import write_text
from braid.flow.picture import flow_picture
from braid.store.decoded import DecodedShard
from braid.store.flow import FlowShard

BOUND_PIXELS = 5
"""Speed of the full colours, in pixels of the decoded frame from one frame to the next."""
N_PAIRS = 4
HEIGHT = 72
QUALITY = 75
GAP = 2
WHEEL = 65


def draw_flow(
    examples: Sequence[Mapping[str, str]], decoded: Mapping[str, Path], flow: Mapping[str, Path], out: Path
) -> None:
    """Write pictures of one clip a class, the first that has flow.

    Parameters
    ----------
    examples : sequence of mapping
        As `braid.report.examples.choose` returns them.
    decoded, flow : mapping of shard to path
    out : Path
        A JSON file: `bound` in pixels of the decoded frame, `wheel`, and `examples` with label, video, status, pairs,
        the mean speed in pixels of the decoded frame, and the strips `frames` and `flow`. Pictures are data URLs.

    Raises
    ------
    StoreError
        A shard cannot be read.
    """
    shown = []
    for _, candidates in groupby(examples, key=itemgetter("label")):
        for example in candidates:
            shard = example["shard"]
            with DecodedShard(decoded[shard]) as pictures, FlowShard(flow[shard]) as motion:
                clip = motion[example["clip"]]
                if clip.n_pairs:
                    row = {key: example[key] for key in ("label", "video")} | {"status": clip.status}
                    shown.append(row | _strips(pictures[example["clip"]], clip))
                    break
    write_text(out, json.dumps({"bound": BOUND_PIXELS, "wheel": _url(_wheel(), ".png"), "examples": shown}))


def _strips(decoded: Any, flow: Any) -> dict[str, Any]:
    """Return pictures of `N_PAIRS` moments, evenly spaced over the clip, with the flow from each."""
    n = min(N_PAIRS, flow.n_pairs)
    at = (np.arange(n) + 0.5) * flow.n_pairs // n
    frames, pixels = decoded.frames(at.astype(int)), torch.from_numpy(flow.pairs(at.astype(int)))
    ratio = torch.tensor([frames.shape[2] / pixels.shape[3], frames.shape[1] / pixels.shape[2]])
    pixels = pixels * ratio[:, None, None]
    colours = (flow_picture(pixels, BOUND_PIXELS) * 255).round().byte().movedim(1, -1).numpy()
    return {
        "pairs": flow.n_pairs,
        "mean_pixels": round(float(torch.hypot(*pixels.unbind(1)).mean()), 2),
        "frames": _url(_strip(frames), ".jpg"),
        "flow": _url(_strip(colours), ".jpg"),
    }


def _strip(pictures: np.ndarray) -> np.ndarray:
    """Return pictures, uint8 [n, H, W, 3], small and side by side, a white gap after each."""
    width = max(1, round(pictures.shape[2] * HEIGHT / pictures.shape[1]))
    small = np.stack([cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA) for picture in pictures])
    return np.hstack(list(np.pad(small, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)))


def _wheel() -> np.ndarray:
    """Return what the colours mean, uint8 [WHEEL, WHEEL, 3]: the flow that points away from the centre."""
    across = torch.linspace(-1, 1, WHEEL)
    flow = torch.stack(torch.meshgrid(across, across, indexing="xy"))
    inside = (flow.square().sum(0) <= 1).byte() * 255
    picture = (flow_picture(flow, 1) * 255).round().byte()
    return torch.cat([picture, inside[None]]).movedim(0, -1).numpy()


def _url(picture: np.ndarray, kind: str) -> str:
    swapped = cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if kind == ".jpg" else []
    _, content = cv2.imencode(kind, swapped, options)
    media = {".jpg": "jpeg", ".png": "png"}[kind]
    return f"data:image/{media};base64,{base64.b64encode(content.tobytes()).decode()}"
