"""One preset of a published system runs on the smallest miniature of its data; `make presets` runs all, whole."""

from .presets import check, load, make_project, reduced

PRESET = "cmu-fusion"
A_CLASS = 5  # clips


def test_a_preset_runs_on_a_miniature_of_its_data(tmp_path):
    config = reduced(load(PRESET))
    for settings in config["schemes"].values():
        settings["worth"] = False
    project = make_project(tmp_path, PRESET, config, a_class=A_CLASS, seconds=0.5)
    project.snakemake()
    check(tmp_path / "results" / config["name"], PRESET, (45, 15, 15, 15))
