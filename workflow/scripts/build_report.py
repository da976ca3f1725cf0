"""Write the report of all schemes."""

from pathlib import Path

from braid.logs import job_log
from braid.report.build import build_report

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        template = Path(snakemake.scriptdir).parent / "report" / "report.html.j2"
        build_report(Path(snakemake.output[0]).parent, snakemake.params.config, template)
