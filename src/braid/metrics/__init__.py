"""How well probabilities agree with labels, how sure of it one can be, and what each modality is worth.

`evaluation` and what it is made of (`counts`, `sums`) give the numbers of one set of predictions, `bootstrap` their
intervals, `pairs` and `letters` compare schemes on the same items, `worth` divides a score among modalities. What each
number is and where it comes from: docs/statistics.md.

Letters: N items, C classes, G groups, S schemes, B resamples. Confusion matrices have the true class in rows and the
predicted class in columns.
"""

from braid.metrics.evaluation import evaluate, from_confusion
from braid.metrics.sums import LOG_LOSS_EPS, N_BINS, SUM_TOLERANCE

__all__ = ["LOG_LOSS_EPS", "N_BINS", "SUM_TOLERANCE", "VERSION", "evaluate", "from_confusion"]

VERSION = 2
"""Raised when a number of `evaluate` changes its meaning."""
