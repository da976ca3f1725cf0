"""What the training of a scheme leaves in its folder, apart from the model; read by the report without torch.

`history.csv` has one line an epoch and part, `metrics.json` the numbers, `predictions.h5` the probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from braid.errors import StoreError
from braid.files import whole
from braid.store.rows import data_set

FORMAT = "braid predictions 1"


@dataclass(frozen=True)
class Predictions:
    """Class probabilities for N items by one scheme; C classes, M modalities.

    The modalities of a scheme over schemes are these, and an item has one if that scheme has seen it.

    Attributes
    ----------
    items, splits : list of str [N]
        Names of the items and their split: ``train``, ``val``, ``test`` or ``predict``.
    labels : int64 [N]
        Index into `classes`, -1 where the item has no label.
    present : bool [N, M]
        Which of `features` an item has; a row without any means that its probabilities are the class prior.
    probabilities : float32 [N, C]
    classes, features : list of str [C], [M]
    """

    items: list[str]
    splits: list[str]
    labels: np.ndarray
    present: np.ndarray
    probabilities: np.ndarray
    classes: list[str]
    features: list[str]


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write an HDF5 file with the data sets `item`, `split`, `label`, `present`, `probabilities`."""
    text = h5py.string_dtype()
    with whole(path) as beside, h5py.File(beside, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs.create("classes", predictions.classes, dtype=text)
        file.attrs.create("features", predictions.features, dtype=text)
        file.create_dataset("item", data=predictions.items, dtype=text)
        file.create_dataset("split", data=predictions.splits, dtype=text)
        for name, numbers in (
            ("label", predictions.labels),
            ("present", predictions.present),
            ("probabilities", predictions.probabilities),
        ):  # a flipped bit in them is an error
            file.create_dataset(name, data=numbers, fletcher32=numbers.size > 0, chunks=numbers.size > 0 or None)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises
    ------
    StoreError
        The file is missing, truncated or holds something else.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("format") != FORMAT:
                raise OSError(f"its format is not {FORMAT!r}")
            data = {name: data_set(file, name)[:] for name in ("item", "split", "label", "present", "probabilities")}
            classes, features = (np.asarray(file.attrs[name]).tolist() for name in ("classes", "features"))
    except (OSError, KeyError) as error:
        raise StoreError(f"{path} cannot be read ({error}); delete it and train again.") from error
    items, splits = ([value.decode() for value in data[name]] for name in ("item", "split"))
    return Predictions(items, splits, data["label"], data["present"], data["probabilities"], classes, features)
