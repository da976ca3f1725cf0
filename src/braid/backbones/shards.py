"""The shards that training reads, of which a few are open at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from braid.backbones.base import Clips
from braid.errors import StoreError
from braid.store.decoded import DecodedShard
from braid.store.flow import FlowShard

MOST = 64
"""Shards of each kind that are open in a process: of thousands, not all fit into its file descriptors and memory."""
ENDING = ".zarr.zip"
KINDS: dict[str, Any] = {"decoded": DecodedShard, "flow": FlowShard}


class Shards:
    """Clips of many shards; what has not been read for longest is closed.

    Parameters
    ----------
    paths : mapping
        Of each kind of shard, `decoded` or `flow`, the files `{shard}.zarr.zip`.
    kinds : which of them are read
    """

    def __init__(self, paths: Mapping[str, Sequence[str | Path]], kinds: Sequence[str]) -> None:
        self.paths = {
            kind: {Path(path).name.removesuffix(ENDING): Path(path) for path in paths[kind]} for kind in kinds
        }
        self._open: dict[str, OrderedDict[str, tuple[Any, dict[str, Any]]]] = {kind: OrderedDict() for kind in kinds}

    def clips(self, shard: str, clip: str) -> Clips:
        """Return a clip of a shard. It can be read until `MOST` other shards have been asked for.

        Raises
        ------
        StoreError
            There is no such shard or clip, or a file is damaged.
        """
        return Clips(**{kind: self._clip(kind, shard, clip) for kind in self.paths})

    def close(self) -> None:
        """Close all shards; whatever is asked for next is opened again."""
        for opened in self._open.values():
            while opened:
                opened.popitem()[1][0].close()

    def forget(self) -> None:
        """Leave the files that a parent process has opened to it; a position in a file is shared with it."""
        self._open = {kind: OrderedDict() for kind in self.paths}

    def _clip(self, kind: str, shard: str, clip: str) -> Any:
        opened = self._open[kind]
        if shard not in opened:
            if shard not in self.paths[kind]:
                raise StoreError(f"none of the {len(self.paths[kind])} {kind} shards given is {shard}{ENDING}")
            while len(opened) >= MOST:
                opened.popitem(last=False)[1][0].close()
            opened[shard] = (KINDS[kind](self.paths[kind][shard]), {})
        opened.move_to_end(shard)
        file, known = opened[shard]
        if clip not in known:
            known[clip] = file[clip]
        return known[clip]
