"""Compute the optical flow of one shard."""

from pathlib import Path

from braid import device, weights
from braid.flow.compute import compute_flow
from braid.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        if snakemake.input.weights:
            weights.check_receipt(snakemake.params.settings, Path(snakemake.input.weights))
        compute_flow(
            Path(snakemake.input.decoded),
            Path(snakemake.output[0]),
            snakemake.params.settings,
            threads=snakemake.threads,
            device=device.pick() if snakemake.resources.gpu else "cpu",
            batch_size=snakemake.resources.batch_size,
            memory_mb=snakemake.resources.mem_mb,
        )
