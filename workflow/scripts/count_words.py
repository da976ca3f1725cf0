"""Count the words of one fold in the frames of one shard."""

from pathlib import Path

from braid.logs import job_log
from braid.words.count import count_words

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        count_words(
            Path(snakemake.input.descriptors),
            Path(snakemake.input.words),
            Path(snakemake.output[0]),
            snakemake.params.settings,
        )
