"""The schemes that a config can name; importing this costs nothing.

A change of the training that all share raises the version of every entry.
"""

from __future__ import annotations

from braid.registry import Entry

REGISTRY: dict[str, Entry] = {
    "single": Entry("braid.schemes.networks:Single", 1),
    "early": Entry("braid.schemes.networks:Early", 1),
    "intermediate": Entry("braid.schemes.networks:Intermediate", 1),
    "weighted": Entry("braid.schemes.networks:Weighted", 1),
    "gated": Entry("braid.schemes.networks:Gated", 1),
    "tokens": Entry("braid.schemes.tokens:TokenFusion", 1),
    "bottleneck": Entry("braid.schemes.tokens:Bottleneck", 1),
    "late": Entry("braid.schemes.late:Late", 2),
    "double": Entry("braid.schemes.late:Double", 2),
    "scores": Entry("braid.schemes.untrained:Scores", 1),
    "ensemble": Entry("braid.schemes.untrained:Ensemble", 1),
    "calibrated": Entry("braid.schemes.untrained:Ensemble", 1),
}

WORTH_VERSION = 1
"""Raised when `braid.schemes.weigh` gives other numbers for the same scheme."""
