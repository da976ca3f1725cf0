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
        mem_mb=8000,
        runtime=240,
        batch_size=batch_size("flow", "method"),
    params:
        settings=setting("flow", "method", without=["batch_size"]),
        version=version("flow", FLOW_METHODS, "method"),
        weights=weights_identity("flow", "method"),
    message:
        "Computing {wildcards.method} flow of shard {wildcards.shard}"
    script:
        "../scripts/compute_flow.py"
