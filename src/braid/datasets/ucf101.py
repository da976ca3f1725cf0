"""UCF101 (Soomro et al., CRCV-TR-12-01): 13,320 clips of 101 actions, three official splits.

Layout: `UCF-101/<Action>/v_<Action>_g<group>_c<clip>.avi` and `ucfTrainTestlist` with `classInd.txt` (number from 1 and
name), `trainlist0<k>.txt` (path and number) and `testlist0<k>.txt` (path), lines ending in CR LF.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from braid.datasets import official
from braid.datasets.source import Source

VAL_SHARE = 0.15
N_SPLITS = 3
SPLIT_FOLDERS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist")
CLIP = re.compile(r"^([^/]+)/v_[^/]+_(g\d+)_c\d+\.avi$")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `braid index ucf101` to the command line."""
    parser = subparsers.add_parser(
        "ucf101",
        help="UCF101 with its three official splits",
        description="ROOT holds the unpacked folders UCF-101 and ucfTrainTestlist. The clips of one of the 25 groups "
        "of an action share actors and background, and are a group.",
    )
    official.add_split_lists(parser, find)
    return parser


def find(root: Path, splits: Path | None, val: float, seed: int) -> Source:
    """Return the 13,320 items, each named by its path, with the splits 1 to 3; arguments and errors as for HMDB51."""
    splits = splits or official.folder(root, SPLIT_FOLDERS, "the split files")
    clips = official.folder(root, ["UCF-101", "UCF101"], "clips")
    names = _classes(official.file(splits, ["classInd.txt"], "the names of the classes"))
    rows: dict[str, dict[str, Any]] = {}
    for fold in range(1, N_SPLITS + 1):
        for split in ("train", "test"):
            path = official.file(splits, [f"{split}list0{fold}.txt"], f"the {split} clips of split {fold}")
            for number, line in official.lines(path):
                name, _, code = line.partition(" ")
                match = CLIP.match(name)
                if not match or match[1] not in names or (code and names[match[1]] != code):
                    raise official.bad_line(path, number, line, "a clip of a class of classInd.txt, and its number")
                file, group = str(clips / name), f"{match[1]}/{match[2]}"
                row = {"item": name, "video": file, "audio": file, "label": match[1], "group": group}
                rows.setdefault(name, row)[f"split_{fold}"] = split
    notes = [f"{val:.0%} of the training clips of each split, by whole groups, are val."] if val else []
    return official.source(list(rows.values()), N_SPLITS, val, seed, notes)


def _classes(path: Path) -> dict[str, str]:
    """Return the name of each class to its number, as text."""
    names = {}
    for number, line in official.lines(path):
        code, _, name = line.partition(" ")
        if not code.isdigit() or not name:
            raise official.bad_line(path, number, line, "a number and the name of a class")
        names[name] = code
    return names
