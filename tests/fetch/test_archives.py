"""Archives are unpacked whole and inside their folder, or not at all."""

import bz2
import io
import random
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from errno import ENOSPC

import py7zr
import pytest

from earwitness.errors import EarwitnessError
from earwitness.fetch import archives as module
from earwitness.fetch.archives import Unpacked, archive_stem, unpack

SOUND = random.Random(0).randbytes(20_000)
FILES = {"top/a.wav": SOUND, "top/sub/b c.wav": b"b" * 10, "top/é.wav": b"", "top/notes.txt": b"x"}
FORMATS = ("a.7z", "a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz")


def seven_zip(path, files):
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, content in files.items():
            archive._writestr(content, name)


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def tarred(path, files):
    with tarfile.open(path, f"w:{'' if path.suffix == '.tar' else path.suffix[1:]}") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def packed(path, files):
    {".7z": seven_zip, ".zip": zipped}.get(path.suffix, tarred)(path, files)
    return path


def tar_of(path, *entries):
    """A tar of entries given as name and attributes."""
    with tarfile.open(path, "w") as archive:
        for name, attributes in entries:
            entry = tarfile.TarInfo(name)
            for attribute, value in attributes.items():
                setattr(entry, attribute, value)
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return path


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive, **options):
    """What is said of an archive that must not leave a trace."""
    before = sorted(path.name for path in archive.parent.iterdir())
    with pytest.raises(EarwitnessError) as caught:
        unpack(archive, archive.parent / "out", **options)
    assert sorted(path.name for path in archive.parent.iterdir()) == before
    assert str(archive) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_unpacked(tmp_path, name, strip):
    archive = packed(tmp_path / name, FILES)
    unpacked = unpack(archive, tmp_path / "new" / "out", strip=strip)
    assert unpacked == Unpacked(4, len(SOUND) + 11, ())
    expected = {name.removeprefix("top/") if strip else name: content for name, content in FILES.items()}
    assert tree(tmp_path / "new" / "out") == expected
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_the_contents_tell_the_format_not_the_name(tmp_path):
    archive = packed(tmp_path / "a.zip", FILES).rename(tmp_path / "a.7z")
    assert unpack(archive, tmp_path / "out").files == 4


def test_what_py7zr_writes_in_several_blocks_is_unpacked(tmp_path):
    archive = packed(tmp_path / "a.7z", {"top/a": b"a"})
    with py7zr.SevenZipFile(archive, "a") as more:
        more.writestr(SOUND, "top/b")
    unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {"a": b"a", "b": SOUND}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_at_the_top_keeps_the_folders(tmp_path, name):
    files = {**FILES, "readme": b"r"}
    unpack(packed(tmp_path / name, files), tmp_path / "out")
    assert tree(tmp_path / "out") == files


@pytest.mark.parametrize("name", ["a.7z", "a.zip", "a.tar"])
def test_what_macos_adds_is_left_out(tmp_path, name):
    leavings = {"__MACOSX/top/._a.wav": b"m", "top/._a.wav": b"m", "top/.DS_Store": b"m"}
    unpacked = unpack(packed(tmp_path / name, FILES | leavings), tmp_path / "out")
    assert unpacked.left_out == tuple(leavings)
    assert tree(tmp_path / "out") == {name.removeprefix("top/"): content for name, content in FILES.items()}


def test_folders_of_an_archive_are_made_even_if_they_are_empty(tmp_path):
    (tmp_path / "in" / "top" / "empty").mkdir(parents=True)
    (tmp_path / "in" / "top" / "a").write_bytes(b"a")
    for ending, name in (("zip", "zip"), ("gztar", "tar.gz")):
        shutil.make_archive(tmp_path / "a", ending, tmp_path / "in")
        unpack(tmp_path / f"a.{name}", tmp_path / ending)
        assert sorted(path.name for path in (tmp_path / ending).iterdir()) == ["a", "empty"]
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writeall(tmp_path / "in" / "top", "top")
    unpack(tmp_path / "a.7z", tmp_path / "7z")
    assert sorted(path.name for path in (tmp_path / "7z").iterdir()) == ["a", "empty"]


def test_modes_are_plain(tmp_path):
    archive = tar_of(tmp_path / "a.tar", ("top/a", {"mode": 0o4777}), ("top/b", {"mode": 0o000}))
    unpack(archive, tmp_path / "out")
    assert {stat.S_IMODE(path.stat().st_mode) & ~0o022 for path in (tmp_path / "out").iterdir()} == {0o644}


EVIL = [
    ("../a", "leads out of the folder"),
    ("top/../../a", "leads out of the folder"),
    ("/etc/a", "is an absolute path"),
    ("\\\\host\\a", "is an absolute path"),
    ("C:/a", "begins with a drive letter"),
    ("c:a", "begins with a drive letter"),
    ("top\\..\\a", "holds a backslash"),
    ("top/a\n", "holds control characters"),
]


@pytest.mark.parametrize(("evil", "told"), EVIL)
@pytest.mark.parametrize("name", FORMATS[:3])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name, evil, told):
    archive = packed(tmp_path / name, {"top/fine.wav": b"x", evil: b"x"})
    message = refused(archive)
    if name == "a.7z" and "\\" in evil:  # the separator is always a slash in a 7z
        evil, told = evil.replace("\\", "/"), ""
    assert f"{evil!r}: {told}" in message and "fine" not in message
    assert not (tmp_path.parent / "a").exists()


def test_all_offenders_are_named_at_once(tmp_path):
    message = refused(packed(tmp_path / "a.zip", {evil: b"x" for evil, _ in EVIL} | {"A": b"", "a": b""}))
    assert all(repr(evil) in message for evil, _ in EVIL) and "'A', 'a': 2 members of one name" in message


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc"}, "symbolic link"),
        ({"type": tarfile.LNKTYPE, "linkname": "top/a"}, "hard link"),
        ({"type": tarfile.CHRTYPE}, "device"),
        ({"type": tarfile.BLKTYPE}, "device"),
        ({"type": tarfile.FIFOTYPE}, "device"),
        ({"type": b"Z"}, "special file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, told):
    assert f"'top/x': is a {told}" in refused(tar_of(tmp_path / "a.tar", ("top/a", {}), ("top/x", kind)))


@pytest.mark.parametrize(("mode", "told"), [(stat.S_IFLNK, "symbolic link"), (stat.S_IFCHR, "device")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode, told):
    entry = zipfile.ZipInfo("top/x")
    entry.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert f"'top/x': is a {told}" in refused(tmp_path / "a.zip")


def test_links_in_a_7z_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("x")
    (tmp_path / "in" / "x").symlink_to("a")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writeall(tmp_path / "in", "top")
    assert "'top/x': is a symbolic link" in refused(tmp_path / "a.7z")


def test_links_of_windows_in_a_7z_are_refused(tmp_path):
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writestr("C:/elsewhere", "top/x")
        archive.header.files_info.files[-1]["attributes"] = stat.FILE_ATTRIBUTE_REPARSE_POINT
    assert "'top/x': is a symbolic link" in refused(tmp_path / "a.7z")


@pytest.mark.parametrize(
    "names", [("top/A.wav", "top/a.wav"), ("top/\u00e9", "top/e\u0301"), ("top/stra\u00dfe", "top/STRASSE")]
)
@pytest.mark.parametrize("name", FORMATS[:3])
def test_members_of_one_name_are_refused(tmp_path, name, names):
    told = refused(packed(tmp_path / name, dict.fromkeys(names, b"x")))
    assert f"{names[0]!r}, {names[1]!r}: 2 members of one name" in told


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", FORMATS[:3])
def test_the_same_member_twice_is_refused(tmp_path, name):
    archive = tmp_path / name
    if name == "a.tar":
        tar_of(archive, ("top/a", {}), ("./top//a", {}))
    elif name == "a.zip":
        with zipfile.ZipFile(archive, "w") as twice:
            twice.writestr("top/a", "x")
            twice.writestr("top/a", "y")
    else:
        with py7zr.SevenZipFile(archive, "w") as twice:
            twice.writestr("x", "top/a")
            twice.writestr("y", "top/a")
    assert "2 members of one name" in refused(archive)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    told = refused(packed(tmp_path / "a.zip", {"top/a": b"", "top/A/b": b""}))
    assert "'top/a'" in told and "'top/A/b'" in told


@pytest.mark.parametrize("name", ["a.7z", "a.zip", "a.tar.xz"])
def test_a_bomb_is_refused(tmp_path, name):
    archive = packed(tmp_path / name, {"top/a": bytes(30_000_000 if name == "a.zip" else 10_000_000)})
    told = refused(archive)
    assert "it would grow to" in told and f"{1000 * archive.stat().st_size} are allowed" in told


@pytest.mark.parametrize("name", FORMATS)
def test_a_limit_is_kept(tmp_path, name):
    archive = packed(tmp_path / name, FILES)
    assert f"it would grow to {len(SOUND) + 11} bytes" in refused(archive, limit_bytes=len(SOUND) + 10)
    assert unpack(archive, tmp_path / "out", limit_bytes=len(SOUND) + 11).bytes == len(SOUND) + 11


@pytest.mark.parametrize("name", ["a.7z", "a.zip", "a.tar.xz"])
def test_an_archive_that_lies_about_its_size_is_stopped(tmp_path, name, monkeypatch):
    archive = packed(tmp_path / name, FILES)
    listing = module._listed_members

    def lying(source, limit):
        members, _ = listing(source, 10**9)
        return [member._replace(bytes=0) for member in members], []

    monkeypatch.setattr(module, "_listed_members", lying)
    assert "100 bytes" in refused(archive, limit_bytes=100)
    assert "declares 0" in refused(archive)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_archive_is_told_plainly(tmp_path, name, share):
    archive = packed(tmp_path / name, FILES)
    whole = archive.read_bytes()
    # An uncompressed tar is filled up with zeros: what is cut off there is not missed.
    length = len(whole) if name != "a.tar" else whole.rstrip(b"\0").__len__()
    archive.write_bytes(whole[: int(share * length)])
    told = refused(archive)
    assert "truncated or damaged" in told and "Remove it" in told


def test_a_tar_cut_between_two_members_is_found_out(tmp_path):
    archive = tar_of(tmp_path / "a.tar", ("top/a", {}), ("top/b", {}))
    archive.write_bytes(archive.read_bytes()[: tarfile.BLOCKSIZE])
    assert "its end is missing" in refused(archive)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "a.tar"])
def test_damaged_bytes_are_told_plainly(tmp_path, name, seed):
    archive = packed(tmp_path / name, FILES)
    damaged, chance = bytearray(archive.read_bytes()), random.Random(seed)
    for _ in range(30):
        damaged[chance.randrange(6, len(damaged))] ^= chance.randrange(1, 256)
    archive.write_bytes(damaged)
    refused(archive)


@pytest.mark.parametrize("content", [b"", b"<html>Log in</html>", b"file_name,caption_1\n"])
def test_what_is_no_archive_is_told_plainly(tmp_path, content):
    (tmp_path / "a.7z").write_bytes(content)
    assert "7z, zip or tar" in refused(tmp_path / "a.7z")


@pytest.mark.parametrize("name", ["a.7z", "a.zip", "a.tar"])
def test_an_archive_without_files_is_refused(tmp_path, name):
    assert "holds no files" in refused(packed(tmp_path / name, {".DS_Store": b"x"}))


def test_an_archive_that_is_not_there_is_named(tmp_path):
    assert "No such file" in refused(tmp_path / "a.7z")


@pytest.mark.parametrize("header", [True, False])
def test_an_encrypted_7z_is_told_plainly(tmp_path, header):
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w", password="secret", header_encryption=header) as archive:
        archive.writestr("x", "top/a")
    assert "is encrypted" in refused(tmp_path / "a.7z")


def test_an_encrypted_zip_is_told_plainly(tmp_path):
    raw = bytearray(packed(tmp_path / "a.zip", {"top/a": b"x"}).read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    assert "is encrypted" in refused(tmp_path / "a.zip")


def test_a_method_that_is_not_known_is_told_plainly(tmp_path):
    raw = bytearray(packed(tmp_path / "a.zip", {"top/a": b"x"}).read_bytes())
    raw[raw.index(b"PK\x01\x02") + 10] = raw[8] = 97
    (tmp_path / "a.zip").write_bytes(raw)
    assert "method" in refused(tmp_path / "a.zip")


def test_a_folder_that_is_there_is_not_touched(tmp_path):
    archive = packed(tmp_path / "a.zip", FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    assert "is there already" in refused(archive)
    assert tree(tmp_path / "out") == {"mine": b"x"}


@pytest.mark.parametrize("name", FORMATS[:3])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, OSError(ENOSPC, "No space left on device")])
def test_a_failure_on_the_way_leaves_nothing(tmp_path, name, failure, monkeypatch):
    archive = packed(tmp_path / name, FILES)
    count = module._Meter.count

    def fails(meter, data):
        if meter.bytes:
            raise failure
        count(meter, data)

    monkeypatch.setattr(module._Meter, "count", fails)
    expected = EarwitnessError if isinstance(failure, OSError) else failure
    with pytest.raises(expected, match="The disk is full" if isinstance(failure, OSError) else None):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    (tmp_path / ".out.unpacking" / "half").mkdir(parents=True)
    (tmp_path / ".out.lock").touch()
    unpack(packed(tmp_path / "a.zip", FILES), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]
    assert "half" not in tree(tmp_path / "out") and not (tmp_path / "out" / "half").exists()


def test_a_disk_without_room_is_told_beforehand(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 90, 10))
    told = refused(packed(tmp_path / "a.zip", FILES))
    assert f"needs {len(SOUND) + 11} bytes" in told and "only 10 are free" in told


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.7z", "a"), ("a.b.TAR.GZ", "a.b"), ("a.tgz", "a"), ("a.gz", None), ("a.csv", None), (".zip", None)],
)
def test_an_archive_is_told_by_its_ending(name, stem):
    assert archive_stem(name) == stem


def test_a_bad_checksum_in_a_tar_is_found_out(tmp_path):
    archive = packed(tmp_path / "a.tar.bz2", FILES)
    content = bz2.decompress(archive.read_bytes())
    archive.write_bytes(bz2.compress(content)[:-3])
    assert "truncated or damaged" in refused(archive)
