"""Feature shards: what is written comes back, in any order of usable and unusable items."""

import h5py
import numpy as np
import pytest

from braid.errors import FeatureError, StoreError
from braid.store.features import ITEMS_AT_ONCE, FeatureShard, FeatureWriter
from braid.store.gather import gather, gather_tokens, merged

ATTRS = {"settings": {"type": "passt", "views": 3}, "version": 1, "dtype": "float32"}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_round_trip(tmp_path, rng):
    embeddings = rng.normal(size=(700, 768)).astype(np.float32)  # more than one chunk
    with FeatureWriter(tmp_path / "a.h5", ATTRS) as writer:
        for i, embedding in enumerate(embeddings):
            if i % 3 == 0:
                writer.append(f"item {i}", None, status="missing", reason="no such stream")
            else:
                tokens = np.stack([embedding * k for k in range(i % 4)]) if i % 4 else np.empty((0, 768), np.float32)
                times = np.array([[k, k + 0.5] for k in range(i % 4)], dtype=float).reshape(-1, 2)
                scores = embedding[:5] if i % 2 else None
                writer.append(f"item {i}", embedding, tokens=tokens, times=times, scores=scores)
    with FeatureShard(tmp_path / "a.h5") as shard:
        assert shard.attrs == ATTRS
        assert shard.items == [f"item {i}" for i in range(700)]
        assert [s == "missing" for s in shard.status] == [i % 3 == 0 for i in range(700)]
        assert set(shard.reason) == {"no such stream", ""}
        usable = np.arange(700) % 3 != 0
        np.testing.assert_array_equal(shard.embedding[usable], embeddings[usable])
        assert np.isnan(shard.embedding[~usable]).all()
        assert shard.scores is not None
        np.testing.assert_array_equal(shard.scores[1], embeddings[1, :5])
        assert np.isnan(shard.scores[2]).all()
        tokens, times = shard.tokens(695)
        np.testing.assert_array_equal(tokens, [embeddings[695] * k for k in range(3)])
        np.testing.assert_array_equal(times, [[0, 0.5], [1, 1.5], [2, 2.5]])
        assert shard.tokens(0)[0].shape == (0, 768)


def test_gather_orders_and_masks(tmp_path, rng):
    a, b = rng.normal(size=(2, 4)).astype(np.float32)
    with FeatureWriter(tmp_path / "1.h5", {}) as writer:
        writer.append("none", None, status="unreadable", reason="cut off")
        writer.append("a", a)
    with FeatureWriter(tmp_path / "2.h5", {}) as writer:
        writer.append("b", b)
    with FeatureWriter(tmp_path / "3.h5", {}) as writer:
        writer.append("all absent", None, status="missing")
    x, present = gather([tmp_path / f"{i}.h5" for i in (1, 2, 3)], ["b", "all absent", "none", "a"], list("2311"))
    np.testing.assert_array_equal(x, [b, np.zeros(4), np.zeros(4), a])
    np.testing.assert_array_equal(present, [True, False, False, True])
    with pytest.raises(FeatureError, match="'c'"):
        gather([tmp_path / "1.h5"], ["a", "c"], ["1", "1"])


def test_gather_reads_an_item_from_its_own_shard(tmp_path):
    """A clip that was removed and added again is in a new shard; the old one keeps its row."""
    for shard, value in (("old", 1.0), ("new", 2.0)):
        with FeatureWriter(tmp_path / f"{shard}.h5", {}) as writer:
            writer.append("moved", np.full(3, value, np.float32))
    for paths in (["old.h5", "new.h5"], ["new.h5", "old.h5"]):
        x, _ = gather([tmp_path / path for path in paths], ["moved"], ["new"])
        np.testing.assert_array_equal(x, [[2, 2, 2]])


def test_empty_shard(tmp_path):
    with FeatureWriter(tmp_path / "0.h5", {}):
        pass
    with FeatureShard(tmp_path / "0.h5") as shard:
        assert shard.items == [] and shard.embedding.shape == (0, 0)


@pytest.mark.parametrize("bad", [np.array([1, np.nan]), np.array([1, np.inf]), np.ones(3), np.ones((1, 2))])
def test_refuses_wrong_numbers_and_leaves_no_file(tmp_path, bad):
    with pytest.raises(FeatureError, match="'second'"), FeatureWriter(tmp_path / "a.h5", {}) as writer:
        writer.append("first", np.ones(2, np.float32))
        writer.append("second", bad.astype(np.float32))
    assert list(tmp_path.iterdir()) == []


def test_truncated_and_foreign_files_are_named(tmp_path):
    with FeatureWriter(tmp_path / "a.h5", {}) as writer:
        writer.append("x", np.ones(2, np.float32))
    (tmp_path / "cut.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:900])
    (tmp_path / "text.h5").write_text("no shard")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file.attrs["format"] = "another"
    for name in ("cut", "text", "foreign", "absent"):
        with pytest.raises(StoreError, match=rf"{name}\.h5 .*delete it"):
            FeatureShard(tmp_path / f"{name}.h5")


def test_appending_needs_no_memory_of_the_shard(tmp_path):
    """A row costs the same whether it is the 10th or the 3000th."""
    import tracemalloc

    row = np.ones(512, np.float32)
    with FeatureWriter(tmp_path / "a.h5", {}) as writer:
        for i in range(3 * ITEMS_AT_ONCE):
            writer.append(str(i), row, tokens=row[None], times=np.array([[0.0, 1.0]]))
        tracemalloc.start()
        for i in range(3 * ITEMS_AT_ONCE, 19 * ITEMS_AT_ONCE):
            writer.append(str(i), row, tokens=row[None], times=np.array([[0.0, 1.0]]))
        growth = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert growth < 200_000


def test_an_embedding_of_several_statistics_is_wider_than_its_tokens(tmp_path):
    tokens, times = np.ones((3, 4), np.float32), np.zeros((3, 2))
    with FeatureWriter(tmp_path / "a.h5", {}) as writer:
        writer.append("a", np.ones(8, np.float32), tokens=tokens, times=times)
        with pytest.raises(FeatureError, match=r"tokens must have the shape \(3, 4\), got \(3, 8\)"):
            writer.append("b", np.ones(8, np.float32), tokens=np.ones((3, 8), np.float32), times=times)
    with FeatureShard(tmp_path / "a.h5") as shard:
        np.testing.assert_array_equal(shard.tokens(0)[0], tokens)


def test_tokens_are_gathered_with_their_times(tmp_path):
    with FeatureWriter(tmp_path / "1.h5", ATTRS) as writer:
        for item, n in (("a", 3), ("none", 0), ("b", 1)):
            times = np.stack([np.arange(n), np.arange(n) + 1], axis=1).astype(float)
            tokens = np.full((n, 2), n, np.float32)
            writer.append(
                item, np.ones(2, np.float32) if n else None, **({"tokens": tokens, "times": times} if n else {})
            )
    x, present = gather_tokens([tmp_path / "1.h5"], ["b", "none", "a"], ["1"] * 3, most=32)
    assert x.shape == (3, 3, 4)
    assert present.tolist() == [True, False, True]
    assert (~np.isnan(x)).all(axis=2).tolist() == [[True, False, False], [False] * 3, [True] * 3]
    assert x[2].tolist() == [[0, 1, 3, 3], [1, 2, 3, 3], [2, 3, 3, 3]]
    with pytest.raises(FeatureError, match="in none of the 1 feature shards given, the first is 'c'"):
        gather_tokens([tmp_path / "1.h5"], ["a", "c"], ["1", "1"], most=32)


@pytest.mark.parametrize(("n", "most"), [(7, 3), (64, 32), (5, 5), (5, 8), (4, 1)])
def test_merged_tokens_cover_the_same_time_and_keep_the_mean(n, most, rng):
    start = np.arange(n, dtype=float)
    tokens = np.column_stack([start, start + 1, rng.normal(size=(n, 3))])
    fewer = merged(tokens, most)
    assert len(fewer) == min(n, most)
    assert fewer[0, 0] == 0
    assert fewer[-1, 1] == n
    np.testing.assert_array_equal(fewer[1:, 0], fewer[:-1, 1])  # one after the other, without a hole
    lengths = fewer[:, 1] - fewer[:, 0]
    assert lengths.max() - lengths.min() <= 1
    np.testing.assert_allclose(lengths @ fewer[:, 2:], tokens[:, 2:].sum(axis=0))


def test_a_flipped_bit_is_found_and_the_file_named(tmp_path, rng):
    """One bit at the begin, in the middle and at the end of the numbers; the file without it is read before."""
    path = tmp_path / "0.h5"
    values = rng.random((20, 300), dtype=np.float32)
    with FeatureWriter(path, {}) as shard:
        for i, row in enumerate(values):
            shard.append(f"i{i}", row)
    whole = path.read_bytes()
    begin = whole.index(values[0].tobytes())
    for place in (0, values.nbytes // 2, values.nbytes - 1):
        path.write_bytes(whole)
        with FeatureShard(path) as shard:
            np.testing.assert_array_equal(shard.embedding, values)
        damaged = bytearray(whole)
        damaged[begin + place] ^= 1
        path.write_bytes(damaged)
        with FeatureShard(path) as shard, pytest.raises(StoreError, match=r"0\.h5 is damaged in 'embedding'"):
            _ = shard.embedding


@pytest.mark.parametrize("what", ["huge", "huge text", "link", "external", "virtual"])
def test_a_file_made_to_do_harm_fills_no_memory_and_opens_no_other_file(tmp_path, what):
    path, secret = tmp_path / "0.h5", tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["embedding"] = np.ones((1, 4), np.float32)
    with FeatureWriter(path, {}) as writer:
        writer.append("x", np.ones(4, np.float32))
    with h5py.File(path, "r+") as file:
        del file["embedding"]
        if what == "huge":
            file.create_dataset("embedding", (10**9, 10**6), np.float32, chunks=(1, 1024))
        elif what == "huge text":
            file.create_dataset("embedding", (10**12,), h5py.string_dtype(), chunks=(1024,))
        elif what == "link":
            file["embedding"] = h5py.ExternalLink(str(secret), "embedding")
        elif what == "external":
            file.create_dataset("embedding", (1, 4), np.float32, external=[(str(secret), 0, 16)])
        else:
            layout = h5py.VirtualLayout((1, 4), np.float32)
            layout[:] = h5py.VirtualSource(str(secret), "embedding", (1, 4))
            file.create_virtual_dataset("embedding", layout)
    with FeatureShard(path) as shard, pytest.raises(StoreError, match=r"0\.h5 is damaged in 'embedding'"):
        _ = shard.embedding
