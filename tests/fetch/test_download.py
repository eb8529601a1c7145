"""Downloads arrive whole and checked, however often the server breaks off."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from errno import ENOSPC

import pytest
import requests

from earwitness.errors import EarwitnessError
from earwitness.fetch import download as module
from earwitness.fetch.download import Downloaded, digests_of, download, refuse_downgrade

BODY = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
MD5, SHA256 = hashlib.md5(BODY).hexdigest(), hashlib.sha256(BODY).hexdigest()
WHOLE = Downloaded(len(BODY), MD5, SHA256)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def said(call, *args, **options):
    with pytest.raises(EarwitnessError) as caught:
        call(*args, **options)
    return str(caught.value)


def test_a_file_arrives_whole_and_alone(site, tmp_path):
    url = site.serve("/a.7z", BODY)
    to = tmp_path / "new" / "a.7z"
    assert download(url, to, digests={"md5": MD5.upper(), "sha256": SHA256}, size=len(BODY)) == WHOLE
    assert to.read_bytes() == BODY and names(to.parent) == ["a.7z"]
    assert site.requests[0][1]["Accept-Encoding"] == "identity"


def test_an_empty_file_is_a_file(site, tmp_path):
    assert download(site.serve("/empty", b""), tmp_path / "empty").bytes == 0
    assert names(tmp_path) == ["empty"]


@pytest.mark.parametrize("headers", [{"ETag": '"one"'}, {"Last-Modified": "Thu, 23 Feb 2023 14:47:38 GMT"}])
def test_a_broken_connection_is_taken_up_where_it_broke(site, tmp_path, headers):
    url = site.serve("/a", BODY, cuts=[100_000, 50_000], headers=headers)
    assert download(url, tmp_path / "a", digests={"md5": MD5}) == WHOLE
    assert site.ranges() == [0, 100_000, 150_000]
    assert [sent.get("If-Range") for _, sent in site.requests] == [None, *headers.values(), *headers.values()]
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("span", ["bytes 0-299999/300000", "bytes 100000-299999/300001", "nonsense", ""])
def test_an_answer_that_does_not_continue_the_part_is_not_taken(site, tmp_path, span):
    headers = {"ETag": '"one"', "Content-Range": span}
    url = site.serve("/a", BODY, cuts=[100_000], headers=headers)
    assert download(url, tmp_path / "a") == WHOLE
    assert site.ranges() == [0, 100_000, 0]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"one"'}])
def test_without_a_firm_mark_of_its_version_a_file_is_begun_anew(site, tmp_path, headers):
    url = site.serve("/a", BODY, cuts=[100_000], headers=headers)
    assert download(url, tmp_path / "a") == WHOLE
    assert site.ranges() == [0, 0]


def test_a_server_that_ignores_ranges_begins_anew(site, tmp_path):
    url = site.serve("/a", BODY, cuts=[100_000], ranges=False)
    assert download(url, tmp_path / "a") == WHOLE
    assert site.ranges() == [0, 100_000]


def test_beginning_anew_again_and_again_is_no_progress(site, tmp_path):
    url = site.serve("/a", BODY, cuts=[100_000] * 20, ranges=False)
    assert "without a byte of progress: 3" in said(download, url, tmp_path / "a", attempts=3)
    assert len(site.requests) == 3


def test_progress_however_small_is_not_given_up(site, tmp_path):
    url = site.serve("/a", BODY, cuts=[30_000] * 9)
    assert download(url, tmp_path / "a", attempts=2) == WHOLE


def test_a_silent_server_is_given_up_and_what_is_there_is_kept(site, tmp_path):
    url = site.serve("/a", BODY, silences=[100_000, 0])
    told = said(download, url, tmp_path / "a", patience=0.2, attempts=2)
    assert "0.2 seconds" in told
    assert "100000 of 300000 bytes" in told
    assert f"put the file at {tmp_path / 'a'} by hand" in told
    assert (tmp_path / "a.part").stat().st_size == 100_000 and not (tmp_path / "a").exists()
    assert download(url, tmp_path / "a", digests={"md5": MD5}) == WHOLE
    assert site.ranges() == [0, 100_000, 100_000]
    assert names(tmp_path) == ["a"]


def test_a_killed_process_leaves_a_part_to_go_on_from(site, tmp_path):
    url = site.serve("/a", BODY, silences=[100_000])
    code = "import sys; from earwitness.fetch.download import download; download(*sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, url, tmp_path / "a"], stderr=subprocess.DEVNULL)
    part = tmp_path / "a.part"
    until = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size == 100_000) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert download(url, tmp_path / "a", digests={"sha256": SHA256}) == WHOLE
    assert site.ranges() == [0, 100_000]
    assert names(tmp_path) == ["a"]


def test_ctrl_c_keeps_the_part(site, tmp_path, monkeypatch):
    def pressed(_):
        raise KeyboardInterrupt

    url = site.serve("/a", BODY, cuts=[100_000])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(time, "sleep", pressed)
        download(url, tmp_path / "a")
    assert names(tmp_path) == ["a.part", "a.part.json"]
    assert download(url, tmp_path / "a") == WHOLE
    assert site.ranges() == [0, 100_000]


def test_a_part_that_was_complete_is_only_checked(site, tmp_path, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    url = site.serve("/a", BODY)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            os, "replace", lambda source, to: pressed() if str(source).endswith(".part") else move(source, to)
        )
        move = os.rename
        download(url, tmp_path / "a")
    assert download(url, tmp_path / "a", digests={"md5": MD5}) == WHOLE
    assert len(site.requests) == 1


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("body", [OTHER, OTHER[:50_000], OTHER + BODY])
def test_a_file_that_changed_between_two_parts_is_begun_anew(site, tmp_path, checks, body):
    url = site.serve("/a", BODY, cuts=[100_000])
    said(download, url, tmp_path / "a", attempts=1)
    site.serve("/a", body, headers={"ETag": '"two"'}, checks_version=checks)
    assert download(url, tmp_path / "a").bytes == len(body)
    assert (tmp_path / "a").read_bytes() == body


def test_a_part_of_another_address_is_not_gone_on_with(site, tmp_path):
    said(download, site.serve("/a", BODY, cuts=[100_000]), tmp_path / "a", attempts=1)
    assert download(site.serve("/b", OTHER), tmp_path / "a").bytes == len(OTHER)
    assert (tmp_path / "a").read_bytes() == OTHER


@pytest.mark.parametrize("note", [None, "{half", "[]", '{"url": 1}'])
def test_a_part_without_its_note_is_of_no_use(site, tmp_path, note):
    (tmp_path / "a.part").write_bytes(OTHER[:1000])
    if note:
        (tmp_path / "a.part.json").write_text(note)
    assert download(site.serve("/a", BODY), tmp_path / "a") == WHOLE
    assert site.ranges() == [0] and names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"digests": {"md5": "0" * 32}}, f"md5: {MD5} was found, {'0' * 32} is expected"),
        ({"digests": {"sha256": "0" * 64}}, f"sha256: {SHA256} was found"),
    ],
)
def test_a_wrong_file_is_named_and_removed(site, tmp_path, expected, told):
    url = site.serve("/a", BODY)
    message = said(download, url, tmp_path / "a", **expected)
    assert told in message and str(tmp_path / "a") in message and url in message
    assert names(tmp_path) == []


@pytest.mark.parametrize("chunked", [True, False])
def test_a_wrong_size_is_named_and_removed(site, tmp_path, chunked):
    headers = {"Content-Length": ""} if chunked else {}
    message = said(download, site.serve("/a", BODY, headers=headers), tmp_path / "a", size=7)
    assert "size: 300000 bytes" in message and " 7 " in message
    assert names(tmp_path) == []


def test_a_file_sent_in_chunks_arrives_whole(site, tmp_path):
    half = len(BODY) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:half], BODY[half:], b""))
    headers = {"ETag": '"one"', "Transfer-Encoding": "chunked", "Content-Length": ""}
    url = site.serve("/a", chunks, headers=headers, ranges=False, cuts=[half // 2, half + 100])
    assert download(url, tmp_path / "a", digests={"md5": MD5}) == WHOLE
    assert len(site.requests) == 3


def test_a_damaged_first_part_is_found_out(site, tmp_path):
    url = site.serve("/a", BODY, cuts=[100_000])
    said(download, url, tmp_path / "a", attempts=1)
    (tmp_path / "a.part").write_bytes(OTHER[:100_000])
    assert "md5: " in said(download, url, tmp_path / "a", digests={"md5": MD5})
    assert download(url, tmp_path / "a", digests={"md5": MD5}) == WHOLE


@pytest.mark.parametrize("status", [403, 404, 410, 418])
def test_a_refusal_is_told_at_once(site, tmp_path, status):
    url = site.serve("/a", b"a page", status=status)
    told = said(download, url, tmp_path / "a")
    assert url in told and f"the server answered {status}" in told
    assert f"{tmp_path / 'a'} by hand" in told
    assert len(site.requests) == 1 and names(tmp_path) == []


def test_a_refusal_in_between_keeps_the_part(site, tmp_path):
    url = site.serve("/a", BODY, cuts=[100_000])
    said(download, url, tmp_path / "a", attempts=1)
    site.files["/a"].failures = [403]
    said(download, url, tmp_path / "a")
    assert download(url, tmp_path / "a") == WHOLE
    assert site.ranges() == [0, 100_000, 100_000]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(site, tmp_path, status):
    assert download(site.serve("/a", BODY, failures=[status, status]), tmp_path / "a") == WHOLE


def test_a_server_is_given_the_time_it_asks_for(site, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    url = site.serve("/a", b"busy", status=503, headers={"Retry-After": "7"})
    assert "503" in said(download, url, tmp_path / "a", attempts=3)
    assert waits == [7.0, 7.0]


def test_no_server_is_told_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BACKOFF", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a"
        told = said(download, url, tmp_path / "a", attempts=2)
    assert "Connection refused" in told and "progress: 2" in told and "Nothing" in told
    assert "by hand" in told and names(tmp_path) == []


def test_an_unknown_host_is_told_with_advice(tmp_path, monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    told = said(download, "http://data.invalid/a", tmp_path / "a", attempts=1)
    assert "(Name or service not known)" in told and "by hand" in told


@pytest.mark.parametrize("url", ["http:///a", "http://[1/a", "ftp://127.0.0.1/a"])
def test_an_address_that_cannot_be_is_refused(tmp_path, url):
    assert url in said(download, url, tmp_path / "a")
    assert names(tmp_path) == []


def test_a_redirect_is_followed(site, tmp_path):
    site.serve("/b", BODY, cuts=[100_000])
    url = site.serve("/a", status=302, headers={"Location": "/b"})
    assert download(url, tmp_path / "a", digests={"md5": MD5}) == WHOLE


@pytest.mark.parametrize(
    ("origin", "target", "refused"),
    [
        ("https://a.org/1", "http://a.org/2", True),
        ("https://a.org/1", "//b.org/2", False),
        ("https://a.org/1", "/2", False),
        ("http://a.org/1", "http://b.org/2", False),
        ("http://a.org/1", "https://a.org/2", False),
    ],
)
def test_a_redirect_away_from_https_is_refused(origin, target, refused):
    response = requests.Response()
    response.url, response.status_code, response.headers["Location"] = origin, 302, target
    if refused:
        assert f"{origin} redirects to {target}" in said(refuse_downgrade, response)
    else:
        refuse_downgrade(response)


@pytest.mark.parametrize("address", [str, lambda path: path.as_uri()])
def test_a_local_file_is_copied_and_checked(tmp_path, address):
    source = tmp_path / "a mirror" / "a"
    source.parent.mkdir()
    source.write_bytes(BODY)
    assert download(address(source), tmp_path / "a", digests={"md5": MD5}) == WHOLE
    assert (tmp_path / "a").read_bytes() == BODY == source.read_bytes()
    assert "md5" in said(download, address(source), tmp_path / "b", digests={"md5": "0" * 32})
    assert names(tmp_path) == ["a", "a mirror"]


def test_a_local_file_that_is_not_there_is_named(tmp_path):
    told = said(download, str(tmp_path / "none"), tmp_path / "a")
    assert str(tmp_path / "none") in told and "(No such file" in told
    assert names(tmp_path) == []


def test_a_full_disk_keeps_what_is_there(site, tmp_path, monkeypatch):
    url = site.serve("/a", BODY, cuts=[100_000])
    said(download, url, tmp_path / "a", attempts=1)

    def full(*_):
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module._Part, "add", full)
        told = said(download, url, tmp_path / "a")
    assert told.startswith("The disk is full") and "100000 of 300000 bytes" in told
    assert download(url, tmp_path / "a") == WHOLE


def test_two_downloads_to_one_place_are_refused(site, tmp_path):
    with module.hold(tmp_path / ".a.lock"):
        assert "by another process" in said(download, site.serve("/a", BODY), tmp_path / "a")
    assert download(site.serve("/a", BODY), tmp_path / "a") == WHOLE


def test_digests_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    assert digests_of(tmp_path / "a") == WHOLE
