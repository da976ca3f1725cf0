"""One file from one URL: resumed after an interruption, retried, checked while it is read, complete or not there.

What has come so far stands in `<file>.part`, and what the server called that version of the file (its strong ETag, or
the time of its last change) in `<file>.part.version`: the rest is asked for with `Range` and `If-Range`, so that two
versions are never joined. A server that sends the whole file again is taken at its word.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError

from braid import __version__
from braid.weights.record import Weights

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30
ATTEMPTS = 5
"""Attempts that bring nothing new, before giving up."""
FIRST_WAIT_SECONDS = 1.0
"""Doubled after each of these attempts."""
PROGRESS_SECONDS = 10
PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses of HTTP that another attempt may not meet."""


def download(weights: Weights, path: Path) -> None:
    """Fetch one file to `path`, whose folder is made where it is missing; companions are not looked at.

    Of several processes that want the same file one fetches it and the others wait.

    Raises
    ------
    OSError
        It cannot be reached, ends early, or is not the one that its publisher's checksum says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with _alone(part) as file:
        if path.exists():  # another process was faster
            part.unlink(missing_ok=True)
            return
        digest, published = _complete(weights.url, file, part)
        os.fsync(file.fileno())
        _version(part).unlink(missing_ok=True)
        for expected in filter(None, (weights.sha256, published)):
            if not digest.startswith(expected):
                part.unlink()
                raise OSError(f"its SHA-256 is {digest} instead of {expected}")
        part.replace(path)


@contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """Open `part` for reading and appending, with a lock that the system frees when the process dies."""
    while True:
        with part.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process fetches {part.with_suffix('')}; waiting for it", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            if part.exists() and os.path.samestat(part.stat(), os.fstat(file.fileno())):
                yield file
                return
            if part.with_suffix("").exists():
                yield file
                return


def _complete(url: str, file: IO[bytes], part: Path) -> tuple[str, str]:
    """Append to `file` until all of `url` is there; return its SHA-256, and the one that the server published."""
    furthest, failures = 0, 0
    while True:
        try:
            return _once(url, file, part)
        except (OSError, HTTPException) as error:
            if file.seek(0, os.SEEK_END) > furthest:
                furthest, failures = file.tell(), 0
            failures += 1
            if failures == ATTEMPTS or not _may_pass(error):
                raise OSError(_reason(error)) from error
            wait = FIRST_WAIT_SECONDS * 2 ** (failures - 1)
            print(f"{_reason(error)}; trying again in {wait:g} s", flush=True)
            time.sleep(wait)


def _once(url: str, file: IO[bytes], part: Path) -> tuple[str, str]:
    have = file.seek(0, os.SEEK_END)
    version = _version(part).read_text(encoding="utf-8") if _version(part).exists() else ""
    request = urllib.request.Request(url, headers={"User-Agent": f"braid/{__version__}"})
    if have and version:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)
    redirects = _Redirects()
    try:
        reply = urllib.request.build_opener(redirects).open(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == 416:  # Range Not Satisfiable: what is here is no beginning of what is there
            file.truncate(0)
            raise EndedEarly("what came before does not fit") from error
        raise
    with reply:
        if reply.headers.get_content_type() == "text/html":
            raise OSError("the reply is a web page, as of a login, and not the file")
        digest = hashlib.sha256()
        if getattr(reply, "status", None) != 206:
            file.truncate(0)
            have = 0
            _note_version(part, reply.headers)
        elif int(reply.headers["Content-Range"].split()[1].partition("-")[0]) != have:
            raise EndedEarly("the server sent another part than it was asked for")
        else:
            file.seek(0)
            while block := file.read(CHUNK_BYTES):
                digest.update(block)
        length = reply.headers.get("Content-Length")
        _copy(reply, file, digest, None if length is None else have + int(length))
    return digest.hexdigest(), redirects.published or _published(reply.headers)


def _copy(reply: Any, file: IO[bytes], digest: Any, total: int | None) -> None:
    said = time.monotonic()
    while block := reply.read(CHUNK_BYTES):
        digest.update(block)
        file.write(block)
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            print(f"  {file.tell() / 1e6:,.0f} of {'?' if total is None else f'{total / 1e6:,.0f}'} MB", flush=True)
    file.flush()
    if total is not None and file.tell() != total:
        raise EndedEarly(f"{file.tell()} of {total} bytes came")


class EndedEarly(OSError):
    """The reply was cut off, or does not continue what came before; another attempt may bring the rest."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects and keeps the checksum that Hugging Face gives with its own, before its storage replies."""

    published = ""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self.published = self.published or _published(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _published(headers: HTTPMessage) -> str:
    """Return the SHA-256 in the header `X-Linked-ETag`, which Hugging Face sends for large files, or nothing."""
    tag = (headers.get("X-Linked-ETag") or "").strip('"')
    return tag if re.fullmatch(r"[0-9a-f]{64}", tag) else ""


def _note_version(part: Path, headers: HTTPMessage) -> None:
    tag = headers.get("ETag") or ""
    strong = tag if tag.startswith('"') else ""
    _version(part).write_text(strong or headers.get("Last-Modified") or "", encoding="utf-8")


def _version(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        return error.code in PASSING
    if isinstance(error, URLError):
        return isinstance(error.reason, TimeoutError | ConnectionResetError)
    return isinstance(error, EndedEarly | TimeoutError | ConnectionError | HTTPException)


def _reason(error: Exception) -> str:
    return str(error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error)
