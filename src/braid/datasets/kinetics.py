"""Kinetics-400, -600 and -700 (Kay et al., arXiv:1705.06950): clips of 10 s of online videos.

Layout: lists `train.csv`, `val.csv` (or `validate.csv`) and `test.csv`, in ROOT or in `annotations`, with the columns
label, youtube_id, time_start, time_end; and `<youtube_id>_<start>_<end>.mp4`, both times in whole seconds of six
digits, anywhere below ROOT.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from braid.datasets import official
from braid.datasets.source import Source
from braid.errors import ManifestError

VAL_SHARE = 0.0
LISTS = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `braid index kinetics` to the command line."""
    parser = subparsers.add_parser(
        "kinetics",
        help="Kinetics-400, -600 or -700, as far as it was downloaded",
        description="ROOT holds the lists, alone or in the folder annotations, and the clips in any folders. The clips "
        "of one video are a group. With --val, results on the publisher's val can be compared with published ones: "
        "that share of train becomes val, the publisher's val becomes test, and its test is not used.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.set_defaults(find=lambda arguments: find(arguments.root, arguments.val, arguments.seed))
    return parser


def find(root: Path, val: float, seed: int) -> Source:
    """Return the items that were downloaded, named as their files.

    Parameters
    ----------
    val, seed : share of the training items that becomes val, with the publisher's val as test; 0 leaves the lists

    Raises
    ------
    ManifestError
        There is no list of train, a row is not as published, or no clip of the lists is there.
    """
    folder = root / "annotations" if (root / "annotations").is_dir() else root
    rows: dict[str, dict[str, Any]] = {}
    wanted: dict[str, str] = {}
    for split, names in LISTS.items():
        candidates = [f"{name}.csv" for name in names]
        if split != "train" and not any((folder / name).is_file() for name in candidates):
            continue
        path = official.file(folder, candidates, f"the list of {split}")
        for row in official.table(path, ["youtube_id", "time_start", "time_end"]):
            try:
                start, end = round(float(row["time_start"])), round(float(row["time_end"]))
            except ValueError:
                raise ManifestError(
                    f"{path}: time_start and time_end of {row['youtube_id']!r} must be seconds, got "
                    f"{row['time_start']!r} and {row['time_end']!r}; fetch the file again."
                ) from None
            name, label, place = f"{row['youtube_id']}_{start:06d}_{end:06d}", row.get("label"), split
            if val:
                place = {"val": "test", "test": None}.get(split, split)
            wanted[name] = split
            rows[name] = {
                "item": name,
                "label": label or None,
                "group": row["youtube_id"],
                "split_1": place if label or place is None else "predict",
            }
    paths, notes = official.downloads(root, wanted)
    return official.source(
        [rows[name] | {"video": path, "audio": path} for name, path in paths.items()], 1, val, seed, notes
    )
