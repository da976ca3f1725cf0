"""A results folder as the other stages leave it, written by their own writers, for the tests of the report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from braid import index, manifest, metrics
from braid.files import write_text
from braid.report.clips import draw_clips
from braid.schemes.results import Predictions, write_predictions
from braid.store.features import FeatureWriter

BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
PROBLEMS = "clip\tvideo\taudio\tstream\tstatus\treason\tshard\n"


@dataclass
class Experiment:
    """What the folder holds: accuracy of each scheme, in the order of the config, and sizes.

    With `grouped`, as many items as there are classes make a group; else each is one.
    """

    accuracies: dict[str, float] = field(
        default_factory=lambda: {"sound": 0.3, "video": 0.5, "early": 0.85, "late": 0.9}
    )
    classes: tuple[str, ...] = ("clap", "jump", "wave")
    n_items: int = 120
    n_predict: int = 6
    n_folds: int = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 12
    weights: str = "random"
    labelled_test: bool = True
    grouped: bool = False
    problems: str = PROBLEMS

    def config(self) -> dict[str, Any]:
        """Return the complete config."""
        return {
            "name": "toy",
            "manifest": "clips.tsv",
            "folds": "all",
            "seeds": list(self.seeds),
            "extractors": {
                "passt": {"type": "passt", "weights": self.weights, "architecture": "passt_s_swa_p16_128_ap476"},
                "clip": {"type": "clip", "weights": self.weights, "architecture": "ViT-B-32-quickgelu"},
            },
            "flow": {},
            "backbones": {},
            "schemes": {
                name: {"type": "single", "features": ["passt" if name == "sound" else "clip"]}
                if name in ("sound", "video")
                else {"type": "late" if name == "late" else "early", "features": ["passt", "clip"]}
                for name in self.accuracies
            },
            "report": {
                "title": "Which modalities, which scheme",
                "submission_columns": ["Id", "Category"],
                "published": None,
            },
        }

    def write(self, folder: Path) -> Path:
        """Write the folder `results/toy` below `folder` and return it."""
        results = folder / "results" / "toy"
        items = self._manifest(folder)
        shards = index.update(folder / "clips.tsv", results / "index").shards
        for extractor in ("passt", "clip"):
            for shard in shards:
                attrs = {
                    "weights": "random:0",
                    "dtype": "float32",
                    "device": "cpu",
                    "torch": "2.13.0",
                    "braid": "0.1.0",
                }
                with FeatureWriter(results / "features" / extractor / f"{shard}.h5", attrs) as features:
                    for row, item in enumerate(items.filter(shard=shard)["item"]):
                        missing = extractor == "passt" and row % 30 == 7
                        features.append(
                            item, None if missing else np.ones(4, np.float32), status="missing" if missing else "ok"
                        )
        for scheme, accuracy in self.accuracies.items():
            for fold in range(1, self.n_folds + 1):
                for seed in self.seeds:
                    self._run(results, items, scheme, accuracy, str(fold), seed)
        if self.weights == "pretrained":
            for extractor, licence in (("passt", "Apache-2.0"), ("clip", "CC-BY-NC-4.0")):
                receipt = {"licence": licence, "non_commercial": "NC" in licence, "citation": "Somebody, 2026"}
                write_text(results / "weights" / "extractors" / f"{extractor}.json", json.dumps(receipt))
        write_text(results / "decoded" / "problems.tsv", self.problems)
        write_text(results / "decoded" / "counts.json", '{"clips": 126, "bad": 0, "statuses": {}}')
        for shard, seconds in (("s0", 61.5), ("s1", 30.25)):
            line = f"{seconds}\t0:01:01\t{512 if shard == 's0' else 300}\t1\t1\t1\t0\t0\t90\t{2 * seconds}\n"
            write_text(results / "benchmarks" / "decode_shard" / f"{shard}.tsv", BENCHMARK + line)
        write_text(
            results / "benchmarks" / "list_problems.tsv", BENCHMARK + "0.2\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\t0\tNA\n"
        )
        write_text(results / "benchmarks" / "build_report.tsv", BENCHMARK + "9\t0:00:09\t1\t1\t1\t1\t0\t0\t0\t9\n")
        folds = [str(fold + 1) for fold in range(self.n_folds)]
        decoded = {shard: results / "decoded" / f"{shard}.zarr.zip" for shard in shards}
        draw_clips(results, list(self.accuracies), folds, self.seeds, decoded, results / "clips" / "clips.json")
        return results

    def items(self, folder: Path) -> pl.DataFrame:
        """Return the items of what was written below `folder`."""
        return index.load(folder / "results" / "toy" / "index").items()

    def _manifest(self, folder: Path) -> pl.DataFrame:
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for i in range(self.n_items + self.n_predict):
            asked = i >= self.n_items
            split = "predict" if asked else ("train", "train", "val", "test")[i // len(self.classes) % 4]
            labelled = not asked
            if split == "test" and not self.labelled_test:
                split, labelled = None, False
            row = {"item": f"clip {i:05d}", "video": f"{i}.mp4", "audio": f"{i}.mp4"}
            (folder / row["video"]).touch()
            row |= {"label": self.classes[i % len(self.classes)] if labelled else None, "shard": "s0"}
            row |= {"group": f"place {i // len(self.classes)}" if self.grouped else None}
            rows.append(row | {f"split_{fold + 1}": split for fold in range(self.n_folds)})
        text = pl.DataFrame(rows, infer_schema_length=None)
        text.write_csv(folder / "clips.tsv", separator="\t", quote_style="necessary")
        return manifest.read(folder / "clips.tsv")

    def _run(self, results: Path, items: pl.DataFrame, scheme: str, accuracy: float, fold: str, seed: int) -> None:
        rng = np.random.default_rng([seed, int(fold), list(self.accuracies).index(scheme)])
        used = items.select("item", "label", "group", split=f"split_{fold}").drop_nulls("split")
        n_classes = len(self.classes)
        labels = np.array([self.classes.index(label) if label else -1 for label in used["label"]])
        guess = np.where(rng.random(len(labels)) < accuracy, labels, rng.integers(0, n_classes, len(labels)))
        p = 0.6 * np.eye(n_classes)[guess] + 0.4 * rng.dirichlet(np.ones(n_classes), len(labels))
        present = np.ones((len(labels), 2), dtype=bool)
        out = results / "schemes" / scheme / f"fold{fold}" / f"seed{seed}"
        splits = used["split"].to_list()
        predictions = Predictions(
            used["item"].to_list(),
            splits,
            labels,
            present,
            p.astype(np.float32),
            sorted(self.classes),
            ["passt", "clip"],
        )
        write_predictions(out / "predictions.h5", predictions)
        rows = {split: np.array(splits) == split for split in ("train", "val", "test")}
        groups = used["group"].to_numpy()
        report = {
            split: metrics.evaluate(labels[at], p[at], sorted(self.classes), groups[at]) if at.any() else None
            for split, at in rows.items()
        }
        parts = ["passt", "clip"] if scheme == "late" else [scheme]
        kept = self.epochs - 3
        report |= {
            "n_parameters": 1234,
            "best_epoch": dict.fromkeys(parts, kept),
            "seconds": 0.5 + seed,
            "answered_by_prior": 0,
        }
        write_text(out / "metrics.json", json.dumps(report))
        history = [
            {
                "part": part,
                "epoch": epoch,
                "train_loss": 1.1 * np.exp(-epoch / 8) + 0.02 * rng.random(),
                "val_loss": 0.3 + 0.8 * np.exp(-epoch / 6) + 0.02 * rng.random(),
                "train_accuracy": 0.5,
                "val_accuracy": 0.5,
                "learning_rate": 0.01,
                "kept": epoch == kept,
            }
            for part in parts
            for epoch in range(1, self.epochs + 1)
        ]
        pl.DataFrame(history).write_csv(out / "history.csv")
