"""A small HTTP server on 127.0.0.1 with range requests, that can break off, lie, and change its files."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What the server holds and does.

    Attributes:
        files: Content by path.
        etags: Tag by path; without one there is none.
        break_after: Numbers of bytes after which the next answers break off, one an answer.
        ranges: Whether range requests are answered with a part.
        html: Answer with a web page.
        hide_size: Send no Content-Length.
        wrong_ranges: Answer range requests with another part than asked for.
        asked: The Range header of each request, ``""`` without one.
    """

    files: dict[str, bytes]
    etags: dict[str, str] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    html: bool = False
    hide_size: bool = False
    wrong_ranges: bool = False
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer one request."""
        served, path = self.served, self.path
        served.asked.append(self.headers.get("Range", ""))
        if path not in served.files:
            self.send_error(404)
            return
        content, etag = served.files[path], served.etags.get(path, "")
        start = self._start(content, etag)
        if start == len(content) and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        told = start + 1 if served.wrong_ranges and start else start
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if served.html else "application/octet-stream")
        if start:
            self.send_header("Content-Range", f"bytes {told}-{len(content) - 1}/{len(content)}")
        if not served.hide_size:
            self.send_header("Content-Length", str(len(content) - start))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        body = content[start:]
        if served.break_after:
            body = body[: served.break_after.pop(0)]
        self.wfile.write(body)
        self.close_connection = True

    def _start(self, content: bytes, etag: str) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        fresh = self.headers.get("If-Range", etag) == etag
        return min(int(asked[1]), len(content)) if asked and fresh and self.served.ranges else 0


@contextmanager
def serving(served: Served) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1; yield the address."""
    handler = type("Handler", (_Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
