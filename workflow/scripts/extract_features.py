"""Compute the features of one extractor for the items of one shard."""

from pathlib import Path

from braid import device, index
from braid.extractors.extract import extract_features
from braid.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        extract_features(
            index.load(Path(snakemake.params.index)).items(snakemake.wildcards.shard),
            source=Path(snakemake.input[0]),
            out=Path(snakemake.output[0]),
            settings=snakemake.params.settings,
            threads=snakemake.threads,
            device=device.pick(),
        )
