"""Say what each modality is worth to a scheme as it was trained with each seed."""

from pathlib import Path

from braid import index
from braid.logs import job_log
from braid.schemes.room import Room
from braid.schemes.weigh import weigh_modalities


def by_name(names, paths):
    """Return name → its paths; they come name by name, as many of each."""
    each = len(paths) // max(1, len(names))
    return {name: [Path(path) for path in paths[i * each : (i + 1) * each]] for i, name in enumerate(names)}


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        inputs = by_name(snakemake.params.features, snakemake.input.read)
        below = by_name(snakemake.params.below, snakemake.input.below)  # one a seed
        items = index.load(Path(snakemake.params.index)).items()
        room = Room(snakemake.resources.mem_mb, Path(snakemake.resources.tmpdir))
        for i, (model, out) in enumerate(zip(snakemake.input.model, snakemake.output, strict=True)):
            models = {name: paths[i] for name, paths in below.items()}
            weigh_modalities(items, inputs=inputs, path=Path(model), out=Path(out), below=models, room=room)
