"""Networks on single frames from timm (Wightman, 2019), by name, with the transform that timm gives for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

import timm
from timm.data.config import resolve_model_data_config
from timm.data.imagenet_info import infer_imagenet_subset
from timm.data.transforms_factory import create_transform
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
        self.network = build(settings, self._make, self._adapt)
        self.follow(create_transform(**resolve_model_data_config(self.network)))
        self.has_classes = infer_imagenet_subset({"num_classes": self.network.num_classes}) is not None

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        check_name(settings["architecture"])

    def _make(self) -> nn.Module:
        return timm.create_model(self.architecture)

    def _adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a published state dict as timm itself would load it: it renames and reshapes some."""
        given = dict(state)  # which timm changes
        try:
            adapted = timm.create_model(
                self.architecture, pretrained=True, pretrained_cfg_overlay={"state_dict": given}
            ).state_dict()
        except (KeyError, RuntimeError):
            return state  # of which `build` will say what does not fit
        return adapted if is_same_size(state, adapted) else state

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.network.forward_features(batch)
        tokens = self.network.forward_head(features, pre_logits=True)
        return tokens, self.network.forward_head(features) if self.has_classes else None


def is_same_size(given: Mapping[str, Tensor], adapted: Mapping[str, Tensor], but: Collection[str] = ()) -> bool:
    """Return whether what timm makes of a file has as many numbers under each name, apart from the names `but`.

    timm interpolates the positions and patches of a transformer to those of another one: the numbers would be of
    neither.
    """
    names = (given.keys() & adapted.keys()) - set(but)
    return all(given[name].numel() == adapted[name].numel() for name in names)


def check_name(name: str) -> None:
    """Refuse a name that timm does not have, and name those near it."""
    known = {*timm.list_models(), *timm.list_pretrained()}
    if name not in known:
        near = get_close_matches(name, sorted(known))
        raise ConfigError(
            f"timm has no network {name!r}; "
            + (f"near it are {', '.join(near)}" if near else "`timm.list_models()` has all names")
        )
