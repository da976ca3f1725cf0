"""Extractors: configured ways to turn the streams of an item into an embedding and tokens."""

from braid.extractors.registry import REGISTRY

__all__ = ["REGISTRY"]
