"""Every network of the registry, with one body; what is fitted to a fold has tests of its own."""

from pathlib import Path

import numpy as np
import pytest
from fake_clips import FakeClip, FakeShard, items, settings

from braid import config
from braid.extractors import extract
from braid.extractors.registry import REGISTRY
from braid.store.features import FeatureShard

CHEAP = {
    "passt": {"architecture": "passt_s_p16_s16_128_ap468"},
    "openl3_audio": {"hop_seconds": 0.8},
    "clip": {"frames": 2},
    "timm": {"architecture": "test_resnet", "frames": 2},
    "torchvision": {"architecture": "squeezenet1_1", "frames": 2},
    "openl3_image": {"frame_rate": 2},
    "torchvision_video": {"clip_length": 4, "views": 2},
    "x3d": {"architecture": "xs", "crop": 129, "frame_rate": 8, "views": 2},
    "transformers_video": {"architecture": str(Path(__file__).parent / "data" / "videomae"), "frame_rate": 8},
    "flow_r2plus1d": {"clip_length": 4, "views": 2, "flow": "farneback"},
}
"""Settings that keep the test of an extractor short; what has none is tested with its defaults."""
LEAST_COSINE = 0.999
"""Between an embedding in bfloat16 and the same in float32; docs/extractors.md says so."""
LARGEST_ERROR = {"openl3_audio": 0.015, "clip": 0.02, "transformers_video": 0.02, "logmel": 0.035}
"""The largest difference of these two, to the largest number in float32, of networks that are not held to
`ERROR`: each about twice what was measured, as docs/extractors.md has it. One rounding to bfloat16 is up to 1/256."""
ERROR = 0.01
NETWORKS = [kind for kind, entry in REGISTRY.items() if not entry.fitted]
DIMENSION = {
    "passt": 768,
    "openl3_audio": 512,
    "logmel": 1280,
    "clip": 512,
    "timm": 96,
    "torchvision": 512,
    "openl3_image": 512,
    "torchvision_video": 512,
    "x3d": 2048,
    "transformers_video": 32,
    "flow_r2plus1d": 512,
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_extractor(kind, tmp_path, monkeypatch):
    clips = {
        "long": FakeClip(1, seconds=2.2, start=0.5, sample_rate=48_000),
        "short": FakeClip(2, seconds=0.16, sample_rate=48_000),
        "none": FakeClip(3, status="missing", reason="the file has no such stream"),
    }
    rows = items(
        ("whole", "long", None, None),
        ("window", "long", 1.0, 2.1),
        ("beyond", "long", 90.0, 91.0),
        ("short", "short", None, None),
        ("absent", "none", None, None),
    )
    monkeypatch.setattr(extract, "_open", lambda source, path: FakeShard(clips))
    chosen = settings(kind, **CHEAP.get(kind, {}))
    together, alone, half = (tmp_path / f"{name}.h5" for name in ("together", "alone", "half"))
    extract.extract_features(rows, tmp_path, together, chosen, 1, "cpu", batch_size=8)
    extract.extract_features(rows[1:2], tmp_path, alone, chosen, 1, "cpu", batch_size=1)
    extract.extract_features(rows[1:2], tmp_path, half, {**chosen, "dtype": "bfloat16"}, 1, "cpu", batch_size=1)
    with FeatureShard(together) as shard:
        assert shard.items == rows["item"].to_list()
        assert shard.embedding.shape == (5, DIMENSION[kind])
        assert np.isnan(shard.embedding).any(axis=1).tolist() == [False, False, True, False, True]
        assert np.isnan(shard.embedding).all(axis=1).tolist() == [False, False, True, False, True]
        assert [shard.status[i] for i in (0, 1, 2, 4)] == ["ok", "ok", "missing", "missing"]
        assert shard.reason[4] == "the file has no such stream"
        assert shard.attrs["weights"] == "random:0" and shard.attrs["version"] == REGISTRY[kind].version
        for i, (start, end) in enumerate([(0.5, 2.7), (1.0, 2.1)]):
            tokens, times = shard.tokens(i)
            assert len(tokens) == len(times) > 0
            assert (times[:, 0] >= start - 1e-9).all() and (times[:, 1] <= end + 1e-9).all()
            assert (times[:, 1] > times[:, 0]).all()
        assert not np.allclose(shard.embedding[0], shard.embedding[1], rtol=1e-3, atol=0)
        with FeatureShard(alone) as same:  # neither its batch nor a second construction of the network matters
            np.testing.assert_allclose(same.embedding[0], shard.embedding[1], rtol=1e-4, atol=1e-5)
        with FeatureShard(half) as rounded:
            x, y = rounded.embedding[0], shard.embedding[1]
            assert x @ y / np.linalg.norm(x) / np.linalg.norm(y) >= LEAST_COSINE
            assert 0 < np.abs(x - y).max() / np.abs(y).max() <= LARGEST_ERROR.get(kind, ERROR)


@pytest.mark.parametrize("kind", REGISTRY)
def test_schema_matches_the_registry(kind):
    schema = config.types("extractors")[kind]
    assert schema["additionalProperties"] is False and schema["properties"]["type"] == {"const": kind}
    of_networks = {"weights", "batch_size", "dtype"} & set(schema["properties"])
    wanted = {"sift": 0, "backbone": 2}  # which is no network; whose weights are trained here
    assert len(of_networks) == wanted.get(kind, 3)
    assert ("flow" in schema["properties"]) == (REGISTRY[kind].source == "flow")


def test_schemas_and_registry_name_the_same():
    assert set(config.types("extractors")) == set(REGISTRY)


@pytest.mark.parametrize("kind", ["passt", "clip", "timm", "torchvision", "transformers_video"])
def test_libraries_are_kept_quiet(kind, capfd):
    REGISTRY[kind].load()(settings(kind, **CHEAP[kind]))
    printed = capfd.readouterr()
    assert printed.out.splitlines() == [f"{kind}: random weights, seed 0; nothing was learnt from data"]
    assert printed.err == ""
