"""A publisher of files on this machine, whose server fails in the ways that servers do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Publisher:
    """What is served at `url`, and how.

    Attributes
    ----------
    content : bytes of the file
    etag : of this version, with its quotes; empty for none
    ranges : the server heeds Range and If-Range
    break_after : after how many bytes of the body each coming reply breaks off, in turn; then replies are whole
    statuses : statuses of the coming replies, in turn; then 200 or 206
    type : Content-Type
    linked : X-Linked-ETag of the redirect that `url` then is, as Hugging Face has it
    asked : headers of each request for the file itself
    """

    content: bytes
    etag: str = '"one"'
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    type: str = "application/octet-stream"
    linked: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    root: str = ""

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"{self.root}/{'linked/' if self.linked else ''}net.pth"

    @property
    def sha256(self) -> str:
        """Checksum of the content."""
        return hashlib.sha256(self.content).hexdigest()


def _handler(publisher: Publisher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/linked/"):
                self.send_response(302)
                self.send_header("Location", f"{publisher.root}/net.pth")
                self.send_header("X-Linked-ETag", publisher.linked)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            publisher.asked.append(dict(self.headers))
            if publisher.statuses:
                self.send_response(publisher.statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            first = self._first()
            self.send_response(206 if first else 200)
            if first:
                size = len(publisher.content)
                self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
            if publisher.etag:
                self.send_header("ETag", publisher.etag)
            body = publisher.content[first:]
            self.send_header("Content-Type", publisher.type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: publisher.break_after.pop(0)] if publisher.break_after else body)

        def _first(self) -> int:
            wanted = self.headers.get("Range")
            if not publisher.ranges or not wanted or self.headers.get("If-Range") != publisher.etag:
                return 0
            return int(wanted.removeprefix("bytes=").removesuffix("-"))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextmanager
def publishing(content: bytes) -> Iterator[Publisher]:
    """Serve `content` while the block runs."""
    publisher = Publisher(content)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(publisher)) as server:
        publisher.root = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield publisher
        finally:
            server.shutdown()
            thread.join()
