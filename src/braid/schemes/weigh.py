"""What each modality is worth to a trained scheme: to learn from, to look at, in another item's place, under noise.

The scheme is trained again on every subset of its modalities, with the same settings and seed: that says what one knows
that the others do not. The trained one, as it is, is shown items that lack some of them, that have one of another item
(permutation importance, Breiman 2001), or noise on one: that says what it relies on.

Letters: N items, M modalities, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch

from braid.errors import StoreError, TrainingError
from braid.files import write_text
from braid.metrics.sums import contributions
from braid.metrics.worth import shapley
from braid.schemes.batch import Batch
from braid.schemes.inputs import Inputs, read_inputs
from braid.schemes.model import Model, Standardiser
from braid.schemes.train import as_batch, reproducible, train

DRAWS = 10
"""Permutations, and draws of noise, of each modality."""
NOISE = (1.0, 2.0, 4.0)
"""Standard deviations of the noise; features that are standardised have 1."""

Scores = dict[str, float]


def weigh_modalities(items: pl.DataFrame, inputs: Mapping[str, Sequence[Path]], path: Path, out: Path) -> None:
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
        Feature shards of each extractor that the scheme reads.
    path : the trained scheme, `model.safetensors`
    out : path of the JSON file

    Raises
    ------
    StoreError
        The scheme was trained on other classes.
    TrainingError
        No item has every modality, or the items of a subset cannot be trained on.
    """
    model = Model.load(path)
    told = model.description
    data = read_inputs(items, told.fold, inputs, told.settings)
    if (data.classes, data.names) != (told.classes, told.features):
        raise StoreError(f"{path} has other classes or features than the experiment; delete it and train again.")
    split, judged, lacking = _judged(data)
    with reproducible(told.seed):
        whole = as_batch(model, data).rows(judged)
    found = {
        "split": split,
        "n": len(judged),
        "lacking": lacking,
        "modalities": data.names,
        "subsets": list(_subsets(model, data, whole, judged)),
        "disturbed": list(_disturbed(model, whole)),
    }
    values = {frozenset(row["modalities"]): row["retrained"] for row in found["subsets"]}
    found["shapley"] = {
        "accuracy": shapley({subset: scores["accuracy"] for subset, scores in values.items()}),
        "log_loss": shapley({subset: -scores["log_loss"] for subset, scores in values.items()}),
    }
    write_text(out, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _judged(data: Inputs) -> tuple[str, torch.Tensor, int]:
    """Return the split that judges, the positions of its items that have all modalities, and how many have not."""
    labelled = data.labels >= 0
    split = "test" if (labelled & (data.splits == "test")).any() else "val"
    rows = labelled & (data.splits == split)
    complete = rows & data.present.all(axis=1)
    if not complete.any():
        raise TrainingError(
            f"No labelled {split} item of fold {data.fold} has all of {', '.join(data.names)}, so that none can say "
            f"what they are worth; leave `worth` out of the scheme."
        )
    return split, torch.from_numpy(complete.nonzero()[0]), int(rows.sum() - complete.sum())


def _subsets(model: Model, data: Inputs, whole: Batch, judged: torch.Tensor) -> Iterator[dict[str, Any]]:
    """Yield the scores with each subset of the modalities, the smallest first."""
    told, n_modalities = model.description, len(data.names)
    for size in range(n_modalities + 1):
        for subset in combinations(range(n_modalities), size):
            others = torch.tensor([m not in subset for m in range(n_modalities)])
            with reproducible(told.seed):
                masked = _score(model, whole.without(others.expand_as(whole.present)))
                retrained = masked
                if 0 < size < n_modalities:
                    names = [data.names[m] for m in subset]
                    again, batch, _ = train(data.of(subset), told.settings | {"features": names}, told.seed)
                    retrained = _score(again, batch.rows(judged))
            yield {"modalities": [data.names[m] for m in subset], "retrained": retrained, "masked": masked}


def _disturbed(model: Model, whole: Batch) -> Iterator[dict[str, Any]]:
    """Yield the scores with each modality permuted or noisy; the draws follow from the seed of the scheme."""
    seed = model.description.seed
    for m, name in enumerate(model.description.features):
        random = [[seed, m, draw] for draw in range(DRAWS)]
        yield {"modality": name, "how": "permuted"} | _drawn(model, (permuted(whole, m, each) for each in random))
        varies = cast(Standardiser, model.scalings[m]).scale > 0
        for level in NOISE:
            batches = (noisy(whole, m, level, varies, each) for each in random)
            yield {"modality": name, "how": "noise", "level": level} | _drawn(model, batches)


def permuted(batch: Batch, m: int, seed: Sequence[int]) -> Batch:
    """Return the items with modality `m` of one another, as it is: its numbers, and tokens with their times."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(batch)))
    return _with(batch, m, batch.features[m].index_select(0, order))


def noisy(batch: Batch, m: int, level: float, varies: torch.Tensor, seed: Sequence[int]) -> Batch:
    """Return the items with Gaussian noise on the standardised numbers of modality `m`.

    Parameters
    ----------
    level : standard deviation of the noise
    varies : bool [D_m]
        Features that are constant in training are 0 for every item and stay so: no weight of theirs was learnt.
    seed : of the draw; the noise of another level is a multiple of it
    """
    x = batch.features[m].clone()
    numbers = x[..., x.shape[-1] - len(varies) :]  # of tokens without their times
    drawn = np.random.default_rng(seed).standard_normal(numbers.shape, dtype=np.float32)
    numbers += level * torch.from_numpy(drawn) * varies
    return _with(batch, m, x)


def _with(batch: Batch, m: int, x: torch.Tensor) -> Batch:
    return replace(batch, features=[*batch.features[:m], x, *batch.features[m + 1 :]])


def _drawn(model: Model, batches: Iterator[Batch]) -> Scores:
    """Return the mean and the standard deviation (n - 1) of the scores over draws."""
    with reproducible(model.description.seed):
        rows = [_score(model, batch) for batch in batches]
    scores: Scores = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        scores |= {name: float(values.mean()), f"{name}_sd": float(values.std(ddof=1))}
    return scores


def _score(model: Model, batch: Batch) -> Scores:
    told = contributions(batch.labels.numpy(), model.predict(batch), len(model.description.classes))
    return {"accuracy": float(told.right.mean()), "log_loss": float(told.log_loss.mean())}
