"""Texts of classes: counted, spelt out, and safe for any name."""

import pytest

from braid.errors import ConfigError
from braid.extractors.prompts import texts


@pytest.mark.parametrize(("name", "n"), [("raw", 1), ("ucf101", 48), ("kinetics700", 28), ("sun397", 2)])
def test_shipped_sets(name, n):
    (group,) = texts(["juggling"], name)
    assert len(group) == len(set(group)) == n
    assert all(text.count("juggling") == 1 and "  " not in text and not set("{|}") & set(text) for text in group)


def test_shipped_sentences():
    """A first and a last sentence of each set as CLIP's authors list them, and some from between."""
    ucf101, kinetics = texts(["rowing"], "ucf101")[0], texts(["rowing"], "kinetics700")[0]
    assert {"a photo of a person rowing.", "a example of the person rowing."} < set(ucf101)
    assert {"a video of the person during rowing.", "a demonstration of the person practicing rowing."} < set(ucf101)
    assert {"a photo of rowing.", "a video of a person rowing."} < set(kinetics)
    assert {"a example of a person using rowing.", "a demonstration of a person practicing rowing."} < set(kinetics)
    assert texts(["attic"], "sun397") == [["a photo of a attic.", "a photo of the attic."]]


def test_own_templates():
    got = texts(["cat", "dog"], ["{a|the} {class}", "{class}, a {|wild }{class}"])
    assert got == [
        ["a cat", "the cat", "cat, a cat", "cat, a wild cat"],
        ["a dog", "the dog", "dog, a dog", "dog, a wild dog"],
    ]


@pytest.mark.parametrize(
    "name", ["metro_station", 'a "quoted" name', "it's", "{class}", "{}", "{0}", "50 %s", "ü|漢字\\1"]
)
def test_names_are_taken_as_they_are(name):
    assert texts([name], "raw") == [[name]]
    assert texts([name], ["{x|y} {class}."]) == [[f"x {name}.", f"y {name}."]]


@pytest.mark.parametrize(
    ("templates", "sentence"),
    [
        ("imagenet", r"one of raw, ucf101, kinetics700, sun397.*'imagenet'"),
        (["a photo"], r"'a photo' must hold \{class\}"),
        (["{a|b} photo"], r"must hold \{class\}"),
        (["{class} {a"], "brace"),
        (["{a {class}}"], "brace"),
    ],
)
def test_bad_templates(templates, sentence):
    with pytest.raises(ConfigError, match=sentence):
        texts(["cat"], templates)
