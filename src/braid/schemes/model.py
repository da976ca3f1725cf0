"""A trained scheme with all that it needs to be used again: scaling, network, class prior, names.

Letters: N items, M modalities, D_m numbers of modality m, C classes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from braid.errors import StoreError
from braid.files import whole
from braid.schemes.base import Scheme
from braid.schemes.batch import Selection
from braid.schemes.registry import REGISTRY
from braid.schemes.scaling import SCALINGS, Scaling


@dataclass(frozen=True)
class Description:
    """What a model is, as far as it is not a tensor."""

    classes: list[str]
    features: list[str]
    dims: list[int]
    settings: dict[str, Any]
    fold: str
    seed: int


class Model(nn.Module):
    """From what an item has to class probabilities: how raw inputs are scaled, and a scheme that reads the scaled ones.

    An item that has none of the modalities gets the class prior of the training items, so that all schemes answer for
    the same items.
    """

    prior: Tensor

    def __init__(self, description: Description) -> None:
        super().__init__()
        self.description = description
        settings = description.settings
        n_classes = len(description.classes)
        self.scheme: Scheme = REGISTRY[settings["type"]].load()(
            description.features, description.dims, n_classes, settings
        )
        self.scalings = nn.ModuleList(map(SCALINGS[self.scheme.reads], description.dims))
        self.register_buffer("prior", torch.full((n_classes,), 1 / n_classes))

    def how_scaled(self) -> list[Scaling]:
        """Return what is done to each modality, for `braid.schemes.inputs.scaled`."""
        return [cast(Scaling, each) for each in self.scalings]

    @torch.no_grad()
    def predict(self, items: Selection) -> np.ndarray:
        """Return class probabilities of scaled items, float32 [B, C]; rows sum to 1 in float32."""
        p = self.prior.repeat(len(items), 1)
        usable = items.present.any(dim=1).nonzero().flatten()
        if len(usable):
            p[usable] = self.scheme.predict(items.rows(usable)).exp()
        return p.numpy()

    def save(self, path: Path) -> None:
        """Write tensors and description to a safetensors file."""
        metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in asdict(self.description).items()}
        with whole(path) as beside:
            save_file(self.state_dict(), beside, metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read what `save` wrote.

        Raises
        ------
        StoreError
            The file is missing, truncated or no model of braid.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
            model = cls(Description(**{key: json.loads(value) for key, value in metadata.items()}))
            model.load_state_dict(load_file(path))
        except Exception as error:
            raise StoreError(f"{path} is no model of braid ({error}); delete it and train again.") from error
        return model.eval()
