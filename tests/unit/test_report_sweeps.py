"""The report on sweeps: its table against what was written, its figure, and what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report_results import Experiment

from braid import SCHEMAS
from braid.errors import StoreError
from braid.report import OUTPUTS, OUTPUTS_OF_SWEEPS, outputs, swept
from braid.report.build import build_report

TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"
RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]


class Swept(Experiment):
    """Two schemes have a sweep: of a rate and a kind of optimiser, the last rate diverges; and of a width."""

    def config(self) -> dict[str, Any]:
        config = super().config()
        config["schemes"]["early"] |= {
            "monitor": "val_loss",
            "sweep": {"parameters": {"learning_rate": RATES, "optimizer": ["adamw"]}, "budget": None},
        }
        config["schemes"]["late"] |= {
            "monitor": "val_accuracy",
            "sweep": {"parameters": {"hidden": [0, 64]}, "budget": None},
        }
        return config

    def write(self, folder: Path) -> Path:
        results = super().write(folder)
        for fold in range(1, self.n_folds + 1):
            losses = [0.9, 0.5, 0.3 + fold / 10, 0.6, 0.7, 0.8, None]
            early = {"point": range(1, 8), "learning_rate": RATES, "optimizer": ["adamw"] * 7}
            early |= self._scores(losses, [None if loss is None else 1 - loss for loss in losses])
            late = {"point": [1, 2], "hidden": [0, 64], **self._scores([0.4, 0.5], [0.6, 0.7])}
            for name, columns, chosen in (("early", early, 3), ("late", late, 2)):
                path = results / "schemes" / name / f"fold{fold}" / "sweep.csv"
                table = pl.DataFrame({key: list(values) for key, values in columns.items()})
                table.with_columns(chosen=pl.col("point") == chosen).write_csv(path)
        return results

    def _scores(self, losses: list[Any], accuracies: list[Any]) -> dict[str, list[Any]]:
        """Each seed is 0.1 from the one before, and the middle one is the mean."""
        columns = {}
        for score, means in (("val_loss", losses), ("val_accuracy", accuracies)):
            for i, seed in enumerate(self.seeds):
                away = 0.1 * (i - (len(self.seeds) - 1) / 2)
                columns[f"{score}_seed{seed}"] = [None if mean is None else mean + away for mean in means]
            columns[score] = means
        return columns


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = Swept(n_folds=2).write(tmp_path_factory.mktemp("swept"))
    build_report(results, Swept().config(), TEMPLATE)
    return results


def test_files_are_listed_where_a_scheme_has_a_sweep() -> None:
    assert swept(Swept().config()) == ["early", "late"] and swept(Experiment().config()) == []
    assert outputs(Swept().config()) == OUTPUTS | OUTPUTS_OF_SWEEPS


def test_without_a_sweep_nothing_is_said(tmp_path: Path) -> None:
    results = Experiment().write(tmp_path)
    build_report(results, Experiment().config(), TEMPLATE)
    assert 'id="sweeps"' not in (results / "report.html").read_text(encoding="utf-8")
    assert not (results / "tables" / "sweeps.csv").exists()


def test_table_of_points(results: Path) -> None:
    table = pl.read_csv(results / "tables" / "sweeps.csv")
    assert table.height == 2 * 7 + 2 * 2
    early = table.filter(scheme="early", fold=1)
    assert early["learning_rate"].to_list() == RATES and early["hidden"].null_count() == 7
    assert early["rank"].to_list() == [6, 2, 1, 3, 4, 5, None]
    late = table.filter(scheme="late", fold=2)
    assert late["rank"].to_list() == [2, 1], "more accuracy is better"
    assert table.filter("chosen")["point"].to_list() == [3, 3, 2, 2]


def test_figure_has_a_panel_for_each_parameter(results: Path) -> None:
    svg = (results / "figures" / "sweeps.svg").read_text(encoding="utf-8")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    for name in ("learning_rate", "optimizer", "hidden", "adamw", "64"):
        assert name in words
    assert words.count("early") == 2 and words.count("late") == 1


def test_what_the_page_says(results: Path) -> None:
    page = (results / "report.html").read_text(encoding="utf-8")
    start = page.index('<section id="sweeps"')
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[start : page.index("</section>", start)]))
    assert "early, fold 1: 7 points, 1 without a finite loss" in text
    assert "The best 6 of 7 points by val_loss, mean ± standard deviation over 3 seeds" in text
    assert "1 chosen 0.01 adamw 0.400 ± 0.100 0.600 ± 0.100" in text
    assert "All 2 points by val_accuracy" in text and "1 chosen 64 0.500 ± 0.100 0.700 ± 0.100" in text
    assert 'href="#sweeps"' in page and 'download="sweeps.csv"' in page


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    results = Swept(seeds=(0,)).write(tmp_path)
    (results / "schemes" / "late" / "fold1" / "sweep.csv").unlink()
    with pytest.raises(StoreError, match=r"late/fold1/sweep\.csv cannot be read"):
        build_report(results, Swept(seeds=(0,)).config(), TEMPLATE)
