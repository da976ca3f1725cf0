"""Configs and manifests that somebody's cat has walked over: a plan or a sentence, never a traceback."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid import config, manifest
from braid.errors import BraidError, ConfigError, ManifestError

ROOT = Path(__file__).parents[2]
CONFIGS = [
    yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (ROOT / "config" / "config.yaml", *sorted((ROOT / "config" / "presets").glob("*.yaml")))
]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["all", "auto", "x3d", "../../etc", "a;b", "<script>", 10**400, -1, 0, 1e-300]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)
QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType] (its metaclass hides what it is)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in a config, from its root."""
    found = [path] if path else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += places(inner, (*path, key))
    return found


@st.composite
def mangled(draw) -> Any:
    """Return a config in which up to three things are gone, replaced, moved or named otherwise."""
    found = copy.deepcopy(draw(st.sampled_from(CONFIGS)))
    for _ in range(draw(st.integers(1, 3))):
        known = places(found)
        if not known:
            return found
        *above, key = draw(st.sampled_from(known))
        owner = found
        for step in above:
            owner = owner[step]
        kind = draw(st.sampled_from(["replace", "remove", "rename", "copy"]))
        if kind == "remove":
            del owner[key]
        elif kind == "rename" and isinstance(owner, dict):
            owner[draw(SCALARS)] = owner.pop(key)
        elif kind == "copy":
            other = found
            for step in draw(st.sampled_from(known)):
                if not isinstance(other, dict | list) or (isinstance(other, dict) and step not in other):
                    break
                if isinstance(other, list) and not (isinstance(step, int) and step < len(other)):
                    break
                other = other[step]
            owner[key] = copy.deepcopy(other)
        else:
            owner[key] = draw(VALUES)
    return found


def is_sentence(error: BraidError) -> bool:
    text = str(error)
    return len(text) > 20 and "Traceback" not in text and not text.startswith(("'", "("))


@QUICK
@given(mangled())
def test_a_mangled_config_is_a_plan_or_a_sentence(mine):
    try:
        loaded = config.load(mine)
    except ConfigError as error:
        assert is_sentence(error)
    else:
        assert loaded["schemes"] and loaded["extractors"]


@QUICK
@given(VALUES)
def test_a_config_of_anything_is_a_sentence(mine):
    with pytest.raises(ConfigError) as caught:
        config.load(mine)
    assert is_sentence(caught.value)


TABLE = b"""item\tvideo\taudio\tstart_seconds\tend_seconds\tlabel\tsplit\tgroup\tshard\tbytes
one\ta b.mp4\ta b.mp4\t\t\tcat\ttrain\tg1\ts0\t100
two\tc.mp4\t\t0\t1.5\tdog\tval\tg2\ts0\t200
three\tc.mp4\t\t1.5\t3\tdog\ttest\tg3\ts1\t200
four\t\td.wav\t\t\t\tpredict\t\ts1\t300
"""


@st.composite
def damaged(draw) -> bytes:
    """Return a manifest with up to three stretches cut, doubled, moved or overwritten."""
    data = TABLE
    for _ in range(draw(st.integers(1, 3))):
        first, last = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        stretch = data[first:last]
        other = draw(
            st.sampled_from([b"", stretch * 2, stretch[::-1], b"\t", b"\n", b'"', b"\x00", b"\xff\xfe", "ü".encode()])
        )
        data = data[:first] + (draw(st.binary(max_size=6)) if draw(st.booleans()) else other) + data[last:]
    return data


@QUICK
@given(data=damaged())
def test_a_damaged_manifest_is_a_table_or_a_sentence(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "clips.tsv"
    path.write_bytes(data)
    try:
        items = manifest.read(path)
    except ManifestError as error:
        assert is_sentence(error)
        assert "clips.tsv" in str(error)
    else:
        assert isinstance(items, pl.DataFrame) and items["item"].is_unique().all()
