"""Draw clips for the cells of the confusion matrices."""

from pathlib import Path

from braid.logs import job_log
from braid.report.clips import draw_clips

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        out, chosen = Path(snakemake.output[0]), snakemake.params
        decoded = {shard: Path(path) for shard, path in chosen.decoded.items()}
        draw_clips(out.parent.parent, chosen.schemes, chosen.folds, chosen.seeds, decoded, out)
