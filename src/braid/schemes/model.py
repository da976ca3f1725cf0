"""A trained scheme with all that it needs to be used again: scaling, network, class prior, names.

Letters: N items, M modalities, D_m numbers of modality m, C classes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from braid.errors import StoreError
from braid.files import whole
from braid.schemes.batch import Batch
from braid.schemes.registry import REGISTRY

CONSTANT = 1e-6
"""A feature that varies by less than this share of its largest magnitude is a constant with rounding noise."""

CHUNK = 16_384
"""Items that are predicted at once; bounds memory."""


@dataclass(frozen=True)
class Description:
    """What a model is, as far as it is not a tensor."""

    classes: list[str]
    features: list[str]
    dims: list[int]
    settings: dict[str, Any]
    fold: str
    seed: int


class Standardiser(nn.Module):
    """z = (x - mean) / standard deviation, with the statistics of the training items that have the modality.

    A constant feature, and every feature of an item that lacks the modality, becomes 0.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def fit(self, x: np.ndarray) -> Standardiser:
        """Take the statistics of float32 [N, D], N >= 1, and return self."""
        deviation = x.std(axis=0, dtype=np.float64)
        varies = deviation > CONSTANT * np.abs(x).max(axis=0)
        scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
        self.mean = torch.from_numpy(x.mean(axis=0, dtype=np.float64).astype(np.float32))
        self.scale = torch.from_numpy(scale.astype(np.float32))
        return self

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        return torch.where(present[:, None], (x - self.mean) * self.scale, 0)


class Model(nn.Module):
    """Raw features in, class probabilities out.

    An item that has none of the modalities gets the class prior of the training items, so that all schemes answer for
    the same items.
    """

    prior: Tensor

    def __init__(self, description: Description) -> None:
        super().__init__()
        self.description = description
        self.standardisers = nn.ModuleList(map(Standardiser, description.dims))
        settings = description.settings
        n_classes = len(description.classes)
        self.scheme = REGISTRY[settings["type"]].load()(description.features, description.dims, n_classes, settings)
        self.register_buffer("prior", torch.full((n_classes,), 1 / n_classes))

    def standardise(self, features: list[np.ndarray], present: np.ndarray, labels: np.ndarray) -> Batch:
        """Return float32 [N, D_m], bool [N, M] and int64 [N] as what a scheme reads."""
        mask = torch.from_numpy(present)
        return Batch(
            [
                standardiser(torch.from_numpy(x), mask[:, m])
                for m, (standardiser, x) in enumerate(zip(self.standardisers, features, strict=True))
            ],
            mask,
            torch.from_numpy(labels),
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> np.ndarray:
        """Return class probabilities of standardised items, float32 [N, C]; rows sum to 1 in float32."""
        self.eval()
        p = self.prior.repeat(len(batch), 1)
        usable = batch.present.any(dim=1).nonzero().flatten()
        for which in usable.split(CHUNK):
            part = batch.rows(which)
            p[which] = self.scheme(part.features, part.present).exp()
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
