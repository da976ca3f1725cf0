"""`braid index`, which writes a manifest, and `braid check`, which examines one."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from braid import manifest
from braid.checks import LABELLED
from braid.datasets import cmu11775, delimited, folder, hmdb51, kinetics, source, tau2021, ucf101, vggsound
from braid.errors import ManifestError

KINDS = (folder, delimited, hmdb51, ucf101, kinetics, tau2021, cmu11775, vggsound)
"""Modules of the kinds of data set, each with `add_parser`, which sets `find`: arguments to `source.Source`. Those that
have splits of their own say in `VAL_SHARE` which share of train is taken for val, unless the user says another."""

SHARD_SIZE = 64
SHARES = ("train=0.7", "val=0.15", "test=0.15")
LISTED = 20
"""How many clips a message names."""


def add_parser(subparsers: Any) -> None:
    """Add `braid index` and `braid check` to the command line."""
    index = subparsers.add_parser("index", help="write the manifest of a data set, or bring it up to date")
    kinds = index.add_subparsers(required=True, metavar="KIND")
    for kind in KINDS:
        _add_common(kind.add_parser(kinds), getattr(kind, "VAL_SHARE", None))
    check = subparsers.add_parser("check", help="check a manifest and the files that it names, and count what is in it")
    check.add_argument("manifest", type=Path, metavar="MANIFEST")
    check.set_defaults(run=_check)


def _add_common(parser: argparse.ArgumentParser, val_share: float | None) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the manifest, clips.tsv")
    if val_share is None:
        parser.add_argument(
            "--split",
            nargs="+",
            type=_share,
            default=[_share(share) for share in SHARES],
            metavar="NAME=SHARE",
            help="shares of train, val and test for items with a label and without a split; "
            f"{' '.join(SHARES)} if not given",
        )
    else:
        parser.set_defaults(split=[("train", 1.0)])
        parser.add_argument(
            "--val",
            type=_part,
            default=val_share,
            metavar="SHARE",
            help=f"share of the training items, by whole groups, that becomes val; {val_share:g} if not given",
        )
    parser.add_argument("--seed", type=int, default=0, help="of the random splits; 0 if not given")
    parser.add_argument(
        "--shard-size",
        type=_positive,
        default=SHARD_SIZE,
        metavar="N",
        help=f"clips in each new shard, at most; clips that have a shard keep it; {SHARD_SIZE} if not given",
    )
    parser.add_argument("--sha256", action="store_true", help="read all files for their checksums")
    parser.set_defaults(run=_index)


def _index(arguments: argparse.Namespace) -> None:
    shares = dict(arguments.split)
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ManifestError(f"The shares of --split add up to {sum(shares.values()):g}; make them add up to 1.")
    found = arguments.find(arguments)
    changes = source.write_manifest(
        found.items, arguments.output, arguments.shard_size, shares, arguments.seed, arguments.sha256
    )
    for note in found.notes:
        print(note)
    written = manifest.read(arguments.output)
    print(f"{arguments.output}: {_counts(written)}.")
    _warn(written)
    for what, clips in (("New", changes.new), ("Changed", changes.changed), ("Gone", changes.gone)):
        if clips and not (what == "New" and changes.first):
            more = f" and {len(clips) - LISTED} more" if len(clips) > LISTED else ""
            print(f"{what}: {', '.join(repr(clip) for clip in clips[:LISTED])}{more}.")


def _check(arguments: argparse.Namespace) -> None:
    items = manifest.read(arguments.manifest)
    manifest.check_files(items, arguments.manifest)
    stale = source.stale(items, arguments.manifest.parent)
    if stale:
        raise ManifestError(
            f"The files of {len(stale)} clips, {stale[0]!r} first, have other sizes than the bytes in"
            f" {arguments.manifest}; run `braid index` again."
        )
    print(f"{arguments.manifest}: {_counts(items)}.")
    _warn(items)
    for fold in manifest.folds(items):
        split = f"split_{fold}"
        counts = items.filter(pl.col(split).is_not_null()).group_by("label", split).len()
        table = counts.pivot(split, index="label", values="len").fill_null(0).sort("label", nulls_last=True)
        names = [name for name in (*LABELLED, "predict") if name in table.columns]
        print("\t".join([f"fold {fold}", *names]))
        for row in table.iter_rows(named=True):
            print("\t".join([row["label"] or "(no label)", *(str(row[name]) for name in names)]))


def _warn(items: pl.DataFrame) -> None:
    """Print what is no error in a manifest but stops training."""
    if not items["label"].drop_nulls().n_unique():
        print("No item has a label: `folder` takes labels from the folders right below ROOT, `csv` from a column.")
    for fold in manifest.folds(items):
        for split in ("train", "val"):
            if split not in items[f"split_{fold}"]:
                print(f"Fold {fold} has no item in {split!r}, without which no scheme can be trained.")


def _counts(items: pl.DataFrame) -> str:
    """Return how many items, clips, shards and labels there are, and items of each split of the first fold."""
    splits = dict(items["split_1"].value_counts().iter_rows())
    order = [name for name in (*LABELLED, "predict", None) if name in splits]
    parts = ", ".join(f"{splits[name]} {name or 'unused'}" for name in order)
    return (
        f"{items.height} items of {items['clip'].n_unique()} clips in {items['shard'].n_unique()} shards,"
        f" {items['label'].drop_nulls().n_unique()} labels; {parts}"
    )


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    with suppress(ValueError):
        if name in LABELLED and 0 <= float(share) <= 1:
            return name, float(share)
    raise argparse.ArgumentTypeError(f"{text!r} must be {', '.join(LABELLED)}, `=` and a share from 0 to 1: train=0.7")


def _part(text: str) -> float:
    if not 0 <= float(text) < 1:
        raise ValueError
    return float(text)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)
