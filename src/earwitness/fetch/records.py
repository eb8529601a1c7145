"""The published records that Earwitness can fetch, and the fetching: checked, resumed, and written down.

A record lands in a folder of its own. In it, ``.fetch`` holds archives and parts on their way, and ``.fetched`` what is
known of each file that is there, so that nothing is brought twice; ``fetched.json`` is written last. The modules that
download and unpack are loaded on use: those who only look up a record need not wait for them.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.files import provenance, read_json, sha256, write_json
from earwitness.lock import hold

if TYPE_CHECKING:
    from earwitness.fetch.download import Downloaded

SCHEMA = 1
FETCHED = "fetched.json"
WORK, STATES = ".fetch", ".fetched"
BOOK = Path("resources/digests.json")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of a record; ``into`` is the folder that an archive is unpacked to, None for a file kept as it is."""

    name: str
    md5: str | None = None
    bytes: int | None = None
    into: str | None = None

    @property
    def place(self) -> str:
        """What stands in the data set's folder in the end."""
        return self.into or self.name


@dataclass(frozen=True, slots=True)
class Record:
    """A published data set. ``files`` None: Zenodo is asked for them, and they are not held to a published digest.

    ``unpacked_bytes`` is an estimate, good for looking whether the disk has room.
    """

    name: str
    title: str
    url: str  # of the page that people see; Zenodo's programming interface is found from it
    doi: str
    files: tuple[PublishedFile, ...] | None
    unpacked_bytes: int | None


_CLOTHO_FILES = (
    PublishedFile("clotho_audio_development.7z", "c8b05bc7acdb13895bb3c6a29608667e", 4541582263, "development"),
    PublishedFile("clotho_audio_validation.7z", "7dba730be08bada48bd15dc4e668df59", 1260701425, "validation"),
    PublishedFile("clotho_audio_evaluation.7z", "4569624ccadf96223f19cb59fe4f849f", None, "evaluation"),
    PublishedFile("clotho_captions_development.csv", "d4090b39ce9f2491908eebf4d5b09bae", 1336762),
    PublishedFile("clotho_captions_validation.csv", "5879e023032b22a2c930aaa0528bead4", 367649),
    PublishedFile("clotho_captions_evaluation.csv", "1b16b9e57cf7bdb7f13a13802aeb57e2"),
    PublishedFile("clotho_metadata_development.csv", "170d20935ecfdf161ce1bb154118cda5", 830797),
    PublishedFile("clotho_metadata_validation.csv", "2e010427c56b1ce6008b0f03f41048ce", 224803),
    PublishedFile("clotho_metadata_evaluation.csv", "13946f054d4e1bf48079813aac61bf77"),
)

_CLOTHO = Record(
    name="clotho-2.1",
    title="Clotho 2.1",
    url="https://zenodo.org/records/4783391",
    doi="10.5281/zenodo.4783391",
    files=_CLOTHO_FILES,
    # 3839 + 1045 + 1045 clips of 15 to 30 s, taken as 22.5 s each, at 44100 samples a second of 2 bytes, mono: 11.8 GB,
    # of which the archives of development and validation (3839 + 1045 clips) would be 0.6.
    unpacked_bytes=(3839 + 1045 + 1045) * 45 // 2 * 44100 * 2,
)

_AUDIOGROUNDING = Record(
    name="audiogrounding-2",
    title="AudioGrounding v2",
    url="https://zenodo.org/records/7269161",
    doi="10.5281/zenodo.7269161",
    files=None,
    unpacked_bytes=None,
)

RECORDS = {record.name: record for record in (_CLOTHO, _AUDIOGROUNDING)}


def fetch(record: Record, root: str | os.PathLike, mirror: str | None = None, book: str | os.PathLike = BOOK) -> None:
    """Bring all files of a record into ``root``, archives unpacked, and write ``root/fetched.json`` last.

    What is there is not brought again; a file put by hand into ``root`` or ``root/.fetch`` is checked and taken.
    ``mirror`` is an address or a folder where the files lie under their names; of a record without a list of its own,
    a folder tells the list too. Published digests are enforced wherever a file comes from. A file without one is held
    to the sha256 that ``book`` has of it from the first time, and is marked as not verified.

    Raises EarwitnessError when something cannot be brought or is not what it should be, when the disk has no room, when
    ``root`` holds folders that were not fetched, and while another process fetches to ``root``; MismatchError when
    another record was fetched there.
    """
    root = Path(root)
    if root.exists() and not root.is_dir():
        raise EarwitnessError(f"{root} is to be the folder of {record.title}, but is a file. Name another folder.")
    with hold(root / f"{WORK}.lock", f"{root} is being fetched by another process; wait for it, or stop it."):
        _Fetching(record, root, mirror, Path(book)).run()


class _Fetching:
    """One record on its way to one folder."""

    def __init__(self, record: Record, root: Path, mirror: str | None, book: Path):
        self.record, self.root, self.mirror, self.book = record, root, mirror, book
        self.work, self.states = root / WORK, root / STATES

    def run(self) -> None:
        written = self._written()
        files = self._files()
        self._refuse_what_is_not_ours(files)
        self._require_room(files)
        entries = [self._known(file) or self._bring(file) for file in files]
        shutil.rmtree(self.work, ignore_errors=True)
        if written.get("files") == entries:
            return
        settings = {"record": self.record.name, "doi": self.record.doi}
        content = {
            "schema": SCHEMA,
            "record": self.record.name,
            "title": self.record.title,
            "doi": self.record.doi,
            "url": self.record.url,
            "files": entries,
            "provenance": provenance("fetch", **settings),
        }
        write_json(self.root / FETCHED, content)
        verified = sum(entry["verified"] for entry in entries)
        told = f"{len(entries)} files, {verified} of them as published by their digests"
        print(f"{self.record.title} is in {self.root}: {told}", file=sys.stderr)

    def _written(self) -> dict[str, Any]:
        """What an earlier run wrote when it was done; empty before that."""
        path = self.root / FETCHED
        if not path.exists():
            return {}
        content = read_json(path)
        name = content.get("record") if isinstance(content, dict) else None
        if name != self.record.name:
            raise MismatchError(
                f"{path} is of {name!r}, not of {self.record.name!r}. Fetch each record to its own folder."
            )
        return content

    def _files(self) -> tuple[PublishedFile, ...]:
        from earwitness.fetch.download import download, local_path

        if self.record.files is not None:
            return self.record.files
        if self.mirror is not None and (folder := local_path(self.mirror)) is not None:
            files, where = _lying_in(folder), str(folder)
        else:
            told = self.states / ".record.json"
            if not told.exists():
                download(_interface(self.record), told)
            files, where = _told_by_zenodo(told), str(told)
        if problems := list(_unfit(files)):
            raise EarwitnessError(
                listed(f"Files of {self.record.title}, by {where}, that cannot be fetched:", problems)
            )
        return files

    def _refuse_what_is_not_ours(self, files: tuple[PublishedFile, ...]) -> None:
        """Folders are known to be whole only when the state of their archive was written before they got their name."""
        folders = [self.root / file.into for file in files if file.into and not self._known(file)]
        if strangers := [str(folder) for folder in folders if os.path.lexists(folder)]:
            advice = (
                f"Move them away to have {self.record.title} fetched; or, if the data are complete, give their folder "
                "as a data set's root and fetch nothing."
            )
            raise EarwitnessError(listed(f"These are in {self.root}, but were not fetched:", strangers, advice))

    def _require_room(self, files: tuple[PublishedFile, ...]) -> None:
        """Refuse a disk that will not do: one archive at a time lies beside all that is unpacked."""
        missing = [file for file in files if not self._known(file)]
        archives = [file for file in missing if file.into]
        needed = sum(file.bytes or 0 for file in missing if not file.into)
        needed += max((file.bytes or 0 for file in archives), default=0)
        if archives and len(archives) == sum(file.into is not None for file in files):
            needed += self.record.unpacked_bytes or 0
        there = sum(path.stat().st_size for path in self.work.glob("*")) if self.work.is_dir() else 0
        free = shutil.disk_usage(self.root).free
        if needed > free + there:
            raise EarwitnessError(
                f"{self.record.title} needs about {(needed - there) / 1e9:.1f} GB in {self.root}, but only "
                f"{free / 1e9:.1f} GB are free on that disk. Free some space, or name a folder on another disk."
            )

    def _state(self, file: PublishedFile) -> Path:
        return self.states / f"{file.name}.json"

    def _known(self, file: PublishedFile) -> dict[str, Any] | None:
        """The entry of a file that an earlier run brought and that is there still."""
        if not (self.root / file.place).exists() or not self._state(file).exists():
            return None
        entry = read_json(self._state(file))
        if not isinstance(entry, dict) or not {"name", "place", "md5", "sha256", "bytes"} <= entry.keys():
            raise EarwitnessError(f"{self._state(file)} does not tell what was fetched. Remove it and run again.")
        # A file that was changed since is looked at anew, and refused; of an unpacked archive the files are the user's.
        changed = file.into is None and sha256(self.root / file.name) != entry["sha256"]
        return None if changed or file.md5 not in (None, entry["md5"]) else entry

    def _bring(self, file: PublishedFile) -> dict[str, Any]:
        """Have the file checked, noted, and in its place; its entry for fetched.json."""
        path, found = self._on_disk(file) or self._download(file)
        verified = self.record.files is not None and file.md5 is not None
        if not verified:
            hold_to_book(self.book, f"{self.record.name}/{file.name}", found, path)
        entry = {"name": file.name, "place": file.place, "url": self._address(file), **asdict(found)}
        entry["verified"] = verified
        write_json(self._state(file), entry)
        if file.into is None:
            os.replace(path, self.root / file.name)
        else:
            self._unpack(path, file)
        return entry

    def _unpack(self, path: Path, file: PublishedFile) -> None:
        """Unpack an archive, and remove it unless someone put it where data are kept."""
        from earwitness.fetch.archives import unpack

        unpacked = unpack(path, self.root / file.into)
        if unpacked.left_out:
            print(f"{file.name}: left out {len(unpacked.left_out)} files that macOS added", file=sys.stderr)
        if path.parent == self.work:
            path.unlink()

    def _on_disk(self, file: PublishedFile) -> tuple[Path, Downloaded] | None:
        """A file that was put there by hand or by an earlier run, once it is found to be the right one."""
        from earwitness.fetch.download import digests_of, mismatches

        for path in (self.root / file.name, self.work / file.name):
            if path.is_file():
                found = digests_of(path)
                if problems := mismatches(found, _digests(file), file.bytes):
                    heading = f"{path} is not the file that {self.record.title} has under this name:"
                    advice = "Move it away and run the same command again to have it downloaded."
                    raise EarwitnessError(listed(heading, problems, advice))
                return path, found
        return None

    def _download(self, file: PublishedFile) -> tuple[Path, Downloaded]:
        from earwitness.fetch.download import download

        path = self.work / file.name
        return path, download(self._address(file), path, digests=_digests(file), size=file.bytes)

    def _address(self, file: PublishedFile) -> str:
        from earwitness.fetch.download import local_path

        if self.mirror is None:
            return f"{_interface(self.record)}/files/{quote(file.name)}/content"
        folder = local_path(self.mirror)
        return f"{self.mirror.rstrip('/')}/{quote(file.name)}" if folder is None else str(folder / file.name)


def _interface(record: Record) -> str:
    """Where Zenodo's programming interface has a record (InvenioRDM REST API: ``api/records/{id}``)."""
    return record.url.replace("/records/", "/api/records/")


def _digests(file: PublishedFile) -> dict[str, str]:
    return {} if file.md5 is None else {"md5": file.md5}


def _placed(name: str, size: int | None, md5: str | None) -> PublishedFile:
    """A file of a record that has no list here: archives go to a folder of their name."""
    from earwitness.fetch.archives import archive_stem

    return PublishedFile(name, md5, size, archive_stem(name))


def _lying_in(folder: Path) -> tuple[PublishedFile, ...]:
    if not folder.is_dir():
        raise EarwitnessError(f"{folder} is given as a mirror, but is no folder.")
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return tuple(_placed(name, None, None) for name in names if not name.startswith(".") and name != FETCHED)


def _told_by_zenodo(path: Path) -> tuple[PublishedFile, ...]:
    """The files that Zenodo's answer lists: ``files`` with ``key``, ``size`` and ``checksum`` ("md5:" and digest)."""
    content = read_json(path)
    try:
        told = [(str(file["key"]), int(file["size"]), str(file["checksum"])) for file in content["files"]]
    except (TypeError, KeyError, ValueError) as error:
        raise EarwitnessError(
            f"{path}, Zenodo's answer to which files there are, is not in the form expected ({error!r}). "
            "Remove it and run again; or download the files by hand and give their folder as a mirror."
        ) from error
    return tuple(_placed(name, size, _md5(checksum)) for name, size, checksum in told)


def _md5(checksum: str) -> str | None:
    algorithm, _, digest = checksum.partition(":")
    return digest.lower() if algorithm == "md5" else None


def _unfit(files: tuple[PublishedFile, ...]) -> Iterator[str]:
    """Names that are no plain file names, and places that two files would share."""
    if not files:
        yield "there are none"
    places = defaultdict(list)
    for file in files:
        places[file.place.casefold()].append(file.name)
        if Path(file.name).name != file.name or "\\" in file.name or file.name.startswith((".", FETCHED)):
            yield f"{file.name!r}: is no name that a file can get here"
    for names in places.values():
        if len(names) > 1:
            yield f"{', '.join(map(repr, names))}: would all stand at one place"


def hold_to_book(book: Path, key: str, found: Downloaded, path: Path) -> None:
    """Note the digest of a file that is seen for the first time, and refuse one that is not as it was then."""
    with hold(book.with_name(f".{book.name}.lock")):
        entries = read_json(book) if book.exists() else {}
        known = entries.setdefault(key, {"sha256": found.sha256}) if isinstance(entries, dict) else None
        if not isinstance(known, dict) or "sha256" not in known:
            raise EarwitnessError(f"{book} does not tell the sha256 of {key!r}. Mend that entry, or remove it.")
        known.setdefault("bytes", found.bytes)
        if known["sha256"] != found.sha256:
            raise EarwitnessError(
                f"{path} is not the file that was fetched as {key!r} before: its sha256 is {found.sha256}, {book} has "
                f"{known['sha256']}. If the change is wanted, remove the entry {key!r} from {book} and run again; "
                f"if it is not, remove {path}."
            )
        write_json(book, dict(sorted(entries.items())))
