"""Compute the features of one extractor for the items of one shard."""

from pathlib import Path

from braid import device, index, weights
from braid.extractors.extract import extract_features
from braid.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        if snakemake.input.weights:
            weights.check_receipt(snakemake.params.settings, Path(snakemake.input.weights))
        extract_features(
            index.load(Path(snakemake.params.index)).items(snakemake.wildcards.shard),
            source=Path(snakemake.input.source),
            out=Path(snakemake.output[0]),
            settings=snakemake.params.settings,
            threads=snakemake.threads,
            device=device.pick(),
            batch_size=snakemake.resources.batch_size,
            memory_mb=snakemake.resources.mem_mb,
        )
