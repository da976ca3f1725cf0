"""Every network beside its reference, with the same weights and the same input."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path

import pytest
import torch
from cases import CASES, Case

for family in sorted(Path(__file__).parent.glob("*_cases.py")):
    importlib.import_module(family.stem)  # which registers its cases

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the references


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agrees(case: Case, tmp_path, record_property):
    with torch.no_grad():
        ours, theirs = (outputs.double() for outputs in case.outputs(tmp_path / "checkpoint.pt"))
    scale = float(theirs.abs().max())
    difference = float((ours - theirs).abs().max()) if ours.shape == theirs.shape else float("inf")
    error = difference / scale
    row = {
        "model": case.name,
        "max_relative_error": float(f"{error:.2g}"),
        "tolerance": case.tolerance,
        "reference": case.package,
        "version": importlib.metadata.version(case.package),
    }
    if case.pixels is not None:
        row |= {"max_error_pixels": float(f"{difference:.2g}"), "tolerance_pixels": case.pixels}
    record_property("row", row)
    assert ours.shape == theirs.shape
    assert float((theirs[0] - theirs[1]).abs().max()) > 1000 * case.tolerance * scale, "the two items are too alike"
    assert error <= case.tolerance
    assert case.pixels is None or difference <= case.pixels
