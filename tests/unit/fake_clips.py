"""Clips in memory with the interface of those in decoded and flow shards."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from braid import config
from braid.store.decoded import Stream


class FakeClip:
    """A clip with frames at 25 a second, flow and sound of given lengths, made of smooth noise from a seed."""

    def __init__(
        self,
        seed: int = 0,
        seconds: float = 2.0,
        start: float = 0.0,
        status: str = "ok",
        reason: str = "",
        sample_rate: int = 32_000,
    ):
        rng = np.random.default_rng(seed)
        usable = status not in ("missing", "unreadable")
        n_frames = round(25 * seconds) if usable else 0
        self.times = start + np.arange(n_frames) / 25
        coarse = rng.integers(0, 256, (n_frames, 6, 8, 3), dtype=np.uint8)
        self.pictures = coarse.repeat(16, axis=1).repeat(16, axis=2)  # [T, 96, 128, 3]
        self.flow = rng.normal(0, 4, (max(n_frames - 1, 0), 2, 96, 128)).astype(np.float32)
        self.sample_rate = sample_rate
        self.audio_start_seconds = start
        self.n_samples = round(sample_rate * seconds) if usable else 0
        self.sound = rng.uniform(-0.5, 0.5, self.n_samples).astype(np.float32)
        self.video = self.audio = Stream(status, reason)
        self.status, self.reason = status, reason

    @property
    def n_pairs(self) -> int:
        return len(self.flow)

    def frames(self, indices: Any) -> np.ndarray:
        return self.pictures[indices]

    def pairs(self, indices: Any) -> np.ndarray:
        return self.flow[indices]

    def waveform(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self.sound[start:stop]


class FakeShard(dict[str, Any]):
    """Clips by their key."""

    def __init__(self, clips: dict[str, Any]) -> None:
        super().__init__(clips)
        self.attrs = {"settings": {"codec": "none"}, "clips": {"much": "too much to copy"}}

    def __enter__(self) -> FakeShard:
        return self

    def __exit__(self, *_: Any) -> None: ...


def items(*rows: tuple[str, str, float | None, float | None]) -> pl.DataFrame:
    """Return the items (name, clip, start_seconds, end_seconds) as a shard's rows."""
    schema = {"item": pl.String, "clip": pl.String, "start_seconds": pl.Float64, "end_seconds": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def settings(kind: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of an extractor: random weights, else the schema's defaults."""
    properties = config.types("extractors")[kind]["properties"]
    rules = {name: config.resolve(rule, "extractors") for name, rule in properties.items()}
    defaults = {name: rule["default"] for name, rule in rules.items() if "default" in rule}
    return {"type": kind, **defaults, "weights": "random", **changes}
