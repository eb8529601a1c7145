"""Records are fetched once, checked against what is published or was seen before, and written down."""

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace

import py7zr
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.fetch import download as download_module
from earwitness.fetch.records import RECORDS, PublishedFile, Record, fetch
from earwitness.lock import hold

SOUND = random.Random(0).randbytes(50_000)
TABLE = b"file_name,caption_1\na.wav,Rain falls.\n"


def md5(content):
    return hashlib.md5(content).hexdigest()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "audio.7z"
    with py7zr.SevenZipFile(path, "w") as packed:
        packed.writestr(SOUND, "development/a.wav")
        packed.writestr(b"b", "development/b.wav")
    return path.read_bytes()


@pytest.fixture
def files(archive):
    return {"audio.7z": archive, "captions.csv": TABLE, "odd name%.csv": b"odd"}


@pytest.fixture
def record(site, files):
    """A record of three files on the server, the last without a published digest."""
    serve(site, files)
    listed = (
        PublishedFile("audio.7z", md5(files["audio.7z"]), len(files["audio.7z"]), "development"),
        PublishedFile("captions.csv", md5(TABLE)),
        PublishedFile("odd name%.csv"),
    )
    return Record("fake-1", "Fake 1", f"{site.address}/records/12", "10.5281/zenodo.12", listed, 60_000)


def serve(site, files, at="/api/records/12/files"):
    for name, content in files.items():
        site.serve(f"{at}/{name.replace(' ', '%20').replace('%.', '%25.')}/content", content)


def zenodo(site, files, **changed):
    """The answer of Zenodo's interface for these files."""
    told = [{"key": name, "size": len(body), "checksum": f"md5:{md5(body)}"} for name, body in files.items()]
    site.serve("/api/records/12", json.dumps({"id": 12, "files": told} | changed).encode())


@pytest.fixture
def told_record(site, record, files):
    """The same record, of which only Zenodo knows the files."""
    zenodo(site, files)
    return replace(record, files=None)


@pytest.fixture
def place(tmp_path):
    """Root and pins of a fetch."""
    return {"root": tmp_path / "data", "pins": tmp_path / "pins.json"}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def written(place):
    return json.loads((place["root"] / "fetched.json").read_text())


def said(record, place, **options):
    with pytest.raises(EarwitnessError) as caught:
        fetch(record, **place, **options)
    assert not (place["root"] / "fetched.json").exists()
    return str(caught.value)


def test_a_record_is_fetched_and_written_down(record, place, site, archive, capsys):
    fetch(record, **place)
    root = place["root"]
    assert names(root) == [".fetched", "captions.csv", "development", "fetched.json", "odd name%.csv"]
    assert names(root / "development") == ["a.wav", "b.wav"] and (root / "captions.csv").read_bytes() == TABLE
    content = written(place)
    assert (content["schema"], content["record"], content["doi"]) == (1, "fake-1", "10.5281/zenodo.12")
    assert content["provenance"]["made_by"] == "fetch"
    url = f"{site.address}/api/records/12/files/odd%20name%25.csv/content"
    odd = {"name": "odd name%.csv", "place": "odd name%.csv", "url": url, "bytes": 3}
    assert content["files"][2] == odd | {"md5": md5(b"odd"), "sha256": sha256(b"odd"), "verified": False}
    assert [entry["verified"] for entry in content["files"]] == [True, True, False]
    assert content["files"][0]["sha256"] == sha256(archive) and content["files"][0]["place"] == "development"
    assert "Fake 1 is in" in capsys.readouterr().err


def test_a_second_run_downloads_nothing_and_changes_nothing(record, place, site):
    fetch(record, **place)
    before = (place["root"] / "fetched.json").stat().st_mtime_ns, len(site.requests)
    fetch(record, **place)
    assert before == ((place["root"] / "fetched.json").stat().st_mtime_ns, len(site.requests))


def test_what_was_removed_is_brought_again_and_no_more(record, place, site):
    fetch(record, **place)
    content = written(place)["files"]
    (place["root"] / "captions.csv").unlink()
    (place["root"] / "fetched.json").unlink()
    fetch(record, **place)
    assert [path.split("/")[-2] for path, _ in site.requests[3:]] == ["captions.csv"]
    assert written(place)["files"] == content


@pytest.mark.parametrize("cut", ["audio.7z", "captions.csv"])
def test_an_interrupted_fetch_goes_on(record, place, site, files, cut, monkeypatch):
    def pressed(_):
        raise KeyboardInterrupt

    site.files[f"/api/records/12/files/{cut}/content"].cuts = [10]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download_module.time, "sleep", pressed)
        fetch(record, **place)
    assert f"{cut}.part" in names(place["root"] / ".fetch") and not (place["root"] / "fetched.json").exists()
    fetch(record, **place)
    assert site.ranges() == [0, 10, 0, 0] if cut == "audio.7z" else [0, 0, 10, 0]
    assert ".fetch" not in names(place["root"])


@pytest.mark.parametrize("moment", ["unpack", "replace"])
def test_a_kill_between_check_and_place_costs_no_download(record, place, site, moment, monkeypatch):
    from earwitness.fetch import archives, records

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    owner = archives if moment == "unpack" else records.os
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        move = records.os.replace
        if moment == "unpack":
            patch.setattr(owner, "unpack", killed)
        else:
            patch.setattr(owner, "replace", lambda a, b: killed() if str(b).endswith("s.csv") else move(a, b))
            (place["root"] / ".fetch").mkdir(parents=True)
            (place["root"] / ".fetch" / "captions.csv").write_bytes(TABLE)
        fetch(record, **place)
    fetch(record, **place)
    assert len(site.requests) == (3 if moment == "unpack" else 2)
    assert len(written(place)["files"]) == 3


def test_a_published_digest_is_enforced(record, place, site, files):
    serve(site, files | {"captions.csv": b"changed"})
    told = said(record, place)
    assert f"md5: {md5(b'changed')} was found, {md5(TABLE)} is expected" in told and "captions.csv" in told
    serve(site, files)
    fetch(record, **place)
    assert written(place)["files"][1]["verified"] is True


def test_an_unpublished_digest_is_pinned(record, place, site, files, tmp_path):
    fetch(record, **place)
    pins = json.loads(place["pins"].read_text())
    assert pins == {"fake-1/odd name%.csv": {"sha256": sha256(b"odd"), "bytes": 3}}
    serve(site, files | {"odd name%.csv": b"changed"})
    other = {**place, "root": tmp_path / "other"}
    told = said(record, other)
    assert "'fake-1/odd name%.csv'" in told and str(place["pins"]) in told
    assert sha256(b"changed") in told and sha256(b"odd") in told
    assert json.loads(place["pins"].read_text()) == pins
    place["pins"].write_text("{}")
    before = len(site.requests)
    fetch(record, **other)
    assert len(site.requests) == before, "the file that was refused was not kept for the case that it is wanted"
    assert (other["root"] / "odd name%.csv").read_bytes() == b"changed"


@pytest.mark.parametrize("where", ["", ".fetch"])
def test_files_put_there_by_hand_are_taken(record, place, site, files, where):
    folder = place["root"] / where
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    fetch(record, **place)
    assert site.requests == []
    assert [entry["verified"] for entry in written(place)["files"]] == [True, True, False]
    kept = ["audio.7z"] if where == "" else []
    assert names(place["root"]) == [".fetched", *kept, "captions.csv", "development", "fetched.json", "odd name%.csv"]


@pytest.mark.parametrize("where", ["", ".fetch"])
def test_a_wrong_file_put_there_by_hand_is_refused_and_left(record, place, where):
    path = place["root"] / where / "audio.7z"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    told = said(record, place)
    assert str(path) in told and md5(b"half") in told and record.files[0].md5 in told and "size: 4 bytes" in told
    assert path.read_bytes() == b"half"


def test_a_folder_that_was_not_fetched_is_refused_before_anything_is_read(record, place, site):
    (place["root"] / "development").mkdir(parents=True)
    assert str(place["root"] / "development") in said(record, place)
    assert site.requests == []


@pytest.mark.parametrize("address", ["folder", "url"])
def test_a_mirror_replaces_the_address_but_not_the_digests(record, place, site, files, tmp_path, address):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name, content in files.items():
        (mirror / name).write_bytes(content)
        site.serve(f"/m/{name.replace(' ', '%20').replace('%.', '%25.')}", content)
    mirror = str(mirror) if address == "folder" else f"{site.address}/m/"
    fetch(record, **place, mirror=mirror)
    assert {path for path, _ in site.requests} <= {"/m/audio.7z", "/m/captions.csv", "/m/odd%20name%25.csv"}
    assert written(place)["files"][1]["url"].startswith(mirror)
    assert written(place)["files"][0]["verified"] is True
    wrong = replace(record, files=(replace(record.files[1], md5=md5(b"other")),))
    assert "md5: " in said(wrong, {**place, "root": tmp_path / "other"}, mirror=mirror)


def test_zenodo_tells_the_files_of_a_record_without_a_list(told_record, place, site):
    fetch(told_record, **place)
    assert names(place["root"]) == [".fetched", "audio", "captions.csv", "fetched.json", "odd name%.csv"]
    assert names(place["root"] / "audio") == ["a.wav", "b.wav"]
    assert not any(entry["verified"] for entry in written(place)["files"])
    assert sorted(json.loads(place["pins"].read_text())) == [
        "fake-1/audio.7z",
        "fake-1/captions.csv",
        "fake-1/odd name%.csv",
    ]
    before = len(site.requests)
    fetch(told_record, **place)
    assert len(site.requests) == before == 4


def test_what_zenodo_tells_of_a_transfer_is_checked(told_record, place, site, files):
    serve(site, files | {"captions.csv": TABLE.upper()})
    assert "md5: " in said(told_record, place)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b'{"message": "no"}',
        b'{"files": [{"key": "a"}]}',
        b'{"files": {"a": 1}}',
        b'{"files": null}',
        b'{"files": [{"key": "a", "size": "large", "checksum": "md5:0"}]}',
    ],
)
def test_an_answer_in_another_form_is_told_plainly(told_record, place, site, answer):
    site.serve("/api/records/12", answer)
    assert "Remove it" in said(told_record, place)


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (["../a", "fine.csv"], "'../a': "),
        (["a/b"], "'a/b': "),
        (["a\\b"], "is no name"),
        ([".fetch"], "'.fetch': "),
        (["fetched.json"], "is no name"),
        (["..7z"], "is no name"),
        (["a.zip", "A.7z"], "'a.zip', 'A.7z': "),
        (["a.zip", "a"], "'a.zip', 'a': "),
        ([], "there are none"),
    ],
)
def test_names_that_zenodo_must_not_tell_are_refused(told_record, place, site, listed, told):
    zenodo(site, dict.fromkeys(listed, b"x"))
    message = said(told_record, place)
    assert told in message and "fine" not in message
    assert len(site.requests) == 1


def test_without_the_network_a_folder_tells_the_files(told_record, place, site, files, tmp_path):
    for name, content in files.items():
        (tmp_path / "mirror").mkdir(exist_ok=True)
        (tmp_path / "mirror" / name).write_bytes(content)
    fetch(told_record, **place, mirror=str(tmp_path / "mirror"))
    assert site.requests == [] and names(place["root"] / "audio") == ["a.wav", "b.wav"]
    other = {**place, "root": tmp_path / "other"}
    assert "is no folder" in said(told_record, other, mirror=str(tmp_path / "none"))


def test_another_record_is_refused_in_the_same_folder(record, place):
    fetch(record, **place)
    with pytest.raises(MismatchError, match=r"'fake-1'.*'fake-2'"):
        fetch(replace(record, name="fake-2"), **place)


def test_a_second_process_is_refused(record, place):
    with hold(place["root"] / ".fetch.lock"):
        assert "another process" in said(record, place)
    fetch(record, **place)


def test_a_disk_without_room_is_told_beforehand(record, place, site, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 0, 100_000))
    told = said(record, place)
    assert re.search(r"0\.0 GB in .* 0\.0 GB are free", told)
    assert site.requests == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 0, 120_000))
    fetch(record, **place)


def test_a_damaged_state_is_named(record, place):
    fetch(record, **place)
    (place["root"] / ".fetched" / "captions.csv.json").write_text("{half")
    with pytest.raises(EarwitnessError, match=r"captions\.csv\.json is not valid JSON"):
        fetch(record, **place)


@pytest.mark.parametrize("content", ["[]", '{"fake-1/odd name%.csv": {}}', '{"fake-1/odd name%.csv": 3}'])
def test_pins_without_a_digest_are_named(record, place, content):
    place["pins"].write_text(content)
    told = said(record, place)
    assert str(place["pins"]) in told and "'fake-1/odd name%.csv'" in told and "sha256" in told


def test_a_state_that_tells_nothing_is_named(record, place):
    fetch(record, **place)
    state = place["root"] / ".fetched" / "captions.csv.json"
    state.write_text("[]")
    (place["root"] / "fetched.json").unlink()
    told = said(record, place)
    assert str(state) in told and "Remove it" in told


def test_a_table_that_was_changed_since_is_refused(record, place):
    fetch(record, **place)
    (place["root"] / "captions.csv").write_bytes(b"changed")
    (place["root"] / "fetched.json").unlink()
    assert re.search(r"captions\.csv is not .*Fake 1", said(record, place))


def test_a_file_in_the_place_of_the_folder_is_told(record, place):
    place["root"].write_text("")
    assert "folder of Fake 1, but is a file" in said(record, place)


def test_a_file_published_anew_is_not_taken_for_known(record, place, site, files):
    fetch(record, **place)
    serve(site, files | {"captions.csv": b"new"})
    changed = replace(record, files=(record.files[0], PublishedFile("captions.csv", md5(b"new")), record.files[2]))
    with pytest.raises(EarwitnessError, match=r"captions\.csv is not .*Fake 1"):
        fetch(changed, **place)
    (place["root"] / "captions.csv").unlink()
    fetch(changed, **place)
    assert written(place)["files"][1]["md5"] == md5(b"new")


def test_the_records_are_well_formed():
    clotho = RECORDS["clotho-2.1"]
    assert clotho.doi.rsplit(".", 1)[1] == clotho.url.rsplit("/", 1)[1] == "4783391"
    assert (
        len(clotho.files) == len({file.name for file in clotho.files}) == len({file.md5 for file in clotho.files}) == 9
    )
    assert all(re.fullmatch(r"[0-9a-f]{32}", file.md5) for file in clotho.files)
    assert [file.into for file in clotho.files if file.into] == ["development", "validation", "evaluation"]
    assert clotho.unpacked_bytes > sum(file.bytes or 0 for file in clotho.files)
    assert RECORDS["audiogrounding-2"].files is None
    assert all(name == record.name for name, record in RECORDS.items())


def test_looking_up_a_record_is_quick():
    code = "import sys, earwitness.fetch.records; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"requests", "py7zr", "torch", "pandas", "tqdm"} & set(done.stdout.split())
