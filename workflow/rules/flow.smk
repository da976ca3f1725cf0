rule compute_flow:
    """Compute the optical flow between all neighbouring frames of one shard."""
    input:
        decoded=DECODED,
        weights=receipt("flow", "method"),
    output:
        FLOW,
    log:
        f"{RESULTS}/logs/compute_flow/{{method}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_flow/{{method}}/{{shard}}.tsv"
    threads: 8
    resources:
        gpu=lambda wildcards: int(bool(FLOW_METHODS[CONFIG["flow"][wildcards.method]["type"]].official)),
        mem_mb=growing(8000),
        runtime=growing(240),
        batch_size=batch_size("flow", "method"),
    params:
        settings=setting("flow", "method", without=["batch_size"]),
        version=version("flow", FLOW_METHODS, "method"),
        weights=weights_identity("flow", "method"),
    message:
        "Computing {wildcards.method} flow of shard {wildcards.shard}"
    script:
        "../scripts/compute_flow.py"


rule draw_flow:
    """Draw example clips and their flow for the report."""
    input:
        decoded=lambda wildcards: expand(DECODED, shard=example_shards()),
        flow=lambda wildcards: expand(FLOW, shard=example_shards(), allow_missing=True),
    output:
        EXAMPLES,
    log:
        f"{RESULTS}/logs/draw_flow/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_flow/{{method}}.tsv"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        examples=lambda wildcards: examples(),
        shards=lambda wildcards: example_shards(),
        version=reports.FLOW_PICTURES_VERSION,
    message:
        "Drawing {wildcards.method} flow of example clips"
    script:
        "../scripts/draw_flow.py"
