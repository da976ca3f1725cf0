"""Train one scheme on one fold with one seed, and predict every item of the fold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from braid import manifest, metrics
from braid.config import inputs_of
from braid.errors import TrainingError
from braid.files import whole, write_text
from braid.fold import labelled
from braid.schemes.fit import Epoch
from braid.schemes.inputs import Reader
from braid.schemes.model import Description, Model
from braid.schemes.registry import REGISTRY
from braid.schemes.results import Predictions, write_predictions

EVALUATED = ("train", "val", "test")
LEARNT_FROM = {"embedding": "feature", "tokens": "tokens of the feature"}
"""What schemes read that learn the classes themselves, in words; the others read probabilities of classes."""


def train_scheme(
    items: pl.DataFrame,
    fold: str,
    inputs: Mapping[str, Sequence[Path]],
    settings: dict[str, Any],
    seed: int,
    out: Path,
) -> None:
    """Train a scheme and write its model, history, predictions and metrics into the folder `out`.

    On a CPU the same arguments give the same predictions bit for bit: training runs on one thread.

    Parameters
    ----------
    items : DataFrame
        Columns ``item``, ``clip``, ``shard``, ``start_seconds``, ``label``, ``group`` and the splits of the index; rows
        without a split are left out.
    fold : str
        Which split column is used.
    inputs : mapping of str to paths
        Feature shards of each extractor that the scheme reads, or the predictions of each scheme.
    settings : dict
        The complete entry of the config; its ``features`` or ``schemes`` say in which order they are read.
    seed : int
        Of initial weights, order of items and dropout.
    out : Path
        Receives `model.safetensors`, `history.csv`, `predictions.h5` and `metrics.json`.

    Raises
    ------
    TrainingError
        The fold cannot be trained on; the message says why.
    FeatureError
        A shard lacks items of the fold, or an extractor scores other classes.
    StoreError
        Predictions of another scheme are of other items.
    """
    started = time.perf_counter()
    classes = manifest.classes(items)
    kind = REGISTRY[settings["type"]].load().reads
    items = labelled(items, fold, classes, learns=kind in LEARNT_FROM)
    names = inputs_of(settings)
    reader = Reader(items, classes, settings)
    x, masks = zip(*(getattr(reader, kind)(inputs[name], name) for name in names), strict=True)
    present = np.stack(masks, axis=1)
    labels = items["code"].to_numpy(writable=True)
    splits = items["split"].to_numpy()
    train = splits == "train"
    if kind in LEARNT_FROM:
        _check_modalities(names, present[train], LEARNT_FROM[kind], fold)
    dims = [values.shape[-1] - 2 * (kind == "tokens") for values in x]
    with _reproducible(seed):
        model = Model(Description(classes, names, dims, settings, fold, seed))
        model.fit_scaling([values[train & here] for values, here in zip(x, masks, strict=True)])
        model.prior = torch.from_numpy(np.bincount(labels[train], minlength=len(classes)) / train.sum()).float()
        groups = np.unique(items["group"].to_numpy(), return_inverse=True)[1]
        batch = model.standardise(list(x), present, labels, groups)
        history = model.scheme.learn(batch.rows(torch.from_numpy(train)), batch.rows(torch.from_numpy(splits == "val")))
        probabilities = model.predict(batch)
    model.save(out / "model.safetensors")
    with whole(out / "history.csv") as beside:
        pl.DataFrame(history, schema=[field.name for field in fields(Epoch)]).write_csv(beside)
    write_predictions(
        out / "predictions.h5",
        Predictions(items["item"].to_list(), splits.tolist(), labels, present, probabilities, classes, names),
    )
    report = _evaluate(labels, probabilities, splits, items["group"].to_numpy(), classes) | {
        "n_parameters": sum(parameter.numel() for parameter in model.scheme.parameters()),
        "best_epoch": {epoch.part: epoch.epoch for epoch in history if epoch.kept},
        "lacking": {split: _count(~present[splits == split], names) for split in np.unique(splits).tolist()},
        "answered_by_prior": int((~present.any(axis=1)).sum()),
        "seconds": time.perf_counter() - started,
    }
    write_text(out / "metrics.json", json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _check_modalities(names: list[str], present: np.ndarray, what: str, fold: str) -> None:
    """Refuse a modality that no training item has; `present` is bool [n, M] of these."""
    for name, here in zip(names, present.T, strict=True):
        if not here.any():
            raise TrainingError(
                f"No training item of fold {fold} has the {what} {name!r}, so that nothing can be learned from it; "
                f"take it out of the scheme's `features` or put items that have it into `train`."
            )


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Run on one thread with random numbers of `seed`; both are as before afterwards.

    The sums of several threads differ in their last bits with the number of threads, and minibatches of these sizes are
    no faster with more of them.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(n_threads)


def _evaluate(
    labels: np.ndarray, p: np.ndarray, splits: np.ndarray, groups: np.ndarray, classes: list[str]
) -> dict[str, Any]:
    """Return the metrics of each split; None for one without labelled items."""
    evaluations: dict[str, Any] = {}
    for split in EVALUATED:
        rows = (splits == split) & (labels >= 0)
        evaluations[split] = metrics.evaluate(labels[rows], p[rows], classes, groups[rows]) if rows.any() else None
    return evaluations


def _count(mask: np.ndarray, names: list[str]) -> dict[str, int]:
    """Return how often each column of a bool [N, M] is true."""
    return dict(zip(names, mask.sum(axis=0).tolist(), strict=True))
