"""What each kind of data set gives, and how it becomes a manifest that keeps what the one before decided."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from braid import manifest
from braid.datasets import files, splits
from braid.errors import ManifestError

SCHEMA = {
    "item": pl.String,
    "video": pl.String,
    "audio": pl.String,
    "start_seconds": pl.Float64,
    "end_seconds": pl.Float64,
    "label": pl.String,
    "group": pl.String,
}


@dataclass(frozen=True)
class Source:
    """The items of a data set as its files say.

    Attributes
    ----------
    items : polars.DataFrame
        Columns of `SCHEMA`; `video` and `audio` are paths from the working folder, or empty. `split_1` … `split_K`
        where the data set has splits of its own.
    notes : list of str
        Sentences about what was understood and what left out.
    """

    items: pl.DataFrame
    notes: list[str]


@dataclass(frozen=True)
class Changes:
    """The clips, by their video or else audio path, in which a manifest differs from the one before.

    `first` says that there was none.
    """

    first: bool
    new: list[str]
    changed: list[str]
    gone: list[str]


def write_manifest(
    source: pl.DataFrame, path: Path, shard_size: int, shares: dict[str, float], seed: int, checksums: bool
) -> Changes:
    """Write the manifest `path` of the items `source` and return what is new in it.

    A clip that the manifest holds already keeps its shard; new clips fill new shards. Where the source has no splits
    or groups, an item keeps those that the manifest gives it; other items with a label are split by `shares` and
    `seed`, and those without are to be predicted. `bytes` are measured anew; so is `sha256`, which new and changed
    clips get where `checksums` says so or the manifest has them already.

    Parameters
    ----------
    source : polars.DataFrame
        See `Source.items`.
    shard_size : int
        Clips in a new shard, at most.

    Raises
    ------
    ManifestError
        A file does not exist, or the manifest would break its contract.
    """
    items = source.with_columns(_relative(source[stream], path.parent) for stream in ("video", "audio"))
    items = items.with_columns(manifest.clip_keys(items))
    manifest.check_files(items, path)
    before = manifest.read(path) if path.exists() else None
    clips = items.unique("clip", keep="first").select("clip", "video", "audio").sort("video", "audio")
    clips = _with_shards(clips, before, shard_size)
    clips, changed = _with_contents(clips, before, path.parent, checksums)
    items = _with_splits(_with_groups(items, before), before, shares, seed)
    items = items.join(clips.drop("video", "audio"), on="clip", how="left")
    manifest.write(items.sort("shard", "item"), path)
    known = before.unique("clip") if before is not None else clips.clear()
    return Changes(
        first=before is None,
        new=_names(clips.join(known, on="clip", how="anti")),
        changed=changed,
        gone=_names(known.join(clips, on="clip", how="anti")),
    )


def stale(items: pl.DataFrame, root: Path) -> list[str]:
    """Return the names of the clips in a manifest in the folder `root` whose files have other sizes than `bytes`."""
    clips = items.unique("clip").filter(pl.col("bytes").is_not_null())
    sizes = [files.size(_paths(root, video, audio)) for video, audio in clips.select("video", "audio").iter_rows()]
    return _names(clips.filter(pl.Series(sizes, dtype=pl.Int64) != pl.col("bytes")))


def _paths(root: Path, video: str, audio: str) -> list[Path]:
    """Return the files of a clip, each once."""
    return [Path(os.path.normpath(root / path)) for path in dict.fromkeys((video, audio)) if path]


def _relative(paths: pl.Series, folder: Path) -> pl.Series:
    texts = [Path(os.path.relpath(path, folder)).as_posix() if path else "" for path in paths.to_list()]
    return pl.Series(paths.name, texts, pl.String)


def _names(clips: pl.DataFrame) -> list[str]:
    return clips.select(pl.when(pl.col("video") != "").then("video").otherwise("audio")).to_series().sort().to_list()


def _with_shards(clips: pl.DataFrame, before: pl.DataFrame | None, shard_size: int) -> pl.DataFrame:
    """Return `clips` with `shard`: the one it had, else one of new shards, numbered on from the highest number."""
    known = before.select("clip", "shard").unique() if before is not None else pl.DataFrame(schema=["clip", "shard"])
    clips = clips.join(known.cast(pl.String), on="clip", how="left", maintain_order="left")
    numbers = known.cast(pl.String)["shard"].str.extract(r"^s(\d+)$", 1).drop_nulls().cast(pl.Int64).to_list()
    number = max(numbers, default=-1) + 1 + (pl.col("shard").is_null().cum_sum() - 1) // shard_size
    new = pl.format("s{}", number.cast(pl.String).str.zfill(4))
    return clips.with_columns(pl.coalesce("shard", new))


def _with_contents(
    clips: pl.DataFrame, before: pl.DataFrame | None, root: Path, checksums: bool
) -> tuple[pl.DataFrame, list[str]]:
    """Return `clips` with `bytes` and `sha256` as their files are now, and the names of those that changed."""
    known = {clip: (size, sha256) for clip, size, sha256 in _rows(before, "clip", "bytes", "sha256")}
    wanted = checksums or any(sha256 for _, sha256 in known.values())

    def measure(clip: str, video: str, audio: str) -> tuple[int, str | None]:
        paths = _paths(root, video, audio)
        size, sha256 = files.size(paths), None
        if wanted:
            size_before, sha256_before = known.get(clip, (None, None))
            same = size == size_before and sha256_before and not checksums
            sha256 = sha256_before if same else files.sha256(paths)
        return size, sha256

    with ThreadPoolExecutor() as pool:
        contents = list(pool.map(measure, *clips.select("clip", "video", "audio").to_dict(as_series=False).values()))
    clips = clips.with_columns(
        pl.Series("bytes", [size for size, _ in contents], pl.Int64),
        pl.Series("sha256", [sha256 for _, sha256 in contents], pl.String),
    )
    differs = [
        any(old is not None and old != new for old, new in zip(known.get(clip, ()), content, strict=False))
        for clip, content in zip(clips["clip"], contents, strict=True)
    ]
    return clips, _names(clips.filter(pl.Series(differs, dtype=pl.Boolean)))


def _with_groups(items: pl.DataFrame, before: pl.DataFrame | None) -> pl.DataFrame:
    """Return `items` with the group of the source, else of the manifest before, else the clip itself."""
    known = dict(_rows(before, "item", "group"))
    kept = pl.Series("kept", [known.get(item) for item in items["item"]], pl.String)
    return items.with_columns(group=pl.coalesce("group", kept, "clip"))


def _with_splits(items: pl.DataFrame, before: pl.DataFrame | None, shares: dict[str, float], seed: int) -> pl.DataFrame:
    """Return `items` with the splits of the source, else of the manifest before, else drawn ones."""
    if manifest.folds(items):
        return items
    if before is not None and len(manifest.folds(before)) > 1:
        raise ManifestError(
            "The manifest has several folds and the data set names none, so that new items cannot be given theirs;"
            " write another manifest, or index a table with the columns split_1, split_2, …"
        )
    known = {item: split for item, label, split in _rows(before, "item", "label", "split_1") if label}
    labelled = items.filter(pl.col("label").is_not_null() & ~pl.col("item").is_in(_unused(known)))
    given = [known.get(item) for item in labelled["item"]]
    drawn = splits.draw(labelled["label"].to_list(), labelled["group"].to_list(), given, shares, seed)
    chosen = dict(zip(labelled["item"], drawn, strict=True))
    split = [chosen.get(item) if label else "predict" for item, label in items.select("item", "label").iter_rows()]
    return items.with_columns(pl.Series("split_1", split, pl.String))


def _unused(splits_before: dict[str, str | None]) -> list[str]:
    """Return the labelled items that the manifest leaves out of every split, where they stay."""
    return [item for item, split in splits_before.items() if split is None]


def _rows(items: pl.DataFrame | None, *columns: str) -> list[tuple]:
    return items.select(columns).rows() if items is not None else []
