"""The words: centres of descriptors, and which of them a descriptor is nearest to. Letters: K words, n descriptors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from braid.errors import StoreError
from braid.files import whole
from braid.words.sift import root_sift

DISTANCES = 1 << 22
"""Distances that are in memory at once, 32 MiB, however many words there are."""


@dataclass(frozen=True)
class Codebook:
    """K words.

    Attributes
    ----------
    centres : float32 [K, 128]
    attrs : dict
        How they came about, anything that JSON can hold; `settings` has `root`: whether they are words of RootSIFT.
    """

    centres: np.ndarray
    attrs: dict[str, Any]

    def words(self, descriptors: np.ndarray) -> np.ndarray:
        """Return the word of each descriptor, int64 [n] in [0, K): the nearest one, of equally near ones the first.

        Parameters
        ----------
        descriptors : uint8 [n, 128]
        """
        # ‖x - c‖² without ‖x‖², which is the same for all c; in float64 its rounding decides nothing.
        centres = self.centres.astype(np.float64)
        squares = (centres**2).sum(axis=1)
        nearest = np.empty(len(descriptors), np.int64)
        step = max(DISTANCES // len(centres), 1)
        for at in range(0, len(descriptors), step):
            x = prepare(descriptors[at : at + step], self.attrs["settings"]["root"]).astype(np.float64)
            nearest[at : at + step] = (squares - 2 * x @ centres.T).argmin(axis=1)
        return nearest

    def save(self, path: Path) -> None:
        """Write the file `path`, ending in ``.npz``; equal words give equal bytes."""
        with whole(path) as beside:
            np.savez(beside, centres=self.centres, attrs=np.array(json.dumps(self.attrs, ensure_ascii=False)))

    @classmethod
    def load(cls, path: Path) -> Codebook:
        """Return the codebook that `save` wrote; StoreError where there is none."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return cls(file["centres"], json.loads(str(file["attrs"])))
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise StoreError(f"{path} cannot be read as words of SIFT ({error}); delete it and run again") from error


def prepare(descriptors: np.ndarray, root: bool) -> np.ndarray:
    """Return what distances are taken between, float32 [n, 128]: descriptors uint8 [n, 128], or their RootSIFT."""
    return root_sift(descriptors) if root else descriptors.astype(np.float32)
