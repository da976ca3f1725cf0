"""Train one scheme on one fold with each seed."""

import json
from pathlib import Path

from braid import index
from braid.config import inputs_of
from braid.logs import job_log
from braid.schemes.room import Room
from braid.schemes.train import train_scheme

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        settings = snakemake.params.settings
        if snakemake.input.get("sweep"):
            settings |= json.loads(Path(snakemake.input.sweep).read_text(encoding="utf-8"))
        names, paths = inputs_of(settings), [Path(path) for path in snakemake.input.read]
        n = len(paths) // len(names)  # of each name, one after the other
        inputs = {name: paths[i * n : (i + 1) * n] for i, name in enumerate(names)}
        items = index.load(Path(snakemake.params.index)).items()
        room = Room(snakemake.resources.mem_mb, Path(snakemake.resources.tmpdir))
        for i, model in enumerate(snakemake.output.model):
            out = Path(model).parent
            train_scheme(
                items,
                fold=snakemake.wildcards.fold,
                # The predictions of other schemes are one file a seed; features are the same for all.
                inputs={name: each[i : i + 1] for name, each in inputs.items()} if "schemes" in settings else inputs,
                settings=settings,
                seed=int(out.name.removeprefix("seed")),
                out=out,
                room=room,
            )
