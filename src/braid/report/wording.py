"""How the page writes numbers; an en dash stands for what does not exist."""

from __future__ import annotations

from typing import Any

NONE = "–"


def score(value: float | None) -> str:
    """Write a metric with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Write the limits of an interval of a score."""
    return NONE if low is None or high is None else f"{low:.3f}–{high:.3f}"


def points(value: float | None) -> str:
    """Write a difference in hundredths with its sign, one that rounds to zero without."""
    return NONE if value is None else f"{round(value, 1) or 0.0:{'+' if round(value, 1) else ''}.1f}".replace("-", "−")


def p_value(value: float) -> str:
    """Write a p value with three decimals, as < 0.001 where these would be zeros."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def spread(value: float | None) -> str:
    """Write a standard deviation after its mean; nothing where there is one run only."""
    return "" if value is None else f"\u00a0±\u00a0{value:.3f}"


def count(value: float | None) -> str:
    """Write a whole number with thin spaces between thousands."""
    return NONE if value is None else f"{value:,.0f}".replace(",", "\u202f")


def duration(seconds: float | None) -> str:
    """Write seconds as a person says them: 0.42 s, 7.1 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return NONE
    if round(seconds, 1) < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def mebibytes(value: float | None) -> str:
    """Write a size that is given in MiB."""
    if value is None:
        return NONE
    return f"{value:.0f} MiB" if value < 1024 else f"{value / 1024:.1f} GiB"


def significant(value: float | None) -> str:
    """Write a number with three significant digits, without an exponent."""
    return NONE if value is None else f"{float(f'{value:.3g}'):g}"


def plural(n: int, one: str, many: str = "") -> str:
    """Write a number with its noun."""
    return f"{count(n)}\u00a0{one if n == 1 else many or one + 's'}"


FILTERS: dict[str, Any] = {
    function.__name__: function
    for function in (score, interval, points, p_value, spread, count, duration, mebibytes, significant, plural)
}
