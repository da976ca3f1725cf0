"""The report: one self-contained page, its tables as csv, its figures as svg, and the predictions to hand in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VERSION = 9
"""Raised when the report shows other numbers for the same results."""
FLOW_PICTURES_VERSION = 1
"""Raised when the pictures of the same flow change."""
CLIPS_VERSION = 1
"""Raised when other clips are shown for the same results, or their pictures change."""

OUTPUTS = {
    "report.html": "report",
    "submission.csv": "submission",
    "provenance.json": "provenance",
    "tables/schemes.csv": "schemes",
    "tables/runs.csv": "schemes",
    "tables/pairs.csv": "pairs",
    "tables/reliability.csv": "reliability",
    "tables/curves.csv": "curves",
    "tables/per_class.csv": "classes",
    "tables/gains.csv": "fusion",
    "tables/agreement.csv": "fusion",
    "tables/confusions.csv": "classes",
    "tables/predictions.csv": "predictions",
    "tables/problems.csv": "skipped",
    "tables/streams.csv": "skipped",
    "tables/costs.csv": "costs",
    "tables/costs_by_name.csv": "costs",
    "tables/reruns.csv": "costs",
    "tables/sizes.csv": "costs",
    "tables/extractors.csv": "extractors",
    "figures/accuracy.svg": "comparison",
    "figures/log_loss.svg": "comparison",
    "figures/reliability.svg": "reliability",
    "figures/curves.svg": "curves",
}
"""Every file that each report consists of, below `results/<name>/`, and its caption `workflow/report/<caption>.rst`."""

OUTPUTS_OF_BACKBONES = {
    "tables/backbones.csv": "backbones",
    "tables/views.csv": "views",
    "tables/orders.csv": "orders",
    "figures/backbones.svg": "backbones",
}
"""What there is besides where backbones are trained."""

OUTPUTS_OF_WORTH = {"tables/modalities.csv": "modalities"}
"""What there is besides where a scheme is asked what each modality is worth."""

OUTPUTS_OF_SWEEPS = {"tables/sweeps.csv": "sweeps", "figures/sweeps.svg": "sweeps"}
"""What there is besides where a scheme has a sweep."""

OUTPUTS_OF_PUBLISHED = {"tables/published.csv": "published"}
"""What there is besides where the config names figures that others have published."""


def outputs(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of the report of an experiment, and their captions."""
    return (
        OUTPUTS
        | (OUTPUTS_OF_BACKBONES if config["backbones"] else {})
        | (OUTPUTS_OF_WORTH if weighed(config) else {})
        | (OUTPUTS_OF_SWEEPS if swept(config) else {})
        | (OUTPUTS_OF_PUBLISHED if config["report"]["published"] else {})
    )


def weighed(config: Mapping[str, Any]) -> list[str]:
    """Return the schemes that are asked what each of their modalities is worth."""
    return [name for name, settings in config["schemes"].items() if settings.get("worth")]


def swept(config: Mapping[str, Any]) -> list[str]:
    """Return the schemes that have a sweep."""
    return [name for name, settings in config["schemes"].items() if settings.get("sweep")]
