"""Train one scheme on one fold with one seed."""

from pathlib import Path

from braid import index
from braid.logs import job_log
from braid.schemes.train import train_scheme

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        shards = [Path(path) for path in snakemake.input.features]
        settings = snakemake.params.settings
        train_scheme(
            index.load(Path(snakemake.params.index)).items(),
            fold=snakemake.wildcards.fold,
            features={name: [path for path in shards if path.parent.name == name] for name in settings["features"]},
            settings=settings,
            seed=int(snakemake.wildcards.seed),
            out=Path(snakemake.output.model).parent,
        )
