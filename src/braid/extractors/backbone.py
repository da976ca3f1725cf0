"""Backbones as extractors: what a network of this project says of items, once it is trained.

Letters: B views, T frames of a view, C' channels that are read, D numbers of an embedding, T′ steps of a view, E
numbers of a step, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from braid import weights
from braid.backbones import inputs, model
from braid.backbones.shards import KINDS
from braid.extractors.base import Extractor
from braid.extractors.extract import write_features
from braid.extractors.plan import Cover, View
from braid.extractors.sizing import AUTO


class Trained(Extractor):
    """Tokens are the embeddings of views or, with `tokens: steps`, the steps in time of the network's last feature map.

    The logits of views are those of the labels that the backbone was trained on. They are of single views, whatever
    consensus of segments it was trained by: how views are combined is for `scores` to say.

    Parameters
    ----------
    settings : mapping
        `tokens`, `views`, `placement`, `crops` and `crop_layout`.
    path : the trained backbone, `model.safetensors`
    """

    def __init__(self, settings: Mapping[str, Any], path: Path) -> None:
        self.backbone = model.load(path)
        self.network, self.class_names = self.backbone.network, self.backbone.classes
        self.input = inputs.make(self.backbone.settings, settings)
        self.least_seconds, self.short_rule = self.input.least_seconds, self.input.short_rule
        self.gives_steps = settings["tokens"] == "steps"

    def cover(self, clip: inputs.Clips) -> Cover:
        return self.input.cover(clip)

    def views(self, clip: inputs.Clips, start: float, end: float) -> list[View]:
        return self.input.views(clip, start, end)

    def load(self, clip: inputs.Clips, view: View) -> Tensor:
        """Return what is read of a view, uint8 or float32 [T, C', h, w], of sound [n]: the device makes more of it."""
        return self.input.centred(clip, view)

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings [B, D] or steps [B, T′, E], and the logits [B, K]."""
        embedding, steps = self.network.features(self.input.encode(batch[:, None])[:, 0])
        return steps if self.gives_steps else embedding, self.network.classify(embedding)


class Joined:
    """The clips of the shards of one name, as an input reads them.

    Parameters
    ----------
    paths : mapping
        Of each kind, `decoded` or `flow`, the shard.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        with ExitStack() as stack:
            self.shards = {kind: stack.enter_context(KINDS[kind](path)) for kind, path in paths.items()}
            self._open = stack.pop_all()

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open.__exit__(*exception)

    def __getitem__(self, clip: str) -> inputs.Clips:
        return inputs.Clips(**{kind: shard[clip] for kind, shard in self.shards.items()})


def extract_trained(
    items: pl.DataFrame,
    sources: Mapping[str, Path],
    path: Path,
    out: Path,
    settings: Mapping[str, Any],
    threads: int,
    device: str,
    *,
    batch_size: int = AUTO,
    memory_mb: int = 8000,
) -> None:
    """Write the feature shard `out` of a trained backbone; all else is as in `braid.extractors.extract`.

    Parameters
    ----------
    sources : mapping
        Of each kind of shard that the backbone reads, `decoded` or `flow`, the one with the clips of the items.
    path : the trained backbone, `model.safetensors`
    """
    extractor = Trained(settings, path)
    with Joined(sources) as shard:
        source = {
            kind: {key: value for key, value in each.attrs.items() if key != "clips"}
            for kind, each in shard.shards.items()
        }
        attrs = {"weights": weights.sha256(path), "backbone": extractor.backbone.settings, "source": source}
        write_features(items, shard, out, extractor, settings, attrs, threads, device, batch_size, memory_mb)
