rule fetch_weights:
    """Fetch and verify the official weights of one extractor, before any job of it starts; write what they are."""
    output:
        RECEIPT,
    wildcard_constraints:
        extractor=one_of(PRETRAINED),
    priority: 100
    # Here and first: compute nodes may have no network, and a file that cannot be had is better known at once.
    localrule: True
    params:
        settings=setting("extractors", "extractor"),
    message:
        "Fetching the weights of {wildcards.extractor}"
    script:
        "../scripts/fetch_weights.py"
