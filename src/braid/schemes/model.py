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
from braid.schemes.batch import Batch
from braid.schemes.registry import REGISTRY

CONSTANT = 1e-6
"""A feature that varies by less than this share of its largest magnitude is a constant with rounding noise."""


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


class TokenStandardiser(Standardiser):
    """The same over all tokens of the training items; times stay as they are, and rows of NaN too."""

    def fit(self, x: np.ndarray) -> Standardiser:
        """Take the statistics of float32 [N, T, 2 + D], N >= 1, and return self."""
        return super().fit(x[~np.isnan(x[..., 0])][:, 2:])

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        return torch.cat([x[..., :2], (x[..., 2:] - self.mean) * self.scale], dim=2)


class Unscaled(nn.Module):
    """Log probabilities as they are; zeros where an item has none."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def fit(self, x: np.ndarray) -> Unscaled:
        """Return self."""
        return self

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        return torch.where(present[:, None], x, 0)


SCALINGS = {"embedding": Standardiser, "tokens": TokenStandardiser, "scores": Unscaled, "predictions": Unscaled}
"""What a scheme reads → how it is scaled."""


class Model(nn.Module):
    """Raw inputs in, class probabilities out.

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

    def fit_scaling(self, x: list[np.ndarray]) -> None:
        """Take the statistics of what the training items have of each modality."""
        for scaling, values in zip(self.scalings, x, strict=True):
            cast("Standardiser | Unscaled", scaling).fit(values)

    def standardise(
        self, features: list[np.ndarray], present: np.ndarray, labels: np.ndarray, groups: np.ndarray
    ) -> Batch:
        """Return float32 [N, …], bool [N, M], int64 [N] and int64 [N] as what a scheme reads."""
        mask = torch.from_numpy(present)
        return Batch(
            [
                scaling(torch.from_numpy(x), mask[:, m])
                for m, (scaling, x) in enumerate(zip(self.scalings, features, strict=True))
            ],
            mask,
            torch.from_numpy(labels),
            torch.from_numpy(groups),
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> np.ndarray:
        """Return class probabilities of standardised items, float32 [N, C]; rows sum to 1 in float32."""
        p = self.prior.repeat(len(batch), 1)
        usable = batch.present.any(dim=1).nonzero().flatten()
        if len(usable):
            p[usable] = self.scheme.predict(batch if len(usable) == len(batch) else batch.rows(usable)).exp()
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
