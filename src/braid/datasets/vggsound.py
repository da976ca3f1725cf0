"""VGGSound (Chen et al., ICASSP 2020): clips of 10 s of online videos, 309 classes of sounds.

Layout: `vggsound.csv`, without a line of column names: youtube_id, start in seconds, label (quoted where it holds a
comma), train or test; and `<youtube_id>_<start>.mp4`, the start of six digits, anywhere below ROOT.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from braid.datasets import official
from braid.datasets.source import Source

VAL_SHARE = 0.1


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `braid index vggsound` to the command line."""
    parser = subparsers.add_parser(
        "vggsound",
        help="VGGSound, as far as it was downloaded",
        description="ROOT holds vggsound.csv and the clips in any folders. The clips of one video are a group.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.set_defaults(find=lambda arguments: find(arguments.root, arguments.val, arguments.seed))
    return parser


def find(root: Path, val: float, seed: int) -> Source:
    """Return the items that were downloaded, named as their files; `val` and `seed` as for HMDB51.

    Raises
    ------
    ManifestError
        There is no list, a row is not as published, or no clip of the list is there.
    """
    path = official.file(root, ["vggsound.csv"], "the list")
    rows: dict[str, dict[str, Any]] = {}
    for number, row in official.records(path):
        if len(row) != 4 or not row[1].isdigit() or row[3] not in ("train", "test"):
            raise official.bad_line(path, number, ",".join(row), "youtube_id,start,label,train or test")
        name, start, label, split = row
        item = f"{name}_{int(start):06d}"
        rows[item] = {"item": item, "label": label, "group": name, "split_1": split}
    paths, notes = official.downloads(root, {item: row["split_1"] for item, row in rows.items()})
    if val:
        notes.append(f"{val:.0%} of the training clips, by whole videos, are val.")
    return official.source(
        [rows[item] | {"video": path, "audio": path} for item, path in paths.items()], 1, val, seed, notes
    )
