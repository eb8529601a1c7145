"""The published records that Earwitness can fetch, and how one is fetched: resumed, checked, and noted.

A record is fetched to a folder. In it, ``.fetch`` holds archives and partial downloads, and ``.fetched`` what is known
of each file that is there, so that nothing is downloaded twice; ``fetched.json`` is written last. The modules that
download and unpack are imported on use, so that looking up a record stays quick.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from earwitness.errors import EarwitnessError, MismatchError, counted, listed
from earwitness.fetch.published import PINNED, Published, at_mirror, obtain, write_note
from earwitness.files import read_json, sha256, write_json
from earwitness.lock import hold

SCHEMA = 1
FETCHED = "fetched.json"
WORK, STATES = ".fetch", ".fetched"


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of a record; ``into`` is the folder that an archive is unpacked to, None for a file kept as it is."""

    name: str
    md5: str | None = None
    bytes: int | None = None
    into: str | None = None

    @property
    def place(self) -> str:
        """The name of what ends up in the data set's folder."""
        return self.into or self.name


@dataclass(frozen=True, slots=True)
class Record:
    """A published data set. ``files`` None: Zenodo is asked for them, and their digests count as unpublished.

    ``unpacked_bytes`` is an estimate, for checking free disk space.
    """

    name: str
    title: str
    url: str  # of the web page; the address of Zenodo's API is made from it
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


def fetch(record: Record, root: str | os.PathLike, mirror: str | None = None, pins: str | os.PathLike = PINNED) -> None:
    """Fetch all files of a record to ``root``, unpack archives, and write ``root/fetched.json`` last.

    What is there is not fetched again; a file put by hand into ``root`` or ``root/.fetch`` is checked and taken.
    ``mirror`` is an address or a folder where the files lie under their names; a folder also gives the list of files of
    a record that has none. Published digests are enforced wherever a file comes from. A file without one must have the
    sha256 pinned in ``pins`` the first time, and is marked as not verified.

    Raises EarwitnessError when something cannot be fetched or is not what it should be, when the disk has no room, when
    ``root`` holds folders that were not fetched, and while another process fetches to ``root``; MismatchError when
    another record was fetched there.
    """
    root = Path(root)
    if root.exists() and not root.is_dir():
        raise EarwitnessError(f"{root} should be the folder of {record.title}, but is a file. Name another folder.")
    with hold(root / f"{WORK}.lock", f"{root} is being fetched by another process; wait for it, or stop it."):
        if (path := root / FETCHED).exists():
            content = read_json(path)
            name = content.get("record") if isinstance(content, dict) else None
            if name != record.name:
                raise MismatchError(
                    f"{path} is of {name!r}, not of {record.name!r}. Fetch each record to its own folder."
                )
        files = record.files if record.files is not None else _listed_files(record, root, mirror)
        known = {file: _known(root, file) for file in files}
        _require_own_folders(record, root, [file for file in files if not known[file]])
        _require_room(record, root, files, [file for file in files if not known[file]])
        entries = [known[file] or _bring(record, root, file, mirror, Path(pins)) for file in files]
        shutil.rmtree(root / WORK, ignore_errors=True)
        facts = {"record": record.name, "title": record.title, "doi": record.doi, "url": record.url}
        content = {"schema": SCHEMA, **facts, "files": entries}
        if write_note(root / FETCHED, content, "fetch", record=record.name, doi=record.doi):
            verified = sum(entry["verified"] for entry in entries)
            print(
                f"{record.title} is in {root}: {counted(len(entries), 'file')}, {verified} with a published digest",
                file=sys.stderr,
            )


def _listed_files(record: Record, root: Path, mirror: str | None) -> tuple[PublishedFile, ...]:
    """The files of a record that has no list here, by the mirror's folder or by Zenodo; archives get a folder each."""
    from earwitness.fetch.archives import archive_stem
    from earwitness.fetch.download import download, local_path

    if mirror is not None and (source := local_path(mirror)) is not None:
        if not source.is_dir():
            raise EarwitnessError(f"{source} is given as a mirror, but is no folder.")
        names = sorted(path.name for path in source.iterdir() if path.is_file())
        found: list[tuple[str, str | None, int | None]]
        found = [(name, None, None) for name in names if not name.startswith(".") and name != FETCHED]
    else:
        source = root / STATES / ".record.json"
        if not source.exists():
            download(_api(record), source)
        content = read_json(source)
        try:
            found = [(str(it["key"]), str(it["checksum"]), int(it["size"])) for it in content["files"]]
        except (TypeError, KeyError, ValueError) as error:
            raise EarwitnessError(
                f"{source}, Zenodo's list of files, is not in the form expected ({error!r}). Remove it and run again; "
                "or download the files by hand and give their folder as a mirror."
            ) from error
    files = []
    for name, checksum, size in found:
        algorithm, _, digest = (checksum or "").partition(":")
        files.append(PublishedFile(name, digest.lower() if algorithm == "md5" else None, size, archive_stem(name)))
    if problems := list(_unfit(files)):
        raise EarwitnessError(listed(f"Files of {record.title}, by {source}, that cannot be fetched:", problems))
    return tuple(files)


def _api(record: Record) -> str:
    """The address of a record in Zenodo's API (InvenioRDM REST API: ``api/records/{id}``)."""
    return record.url.replace("/records/", "/api/records/")


def _unfit(files: list[PublishedFile]) -> Iterator[str]:
    """Names that are not plain file names, and places that two files would share."""
    if not files:
        yield "there are none"
    places = defaultdict(list)
    for file in files:
        places[file.place.casefold()].append(file.name)
        if Path(file.name).name != file.name or "\\" in file.name or file.name.startswith((".", FETCHED)):
            yield f"{file.name!r}: is no name for a file here"
    for names in places.values():
        if len(names) > 1:
            yield f"{', '.join(map(repr, names))}: would all have the same place"


def _state(root: Path, file: PublishedFile) -> Path:
    return root / STATES / f"{file.name}.json"


def _known(root: Path, file: PublishedFile) -> dict[str, Any] | None:
    """The entry of a file that an earlier run fetched and that is still there."""
    state = _state(root, file)
    if not (root / file.place).exists() or not state.exists():
        return None
    entry = read_json(state)
    if not isinstance(entry, dict) or not {"name", "place", "md5", "sha256", "bytes"} <= entry.keys():
        raise EarwitnessError(f"{state} does not say what was fetched. Remove it and run again.")
    # A file that has changed since is checked again, and refused; files unpacked from an archive are the user's.
    changed = file.into is None and sha256(root / file.name) != entry["sha256"]
    return None if changed or file.md5 not in (None, entry["md5"]) else entry


def _require_own_folders(record: Record, root: Path, missing: list[PublishedFile]) -> None:
    """Folders are known to be whole only when the state of their archive was written before they got their name."""
    folders = [root / file.into for file in missing if file.into]
    if strangers := [str(folder) for folder in folders if os.path.lexists(folder)]:
        advice = (
            f"Move them away to have {record.title} fetched; or, if the data are complete, give their folder as a data "
            "set's root and fetch nothing."
        )
        raise EarwitnessError(listed(f"These are in {root}, but were not fetched:", strangers, advice))


def _require_room(record: Record, root: Path, files: tuple[PublishedFile, ...], missing: list[PublishedFile]) -> None:
    """Refuse a disk that is too small: one archive at a time lies beside all that is unpacked."""
    archives = [file for file in missing if file.into]
    needed = sum(file.bytes or 0 for file in missing if not file.into)
    needed += max((file.bytes or 0 for file in archives), default=0)
    if archives and len(archives) == sum(file.into is not None for file in files):
        needed += record.unpacked_bytes or 0
    work = root / WORK
    there = sum(path.stat().st_size for path in work.glob("*")) if work.is_dir() else 0
    free = shutil.disk_usage(root).free
    if needed > free + there:
        raise EarwitnessError(
            f"{record.title} needs about {(needed - there) / 1e9:.1f} GB in {root}, but only {free / 1e9:.1f} GB are "
            "free on that disk. Free some space, or name a folder on another disk."
        )


def _bring(record: Record, root: Path, file: PublishedFile, mirror: str | None, pins: Path) -> dict[str, Any]:
    """Have the file checked, noted, and in its place; its entry for fetched.json."""
    from earwitness.fetch.archives import unpack

    work = root / WORK
    address = f"{_api(record)}/files/{quote(file.name)}/content" if mirror is None else at_mirror(mirror, file.name)
    verified = record.files is not None and file.md5 is not None
    path, found, _ = obtain(
        Published(file.name, (address,), record.title, file.bytes, file.md5),
        root / file.name,
        work / file.name,
        pin=None if verified else (pins, f"{record.name}/{file.name}"),
    )
    entry = {"name": file.name, "place": file.place, "url": address, **asdict(found), "verified": verified}
    write_json(_state(root, file), entry)
    if file.into is None:
        os.replace(path, root / file.name)
        return entry
    unpacked = unpack(path, root / file.into)
    if unpacked.left_out:
        print(f"{file.name}: left out {counted(len(unpacked.left_out), 'file')} that macOS added", file=sys.stderr)
    if path.parent == work:  # an archive that someone put where data are kept stays
        path.unlink()
    return entry
