"""Train one scheme on one fold with one seed."""

import json
from pathlib import Path

from braid import index
from braid.config import inputs_of
from braid.logs import job_log
from braid.schemes.train import train_scheme

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        settings = snakemake.params.settings
        if snakemake.input.get("sweep"):
            settings |= json.loads(Path(snakemake.input.sweep).read_text(encoding="utf-8"))
        names, paths = inputs_of(settings), [Path(path) for path in snakemake.input.read]
        n = len(paths) // len(names)  # of each name, one after the other
        train_scheme(
            index.load(Path(snakemake.params.index)).items(),
            fold=snakemake.wildcards.fold,
            inputs={name: paths[i * n : (i + 1) * n] for i, name in enumerate(names)},
            settings=settings,
            seed=int(snakemake.wildcards.seed),
            out=Path(snakemake.output.model).parent,
        )
