"""Networks of torchvision: whatever its own tables of weights say, the default where there are several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid.errors import WeightsError
from braid.weights.record import Weights, hash_in

VIDEO = ("r2plus1d_18", "r3d_18", "mc3_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
RAFT = ("raft_large", "raft_small")

RESNETS = "Tran et al., A closer look at spatiotemporal convolutions for action recognition, CVPR 2018"
SWIN = "Liu et al., Video Swin transformer, CVPR 2022"
CITATIONS = {
    "r2plus1d_18": RESNETS,
    "r3d_18": RESNETS,
    "mc3_18": RESNETS,
    "s3d": "Xie et al., Rethinking spatiotemporal feature learning, ECCV 2018",
    "mvit_v1_b": "Fan et al., Multiscale vision transformers, ICCV 2021",
    "mvit_v2_s": "Li et al., MViTv2: improved multiscale vision transformers, CVPR 2022",
    "swin3d_t": SWIN,
    "swin3d_s": SWIN,
    "swin3d_b": SWIN,
    **dict.fromkeys(RAFT, "Teed and Deng, RAFT: recurrent all-pairs field transforms for optical flow, ECCV 2020"),
}
TORCHVISION = "TorchVision maintainers and contributors, TorchVision: PyTorch's computer vision library, 2016"
SWAG = "https://github.com/facebookresearch/SWAG/blob/main/LICENSE"


def video(settings: Mapping[str, Any]) -> Weights:
    """Return the Kinetics-400 weights of a network on several frames, by `architecture`."""
    name = settings["architecture"]
    if name not in VIDEO:
        raise WeightsError(f"torchvision has no weights of a video network {name!r}; choose from {', '.join(VIDEO)}")
    return _default(name)


def r2plus1d(settings: Mapping[str, Any]) -> Weights:
    """Return the RGB weights that R(2+1)D-18 on flow starts from."""
    return _default("r2plus1d_18")


def flow(settings: Mapping[str, Any]) -> Weights:
    """Return the weights of RAFT by `architecture`: the ones that torchvision has as its default."""
    name = settings["architecture"]
    if name not in RAFT:
        raise WeightsError(
            f"torchvision has no weights of an optical flow network {name!r}; choose from {', '.join(RAFT)}"
        )
    return _default(name)


def frames(settings: Mapping[str, Any]) -> Weights:
    """Return the default weights of a network on single frames, by `architecture`, any name of torchvision."""
    from torchvision.models import list_models

    name = settings["architecture"]
    if name not in list_models():
        raise WeightsError(f"torchvision has no network {name!r}; `torchvision.models.list_models()` has all names")
    return _default(name)


def _default(name: str) -> Weights:
    from torchvision.models import get_model_weights

    weights: Any = get_model_weights(name)
    chosen = weights.DEFAULT
    limited = chosen.meta.get("license") == SWAG
    return Weights(
        file=chosen.url.rpartition("/")[2],
        url=chosen.url,
        sha256=hash_in(chosen.url),
        licence="CC-BY-NC-4.0" if limited else chosen.meta.get("license", "BSD-3-Clause"),
        citation=CITATIONS.get(name, TORCHVISION),
        size_bytes=round(chosen.meta["_file_size"] * 2**20),
        non_commercial=limited,
    )
