"""Show the test items of one fold to its backbone in other orders of time."""

from pathlib import Path

from braid import device, index
from braid.backbones.order import order_test
from braid.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        order_test(
            index.load(Path(snakemake.params.index)).items(),
            fold=snakemake.wildcards.fold,
            shards={kind: [Path(path) for path in paths] for kind, paths in snakemake.input.items() if kind != "model"},
            path=Path(snakemake.input.model),
            permutations=snakemake.params.permutations,
            out=Path(snakemake.output[0]),
            threads=snakemake.threads,
            device=device.pick(),
        )
