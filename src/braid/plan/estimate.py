"""Bytes and hours that a config takes on a data set, from measured rates; what was not measured is left open."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid import config as configs

MEASURED = Path(__file__).parents[3] / "benchmarks" / "results"
"""The figures that the benchmarks keep; braid is used from its checkout."""
ASPECT = 4 / 3
FRAME_BYTES_A_PIXEL = {"jpeg": 3 / 13, "lossless": 3 / 1.8}
"""What a pixel of a stored frame takes, of 3 bytes (docs/decoding.md)."""
SAMPLE_BYTES, NUMBER_BYTES, NUMBERS_A_VIEW = 4, 4, 1024
BENCHMARK_SECONDS = 10.0
HMDB51_PAIRS, FLOW_PIXELS = 634_258, 256 * 340
"""What the figures of flow.json are for."""


@dataclass(frozen=True)
class Media:
    """How much there is of a data set.

    Attributes
    ----------
    n_clips, n_items : int
    clip_seconds, item_seconds : float
        Mean lengths.
    frame_rate : float
        Frames a second of the clips.
    n_folds : int
    """

    n_clips: int
    n_items: int
    clip_seconds: float
    item_seconds: float
    frame_rate: float
    n_folds: int

    @property
    def n_frames(self) -> float:
        """Frames of all clips."""
        return self.n_clips * self.clip_seconds * self.frame_rate


@dataclass(frozen=True)
class Cost:
    """What one stage takes: bytes on the disk, and hours on the two cores of the benchmarks, None if not measured."""

    stage: str
    bytes: float
    hours: float | None
    basis: str


def costs(config: dict[str, Any], media: Media) -> list[Cost]:
    """Return what decoding, each flow pass and each extractor takes, in the order of the config.

    Parameters
    ----------
    config : complete config, as `braid.config.load` returns it
    media : how much there is to decode and to see
    """
    short = config["decode"]["short_side"] or 256
    pixels = short * round(short * ASPECT)
    found = [_decoding(config["decode"], media, pixels)]
    found += [_flow(name, settings, media, pixels) for name, settings in config["flow"].items()]
    if config["backbones"]:
        basis = f"{len(config['backbones'])} backbones on {media.n_folds} folds: not measured at such sizes"
        found.append(Cost("train_backbone", 0, None, basis))
    return found + [_extractor(name, settings, media) for name, settings in config["extractors"].items()]


def _decoding(settings: dict[str, Any], media: Media, pixels: int) -> Cost:
    stored = media.n_frames * pixels * FRAME_BYTES_A_PIXEL[settings["codec"]]
    stored += media.n_clips * media.clip_seconds * settings["sample_rate"] * SAMPLE_BYTES
    row = _measured("decode")["rows"][0]
    rate = row["shard"]["frames_a_second"]
    basis = f"{rate:,.0f} frames/s of {row['media']}; frames {settings['codec']}, sound 4 bytes a sample"
    return Cost("decode", stored, media.n_frames / rate / 3600, basis)


def _flow(name: str, settings: dict[str, Any], media: Media, pixels: int) -> Cost:
    measured = _measured("flow")
    gigabytes = measured["storage"]["hmdb51"][f"{settings['encoding']} {settings['scale']:g}"]["gigabytes"]
    stored = gigabytes * 1e9 / HMDB51_PAIRS / FLOW_PIXELS * pixels * media.n_frames
    if settings["type"] != "farneback":
        return Cost(f"flow {name}", stored, None, f"{settings['type']} is not measured in hours")
    rate = 2 * measured["pairs_a_cpu_second"]["stage"] * FLOW_PIXELS / pixels
    return Cost(f"flow {name}", stored, media.n_frames / rate / 3600, f"{rate:,.0f} pairs/s")


def _extractor(name: str, settings: dict[str, Any], media: Media) -> Cost:
    row = _measured("extract")["networks"].get(settings["type"])
    folds = media.n_folds if settings["type"] in ("backbone", "sift") else 1
    views = n_views(settings, media.item_seconds, row["views"] / row["items"] if row else 1) * media.n_items * folds
    stored = views * NUMBERS_A_VIEW * NUMBER_BYTES
    basis = f"{views:,.0f} views"
    if row is None:
        return Cost(name, stored, None, f"{basis}; {settings['type']} is not measured")
    known = row["settings"].get("architecture", _default(settings["type"], "architecture"))
    if settings.get("architecture") != known:
        return Cost(name, stored, None, f"{basis}; {settings['architecture']} is not measured, {known} is")
    seconds = row["shard"][0] / row["views"]
    return Cost(name, stored, views * seconds / 3600, f"{basis} of {1000 * seconds:,.0f} ms")


def n_views(settings: dict[str, Any], seconds: float, usual: float) -> float:
    """Return how many views an item has.

    Parameters
    ----------
    settings : of an extractor
    seconds : length of the item
    usual : views of an item of 10 s with the settings of the schema
    """
    crops = settings.get("crops", 1)
    if "views" in settings:
        if settings["views"] != "all":
            return settings["views"] * crops
        if settings.get("clip_length") and settings.get("frame_rate"):
            return max(1, seconds * settings["frame_rate"] // settings["clip_length"]) * crops
    elif settings.get("frame_rate"):
        return max(1, round(seconds * settings["frame_rate"])) * crops
    elif "frames" in settings:
        return settings["frames"] * crops
    elif "hop_seconds" in settings:
        return max(1, round(seconds / settings["hop_seconds"]))
    return max(1, usual * seconds / BENCHMARK_SECONDS) * crops


def _default(kind: str, key: str) -> Any:
    return configs.types("extractors")[kind]["properties"].get(key, {}).get("default")


def _measured(name: str) -> dict[str, Any]:
    return json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))
