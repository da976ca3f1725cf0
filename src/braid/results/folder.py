"""A results folder in Python: features as NumPy or xarray, predictions and metrics as pandas.

Everything is read when it is asked for. What exists while a run is under way can be read then: the index, features and
predictions. What speaks of all runs together, the config and the metrics, comes with the report, the last job of a run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid import index as indexes
from braid.errors import BraidError, FeatureError, StoreError
from braid.index import Index
from braid.schemes.results import Predictions, read_predictions
from braid.store.features import FeatureShard

if TYPE_CHECKING:
    import pandas
    import xarray


@dataclass(frozen=True)
class Features:
    """What an extractor gives for N items; D numbers of an embedding, C classes of the extractor.

    Attributes
    ----------
    items, status, reason : list of str [N]
        Name of the item, status of the stream that is read, and why it is not `ok`.
    embedding : float32 [N, D]
        A row of NaN where the stream is not usable. D = 0 where no item has an embedding.
    scores : float32 [N, C] or None
        Of the network's own classes, rows of NaN as in `embedding`; None where it has none.
    attrs : dict
        How the numbers came about, as the first shard says: settings, version, weights, precision, device.
    """

    items: list[str]
    status: list[str]
    reason: list[str]
    embedding: np.ndarray
    scores: np.ndarray | None
    attrs: dict[str, Any]

    def to_xarray(self) -> xarray.Dataset:
        """Return the same as a Dataset with the coordinate `item`; BraidError where xarray is not installed."""
        data: dict[str, Any] = {
            "embedding": (("item", "number"), self.embedding),
            "status": ("item", np.array(self.status, dtype=str)),
            "reason": ("item", np.array(self.reason, dtype=str)),
        }
        if self.scores is not None:
            data["scores"] = (("item", "class"), self.scores)
        return _package("xarray").Dataset(data, coords={"item": np.array(self.items, dtype=str)})


class Results:
    """What one run left in `results/<name>/`.

    Parameters
    ----------
    folder : path of the folder

    Raises
    ------
    StoreError
        The folder holds no run. Every method raises it for what is not there, with the command that makes it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "index" / "index.json").exists():
            raise StoreError(
                f"{self.folder} is no results folder, for it holds no index; name one as results/<name>, with the "
                f"`name` of a config that has been run."
            )

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r})"

    @cached_property
    def index(self) -> Index:
        """The manifest as the last run saw it."""
        return indexes.load(self.folder / "index")

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the report says of itself: `config`, `versions`, `commit`, `classes`, `judged`, `folds`, and counts."""
        return json.loads(self.existing("provenance.json").read_text(encoding="utf-8"))

    @property
    def config(self) -> dict[str, Any]:
        """The config that the report was written for, with every default."""
        return self.provenance["config"]

    @property
    def classes(self) -> list[str]:
        """Names of the classes; position is class number."""
        return self.provenance["classes"]

    def features(self, extractor: str, fold: str | int | None = None) -> Features:
        """Return the features of all items of the index, in its order.

        Parameters
        ----------
        fold : name of the fold; of extractors that learn from the training items of each fold, and only of these

        Raises
        ------
        FeatureError
            A shard was computed before an item came into it.
        """
        blocks: list[tuple[FeatureShard, list[int]]] = []
        for name in self.index.shards:
            with self._features(extractor, name, fold) as shard:
                rows = _rows(shard, self.index.items(name)["item"].to_list())
                _ = shard.embedding, shard.scores, shard.status, shard.reason, shard.attrs  # read while it is open
                blocks.append((shard, rows))
        return Features(
            items=[shard.items[row] for shard, rows in blocks for row in rows],
            status=[shard.status[row] for shard, rows in blocks for row in rows],
            reason=[shard.reason[row] for shard, rows in blocks for row in rows],
            embedding=_stacked([(shard.embedding, rows) for shard, rows in blocks]),
            scores=_stacked([(shard.scores, rows) for shard, rows in blocks])
            if any(shard.scores is not None for shard, _ in blocks)
            else None,
            attrs=blocks[0][0].attrs,
        )

    def tokens(self, extractor: str, item: str, fold: str | int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of an item, float32 [T, E], and their seconds [start, end), float64 [T, 2].

        T is 0 where the stream is not usable or the extractor has no tokens; `fold` is as for `features`.
        """
        items = self.index.items()
        found = items.filter(item=item)["shard"]
        if found.is_empty():
            raise StoreError(
                f"{self.folder} has no item {item!r}; the first of its {items.height} is {items['item'][0]!r}."
            )
        with self._features(extractor, found[0], fold) as shard:
            return shard.tokens(_rows(shard, [item])[0])

    def predictions(self, scheme: str, fold: str | int, seed: int) -> pandas.DataFrame:
        """Return what one training of a scheme says of every item of the fold.

        Returns
        -------
        DataFrame
            One row an item: `item`, `split`, `label` (missing without one), `guessed` where it has none of the scheme's
            modalities, so that its probabilities are the shares of the classes in train, and `p(<class>)`.
        """
        found = self.read_predictions(scheme, fold, seed)
        labels = [found.classes[label] if label >= 0 else None for label in found.labels]
        columns = {"item": found.items, "split": found.splits, "label": labels}
        columns |= {"guessed": np.logical_not(found.present.any(axis=1))}
        columns |= {f"p({name})": found.probabilities[:, c] for c, name in enumerate(found.classes)}
        return _package("pandas").DataFrame(columns)

    def read_predictions(self, scheme: str, fold: str | int, seed: int) -> Predictions:
        """Return the same without pandas."""
        return read_predictions(self.existing(f"schemes/{scheme}/fold{fold}/seed{seed}/predictions.h5"))

    def metrics(self) -> pandas.DataFrame:
        """Return all metrics, one row a scheme, fold, seed and split: the table `tables/runs.csv` of the report."""
        self.check_finished()
        return _package("pandas").read_csv(
            self.existing("tables/runs.csv"),
            dtype={"scheme": str, "fold": str},
            keep_default_na=False,  # a scheme may be called NA
            na_values=[""],
        )

    def problems(self) -> pandas.DataFrame:
        """Return each stream that is not as it should be: clip, video, audio, stream, status, reason, shard."""
        return _package("pandas").read_csv(
            self.existing("decoded/problems.tsv"), sep="\t", dtype=str, keep_default_na=False
        )

    def check_finished(self) -> None:
        """Raise StoreError where a run of a scheme is missing, or was trained again after the report was written."""
        import polars as pl

        table = pl.read_csv(self.existing("tables/runs.csv"), schema_overrides={"fold": pl.String})
        for scheme, fold, seed, split, log_loss in table.select("scheme", "fold", "seed", "split", "log_loss").rows():
            run = f"schemes/{scheme}/fold{fold}/seed{seed}"
            metrics = json.loads(self.existing(f"{run}/metrics.json").read_text(encoding="utf-8"))
            if (metrics[split] or {}).get("log_loss") != log_loss:
                raise StoreError(
                    f"{self.folder / run} was trained again after the report was written; {self._command()} finishes "
                    f"the run."
                )

    def existing(self, name: str) -> Path:
        """Return the path of a file below the folder; StoreError where there is none."""
        path = self.folder / name
        if not path.exists():
            place = path.parent
            while not place.exists():
                place = place.parent
            beside = sorted(each.name for each in place.iterdir() if not each.name.startswith("."))
            raise StoreError(
                f"{path} is not there; {place} has {', '.join(beside) or 'nothing'}. If the config asks for it, make "
                f"it with {self._command(name)}."
            )
        return path

    def _command(self, name: str = "") -> str:
        """Return in words what makes a file of this run, or all of them."""
        run = self.folder.resolve().name
        target = f" results/{run}/{name}" if name else ""
        return f"`snakemake{target} --configfile FILE`, FILE being the config whose `name` is {run}"

    def _features(self, extractor: str, shard: str, fold: str | int | None) -> FeatureShard:
        place = f"features/{extractor}"
        folds = sorted(path.name.removeprefix("fold") for path in (self.folder / place).glob("fold*"))
        if folds and fold is None:
            raise StoreError(
                f"{self.folder / place} has features for each fold, since the extractor learns from the training "
                f"items; name one of the folds {', '.join(folds)}, as in `fold={folds[0]!r}`."
            )
        return FeatureShard(self.existing(f"{place}/{shard}.h5" if fold is None else f"{place}/fold{fold}/{shard}.h5"))


def _rows(shard: FeatureShard, items: list[str]) -> list[int]:
    """Return the row of each item; rows of clips that have left the manifest stay in a shard."""
    row_of = {item: row for row, item in enumerate(shard.items)}
    missing = [item for item in items if item not in row_of]
    if missing:
        raise FeatureError(
            f"{shard.path} lacks {len(missing)} of {len(items)} items, the first is {missing[0]!r}: they came after it "
            f"was computed; run the workflow again."
        )
    return [row_of[item] for item in items]


def _stacked(blocks: list[tuple[np.ndarray | None, list[int]]]) -> np.ndarray:
    """Return the rows of all shards, float32 [N, D]; a shard none of whose items is usable has D = 0, and gets NaN."""
    width = max(values.shape[1] for values, _ in blocks if values is not None)
    return np.concatenate(
        [
            values[rows] if values is not None and values.shape[1] else np.full((len(rows), width), np.nan, np.float32)
            for values, rows in blocks
        ]
    )


def _package(name: str) -> Any:
    """Return a package of the extra `notebook`."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise BraidError(
            f"This needs the package {name}, which is not installed: install braid with its extra notebook, as in "
            f"`pip install '.[notebook]'`."
        ) from error
