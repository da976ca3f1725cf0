"""Find the words of one fold among the descriptors of its training items."""

from pathlib import Path

from braid import index
from braid.logs import job_log
from braid.words.fit import fit_words

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        fit_words(
            index.load(Path(snakemake.params.index)).items(),
            extractor=snakemake.wildcards.extractor,
            fold=snakemake.wildcards.fold,
            paths=[Path(path) for path in snakemake.input],
            out=Path(snakemake.output[0]),
            settings=snakemake.params.settings,
        )
