"""How long idle threads of GNU OpenMP should spin before they sleep: networks alone, and two at once on the same cores.

    python benchmarks/spin.py [--rounds 2]

times forward passes of `NETWORKS`, random weights and all cores, in a process of its own, and in two at once, under
each of `WAYS`. `default` is what the library does by itself, `passive` does not spin, the others are
`GOMP_SPINCOUNT`, of which the workflow sets one. Milliseconds of a pass; the least of the rounds, of two at once the
larger of their means. It prints a table and writes `benchmarks/results/spin.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "spin.json"
WAYS = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "100": {"GOMP_SPINCOUNT": "100"},
    "1000": {"GOMP_SPINCOUNT": "1000"},
    "10000": {"GOMP_SPINCOUNT": "10000"},
}
NETWORKS = {"efficientnet_b1": ((8, 1, 128, 94), 30), "regnety_064": ((8, 3, 224, 224), 5)}
"""Shape of a batch, and passes of a measurement: a small network on spectrograms, and a large one on pictures."""


def passes(name: str) -> None:
    """Print the milliseconds of a forward pass."""
    import timm
    import torch

    shape, n = NETWORKS[name]
    network, batch = timm.create_model(name, in_chans=shape[1]).eval(), torch.randn(shape)
    with torch.inference_mode():
        for _ in range(2):
            network(batch)
        begin = time.perf_counter()
        for _ in range(n):
            network(batch)
    print((time.perf_counter() - begin) / n * 1000)


def measure(name: str, way: str, n_processes: int) -> float:
    """Return the milliseconds of a pass, of the slower process where two run at once."""
    clean = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, __file__, "--passes", name]
    started = [
        subprocess.Popen(command, env=clean | WAYS[way], stdout=subprocess.PIPE, text=True) for _ in range(n_processes)
    ]
    return max(float(process.communicate()[0]) for process in started)


def main() -> None:
    """Measure all ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--passes", choices=NETWORKS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.passes:
        passes(asked.passes)
        return
    found = {
        name: {
            way: {
                kind: round(min(measure(name, way, n) for _ in range(asked.rounds)), 1)
                for kind, n in (("alone", 1), ("two_at_once", 2))
            }
            for way in WAYS
        }
        for name in NETWORKS
    }
    for name, ways in found.items():
        print(name)
        for way, row in ways.items():
            print(f"  {way:8} alone {row['alone']:8.1f} ms, two at once {row['two_at_once']:8.1f} ms")
    RESULTS.write_text(json.dumps({"cores": os.cpu_count(), "milliseconds": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
