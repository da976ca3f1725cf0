"""braid: multimodal video classification as a Snakemake workflow."""

from pathlib import Path

__version__ = "0.1.0"

SCHEMAS = Path(__file__).resolve().parents[2] / "workflow" / "schemas"
"""Folder of the schemas: the one source of names, ranges, units, defaults and docs of config and manifest."""
