"""Published figures beside ours: the table, when ours is empty, what the page says, and the files of the presets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from report_results import Experiment

from braid import SCHEMAS
from braid import config as configs
from braid.errors import ConfigError
from braid.report import OUTPUTS, OUTPUTS_OF_PUBLISHED, outputs
from braid.report.build import build_report
from braid.report.published import COLUMNS, read

ROOT = SCHEMAS.parents[1]
TEMPLATE = SCHEMAS.parent / "report" / "report.html.j2"
PRESETS = sorted(path.stem for path in (ROOT / "config" / "presets").glob("*.csv"))
HEADER = ",".join(COLUMNS)
N_TEST = 30
LINES = (
    f"early,accuracy,0.992,,text,<i>wrong</i> & found\nsound,log_loss,0.5,{N_TEST},table 1,\n"
    f"late,macro_f1,0.7,{N_TEST},table 1,\nvideo,accuracy,0.25,750,table 1,\n"
)


@dataclass
class Beside(Experiment):
    """Names the file `published.csv` beside the manifest."""

    published: str = ""
    weights: str = "pretrained"
    seeds: tuple[int, ...] = (0, 1)
    grouped: bool = True

    def config(self) -> dict[str, Any]:
        config = super().config()
        config["report"]["published"] = self.published
        return config


def build(folder: Path, lines: str = LINES, **changes: Any) -> Path:
    (folder / "published.csv").write_text(f"{HEADER}\n{lines}", encoding="utf-8")
    experiment = Beside(published=str(folder / "published.csv"), **changes)
    results = experiment.write(folder)
    build_report(results, experiment.config(), TEMPLATE)
    return results


def section(results: Path) -> str:
    """Return the words of the section, tags left out."""
    page = (results / "report.html").read_text(encoding="utf-8")
    start = page.index('<section id="published"')
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[start : page.index("</section>", start)]))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("published"), n_folds=2)


def test_the_table_is_listed_where_the_config_names_figures(tmp_path: Path) -> None:
    assert outputs(Beside(published="figures.csv").config()) == OUTPUTS | OUTPUTS_OF_PUBLISHED
    assert outputs(Experiment().config()) == OUTPUTS
    results = Experiment().write(tmp_path)
    build_report(results, Experiment().config(), TEMPLATE)
    assert 'id="published"' not in (results / "report.html").read_text(encoding="utf-8")
    assert not (results / "tables" / "published.csv").exists()


def test_ours_is_that_of_the_table_of_schemes_and_so_is_its_interval(results: Path) -> None:
    table = pl.read_csv(results / "tables" / "published.csv")
    schemes = pl.read_csv(results / "tables" / "schemes.csv").rows_by_key("scheme", named=True, unique=True)
    assert table.select("scheme", "measure", "published", "items", "place").rows() == [
        ("early", "accuracy", 0.992, None, "text"),
        ("sound", "log_loss", 0.5, N_TEST, "table 1"),
        ("late", "macro_f1", 0.7, N_TEST, "table 1"),
        ("video", "accuracy", 0.25, 750, "table 1"),
    ]
    early, sound, late, _ = table.rows(named=True)
    assert early["ours"] == schemes["early"]["test_accuracy"]
    assert early["difference"] == pytest.approx(early["ours"] - 0.992)
    assert [early["low"], early["high"]] == [schemes["early"][f"interval_{end}"] for end in ("low", "high")]
    assert early["low"] < early["ours"] < early["high"], "groups are resampled"
    assert sound["ours"] == schemes["sound"]["test_log_loss"]
    assert [sound["low"], sound["high"]] == [schemes["sound"][f"log_loss_interval_{end}"] for end in ("low", "high")]
    assert late["ours"] == schemes["late"]["test_macro_f1"]
    assert late["low"] is None and late["high"] is None, "macro F1 has no interval"


def test_ours_is_empty_where_other_items_judge(results: Path) -> None:
    table = pl.read_csv(results / "tables" / "published.csv")
    video = table.filter(scheme="video").row(0, named=True)
    assert video["because"] == f"judged by {N_TEST} items, not 750"
    assert [video[column] for column in ("ours", "difference", "low", "high")] == [None] * 4
    assert table["because"].null_count() + (table["because"] == "").sum() == 3
    assert "Ours is empty where it is not comparable" in section(results)


def test_a_figure_of_unknown_items_is_of_the_same_data_as_the_others_of_its_file(tmp_path: Path) -> None:
    results = build(tmp_path, "early,accuracy,0.992,,text,\nvideo,accuracy,0.25,750,table 1,\n")
    early = pl.read_csv(results / "tables" / "published.csv").filter(scheme="early").row(0, named=True)
    assert early["ours"] is None
    assert early["because"] == f"judged by {N_TEST} items, not 750"


def test_ours_is_empty_after_random_weights_and_the_page_says_why(tmp_path: Path) -> None:
    results = build(tmp_path, weights="random")
    table = pl.read_csv(results / "tables" / "published.csv", schema_overrides={"ours": pl.Float64})
    assert table["ours"].null_count() == table.height == 4
    assert set(table["because"]) == {"passt, clip ran with random weights"}
    said = section(results)
    assert "Ours is empty: this run is not of the published data (passt, clip ran with random weights)." in said
    assert "0.992" in said and "+0." not in said


def test_what_the_page_shows_is_escaped_and_can_be_downloaded(results: Path) -> None:
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "&lt;i&gt;wrong&lt;/i&gt; &amp; found" in page and "<i>wrong" not in page.split("<script", 1)[0]
    assert 'href="#published"' in page and 'download="published.csv"' in page
    early = pl.read_csv(results / "tables" / "published.csv").row(0, named=True)
    assert f"{early['ours']:.3f} {early['difference']:+.3f}" in section(results)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"published\.csv cannot be read"),
        ("scheme,published\nearly,0.5\n", r"has the columns scheme, published; write scheme, measure"),
        (f"{HEADER}\nearly,accuracy,much,,x,\n", r"published\.csv cannot be read"),
        (f"{HEADER}\nearly,accuracy,,,x,\n", r"each line needs a number in the column published"),
        (f"{HEADER}\nlate,accuracy,1,,x,\nlatte,accuracy,1,,x,\n", r"line 3, column scheme: there is no 'latte'"),
        (f"{HEADER}\nearly,acuracy,1,,x,\n", r"line 2, column measure: there is no 'acuracy'; it can be accuracy"),
    ],
)
def test_a_file_that_is_wrong_is_told_so(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "published.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read(Beside(published=str(path)).config())


def test_five_presets_have_published_figures() -> None:
    assert len(PRESETS) == 5


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_names_its_figures_and_they_its_schemes(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    raw = yaml.safe_load(Path("config", "presets", f"{preset}.yaml").read_text(encoding="utf-8"))
    config = configs.load(raw)
    assert config["report"]["published"] == f"config/presets/{preset}.csv"
    figures = read(config)
    assert not figures.select("scheme", "measure").is_duplicated().any()
    assert figures["place"].null_count() == 0
    shares = figures.filter(pl.col("measure") != "log_loss")["published"]
    assert shares.is_between(0, 1).all()
