rule extract_features:
    """Compute the features that one extractor gives for the items of one shard."""
    input:
        source=feature_source,
        weights=receipt("extractors", "extractor"),
    output:
        FEATURES,
    log:
        f"{RESULTS}/logs/extract_features/{{extractor}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/extract_features/{{extractor}}/{{shard}}.tsv"
    wildcard_constraints:
        extractor=one_of(name for name in CONFIG["extractors"] if name not in FITTED),
    threads: 8
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(240),
        batch_size=batch_size("extractors", "extractor"),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.items_digest(wildcards.shard),
        settings=setting("extractors", "extractor", without=["batch_size"]),
        version=version("extractors", EXTRACTORS, "extractor"),
        weights=weights_identity("extractors", "extractor"),
    message:
        "Extracting {wildcards.extractor} from shard {wildcards.shard}"
    script:
        "../scripts/extract_features.py"
