"""A folder a class: `ROOT/<label>/….mp4`, or `ROOT/{train,val,test,predict}/<label>/….mp4`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from braid.checks import LABELLED
from braid.datasets import files
from braid.datasets.source import SCHEMA, Source
from braid.errors import ManifestError

SPLITS = {*LABELLED, "predict"}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `braid index folder` to the command line."""
    parser = subparsers.add_parser(
        "folder",
        help="a folder a class",
        description="The first folder below ROOT is the label of all files in and below it. Where the folders in ROOT "
        "are train, val, test and predict (or some of them with train), they are the splits and the next folder is the "
        "label. Files outside a label's folder are to be predicted.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.add_argument(
        "--audio-root",
        type=Path,
        metavar="DIR",
        help="sound is in files of the same relative path, but for the ending, below DIR",
    )
    parser.add_argument(
        "--group-pattern",
        metavar="REGEX",
        help="what matches in a file's relative path (its first parenthesis, if it has one) is the group; '_(g\\d+)_'",
    )
    parser.set_defaults(find=lambda arguments: find(arguments.root, arguments.audio_root, arguments.group_pattern))
    return parser


def find(root: Path, audio_root: Path | None, group_pattern: str | None) -> Source:
    """Return the items of the data set in `root`; each is named by its path below `root`.

    Raises
    ------
    ManifestError
        There are no media files, a file of train, val or test has no label, or `group_pattern` is not a pattern or
        matches nothing in a path.
    """
    paths, others = files.find(root)
    if not paths:
        raise ManifestError(
            f"There are no media files in or below {root}; known endings are {' '.join(sorted(files.MEDIA))}."
        )
    left_out = ", ".join(f"{n} {suffix or 'without ending'}" for suffix, n in sorted(others.items()))
    notes = [f"Left out, since they are no media files: {left_out}."] if others else []
    sounds = {}
    if audio_root:
        found, _ = files.find(audio_root)
        sounds = {PurePosixPath(path).with_suffix("").as_posix(): str(audio_root / path) for path in found}
    top = {path.split("/")[0] for path in paths if "/" in path}
    split_folders = "train" in top and top <= SPLITS
    rows = []
    for path in paths:
        split, inner = path.split("/", 1) if split_folders and "/" in path else (None, path)
        label = inner.split("/")[0] if "/" in inner and split != "predict" else None
        if split in LABELLED and label is None:
            raise ManifestError(f"{root / path} is in {split} but in no folder of a label; move it into one.")
        video, audio = files.streams(str(root / path))
        if audio_root:
            audio = sounds.get(PurePosixPath(path).with_suffix("").as_posix(), "")
        row = {"item": path, "video": video, "audio": audio, "label": label, "group": _group(group_pattern, path)}
        rows.append(row | ({"split_1": split or "predict"} if split_folders else {}))
    schema = SCHEMA | ({"split_1": pl.String} if split_folders else {})
    silent = sum(not row["audio"] for row in rows)
    if silent:
        notes.append(f"{silent} of {len(rows)} files have no sound file in {audio_root}.")
    return Source(pl.DataFrame(rows, schema=schema), notes)


def _group(pattern: str | None, path: str) -> str | None:
    if pattern is None:
        return None
    try:
        match = re.search(pattern, path)
    except re.error as error:
        raise ManifestError(f"--group-pattern {pattern!r} is no regular expression: {error}.") from None
    if not match:
        raise ManifestError(f"--group-pattern {pattern!r} matches nothing in {path!r}; every file needs a group then.")
    return match[1] if match.re.groups else match[0]
