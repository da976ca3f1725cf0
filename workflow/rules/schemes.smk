rule train_scheme:
    """Train one scheme on one fold with one seed, predict every item and evaluate."""
    input:
        counts=rules.check_problems.output,
        read=scheme_inputs,
    output:
        model=f"{SCHEME}/model.safetensors",
        history=f"{SCHEME}/history.csv",
        predictions=f"{SCHEME}/predictions.h5",
        metrics=f"{SCHEME}/metrics.json",
    log:
        f"{RESULTS}/logs/train_scheme/{{scheme}}/fold{{fold}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_scheme/{{scheme}}/fold{{fold}}/seed{{seed}}.tsv"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.fold_digest(wildcards.fold),
        settings=setting("schemes", "scheme"),
        version=version("schemes", SCHEMES, "scheme"),
        metrics_version=metrics.VERSION,
    message:
        "Training {wildcards.scheme}, fold {wildcards.fold}, seed {wildcards.seed}"
    script:
        "../scripts/train_scheme.py"
