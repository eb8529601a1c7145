"""Files are complete or absent, and failures are reported with their file."""

import os
import re
import stat
import subprocess
from errno import ENOSPC
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
import pytest

from earwitness import files
from earwitness.errors import EarwitnessError, MismatchError, listed, nearest, report_full_disk
from earwitness.files import (
    atomic,
    atomic_hdf5,
    digest,
    provenance,
    read_json,
    refuse_unwritable,
    remove_torn,
    require_match,
    sha256,
    write_json,
    write_text,
)


def full(*args, **kwargs):
    raise OSError(ENOSPC, "No space left on device")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_shows_the_file_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.parent == path.parent
        temporary.write_text("whole")
    assert path.read_text() == "whole" and names(path.parent) == ["a.txt"]


def test_atomic_respects_the_umask(tmp_path):
    before = os.umask(0o022)
    os.umask(before)
    write_text(tmp_path / "a.txt", "x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~before


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(failure), atomic(path) as temporary:
        temporary.write_text("new")
        raise failure
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_failure_may_have_removed_the_temporary_file(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt") as temporary:
        temporary.unlink()
    assert names(tmp_path) == []


@pytest.mark.parametrize(("owner", "call"), [(os, "replace"), (Path, "write_text")])
def test_a_full_disk(tmp_path, monkeypatch, owner, call):
    monkeypatch.setattr(owner, call, full)
    with pytest.raises(EarwitnessError, match=r"disk is full.*a\.json"):
        write_json(tmp_path / "a.json", {"a": 1})
    assert names(tmp_path) == []


def test_a_full_disk_reported_by_a_library():
    with pytest.raises(EarwitnessError, match=r"disk is full.*a\.h5"), report_full_disk("a.h5"):
        raise OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')")


def test_other_system_errors_are_left_alone():
    with pytest.raises(PermissionError), report_full_disk("a.h5"):
        raise PermissionError("no")


def test_json_there_and_back(tmp_path):
    content = {"é": [1, 2.5, None], "b": {"c": "d"}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe{}"])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(EarwitnessError, match=r"a\.json.*JSON"):
        read_json(tmp_path / "a.json")


def test_provenance_and_digests(tmp_path):
    write_text(tmp_path / "a.txt", "abc")
    found = provenance("maker", {"a": tmp_path / "a.txt"}, size=3)
    assert found["inputs"]["a"] == sha256(tmp_path / "a.txt")
    assert found["inputs"]["a"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (found["made_by"], found["settings"]) == ("maker", {"size": 3})
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_the_commit_is_that_of_these_sources(tmp_path, monkeypatch):
    assert re.fullmatch(r"[0-9a-f]{12,40}(-dirty)?", files.commit.__wrapped__() or "0" * 12)  # none in an archive
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for place in ("site-packages", "vendor/src", "src"):  # installed in another repository; one without a commit
        monkeypatch.setattr(files, "__file__", str(tmp_path / place / "earwitness/files.py"))
        assert files.commit.__wrapped__() is None


def test_a_match_of_what_is_asked_for():
    found = {"schema": 1, "made_by": "x", "settings": {"a": 1, "b": 2}, "inputs": {"c": "d"}, "code": "old"}
    require_match("a.h5", found, {"schema": 1, "settings": {"a": 1}, "code": "new"})


def test_all_differences_are_listed():
    found = {"schema": 1, "made_by": "x", "settings": {"a": 1, "b": 2}, "inputs": {}}
    expected = {"schema": 2, "made_by": "y", "settings": {"a": 3, "b": 2}, "inputs": {"c": "d"}}
    with pytest.raises(MismatchError) as caught:
        require_match("a.h5", found, expected)
    message = str(caught.value)
    assert message.startswith("a.h5 ")
    for said in ("schema: the file has 1, 2", "made_by: the file has 'x', 'y'", "settings.a: the file has 1, 3"):
        assert said in message
    assert "inputs.c: " in message and "settings.b" not in message


def test_every_offender_is_named():
    offenders = [f"row {n}" for n in range(500)]
    assert listed("Bad:", offenders).splitlines() == ["Bad:", *(f"  - {offender}" for offender in offenders)]
    assert listed("Bad:", ["row 0"], "Mend them.") == "Bad:\n  - row 0\nMend them."


def test_nearest_names():
    assert nearest("clothi", ["clotho", "mini"]) == "did you mean 'clotho'?"
    assert nearest("zzz", ["clotho", "mini"]) == "valid names: clotho, mini"
    assert nearest("zzz", []) == "there are none"


def test_folders_that_are_read_only_are_listed_before_anything_is_done(tmp_path, monkeypatch):
    paths = [tmp_path / "ours" / "new" / "a.csv", *(tmp_path / "theirs" / name for name in ("a.csv", "b.csv"))]
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
    refuse_unwritable(paths)
    monkeypatch.setattr(
        os, "access", lambda folder, mode: mode == os.F_OK or folder.name != "theirs"
    )  # whoever runs the tests
    with pytest.raises(EarwitnessError) as caught:
        refuse_unwritable(paths)
    assert f"{tmp_path / 'theirs'} (2 files)" in str(caught.value) and "ours" not in str(caught.value)


def hdf5_on_a_full_disk(path, room, monkeypatch):
    """Write as an extraction does, where only so many bytes fit."""

    class Disk(FileIO):
        def write(self, content):
            fits = max(0, room - self.tell())
            if not fits:
                raise OSError(ENOSPC, "No space left on device")
            return super().write(memoryview(content).cast("B")[:fits])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode, buffering: Disk(path, mode))
        with atomic_hdf5(path) as file:
            frames = file.create_dataset("frames", (0, 16), "float32", maxshape=(None, 16), chunks=(64, 16))
            for clip in range(20):
                frames.resize(50 * (clip + 1), axis=0)
                frames[50 * clip :] = np.full((50, 16), clip)
            file["offsets"] = np.arange(20)
            file.attrs["provenance"] = "x" * 500


def test_hdf5_is_written_whole_however_much_fits_at_a_time(tmp_path, monkeypatch):
    hdf5_on_a_full_disk(tmp_path / "a.h5", 1 << 20, monkeypatch)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert (file["frames"][:, 3] == np.repeat(np.arange(20), 50)).all()
        assert file.attrs["provenance"] == "x" * 500
    assert names(tmp_path) == ["a.h5"]


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.9, 0.99])
def test_hdf5_on_a_full_disk_is_a_message_and_no_end_of_the_process(tmp_path, monkeypatch, share):
    hdf5_on_a_full_disk(tmp_path / "whole.h5", 1 << 20, monkeypatch)
    room = int(share * (tmp_path / "whole.h5").stat().st_size)
    with pytest.raises(EarwitnessError, match=r"disk is full.*a\.h5"):
        hdf5_on_a_full_disk(tmp_path / "a.h5", room, monkeypatch)
    assert names(tmp_path) == ["whole.h5"]


def test_another_error_while_hdf5_is_written(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_hdf5(tmp_path / "a.h5") as file:
        file["a"] = 1 / 0
    assert names(tmp_path) == []


def test_what_a_killed_process_left_of_a_file_is_removed(tmp_path):
    for name in (".a.csv.x1.tmp", ".a.csv.x2.tmp", ".b.csv.x3.tmp"):
        (tmp_path / name).mkdir() if "x2" in name else (tmp_path / name).touch()
    (tmp_path / ".a.csv.x2.tmp" / "scores.csv").touch()
    remove_torn(tmp_path, "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == [".b.csv.x3.tmp"]
    remove_torn(tmp_path)
    assert not list(tmp_path.iterdir())
