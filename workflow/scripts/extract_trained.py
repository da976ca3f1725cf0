"""Compute the features of one trained backbone for the items of one shard."""

from pathlib import Path

from braid import device, index
from braid.extractors.backbone import extract_trained
from braid.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        extract_trained(
            index.load(Path(snakemake.params.index)).items(snakemake.wildcards.shard),
            sources={kind: Path(paths[0]) for kind, paths in snakemake.input.items() if kind != "model"},
            path=Path(snakemake.input.model),
            out=Path(snakemake.output[0]),
            settings=snakemake.params.settings,
            threads=snakemake.threads,
            device=device.pick(),
            batch_size=snakemake.resources.batch_size,
            memory_mb=snakemake.resources.mem_mb,
        )
