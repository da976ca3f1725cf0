"""Parts of items that do not share a group, for scores of items that a part has not been trained on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor

from braid.errors import TrainingError


def group_folds(groups: Tensor, n_folds: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield positions of the other items and of the held-out items, int64, for each of `n_folds` parts.

    Parts are of nearly equal size, no group is in two, and every item is held out once; they are the same each time.

    Raises
    ------
    TrainingError
        There are fewer groups than parts.
    """
    n_groups = len(groups.unique())
    if n_groups < n_folds:
        raise TrainingError(
            f"The training items are of {n_groups} groups, which cannot be held out in {n_folds} parts; lower "
            f"`n_folds`, or fit the combination on `val`."
        )
    splits = GroupKFold(n_folds, shuffle=True, random_state=0).split(groups, groups=groups)
    for rest, held in splits:
        yield torch.from_numpy(rest), torch.from_numpy(held)
