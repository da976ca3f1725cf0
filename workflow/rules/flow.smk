rule compute_flow:
    """Compute the optical flow between all neighbouring frames of one shard."""
    input:
        DECODED,
    output:
        FLOW,
    log:
        f"{RESULTS}/logs/compute_flow/{{method}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_flow/{{method}}/{{shard}}.tsv"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=setting("flow", "method"),
        version=version("flow", FLOW_METHODS, "method"),
    message:
        "Computing {wildcards.method} flow of shard {wildcards.shard}"
    script:
        "../scripts/compute_flow.py"
