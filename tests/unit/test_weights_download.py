"""Downloads: resumed, retried, checked, whole or not there; a local server fails in the ways that servers do."""

import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest
from publisher import Publisher, publishing

from braid import weights
from braid.errors import WeightsError
from braid.weights import download
from braid.weights.record import Weights

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def publisher():
    with publishing(CONTENT) as publisher:
        yield publisher


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """The weights folder; no wait between attempts."""
    monkeypatch.setenv("BRAID_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("BRAID_OFFLINE", raising=False)
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0.001)
    return tmp_path / "cache"


def record(publisher: Publisher, sha256: str | None = None) -> Weights:
    return Weights("net.pth", publisher.url, publisher.sha256 if sha256 is None else sha256, "MIT", "Nobody, 2026")


def here(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def test_a_file_comes_whole_and_leaves_nothing_else(publisher, cache):
    assert weights.fetch(record(publisher)).read_bytes() == CONTENT
    assert here(cache) == {"net.pth", "net.pth.sha256"}
    weights.fetch(record(publisher))
    assert len(publisher.asked) == 1


def test_the_rest_is_asked_for_after_a_break(publisher, cache):
    publisher.break_after = [300_000, 200_000]
    assert weights.fetch(record(publisher)).read_bytes() == CONTENT
    assert [asked.get("Range") for asked in publisher.asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert publisher.asked[1]["If-Range"] == '"one"'


def interrupted(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch the first 300,000 bytes and fail."""
    publisher.break_after = [300_000]
    with monkeypatch.context() as patch, pytest.raises(WeightsError, match="300000 of 1024000 bytes"):
        patch.setattr(download, "ATTEMPTS", 1)
        weights.fetch(record(publisher))


def test_the_next_run_goes_on_where_the_last_one_stopped(publisher, cache, monkeypatch):
    interrupted(publisher, monkeypatch)
    assert here(cache) == {"net.pth.part", "net.pth.part.version"}
    assert weights.fetch(record(publisher)).read_bytes() == CONTENT
    assert publisher.asked[-1]["Range"] == "bytes=300000-"
    assert here(cache) == {"net.pth", "net.pth.sha256"}


def test_two_versions_are_never_joined(publisher, cache, monkeypatch):
    interrupted(publisher, monkeypatch)
    publisher.content, publisher.etag = CONTENT[::-1], '"two"'
    assert weights.fetch(record(publisher)).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_name_of_the_version_it_starts_over(publisher, cache, etag):
    publisher.etag, publisher.break_after = etag, [300_000]
    assert weights.fetch(record(publisher)).read_bytes() == CONTENT
    assert [asked.get("Range") for asked in publisher.asked] == [None, None]


def test_a_server_that_ignores_ranges_starts_over(publisher, cache):
    publisher.ranges, publisher.break_after = False, [300_000]
    assert weights.fetch(record(publisher)).read_bytes() == CONTENT
    assert publisher.asked[1]["Range"] == "bytes=300000-"


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(publisher, cache):
    publisher.ranges, publisher.break_after = False, [300_000] * 100
    with pytest.raises(WeightsError, match=r"300000 of 1024000 bytes came.*put net\.pth into"):
        weights.fetch(record(publisher))
    assert len(publisher.asked) == download.ATTEMPTS
    assert "net.pth" not in here(cache)


def test_a_part_that_does_not_fit_is_thrown_away(publisher, cache):
    cache.mkdir()
    (cache / "net.pth.part").write_bytes(CONTENT + b"more")
    (cache / "net.pth.part.version").write_text('"one"')
    publisher.statuses = [416]
    assert weights.fetch(record(publisher)).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(publisher, cache, capsys):
    publisher.statuses = [503, 500]
    assert weights.fetch(record(publisher)).read_bytes() == CONTENT
    assert len(publisher.asked) == 3
    assert "503" in capsys.readouterr().out


def test_a_missing_file_is_not_asked_for_again(publisher, cache):
    publisher.statuses = [404]
    with pytest.raises(WeightsError, match=r"404.*put net\.pth into"):
        weights.fetch(record(publisher))
    assert len(publisher.asked) == 1


def test_a_web_page_is_not_taken_for_a_file_without_a_checksum(publisher, cache):
    """Networks that want a login answer anything with one; pinned, it would be the file from then on."""
    publisher.content, publisher.type = b"<!DOCTYPE html>", "text/html; charset=utf-8"
    with pytest.raises(WeightsError, match=r"the reply is a web page.*put net\.pth into"):
        weights.fetch(record(publisher, ""))
    assert len(publisher.asked) == 1
    assert not {"net.pth", "net.pth.sha256"} & here(cache)


def test_a_server_that_stays_silent_is_given_up(publisher, cache, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    asked = []

    def silent(request, timeout):
        asked.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda self, request, timeout: silent(request, timeout))
    with pytest.raises(WeightsError, match=r"timed out.*put net\.pth into"):
        weights.fetch(record(publisher))
    assert asked == [download.TIMEOUT_SECONDS] * 2


@pytest.mark.parametrize("digits", [8, 64])
def test_another_file_than_the_published_one_is_refused_and_not_kept(publisher, cache, digits):
    with pytest.raises(WeightsError, match=rf"net\.pth.*is {publisher.sha256} instead of 0{{{digits}}}"):
        weights.fetch(record(publisher, "0" * digits))
    assert here(cache) == set()


def test_the_checksum_that_hugging_face_sends_is_compared(publisher, cache):
    publisher.linked = f'"{publisher.sha256}"'
    assert weights.fetch(record(publisher, "")).read_bytes() == CONTENT
    (cache / "net.pth").unlink()
    publisher.linked = f'"{"0" * 64}"'
    with pytest.raises(WeightsError, match=r"instead of 0{64}"):
        weights.fetch(record(publisher, ""))


def test_the_git_hash_of_a_small_file_is_no_checksum(publisher, cache):
    publisher.linked = f'"{"0" * 40}"'
    assert weights.fetch(record(publisher, "")).read_bytes() == CONTENT


def test_companions_come_too(publisher, cache):
    config = replace(record(publisher), file="net/config.json")
    main = replace(record(publisher), file="net/model.safetensors", companions=(config,))
    assert weights.fetch(main) == cache / "net" / "model.safetensors"
    assert (cache / "net" / "config.json").read_bytes() == CONTENT
    (cache / "net" / "config.json").write_bytes(b"{}")
    with pytest.raises(WeightsError, match=r"config\.json has the SHA-256"):
        weights.verify(main)


def _fetch_in_a_process(official: Weights) -> int:
    return weights.fetch(official).stat().st_size


def test_processes_that_want_the_same_file_fetch_it_once(publisher, cache):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        sizes = pool.map(_fetch_in_a_process, [record(publisher)] * 4)
    assert sizes == [len(CONTENT)] * 4
    assert len(publisher.asked) == 1
    assert here(cache) == {"net.pth", "net.pth.sha256"}


def test_the_wait_doubles(publisher, cache, monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 1.0)
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    publisher.statuses = [503] * 3
    weights.fetch(record(publisher))
    assert waits == [1, 2, 4]
