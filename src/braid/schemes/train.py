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
from torch import nn

from braid import metrics
from braid.files import whole, write_text
from braid.schemes.batch import Selection
from braid.schemes.fit import Epoch
from braid.schemes.inputs import Scaled, read_inputs, scaled
from braid.schemes.model import Description, Model
from braid.schemes.results import Predictions, write_predictions
from braid.schemes.room import Room

EVALUATED = ("train", "val", "test")


def train_scheme(
    items: pl.DataFrame,
    fold: str,
    inputs: Mapping[str, Sequence[Path]],
    settings: dict[str, Any],
    seed: int,
    out: Path,
    room: Room | None = None,
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
    room : Room
        Where features are held; without it a `Room()`. It changes no number.

    Raises
    ------
    TrainingError
        The fold cannot be trained on; the message says why.
    FeatureError
        A shard lacks items of the fold, or an extractor scores other classes.
    StoreError
        Predictions of another scheme are of other items, or there is no room for the features.
    """
    started = time.perf_counter()
    data = scaled(read_inputs(items, fold, inputs, settings, room or Room()))
    with reproducible(seed):
        model, history = train(data, settings, seed)
        probabilities = model.predict(data.selection())
    model.save(out / "model.safetensors")
    with whole(out / "history.csv") as beside:
        pl.DataFrame(history, schema=[field.name for field in fields(Epoch)]).write_csv(beside)
    write_predictions(
        out / "predictions.h5",
        Predictions(
            data.items.tolist(),
            data.splits.tolist(),
            data.labels,
            data.present,
            probabilities,
            data.classes,
            data.names,
        ),
    )
    lacking = {split: ~data.present[data.splits == split] for split in np.unique(data.splits).tolist()}
    report = _evaluate(data.labels, probabilities, data.splits, data.groups, data.classes) | {
        "n_parameters": sum(parameter.numel() for parameter in model.scheme.parameters()),
        "best_epoch": {epoch.part: epoch.epoch for epoch in history if epoch.kept},
        "lacking": {split: _count(absent, data.names) for split, absent in lacking.items()},
        "answered_by_prior": int((~data.present.any(axis=1)).sum()),
        "seconds": time.perf_counter() - started,
    }
    write_text(out / "metrics.json", json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def train(data: Scaled, settings: dict[str, Any], seed: int) -> tuple[Model, list[Epoch]]:
    """Return the trained model and what happened; to be run in `reproducible(seed)`."""
    model = untrained(data, settings, seed)
    return model, model.scheme.learn(*learnt_from(data))


def untrained(data: Scaled, settings: dict[str, Any], seed: int) -> Model:
    """Return a model with weights drawn at random, and scaling and class prior of the training items.

    To be run in `reproducible(seed)`.
    """
    model = Model(Description(data.classes, data.names, data.dims, settings, data.fold, seed))
    model.scalings = nn.ModuleList(data.scalings)
    training = data.splits == "train"
    counts = np.bincount(data.labels[training], minlength=len(data.classes))
    model.prior = torch.from_numpy(counts / training.sum()).float()
    return model


def learnt_from(data: Scaled) -> tuple[Selection, Selection]:
    """Return the training and the validation items."""
    everything = data.selection()
    train, val = (everything.rows(torch.from_numpy(data.splits == split)) for split in ("train", "val"))
    return train, val


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
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
