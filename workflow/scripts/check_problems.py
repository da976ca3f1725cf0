"""Stop the run when too many clips could not be read."""

from pathlib import Path

from braid import index
from braid.logs import job_log
from braid.media import problems

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        items = index.load(Path(snakemake.params.index)).items()
        problems.check(Path(snakemake.input[0]), items, snakemake.params.max_bad_fraction, Path(snakemake.output[0]))
