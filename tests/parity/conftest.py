"""The table of all rows, printed at the end and kept in benchmarks/results/parity.json when all hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "parity.json"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each case that was run, and write the file if none was left out and none failed."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = [value for report in reports for key, value in report.user_properties if key == "row"]
    if not rows:
        return
    width = max(len(row["model"]) for row in rows)
    terminalreporter.section("networks against their references: max |ours - reference| / max |reference|")
    for row in rows:
        error, tolerance = row["max_relative_error"], row["tolerance"]
        holds = "" if error <= tolerance else "  DIFFERS"
        reference = f"{row['reference']} {row['version']}"
        terminalreporter.write_line(f"{row['model']:{width}}  {error:7.1e}  of {tolerance:g}  {reference}{holds}")
    from cases import CASES

    if len(terminalreporter.stats.get("passed", [])) == len(CASES):
        table = {"error": "max |ours - reference| / max |reference|", "rows": rows}
        RESULT.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        terminalreporter.write_line(f"written to {RESULT}")


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """Keep what references print away from the table."""
