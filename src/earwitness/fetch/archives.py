"""Unpacks 7z, zip and tar archives of unknown origin: whole or not at all, and into the given folder only.

What an archive lists is checked before a byte is written; what it turns out to hold is counted while it is unpacked.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import sys
import tarfile
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import py7zr
from tqdm import tqdm

from earwitness.errors import EarwitnessError, listed, report_full_disk
from earwitness.lock import hold

SUFFIXES = (".7z", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
EXPANSION = 1000  # times its size is what an archive may hold; recordings hardly shrink to a third
CHUNK = 1 << 20  # bytes

FILE, FOLDER = "file", "folder"  # any other kind of member is refused under its name

_KINDS = {
    0: FILE,
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFLNK: "symbolic link",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
}
_SPECIAL = "special file"
_NO_TRUST = "Nothing was unpacked. Do not trust this archive; check whether it is the one you meant to have."


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was written: files, their bytes, and the members of macOS that were left out."""

    files: int
    bytes: int
    left_out: tuple[str, ...]


class _Member(NamedTuple):
    """One entry as an archive lists it; ``number`` counts from 0, ``bytes`` is the size declared."""

    number: int
    name: str
    kind: str
    bytes: int


def archive_stem(name: str) -> str | None:
    """A file's name without its ending where that is an archive's, else None."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return None


def unpack(
    archive: str | os.PathLike, into: str | os.PathLike, *, strip: bool = True, limit_bytes: int | None = None
) -> Unpacked:
    """Unpack an archive, whose format is found from its contents, to a folder ``into`` that must not exist.

    With ``strip``, a top folder that holds everything is left out. ``into`` is whole or absent; files get plain modes.
    Raises one EarwitnessError, with nothing written, that names every member that would leave the folder, is a link or
    a device or shares its name with another; and when the archive is damaged or encrypted, would grow beyond EXPANSION
    times its size or ``limit_bytes``, or does not fit on the disk.
    """
    archive, into = Path(archive), Path(into)
    if os.path.lexists(into):
        raise EarwitnessError(f"{into} is there already; move it away to have {archive} unpacked there.")
    try:
        limit = EXPANSION * archive.stat().st_size
    except OSError as error:
        raise EarwitnessError(f"{archive} cannot be read ({error.strerror}).") from error
    limit = limit if limit_bytes is None else min(limit, limit_bytes)
    hidden = into.with_name(f".{into.name}.unpacking").absolute()
    busy = f"{into} is being unpacked by another process; wait for it, or stop it."
    with (
        hold(into.with_name(f".{into.name}.lock"), busy),
        _damage_is_plain(archive),
        report_full_disk(into),
        archive.open("rb") as file,
        _opened(archive, file) as source,
    ):
        members, problems = _listed_members(source, limit)
        left_out = tuple(member.name for member in members if _is_of_macos(member.name))
        members = [member for member in members if not _is_of_macos(member.name)]
        _require_safe(archive, members, problems)
        places = {number: hidden / path for number, path in _paths(members, strip).items()}
        declared, free = sum(member.bytes for member in members), shutil.disk_usage(into.parent).free
        if declared > free:
            raise EarwitnessError(
                f"{archive} needs {declared} bytes to be unpacked to {into}, but only {free} are free on that disk. "
                "Free some space and run the same command again."
            )
        try:
            shutil.rmtree(hidden, ignore_errors=True)  # what a killed process left behind
            for member in members:
                folder = places[member.number] if member.kind == FOLDER else places[member.number].parent
                folder.mkdir(parents=True, exist_ok=True)
            files = {member.number: places[member.number] for member in members if member.kind == FILE}
            name = f"Unpacking {archive.name}"
            with tqdm(total=declared, desc=name, unit="B", unit_scale=True, file=sys.stderr) as bar:
                meter = _Meter(archive, limit, bar)
                source.write(files, meter, hidden)
            if meter.bytes != declared:
                raise _damaged(archive, f"it holds {meter.bytes} bytes, but declares {declared}")
            hidden.rename(into)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    return Unpacked(len(files), meter.bytes, left_out)


@contextmanager
def _damage_is_plain(archive: Path) -> Iterator[None]:
    """Turn whatever the readers of the formats raise into a message."""
    try:
        yield
    except (EarwitnessError, MemoryError):
        raise
    except py7zr.PasswordRequired as error:
        raise _encrypted(archive) from error
    except (py7zr.exceptions.UnsupportedCompressionMethodError, NotImplementedError) as error:
        advice = "Unpack it with another program and pack it anew as zip."
        raise EarwitnessError(f"{archive} is packed by a method that is not supported ({error}). {advice}") from error
    except Exception as error:
        # On damaged bytes the readers raise nearly anything: struct.error, EOFError, IndexError, AssertionError, ...
        if isinstance(error, OSError) and error.errno is not None:
            raise EarwitnessError(f"{archive} could not be unpacked: {error}.") from error
        reason = str(error) or type(error).__name__
        if isinstance(error, py7zr.exceptions.CrcError):
            reason = f"the checksum of {error.filename!r} is wrong"
        raise _damaged(archive, reason) from error


def _damaged(archive: Path, reason: str) -> EarwitnessError:
    advice = "most likely its download was interrupted. Remove it and run the same command again."
    return EarwitnessError(f"{archive} is truncated or damaged ({reason}); {advice}")


def _encrypted(archive: Path) -> EarwitnessError:
    return EarwitnessError(f"{archive} is encrypted. Unpack it by hand with its password.")


class _Archive:
    """One format: ``opened`` is what its library reads, ``entries`` the members as the library lists them."""

    def __init__(self, archive: Path, opened: Any):
        self.archive, self.opened = archive, opened
        self.entries: list = []

    def members(self) -> Iterator[_Member]:
        """The members, in order; EarwitnessError where their contents cannot be read at all."""
        raise NotImplementedError

    def open(self, entry: Any) -> BinaryIO:
        """The contents of a member."""
        return self.opened.open(entry)

    def write(self, places: dict[int, Path], meter: _Meter, root: Path) -> None:
        """Write the members of these numbers to these paths, which lie below ``root`` in folders that exist."""
        for number, path in places.items():
            with self.open(self.entries[number]) as source, _Writer(path, meter) as out:
                shutil.copyfileobj(source, out, CHUNK)


class _SevenZip(_Archive):
    def members(self) -> Iterator[_Member]:
        if self.opened.needs_password():
            raise _encrypted(self.archive)
        self.entries = list(self.opened.files)
        for number, entry in enumerate(self.entries):
            kind = FOLDER if entry.is_directory else _KINDS.get(entry.st_fmt or 0, _SPECIAL)
            kind = "symbolic link" if entry.is_symlink or entry.is_junction else kind
            yield _Member(number, entry.filename, kind, entry.uncompressed)

    def write(self, places: dict[int, Path], meter: _Meter, root: Path) -> None:
        by_name = {self.entries[number].filename: path for number, path in places.items()}
        # py7zr asks for a file by its name below the folder to extract to, the top folder included.
        factory = _Factory({(root / name).as_posix(): path for name, path in by_name.items()}, meter)
        try:
            self.opened.extract(root, targets=list(by_name), factory=factory)
        finally:
            factory.close()


class _Zip(_Archive):
    def members(self) -> Iterator[_Member]:
        self.entries = self.opened.infolist()
        if any(entry.flag_bits & 1 for entry in self.entries):
            raise _encrypted(self.archive)
        for number, entry in enumerate(self.entries):
            kind = _KINDS.get(stat.S_IFMT(entry.external_attr >> 16), _SPECIAL)
            yield _Member(number, entry.filename, FOLDER if entry.is_dir() else kind, entry.file_size)


class _Tar(_Archive):
    def members(self) -> Iterator[_Member]:
        for number, entry in enumerate(self.opened):
            self.entries.append(entry)
            kinds = {FILE: entry.isreg(), FOLDER: entry.isdir(), "symbolic link": entry.issym()}
            kinds |= {"hard link": entry.islnk(), "device": entry.isdev()}
            yield _Member(number, entry.name, next((kind for kind, it in kinds.items() if it), _SPECIAL), entry.size)
        # tarfile takes a header that is cut or damaged for the end; only blocks of zeros are one.
        self.opened.fileobj.seek(self.opened.offset)
        end = self.opened.fileobj.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE or any(end):
            raise _damaged(self.archive, "its end is missing")
        while self.opened.fileobj.read(CHUNK):
            pass  # the checksum of a compressed tar stands at its very end

    def open(self, entry: Any) -> BinaryIO:
        return self.opened.extractfile(entry)


@contextmanager
def _opened(archive: Path, file: BinaryIO) -> Iterator[_Archive]:
    """The archive in its format, found from the first bytes."""
    form: type[_Archive]
    library: Any
    head = file.read(6)
    file.seek(0)
    if head == b"7z\xbc\xaf\x27\x1c":
        form, library = _SevenZip, py7zr.SevenZipFile(file)
    elif head[:2] == b"PK":
        form, library = _Zip, zipfile.ZipFile(file)
    else:
        try:
            form, library = _Tar, tarfile.TarFile.open(fileobj=file, mode="r:*")
        except tarfile.ReadError as error:
            raise _damaged(archive, "it is no 7z, zip or tar archive") from error
    with library as opened:
        yield form(archive, opened)


def _listed_members(source: _Archive, limit: int) -> tuple[list[_Member], list[str]]:
    """The members, and a problem where they are declared to be more than ``limit`` bytes.

    Listing stops there: in a compressed tar it costs as much as unpacking.
    """
    members, total = [], 0
    for member in tqdm(source.members(), desc="Listing", unit=" members", delay=2, leave=False, file=sys.stderr):
        members.append(member)
        total += member.bytes
        if total > limit:
            return members, [f"it would grow to {total} bytes or more; {limit} are allowed for an archive of its size"]
    return members, []


def _is_of_macos(name: str) -> bool:
    """Whether macOS added a member: resource forks and the Finder's notes."""
    parts = [part for part in name.split("/") if part]
    return "__MACOSX" in parts[:1] or any(part.startswith("._") or part == ".DS_Store" for part in parts[-1:])


def _require_safe(archive: Path, members: list[_Member], problems: list[str]) -> None:
    """Raise one EarwitnessError with all that forbids unpacking."""
    unsafe, clashes = [*_unsafe(members), *problems], list(_clashes(members))
    if unsafe:
        raise EarwitnessError(listed(f"{archive} cannot be unpacked:", [*unsafe, *clashes], _NO_TRUST))
    if clashes:
        advice = "Nothing was unpacked. Not every disk can hold such names beside each other: pack it anew."
        raise EarwitnessError(listed(f"{archive} cannot be unpacked:", clashes, advice))
    if not any(member.kind == FILE for member in members):
        raise EarwitnessError(f"{archive} holds no files. Check whether it is the one you meant to have.")


def _unsafe(members: list[_Member]) -> Iterator[str]:
    """What leaves the folder or is neither a file nor a folder."""
    for member in members:
        name = member.name
        reasons = {
            "is an absolute path": name.startswith(("/", "\\")),
            "begins with a drive letter": re.match(r"[A-Za-z]:", name),
            "holds a backslash": "\\" in name,
            "leads out of the folder (..)": ".." in name.split("/"),
            "holds control characters": any(unicodedata.category(character) == "Cc" for character in name),
            "is no name for a file": member.kind == FILE and not PurePosixPath(name).parts,
        }
        if reason := next((reason for reason, applies in reasons.items() if applies), None):
            yield f"{name!r}: {reason}"
        if member.kind not in (FILE, FOLDER):
            yield f"{name!r}: is a {member.kind}"


def _clashes(members: list[_Member]) -> Iterator[str]:
    """Members that would become one file, on some file system at least: case and Unicode form do not count."""
    files, folders = defaultdict(list), dict[PurePosixPath, str]()
    for member in members:
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", member.name).casefold())
        path = PurePosixPath(folded)
        if member.kind == FOLDER:
            folders.setdefault(path, member.name)
        else:
            files[path].append(member.name)
        for parent in path.parents:
            folders.setdefault(parent, member.name)
    for path, names in files.items():
        if len(names) > 1:
            yield f"{', '.join(map(repr, names))}: {len(names)} members of one name"
        if path in folders:
            yield f"{names[0]!r}: is a file, but {folders[path]!r} needs a folder of that name"


def _paths(members: list[_Member], strip: bool) -> dict[int, PurePosixPath]:
    """Where each member goes; without the top folder where all lie in one and ``strip`` is set."""
    paths = {member.number: PurePosixPath(member.name) for member in members}
    tops = {path.parts[:1] for path in paths.values() if path.parts}
    nested = all(len(paths[member.number].parts) > 1 for member in members if member.kind == FILE)
    if strip and len(tops) == 1 and nested:
        return {number: PurePosixPath(*path.parts[1:]) for number, path in paths.items()}
    return paths


class _Meter:
    """Counts what is written, and stops an archive that holds more than it may, whatever it declares."""

    def __init__(self, archive: Path, limit: int, bar: tqdm):
        self._archive, self._limit, self._bar = archive, limit, bar
        self.bytes = 0

    def count(self, data: bytes) -> None:
        self.bytes += len(data)
        self._bar.update(len(data))
        if self.bytes > self._limit:
            allowed = f"the {self._limit} bytes allowed for an archive of its size"
            raise EarwitnessError(f"{self._archive} holds more than {allowed}. {_NO_TRUST}")


class _Writer(io.BufferedWriter, py7zr.Py7zIO):
    """One new file, whose bytes are counted; py7zr also wants to know its size."""

    def __init__(self, path: Path, meter: _Meter):
        super().__init__(io.FileIO(path, "xb"))
        self.meter = meter

    def write(self, data: Any) -> int:
        self.meter.count(data)
        return super().write(data)

    def size(self) -> int:
        return self.tell()


class _Factory(py7zr.WriterFactory):
    """Opens the files that py7zr writes, one after the other."""

    def __init__(self, places: dict[str, Path], meter: _Meter):
        self._places, self._meter = places, meter
        self._last: _Writer | None = None

    def create(self, filename: str) -> py7zr.Py7zIO:
        self.close()
        self._last = _Writer(self._places[filename], self._meter)
        return self._last

    def close(self) -> None:
        if self._last is not None:
            self._last.close()
