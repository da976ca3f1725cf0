"""TAU Urban Audio-Visual Scenes 2021, development set (Wang et al., ICASSP 2021; Zenodo 4477542): ten scenes.

Layout: `audio/*.wav` and `video/*.mp4`, of equal names `<scene>-<city>-<location>-<segment>`, and in
`evaluation_setup` the tables `fold1_train.csv` and `fold1_evaluate.csv`, separated by tabs: filename_audio,
filename_video, scene_label.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from braid.datasets import official
from braid.datasets.source import Source
from braid.errors import ManifestError

VAL_SHARE = 0.1
"""As in the baseline system of the challenge, which takes a tenth of the training files of each scene, by location."""
SECONDS = 10
COLUMNS = ("filename_audio", "filename_video", "scene_label")
LISTS = {"train": "fold1_train.csv", "test": "fold1_evaluate.csv"}
NAME = re.compile(r"^(?P<place>[a-z_]+-[a-z]+-\d+)-\d+$")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `braid index tau2021` to the command line."""
    parser = subparsers.add_parser(
        "tau2021",
        help="TAU Urban Audio-Visual Scenes 2021 (DCASE 2021, task 1B)",
        description="ROOT is TAU-urban-audio-visual-scenes-2021-development, or the folder that it is in, all archives "
        "unpacked. The recordings of one location are a group; val is taken from train by location.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.add_argument(
        "--item-seconds",
        type=int,
        choices=[seconds for seconds in range(1, SECONDS + 1) if SECONDS % seconds == 0],
        default=SECONDS,
        help=f"cut each recording into items of this length; {SECONDS} if not given, 1 is the challenge's",
    )
    parser.set_defaults(
        find=lambda arguments: find(arguments.root, arguments.item_seconds, arguments.val, arguments.seed),
    )
    return parser


def find(root: Path, item_seconds: int, val: float, seed: int) -> Source:
    """Return the items: 8,646 recordings in train (and val) and 3,645 in test, whole or in parts.

    A recording is named by its file without ending, part k of it, from 0, `<name>@<k>`.

    Parameters
    ----------
    item_seconds : length of an item, a divisor of 10
    val, seed : as for HMDB51

    Raises
    ------
    ManifestError
        Folders, files or rows are not as published.
    """
    base = official.folder(
        root, ["TAU-urban-audio-visual-scenes-2021-development/evaluation_setup", "evaluation_setup"], "the folds"
    ).parent
    for stream in ("audio", "video"):
        official.folder(base, [stream], f"the {stream} files")
    n_parts = SECONDS // item_seconds
    rows: list[dict[str, Any]] = []
    for split, name in LISTS.items():
        path = official.file(base / "evaluation_setup", [name], f"the files of {split}")
        for entry in official.table(path, COLUMNS, "\t"):
            sound, picture, scene = (entry[column] for column in COLUMNS)
            match = NAME.match(Path(sound).stem)
            if not match or Path(picture).stem != Path(sound).stem:
                raise ManifestError(
                    f"{path} pairs {sound!r} with {picture!r}, which must be one name, "
                    "<scene>-<city>-<location>-<segment>; fetch the file again."
                )
            row = {"video": str(base / picture), "audio": str(base / sound), "label": scene, "split_1": split}
            row["group"] = match["place"]
            if n_parts == 1:
                rows.append(row | {"item": Path(sound).stem})
                continue
            for part in range(n_parts):
                start = float(part * item_seconds)
                window = {"start_seconds": start, "end_seconds": start + item_seconds}
                rows.append(row | window | {"item": f"{Path(sound).stem}@{part}"})
    notes = [f"{val:.0%} of the training items, by whole locations, are val."] if val else []
    return official.source(rows, 1, val, seed, notes)
