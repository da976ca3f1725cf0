"""One preset of a published system runs on the smallest miniature of its data; `make presets` runs all, whole."""

from .presets import check, load, make_project, reduced

PRESET = "cmu-fusion"
SPLITS = (48, 6, 6, 15)


def test_a_preset_runs_on_a_miniature_of_its_data(tmp_path):
    config = reduced(load(PRESET))
    config["extractors"]["video"]["clip_length"] = 4
    for settings in config["schemes"].values():
        settings.pop("worth", None)
    project = make_project(tmp_path, PRESET, config, a_class=4, seconds=0.5)
    project.snakemake()
    check(tmp_path / "results" / config["name"], PRESET, SPLITS)
