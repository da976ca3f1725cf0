"""The clips behind the cells of the confusion matrices: which are shown, and what every scheme answers for them.

Letters: N items that judge, C classes, S schemes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from braid import index as indexes
from braid.errors import StoreError
from braid.files import write_text
from braid.report.clip_pictures import draw
from braid.report.collect import Run, judged_on, read_runs
from braid.schemes.results import read_predictions
from braid.store.decoded import DecodedShard

PER_CELL = 4
"""Items of a cell that a scheme puts forward."""
IN_ALL = 200
"""Items that are shown: with two pictures of 6 kB each they make a page of 3 MB."""
N_PROBABLE = 5
"""Classes whose probability is kept: the most probable ones, and besides them those that matter for a cell."""
PER_MILLE = 1000
DELETED = {"frames": None, "sound": None, "why": "its decoded shard was deleted before it could be drawn"}


@dataclass(frozen=True)
class Answers:
    """What one scheme answers for the items that judge, all folds and seeds together.

    Attributes
    ----------
    labels : int64 [N]
    votes : uint16 [N, C]
        How many runs find which class most probable.
    probabilities : float32 [N, C]
        Mean over the runs that judge the item.
    """

    labels: np.ndarray
    votes: np.ndarray
    probabilities: np.ndarray


def draw_clips(
    results: Path,
    schemes: Sequence[str],
    folds: Sequence[str],
    seeds: Sequence[int],
    decoded: Mapping[str, Path],
    out: Path,
) -> None:
    """Write the clips that the page shows for cells of the confusion matrices, with pictures of them.

    Parameters
    ----------
    results : folder `results/<name>`
    decoded : mapping of shard to path
        Clips of a shard that is no longer there are shown without pictures.
    out : Path
        A JSON file: `schemes`, `n_items` that judge, and `clips`; each of these has `item`, `video`, `audio`, `start`,
        `end` (seconds or null), `label` (number of its class), what `braid.report.clip_pictures.draw` returns, and
        `answers`, one a scheme: `votes`, pairs of a class and how many runs name it, and `probabilities`, pairs of a
        class and its mean probability in thousandths.

    Raises
    ------
    StoreError
        A file cannot be read, or a scheme judges items that the manifest does not have.
    """
    runs = read_runs(results, schemes, folds, seeds)
    judged = judged_on(runs)
    index = indexes.load(results / "index")
    judging = pl.any_horizontal([pl.col(f"split_{fold}") == judged for fold in folds]) & pl.col("label").is_not_null()
    items = index.items().filter(judging)
    row_of = {item: row for row, item in enumerate(items["item"])}
    answers = [
        _answers([run for run in runs if run.scheme == scheme], judged, row_of, len(index.classes))
        for scheme in schemes
    ]
    rows = choose([proposed(scheme) for scheme in answers])
    shown = [items.row(row, named=True) for row in rows]
    pictures = dict(_pictures(shown, decoded))
    clips = [
        {key: item[key] for key in ("item", "video", "audio")}
        | {"start": item["start_seconds"], "end": item["end_seconds"], "label": int(answers[0].labels[row])}
        | pictures[item["item"]]
        | {"answers": [_told(scheme, row) for scheme in answers]}
        for row, item in zip(rows, shown, strict=True)
    ]
    found = {"schemes": list(schemes), "n_items": len(items), "clips": clips}
    write_text(out, json.dumps(found, ensure_ascii=False, separators=(",", ":")))


def proposed(answers: Answers) -> list[int]:
    """Return the items that a scheme puts forward, most telling first: at most `PER_CELL` of each cell of its matrix.

    Errors go before right answers; the first of all cells before the second ones; the surest first.
    """
    rows, named = answers.votes.nonzero()
    true = answers.labels[rows]
    sure = answers.probabilities[rows, named]
    cell = true * answers.votes.shape[1] + named
    order = np.lexsort((-sure, cell))
    first = np.searchsorted(cell[order], cell[order], side="left")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - first
    best = np.lexsort((-sure, rank, true == named))
    return rows[best][rank[best] < PER_CELL].tolist()


def choose(proposals: Sequence[Sequence[int]]) -> list[int]:
    """Return at most `IN_ALL` different items, taken in turn from the proposals of the schemes, each from its first."""
    chosen: dict[int, None] = {}
    queues = [iter(rows) for rows in proposals]
    while queues and len(chosen) < IN_ALL:
        for queue in list(queues):
            fresh = next((row for row in queue if row not in chosen), None)
            if fresh is None:
                queues.remove(queue)
            elif len(chosen) < IN_ALL:
                chosen[fresh] = None
    return list(chosen)


def _answers(runs: Sequence[Run], judged: str, row_of: Mapping[str, int], n_classes: int) -> Answers:
    """Return the answers of one scheme, in the rows of `row_of`: item → row."""
    shape = len(row_of), n_classes
    labels, times = np.zeros(shape[0], np.int64), np.zeros(shape[0], np.float32)
    votes, probabilities = np.zeros(shape, np.uint16), np.zeros(shape, np.float32)
    for run in runs:
        predicted = read_predictions(run.predictions)
        at = ((np.array(predicted.splits) == judged) & (predicted.labels >= 0)).nonzero()[0]
        names = [predicted.items[i] for i in at]
        if predicted.probabilities.shape[1] != n_classes or any(name not in row_of for name in names):
            raise StoreError(
                f"{run.predictions} has other classes or {judged} items than the manifest; delete it and train again"
            )
        rows = [row_of[name] for name in names]
        labels[rows] = predicted.labels[at]
        votes[rows, predicted.probabilities[at].argmax(axis=1)] += 1
        probabilities[rows] += predicted.probabilities[at]
        times[rows] += 1
    return Answers(labels, votes, probabilities / np.maximum(times, 1)[:, None])


def _told(answers: Answers, row: int) -> dict[str, list[list[int]]]:
    votes, given = answers.votes[row], answers.probabilities[row]
    probable = np.argsort(-given, kind="stable")[:N_PROBABLE].tolist()
    others = {int(answers.labels[row]), *votes.nonzero()[0].tolist()} - set(probable)
    return {
        "votes": [[int(c), int(votes[c])] for c in votes.nonzero()[0]],
        "probabilities": [[c, round(PER_MILLE * float(given[c]))] for c in [*probable, *sorted(others)]],
    }


def _pictures(items: Sequence[Mapping[str, Any]], decoded: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return item → its pictures, a shard at a time."""
    for name, of_shard in groupby(sorted(items, key=itemgetter("shard", "item")), key=itemgetter("shard")):
        if not decoded[name].exists():
            yield from ((item["item"], DELETED) for item in of_shard)
            continue
        with DecodedShard(decoded[name]) as shard:
            for item in of_shard:
                yield item["item"], draw(shard[item["clip"]], item["start_seconds"], item["end_seconds"])
