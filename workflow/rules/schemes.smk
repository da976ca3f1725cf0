rule sweep_scheme:
    """Try every point of a scheme's sweep on one fold and choose one on the validation items."""
    input:
        counts=rules.check_problems.output,
        read=scheme_inputs,
    output:
        chosen=f"{SWEEP}/sweep.json",
        table=f"{SWEEP}/sweep.csv",
    log:
        f"{RESULTS}/logs/sweep_scheme/{{scheme}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sweep_scheme/{{scheme}}/fold{{fold}}.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(600),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.fold_digest(wildcards.fold),
        settings=setting("schemes", "scheme", without=["worth"]),
        seeds=CONFIG["seeds"],
        version=version("schemes", SCHEMES, "scheme"),
    message:
        "Sweeping {wildcards.scheme}, fold {wildcards.fold}"
    script:
        "../scripts/sweep_scheme.py"


rule train_scheme:
    """Train one scheme on one fold with each seed, predict every item and evaluate."""
    input:
        counts=rules.check_problems.output,
        read=scheme_inputs,
        sweep=chosen_point,
    output:
        model=of_seeds("model.safetensors"),
        history=of_seeds("history.csv"),
        predictions=of_seeds("predictions.h5"),
        metrics=of_seeds("metrics.json"),
    log:
        f"{RESULTS}/logs/train_scheme/{{scheme}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_scheme/{{scheme}}/fold{{fold}}.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60 * len(CONFIG["seeds"])),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.fold_digest(wildcards.fold),
        settings=setting("schemes", "scheme", without=["worth", "sweep"]),
        version=version("schemes", SCHEMES, "scheme"),
        metrics_version=metrics.VERSION,
    message:
        "Training {wildcards.scheme}, fold {wildcards.fold}"
    script:
        "../scripts/train_scheme.py"


rule weigh_modalities:
    """Say what each modality is worth to a trained scheme: train it without, show it none, another's, a noisy one."""
    input:
        read=lambda wildcards: [
            path
            for name in configs.modalities_of(CONFIG["schemes"], wildcards.scheme)
            for path in features_of(name, wildcards.fold)
        ],
        model=rules.train_scheme.output.model,
        below=lambda wildcards: [
            path
            for part in configs.below(CONFIG["schemes"], wildcards.scheme)
            for path in expand(rules.train_scheme.output.model, scheme=part, fold=wildcards.fold)
        ],
    output:
        of_seeds("worth.json"),
    log:
        f"{RESULTS}/logs/weigh_modalities/{{scheme}}/fold{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/weigh_modalities/{{scheme}}/fold{{fold}}.tsv"
    resources:
        mem_mb=growing(4000),
        runtime=growing(240 * len(CONFIG["seeds"])),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.fold_digest(wildcards.fold),
        features=lambda wildcards: configs.modalities_of(CONFIG["schemes"], wildcards.scheme),
        below=lambda wildcards: configs.below(CONFIG["schemes"], wildcards.scheme),
        version=WORTH_VERSION,
    message:
        "Weighing the modalities of {wildcards.scheme}, fold {wildcards.fold}"
    script:
        "../scripts/weigh_modalities.py"
