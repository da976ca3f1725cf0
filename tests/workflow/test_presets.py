"""One preset of a published system runs on the smallest miniature of its data; `make presets` runs all, whole."""

from .presets import check, load, make_project, reduced

PRESET = "cmu-fusion"


def test_a_preset_runs_on_a_miniature_of_its_data(tmp_path):
    config = reduced(load(PRESET))
    for settings in config["schemes"].values():
        settings.pop("worth", None)
    project = make_project(tmp_path, PRESET, config, a_class=5, seconds=0.5)
    project.snakemake()
    check(tmp_path / "results" / config["name"], PRESET, (58, 9, 8, 15))
