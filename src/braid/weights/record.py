"""What is known of an official file before it is here: its name, source, checksum, size, licence and citation."""

from __future__ import annotations

import re
from dataclasses import dataclass

NON_COMMERCIAL = re.compile(r"(^|-)nc(-|$)|non-?commercial|^apple-amlr$|^seer-license$", re.IGNORECASE)
"""Licences, named as on Hugging Face, that forbid commercial use; the last two are for research only."""


@dataclass(frozen=True)
class Weights:
    """One official file, and those that it is of no use without.

    Attributes
    ----------
    file : name in the weights folder; it may hold one sub-folder
    url : where its publisher offers it
    sha256 : all 64 hexadecimal digits, or as many of the first ones as the publisher gives, or none
    licence, citation : of the weights, not of the code
    size_bytes : int or None
        Where the publisher states it, as exactly as it does (torchvision to the nearest 1024th of a MiB).
    non_commercial : bool
        The licence forbids commercial use.
    companions : further files that the network needs, such as its configuration
    """

    file: str
    url: str
    sha256: str
    licence: str
    citation: str
    size_bytes: int | None = None
    non_commercial: bool = False
    companions: tuple[Weights, ...] = ()

    @property
    def files(self) -> tuple[Weights, ...]:
        """The file itself, then its companions."""
        return (self, *self.companions)

    @property
    def terms(self) -> str:
        """The licence, and whether it forbids commercial use."""
        return f"{self.licence}; NOT FOR COMMERCIAL USE" if self.non_commercial else self.licence


def hash_in(url: str) -> str:
    """Return the first digits of the SHA-256 that the name of a file ends in, as PyTorch's hub has it, or nothing."""
    found = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", url)
    return found[1] if found else ""


def is_non_commercial(licence: str) -> bool:
    """Return whether a licence, by its name on Hugging Face, is known to forbid commercial use."""
    return NON_COMMERCIAL.search(licence) is not None
