"""Train one backbone on one fold, on as many GPUs as the rule was given."""

from pathlib import Path

from braid import device, index, weights
from braid.backbones.train import train_backbone
from braid.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        settings = snakemake.params.settings
        if snakemake.input.weights:
            weights.check_receipt(settings, Path(snakemake.input.weights))
        kind, n_gpus = device.pick(snakemake.resources.gpu), snakemake.resources.gpu
        train_backbone(
            snakemake.wildcards.backbone,
            index.load(Path(snakemake.params.index)).items(),
            fold=snakemake.wildcards.fold,
            shards={
                source: [Path(path) for path in snakemake.input.get(source)]
                for source in ("decoded", "flow")
                if snakemake.input.get(source)
            },
            settings=settings,
            out=Path(snakemake.output.model).parent,
            threads=snakemake.threads,
            device=kind,
            devices=n_gpus if kind == "cuda" else 1,
        )
