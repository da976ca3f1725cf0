"""A trained scheme with the trained schemes that it is over, down to those that read features.

What each modality is worth is asked of the whole: an item that lacks a modality, or has a noisy one, is shown to the
schemes that read it, their answers go to the schemes over them, and so on.

Letters: N items, n of them, M modalities, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from braid.errors import StoreError
from braid.schemes.batch import Batch, Selection
from braid.schemes.fit import CHUNK
from braid.schemes.inputs import Inputs, Scaled, logarithm, read_inputs, scaled
from braid.schemes.model import Model
from braid.schemes.room import Room
from braid.schemes.scaling import Standardiser
from braid.schemes.train import reproducible, train

Answers = tuple[np.ndarray, np.ndarray]
"""Class probabilities float32 [n, C], and bool [n]: whether the items have any of the modalities."""


@dataclass(frozen=True)
class Reader:
    """A trained scheme that reads features, and what it reads of all N items."""

    model: Model
    data: Scaled
    trained: dict[frozenset[str], Reader] = field(default_factory=dict, compare=False)
    """The same scheme on fewer modalities, as far as it was asked for: several schemes may be over this one."""

    @cached_property
    def selection(self) -> Selection:
        """All items."""
        return self.data.selection()

    def readers(self) -> Iterator[Reader]:
        """Yield this one."""
        yield self

    def answers(self, rows: Tensor, change: Change) -> Answers:
        """Return what the scheme says of the items at `rows`, int64 [n], as they are after `change`."""
        parts = [
            (self.model.predict(batch.selection()), batch.present.any(dim=1).numpy())
            for batch in change(self, self.selection.rows(rows))
        ]
        p, seen = (np.concatenate(each) for each in zip(*parts, strict=True))
        return p, seen

    def on(self, names: frozenset[str]) -> Reader | None:
        """Return the scheme trained on these of its modalities, same settings and seed; None if it has none of them."""
        kept = [m for m, name in enumerate(self.data.names) if name in names]
        if not kept or len(kept) == len(self.data.names):
            return self if kept else None
        data, told = self.data.of(kept), self.model.description
        if frozenset(data.names) not in self.trained:
            with reproducible(told.seed):
                model, _ = train(data, told.settings | {"features": data.names}, told.seed)
            self.trained[frozenset(data.names)] = Reader(model, data)
        return self.trained[frozenset(data.names)]

    def deviation(self, m: int) -> Tensor:
        """Return the standard deviation over the training items of each number that the scheme gets of modality `m`.

        Standardised ones have 1, constant ones 0; those of log probabilities are theirs.
        """
        if self.data.kind != "scores":
            return (cast(Standardiser, self.model.scalings[m]).scale > 0).float()
        training = (self.data.splits == "train") & self.data.present[:, m]
        return torch.from_numpy(self.data.x[m][training].std(axis=0))


@dataclass(frozen=True)
class Over:
    """A trained scheme over schemes, by name in the order in which it reads them."""

    model: Model
    members: dict[str, Part]

    def readers(self) -> Iterator[Reader]:
        """Yield the schemes below that read features; one that is below several of the members comes as often."""
        for member in self.members.values():
            yield from member.readers()

    def answers(self, rows: Tensor, change: Change) -> Answers:
        """Return what the scheme says after `change` of what those that read features are shown."""
        data = scaled(self._heard(next(self.readers()).data, rows, change), self.model.how_scaled())
        return self.model.predict(data.selection()), np.asarray(data.present.any(axis=1))

    def on(self, names: frozenset[str]) -> Over | None:
        """Return the scheme fitted again, on the validation items, over its members as they are `on` these modalities.

        A member without any of them is left out.
        """
        members = {name: part for name, member in self.members.items() if (part := member.on(names)) is not None}
        if not members:
            return None
        if len(members) == len(self.members) and all(members[name] is self.members[name] for name in members):
            return self
        data, told = next(self.readers()).data, self.model.description
        heard = Over(self.model, members)._heard(data, torch.arange(len(data.labels)), unchanged)
        with reproducible(told.seed):
            model, _ = train(scaled(heard), told.settings | {"schemes": heard.names}, told.seed)
        return Over(model, members)

    def _heard(self, data: Inputs, rows: Tensor, change: Change) -> Inputs:
        """Return what the members say of the items at `rows` as the inputs of this scheme; the rest is of `data`."""
        at = rows.numpy()
        p, present = zip(*(member.answers(rows, change) for member in self.members.values()), strict=True)
        return Inputs(
            data.fold,
            "predictions",
            list(self.members),
            data.classes,
            list(map(logarithm, p)),
            np.stack(present, axis=1),
            **{column: getattr(data, column)[at] for column in ("labels", "items", "splits", "groups")},
        )


Part = Reader | Over
Change = Callable[[Reader, Selection], Iterator[Batch]]
"""What becomes of the items that a scheme is shown, batch by batch in their order."""


def unchanged(reader: Reader, items: Selection) -> Iterator[Batch]:
    """Yield the items as they are."""
    return items.in_turn(CHUNK)


def read_parts(
    items: pl.DataFrame, inputs: Mapping[str, Sequence[Path]], path: Path, below: Mapping[str, Path], room: Room
) -> Part:
    """Read a trained scheme and all that it is over; arguments and errors as of `braid.schemes.weigh`."""
    found: dict[str, Part] = {}

    def read(path: Path) -> Part:
        model = Model.load(path)
        told = model.description
        if model.scheme.reads == "predictions":
            for name in told.features:
                if name not in found:
                    found[name] = read(below[name])
            members = {name: found[name] for name in told.features}
            data, names = next(reader.data for member in members.values() for reader in member.readers()), told.features
            part: Part = Over(model, members)
        else:
            data = scaled(read_inputs(items, told.fold, inputs, told.settings, room), model.how_scaled())
            part, names = Reader(model, data), data.names
        if (data.classes, names) != (told.classes, told.features):
            raise StoreError(f"{path} has other classes or features than the experiment; delete it and train again.")
        return part

    return read(path)
