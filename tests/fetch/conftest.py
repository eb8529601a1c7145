"""A web server on this machine that breaks off, falls silent and changes its files as a test wants it."""

import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from earwitness.fetch import download as module


@dataclass
class Served:
    """One file of the server, or another answer. ``cuts`` and ``silences`` say after how many bytes the next answers
    break off or stop, each used once."""

    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    checks_version: bool = True  # whether If-Range is heeded
    cuts: list = field(default_factory=list)
    silences: list = field(default_factory=list)
    failures: list = field(default_factory=list)  # statuses of the next answers


class Site:
    def __init__(self, address):
        self.address, self.files, self.requests, self.ended = address, {}, [], threading.Event()

    def serve(self, path, body=b"", **options):
        self.files[path] = Served(body, **options)
        return self.address + path

    def ranges(self):
        """The byte from which each request asked, 0 for the whole file."""
        return [int(re.search(r"\d+", headers.get("Range", "0"))[0]) for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server.site
        site.requests.append((self.path, dict(self.headers)))
        served = site.files.get(self.path, Served(status=404))
        if served.failures:
            self.answer(served.failures.pop(0), b"no", {})
        else:
            self.send_file(served)

    def send_file(self, served):
        start = int(re.search(r"\d+", self.headers.get("Range", "0"))[0])
        same = self.headers.get("If-Range") in (None, *served.headers.values())
        if not served.ranges or (served.checks_version and not same):
            start = 0
        if start and start >= len(served.body):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(served.body)}"})
        elif start:
            last = len(served.body) - 1
            span = {"Content-Range": f"bytes {start}-{last}/{len(served.body)}"}
            self.answer(206, served.body[start:], span | served.headers, served)
        else:
            self.answer(served.status, served.body, served.headers, served)

    def answer(self, status, body, headers, served=None):
        self.send_response(status)
        for name, value in ({"Content-Length": len(body)} | headers).items():
            if value != "":
                self.send_header(name, value)
        self.end_headers()
        if served and served.silences:
            self.wfile.write(body[: served.silences.pop(0)])
            self.wfile.flush()
            self.server.site.ended.wait(20)
        elif served and served.cuts:
            self.wfile.write(body[: served.cuts.pop(0)])
        else:
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.site
        server.site.ended.set()
        server.shutdown()
        thread.join()
