"""Public checkpoints arrive whole and right, or the message says what to put where."""

import hashlib
import random

import pytest

from earwitness.errors import EarwitnessError
from earwitness.fetch.checkpoints import fetch as fetch_published
from earwitness.fetch.published import Published
from earwitness.files import read_json
from earwitness.lock import hold

BODY = random.Random(0).randbytes(300_000)
LOOSE = b"\x80\x02" + BODY  # as PyTorch's files begin; nothing else tells the kind of one without a digest
PAGE = b"\n<!DOCTYPE html><html><body>Sign in to download</body></html>"
MD5, SHA256 = hashlib.md5(BODY).hexdigest(), hashlib.sha256(BODY).hexdigest()
KNOWN = {}  # the published files of a test, by name


def fetch(file, *arguments, **options):
    fetch_published(KNOWN[file], *arguments, **options)


@pytest.fixture(autouse=True)
def known(site):
    """Published files: one with whole digests, one with the beginning of a digest, one with none and two addresses."""
    for path, body in (("/a/known.pth", BODY), ("/a/begun.pth", BODY), ("/a/loose.pt", LOOSE), ("/b/other.pt", LOOSE)):
        site.serve(path, body)
    entries = (
        Published("known.pth", (f"{site.address}/a/known.pth",), "Known", len(BODY), MD5, SHA256),
        Published("begun.pth", (f"{site.address}/a/begun.pth",), "Begun", sha256_prefix=SHA256[:8]),
        Published("loose.pt", (f"{site.address}/a/loose.pt", f"{site.address}/b/other.pt"), "Loose"),
    )
    KNOWN.clear()
    KNOWN.update({entry.file: entry for entry in entries})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def pins(tmp_path):
    return tmp_path / "digests.json"


def refused(file, folder, **options):
    with pytest.raises(EarwitnessError) as caught:
        fetch(file, folder, pins=folder.parent / "digests.json", **options)
    assert not (folder / f"{file}.json").exists()
    return str(caught.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("file", ["known.pth", "begun.pth"])
def test_a_file_with_a_published_digest_arrives_and_is_written_down(file, site, folder, pins, capsys):
    fetch(file, folder, pins=pins)
    assert names(folder) == [file, f"{file}.json"] and (folder / file).read_bytes() == BODY
    told = read_json(folder / f"{file}.json")
    expected = {
        "file": file,
        "sha256": SHA256,
        "bytes": len(BODY),
        "verified": True,
        "address": f"{site.address}/a/{file}",
    }
    assert expected.items() <= told.items() and told["provenance"]["made_by"] == "checkpoint"
    assert not pins.exists() and "published" in capsys.readouterr().err
    written = (folder / f"{file}.json").stat().st_mtime_ns
    fetch(file, folder, pins=pins)
    assert len(site.requests) == 1 and (folder / f"{file}.json").stat().st_mtime_ns == written


def test_a_file_without_a_digest_is_pinned(site, folder, pins):
    fetch("loose.pt", folder, pins=pins)
    digest = hashlib.sha256(LOOSE).hexdigest()
    assert read_json(folder / "loose.pt.json")["verified"] is False
    assert read_json(pins) == {"checkpoints/loose.pt": {"sha256": digest, "bytes": len(LOOSE)}}
    for path in folder.iterdir():
        path.unlink()
    site.serve("/a/loose.pt", LOOSE[:-1])
    told = refused("loose.pt", folder)
    assert digest in told and hashlib.sha256(LOOSE[:-1]).hexdigest() in told and str(pins) in told
    pins.unlink()
    fetch("loose.pt", folder, pins=pins)
    assert (folder / "loose.pt").read_bytes() == LOOSE[:-1]


def test_what_is_no_checkpoint_is_never_pinned(site, folder, pins):
    site.serve("/a/loose.pt", PAGE)
    told = refused("loose.pt", folder)
    assert "web page" in told and f"{len(PAGE)} bytes" in told
    assert not pins.exists() and names(folder) == []


def test_the_check_is_for_files_without_a_digest_and_comes_before_pinning(folder, pins):
    def check(path):
        raise EarwitnessError(f"{path.name} is of another kind")

    assert refused("loose.pt", folder, check=check) == "loose.pt is of another kind"
    assert not pins.exists() and names(folder) == []
    folder.joinpath("loose.pt").write_bytes(LOOSE)
    assert refused("loose.pt", folder, check=check) and names(folder) == ["loose.pt"]  # not ours to remove
    fetch("known.pth", folder, pins=pins, check=check)


@pytest.mark.parametrize("file", ["known.pth", "loose.pt"])
def test_a_file_put_there_by_hand_is_taken_when_it_is_right(file, site, folder, pins):
    folder.mkdir()
    (folder / file).write_bytes(BODY if file == "known.pth" else LOOSE)
    fetch(file, folder, pins=pins)
    assert read_json(folder / f"{file}.json")["address"] is None and not site.requests


@pytest.mark.parametrize("content", [BODY[:-1], PAGE, b""])
@pytest.mark.parametrize("file", ["known.pth", "begun.pth"])
def test_a_wrong_file_put_there_by_hand_is_refused_with_both_digests(file, content, folder):
    folder.mkdir()
    (folder / file).write_bytes(content)
    told = refused(file, folder)
    assert f"{folder / file} is not" in told and hashlib.sha256(content).hexdigest() in told
    assert (SHA256 if file == "known.pth" else SHA256[:8]) in told and ("web page" in told) == (content == PAGE)
    assert (folder / file).read_bytes() == content


@pytest.mark.parametrize("file", ["known.pth", "begun.pth"])
def test_a_wrong_download_is_removed(file, site, folder):
    site.serve(f"/a/{file}", BODY[:-1] + b"x")
    told = refused(file, folder)
    assert hashlib.sha256(BODY[:-1] + b"x").hexdigest() in told and names(folder) == []


def test_addresses_are_tried_in_turn(site, folder, pins):
    site.serve("/a/loose.pt", status=404)
    fetch("loose.pt", folder, pins=pins)
    assert [path for path, _ in site.requests] == ["/a/loose.pt", "/b/other.pt"]
    assert read_json(folder / "loose.pt.json")["address"] == f"{site.address}/b/other.pt"


def test_what_broke_off_is_gone_on_with_where_it_came_from(site, folder, pins):
    site.serve("/a/loose.pt", status=404)
    site.serve("/b/other.pt", LOOSE, cuts=[100_000, 0, 0, 0, 0, 0])
    assert "100000 of 300002 bytes are there" in refused("loose.pt", folder)
    site.serve("/a/loose.pt", LOOSE)
    site.files["/b/other.pt"].cuts.clear()
    before = len(site.requests)
    fetch("loose.pt", folder, pins=pins)
    assert site.ranges()[before:] == [100_000] and site.requests[-1][0] == "/b/other.pt"
    assert names(folder) == ["loose.pt", "loose.pt.json"]


def test_what_has_arrived_is_not_dropped_for_another_address(site, folder):
    site.serve("/a/loose.pt", LOOSE, cuts=[100_000, 0, 0, 0, 0, 0])
    refused("loose.pt", folder)
    assert {path for path, _ in site.requests} == {"/a/loose.pt"}
    assert (folder / "loose.pt.part").read_bytes() == LOOSE[:100_000]


def test_without_a_network_the_message_says_what_to_put_where(site, folder):
    for path in ("/a/known.pth", "/a/loose.pt", "/b/other.pt"):
        site.serve(path, status=503)
    told = refused("known.pth", folder)
    for words in (folder / "known.pth", site.address, f"{len(BODY):,} bytes", MD5, SHA256, "checkpoints.mirror"):
        assert str(words) in told
    told = refused("loose.pt", folder)
    assert "/a/loose.pt" in told and "/b/other.pt" in told and "no digest is published" in told


@pytest.mark.parametrize("kind", ["folder", "file://", "http"])
def test_a_mirror_has_the_files_under_their_names(kind, site, folder, pins, tmp_path):
    entry = Published("a=1.pth", ("http://127.0.0.1:9/never",), "Odd name", md5=MD5)
    KNOWN["a=1.pth"] = entry
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "a=1.pth").write_bytes(BODY)
    site.serve("/mirror/a%3D1.pth", BODY)
    mirrors = {"folder": tmp_path / "mirror", "file://": f"file://{tmp_path}/mirror", "http": f"{site.address}/mirror/"}
    fetch("a=1.pth", folder, str(mirrors[kind]), pins)
    assert (folder / "a=1.pth").read_bytes() == BODY


def test_a_mirror_is_held_to_the_published_digest_and_is_the_only_address(site, folder, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    assert "No such file" in refused("known.pth", folder, mirror=str(mirror)) and not site.requests
    (mirror / "known.pth").write_bytes(BODY[::-1])
    told = refused("known.pth", folder, mirror=str(mirror))
    assert SHA256 in told and hashlib.sha256(BODY[::-1]).hexdigest() in told


def test_a_folder_in_the_place_of_the_file_is_named(folder):
    (folder / "known.pth").mkdir(parents=True)
    told = refused("known.pth", folder)
    assert "known.pth" in told and "is a folder" in told


def test_one_at_a_time(folder):
    with hold(folder / ".known.pth.fetch.lock"):
        assert "another process" in refused("known.pth", folder)
