"""Where the numbers come from: versions, commit, and how each extractor ran."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import polars as pl

LIBRARIES = (
    "av",
    "decord",
    "h5py",
    "hear21passt",
    "matplotlib",
    "numpy",
    "open_clip_torch",
    "opencv-python-headless",
    "polars",
    "scikit-learn",
    "snakemake",
    "timm",
    "torch",
    "torchaudio",
    "torchvision",
    "zarr",
)


def versions() -> dict[str, str]:
    """Return name → version of braid, Python and the libraries that numbers depend on."""
    return (
        {name: version(name) for name in ("braid",)}
        | {"Python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES}
    )


def commit(folder: Path) -> str:
    """Return the git commit of the working tree that `folder` is in, with `-dirty` after local changes.

    Empty where there is no git or no repository: an installed copy has none.
    """
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(folder),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty",
        "--exclude=*",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def random_networks(networks: pl.DataFrame) -> list[str]:
    """Return what ran with seeded random weights, of a table with `name` and `weights`: its numbers say nothing."""
    return networks.filter(weights="random")["name"].to_list()
