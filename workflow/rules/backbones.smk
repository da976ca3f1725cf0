rule train_backbone:
    """Train one backbone on one fold; a killed job goes on after its last finished epoch."""
    input:
        unpack(backbone_shards),
        counts=rules.check_problems.output,
        weights=receipt("backbones", "backbone"),
    output:
        model=f"{BACKBONE}/model.safetensors",
        history=f"{BACKBONE}/history.csv",
        metrics=f"{BACKBONE}/metrics.json",
    log:
        f"{RESULTS}/logs/train_backbone/{{backbone}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_backbone/{{backbone}}/fold{{fold}}.tsv"
    threads: 8
    resources:
        gpu=1,
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.fold_digest(wildcards.fold),
        settings=setting("backbones", "backbone", without=["order_test"]),
        version=version("backbones", BACKBONES, "backbone"),
        weights=weights_identity("backbones", "backbone"),
        metrics_version=metrics.VERSION,
    message:
        "Training backbone {wildcards.backbone}, fold {wildcards.fold}"
    script:
        "../scripts/train_backbone.py"


rule test_order:
    """Show the test items to a trained backbone with their frames shuffled, reversed and repeated."""
    input:
        unpack(backbone_shards),
        model=rules.train_backbone.output.model,
    output:
        f"{BACKBONE}/order.json",
    log:
        f"{RESULTS}/logs/test_order/{{backbone}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/test_order/{{backbone}}/fold{{fold}}.tsv"
    threads: 8
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.fold_digest(wildcards.fold),
        permutations=lambda wildcards: CONFIG["backbones"][wildcards.backbone]["order_test"],
        version=ORDER_TEST_VERSION,
    message:
        "Testing what order is worth to backbone {wildcards.backbone}, fold {wildcards.fold}"
    script:
        "../scripts/test_order.py"


rule extract_trained:
    """Compute the features that a trained backbone gives for the items of one shard."""
    input:
        unpack(backbone_shards),
        model=lambda wildcards: rules.train_backbone.output.model.format(
            backbone=CONFIG["extractors"][wildcards.extractor]["backbone"], fold=wildcards.fold
        ),
    output:
        FOLD_FEATURES,
    log:
        f"{RESULTS}/logs/extract_trained/{{extractor}}/fold{{fold}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/extract_trained/{{extractor}}/fold{{fold}}/{{shard}}.tsv"
    wildcard_constraints:
        extractor=one_of(TRAINED),
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
    message:
        "Extracting {wildcards.extractor} from shard {wildcards.shard}, fold {wildcards.fold}"
    script:
        "../scripts/extract_trained.py"


rule backbones:
    """Train every backbone."""
    input:
        expand(rules.train_backbone.output, backbone=CONFIG["backbones"], fold=FOLDS),
