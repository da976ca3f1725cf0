"""`braid weights list | fetch | verify`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from braid import config as configs
from braid.errors import WeightsError
from braid.weights import catalogue
from braid.weights.choice import is_fetched, needed
from braid.weights.folder import fetch, folder, is_here, verify
from braid.weights.record import Weights


def add_parser(subparsers: Any) -> None:
    """Add `braid weights` to the command line."""
    parser = subparsers.add_parser("weights", help="list, fetch and verify the official weights of networks")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for run, says in (
        (_list, "show file, size, licence and source, and whether it is here; all where none is named"),
        (_fetch, "download what is missing and verify it"),
        (_verify, "compare files that are here with the published or pinned checksum; all where none is named"),
    ):
        action = actions.add_parser(run.__name__.strip("_"), help=says, description=says)
        action.add_argument("names", nargs="*", metavar="type/architecture")
        action.add_argument("--config", type=Path, metavar="FILE", help="everything that this config needs")
        action.set_defaults(run=run)


def _list(arguments: argparse.Namespace) -> None:
    heads = ("name", "here", "MB", "file", "licence", "source")
    rows = [
        (name, "yes" if is_here(weights) else "no", _megabytes(weights), weights.file, weights.terms, weights.url)
        for name, weights in _chosen(arguments)
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    print(f"weights folder: {folder()}")
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _megabytes(weights: Weights) -> str:
    """Return the size of the file that is here, else the published one, if any."""
    path = folder() / weights.file
    size = path.stat().st_size if path.exists() else weights.size_bytes
    return "" if size is None else f"{size / 1e6:.0f}"


def _fetch(arguments: argparse.Namespace) -> None:
    if not arguments.names and not arguments.config:
        raise WeightsError("name what to fetch as <type>/<architecture>, or give --config FILE for all that it needs")
    _each(_chosen(arguments), fetch)


def _verify(arguments: argparse.Namespace) -> None:
    named = arguments.names or arguments.config
    _each(((name, weights) for name, weights in _chosen(arguments) if named or _is_begun(weights)), verify)


def _is_begun(weights: Weights) -> bool:
    """Return whether a file is here, also where its companions are not."""
    return any((folder() / each.file).exists() for each in weights.files)


def _each(chosen: Iterable[tuple[str, Weights]], action: Callable[[Weights], Any]) -> None:
    """Do `action` with everything that is chosen, and say in the end what went wrong."""
    wrong = []
    for name, weights in chosen:
        try:
            action(weights)
            print(f"{name}  {folder() / weights.file}  {verify(weights)}", flush=True)
        except WeightsError as error:
            wrong.append(str(error))
    if wrong:
        raise WeightsError("\n".join(wrong))


def _chosen(arguments: argparse.Namespace) -> Iterator[tuple[str, Weights]]:
    """Yield what the config and the names ask for, once; everything listed where neither is given."""
    asked = [catalogue.settings_of(name) for name in arguments.names]
    if arguments.config:
        try:
            raw = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise WeightsError(f"{arguments.config} cannot be read: {error}") from error
        config = configs.load(raw)
        entries = [settings for section in ("extractors", "backbones", "flow") for settings in config[section].values()]
        asked += [settings for settings in entries if is_fetched(settings)]
    elif not asked:
        asked = [catalogue.settings_of(name) for name in catalogue.listed()]
    seen = set()
    for settings in asked:
        name, weights = catalogue.name_of(settings), needed(settings)
        if (name, weights) not in seen:
            seen.add((name, weights))
            yield name, weights
