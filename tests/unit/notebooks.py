"""Run a notebook as a program, for the tests of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run(notebook: Path, folder: Path) -> str:
    """Run the code of all cells in `folder`, where a warning is an error, and return what it prints."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    environment = os.environ | {"MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
