"""Draw the flow of example clips."""

from pathlib import Path

from braid.logs import job_log
from braid.report.flow_pictures import draw_flow

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        shards = snakemake.params.shards
        draw_flow(
            snakemake.params.examples,
            dict(zip(shards, map(Path, snakemake.input.decoded), strict=True)),
            dict(zip(shards, map(Path, snakemake.input.flow), strict=True)),
            Path(snakemake.output[0]),
        )
