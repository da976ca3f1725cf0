"""Say what each modality is worth to a scheme as it was trained with each seed."""

from pathlib import Path

from braid import index
from braid.logs import job_log
from braid.schemes.weigh import weigh_modalities

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        names, paths = snakemake.params.features, [Path(path) for path in snakemake.input.read]
        n = len(paths) // len(names)  # of each name, one after the other
        inputs = {name: paths[i * n : (i + 1) * n] for i, name in enumerate(names)}
        items = index.load(Path(snakemake.params.index)).items()
        for model, out in zip(snakemake.input.model, snakemake.output, strict=True):
            weigh_modalities(items, inputs=inputs, path=Path(model), out=Path(out))
