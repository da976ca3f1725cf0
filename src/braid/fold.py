"""The items of a fold, and whether something can be learnt from them."""

from __future__ import annotations

import polars as pl

from braid.errors import TrainingError


def labelled(items: pl.DataFrame, fold: str, classes: list[str], *, learns: bool = True) -> pl.DataFrame:
    """Return the items that `fold` uses, with the columns `split` and `code`.

    Parameters
    ----------
    items : DataFrame
        Columns ``item``, ``label`` and the splits of the index.
    classes : list of str
        Position is class number.
    learns : bool
        Each class needs a training item. What learns no class by itself goes without.

    Returns
    -------
    DataFrame
        The same columns, the splits of other folds left out; `code` is the class number, int64, -1 without a label.

    Raises
    ------
    TrainingError
        There are no training or validation items, some lack a label, or a class has no training item.
    """
    items = items.with_columns(split=f"split_{fold}").drop_nulls("split").select(pl.exclude(r"^split_\d+$"))
    column = f"split_{fold}" if fold != "1" else "split (or split_1)"
    for split, purpose in (("train", "to learn from"), ("val", "to know when to stop")):
        rows = items.filter(pl.col("split") == split)
        if rows.is_empty():
            raise TrainingError(
                f"Fold {fold} has no {split} items, which training needs {purpose}; write `{split}` into the column "
                f"{column} of the manifest for some items of each class."
            )
        unlabelled = rows.filter(pl.col("label").is_null())["item"]
        if len(unlabelled):
            raise TrainingError(
                f"{len(unlabelled)} {split} items of fold {fold} have no label, the first is {unlabelled[0]!r}; "
                f"label them in the manifest or move them to the split `predict`."
            )
    if len(classes) < 2:
        raise TrainingError(
            f"All items have the label {classes[0]!r}; training needs at least two classes to tell apart."
        )
    missing = sorted(set(classes) - set(items.filter(pl.col("split") == "train")["label"]))
    if missing and learns:
        raise TrainingError(
            f"Fold {fold} has no training items of {', '.join(map(repr, missing))}; put some into `train`, or take the "
            f"label from all items."
        )
    codes = {name: code for code, name in enumerate(classes)}
    return items.with_columns(code=pl.col("label").replace_strict(codes, default=-1, return_dtype=pl.Int64))
