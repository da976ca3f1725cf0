"""The command line `braid`: each module of `COMMANDS` adds its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from braid import __version__
from braid.datasets import command as datasets
from braid.errors import BraidError
from braid.plan import command as plan
from braid.results import command as results
from braid.runs import command as runs
from braid.verify import command as verify
from braid.weights import command as weights

COMMANDS = (datasets, weights, plan, results, runs, verify)
"""Modules with `add_parser(subparsers)`, which sets `run`: a function of the parsed arguments."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments`, or else the process's own, name; return the exit status."""
    parser = argparse.ArgumentParser(prog="braid", description="Multimodal video classification as a workflow.")
    parser.add_argument("--version", action="version", version=f"braid {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(subparsers)
    parsed = parser.parse_args(arguments)
    try:
        parsed.run(parsed)
    except BraidError as error:
        print(f"braid: {error}", file=sys.stderr)
        return 2
    return 0
