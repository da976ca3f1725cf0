"""Train one scheme on one fold with one seed, and predict every item of the fold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from braid import manifest, metrics
from braid.errors import TrainingError
from braid.files import whole, write_text
from braid.schemes.model import Description, Model, Standardiser
from braid.schemes.results import Predictions, write_predictions
from braid.store.features import gather

EVALUATED = ("train", "val", "test")


def train_scheme(
    items: pl.DataFrame,
    fold: str,
    features: Mapping[str, Sequence[Path]],
    settings: dict[str, Any],
    seed: int,
    out: Path,
) -> None:
    """Train a scheme and write its model, history, predictions and metrics into the folder `out`.

    On a CPU the same arguments give the same predictions bit for bit: training runs on one thread.

    Parameters
    ----------
    items : DataFrame
        Columns ``item``, ``shard``, ``label``, ``group`` and the splits of the index; rows without a split are left
        out.
    fold : str
        Which split column is used.
    features : mapping of str to paths
        Feature shards of each extractor that the scheme reads.
    settings : dict
        The complete entry of the config; its ``features`` say in which order the scheme reads them.
    seed : int
        Of initial weights, order of items and dropout.
    out : Path
        Receives `model.safetensors`, `history.csv`, `predictions.h5` and `metrics.json`.

    Raises
    ------
    TrainingError
        The fold cannot be trained on; the message says why.
    FeatureError
        A shard lacks items of the fold.
    """
    started = time.perf_counter()
    classes = manifest.classes(items)
    items = items.select("item", "shard", "label", "group", split=f"split_{fold}").drop_nulls("split")
    _check_fold(items, fold, classes)
    names: list[str] = settings["features"]
    x, present = _gather(items, features, names)
    codes = {name: code for code, name in enumerate(classes)}
    labels = np.array([codes.get(label, -1) for label in items["label"]], dtype=np.int64)
    splits = items["split"].to_numpy()
    train = splits == "train"
    for name, here in zip(names, present[train].T, strict=True):
        if not here.any():
            raise TrainingError(
                f"No training item of fold {fold} has the feature {name!r}, so that nothing can be learned from it; "
                f"take it out of the scheme's `features` or put items that have it into `train`."
            )
    with _reproducible(seed):
        model = Model(Description(classes, names, [values.shape[1] for values in x], settings, fold, seed))
        for m, standardiser in enumerate(model.standardisers):
            assert isinstance(standardiser, Standardiser)
            standardiser.fit(x[m][train & present[:, m]])
        model.prior = torch.from_numpy(np.bincount(labels[train]) / train.sum()).float()
        batch = model.standardise(x, present, labels)
        history = model.scheme.learn(batch.rows(torch.from_numpy(train)), batch.rows(torch.from_numpy(splits == "val")))
        probabilities = model.predict(batch)
    model.save(out / "model.safetensors")
    with whole(out / "history.csv") as beside:
        pl.DataFrame(history).write_csv(beside)
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


def _gather(
    items: pl.DataFrame, features: Mapping[str, Sequence[Path]], names: list[str]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return float32 [N, D_m] for each name, and the mask bool [N, M]."""
    gathered = [gather(features[name], items["item"].to_list(), items["shard"].to_list()) for name in names]
    return [x for x, _ in gathered], np.stack([present for _, present in gathered], axis=1)


def _check_fold(items: pl.DataFrame, fold: str, classes: list[str]) -> None:
    column = f"split_{fold}" if fold != "1" else "split (or split_1)"
    for split, purpose in (("train", "to learn from"), ("val", "to know when to stop")):
        rows = items.filter(pl.col("split") == split)
        if rows.is_empty():
            raise TrainingError(
                f"Fold {fold} has no {split} items, which training needs {purpose}; write `{split}` into the column "
                f"{column} of the manifest for some items of each class."
            )
        unlabelled = rows.filter(pl.col("label").is_null())["item"]
        if len(unlabelled):
            raise TrainingError(
                f"{len(unlabelled)} {split} items of fold {fold} have no label, the first is {unlabelled[0]!r}; "
                f"label them in the manifest or move them to the split `predict`."
            )
    if len(classes) < 2:
        raise TrainingError(
            f"All items have the label {classes[0]!r}; a scheme needs at least two classes to tell apart."
        )
    missing = sorted(set(classes) - set(items.filter(pl.col("split") == "train")["label"]))
    if missing:
        raise TrainingError(
            f"Fold {fold} has no training items of {', '.join(map(repr, missing))}; put some into `train`, or take the "
            f"label from all items."
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
