"""The report: one self-contained page, its tables as csv, its figures as svg, and the predictions to hand in."""

VERSION = 1
"""Raised when the report shows other numbers for the same results."""

OUTPUTS = (
    "report.html",
    "submission.csv",
    "tables/schemes.csv",
    "tables/runs.csv",
    "tables/per_class.csv",
    "tables/confusions.csv",
    "tables/predictions.csv",
    "tables/problems.csv",
    "tables/streams.csv",
    "tables/costs.csv",
    "tables/extractors.csv",
    "figures/accuracy.svg",
    "figures/log_loss.svg",
    "figures/curves.svg",
)
"""Every file that the report consists of, below `results/<name>/`."""
