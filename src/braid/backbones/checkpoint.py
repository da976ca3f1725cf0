"""Training that is under way: its state after the last finished epoch, in a file that is whole or not there."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import torch

from braid.errors import StoreError
from braid.files import digest, whole


class Checkpoints:
    """The folder of a training that may be killed, named after the digest of all that decides its result.

    Parameters
    ----------
    folder : Path
        Holds a folder for the training. What is there of one with other data or settings is of no use any more and goes
        when this one is first saved, which one process does; several read here at once.
    identity : JSON
        Whatever decides the result.
    """

    def __init__(self, folder: Path, identity: Any) -> None:
        self._folder = folder
        self._path = folder / digest(identity) / "checkpoint.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Keep `state`: tensors, numbers, text, and lists and dictionaries of them."""
        for other in self._folder.glob("*"):
            if other != self._path.parent:
                shutil.rmtree(other)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with whole(self._path) as beside:
            beside.write_bytes(buffer.getbuffer())

    def load(self) -> dict[str, Any] | None:
        """Return what was kept last, on the CPU; None where nothing was.

        Raises
        ------
        StoreError
            The file is damaged.
        """
        if not self._path.exists():
            return None
        try:
            return torch.load(self._path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise StoreError(f"{self._path} cannot be read ({error}); delete it, and training starts over.") from error

    def remove(self) -> None:
        """Remove the folder: training is over."""
        shutil.rmtree(self._folder, ignore_errors=True)
