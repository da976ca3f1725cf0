"""Fetch and verify official weights. What it says goes to the terminal: licence, progress, what to do."""

import sys
from pathlib import Path

from braid import weights
from braid.errors import BraidError

if __name__ == "__main__":
    try:
        weights.receipt(snakemake.params.settings, Path(snakemake.output[0]))
    except BraidError as error:
        sys.exit(f"braid: {error}")
