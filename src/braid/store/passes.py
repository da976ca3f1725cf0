"""The flow of passes of which a clip is not stored yet: what a pass has computed outlives a kill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from braid.flow.quantise import dequantise, quantise


class KeptPasses:
    """Files `<number>.pass` in a folder, one a pass, until all the clips of a pass are stored.

    A file is renamed to its name when it is complete, so a killed process leaves it whole or not at all. It is not
    synced to disk, which would cost more than the passes that a power failure loses: one that is not whole, and those
    after it, are removed when the folder is opened.

    Parameters
    ----------
    folder : Path
        An existing folder.
    encoding, bound : str, float
        Of the flow, see `braid.flow.quantise`. What is read back has the codes that were written.
    """

    def __init__(self, folder: Path, encoding: str, bound: float) -> None:
        self._folder, self._encoding, self._bound = folder, encoding, bound
        self._clips: dict[Path, list[str]] = {}  # of each file, in the order of the passes
        self._counts: dict[str, int] = {}
        for left in folder.glob("*.partial"):
            left.unlink()
        whole = True
        for path in sorted(folder.glob("*.pass")):
            if whole := whole and _is_whole(path):
                with np.load(path) as file:
                    self._note(path, [(str(name), len(file[f"arr_{i}"])) for i, name in enumerate(file["arr_0"], 1)])
            else:
                path.unlink()
        self._next = 1 + max((int(path.stem) for path in self._clips), default=-1)

    def __len__(self) -> int:
        return len(self._clips)

    def count(self, clip: str) -> int:
        """Return how many pairs of a clip, its first ones, are kept."""
        return self._counts.get(clip, 0)

    def blocks(self, clip: str) -> Iterator[np.ndarray]:
        """Yield the float32 pixels, [n, 2, h, w], of the pairs that are kept of a clip, in order."""
        for path, clips in list(self._clips.items()):
            if clip in clips:
                with np.load(path) as file:
                    codes = file[f"arr_{clips.index(clip) + 1}"]
                yield dequantise(codes, self._encoding, self._bound)

    def keep(self, found: Sequence[tuple[str, np.ndarray]]) -> None:
        """Store what a pass found: clips with the float32 pixels, [n, 2, h, w], of their next pairs."""
        path = self._folder / f"{self._next:09}.pass"
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                names = np.array([name for name, _ in found])
                np.savez(file, names, *(quantise(flow, self._encoding, self._bound) for _, flow in found))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        self._next += 1
        self._note(path, [(name, len(flow)) for name, flow in found])

    def drop(self, stored: set[str]) -> None:
        """Remove the passes of which all clips are stored."""
        for path, clips in list(self._clips.items()):
            if stored.issuperset(clips):
                path.unlink()
                del self._clips[path]

    def _note(self, path: Path, pairs: list[tuple[str, int]]) -> None:
        self._clips[path] = [name for name, _ in pairs]
        for name, n in pairs:
            self._counts[name] = self.count(name) + n


def _is_whole(path: Path) -> bool:
    try:
        with np.load(path) as file:
            return all(file[name] is not None for name in file.files)  # reading checks the checksums
    except (BadZipFile, EOFError, OSError, ValueError):
        return False
