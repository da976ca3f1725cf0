"""The index of a manifest: what each job may know of it without reading it, and the digests that decide what reruns.

`items-….arrow` holds the rows sorted by shard and item, so that a job reads one slice of it; `index.json` holds the
rest and names that file, so that replacing `index.json` moves from one state to the next at once. The file of the
state before stays for jobs that are under way.

The digest of a shard stands for the rows that its cached file was computed from. It must differ whenever the file may
lack a row of the manifest, and must stay when rows were only removed, for then the file holds all that is asked of it:

- A shard seen for the first time has the plain digest, that of its rows alone, so that an index that is lost and made
  anew reruns nothing.
- A shard that lost rows keeps its digest. From then on it is no plain digest, since the rows are fewer.
- A shard with new or changed rows takes the plain digest of the rows, but where the digest was no longer plain it
  takes one of the rows and the digest before: a row that left and comes back may be absent from the file that was
  computed in between, so that no digest of the past may return.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from braid import manifest
from braid.errors import ManifestError
from braid.files import digest, whole, write_text

FORMAT = 1
_SETTLED_NS = 2_000_000_000
"""A modification time younger than this may hide a second edit, since file systems count time in steps."""

_COLUMNS = {"clips": ["clip", "bytes", "sha256"], "items": ["item", "clip", "start_seconds", "end_seconds"]}
"""What the digests of a shard cover."""


class Lineage(NamedTuple):
    """The digest of a shard's cached file, and the plain digest of the rows that the manifest has now."""

    digest: str
    plain: str

    def follow(self, plain: str, shrunk: bool) -> Lineage:
        """Return the lineage after the rows became those of `plain`; `shrunk` says that none of them is new."""
        if shrunk:
            return Lineage(self.digest, plain)
        if self.digest == self.plain:
            return Lineage(plain, plain)
        return Lineage(digest([self.digest, plain]), plain)


class Shard(NamedTuple):
    """Where the rows of a shard are, and its lineages. A shard that left the manifest stays known, with length 0."""

    offset: int
    length: int
    clips: Lineage
    items: Lineage


class Pending(NamedTuple):
    """What an index holds that its folder does not: rows, where they changed, and the items file that is superseded."""

    rows: pl.DataFrame | None
    superseded: str | None


@dataclass(frozen=True)
class Index:
    """A manifest as jobs see it.

    Attributes
    ----------
    folder : Path
        Where the index is kept.
    root : Path
        Folder of the manifest, which its paths are relative to.
    splits : dict of str to list of str
        Fold → the splits that have items in it.
    shards, classes : list of str
        Names; `classes` are the labels of all items that a fold uses, sorted, so that position is class number.
    """

    folder: Path
    root: Path
    splits: dict[str, list[str]]
    shards: list[str]
    classes: list[str]
    _state: dict[str, Any]
    _pending: Pending | None = None

    def save(self) -> None:
        """Write what `examine` found new, so that jobs can read it; nothing where the folder has it already."""
        if self._pending is None:
            return
        if self._pending.rows is not None:
            with whole(self.folder / self._state["items"]) as beside:
                # Small batches keep what a job reads near the slice that it asks for.
                self._pending.rows.write_ipc(beside, compression="uncompressed", record_batch_size=16_384)
        write_text(self.folder / "index.json", json.dumps(self._state))
        if self._pending.superseded:
            (self.folder / self._pending.superseded).unlink(missing_ok=True)

    @property
    def folds(self) -> list[str]:
        """Names of the folds."""
        return list(self.splits)

    def clips_digest(self, shard: str) -> str:
        """Return what stands for the clips that the cached file of `shard` was decoded from."""
        return self._shard(shard).clips.digest

    def items_digest(self, shard: str) -> str:
        """Return what stands for the items and windows that a feature file of `shard` was computed for."""
        return self._shard(shard).items.digest

    @property
    def present_digest(self) -> str:
        """What stands for the clips that are in the manifest now, in all shards."""
        return digest({shard: self._shard(shard).clips.plain for shard in self.shards})

    def fold_digest(self, fold: str) -> str:
        """Return what stands for items, labels, groups and splits that training in `fold` sees."""
        return self._state["folds"][fold]

    def train_digest(self, fold: str) -> str:
        """Return what stands for the items that are in `train` of `fold`, whatever their labels."""
        train = self.items().filter(pl.col(f"split_{fold}") == "train")
        return _hash(_signatures(train, ["shard", "item"]).str.join("").item())

    def items(self, shard: str | None = None) -> pl.DataFrame:
        """Return the items, of one shard where it is named, with the columns of `braid.manifest.parse`.

        Rows are sorted by shard and item, whatever the order of the manifest.
        """
        if self._pending and self._pending.rows is not None:
            rows = self._pending.rows.lazy()
        else:
            rows = pl.scan_ipc(self.folder / self._state["items"])
        if shard is not None:
            rows = rows.slice(*self._shard(shard)[:2])
        return rows.collect()

    def clips(self, shard: str) -> pl.DataFrame:
        """Return the clips of a shard, one row each, sorted by key: clip, video, audio, bytes, sha256.

        `video` and `audio` are absolute paths, or empty where the clip has none.
        """
        clips = self.items(shard).select("clip", "video", "audio", "bytes", "sha256").unique("clip").sort("clip")

        def absolute(stream: str) -> pl.Series:
            paths = [os.path.normpath(self.root / path) if path else "" for path in clips[stream]]
            return pl.Series(stream, paths, pl.String)

        return clips.with_columns(absolute("video"), absolute("audio"))

    def _shard(self, name: str) -> Shard:
        offset, length, clips, items = self._state["shards"][name]
        return Shard(offset, length, Lineage(*clips), Lineage(*items))


def load(folder: str | Path) -> Index:
    """Return the index in `folder` without reading the manifest; ManifestError where there is none."""
    folder = Path(folder)
    try:
        state = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"There is no index in {folder}; start the workflow, which makes it.") from None
    if state["format"] != FORMAT:
        raise ManifestError(f"The index in {folder} has format {state['format']}, not {FORMAT}; delete the folder.")
    return _index(folder, state)


def update(path: str | Path, folder: str | Path) -> Index:
    """Return the index of the manifest at `path`, made or brought up to date in `folder`; errors as from `examine`."""
    made = examine(path, folder)
    made.save()
    return made


def examine(path: str | Path, folder: str | Path) -> Index:
    """Return the index that the manifest at `path` will have in `folder`, and write nothing.

    So a dry run sees what would run, and leaves the index as the last run, or the one under way, has it. The result
    depends on the manifest and the index before alone. Where size and modification time of the manifest
    are those of the index, or else its content is, nothing is checked again. Otherwise all rows are checked, and
    the files of new and changed clips are looked for.

    Raises
    ------
    ManifestError
        From `braid.manifest.parse`, or because files of new or changed clips do not exist.
    """
    path, folder = Path(path), Path(folder)
    before = load(folder)._state if (folder / "index.json").exists() else None
    status = manifest.stat(path)
    settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
    source = {
        "path": os.path.relpath(path, folder),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns if settled else None,
    }
    if before and settled and source.items() <= before["manifest"].items():
        return _index(folder, before)
    data = path.read_bytes()
    source["content"] = hashlib.blake2b(data, digest_size=16).hexdigest()
    if before and source["content"] == before["manifest"]["content"]:
        return _index(folder, before | {"manifest": source}, Pending(None, None))
    rows = manifest.parse(data, path).sort("shard", "item")
    after = _advance(rows, path, folder, before) | {"manifest": source}
    superseded = before["items_before"] if before else None
    return _index(folder, after, Pending(rows, None if superseded == after["items"] else superseded))


def _index(folder: Path, state: dict[str, Any], pending: Pending | None = None) -> Index:
    source = os.path.normpath(Path.cwd() / folder / state["manifest"]["path"])
    shards = sorted(name for name, (_, length, *_) in state["shards"].items() if length)
    return Index(folder, Path(source).parent, state["splits"], shards, state["classes"], state, pending)


def _advance(items: pl.DataFrame, path: Path, folder: Path, before: dict[str, Any] | None) -> dict[str, Any]:
    """Return the state that follows `before`, save for what describes the manifest's file."""
    old = pl.read_ipc(folder / before["items"]) if before else items.clear()
    known = {name: Shard(*shard) for name, shard in before["shards"].items()} if before else {}
    seen = _signatures(old, _COLUMNS["clips"]).unique().implode()
    manifest.check_files(items.filter(~_signatures(items, _COLUMNS["clips"]).is_in(seen)).unique("clip"), path)
    clips = _lineages(items, old, {name: Lineage(*shard.clips) for name, shard in known.items()}, "clips")
    rows = _lineages(items, old, {name: Lineage(*shard.items) for name, shard in known.items()}, "items")
    lengths = dict(items.group_by("shard", maintain_order=True).len().iter_rows())
    offsets = np.cumsum([0, *lengths.values()]).tolist()
    shards = {
        name: Shard(offset, length, clips[name], rows[name])
        for offset, (name, length) in zip(offsets, lengths.items(), strict=False)
    }
    gone = {name: shard._replace(offset=0, length=0) for name, shard in known.items() if name not in shards}
    classes = manifest.classes(items)
    folds = _fold_digests(items, classes)
    return {
        "format": FORMAT,
        "items": f"items-{digest([before and before['items'], clips, rows, folds])}.arrow",
        "items_before": before and before["items"],
        "classes": classes,
        "splits": {fold: items[f"split_{fold}"].drop_nulls().unique().sort().to_list() for fold in folds},
        "folds": folds,
        "shards": shards | gone,
    }


def _lineages(items: pl.DataFrame, old: pl.DataFrame, before: dict[str, Lineage], kind: str) -> dict[str, Lineage]:
    """Return the lineage of each shard for one kind of `_COLUMNS`, after the rows of `old` became `items`."""
    rows = _signed(items, _COLUMNS[kind])
    joined = rows.group_by("shard").agg(pl.col("signature").unique().sort().str.join(""))
    plain = {shard: _hash(text) for shard, text in joined.iter_rows()}
    changed = [shard for shard in plain if shard in before and before[shard].plain != plain[shard]]
    in_changed = pl.col("shard").is_in(changed)
    rows_before = _signed(old.filter(in_changed), _COLUMNS[kind])
    grown = set(rows.filter(in_changed).join(rows_before, on=["shard", "signature"], how="anti")["shard"])
    return {
        shard: before[shard].follow(text, shard not in grown) if shard in before else Lineage(text, text)
        for shard, text in plain.items()
    }


def _fold_digests(items: pl.DataFrame, classes: list[str]) -> dict[str, str]:
    """Return the digest of each fold, which a new class changes in all folds, since it adds an output to networks."""
    digests = {}
    for fold in manifest.folds(items):
        used = items.filter(pl.col(f"split_{fold}").is_not_null())
        rows = _signatures(used, ["item", "label", "group", f"split_{fold}"]).str.join("").item()
        digests[fold] = digest([classes, _hash(rows)])
    return digests


def _signed(items: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return the shard and the signature of all rows."""
    return pl.DataFrame([items["shard"], _signatures(items, columns)])


def _signatures(items: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Return a string a row that stands for its fields: each with its length in front, so that no two rows share one.

    Numbers of seconds stand as the integers that their bits make, for decimal spellings differ between versions.
    """
    fields = []
    for column in columns:
        values = items[column]
        if values.dtype == pl.Float64:
            bits = (values.fill_null(0.0) + 0.0).to_numpy().view(np.uint64)
            values = pl.select(pl.when(values.is_not_null()).then(pl.Series(column, bits))).to_series()
        text = values.cast(pl.String)
        fields.append(pl.concat_str(text.str.len_bytes(), pl.lit(":"), text, pl.lit(",")).fill_null("-,"))
    return items.select(pl.concat_str(fields).alias("signature")).to_series()


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
