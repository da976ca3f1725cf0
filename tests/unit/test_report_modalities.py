"""The report on what modalities are worth: its table against hand calculations, and what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report_results import Experiment

from braid import SCHEMAS
from braid.errors import StoreError
from braid.files import write_text
from braid.report import OUTPUTS, OUTPUTS_OF_WORTH, outputs, weighed
from braid.report.build import build_report

TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"


def told(seed: int, fold: int) -> dict[str, Any]:
    """What one run says; accuracies rise by 0.02 a seed, and fold 2 has ten items more."""
    more = 0.02 * seed

    def scores(accuracy: float, log_loss: float) -> dict[str, float]:
        return {"accuracy": accuracy + more, "log_loss": log_loss}

    subsets = [([], 0.3, 1.1), (["passt"], 0.5, 0.9), (["clip"], 0.6, 0.8), (["passt", "clip"], 0.8, 0.4)]
    changed = [("permuted", None, 0.55), ("noise", 0.5, 0.78), ("noise", 2.0, 0.7)]
    return {
        "split": "test",
        "n": 20 + 10 * (fold - 1),
        "lacking": 2,
        "modalities": ["passt", "clip"],
        "subsets": [
            {"modalities": names, "retrained": scores(a, loss), "masked": scores(a - 0.05 * (len(names) == 1), loss)}
            for names, a, loss in subsets
        ],
        "disturbed": [
            {"modality": name, "how": how, **({"level": level} if level else {})}
            | scores(accuracy, 0.9)
            | {"accuracy_sd": 0.03, "log_loss_sd": 0.04}
            for name in ("passt", "clip")
            for how, level, accuracy in changed
        ],
        "shapley": {"accuracy": {"passt": 0.2, "clip": 0.3 + more}, "log_loss": {"passt": 0.3, "clip": 0.4}},
    }


class Asked(Experiment):
    """Early fusion is asked."""

    def config(self) -> dict[str, Any]:
        config = super().config()
        config["schemes"]["early"]["worth"] = True
        return config

    def write(self, folder: Path) -> Path:
        results = super().write(folder)
        for fold in range(1, self.n_folds + 1):
            for seed in self.seeds:
                path = results / "schemes" / "early" / f"fold{fold}" / f"seed{seed}" / "worth.json"
                write_text(path, json.dumps(told(seed, fold)))
        return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = Asked(n_folds=2).write(tmp_path_factory.mktemp("asked"))
    build_report(results, Asked().config(), TEMPLATE)
    return results


def test_the_table_is_listed_where_a_scheme_is_asked() -> None:
    assert weighed(Asked().config()) == ["early"] and weighed(Experiment().config()) == []
    assert outputs(Asked().config()) == OUTPUTS | OUTPUTS_OF_WORTH
    assert outputs(Experiment().config()) == OUTPUTS


def test_without_a_scheme_that_is_asked_nothing_is_said(tmp_path: Path) -> None:
    results = Experiment().write(tmp_path)
    build_report(results, Experiment().config(), TEMPLATE)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert 'id="shares"' not in page and '"#shares"' not in page
    assert not (results / "tables" / "modalities.csv").exists()


def test_table_of_modalities(results: Path) -> None:
    table = pl.read_csv(results / "tables" / "modalities.csv")
    assert table.height == 4 + 4 + 2 + 2 * 3  # subsets twice, shares, permuted and two levels
    assert table.select("scheme", "split", "n", "lacking", "runs").unique().rows() == [("early", "test", 50, 4, 6)]
    both = table.filter(row="retrained", modalities="passt + clip").row(0, named=True)
    assert both["accuracy"] == pytest.approx(0.82)  # seeds 0, 1, 2
    assert both["accuracy_sd"] == pytest.approx(0.02 * (4 / 5) ** 0.5)  # -1, 0, 1 twice
    assert both["accuracy_draw_sd"] is None
    assert table.filter(row="masked", modalities="passt")["accuracy"].item() == pytest.approx(0.47)
    assert table.filter(row="retrained", modalities="")["log_loss"].item() == pytest.approx(1.1)
    share = {name: both for name, *both in table.filter(row="share")["modalities", "accuracy", "log_loss"].rows()}
    assert share == {"passt": pytest.approx([0.2, 0.3]), "clip": pytest.approx([0.32, 0.4])}
    noise = table.filter(row="noise", modalities="clip")
    assert noise["level"].to_list() == [0.5, 2.0]
    assert noise["accuracy_draw_sd"].to_list() == pytest.approx([0.03] * 2)


def test_what_the_page_says(results: Path) -> None:
    page = (results / "report.html").read_text(encoding="utf-8")
    start = page.index('<section id="shares"')
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[start : page.index("</section>", start)]))
    assert "the same 50 labelled test items that have all modalities; 4 more lack some. ± is" in text
    assert "passt +20.0 ± 0.0 0.300 ± 0.000 0.570 ± 0.018 −25.0 points" in text
    assert "clip +32.0 ± 1.8 0.400" in text
    assert "Together from the class prior +50.0 0.700 0.820 ± 0.018 as they are" in text
    assert "none class prior 0.320 ± 0.018 1.100" in text
    assert "passt + clip 0.820 ± 0.018 0.400" in text
    assert "Noise, 0.5 Noise, 2" in text


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    results = Asked(seeds=(0,)).write(tmp_path)
    (results / "schemes" / "early" / "fold1" / "seed0" / "worth.json").unlink()
    with pytest.raises(StoreError, match=r"seed0/worth\.json cannot be read"):
        build_report(results, Asked(seeds=(0,)).config(), TEMPLATE)
