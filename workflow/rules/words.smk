rule describe_shard:
    """Describe the frames of one shard by SIFT."""
    input:
        DECODED,
    output:
        DESCRIPTORS,
    log:
        f"{RESULTS}/logs/describe_shard/{{extractor}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/describe_shard/{{extractor}}/{{shard}}.tsv"
    wildcard_constraints:
        extractor=one_of(name for name in FITTED if name not in TRAINED),
    threads: 8
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.items_digest(wildcards.shard),
        settings=extractor_settings("type", "frame_rate", "descriptors"),
        version=version("extractors", EXTRACTORS, "extractor"),
    message:
        "Describing shard {wildcards.shard} for {wildcards.extractor}"
    script:
        "../scripts/describe_shard.py"


rule fit_words:
    """Find the words of one fold among the descriptors of its training items."""
    input:
        expand(DESCRIPTORS, shard=INDEX.shards, allow_missing=True),
    output:
        WORDS,
    log:
        f"{RESULTS}/logs/fit_words/{{extractor}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_words/{{extractor}}/fold{{fold}}.tsv"
    wildcard_constraints:
        extractor=one_of(name for name in FITTED if name not in TRAINED),
    resources:
        mem_mb=lambda wildcards, attempt: attempt
        * (2000 + CONFIG["extractors"][wildcards.extractor]["descriptors_for_fit"] // 500),
        runtime=growing(120),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.train_digest(wildcards.fold),
        settings=extractor_settings("words", "root", "descriptors_for_fit"),
        version=version("extractors", EXTRACTORS, "extractor"),
    message:
        "Finding the words of {wildcards.extractor}, fold {wildcards.fold}"
    script:
        "../scripts/fit_words.py"


rule count_words:
    """Count the words of one fold in the frames of one shard."""
    input:
        descriptors=DESCRIPTORS,
        words=WORDS,
    output:
        FOLD_FEATURES,
    log:
        f"{RESULTS}/logs/count_words/{{extractor}}/fold{{fold}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/count_words/{{extractor}}/fold{{fold}}/{{shard}}.tsv"
    wildcard_constraints:
        extractor=one_of(name for name in FITTED if name not in TRAINED),
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=extractor_settings("type", "pooling"),
        version=version("extractors", EXTRACTORS, "extractor"),
    message:
        "Counting words of {wildcards.extractor} in shard {wildcards.shard}, fold {wildcards.fold}"
    script:
        "../scripts/count_words.py"
