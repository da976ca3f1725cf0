"""The extractors that a config can name; reading this imports no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from braid.registry import Entry


@dataclass(frozen=True)
class ExtractorEntry(Entry):
    """An extractor: `Entry`, what it reads, and which official weights it wants.

    Attributes
    ----------
    source : {"audio", "video", "flow"}
        A stream of the decoded shard, or the flow shard.
    official : str
        ``module:function``, which returns the official weights of the extractor's settings as a
        `braid.weights.Weights`. Empty where there is no network.
    fitted : bool
        It learns from the training items of a fold, so that its features are those of a fold.
    """

    source: Literal["audio", "video", "flow"]
    official: str
    fitted: bool = False


REGISTRY: dict[str, ExtractorEntry] = {
    "passt": ExtractorEntry("braid.extractors.passt:Passt", 1, "audio", "braid.weights.passt:official"),
    "clip": ExtractorEntry("braid.extractors.clip:Clip", 1, "video", "braid.weights.clip:official"),
    "torchvision_video": ExtractorEntry(
        "braid.extractors.torchvision_video:TorchvisionVideo", 1, "video", "braid.weights.torchvision:video"
    ),
    "flow_r2plus1d": ExtractorEntry(
        "braid.extractors.flow_r2plus1d:FlowR2Plus1d", 1, "flow", "braid.weights.torchvision:flow"
    ),
    "sift": ExtractorEntry("braid.words.sift:Sift", 1, "video", "", fitted=True),
}
