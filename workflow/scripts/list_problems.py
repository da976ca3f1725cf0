"""List the clips that could not be read, and stop when there are too many."""

from pathlib import Path

from braid import index
from braid.logs import job_log
from braid.media import problems

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        items = index.load(Path(snakemake.params.index)).items()
        rows = problems.collect(map(Path, snakemake.input), items)
        problems.write(rows, Path(snakemake.output[0]))
        problems.check(rows, items, snakemake.params.max_bad_fraction)
