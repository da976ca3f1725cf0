"""Try every point of a scheme's sweep on one fold and choose one."""

from pathlib import Path

from braid import index
from braid.config import inputs_of
from braid.logs import job_log
from braid.schemes.room import Room
from braid.schemes.sweep import sweep_scheme

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        settings = snakemake.params.settings
        names, paths = inputs_of(settings), [Path(path) for path in snakemake.input.read]
        n = len(paths) // len(names)  # of each name, one after the other
        sweep_scheme(
            index.load(Path(snakemake.params.index)).items(),
            fold=snakemake.wildcards.fold,
            inputs={name: paths[i * n : (i + 1) * n] for i, name in enumerate(names)},
            settings=settings,
            seeds=snakemake.params.seeds,
            out=Path(snakemake.output.chosen).parent,
            room=Room(snakemake.resources.mem_mb, Path(snakemake.resources.tmpdir)),
        )
