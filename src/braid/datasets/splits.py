"""Random splits that keep the share of each label and never part a group."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence


def draw(
    labels: Sequence[str],
    groups: Sequence[str],
    given: Sequence[str | None],
    shares: dict[str, float],
    seed: int,
) -> list[str]:
    """Return a split for each item.

    Groups are placed one by one, large ones first, each where it exceeds the shares of its labels least and, among
    those, in the split that is emptiest for its share; the first group of a label goes to the largest share, so
    that a label with one group can be learnt.

    Parameters
    ----------
    labels, groups : sequences of str [N]
        A group is placed as a whole, whatever labels its items have.
    given : sequence of str or None [N]
        Splits that stay; other items of the same group follow.
    shares : dict of str to float
        Split to its share of the items; shares add up to 1.
    seed : int
        Decides the order of groups of equal size.
    """
    size = Counter(labels)
    most = {split: {label: math.ceil(n * share) for label, n in size.items()} for split, share in shares.items()}
    members: defaultdict[str, Counter[str]] = defaultdict(Counter)
    place = {group: split for group, split in zip(groups, given, strict=True) if split}
    for label, group in zip(labels, groups, strict=True):
        members[group][label] += 1
    filled = {split: Counter[str]() for split in shares}
    for group in place.keys() & members.keys():
        filled.setdefault(place[group], Counter()).update(members[group])
    total = {split: filled[split].total() for split in shares}
    largest = max(shares, key=lambda split: shares[split])
    open_splits = [split for split, share in shares.items() if share > 0]

    def misfit(split: str, content: Counter[str]) -> tuple[int, float]:
        excess = sum(max(0, filled[split][label] + n - most[split][label]) for label, n in content.items())
        return excess, total[split] / (shares[split] * len(labels))

    def order(group: str) -> tuple[int, bytes]:
        return -members[group].total(), hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()

    for group in sorted(members.keys() - place.keys(), key=order):
        content = members[group]
        if any(not filled[largest][label] for label in content):
            split = largest
        else:
            split = min(open_splits, key=lambda split: misfit(split, content))
        place[group] = split
        filled[split].update(content)
        total[split] += content.total()
    return [place[group] for group in groups]
