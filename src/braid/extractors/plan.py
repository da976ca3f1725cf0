"""What there is to see of an item: its views, and what its stream covers of it.

Nothing here computes with tensors: the report and the stages of words start twice as fast without torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

SLACK_SECONDS = 0.1
"""A stream that ends this much before the item's end (or begins after its start) still covers the item."""


@dataclass(frozen=True)
class View:
    """A stretch of an item that the network sees at once.

    Attributes
    ----------
    start_seconds, end_seconds : [start, end) on the clip's clock
    indices : what `Extractor.load` reads for it, int64: frames, pairs of frames, or bounds in samples
    crop : number of its crop in space
    """

    start_seconds: float
    end_seconds: float
    indices: np.ndarray
    crop: int = 0


class Plan(NamedTuple):
    """What there is to see of an item: its views, none where its stream is not usable, with status and reason."""

    views: list[View]
    status: str
    reason: str


class Cover(NamedTuple):
    """What there is of a stream: its status and reason, and [start, end) seconds where it is usable."""

    status: str
    reason: str
    start_seconds: float
    end_seconds: float


class Planner(ABC):
    """Which views of an item there are to see, and with what status.

    Attributes
    ----------
    least_seconds : float
        Items of which there is less get the status `short`.
    short_rule : str
        What is done with those.
    """

    least_seconds: float = 0.0
    short_rule: str = ""

    @abstractmethod
    def cover(self, clip: Any) -> Cover:
        """Return what `clip`, as its shard gives it, has of the stream that is read."""

    @abstractmethod
    def views(self, clip: Any, start: float, end: float) -> list[View]:
        """Return the views, at least one, of [start, end) seconds of `clip`, all of which the stream covers."""

    @classmethod  # noqa: B027 (of most, the schema knows everything)
    def check(cls, settings: Mapping[str, Any]) -> None:
        """Refuse settings that the schema cannot know to be wrong, such as a name that a library does not have.

        This is called before the first job of a run, and should construct nothing large.

        Raises
        ------
        ConfigError
            Which setting is wrong, and what to choose.
        """

    def plan(self, clip: Any, start: float | None, end: float | None) -> Plan:
        """Return the views of the item that is [start, end) seconds of `clip`; None is its own start or end."""
        status, reason, low, high = self.extent(clip, start, end)
        views = [] if status in ("missing", "unreadable") else self.views(clip, low, high)
        return Plan(views, status, reason)

    def extent(self, clip: Any, start: float | None, end: float | None) -> Cover:
        """Return what the stream covers of the item that is [start, end) seconds of `clip`.

        The status is the stream's own, but `missing` where nothing of the item is covered, and `short` where a part is
        not or where the item is shorter than a view.
        """
        status, reason, first, last = self.cover(clip)
        if status in ("missing", "unreadable"):
            return Cover(status, reason, 0.0, 0.0)
        low = first if start is None else max(start, first)
        high = last if end is None else min(end, last)
        asked = f"[{first if start is None else start:g}, {last if end is None else end:g}) s"
        if high <= low:
            return Cover("missing", f"the item is {asked}, the stream only [{first:g}, {last:g}) s", 0.0, 0.0)
        faults = [reason] if reason else []
        if (start is not None and low > start + SLACK_SECONDS) or (end is not None and high < end - SLACK_SECONDS):
            faults.append(f"the item is {asked}, of which the stream covers [{low:g}, {high:g}) s")
        if high - low < self.least_seconds * (1 - 1e-6):
            faults.append(f"{high - low:.3g} s where a view takes {self.least_seconds:.3g} s: {self.short_rule}")
        return Cover("short" if faults and status == "ok" else status, "; ".join(faults), low, high)
