"""Networks on single frames from timm (Wightman, 2019), by name, with the transform that timm gives for them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
from timm.data.config import resolve_model_data_config
from timm.data.imagenet_info import infer_imagenet_subset
from timm.data.transforms_factory import create_transform
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import Tensor, nn

from braid.errors import ConfigError
from braid.extractors.base import build
from braid.extractors.frames import FrameExtractor


class TimmFrames(FrameExtractor):
    """Tokens are what the classifier reads, scores those of ImageNet where the network was trained for its classes.

    The last layer of some networks (CLIP's image towers) is a projection and no classifier: they give no scores.

    Parameters
    ----------
    settings : mapping
        `architecture` (a name of timm, with or without the tag of its weights), `weights` and what `FrameExtractor`
        reads.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.architecture = settings["architecture"]
        self.check(settings)
        self.network = build(settings, self._make, partial(as_timm_loads, self.architecture))
        self.follow(create_transform(**resolve_model_data_config(self.network)))
        self.has_classes = infer_imagenet_subset({"num_classes": self.network.num_classes}) is not None

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        check_name(settings["architecture"])

    def _make(self) -> nn.Module:
        return timm.create_model(self.architecture)

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.network.forward_features(batch)
        tokens = self.network.forward_head(features, pre_logits=True)
        return tokens, self.network.forward_head(features) if self.has_classes else None


def as_timm_loads(architecture: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a published state dict as timm itself would load it: it renames and reshapes some.

    Channels of the input and classes are those of the file. What timm cannot load comes back as it is, for the caller
    to say what does not fit; so does what timm would interpolate, as it does the positions and patches of a transformer
    to those of another one: the numbers would be of neither.
    """
    known = get_pretrained_cfg(architecture) or PretrainedCfg()
    kernels = next((state[name] for name in first_convolutions(architecture) if name in state), None)
    head = state.get(f"{known.classifier}.weight")
    n_channels = known.input_size[0] if kernels is None else kernels.shape[1]
    n_classes = known.num_classes if head is None else len(head)
    overlay = {
        "state_dict": dict(state),  # which timm changes
        "num_classes": n_classes,
        "input_size": (n_channels, *known.input_size[1:]),
    }
    try:
        adapted = timm.create_model(
            architecture,
            pretrained=True,
            in_chans=n_channels,
            num_classes=n_classes,
            pretrained_cfg_overlay=overlay,
        ).state_dict()
    except (KeyError, RuntimeError):
        return state
    same = all(state[name].numel() == adapted[name].numel() for name in state.keys() & adapted.keys())
    return adapted if same else state


def first_convolutions(architecture: str) -> tuple[str, ...]:
    """Return the names of the weights that read the input; RepVGG has two, and of some networks timm names none."""
    names = (get_pretrained_cfg(architecture) or PretrainedCfg()).first_conv or ()
    return tuple(f"{name}.weight" for name in ([names] if isinstance(names, str) else names))


def check_name(name: str) -> None:
    """Refuse a name that timm does not have, and name those near it."""
    known = {*timm.list_models(), *timm.list_pretrained()}
    if name not in known:
        near = get_close_matches(name, sorted(known))
        raise ConfigError(
            f"timm has no network {name!r}; "
            + (f"near it are {', '.join(near)}" if near else "`timm.list_models()` has all names")
        )
