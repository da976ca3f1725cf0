"""A compact letter display: schemes that share a letter are not told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_lowercase


def letters(schemes: Sequence[str], different: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the letters of each scheme: two schemes share one exactly if they are not in `different`.

    By insertion and absorption (Piepho 2004): one set of all schemes is split at each pair that differs, and sets that
    lie within another are dropped. Sets are lettered in the order of their schemes; after z comes a2.

    Parameters
    ----------
    schemes : sequence of str
        The best first, so that `a` holds the best one.
    different : pairs of str
        Which schemes differ, in either order.
    """
    sets = [frozenset(schemes)]
    for first, second in different:
        split = [s - {other} for s in sets if {first, second} <= s for other in (first, second)]
        kept = [s for s in sets if not {first, second} <= s]
        sets = _largest(kept + split)
    rank = {scheme: i for i, scheme in enumerate(schemes)}
    sets.sort(key=lambda s: sorted(rank[scheme] for scheme in s))
    between = "" if len(sets) <= len(ascii_lowercase) else " "
    return {scheme: between.join(_name(i) for i, s in enumerate(sets) if scheme in s) for scheme in schemes}


def _largest(sets: list[frozenset[str]]) -> list[frozenset[str]]:
    """Return the sets that lie in no other, each once."""
    unique = list(dict.fromkeys(sets))
    return [s for s in unique if not any(s < other for other in unique)]


def _name(i: int) -> str:
    turn, letter = divmod(i, len(ascii_lowercase))
    return ascii_lowercase[letter] + (str(turn + 1) if turn else "")
