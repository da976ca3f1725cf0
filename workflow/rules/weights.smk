rule fetch_weights:
    """Fetch and verify official weights, before any job that needs them starts; write what they are."""
    output:
        RECEIPT,
    wildcard_constraints:
        section="flow|backbones|extractors",
        entry="[A-Za-z0-9][A-Za-z0-9_-]*",
    priority: 100
    # Here and first: compute nodes may have no network, and a file that cannot be had is better known at once.
    localrule: True
    params:
        settings=weights_settings,
    message:
        "Fetching the weights of {wildcards.entry}"
    script:
        "../scripts/fetch_weights.py"
