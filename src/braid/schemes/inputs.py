"""What a scheme reads, from files to arrays: embeddings, tokens and scores of extractors, predictions of schemes.

Letters: N items, D_m numbers of modality m, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import log_softmax

from braid import manifest
from braid.config import inputs_of
from braid.errors import FeatureError, StoreError, TrainingError
from braid.fold import labelled
from braid.schemes.batch import READERS, Batch, Selection
from braid.schemes.fit import CHUNK
from braid.schemes.registry import REGISTRY
from braid.schemes.results import read_predictions
from braid.schemes.room import Room, besides, expect_no_order, is_in_file
from braid.schemes.scaling import SCALINGS, Scaling
from braid.store.features import FeatureShard
from braid.store.gather import Located, gather, locate, locate_tokens

SMALLEST_P = 1e-7
"""Probabilities are read as at least this, about the rounding of a float32 near 1, so that a 0 has a logarithm."""

LEARNT_FROM = {"embedding": "feature", "tokens": "tokens of the feature"}
"""What schemes read that learn the classes themselves, in words; the others read probabilities of classes."""

Read = tuple[np.ndarray, np.ndarray]
Paths = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Inputs:
    """What a scheme reads of the N items of a fold, each modality held once, in memory or in a file.

    Attributes
    ----------
    fold : str
    kind : str
        A value of `braid.schemes.base.Scheme.reads`.
    names : list of str [M]
        The modalities: extractors, or schemes.
    classes : list of str [C]
    x : list of float32 [N, …], one a modality
    present : bool [N, M]
        Which modalities an item has.
    labels : int64 [N]
        Classes, -1 where an item has no label.
    items, splits, groups : str [N]
    """

    fold: str
    kind: str
    names: list[str]
    classes: list[str]
    x: list[np.ndarray]
    present: np.ndarray
    labels: np.ndarray
    items: np.ndarray
    splits: np.ndarray
    groups: np.ndarray

    def of(self, modalities: Sequence[int]) -> Inputs:
        """Return the same items with only these modalities."""
        which = list(modalities)
        return replace(
            self, names=[self.names[m] for m in which], x=[self.x[m] for m in which], present=self.present[:, which]
        )

    @property
    def dims(self) -> list[int]:
        """D_m: how many numbers of each modality a scheme learns from, of tokens without their times."""
        return [_dim(x.shape, self.kind) for x in self.x]


@dataclass(frozen=True)
class Scaled(Inputs):
    """The same as a scheme reads it.

    Attributes
    ----------
    scalings : list of Scaling
        What was done to each modality.
    """

    scalings: list[Scaling]

    def of(self, modalities: Sequence[int]) -> Scaled:
        """Return the same items with only these modalities."""
        fewer = super().of(modalities)
        assert isinstance(fewer, Scaled)
        return replace(fewer, scalings=[self.scalings[m] for m in modalities])

    def selection(self) -> Selection:
        """Return all items."""
        groups = np.unique(self.groups, return_inverse=True)[1]
        columns = (torch.from_numpy(column) for column in (self.present, self.labels, groups))
        everything = Batch([torch.from_numpy(x) for x in self.x], *columns).selection()
        return replace(everything, readers=READERS if any(map(is_in_file, self.x)) else 0)


def scaled(data: Inputs, scalings: Sequence[Scaling] | None = None) -> Scaled:
    """Change the numbers of `data` in place to what a scheme reads; `data` is not to be used any more.

    Parameters
    ----------
    scalings : sequence of Scaling
        Of a trained scheme; without them they are fitted to the training items that have the modality.
    """
    if scalings is None:
        training = data.splits == "train"
        new = [SCALINGS[data.kind](dim) for dim in data.dims]
        scalings = [each.fit(x, training & here) for each, x, here in zip(new, data.x, data.present.T, strict=True)]
    for each, x, here in zip(scalings, data.x, data.present.T, strict=True):
        each.change(x, here)
        expect_no_order(x)
    return Scaled(**{field.name: getattr(data, field.name) for field in fields(Inputs)}, scalings=list(scalings))


def read_inputs(
    items: pl.DataFrame, fold: str, inputs: Mapping[str, Sequence[Path]], settings: Mapping[str, Any], room: Room
) -> Inputs:
    """Read what a scheme is trained on; the arguments and errors are those of `braid.schemes.train.train_scheme`."""
    classes = manifest.classes(items)
    kind = REGISTRY[settings["type"]].load().reads
    items = labelled(items, fold, classes, learns=kind in LEARNT_FROM)
    names = inputs_of(settings)
    reader = Reader(items, classes, settings, room)
    x, masks = zip(*getattr(reader, kind)({name: inputs[name] for name in names}), strict=True)
    present = np.stack(masks, axis=1)
    splits = items["split"].to_numpy()
    if kind in LEARNT_FROM:
        _check_modalities(names, present[splits == "train"], LEARNT_FROM[kind], fold)
    labels = items["code"].to_numpy(writable=True)
    columns = (items["item"].to_numpy(), splits, items["group"].to_numpy())
    return Inputs(fold, kind, names, classes, list(x), present, labels, *columns)


def _check_modalities(names: list[str], present: np.ndarray, what: str, fold: str) -> None:
    """Refuse a modality that no training item has; `present` is bool [n, M] of these."""
    for name, here in zip(names, present.T, strict=True):
        if not here.any():
            raise TrainingError(
                f"No training item of fold {fold} has the {what} {name!r}, so that nothing can be learned from it; "
                f"take it out of the scheme's `features` or put items that have it into `train`."
            )


@dataclass(frozen=True)
class Reader:
    """Reads the modalities of N items; each public method is a value of `braid.schemes.base.Scheme.reads`.

    Attributes
    ----------
    items : DataFrame
        Columns ``item``, ``shard``, ``clip``, ``start_seconds`` and ``split``.
    classes : list of str [C]
    settings : mapping
        The entry of the scheme.
    room : Room
        Holds embeddings and tokens. Scores and predictions are small: they are in memory.
    """

    items: pl.DataFrame
    classes: list[str]
    settings: Mapping[str, Any]
    room: Room

    def embedding(self, inputs: Paths) -> list[Read]:
        """Return float32 [N, D] and the mask bool [N] of each modality."""
        return self._held([locate(paths, self._names, self._shards) for paths in inputs.values()], "embedding")

    def tokens(self, inputs: Paths) -> list[Read]:
        """Return float32 [N, T, 2 + E], in front the seconds [start, end) since the item's start, and the mask."""
        most = self.settings["max_tokens"]
        found = self._held(
            [locate_tokens(paths, self._names, self._shards, most) for paths in inputs.values()], "tokens"
        )
        start = self.items["start_seconds"].fill_null(0.0).to_numpy().astype(np.float32)
        for x, _ in found:
            x[:, :, :2] -= start[:, None, None]
        return found

    def scores(self, inputs: Paths) -> list[Read]:
        """Return log probabilities by the classes of an extractor, float32 [N, C], and the mask."""
        return [self._scores(paths, name) for name, paths in inputs.items()]

    def predictions(self, inputs: Paths) -> list[Read]:
        """Return log probabilities of another scheme, float32 [N, C], and the mask of the items that it has seen.

        With `smooth_within_clip` they are the logarithm of the mean over the items of a clip that it has seen.
        """
        return [self._predictions(path) for (path,) in inputs.values()]

    def _held(self, located: list[Located], kind: str) -> list[Read]:
        """Read what was located to where there is room for it."""
        shapes = [each.shape for each in located]
        # A modality that no item has is 0 wide, and an error that says more than this would.
        dims = [max(1, _dim(shape, kind)) for shape in shapes]
        with torch.device("meta"):
            scheme = REGISTRY[self.settings["type"]].load()(
                list(inputs_of(self.settings)), dims, len(self.classes), self.settings
            )
        n_parameters = sum(parameter.numel() for parameter in scheme.parameters())
        at_once = max(CHUNK, self.settings["batch_size"])
        arrays = self.room.hold(shapes, besides(shapes, len(self.classes), n_parameters, at_once))
        return [(x, each.read(x)) for each, x in zip(located, arrays, strict=True)]

    def _scores(self, paths: Sequence[Path], name: str) -> Read:
        """Read the scores of one extractor.

        Raises
        ------
        FeatureError
            The extractor has no classes, or others than the labels.
        """
        scores, present = gather(paths, self._names, self._shards, "scores")
        with FeatureShard(paths[0]) as shard:
            scored: list[str] = list(shard.attrs.get("classes") or ())
            how = shard.attrs["settings"]["scores"]
        if sorted(scored) != self.classes:
            raise FeatureError(
                f"{paths[0]} has scores of the classes {scored}, but the labels are {self.classes}; give the extractor "
                f"{name!r} `classes` with just these labels, or delete the file if it has them."
            )
        if not scores.shape[1]:  # no item has the stream
            return np.zeros((len(scores), len(self.classes)), np.float32), present
        scores = scores[:, [scored.index(label) for label in self.classes]]
        return log_softmax(scores, axis=1) if how == "logits" else logarithm(scores), present

    def _predictions(self, path: Path) -> Read:
        """Read the predictions of one scheme.

        Raises
        ------
        StoreError
            The predictions are of other items, splits or classes.
        """
        predicted = read_predictions(path)
        theirs, ours = (predicted.items, predicted.splits, predicted.classes), (self._names, self._splits, self.classes)
        if theirs != ours:
            raise StoreError(
                f"{path} is of other items, splits or classes than the manifest; delete it and train again."
            )
        p, present = predicted.probabilities, np.asarray(predicted.present.any(axis=1))
        if self.settings.get("smooth_within_clip"):
            p = smoothed(p, present, self.items["clip"].to_list())
        return logarithm(p), present

    @property
    def _names(self) -> list[str]:
        return self.items["item"].to_list()

    @property
    def _shards(self) -> list[str]:
        return self.items["shard"].to_list()

    @property
    def _splits(self) -> list[str]:
        return self.items["split"].to_list()


def _dim(shape: tuple[int, ...], kind: str) -> int:
    """Return how many numbers there are to learn from in each row, or token, of an array of this shape."""
    return shape[-1] - 2 * (kind == "tokens")


def smoothed(p: np.ndarray, present: np.ndarray, clips: list[str]) -> np.ndarray:
    """Return for each item, float32 [N, C], the mean of `p` over the items of its clip that are `present`."""
    clip = np.unique(clips, return_inverse=True)[1]
    total = np.zeros((clip.max() + 1, p.shape[1]))
    np.add.at(total, clip[present], p[present])
    counts = np.bincount(clip[present], minlength=len(total))[:, None]
    return np.divide(total, counts, out=total, where=counts > 0)[clip].astype(np.float32)


def logarithm(p: np.ndarray) -> np.ndarray:
    """Return the logarithm of probabilities as schemes read it."""
    return np.log(p.clip(min=SMALLEST_P))
