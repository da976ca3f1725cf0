"""Write names and shapes of official checkpoints, as the reference packages have them, for the unit tests.

Run as `.venv-parity/bin/python tests/parity/keys.py`; it writes tests/unit/data/*_keys.json.
"""

import hashlib
import json
from pathlib import Path

from pytorchvideo.models import hub  # pyright: ignore[reportMissingImports]

DATA = Path(__file__).parents[1] / "unit" / "data"


def x3d() -> dict:
    """Return each parameter of X3D-XS, which S and M share, and the digest of the same list of X3D-L."""
    layouts = {}
    for size in ("xs", "s", "m", "l"):
        state = getattr(hub, f"x3d_{size}")().state_dict()
        layouts[size] = {name: "x".join(map(str, value.shape)) for name, value in state.items()}
    if not layouts["xs"] == layouts["s"] == layouts["m"]:
        raise SystemExit("X3D-XS, S and M no longer share one layout: write them apart")
    text = "\n".join(f"{name} {shape}" for name, shape in sorted(layouts["l"].items()))
    return {"xs": layouts["xs"], "l": {"n": len(layouts["l"]), "sha256": hashlib.sha256(text.encode()).hexdigest()}}


if __name__ == "__main__":
    text = json.dumps(x3d(), indent=0)
    (DATA / "x3d_keys.json").write_text(text + "\n", encoding="utf-8")
