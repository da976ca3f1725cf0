"""The data set of the course CMU 11-775: 8,249 videos of 15 classes, 749 of them without a label.

Layout: `videos/<Id>.mp4`, `labels/train_val.csv` (Id,Category) and `labels/test_for_students.csv` (Id, and a Category
that means nothing). Categories are numbers; they stay the labels, so that `submission.csv` can be handed in as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import polars as pl

from braid.datasets import official
from braid.datasets.source import SCHEMA, Source


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `braid index cmu11775` to the command line."""
    parser = subparsers.add_parser(
        "cmu11775",
        help="the videos of the course CMU 11-775",
        description="ROOT holds the folders videos and labels. Labelled videos are split by --split; the others are "
        "to be predicted.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.set_defaults(find=lambda arguments: find(arguments.root))
    return parser


def find(root: Path) -> Source:
    """Return the items, named by their Id; ManifestError where folders, files or rows are not as published."""
    videos = official.folder(root, ["videos"], "the videos")
    labels = official.folder(root, ["labels"], "the labels")
    labelled = official.file(labels, ["train_val.csv"], "the labelled videos")
    unlabelled = official.file(labels, ["test_for_students.csv"], "the videos to predict")
    rows = [
        (row["Id"], row["Category"] if path == labelled else None)
        for path in (labelled, unlabelled)
        for row in official.table(path, ["Id", "Category"] if path == labelled else ["Id"])
    ]
    items = [
        {"item": name, "video": str(videos / f"{name}.mp4"), "audio": str(videos / f"{name}.mp4"), "label": label}
        for name, label in rows
    ]
    return Source(pl.DataFrame(items, schema=SCHEMA), [])
