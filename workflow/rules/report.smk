rule draw_clips:
    """Draw clips that the report shows for cells of the confusion matrices."""

    # Decoded shards are no inputs: deleted ones would be decoded again for a report; features wait for them.
    input:
        expand(
            rules.train_scheme.output,
            scheme=CONFIG["schemes"],
            fold=FOLDS,
        ),
    output:
        CLIPS,
    log:
        f"{RESULTS}/logs/draw_clips.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_clips.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        schemes=list(CONFIG["schemes"]),
        folds=FOLDS,
        seeds=CONFIG["seeds"],
        decoded=lambda wildcards: {shard: DECODED.format(shard=shard) for shard in INDEX.shards},
        version=reports.CLIPS_VERSION,
    message:
        "Drawing clips for the report"
    script:
        "../scripts/draw_clips.py"


rule build_report:
    """Write the report: one page, its tables and figures, and the predictions to hand in."""
    input:
        problems=rules.list_problems.output,
        counts=rules.check_problems.output,
        weights=[RECEIPT.format(section=section, entry=name) for section, name in PRETRAINED],
        # Functions: of a list in this place Snakemake takes the hash once for each of its paths.
        features=lambda wildcards: [path for name in CONFIG["extractors"] for path in features_of(name, FOLDS[0])],
        trained=lambda wildcards: [path for name in TRAINED for path in features_of(name, FOLDS)],
        backbones=expand(
            [rules.train_backbone.output.metrics, rules.train_backbone.output.history],
            backbone=CONFIG["backbones"],
            fold=FOLDS,
        ),
        orders=expand(
            rules.test_order.output,
            backbone=[name for name, settings in CONFIG["backbones"].items() if settings.get("order_test")],
            fold=FOLDS,
        ),
        worth=expand(
            rules.weigh_modalities.output,
            scheme=reports.weighed(CONFIG),
            fold=FOLDS,
        ),
        sweeps=expand(rules.sweep_scheme.output, scheme=reports.swept(CONFIG), fold=FOLDS),
        flow=expand(EXAMPLES, method=flow_methods(CONFIG)),
        clips=rules.draw_clips.output,
        published=CONFIG["report"]["published"] or [],
        schemes=expand(
            rules.train_scheme.output,
            scheme=CONFIG["schemes"],
            fold=FOLDS,
        ),
    output:
        [
            report(f"{RESULTS}/{name}", caption=f"../report/{caption}.rst", category="braid")
            for name, caption in reports.outputs(CONFIG).items()
        ],
    log:
        f"{RESULTS}/logs/build_report.log",
    benchmark:
        f"{RESULTS}/benchmarks/build_report.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        config=CONFIG,
        version=reports.VERSION,
    message:
        "Writing the report"
    script:
        "../scripts/build_report.py"
