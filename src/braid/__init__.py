"""braid: multimodal video classification as a Snakemake workflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braid.results.folder import Results

__version__ = "0.1.0"

SCHEMAS = Path(__file__).resolve().parents[2] / "workflow" / "schemas"
"""Folder of the schemas: the one source of names, ranges, units, defaults and docs of config and manifest."""


def open(folder: str | Path) -> Results:
    """Return the results of a run, `results/<name>`, for reading; StoreError where the folder holds none."""
    from braid.results.folder import Results

    return Results(folder)
