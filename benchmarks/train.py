"""Time the training of the early scheme against the same head in a plain DataLoader loop, on one core.

    python benchmarks/train.py

prints both and their ratio, and writes `benchmarks/results/train.json`.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from braid import config
from braid.files import write_text
from braid.schemes.batch import Batch
from braid.schemes.fit import fit
from braid.schemes.networks import Early

N_TRAIN, N_VAL, DIM, N_CLASSES, EPOCHS = 8_000, 1_000, 1_280, 15, 100
RESULT = Path(__file__).parent / "results" / "train.json"


def ours(x: torch.Tensor, labels: torch.Tensor, settings: dict) -> float:
    """Train with braid's loop and return the validation accuracy of the best epoch."""
    data = Batch([x], torch.ones(len(x), 1, dtype=torch.bool), labels, groups=torch.arange(len(x))).selection()
    network = Early(["features"], [DIM], N_CLASSES, settings)
    train, val = data.rows(torch.arange(N_TRAIN)), data.rows(torch.arange(N_TRAIN, N_TRAIN + N_VAL))
    history = fit(network, "early", train, val, settings)
    assert len(history) == EPOCHS
    return max(epoch.val_accuracy for epoch in history)


def plain(x: torch.Tensor, labels: torch.Tensor, settings: dict) -> float:
    """Train with DataLoader and AdamW as they come and return the validation accuracy of the best epoch."""
    items = TensorDataset(x, labels)
    train = DataLoader(torch.utils.data.Subset(items, range(N_TRAIN)), settings["batch_size"], shuffle=True)
    val = DataLoader(torch.utils.data.Subset(items, range(N_TRAIN, N_TRAIN + N_VAL)), settings["batch_size"])
    network = nn.Linear(DIM, N_CLASSES)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimiser, settings["restart_epochs"], settings["restart_factor"]
    )
    best = 0.0
    for _ in range(EPOCHS):
        network.train()
        for features, truth in train:
            optimiser.zero_grad()
            cross_entropy(network(features), truth).backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            n_correct = sum((network(features).argmax(1) == truth).sum().item() for features, truth in val)
        best = max(best, n_correct / N_VAL)
        schedule.step()
    return best


def main() -> None:
    """Run both on the same data and write the times."""
    torch.set_num_threads(1)
    torch.optim.AdamW(nn.Linear(1, 1).parameters())  # the first optimiser of a process imports for a second
    torch.manual_seed(0)
    labels = torch.randint(N_CLASSES, (N_TRAIN + N_VAL,))
    x = torch.randn(N_CLASSES, DIM)[labels] + 12 * torch.randn(N_TRAIN + N_VAL, DIM)
    settings = config.load(
        {
            "name": "benchmark",
            "manifest": "none",
            "extractors": {"features": {"type": "torchvision_video"}},
            "schemes": {"early": {"type": "early", "features": ["features"], "epochs": EPOCHS, "patience": EPOCHS}},
        }
    )["schemes"]["early"]
    result: dict = {"items": N_TRAIN, "dim": DIM, "classes": N_CLASSES, "epochs": EPOCHS}
    runs: dict[str, Callable] = {"braid": ours, "dataloader": plain}
    for name, run in runs.items():
        started, started_cpu = time.perf_counter(), time.process_time()
        accuracy = run(x, labels, settings)
        result[name] = {
            "seconds": round(time.perf_counter() - started, 2),
            "cpu_seconds": round(time.process_time() - started_cpu, 2),
            "val_accuracy": accuracy,
        }
        print(f"{name}: {result[name]}")
    result["ratio"] = round(result["dataloader"]["cpu_seconds"] / result["braid"]["cpu_seconds"], 1)
    result["machine"] = {"processor": platform.machine(), "cores": 1, "torch": torch.__version__}
    print(f"the DataLoader loop takes {result['ratio']} times the processor time")
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
