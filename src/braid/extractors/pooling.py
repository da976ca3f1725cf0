"""From the tokens and the class scores of an item's views to one embedding and one row of scores.

Letters: V views of an item, D numbers of a token, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pool(tokens: np.ndarray, parts: Sequence[str], normalised: bool = False) -> np.ndarray:
    """Return the embedding of an item: statistics of its tokens, one after the other.

    Parameters
    ----------
    tokens : float32 [V, D], V at least 1
    parts : names from `mean`, `max` and `std` (of the population, so that one token has 0), in the order wanted
    normalised : bool
        Tokens have unit length, and so has their mean: it is divided by its length.

    Returns
    -------
    np.ndarray
        float32 [D · len(parts)].
    """
    mean = tokens.mean(axis=0)
    if normalised:
        mean = mean / np.linalg.norm(mean)
    values = {"mean": lambda: mean, "max": lambda: tokens.max(axis=0), "std": lambda: tokens.std(axis=0)}
    return np.concatenate([values[part]() for part in parts]).astype(np.float32)


def average(logits: np.ndarray, how: str, several_classes: bool = False) -> np.ndarray:
    """Return the scores of an item from the logits of its views.

    Parameters
    ----------
    logits : float32 [V, C], or of several items [..., V, C]
    how : str
        `probabilities`: the mean of the views' probabilities, as SlowFast sums them. `logits`: the mean of the logits.
        `vote`: the share of views whose highest class it is, as in a majority vote.
    several_classes : bool
        A view may have several classes at once, so that probabilities are sigmoids and not a softmax.

    Returns
    -------
    np.ndarray
        float32 [C] or [..., C], logits or numbers in [0, 1].
    """
    if how == "logits":
        return logits.mean(axis=-2)
    if how == "vote":
        votes = logits.argmax(axis=-1)[..., None] == np.arange(logits.shape[-1])
        return votes.mean(axis=-2).astype(np.float32)
    import torch  # here, since the report, which reads this module, starts twice as fast without

    values = torch.from_numpy(logits).double()
    probabilities = values.sigmoid() if several_classes else values.softmax(dim=-1)
    return probabilities.mean(dim=-2).float().numpy()
