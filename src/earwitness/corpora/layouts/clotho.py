"""The Clotho layout: ``{development,validation,evaluation}/`` with audio, beside ``clotho_captions_{split}.csv``.

``clotho_metadata_{split}.csv`` are read where they are: they have the Freesound ids.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from earwitness.audio.formats import is_audio
from earwitness.corpora.caption_rows import problem_of_text
from earwitness.corpora.csv_reader import Sheet, read_sheet, shown
from earwitness.corpora.paths import from_root, match, recordings_below
from earwitness.errors import CorpusError, counted
from earwitness.files import sha256
from earwitness.options import SPLITS, RecordingsOptions

if TYPE_CHECKING:  # the configuration reads this module whenever it is checked: pandas waits until a corpus is read
    from earwitness.corpora.tables import ListedClip, Listing

NAME = "file_name"
_CAPTION = re.compile(r"caption_([1-9]\d*)")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


class ClothoOptions(RecordingsOptions):
    """A folder in the Clotho layout, whatever its sounds are."""

    layout: Literal["clotho"]
    source: Literal["clotho-2.1"] | None = None


@dataclass(frozen=True)
class CaptionedFile:
    """One row of a caption table: the file's name byte for byte, the captions on one line each."""

    row: int
    name: str
    captions: tuple[str, ...]


class Clotho:
    """Reads a folder in the Clotho layout."""

    makes_audio = False

    def __init__(self, options: ClothoOptions):
        self.options = options

    def listing(self, root: Path) -> Listing:
        """The clips of all splits that are there, in the tables' order; their audio is not opened.

        Every offending file, row and value of all splits is in the listing's ``problems``. Raises CorpusError when
        there is nothing to list: no folder, or no split in it.
        """
        from earwitness.corpora.tables import Listing

        folder = self._tables_folder(root)
        if not folder.is_dir():
            key = "tables" if self.options.tables else "audio"
            raise CorpusError(f"The data set's folder {folder} does not exist; set the entry's `{key}` to where it is.")
        found = Listing([], notes={"tables": {}, "metadata": {}, "unlisted_audio": {}, "ignored_columns": {}})
        for split in SPLITS:
            _add_split(found, root, folder, split)
        if not found.clips and not found.problems:
            raise CorpusError(_nothing_found(folder))
        if self.options.source:
            _note_differences(found, self.options.source, self.tables(root))
        return found

    def tables(self, root: Path) -> list[Path]:
        """The caption and metadata tables that are there."""
        folder = self._tables_folder(root)
        paths = [path for split in SPLITS for path in (_table(folder, split), _metadata(folder, split))]
        return [path for path in paths if path.is_file()]

    def fetch(self, root: Path) -> None:
        """Bring the published record, checked by its digests, into the folder."""
        from earwitness.fetch.records import RECORDS, fetch

        assert self.options.source  # else nothing is fetched
        fetch(RECORDS[self.options.source], root, self.options.mirror)

    def _tables_folder(self, root: Path) -> Path:
        return Path(self.options.tables).expanduser() if self.options.tables else root


def read_captions(path: Path, folder: Path | None = None) -> tuple[Sheet, list[CaptionedFile]]:
    """Read a caption table: ``file_name, caption_1, caption_2, ...``, as many captions as it has.

    Absolute paths in ``folder``, that of the split's recordings, are names from there.

    An empty cell is no caption; a line break inside a caption becomes a blank; other columns are left alone. What is
    wrong with the table, audio aside, is in the sheet's ``problems``.
    """
    sheet = read_sheet(path, needed=(NAME, "caption_1"))
    rows: list[CaptionedFile] = []
    if not sheet.columns:
        return sheet, rows
    numbers = sorted(int(match[1]) for column in sheet.columns if (match := _CAPTION.fullmatch(column)))
    gaps = [(before + 1, after - 1) for before, after in pairwise([0, *numbers]) if after - before > 1]
    if gaps:
        missing = ", ".join(f"caption_{a}" if a == b else f"caption_{a} to caption_{b}" for a, b in gaps)
        sheet.problems.append(f"{path.name}: the header goes up to caption_{numbers[-1]}, but {missing} is missing")
    name_at, caption_at = sheet.columns.index(NAME), [sheet.columns.index(f"caption_{number}") for number in numbers]
    for row in sheet.rows:
        captions = tuple(_LINE_BREAK.sub(" ", row.cells[place]) for place in caption_at if row.cells[place])
        rows.append(CaptionedFile(row.number, from_root(row.cells[name_at], folder), captions))
        _check_row(sheet, rows[-1])
    _check_doubles(sheet, rows)
    return sheet, rows


def _table(folder: Path, split: str) -> Path:
    return folder / f"clotho_captions_{split}.csv"


def _metadata(folder: Path, split: str) -> Path:
    return folder / f"clotho_metadata_{split}.csv"


def _add_split(found: Listing, root: Path, folder: Path, split: str) -> None:
    """Add the content of one split, and what is wrong with its table; nothing when it is not there at all."""
    table, on_disk = _table(folder, split), recordings_below(root / split)
    if not table.is_file():
        if count := sum(map(is_audio, on_disk)):
            found.problems.append(
                f"{split}/ holds {counted(count, 'recording')}, but {table.name} is missing from {folder}"
            )
        return
    sheet, rows = read_captions(table, root / split)
    if not on_disk:
        state = "is empty" if (root / split).is_dir() else "is missing"
        sheet.problems.append(f"{table.name} is there, but the folder {root / split} with its audio {state}")
    found.problems.extend(sheet.problems)
    clips = _clips(split, rows, on_disk)
    if not sheet.columns:
        return  # not readable as a table: its problems are noted
    found.clips.extend(clips)
    if clips and (metadata := _metadata(folder, split)).is_file():
        from earwitness.corpora.metadata import add_sources, read_metadata

        add_sources(found, read_metadata(metadata), split)
    found.notes["tables"][table.name] = sha256(table)
    used = {clip.path.removeprefix(f"{split}/") for clip in clips if clip.path}
    found.notes["unlisted_audio"][split] = sum(map(is_audio, on_disk - used))
    if ignored := [name for name in sheet.columns if name != NAME and not _CAPTION.fullmatch(name)]:
        found.notes["ignored_columns"][table.name] = ignored


def _note_differences(found: Listing, source: str, tables: list[Path]) -> None:
    """Note which tables are not those that were published: a digest binds only what Earwitness downloads itself."""
    from earwitness.fetch.records import RECORDS

    published = {file.name: file.md5 for file in RECORDS[source].files or ()}
    digests = {path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in tables}
    differs = {name: digest for name, digest in digests.items() if published.get(name) not in (None, digest)}
    if differs:
        found.notes["differs_from_published"] = {
            name: {"md5": digest, "published_md5": published[name]} for name, digest in differs.items()
        }


def _clips(split: str, rows: list[CaptionedFile], on_disk: set[str]) -> list[ListedClip]:
    """The rows as clips, each name once, whatever else is wrong with them."""
    from earwitness.corpora.tables import ListedClip

    first: dict[str, CaptionedFile] = {}
    for row in rows:
        if not _bad_name(row.name):
            first.setdefault(row.name, row)
    found = match(list(first), on_disk)
    return [
        ListedClip(
            clip_id=f"{split}/{row.name}",
            split=split,
            path=one.path and f"{split}/{one.path}",
            captions=row.captions,
            found_by=one.found_by,
            problem=one.problem,
        )
        for row, one in zip(first.values(), found, strict=True)
    ]


def _nothing_found(root: Path) -> str:
    wanted = ", ".join(f"{split}/ with clotho_captions_{split}.csv" for split in SPLITS)
    names = sorted(path.name for path in root.iterdir())
    has = ", ".join(map(shown, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{root} has no split in the Clotho layout. Looked for: {wanted}. It has: {has or 'nothing'}."


def _bad_name(name: str) -> str | None:
    """What is wrong with a file's name by itself."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not name.strip():
        return f"the file name is {shown(name)}"
    if path.is_absolute() or ".." in path.parts:
        return f"{shown(name)} leads out of the split's folder; names are relative to it"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return f"{shown(name)} has a control character; is a quotation mark misplaced?"
    return None


def _check_row(sheet: Sheet, row: CaptionedFile) -> None:
    if wrong := _bad_name(row.name):
        sheet.blame(row.row, wrong)
    if not row.captions:
        sheet.blame(row.row, f"{shown(row.name)} has no caption")
    for caption in row.captions:
        if problem := problem_of_text(caption):
            sheet.blame(row.row, f"the caption {shown(caption)} of {shown(row.name)} {problem}")


def _check_doubles(sheet: Sheet, rows: list[CaptionedFile]) -> None:
    """Blame names that are equal, or would be on a disk that minds neither case nor Unicode form."""
    alike = defaultdict(list)
    for row in rows:
        alike[unicodedata.normalize("NFC", row.name).casefold()].append(row)
    for group in alike.values():
        for name, count in Counter(row.name for row in group).items():
            if count > 1:
                numbers = [str(row.row) for row in group if row.name == name]
                sheet.blame(int(numbers[0]), f"{shown(name)} is listed {count} times, in rows {', '.join(numbers)}")
        if len({row.name for row in group}) > 1:
            names = " and ".join(f"{row.name!a} (row {row.row})" for row in group)
            sheet.blame(group[0].row, f"names that differ only in case or Unicode form: {names}")
