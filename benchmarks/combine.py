"""Measure what combinations of late fusion reach when they are fitted on few items, on made-up probabilities.

    python benchmarks/combine.py

prints a table and writes `benchmarks/results/combine.json`: test accuracies of the mean, of what `combine` can learn,
and of `linear` with one decay that does not depend on the data. Two parts are overconfident posteriors of Gaussian
classes; "noise" has one good part and a worthless one, "halves" two that each tell apart half of what there is.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from braid.files import write_text
from braid.schemes.combine import COMBINATIONS, Combination, Linear

N_CLASSES, N_TEST, N_DRAWS, OVERCONFIDENCE = 8, 4000, 5, 1.3
RESULT = Path(__file__).parent / "results" / "combine.json"


class FixedDecay(Linear):
    """The linear combination without the choice of its decay."""

    DECAYS = (1.0,)


WAYS: dict[str, type[Combination]] = {
    name: COMBINATIONS[name] for name in ("mean", "linear_pool", "scalar_weights", "class_weights", "linear")
} | {"linear, decay 1": FixedDecay}


def posterior(groups: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return overconfident log probabilities, float [N, G], of groups whose centres are always the same."""
    n_groups = N_CLASSES if groups.max() >= 4 else (2 if groups.max() < 2 else 4)
    centres = np.random.default_rng(7).normal(size=(n_groups, 8))
    x = centres[groups] + noise * rng.normal(size=(len(groups), 8))
    return -OVERCONFIDENCE * ((x[:, None] - centres) ** 2).sum(axis=2) / (2 * noise**2)


def draw(kind: str, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return log probabilities, float32 [n, 2, C], of two parts and the labels [n]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(N_CLASSES, size=n)
    if kind == "noise":
        parts = [posterior(labels, 1.2, rng), 2 * rng.normal(size=(n, N_CLASSES))]
    else:
        one, other = posterior(labels % 2, 0.8, rng), posterior(labels // 2, 0.8, rng)
        classes = np.arange(N_CLASSES)
        parts = [x + 0.7 * rng.normal(size=(n, N_CLASSES)) for x in (one[:, classes % 2], other[:, classes // 2])]
    return torch.from_numpy(np.stack(parts, axis=1)).float().log_softmax(dim=2), torch.from_numpy(labels)


def accuracy(log_p: Tensor, labels: Tensor) -> float:
    """Return the share of items whose most probable class is theirs."""
    return (log_p.argmax(dim=1) == labels).float().mean().item()


def main() -> None:
    """Fit each way on each number of items and write the means over the draws."""
    torch.set_num_threads(1)
    result: dict = {"classes": N_CLASSES, "test_items": N_TEST, "draws": N_DRAWS, "torch": torch.__version__}
    for kind in ("noise", "halves"):
        for n in (32, 80, 400):
            found: dict[str, list[float]] = {name: [] for name in ("best part", *WAYS)}
            for seed in range(N_DRAWS):
                (log_p, labels), (unseen, truth) = draw(kind, n, seed), draw(kind, N_TEST, 100 + seed)
                found["best part"].append(max(accuracy(unseen[:, m], truth) for m in (0, 1)))
                for name, way in WAYS.items():
                    combination = way(2, N_CLASSES)
                    combination.fit(log_p, torch.ones(n, 2, dtype=torch.bool), labels, torch.arange(n))
                    with torch.no_grad():
                        combined = combination(unseen, torch.ones(N_TEST, 2, dtype=torch.bool))
                    found[name].append(accuracy(combined, truth))
            means = {name: round(float(np.mean(values)), 3) for name, values in found.items()}
            result[f"{kind}, {n} items"] = means
            print(f"{kind}, {n} items:", means)
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
