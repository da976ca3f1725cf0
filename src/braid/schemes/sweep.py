"""Try a scheme with every point of its sweep and every seed on one fold, and choose a point on the validation items.

All trainings of a sweep share a process, what they read, and, where their networks have one shape, their minibatches
(`braid.schemes.stack`). What is finished is kept by a digest of all that it follows from, so that a sweep that was
stopped, changed or extended trains only what is new.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import torch

from braid import sweeps
from braid.errors import DivergedError, StoreError, TrainingError
from braid.files import digest, whole, write_text
from braid.metrics.sums import contributions
from braid.schemes.batch import Selection
from braid.schemes.inputs import Inputs, Scaled, read_inputs, scaled
from braid.schemes.model import Model
from braid.schemes.registry import REGISTRY
from braid.schemes.room import Room
from braid.schemes.stack import OWN, can_be_stacked, fit_stack, most_together
from braid.schemes.train import learnt_from, reproducible, untrained

Result = dict[str, float] | None
"""`val_loss`, the mean cross entropy in nats, and `val_accuracy` of a training; None where its loss is not finite."""

Training = tuple[dict[str, Any], int]
"""The settings of a point and a seed."""

T = TypeVar("T")

BETTER = {"val_loss": -1, "val_accuracy": 1}
"""What `monitor` can name → the sign with which more is better."""


def sweep_scheme(
    items: pl.DataFrame,
    fold: str,
    inputs: Mapping[str, Sequence[Path]],
    settings: dict[str, Any],
    seeds: Sequence[int],
    out: Path,
    room: Room | None = None,
) -> None:
    """Write which point of a sweep does best on the validation items of a fold, in the mean over seeds.

    Best is the smallest mean loss or the largest mean accuracy, as ``monitor`` says, of equals the first. A point that
    diverges with any seed is not chosen. Items of other splits than train and val are not read.

    Parameters
    ----------
    items, fold, inputs, room
        As for `braid.schemes.train.train_scheme`.
    settings : dict
        The complete entry of the config, with ``sweep``.
    seeds : sequence of int
        Each point is trained with each.
    out : Path
        Receives `sweep.json`, what the chosen point sets; `sweep.csv`, a row a point with what it sets, the scores with
        each seed, their means and whether it is the chosen one; and `finished.json`, results by digest, which is kept.

    Raises
    ------
    TrainingError
        The fold cannot be trained on, or every point diverges.
    """
    alone = {key: value for key, value in settings.items() if key != "sweep"}
    split = f"split_{fold}"
    items = items.with_columns(pl.when(pl.col(split).is_in(["train", "val"])).then(split))
    monitor, read = settings["monitor"], _Reading(items, fold, inputs, room or Room())

    def judged(points: list[dict[str, Any]]) -> list[list[Result]]:
        results: dict[int, list[Result]] = {}
        for members in _by([alone | point for point in points], "max_tokens"):  # which decides what is read
            trainings = [(entry, seed) for _, entry in members for seed in seeds]
            found = _results(*read.of(members[0][1]), trainings, out / "finished.json")
            results |= {number: row for (number, _), row in zip(members, _parts(found, len(seeds)), strict=True)}
        return [results[number] for number in range(len(points))]

    def losses(points: list[dict[str, Any]]) -> list[float]:
        return [-_merit(_mean(row, monitor), monitor) for row in judged(points)]

    sweep = settings["sweep"]
    if sweep["sampler"] == "tpe" and not sweeps.is_grid(sweep):
        from braid.schemes.search import search  # Optuna takes a second to import

        points = search(sweep, losses)
    else:
        points = sweeps.points(sweep)
    table = _table(points, judged(points), seeds)
    merits = [_merit(mean, monitor) for mean in table[monitor]]
    chosen = int(np.argmax(merits))
    if merits[chosen] == -math.inf:
        raise TrainingError(
            f"The loss of every point of the sweep is not finite in fold {fold}; lower its `learning_rate`."
        )
    with whole(out / "sweep.csv") as beside:
        table.with_columns(chosen=pl.col("point") == chosen + 1).write_csv(beside)
    write_text(out / "sweep.json", json.dumps(points[chosen], indent=1) + "\n")


class _Reading:
    """What the points of a sweep read, the last of it kept: points in a row mostly read the same."""

    def __init__(self, items: pl.DataFrame, fold: str, inputs: Mapping[str, Sequence[Path]], room: Room) -> None:
        self._arguments, self._room = (items, fold, inputs), room
        self._last: tuple[Any, str, Scaled] | None = None

    def of(self, entry: dict[str, Any]) -> tuple[str, Scaled]:
        """Return what a scheme with the settings `entry` reads, and before it a digest of all that was read."""
        key = entry.get("max_tokens")
        if self._last is None or self._last[0] != key:
            self._last = None  # not two at once
            data = read_inputs(*self._arguments, entry, self._room)
            self._last = key, _identity(data), scaled(data)
        return self._last[1:]


def _merit(mean: float | None, monitor: str) -> float:
    """Return how good a score is, more being better; the worst where there is none."""
    return -math.inf if mean is None else BETTER[monitor] * round(mean, 9)


def _mean(results: list[Result], score: str) -> float | None:
    """Return the mean over seeds; None where one of them diverged."""
    values = [found[score] for found in results if found is not None]
    return math.fsum(values) / len(values) if len(values) == len(results) else None


def _results(read: str, data: Scaled, trainings: list[Training], store: Path) -> list[Result]:
    """Return the result of each training: of those that `store` has from there, of others after training them."""
    keys = [digest([read, REGISTRY[entry["type"]].version, entry, seed]) for entry, seed in trainings]
    finished = _finished(store)
    missing = {key: training for key, training in zip(keys, trainings, strict=True) if key not in finished}
    print(f"{len(missing)} trainings, {len(keys) - len(missing)} are finished")
    if missing:
        for names, found in _train(data, missing):
            finished |= dict(zip(names, found, strict=True))
            write_text(store, json.dumps(finished, indent=1) + "\n")
            print(f"{len(names)} trained")
    return [finished[key] for key in keys]


def _train(data: Scaled, trainings: dict[str, Training]) -> Iterator[tuple[list[str], list[Result]]]:
    """Yield the keys and results of trainings, several at once where they can be stacked."""
    train, val = learnt_from(data)
    stacks: dict[str, list[str]] = {}
    for key, (entry, seed) in trainings.items():
        shape = {name: value for name, value in entry.items() if name not in OWN}
        stacks.setdefault(digest([shape, seed]), []).append(key)
    for alike in stacks.values():
        first = untrained(data, *trainings[alike[0]]).scheme
        size = most_together(first) if can_be_stacked(first) else 1
        for keys in _parts(alike, size):
            entries, seed = [trainings[key][0] for key in keys], trainings[keys[0]][1]
            with reproducible(seed):
                models = []
                for entry in entries:
                    torch.manual_seed(seed)
                    models.append(untrained(data, entry, seed))
                schemes = [model.scheme for model in models]
                if len(schemes) > 1:
                    converged = [history is not None for history in fit_stack(schemes, train, val)]
                else:
                    converged = [_converges(models[0], train, val)]
            found: list[Result] = []
            for model, fine in zip(models, converged, strict=True):
                found.append(_score(model, val) if fine else None)
            yield keys, found


def _converges(model: Model, train: Selection, val: Selection) -> bool:
    try:
        model.scheme.learn(train, val)
    except DivergedError:
        return False
    return True


def _score(model: Model, val: Selection) -> Result:
    told = contributions(val.labels.numpy(), model.predict(val), len(model.description.classes))
    return {"val_loss": float(told.log_loss.mean()), "val_accuracy": float(told.right.mean())}


def _table(points: list[dict[str, Any]], results: list[list[Result]], seeds: Sequence[int]) -> pl.DataFrame:
    """Return a row a point: its number, what it sets, the scores with each seed, and their means."""
    columns: dict[str, Any] = {"point": range(1, len(points) + 1)}
    columns |= {name: [point[name] for point in points] for name in points[0]}
    for score in BETTER:
        values = [[None if found is None else found[score] for found in row] for row in results]
        means = [_mean(row, score) for row in results]
        columns |= {f"{score}_seed{seed}": [row[i] for row in values] for i, seed in enumerate(seeds)}
        columns[score] = pl.Series(means, dtype=pl.Float64)
    return pl.DataFrame(columns, strict=False)


def _by(entries: list[dict[str, Any]], key: str) -> list[list[tuple[int, dict[str, Any]]]]:
    """Return the entries with their positions, those with one value of `key` together."""
    groups: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
    for number, entry in enumerate(entries):
        groups.setdefault(entry.get(key), []).append((number, entry))
    return list(groups.values())


def _parts(values: list[T], size: int) -> list[list[T]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _identity(data: Inputs) -> str:
    """Return a digest of everything that was read."""
    content = hashlib.blake2b(digest_size=16)
    for array in (*data.x, data.present, data.labels):
        content.update(f"{array.dtype}{array.shape}".encode())
        content.update(np.ascontiguousarray(array).data)
    told = [data.kind, data.names, data.classes, data.splits.tolist(), data.groups.tolist(), content.hexdigest()]
    return digest(told)


def _finished(store: Path) -> dict[str, Result]:
    if not store.exists():
        return {}
    try:
        return json.loads(store.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{store} cannot be read ({error}); delete it and sweep again.") from error
