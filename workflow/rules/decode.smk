def cores_of_a_decoding():
    """Return the cores of a job that decodes: eight, or one where shards to decode are enough to keep all cores busy.

    What a job does beside its workers, its start first of all, leaves their cores idle; side by side jobs of one core
    lose nothing of it. Where a cluster has the cores Snakemake does not know how many.
    """
    cores = workflow.resource_settings.cores if workflow.is_main_process else None
    missing = sum(not Path(DECODED.format(shard=shard)).exists() for shard in INDEX.shards)
    return 1 if cores and cores > 1 and missing >= 3 * cores else 8


rule decode_shard:
    """Decode the clips of one shard: frames, times, sound, and the status of both streams."""
    output:
        DECODED,
    log:
        f"{RESULTS}/logs/decode_shard/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/decode_shard/{{shard}}.tsv"
    threads: cores_of_a_decoding()
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        index=INDEX.folder,
        rows=lambda wildcards: INDEX.clips_digest(wildcards.shard),
        settings=CONFIG["decode"],
        version=media.VERSION,
    message:
        "Decoding shard {wildcards.shard}"
    script:
        "../scripts/decode_shard.py"


rule list_problems:
    """List the clips that could not be read, with the reason."""
    input:
        lambda wildcards: expand(DECODED, shard=INDEX.shards),
    output:
        f"{RESULTS}/decoded/problems.tsv",
    log:
        f"{RESULTS}/logs/list_problems.log",
    benchmark:
        f"{RESULTS}/benchmarks/list_problems.tsv"
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        index=INDEX.folder,
        rows=INDEX.present_digest,
        version=media.VERSION,
    message:
        "Listing clips that could not be read"
    script:
        "../scripts/list_problems.py"


rule check_problems:
    """Stop the run when more clips than `max_bad_fraction` could not be read."""
    input:
        rules.list_problems.output,
    output:
        f"{RESULTS}/decoded/counts.json",
    log:
        f"{RESULTS}/logs/check_problems.log",
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        index=INDEX.folder,
        max_bad_fraction=CONFIG["max_bad_fraction"],
    message:
        "Counting clips that could not be read"
    script:
        "../scripts/check_problems.py"
