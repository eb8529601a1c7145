"""Unpacks 7z, zip and tar archives of unknown origin: whole or not at all, and nowhere but where they are told to.

What an archive lists is judged before a byte is written; what it turns out to hold is counted while it is unpacked.
"""

from __future__ import annotations

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
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol

import py7zr
from tqdm import tqdm

from earwitness.errors import EarwitnessError, listed, report_full_disk
from earwitness.lock import hold

SUFFIXES = (".7z", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
EXPANSION = 1000  # times its own size is what an archive may hold; recordings hardly shrink to a third
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


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was written: files, their bytes, and the members left out as leavings of macOS."""

    files: int
    bytes: int
    left_out: tuple[str, ...]


class _Member(NamedTuple):
    """One entry as an archive lists it; ``number`` counts from 0, ``bytes`` is the size declared."""

    number: int
    name: str
    kind: str
    bytes: int


class _Archive(Protocol):
    """What is needed of a format."""

    def members(self) -> Iterator[_Member]:
        """The entries, and EarwitnessError where their contents cannot be had at all."""

    def write(self, places: dict[int, Path], meter: _Meter, root: Path) -> None:
        """Write the members of these numbers to these paths, which lie below ``root`` in folders that exist."""


@dataclass(frozen=True)
class _Plan:
    """Where the files of an archive go, relative to its place, the folders it lists, and the bytes declared."""

    files: dict[int, PurePosixPath]
    folders: list[PurePosixPath]
    bytes: int
    left_out: tuple[str, ...]


def archive_stem(name: str) -> str | None:
    """A file's name without its ending where that is an archive's, else None."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return None


def unpack(
    archive: str | os.PathLike, into: str | os.PathLike, *, strip: bool = True, limit_bytes: int | None = None
) -> Unpacked:
    """Unpack an archive, whose format is told by its contents, to a folder ``into`` that must not exist.

    With ``strip``, a top folder that holds everything is left out. ``into`` is whole or absent; files get plain modes.
    Raises one EarwitnessError, with nothing written, that names every member that would leave the folder, is a link or
    a device or shares its name with another; and when the archive is damaged or encrypted, would grow beyond EXPANSION
    times its size or ``limit_bytes``, or does not fit on the disk.
    """
    archive, into = Path(archive), Path(into)
    if os.path.lexists(into):
        raise EarwitnessError(f"{into} is there already; move it away to have {archive} unpacked there.")
    hidden = into.with_name(f".{into.name}.unpacking").absolute()
    limit = _limit(archive, limit_bytes)
    busy = f"{into} is being unpacked by another process; wait for it, or stop it."
    with (
        hold(into.with_name(f".{into.name}.lock"), busy),
        _damage_is_plain(archive),
        report_full_disk(into),
        _opened(archive) as source,
    ):
        plan = _plan(archive, source, strip, limit)
        _require_room(archive, into, plan.bytes)
        try:
            _clear(hidden)
            written = _write(archive, source, plan, hidden, limit)
            hidden.rename(into)
        finally:
            _clear(hidden)
    return Unpacked(len(plan.files), written, plan.left_out)


def _limit(archive: Path, limit_bytes: int | None) -> int:
    try:
        limit = EXPANSION * archive.stat().st_size
    except OSError as error:
        raise EarwitnessError(f"{archive} cannot be read ({error.strerror}).") from error
    return limit if limit_bytes is None else min(limit, limit_bytes)


def _clear(folder: Path) -> None:
    """Remove what a killed process, or this one, left behind."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _damage_is_plain(archive: Path) -> Iterator[None]:
    """Turn whatever the readers of the formats raise into a message."""
    try:
        yield
    except (EarwitnessError, MemoryError):
        raise
    except (py7zr.exceptions.UnsupportedCompressionMethodError, NotImplementedError) as error:
        advice = "Unpack it with another program and pack it anew as zip."
        raise EarwitnessError(
            f"{archive} is packed by a method that cannot be read here ({error}). {advice}"
        ) from error
    except Exception as error:
        # On damaged bytes the readers raise nearly anything: struct.error, EOFError, IndexError, AssertionError, ...
        if isinstance(error, OSError) and error.errno is not None:
            raise EarwitnessError(f"{archive} could not be unpacked: {error}.") from error
        raise EarwitnessError(_damaged(archive, _reason(error))) from error


def _reason(error: Exception) -> str:
    if isinstance(error, py7zr.exceptions.CrcError):
        return f"the checksum of {error.filename!r} is wrong"
    return str(error) or type(error).__name__


def _damaged(archive: Path, reason: str) -> str:
    advice = "most likely its download was interrupted. Remove it and run the same command again."
    return f"{archive} is truncated or damaged ({reason}); {advice}"


@contextmanager
def _opened(archive: Path) -> Iterator[_Archive]:
    """The archive in its format, which the first bytes tell."""
    with archive.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        if head == b"7z\xbc\xaf\x27\x1c":
            with _seven_zip(archive, file) as seven:
                yield _SevenZip(seven)
        elif head[:2] == b"PK":
            with zipfile.ZipFile(file) as zipped:
                yield _Zip(archive, zipped)
        else:
            with _tar(archive, file) as tar:
                yield _Tar(archive, tar)


def _encrypted(archive: Path) -> EarwitnessError:
    return EarwitnessError(f"{archive} is encrypted. Unpack it by hand with its password.")


def _seven_zip(archive: Path, file: BinaryIO) -> AbstractContextManager[py7zr.SevenZipFile]:
    try:
        seven = py7zr.SevenZipFile(file)
    except py7zr.PasswordRequired as error:
        raise _encrypted(archive) from error
    if seven.needs_password():
        raise _encrypted(archive)
    return seven


def _tar(archive: Path, file: BinaryIO) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:*")
    except tarfile.ReadError as error:
        raise EarwitnessError(_damaged(archive, "it is no 7z, zip or tar archive")) from error


class _SevenZip:
    def __init__(self, seven: py7zr.SevenZipFile):
        self._seven = seven

    def members(self) -> Iterator[_Member]:
        for number, entry in enumerate(self._seven.files):
            yield _Member(number, entry.filename, self._kind(entry), entry.uncompressed)

    @staticmethod
    def _kind(entry) -> str:
        if entry.is_symlink or entry.is_junction:
            return "symbolic link"
        return FOLDER if entry.is_directory else _KINDS.get(entry.st_fmt or 0, _SPECIAL)

    def write(self, places: dict[int, Path], meter: _Meter, root: Path) -> None:
        by_name = {self._seven.files[number].filename: path for number, path in places.items()}
        # py7zr asks for a file by its name below the folder it is told, the top folder included.
        factory = _Factory({(root / name).as_posix(): path for name, path in by_name.items()}, meter)
        try:
            self._seven.extract(root, targets=list(by_name), factory=factory)
        finally:
            factory.close()


class _Zip:
    def __init__(self, archive: Path, zipped: zipfile.ZipFile):
        self._zip = zipped
        self._entries = zipped.infolist()
        if any(entry.flag_bits & 1 for entry in self._entries):
            raise _encrypted(archive)

    def members(self) -> Iterator[_Member]:
        for number, entry in enumerate(self._entries):
            kind = _KINDS.get(stat.S_IFMT(entry.external_attr >> 16), _SPECIAL)
            yield _Member(number, entry.filename, FOLDER if entry.is_dir() else kind, entry.file_size)

    def write(self, places: dict[int, Path], meter: _Meter, root: Path) -> None:
        for number, path in places.items():
            with self._zip.open(self._entries[number]) as source:
                meter.copy(source, path)


class _Tar:
    def __init__(self, archive: Path, tar: tarfile.TarFile):
        self._archive, self._tar = archive, tar
        self._entries: list[tarfile.TarInfo] = []

    def members(self) -> Iterator[_Member]:
        for number, entry in enumerate(self._tar):
            self._entries.append(entry)
            yield _Member(number, entry.name, self._kind(entry), entry.size)
        # tarfile takes a header that is cut or spoilt for the end; only blocks of zeros are one.
        self._tar.fileobj.seek(self._tar.offset)
        end = self._tar.fileobj.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE or any(end):
            raise EarwitnessError(_damaged(self._archive, "its end is missing"))
        while self._tar.fileobj.read(CHUNK):
            pass  # the checksum of a compressed tar stands at its very end

    @staticmethod
    def _kind(entry: tarfile.TarInfo) -> str:
        if entry.isreg() or entry.isdir():
            return FILE if entry.isreg() else FOLDER
        if entry.issym() or entry.islnk():
            return "symbolic link" if entry.issym() else "hard link"
        return "device" if entry.isdev() else _SPECIAL

    def write(self, places: dict[int, Path], meter: _Meter, root: Path) -> None:
        for number, path in places.items():
            with self._tar.extractfile(self._entries[number]) as source:
                meter.copy(source, path)


def _plan(archive: Path, source: _Archive, strip: bool, limit: int) -> _Plan:
    """Where everything goes; one EarwitnessError with all that forbids to unpack."""
    members, problems = _listed_members(source, limit)
    left_out = tuple(member.name for member in members if _is_leaving(member.name))
    members = [member for member in members if not _is_leaving(member.name)]
    unsafe, clashes = [*_unsafe(members), *problems], list(_clashes(members))
    if problems := [*unsafe, *clashes]:
        advice = "Nothing was unpacked. Do not trust this archive; look whether it is the one you meant to have."
        if not unsafe:
            advice = "Nothing was unpacked. Not every disk can hold such names beside each other: pack it anew."
        raise EarwitnessError(listed(f"{archive} cannot be unpacked:", problems, advice))
    paths = {member.number: PurePosixPath(member.name) for member in members}
    if not any(member.kind == FILE for member in members):
        raise EarwitnessError(f"{archive} holds no files. Look whether it is the one you meant to have.")
    files = {member.number: paths[member.number] for member in members if member.kind == FILE}
    folders = [paths[member.number] for member in members if member.kind == FOLDER]
    if (
        strip
        and len({path.parts[:1] for path in paths.values() if path.parts}) == 1
        and all(len(path.parts) > 1 for path in files.values())
    ):
        files = {number: PurePosixPath(*path.parts[1:]) for number, path in files.items()}
        folders = [PurePosixPath(*path.parts[1:]) for path in folders]
    return _Plan(files, folders, sum(member.bytes for member in members), left_out)


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


def _is_leaving(name: str) -> bool:
    """Whether a member is what macOS adds of its own: resource forks and the Finder's notes."""
    parts = [part for part in name.split("/") if part]
    return "__MACOSX" in parts[:1] or any(part.startswith("._") or part == ".DS_Store" for part in parts[-1:])


def _unsafe(members: list[_Member]) -> Iterator[str]:
    """What leaves the folder or is neither a file nor a folder."""
    for member in members:
        if reason := _why_unsafe(member.name):
            yield f"{member.name!r}: {reason}"
        elif member.kind == FILE and not PurePosixPath(member.name).parts:
            yield f"{member.name!r}: is no name for a file"
        if member.kind not in (FILE, FOLDER):
            yield f"{member.name!r}: is a {member.kind}"


def _why_unsafe(name: str) -> str:
    if name.startswith(("/", "\\")):
        return "is an absolute path"
    if re.match(r"[A-Za-z]:", name):
        return "begins with a drive letter"
    if "\\" in name:
        return "holds a backslash"
    if ".." in name.split("/"):
        return "leads out of the folder (..)"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "holds control characters"
    return ""


def _clashes(members: list[_Member]) -> Iterator[str]:
    """Members that would become one file, on some file system at least: case and Unicode form do not count."""
    files, folders = defaultdict(list), {}
    for member in members:
        path = PurePosixPath(_folded(member.name))
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


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _require_room(archive: Path, into: Path, needed: int) -> None:
    free = shutil.disk_usage(into.parent).free
    if needed > free:
        raise EarwitnessError(
            f"{archive} needs {needed} bytes to be unpacked to {into}, but only {free} are free on that disk. "
            "Free some space and run the same command again."
        )


def _write(archive: Path, source: _Archive, plan: _Plan, hidden: Path, limit: int) -> int:
    """Write everything below ``hidden``; returns the bytes written."""
    places = {number: hidden / path for number, path in plan.files.items()}
    for folder in {hidden, *(hidden / folder for folder in plan.folders), *(path.parent for path in places.values())}:
        folder.mkdir(parents=True, exist_ok=True)
    with tqdm(total=plan.bytes, desc=f"Unpacking {archive.name}", unit="B", unit_scale=True, file=sys.stderr) as bar:
        meter = _Meter(archive, limit, bar)
        source.write(places, meter, hidden)
    if meter.bytes != plan.bytes:
        raise EarwitnessError(_damaged(archive, f"it holds {meter.bytes} bytes, but declares {plan.bytes}"))
    return meter.bytes


class _Meter:
    """Counts what is written, and stops an archive that holds more than it may, whatever it declares."""

    def __init__(self, archive: Path, limit: int, bar: tqdm):
        self._archive, self._limit, self._bar = archive, limit, bar
        self.bytes = 0

    def copy(self, source: BinaryIO, to: Path) -> None:
        """Write a new file, from the beginning of ``source`` to its end."""
        with to.open("xb") as out:
            while data := source.read(CHUNK):
                self.write(out, data)

    def write(self, out: BinaryIO, data: bytes) -> None:
        self.bytes += len(data)
        if self.bytes > self._limit:
            raise EarwitnessError(
                f"{self._archive} holds more than the {self._limit} bytes allowed for an archive of its size. Nothing "
                "was kept. Do not trust this archive; look whether it is the one you meant to have."
            )
        out.write(data)
        self._bar.update(len(data))


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


class _Writer(py7zr.Py7zIO):
    """One new file, as py7zr wants it: everything but writing and closing is of no use on the way out."""

    def __init__(self, path: Path, meter: _Meter):
        self._out, self._meter = path.open("xb"), meter

    def write(self, s: bytes | bytearray) -> int:
        self._meter.write(self._out, s)
        return len(s)

    def close(self) -> None:
        self._out.close()

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        self._out.flush()

    def size(self) -> int:
        return self._out.tell()
