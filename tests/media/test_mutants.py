"""Mutated media files: none stops a shard, and each gets a status with its reason. `make fuzz` tries thousands."""

from mutants import STATUSES, classified, mutants, seeds


def test_no_mutant_stops_a_shard_and_each_is_classified(tmp_path, settings):
    paths = [path for _, path in mutants(tmp_path, seeds(tmp_path), 56, seed=0)]
    rows = classified(tmp_path, paths, settings | {"sample_rate": 16000, "codec": "jpeg", "timeout_seconds": 10})
    assert len(rows) == len(paths)
    for row in rows:
        assert {row["video"], row["audio"]} <= STATUSES
        assert row["reason"] or (row["video"], row["audio"]) == ("ok", "ok")
    assert len({row["video"] for row in rows}) >= 3, "mutants are meant to differ"
