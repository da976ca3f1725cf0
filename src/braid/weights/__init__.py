"""Weights of networks: where the official ones come from, a folder that keeps them, and a strict way to load them.

`record` is what is known of a file, the modules named after libraries and networks know the official ones, `folder`
and `download` bring and check them, `choice` says which ones an extractor uses, `checkpoint` reads them, and `command`
is `braid weights`. Importing any of these imports no network library.
"""

from braid.weights.checkpoint import fill, load
from braid.weights.choice import (
    RANDOM_SEED,
    check_receipt,
    digest,
    find,
    identity,
    is_fetched,
    is_pretrained,
    needed,
    official,
    receipt,
)
from braid.weights.folder import fetch, folder, is_here, sha256, verify
from braid.weights.record import Weights

__all__ = [
    "RANDOM_SEED",
    "Weights",
    "check_receipt",
    "digest",
    "fetch",
    "fill",
    "find",
    "folder",
    "identity",
    "is_fetched",
    "is_here",
    "is_pretrained",
    "load",
    "needed",
    "official",
    "receipt",
    "sha256",
    "verify",
]
