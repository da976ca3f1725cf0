"""Train one backbone on one fold, on one device or several."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.multiprocessing.spawn import ProcessRaisedException

from braid import errors, manifest, metrics, weights
from braid.backbones import data, inputs, model, networks
from braid.backbones.checkpoint import Checkpoints
from braid.backbones.count import count
from braid.backbones.fit import Fit
from braid.backbones.registry import REGISTRY
from braid.device import keep_freed_memory
from braid.errors import TrainingError
from braid.files import whole, write_text
from braid.fold import labelled

PRECISIONS: dict[str, Any] = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
"""What Fabric calls them; weights are float32 in all three."""


@dataclass(frozen=True)
class Job:
    """What every process of a training is told; see `train_backbone`."""

    name: str
    items: pl.DataFrame
    classes: list[str]
    fold: str
    shards: Mapping[str, Sequence[Path]]
    settings: dict[str, Any]
    out: Path
    parts: Path
    identity: list[Any]
    threads: int
    dtype: str


def train_backbone(
    name: str,
    items: pl.DataFrame,
    fold: str,
    shards: Mapping[str, Sequence[Path]],
    settings: dict[str, Any],
    out: Path,
    threads: int,
    device: str,
    devices: int = 1,
) -> None:
    """Train a backbone and write its model, history and metrics into the folder `out`.

    The state after each epoch is kept in `<out>.parts`; a training that was killed goes on from there. On a CPU, with
    the same number of threads and devices, the same arguments give the same weights bit for bit, killed or not.

    Parameters
    ----------
    name : str
        What the log and errors call it.
    items : DataFrame
        Columns of `braid.manifest.parse`, splits included.
    fold : str
        Which split column is used.
    shards : mapping of str to paths
        The shards, one a shard of the manifest, of each source that the input reads: `decoded`, `flow`.
    settings : dict
        The complete entry of the config.
    out : Path
        Receives `model.safetensors`, `history.csv` and `metrics.json`.
    threads : int
        Threads of this process, divided among the devices.
    device : `cpu` or `cuda`
    devices : int
        How many of them share each step.

    Raises
    ------
    TrainingError
        The fold cannot be trained on, a loss is not finite, or memory does not suffice.
    """
    dtype = settings["dtype"] if settings["dtype"] != "auto" else "bfloat16" if device == "cuda" else "float32"
    if dtype == "float16" and device == "cpu":
        raise TrainingError(f"Backbone {name} has dtype float16, which is for GPUs; take auto, bfloat16 or float32.")
    at_least = settings["accumulate"] * devices
    if settings["batch_size"] < at_least:
        raise TrainingError(
            f"Backbone {name} has batch_size {settings['batch_size']}, but each of its {settings['accumulate']} passes "
            f"on {devices} devices needs an item: raise it to {at_least} at least, or lower `accumulate`."
        )
    classes = manifest.classes(items)
    items = labelled(items, fold, classes).filter(pl.col("split").is_in(["train", "val"]))
    identity = [
        settings,
        REGISTRY[settings["type"]].version,
        weights.digest(settings),
        classes,
        items.write_json(),
        {source: [[str(path), path.stat().st_mtime_ns] for path in paths] for source, paths in shards.items()},
    ]
    job = Job(
        name, items, classes, fold, shards, settings, out, out.with_name(f"{out.name}.parts"), identity, threads, dtype
    )
    strategy = "auto" if devices == 1 else DDPStrategy(start_method="spawn", broadcast_buffers=False)
    # Named, since it would take the variables of a SLURM job, which runs one task, for those of one task a device.
    alone = LightningEnvironment()
    fabric = Fabric(accelerator=device, devices=devices, strategy=strategy, precision=PRECISIONS[dtype], plugins=alone)
    try:
        fabric.launch(partial(_train, job=job))
    except ProcessRaisedException as error:
        found = re.search(rf".*^{errors.__name__}\.(\w+): (.*)", str(error), re.MULTILINE | re.DOTALL)
        raise getattr(errors, found[1])(found[2].strip()) if found else error from error


def _train(fabric: Fabric, job: Job) -> None:
    """Train in one process, of which there is one a device."""
    settings, is_first = job.settings, fabric.is_global_zero
    torch.set_num_threads(max(job.threads // fabric.world_size, 1))
    if fabric.device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32, not the 10 bits of TF32
    else:
        keep_freed_memory()
    source = inputs.make(settings)
    training = data.Training(job.items.filter(split="train"), job.shards, source, settings["seed"])
    evaluation = data.Evaluation(job.items.filter(split="val"), job.shards, source)
    sets = {"train": training, "val": evaluation}
    for split, least in (("train", fabric.world_size), ("val", 1)):
        if len(sets[split]) < least:
            raise TrainingError(
                f"Backbone {job.name} needs at least {least} items of {split} that it can read, got {len(sets[split])};"
                f" problems.tsv says what is wrong with clips."
            )
        if is_first and sets[split].lacking:
            print(f"{sets[split].lacking} items of {split} are left out: of them there is nothing to read")
    with torch.random.fork_rng(), redirect_stdout(sys.stdout if is_first else None):
        network = networks.make(settings, source.n_channels, len(job.classes))
        checkpoints = Checkpoints(job.parts, job.identity)
        result = Fit(
            job.name,
            fabric,
            network,
            source,
            training,
            evaluation,
            len(job.classes),
            settings,
            checkpoints,
            workers=max(job.threads // fabric.world_size // 2, 1),
        ).run()
    if not is_first:
        return
    best = next(epoch for epoch in result.history if epoch.kept)
    model.save(job.out / "model.safetensors", network, settings, job.classes, job.fold, best.epoch)
    with whole(job.out / "history.csv") as beside:
        pl.DataFrame(result.history).write_csv(beside)
    view = source.encode(evaluation[0][0][None].to(fabric.device))[:, 0]
    report = {
        "val": metrics.evaluate(evaluation.labels, result.logits.double().softmax(dim=1).numpy(), job.classes),
        "best_epoch": best.epoch,
        "epochs": len(result.history),
        "items": {split: len(items) for split, items in sets.items()},
        "lacking": {split: items.lacking for split, items in sets.items()},
        "dtype": job.dtype,
        "device": fabric.device.type,
        "devices": fabric.world_size,
        "seconds": sum(epoch.seconds for epoch in result.history),
        **count(network, view),
    }
    write_text(job.out / "metrics.json", json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    checkpoints.remove()
