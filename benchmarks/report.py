"""Measure the report of a large experiment: 100,000 items, 20 schemes, 51 classes, as many pictures as there may be.

    python benchmarks/report.py

makes up a results folder (some minutes), then draws clips and builds the report on one thread, and writes
`benchmarks/results/report.json`: seconds of the processor and of the clock, the size of the page, the peak of the
memory. Decoded shards are not read: two strings of the largest size stand for the pictures of each clip.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from braid import SCHEMAS, manifest
from braid.files import write_text
from braid.report.build import build_report
from braid.report.clip_pictures import MOST_BYTES
from braid.report.clips import draw_clips

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit"))

from report_results import Experiment

N_ITEMS, N_SCHEMES, N_CLASSES, GROUP, EPOCHS = 100_000, 20, 51, 20, 60
TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"
RESULT = Path(__file__).parent / "results" / "report.json"


class Large(Experiment):
    """Nearly all items are test items, in groups of `GROUP`."""

    def _manifest(self, folder: Path) -> pl.DataFrame:
        numbers = range(self.n_items)
        for i in numbers:
            (folder / f"{i}.mp4").touch()
        files = [f"{i}.mp4" for i in numbers]
        splits = [("train", "val")[group] if (group := i // GROUP % 100) < 2 else "test" for i in numbers]
        columns = {"item": [f"clip {i}" for i in numbers], "video": files, "audio": files, "split_1": splits}
        columns |= {"label": [self.classes[i % N_CLASSES] for i in numbers], "shard": ["s0"] * self.n_items}
        columns |= {"group": [f"group {i // GROUP}" for i in numbers]}
        pl.DataFrame(columns).write_csv(folder / "clips.tsv", separator="\t")
        return manifest.read(folder / "clips.tsv")


def timed(work: Callable[[], None]) -> dict[str, float]:
    """Return the seconds that `work` takes."""
    began, began_cpu = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - began_cpu}


def main() -> None:
    """Make up the results, measure, and write the figures."""
    others = {f"scheme{i:02d}": 0.4 + 0.03 * i for i in range(N_SCHEMES - 2)}
    experiment = Large(
        accuracies={"sound": 0.3, "video": 0.5} | others,
        classes=tuple(f"class {i:02d}" for i in range(N_CLASSES)),
        n_items=N_ITEMS,
        n_predict=0,
        seeds=(0,),
        epochs=EPOCHS,
    )
    with tempfile.TemporaryDirectory() as folder:
        results = experiment.write(Path(folder))
        clips, gone = results / "clips" / "clips.json", {"s0": Path(folder, "s0.zarr.zip")}
        drawing = timed(lambda: draw_clips(results, list(experiment.accuracies), ["1"], experiment.seeds, gone, clips))
        drawn = json.loads(clips.read_text(encoding="utf-8"))
        picture = "data:image/jpeg;base64," + "A" * (4 * MOST_BYTES // 3)
        drawn["clips"] = [clip | {"frames": picture, "sound": picture} for clip in drawn["clips"]]
        write_text(clips, json.dumps(drawn))
        building = timed(lambda: build_report(results, experiment.config(), TEMPLATE))
        size = (results / "report.html").stat().st_size
    result = {
        "items": drawn["n_items"],
        "schemes": N_SCHEMES,
        "classes": N_CLASSES,
        "clips_shown": len(drawn["clips"]),
        "draw_clips": {name: round(value, 1) for name, value in drawing.items()},
        "build_report": {name: round(value, 1) for name, value in building.items()},
        "page_megabytes": round(size / 1e6, 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "machine": platform.machine(),
    }
    print(json.dumps(result, indent=1))
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
