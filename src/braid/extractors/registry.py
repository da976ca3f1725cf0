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
    source : {"audio", "video", "flow", "backbone"}
        A stream of the decoded shard, the flow shard, or what the backbone reads that it names.
    official : str
        ``module:function``, which returns the official weights of the extractor's settings as a
        `braid.weights.Weights`. Empty where there is no network.
    fitted : bool
        It learns from the training items of a fold, so that its features are those of a fold.
    checked : bool
        Its class has a `check` of settings that the schema cannot know to be wrong; to import another one before the
        first job of a run would be of no use.
    """

    source: Literal["audio", "video", "flow", "backbone"]
    official: str
    fitted: bool = False
    checked: bool = False


REGISTRY: dict[str, ExtractorEntry] = {
    "passt": ExtractorEntry("braid.extractors.passt:Passt", 1, "audio", "braid.weights.passt:official"),
    "openl3_audio": ExtractorEntry(
        "braid.extractors.openl3_audio:OpenL3Audio", 1, "audio", "braid.weights.openl3:audio"
    ),
    "logmel": ExtractorEntry(
        "braid.extractors.logmel:LogMelNetwork", 1, "audio", "braid.weights.timm:official", checked=True
    ),
    "clip": ExtractorEntry("braid.extractors.clip:Clip", 2, "video", "braid.weights.clip:official", checked=True),
    "timm": ExtractorEntry(
        "braid.extractors.timm_frames:TimmFrames", 1, "video", "braid.weights.timm:official", checked=True
    ),
    "torchvision": ExtractorEntry(
        "braid.extractors.torchvision_frames:TorchvisionFrames",
        1,
        "video",
        "braid.weights.torchvision:frames",
        checked=True,
    ),
    "openl3_image": ExtractorEntry(
        "braid.extractors.openl3_image:OpenL3Image", 1, "video", "braid.weights.openl3:image"
    ),
    "torchvision_video": ExtractorEntry(
        "braid.extractors.torchvision_video:TorchvisionVideo", 1, "video", "braid.weights.torchvision:video"
    ),
    "x3d": ExtractorEntry("braid.extractors.x3d:X3d", 2, "video", "braid.weights.x3d:official"),
    "transformers_video": ExtractorEntry(
        "braid.extractors.transformers_video:TransformersVideo",
        1,
        "video",
        "braid.weights.huggingface:video",
        checked=True,
    ),
    "flow_r2plus1d": ExtractorEntry(
        "braid.extractors.flow_r2plus1d:FlowR2Plus1d", 2, "flow", "braid.weights.torchvision:r2plus1d"
    ),
    "sift": ExtractorEntry("braid.words.sift:Sift", 1, "video", "", fitted=True),
    "backbone": ExtractorEntry("braid.extractors.backbone:Trained", 2, "backbone", "", fitted=True),
}
