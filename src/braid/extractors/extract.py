"""Features of one extractor for the items of one shard."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

import braid
from braid import weights
from braid.device import keep_freed_memory
from braid.errors import BraidError
from braid.extractors.base import Extractor, Plan
from braid.extractors.batches import ahead, batches
from braid.extractors.pooling import average, pool
from braid.extractors.registry import REGISTRY
from braid.store.features import FeatureWriter


def extract_features(
    items: pl.DataFrame, source: Path, out: Path, settings: Mapping[str, Any], threads: int, device: str
) -> None:
    """Write the feature shard `out`.

    While the network works on a batch, threads decode and preprocess what comes next; what waits is bounded by the
    batch size, so memory does not grow with the shard or the length of a clip.

    Parameters
    ----------
    items : DataFrame
        Columns item, clip, start_seconds, end_seconds (null: the stream's own start or end).
    source : path of the decoded shard, or of the flow shard for an extractor that reads flow
    settings : mapping
        The completed entry of the config.
    threads : CPU threads to use
    device : `cpu` or `cuda`

    Raises
    ------
    FeatureError
        An extractor gave numbers that are not finite, or cannot use the shard; the item is named.
    """
    entry = REGISTRY[settings["type"]]
    torch.set_num_threads(threads)
    if device == "cpu":
        keep_freed_memory()
    else:
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32, not the 10 bits of TF32
    extractor: Extractor = entry.load()(settings)
    extractor.network.to(device)
    dtype = _dtype(settings["dtype"], device)
    print(f"{settings['type']}: {len(items)} items, {dtype} on {device}, {threads} threads")
    with _open(entry.source, source) as shard:
        attrs = {
            "extractor": settings["type"],
            "version": entry.version,
            "settings": dict(settings),
            "weights": weights.digest(settings),
            "dtype": dtype,
            "device": device,
            "braid": braid.__version__,
            "torch": torch.__version__,
            "source": {key: value for key, value in shard.attrs.items() if key != "clips"},
        }
        loaders = 1 if device == "cpu" else threads  # on the CPU the network needs the rest
        with (
            FeatureWriter(out, attrs) as writer,
            ThreadPoolExecutor(loaders, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            views = _Views(extractor, shard, items, pool, settings["batch_size"])
            for keys, batch in views.batches():
                for (item, number), token, logit in zip(keys, *_forward(extractor, batch, dtype, device), strict=True):
                    item.tokens[number], item.logits[number] = token, logit
                _write(writer, extractor, settings, views.complete())
            _write(writer, extractor, settings, views.complete())


@dataclass
class _Item:
    """An item on its way: what is planned for it, and what the network has given so far, by number of its view."""

    name: str
    clip: Any
    plan: Plan
    tokens: dict[int, np.ndarray] = field(default_factory=dict)
    logits: dict[int, np.ndarray | None] = field(default_factory=dict)


class _Views:
    """The views of a shard's items as batches, planned and loaded by the threads of `pool` ahead of their use."""

    def __init__(
        self, extractor: Extractor, shard: Any, items: pl.DataFrame, pool: ThreadPoolExecutor, batch_size: int
    ) -> None:
        self.extractor = extractor
        self.shard = shard
        self.items = items
        self.pool = pool
        self.batch_size = batch_size
        self._started: deque[_Item] = deque()

    def batches(self) -> Iterator[tuple[list[tuple[_Item, int]], Tensor]]:
        """Yield items with the number of one of their views, and the stacked tensors of these views."""
        loaded = ahead(self.pool, self._load, self._planned(), 2 * self.batch_size)
        return batches(loaded, self.batch_size)

    def complete(self) -> Iterator[_Item]:
        """Yield, in order, the items that have all their tokens and of which none before lacks some."""
        while self._started and len(self._started[0].tokens) == len(self._started[0].plan.views):
            yield self._started.popleft()

    def _planned(self) -> Iterator[tuple[_Item, int]]:
        rows = self.items.select("item", "clip", "start_seconds", "end_seconds").iter_rows(named=True)
        for item in ahead(self.pool, self._plan, rows, self.batch_size):
            self._started.append(item)
            yield from ((item, number) for number in range(len(item.plan.views)))

    def _plan(self, row: dict[str, Any]) -> _Item:
        with _naming(row["item"]):
            clip = self.shard[row["clip"]]
            return _Item(row["item"], clip, self.extractor.plan(clip, row["start_seconds"], row["end_seconds"]))

    def _load(self, view: tuple[_Item, int]) -> tuple[tuple[_Item, int], Tensor]:
        item, number = view
        with _naming(item.name):
            return view, self.extractor.load(item.clip, item.plan.views[number])


def _forward(
    extractor: Extractor, batch: Tensor, dtype: str, device: str
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Return the tokens and the logits, float32 or None, of each view of a batch."""
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
        tokens, logits = extractor.forward(batch.to(device))
    rows = list(tokens.float().cpu().numpy())
    return rows, [None] * len(rows) if logits is None else list(logits.float().cpu().numpy())


def _write(writer: FeatureWriter, extractor: Extractor, settings: Mapping[str, Any], items: Iterable[_Item]) -> None:
    for item in items:
        views, status, reason = item.plan
        if not views:
            writer.append(item.name, None, status=status, reason=reason)
            continue
        tokens = np.stack([item.tokens[number] for number in range(len(views))])
        logits = [row for number in range(len(views)) if (row := item.logits[number]) is not None]
        writer.append(
            item.name,
            pool(tokens, settings["pooling"], extractor.normalised),
            tokens=tokens,
            times=np.array([(view.start_seconds, view.end_seconds) for view in views]),
            scores=average(np.stack(logits), settings["scores"], extractor.several_classes) if logits else None,
            status=status,
            reason=reason,
        )


def _dtype(chosen: str, device: str) -> str:
    if chosen == "auto":
        return "float32" if device == "cpu" else "bfloat16"
    return chosen


def _open(source: str, path: Path) -> Any:
    if source == "flow":
        from braid.store.flow import FlowShard

        return FlowShard(path)
    from braid.store.decoded import DecodedShard

    return DecodedShard(path)


@contextmanager
def _naming(item: str) -> Iterator[None]:
    """Put the item's name into errors that are raised inside."""
    try:
        yield
    except BraidError as error:
        raise type(error)(f"item {item!r}: {error}") from error
    except Exception as error:
        error.add_note(f"while reading item {item!r}")
        raise
