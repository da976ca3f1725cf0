"""HMDB51 (Kuehne et al., ICCV 2011): 6,766 clips of 51 actions, three official splits.

Layout, after both archives and the 51 archives in the first are unpacked: `<action>/<name>.avi`, in ROOT or in
`hmdb51_org`, and `testTrainMulti_7030_splits/<action>_test_split<k>.txt` with lines of a name and 1 (train), 2 (test)
or 0 (not used in this split), without a line of column names.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from braid.datasets import official
from braid.datasets.source import Source
from braid.errors import ManifestError

VAL_SHARE = 0.15
N_SPLITS = 3
SPLIT_OF = {"0": None, "1": "train", "2": "test"}
SPLIT_FOLDERS = ("testTrainMulti_7030_splits", "test_train_splits/testTrainMulti_7030_splits", "test_train_splits")
SUFFIX = re.compile(r"_test_split([1-3])\.txt$")
SCENE = r"^(.+)_{action}_[fulh]_(?:cm|nm)_np\d+_(?:fr|ba|le|ri)_(?:bad|med|goo)_\d+\.avi$"
"""Source video, action, visible body parts, camera motion, people, view, quality, number of the cut."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `braid index hmdb51` to the command line."""
    parser = subparsers.add_parser(
        "hmdb51",
        help="HMDB51 with its three official splits",
        description="ROOT holds the unpacked clips, a folder an action, and the folder testTrainMulti_7030_splits. "
        "Clips of an action that are cut from one video are a group; other actions are cut from that video too, on "
        "both sides of the official splits.",
    )
    official.add_split_lists(parser, find)
    return parser


def find(root: Path, splits: Path | None, val: float, seed: int) -> Source:
    """Return the 6,766 items, each named `<action>/<name>`, with the splits 1 to 3.

    Parameters
    ----------
    val : share of the training items of each split that becomes `val`, of which the publisher has none
    seed : of that choice

    Raises
    ------
    ManifestError
        Folders, files or lines are not as published.
    """
    splits = splits or official.folder(root, SPLIT_FOLDERS, "the split files")
    lists = sorted(path for path in splits.iterdir() if SUFFIX.search(path.name))
    actions = sorted({SUFFIX.sub("", path.name) for path in lists})
    if not actions or len(lists) != N_SPLITS * len(actions):
        raise ManifestError(
            f"{splits} must hold <action>_test_split1.txt, …2.txt and …3.txt for each action, got {len(lists)} such "
            f"files of {len(actions)} actions; unpack test_train_splits.rar again."
        )
    clips = official.folder(root, [f"hmdb51_org/{actions[0]}", actions[0]], "clips").parent
    rows: dict[str, dict[str, Any]] = {}
    for action in actions:
        scene = re.compile(SCENE.format(action=re.escape(action)))
        for fold in range(1, N_SPLITS + 1):
            path = splits / f"{action}_test_split{fold}.txt"
            for number, line in official.lines(path):
                name, _, code = line.rpartition(" ")
                match = scene.match(name)
                if not match or code not in SPLIT_OF:
                    raise official.bad_line(path, number, line, "the name of a clip and 0, 1 or 2")
                item = f"{action}/{name}"
                file = str(clips / action / name)
                row = {"item": item, "video": file, "audio": file, "label": action, "group": f"{action}/{match[1]}"}
                rows.setdefault(item, row)[f"split_{fold}"] = SPLIT_OF[code]
    notes = [f"{val:.0%} of the training clips of each split, by source videos of an action, are val."] if val else []
    return official.source(list(rows.values()), N_SPLITS, val, seed, notes)
