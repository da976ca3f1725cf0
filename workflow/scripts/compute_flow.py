"""Compute the optical flow of one shard."""

from pathlib import Path

from braid.flow.compute import compute_flow
from braid.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        compute_flow(
            Path(snakemake.input[0]), Path(snakemake.output[0]), snakemake.params.settings, threads=snakemake.threads
        )
