"""Decode the clips of one shard."""

from pathlib import Path

from braid import index
from braid.logs import job_log
from braid.media.decode import decode_shard

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        clips = index.load(Path(snakemake.params.index)).clips(snakemake.wildcards.shard)
        decode_shard(clips, Path(snakemake.output[0]), snakemake.params.settings, workers=snakemake.threads)
