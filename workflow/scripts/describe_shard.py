"""Describe the frames of one shard by SIFT."""

from pathlib import Path

from braid import index
from braid.logs import job_log
from braid.words.describe import describe_shard

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        describe_shard(
            index.load(Path(snakemake.params.index)).items(snakemake.wildcards.shard),
            source=Path(snakemake.input[0]),
            out=Path(snakemake.output[0]),
            settings=snakemake.params.settings,
            threads=snakemake.threads,
        )
