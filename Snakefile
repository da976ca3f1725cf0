"""braid: clips → decode → flow → features → schemes → report. `snakemake --list` describes the rules."""

from snakemake.utils import min_version

min_version("9.27")

# A config given with --configfile stands alone: merged with the demo's it would inherit the demo's extractors.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/run.smk"
include: "workflow/rules/decode.smk"
include: "workflow/rules/flow.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/backbones.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/words.smk"
include: "workflow/rules/schemes.smk"
include: "workflow/rules/report.smk"


rule all:
    """Train every scheme and write the report (the default)."""
    default_target: True
    input:
        rules.build_report.output,


rule decode:
    """Decode every shard and list the problems."""
    input:
        rules.list_problems.output,


rule features:
    """Compute the features of every extractor."""
    input:
        lambda wildcards: [path for name in CONFIG["extractors"] for path in features_of(name, FOLDS)],
