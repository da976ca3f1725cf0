"""Features of one extractor for the items of one shard."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

import braid
from braid import weights
from braid.ahead import ahead, in_turn, meanwhile
from braid.device import is_out_of_memory, keep_freed_memory, use_threads
from braid.errors import BraidError, FeatureError
from braid.extractors.base import Extractor
from braid.extractors.batches import batches
from braid.extractors.plan import Plan, View
from braid.extractors.pooling import average, pool
from braid.extractors.registry import REGISTRY
from braid.extractors.sizing import AUTO, BatchSizes
from braid.store.features import FeatureWriter


def extract_features(
    items: pl.DataFrame,
    source: Path,
    out: Path,
    settings: Mapping[str, Any],
    threads: int,
    device: str,
    *,
    batch_size: int = AUTO,
    memory_mb: int = 8000,
) -> None:
    """Write the feature shard `out`.

    Threads decode and preprocess what comes next: while a GPU works on a batch, or in turn with a network that needs
    the cores itself. What waits is bounded in bytes by the job's memory, so it grows neither with the shard nor with
    the length of a clip.

    Parameters
    ----------
    items : DataFrame
        Columns item, clip, start_seconds, end_seconds (null: the stream's own start or end).
    source : path of the decoded shard, or of the flow shard for an extractor that reads flow
    settings : mapping
        The completed entry of the config.
    threads : CPU threads to use
    device : `cpu` or `cuda`
    batch_size : int
        Views in one forward pass, fewer where they do not fit; `AUTO` finds it.
    memory_mb : int
        What the job may use of the computer's memory, in megabytes.

    Raises
    ------
    FeatureError
        An extractor gave numbers that are not finite, cannot use the shard, or a single view does not fit into the
        memory of the device; the item is named.
    """
    entry = REGISTRY[settings["type"]]
    extractor: Extractor = entry.load()(settings)
    with _open(entry.source, source) as shard:
        source_attrs = {key: value for key, value in shard.attrs.items() if key != "clips"}
        attrs = {"weights": weights.digest(settings), "source": source_attrs}
        write_features(items, shard, out, extractor, settings, attrs, threads, device, batch_size, memory_mb)


def write_features(
    items: pl.DataFrame,
    shard: Any,
    out: Path,
    extractor: Extractor,
    settings: Mapping[str, Any],
    attrs: Mapping[str, Any],
    threads: int,
    device: str,
    batch_size: int,
    memory_mb: int,
) -> None:
    """Write the feature shard `out` with an extractor that is there already; all else is as in `extract_features`.

    Parameters
    ----------
    shard : gives a clip, as the extractor reads it, by its key
    attrs : mapping
        What the attributes say of weights and source.
    """
    use_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, not the 10 bits of TF32
    extractor.network.to(device)
    keep_freed_memory()
    kind = settings["type"]
    dtype = _dtype(settings["dtype"], device)
    sizes = BatchSizes(batch_size, memory_mb * 10**6, threads, device)
    print(f"{kind}: {len(items)} items, {dtype} on {device}, {threads} threads")
    told = {
        "extractor": kind,
        "version": REGISTRY[kind].version,
        "settings": dict(settings),
        "dtype": dtype,
        "device": device,
        "batch_size": batch_size or "auto",
        "braid": braid.__version__,
        "torch": torch.__version__,
        "classes": extractor.class_names,
        **attrs,
    }
    network = _Network(extractor, kind, dtype, device, sizes)
    with (
        FeatureWriter(out, told) as writer,
        ThreadPoolExecutor(threads, initializer=use_threads, initargs=(1,)) as pool,
        ThreadPoolExecutor(1, initializer=use_threads, initargs=(1,)) as stacker,
    ):
        # On a CPU in turn: a pass on two cores of which one is taken waits, layer by layer, for its slower half.
        on_cpu = device == "cpu"
        views = _Views(extractor, kind, shard, items, pool, in_turn if on_cpu else ahead, sizes)
        stacked = map(network.stacked, views.batches())
        first = islice(stacked, 1)  # what follows it is stacked when it has told how many views may go together
        for batch, tensor in chain(first, stacked if on_cpu else meanwhile(stacker, stacked)):
            network.run(batch, tensor)
            _write(writer, extractor, settings, views.complete())
        _write(writer, extractor, settings, views.complete())
    print(sizes)


PLANS_AHEAD = 2
"""Items a thread whose views are known before they are loaded."""


@dataclass
class _Item:
    """An item on its way: what is planned for it, and what the network has given so far, a row a view.

    The rows are allocated at once: small arrays that stay, one a batch, would keep freed memory from being used again,
    and memory would grow with the length of a clip.
    """

    name: str
    clip: Any
    plan: Plan
    n_done: int = 0
    tokens: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    logits: np.ndarray | None = None

    def take(self, number: int, token: np.ndarray, logit: np.ndarray | None) -> None:
        """Keep what the network gave for view `number`."""
        if not self.n_done:
            n = len(self.plan.views)
            self.tokens = np.empty((n, *token.shape), np.float32)
            self.logits = None if logit is None else np.empty((n, len(logit)), np.float32)
        self.tokens[number] = token
        if self.logits is not None:
            self.logits[number] = logit
        self.n_done += 1


class _View(NamedTuple):
    item: _Item
    number: int


class _Views:
    """The views of a shard's items in groups of one shape, planned and loaded by threads ahead of their use."""

    def __init__(
        self,
        extractor: Extractor,
        kind: str,
        shard: Any,
        items: pl.DataFrame,
        pool: ThreadPoolExecutor,
        work: Callable[..., Iterator[tuple[_View, Tensor]]],
        sizes: BatchSizes,
    ) -> None:
        self.extractor = extractor
        self.kind = kind
        self.shard = shard
        self.items = items
        self.pool = pool
        self.work = work
        self.sizes = sizes
        self._started: deque[_Item] = deque()

    def batches(self) -> Iterator[tuple[list[_View], list[Tensor]]]:
        """Yield views that can share a forward pass, and what the network reads for each."""
        loaded = self.work(self.pool, self._load, self._planned(), self.sizes.ahead)
        return batches(loaded, lambda tensor: self.sizes.of(tensor).now, self.sizes.most_bytes)

    def complete(self) -> Iterator[_Item]:
        """Yield, in order, the items that have all their tokens and of which none before lacks some."""
        while self._started and self._started[0].n_done == len(self._started[0].plan.views):
            yield self._started.popleft()

    def _planned(self) -> Iterator[_View]:
        rows = self.items.select("item", "clip", "start_seconds", "end_seconds").iter_rows(named=True)
        for item in ahead(self.pool, self._plan, rows, PLANS_AHEAD * self.sizes.loaders):
            self._started.append(item)
            yield from (_View(item, number) for number in range(len(item.plan.views)))

    def _plan(self, row: dict[str, Any]) -> _Item:
        with _naming(f"{self.kind}, item {row['item']!r}"):
            clip = self.shard[row["clip"]]
            return _Item(row["item"], clip, self.extractor.plan(clip, row["start_seconds"], row["end_seconds"]))

    def _load(self, view: _View) -> tuple[_View, Tensor]:
        with _naming(f"{self.kind}, item {view.item.name!r}"):
            return view, self.extractor.load(view.item.clip, view.item.plan.views[view.number])


class _Network:
    """The forward passes."""

    def __init__(self, extractor: Extractor, kind: str, dtype: str, device: str, sizes: BatchSizes) -> None:
        self.extractor = extractor
        self.kind = kind
        self.dtype = dtype
        self.device = device
        self.sizes = sizes

    def stacked(self, group: tuple[list[_View], list[Tensor]]) -> tuple[list[_View], Tensor]:
        """Return views and their batch, from where it gets to the device fastest."""
        batch = torch.stack(group[1])
        return group[0], batch if self.device == "cpu" else batch.pin_memory()

    def run(self, views: list[_View], batch: Tensor) -> None:
        """Give each item the tokens of its views, in several passes where one does not fit into memory."""
        size = self.sizes.of(batch[0])
        done = 0
        while done < len(views):
            part = views[done : done + size.now]
            begin = time.perf_counter()
            result = self._pass(part, batch[done : done + size.now])
            if result is not None:
                size.took(len(part), time.perf_counter() - begin)
                for view, token, logit in zip(part, *result, strict=True):
                    view.item.take(view.number, token, logit)
                done += len(part)
            elif len(part) > 1:
                size.did_not_fit(len(part))
                print(f"{self.kind}: {len(part)} views did not fit into memory, from here on at most {size.now} do")
            else:
                raise FeatureError(
                    f"{self.kind}, item {part[0].item.name!r}: a single view, {tuple(batch.shape[1:])} numbers in "
                    f"{self.dtype}, does not fit into the memory of the device ({self.device}); use a device with "
                    f"more memory, or choose a smaller network, shorter views or `dtype: bfloat16`"
                )

    def _pass(self, views: list[_View], batch: Tensor) -> tuple[list[np.ndarray], list[np.ndarray | None]] | None:
        """Return the tokens and the logits, float32 or None, of each view; None if memory does not suffice."""
        names = ", ".join(dict.fromkeys(repr(view.item.name) for view in views))
        try:
            with _naming(f"{self.kind}, item{'s' if ',' in names else ''} {names}"):
                return self._forward(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        if self.device != "cpu":
            torch.cuda.empty_cache()  # now that the error is gone, and with it what the pass had allocated
        return None

    def _forward(self, batch: Tensor) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            tokens, logits = self.extractor.forward(batch.to(self.device, non_blocking=True))
        rows = list(tokens.float().cpu().numpy())
        return rows, [None] * len(rows) if logits is None else list(logits.float().cpu().numpy())


def _write(writer: FeatureWriter, extractor: Extractor, settings: Mapping[str, Any], items: Iterable[_Item]) -> None:
    for item in items:
        views, status, reason = item.plan
        if not views:
            writer.append(item.name, None, status=status, reason=reason)
            continue
        steps = item.tokens.shape[1] if item.tokens.ndim == 3 else 1
        tokens = item.tokens.reshape(len(views) * steps, -1)
        with _naming(settings["type"]):  # the writer names the item
            writer.append(
                item.name,
                pool(tokens, settings["pooling"], extractor.normalised),
                tokens=tokens,
                times=np.concatenate([_steps(view, steps) for view in views]),
                scores=None
                if item.logits is None
                else average(item.logits, settings["scores"], extractor.several_classes),
                view_scores=item.logits if extractor.class_names else None,
                status=status,
                reason=reason,
            )


def _steps(view: View, n: int) -> np.ndarray:
    """Return the seconds [start, end) of each of `n` equal parts of a view, float64 [n, 2]."""
    bounds = np.linspace(view.start_seconds, view.end_seconds, n + 1)
    return np.stack([bounds[:-1], bounds[1:]], axis=1)


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
def _naming(where: str) -> Iterator[None]:
    """Put the names of extractor and item into errors that are raised inside."""
    try:
        yield
    except BraidError as error:
        raise type(error)(f"{where}: {error}") from error
    except Exception as error:
        error.add_note(f"This was in {where}.")
        raise
