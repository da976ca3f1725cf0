"""The official weights that `braid weights list` shows, and how settings are named on the command line.

A name is `<type>/<architecture>`. Types that take any name of a library are listed with the ones that are tested;
`braid weights list timm/resnet50.a1_in1k` shows any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from braid.errors import WeightsError
from braid.weights import gmflow, openl3, passt, torchvision, x3d
from braid.weights.choice import OFFICIAL

OPENL3 = tuple(f"{sound}-{content}" for sound in openl3.INPUTS for content in openl3.CONTENTS)
LISTED: dict[str, tuple[str, ...]] = {
    "passt": tuple(passt.FILES),
    "openl3_audio": OPENL3,
    "openl3_image": OPENL3,
    "logmel": ("regnety_064.ra3_in1k", "resnest50d.in1k", "tf_efficientnet_b1.ns_jft_in1k", "hrnet_w18.ms_aug_in1k"),
    "clip": ("ViT-B-32-quickgelu", "RN101-quickgelu", "RN50x4-quickgelu", "ViT-B-16-SigLIP2", "PE-Core-B-16"),
    "torchvision": ("convnext_base", "resnet152"),
    "timm": (
        "convnext_base.fb_in1k",
        "hrnet_w18.ms_aug_in1k",
        "regnety_064.ra3_in1k",
        "resnest50d.in1k",
        "tf_efficientnet_b1.ns_jft_in1k",
    ),
    "torchvision_video": torchvision.VIDEO,
    "x3d": x3d.ARCHITECTURES,
    "transformers_video": ("MCG-NJU/videomae-base-finetuned-kinetics", "facebook/vjepa2-vitl-fpc64-256"),
    "flow_r2plus1d": ("r2plus1d_18",),
    "raft": torchvision.RAFT,
    "gmflow": tuple(f"{architecture}-{data}" for architecture, data in gmflow.URLS),
}
"""Type → architectures."""
KEYS = {
    "openl3_audio": ("input", "content"),
    "openl3_image": ("input", "content"),
    "gmflow": ("architecture", "trained_on"),
}
"""Settings that tell the weights of a type apart, joined by a hyphen in a name, where it is not `architecture`."""


def listed() -> Iterator[str]:
    """Yield the name of everything that is listed, of the types that there are."""
    for kind in OFFICIAL:
        for architecture in LISTED.get(kind, ()):
            yield f"{kind}/{architecture}"


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings that a name stands for, as far as weights go.

    Raises
    ------
    WeightsError
        It is no name of this form, or of a type that does not exist or has no network.
    """
    kind, _, rest = name.partition("/")
    if kind not in OFFICIAL or not rest:
        raise WeightsError(
            f"{name!r} must be <type>/<architecture> with a type of {', '.join(OFFICIAL)}; `braid weights list` shows "
            f"what there is"
        )
    keys = KEYS.get(kind, ("architecture",))
    values = rest.split("-") if len(keys) > 1 else [rest]
    if len(values) != len(keys):
        raise WeightsError(f"{name!r} must be {kind}/{'-'.join(f'<{key}>' for key in keys)}")
    return {"type": kind, "weights": "pretrained", **dict(zip(keys, values, strict=True))}


def name_of(settings: Mapping[str, Any]) -> str:
    """Return the name of the official weights that settings ask for."""
    kind = settings["type"]
    keys = KEYS.get(kind, ("architecture",))
    return f"{kind}/{'-'.join(str(settings[key]) for key in keys if key in settings) or LISTED[kind][0]}"
