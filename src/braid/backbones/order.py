"""What a trained backbone has learnt from order in time: items as they are, shuffled, reversed, standing still.

The network stays as it is. It sees the same frames of each item, those of validation; in the segments of a temporal
segment network they are taken as one sequence. What does not change its answers was not learnt from order.

Letters: B items of a batch, S segments, T frames of a view, C' channels that are read, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from braid import manifest
from braid.backbones import inputs, model
from braid.backbones.data import Evaluation, loader
from braid.backbones.epochs import rounds
from braid.backbones.networks import Backbone
from braid.backbones.pictures import INPUTS, Pictures
from braid.errors import StoreError, TrainingError
from braid.files import write_text
from braid.fold import labelled
from braid.metrics.significance import flip_signs, mcnemar

AT_ONCE = 16
"""Items in one pass of the network."""


def order_test(
    items: pl.DataFrame,
    fold: str,
    shards: Mapping[str, Sequence[Path]],
    path: Path,
    permutations: int,
    out: Path,
    threads: int,
    device: str,
) -> None:
    """Write how many test items a backbone gets right in each order, as JSON.

    Where no test item has a label these are the validation items. `conditions` are the list of ``order`` (`ordered`,
    `reversed`, `repeated`, and `shuffled` once a permutation), ``right``, ``accuracy``, and against `ordered`:
    ``only_ordered`` and ``only_this`` count the items that are right in one of the two alone, ``p`` is McNemar's exact
    test on them. `shuffled` is the mean and standard deviation of the accuracy over permutations, and ``p`` of its
    difference from `ordered` by flips of signs of whole groups (`braid.metrics.significance.flip_signs`).

    Parameters
    ----------
    items : DataFrame
        Columns of `braid.manifest.parse`, splits included.
    fold : str
        That of the backbone.
    shards : mapping of str to paths
        The shards, one a shard of the manifest, of each source that the input reads: `decoded`, `flow`.
    path : the trained backbone, `model.safetensors`
    permutations : int
        Random orders, at least 1; they follow from the seed of the backbone and the place of an item.
    out : path of the JSON file
    threads : CPU threads to use
    device : `cpu` or `cuda`

    Raises
    ------
    StoreError
        The backbone was trained on other classes.
    TrainingError
        No item to judge by can be read.
    """
    backbone = model.load(path)
    classes = manifest.classes(items)
    if backbone.classes != classes:
        raise StoreError(f"{path} has other classes than the manifest; delete it and train again.")
    torch.set_num_threads(threads)
    rows = labelled(items, fold, classes).filter(pl.col("code") >= 0)
    split = "test" if "test" in rows["split"] else "val"
    reader = INPUTS[backbone.settings["input"]](backbone.settings, inputs.MIDDLE)
    data = Evaluation(rows.filter(split=split), shards, reader)
    if not len(data):
        raise TrainingError(f"Of the {data.lacking} {split} items of fold {fold} none can be read; see problems.tsv.")
    dtype = backbone.settings["dtype"]
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    seed = backbone.settings["seed"]
    network = backbone.network.to(device)
    names, right = answers(network, reader, data, permutations, seed, threads, device, getattr(torch, dtype))
    of_item = dict(rows.select("item", "group").iter_rows())
    found = compare(names, right, [of_item[item] for item in data.items])
    told = {"split": split, "n": len(data), "lacking": data.lacking, "seed": seed, **found}
    write_text(out, json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@torch.no_grad()
def answers(
    network: Backbone,
    reader: Pictures,
    data: Evaluation,
    permutations: int,
    seed: int,
    threads: int,
    device: str,
    dtype: torch.dtype = torch.float32,
) -> tuple[list[str], np.ndarray]:
    """Return the name of each of O orders, and whether each of N items is right in it, bool [O, N].

    Parameters
    ----------
    dtype : precision of the network's passes (autocast)
    """
    batches = rounds(len(data), AT_ONCE)
    right: list[list[np.ndarray]] = []
    names: list[str] = []
    reads = loader(data, [batch.tolist() for batch in batches], threads // 2, device == "cuda")
    for numbers, batch in zip(batches, reads, strict=True):
        names, parts = [], []
        raw = batch.raw.to(device, non_blocking=True)
        for name, reordered in orders(raw, reader.n_flow, numbers, permutations, seed):
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                logits = network(reader.encode(reordered))
            parts.append((logits.argmax(dim=1).cpu() == batch.labels).numpy())
            names.append(name)
        right.append(parts)
    return names, np.concatenate([np.stack(parts) for parts in right], axis=1)


def orders(raw: Tensor, n_flow: int, numbers: np.ndarray, permutations: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield each order by its name, and what is read of items, [B, S, T, C', h, w], in it.

    Flow that is seen backwards points the other way: the first `n_flow` channels are negated in reverse. A single
    frame, or pair of frames, that is repeated is the one in the middle of all S · T.

    Parameters
    ----------
    numbers : int64 [B]
        Places of the items among all, from which with `seed` their permutations follow.
    """
    b, s, t = raw.shape[:3]
    frames = raw.flatten(1, 2)
    yield "ordered", raw
    backwards = frames.flip(1)
    backwards[:, :, :n_flow] *= -1
    yield "reversed", backwards.unflatten(1, (s, t))
    middle = s * t // 2
    yield "repeated", frames[:, middle : middle + 1].expand_as(frames).unflatten(1, (s, t))
    item = torch.arange(b)[:, None]
    for r in range(permutations):
        drawn = [np.random.default_rng([seed, r, int(number)]).permutation(s * t) for number in numbers]
        yield "shuffled", frames[item, torch.from_numpy(np.stack(drawn))].unflatten(1, (s, t))


def compare(names: Sequence[str], right: np.ndarray, groups: Sequence[str]) -> dict[str, Any]:
    """Return the accuracy in each order and how it differs from that in the first one, `ordered`.

    Parameters
    ----------
    names : of O orders, the first of them `ordered`
    right : bool [O, N]
    groups : of each item, str [N]
    """
    n = right.shape[1]
    ordered = right[0]
    conditions = []
    for name, row in zip(names, right, strict=True):
        told: dict[str, Any] = {"order": name, "right": int(row.sum()), "accuracy": float(row.mean())}
        if name != "ordered":
            only_ordered, only_this = int((ordered & ~row).sum()), int((row & ~ordered).sum())
            p = mcnemar(only_ordered, only_this)
            told |= {"only_ordered": only_ordered, "only_this": only_this, "p": p}
        conditions.append(told)
    shuffled = right[[name == "shuffled" for name in names]]
    group = np.unique(groups, return_inverse=True)[1]
    by_group = np.stack([np.bincount(group, weights=row) for row in (ordered.astype(float), shuffled.mean(axis=0))])
    accuracies = shuffled.mean(axis=1)
    return {
        "conditions": conditions,
        "shuffled": {
            "permutations": len(shuffled),
            "accuracy": float(accuracies.mean()),
            "sd": float(accuracies.std(ddof=1)) if len(shuffled) > 1 else 0.0,
            "p": flip_signs(by_group / n, [(0, 1)])[0],
        },
    }
