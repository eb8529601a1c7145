"""The probes: programs and servers that do not answer cost seconds, and no traceback."""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from earwitness.doctor import findings
from earwitness.doctor.findings import existing, host_of, one_line, ran, unanswered
from earwitness.errors import listed


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.mark.parametrize(("status", "told"), [(200, ""), (302, ""), (404, ""), (503, "it answered 503")])
def test_any_answer_but_a_failure_is_one(server, status, told):
    assert unanswered(f"{server}/{status}") == told


def test_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert unanswered("http://127.0.0.1:1/") == "ConnectionError"


def test_a_server_that_says_nothing_is_left(monkeypatch):
    def late(address, timeout):
        time.sleep(1)
        raise requests.Timeout

    monkeypatch.setattr(findings, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(requests, "head", late)
    assert unanswered("http://nobody.invalid") == "no answer within 0.1 s"


def test_programs(monkeypatch):
    assert ran([sys.executable, "-c", "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"])[0] == 3
    monkeypatch.setattr(findings, "PROGRAM_SECONDS", 0.2)
    status, told = ran([sys.executable, "-c", "import time; time.sleep(20)"])
    assert status is None and "0.2 s" in told


def test_passwords_are_not_told():
    assert host_of("https://me:secret@host.org:5000/path?token=1") == "https://host.org:5000"


def test_messages_on_one_line():
    assert one_line(listed("Absent:", ["a.txt", "b.txt"], "Put them there.")) == "Absent: a.txt; b.txt. Put them there"
    assert one_line("As it is.") == "As it is" and one_line("") == ""


def test_the_nearest_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert existing(tmp_path / "a" / "b") == tmp_path
    (tmp_path / "a").mkdir()
    assert existing(Path("a/b")) == tmp_path / "a"
