"""What Snakemake hands to workflow/scripts, for pyright."""

from typing import Any

snakemake: Any
