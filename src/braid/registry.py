"""An entry of a registry: where a class lives and the version of its numbers, known without importing it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One implementation that a config can name.

    Attributes
    ----------
    target : str
        ``module:attribute``, imported only by `load`, so that a registry costs nothing to read.
    version : int
        Raised when the numbers change; a part of the key of every cached result.
    """

    target: str
    version: int

    def load(self) -> Any:
        """Import and return the class or function."""
        module, attribute = self.target.split(":")
        return getattr(import_module(module), attribute)
