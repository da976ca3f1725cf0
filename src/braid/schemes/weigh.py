"""What each modality is worth to a trained scheme: to learn from, to look at, in another item's place, under noise.

The scheme is trained again on every subset of its modalities, with the same settings and seed: that says what one knows
that the others do not. The trained one, as it is, is shown items that lack some of them, that have one of another item
(permutation importance, Breiman 2001), or noise on one: that says what it relies on. The modalities of a scheme over
schemes are the features that the schemes below it read, and go through these (`braid.schemes.parts`).

Letters: N items, M modalities, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from braid.errors import TrainingError
from braid.files import write_text
from braid.metrics.sums import contributions
from braid.metrics.worth import shapley
from braid.schemes.batch import Batch, Selection
from braid.schemes.fit import CHUNK
from braid.schemes.parts import Change, Part, Reader, read_parts, unchanged
from braid.schemes.room import Room
from braid.schemes.train import reproducible

DRAWS = 10
"""Permutations, and draws of noise, of each modality."""
NOISE = (1.0, 2.0, 4.0)
"""Standard deviations of the noise; features that are standardised have 1."""

Scores = dict[str, float]


def weigh_modalities(
    items: pl.DataFrame,
    inputs: Mapping[str, Sequence[Path]],
    path: Path,
    out: Path,
    below: Mapping[str, Path] | None = None,
    room: Room | None = None,
) -> None:
    """Write what each modality is worth to a trained scheme, as JSON.

    All numbers are of the same ``n`` items: the labelled ones of ``split``, test or val where no test item has a label,
    that have every modality; ``lacking`` counts those that have not. Scores are ``accuracy`` and ``log_loss`` in nats.

    - ``subsets``: for every subset of ``modalities``, the empty one first, the scores of the scheme ``retrained`` on it
      and of the trained one with the others ``masked``. Of the empty one both are those of the class prior; of all
      modalities both are the trained scheme itself.
    - ``shapley``: for ``accuracy`` and ``log_loss``, the share of each modality in what training on all of them gains
      over the prior (`braid.metrics.worth.shapley`); of the log loss in what it falls by, so that a gain is positive.
    - ``disturbed``: for each modality, ``permuted`` across the items and with ``noise`` of some ``level``, the mean of
      the scores over `DRAWS` draws and their standard deviation, ``accuracy_sd`` and ``log_loss_sd``.

    Parameters
    ----------
    items : DataFrame
        As for `braid.schemes.train.train_scheme`.
    inputs : mapping of str to paths
        Feature shards of each extractor that the scheme, or a scheme below it, reads.
    path : the trained scheme, `model.safetensors`
    out : path of the JSON file
    below : mapping of str to path
        The trained schemes that it is over, and those that these are over, of the same fold and seed, by name.
    room : Room
        As for `train_scheme`.

    Raises
    ------
    StoreError
        A scheme was trained on other classes.
    TrainingError
        No item has every modality, or the items of a subset cannot be trained on.
    """
    part = read_parts(items, inputs, path, below or {}, room or Room())
    names = list(dict.fromkeys(name for reader in part.readers() for name in reader.data.names))
    with reproducible(part.model.description.seed):
        split, judged, lacking = _judged(part, names)
        found = {
            "split": split,
            "n": len(judged),
            "lacking": lacking,
            "modalities": names,
            "subsets": list(_subsets(part, names, judged)),
            "disturbed": list(_disturbed(part, names, judged)),
        }
    values = {frozenset(row["modalities"]): row["retrained"] for row in found["subsets"]}
    found["shapley"] = {
        "accuracy": shapley({subset: scores["accuracy"] for subset, scores in values.items()}),
        "log_loss": shapley({subset: -scores["log_loss"] for subset, scores in values.items()}),
    }
    write_text(out, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _judged(part: Part, names: list[str]) -> tuple[str, Tensor, int]:
    """Return the split that judges, the positions of its items that have all modalities, and how many have not."""
    data = next(part.readers()).data
    labelled = data.labels >= 0
    split = "test" if (labelled & (data.splits == "test")).any() else "val"
    rows = labelled & (data.splits == split)
    complete = rows & np.all([reader.data.present.all(axis=1) for reader in part.readers()], axis=0)
    if not complete.any():
        raise TrainingError(
            f"No labelled {split} item of fold {data.fold} has all of {', '.join(names)}, so that none can say "
            f"what they are worth; leave `worth` out of the scheme."
        )
    return split, torch.from_numpy(complete.nonzero()[0]), int(rows.sum() - complete.sum())


def _subsets(part: Part, names: list[str], judged: Tensor) -> Iterator[dict[str, Any]]:
    """Yield the scores with each subset of the modalities, the smallest first."""
    for size in range(len(names) + 1):
        for subset in combinations(names, size):
            masked = retrained = _score(part, judged, hidden(set(names) - set(subset)))
            if 0 < size < len(names):
                # None only for schemes that read nothing of the subset, and some scheme reads each modality.
                retrained = _score(cast(Part, part.on(frozenset(subset))), judged, unchanged)
            yield {"modalities": list(subset), "retrained": retrained, "masked": masked}


def _disturbed(part: Part, names: list[str], judged: Tensor) -> Iterator[dict[str, Any]]:
    """Yield the scores with each modality permuted or noisy; the draws follow from the seed of the scheme."""
    for m, name in enumerate(names):
        random = [[part.model.description.seed, m, draw] for draw in range(DRAWS)]
        hows: list[tuple[dict[str, Any], Callable[..., Iterator[Batch]]]] = [({"how": "permuted"}, _permuted)]
        hows += [({"how": "noise", "level": level}, partial(_noisy, level=level)) for level in NOISE]
        for row, how in hows:
            scores = [_score(part, judged, changed(name, partial(how, seed=each))) for each in random]
            yield {"modality": name} | row | _mean(scores)


def hidden(names: Container[str]) -> Change:
    """Show the items as if they lacked the modalities `names`."""

    def change(reader: Reader, items: Selection) -> Iterator[Batch]:
        gone = torch.tensor([name in names for name in reader.data.names])
        for batch in items.in_turn(CHUNK):
            yield batch.without(gone.expand_as(batch.present))

    return change


def changed(name: str, how: Callable[[Reader, Selection, int], Iterator[Batch]]) -> Change:
    """Show the items with modality `name` changed in the same way to all that read it; `how` is told its position."""

    def change(reader: Reader, items: Selection) -> Iterator[Batch]:
        if name not in reader.data.names:
            return items.in_turn(CHUNK)
        return how(reader, items, reader.data.names.index(name))

    return change


def _permuted(reader: Reader, items: Selection, m: int, seed: Sequence[int]) -> Iterator[Batch]:
    return permuted(items, m, seed).in_turn(CHUNK)


def _noisy(reader: Reader, items: Selection, m: int, seed: Sequence[int], level: float) -> Iterator[Batch]:
    for batch in noisy(items, m, level, reader.deviation(m), seed):
        # Log probabilities are of classes that sum to one.
        is_scores = reader.data.kind == "scores"
        yield _with(batch, m, batch.features[m].log_softmax(dim=1)) if is_scores else batch


def permuted(items: Selection, m: int, seed: Sequence[int]) -> Selection:
    """Return the items with modality `m` of one another, as it is: its numbers, and tokens with their times."""
    return items.permuted(m, torch.from_numpy(np.random.default_rng(seed).permutation(len(items))))


def noisy(items: Selection, m: int, level: float, deviation: Tensor, seed: Sequence[int]) -> Iterator[Batch]:
    """Yield the items with Gaussian noise on the numbers of modality `m` as the scheme reads them.

    Parameters
    ----------
    level : of the noise, in standard deviations
    deviation : [D_m], see `braid.schemes.parts.Reader.deviation`
        Features that are constant in training are 0 for every item and stay so: no weight of theirs was learnt.
    seed : of the draw; the noise of another level is a multiple of it
    """
    random = np.random.default_rng(seed)
    for batch in items.in_turn(CHUNK):
        x = batch.features[m]  # a copy, as all of a batch
        numbers = x[..., x.shape[-1] - len(deviation) :]  # of tokens without their times
        numbers += level * torch.from_numpy(random.standard_normal(numbers.shape, dtype=np.float32)) * deviation
        yield batch


def _with(batch: Batch, m: int, x: Tensor) -> Batch:
    return replace(batch, features=[*batch.features[:m], x, *batch.features[m + 1 :]])


def _mean(rows: list[Scores]) -> Scores:
    """Return the mean and the standard deviation (n - 1) of the scores over draws."""
    scores: Scores = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        scores |= {name: float(values.mean()), f"{name}_sd": float(values.std(ddof=1))}
    return scores


def _score(part: Part, judged: Tensor, change: Change) -> Scores:
    labels = next(part.readers()).data.labels[judged.numpy()]
    p, _ = part.answers(judged, change)
    told = contributions(labels, p, p.shape[1])
    return {"accuracy": float(told.right.mean()), "log_loss": float(told.log_loss.mean())}
