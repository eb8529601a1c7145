"""The Clotho layout: ``{development,validation,evaluation}/`` with audio, beside ``clotho_captions_{split}.csv``."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from html import unescape
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import StringConstraints

from earwitness.audio.formats import is_audio
from earwitness.corpora.csv_reader import Sheet, read_sheet, shown
from earwitness.errors import CorpusError
from earwitness.files import sha256
from earwitness.options import SPLITS, DatasetOptions

if TYPE_CHECKING:  # the configuration reads this module whenever it is checked: pandas waits until a corpus is read
    from earwitness.corpora.tables import ListedClip, Listing

NAME = "file_name"
_CAPTION = re.compile(r"caption_([1-9]\d*)")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


class ClothoOptions(DatasetOptions):
    """A folder in the Clotho layout, whatever its sounds are."""

    layout: Literal["clotho"]
    audio: Annotated[str, StringConstraints(min_length=1)]  # the root, absolute or from where snakemake runs


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

        Every offending file, row and value of all splits stands in the listing's ``problems``. Raises CorpusError when
        there is nothing to list: no folder, or no split in it.
        """
        from earwitness.corpora.tables import Listing

        if not root.is_dir():
            raise CorpusError(f"The data set's folder {root} does not exist; set the entry's `audio` to where it is.")
        found = Listing([], notes={"tables": {}, "unlisted_audio": {}, "ignored_columns": {}})
        for split in SPLITS:
            _add_split(found, root, split)
        if not found.clips and not found.problems:
            raise CorpusError(_nothing_found(root))
        return found

    def tables(self, root: Path) -> list[Path]:
        """The caption tables that are there."""
        return [table for split in SPLITS if (table := _table(root, split)).is_file()]


def read_captions(path: Path) -> tuple[Sheet, list[CaptionedFile]]:
    """Read a caption table: ``file_name, caption_1, caption_2, ...``, as many captions as it has.

    An empty cell is no caption; a line break inside a caption becomes a blank; other columns are left alone. What is
    wrong with the table, audio aside, stands in the sheet's ``problems``.
    """
    sheet = read_sheet(path, needed=(NAME, "caption_1"))
    rows: list[CaptionedFile] = []
    if not sheet.columns:
        return sheet, rows
    numbers = sorted(int(match[1]) for column in sheet.columns if (match := _CAPTION.fullmatch(column)))
    if missing := _gaps(numbers):
        sheet.problems.append(f"{path.name}: the header goes up to caption_{numbers[-1]}, but {missing} is missing")
    name_at, caption_at = sheet.columns.index(NAME), [sheet.columns.index(f"caption_{number}") for number in numbers]
    for row in sheet.rows:
        captions = tuple(_LINE_BREAK.sub(" ", row.cells[place]) for place in caption_at if row.cells[place])
        rows.append(CaptionedFile(row.number, row.cells[name_at], captions))
        _check_row(sheet, rows[-1])
    _check_doubles(sheet, rows)
    return sheet, rows


def files_below(folder: Path) -> set[str]:
    """Names of all files in a folder and below it, relative to it, as the disk has them; none when it is absent."""
    names = set()
    for where, _, files in os.walk(folder):
        below = Path(where).relative_to(folder)
        names.update((below / file).as_posix() for file in files)
    return names


def _table(root: Path, split: str) -> Path:
    return root / f"clotho_captions_{split}.csv"


def _add_split(found: Listing, root: Path, split: str) -> None:
    """Add what one split holds, and what is wrong with its table; nothing when it is not there at all."""
    table, on_disk = _table(root, split), files_below(root / split)
    if not table.is_file():
        if count := sum(map(is_audio, on_disk)):
            found.problems.append(f"{split}/ holds {count} recordings, but {table.name} is missing from {root}")
        return
    sheet, rows = read_captions(table)
    _check_presence(sheet, rows, root / split, on_disk)
    found.problems.extend(sheet.problems)
    found.clips.extend(_clips(split, rows, on_disk))
    if not sheet.columns:
        return  # not readable as a table: its problems are noted, there is nothing else to tell
    found.notes["tables"][table.name] = sha256(table)
    found.notes["unlisted_audio"][split] = sum(map(is_audio, on_disk - {row.name for row in rows}))
    if ignored := [name for name in sheet.columns if name != NAME and not _CAPTION.fullmatch(name)]:
        found.notes["ignored_columns"][table.name] = ignored


def _clips(split: str, rows: list[CaptionedFile], on_disk: set[str]) -> list[ListedClip]:
    """The rows whose audio is there, each name once: what remains to be checked, whatever else is wrong with them."""
    from earwitness.corpora.tables import ListedClip

    first: dict[str, CaptionedFile] = {}
    for row in rows:
        if row.name in on_disk:
            first.setdefault(row.name, row)
    return [ListedClip(f"{split}/{name}", split, f"{split}/{name}", row.captions) for name, row in first.items()]


def _gaps(numbers: list[int]) -> str:
    """The captions that ascending numbers leave out, a run of them by its ends; empty when there are none."""
    runs = [(before + 1, after - 1) for before, after in pairwise([0, *numbers]) if after - before > 1]
    return ", ".join(f"caption_{a}" if a == b else f"caption_{a} to caption_{b}" for a, b in runs)


def _nothing_found(root: Path) -> str:
    wanted = ", ".join(f"{split}/ with clotho_captions_{split}.csv" for split in SPLITS)
    names = sorted(path.name for path in root.iterdir())
    has = ", ".join(map(shown, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{root} holds no split in the Clotho layout. Looked for: {wanted}. It has: {has or 'nothing'}."


def _check_row(sheet: Sheet, row: CaptionedFile) -> None:
    path = PurePosixPath(row.name)
    if not row.name.strip():
        sheet.blame(row.row, f"the file name is {shown(row.name)}")
    elif path.is_absolute() or ".." in path.parts:
        sheet.blame(row.row, f"{shown(row.name)} leads out of the split's folder; names are relative to it")
    elif any(unicodedata.category(character) == "Cc" for character in row.name):
        sheet.blame(row.row, f"{shown(row.name)} holds a control character; is a quotation mark misplaced?")
    if not row.captions:
        sheet.blame(row.row, f"{shown(row.name)} has no caption")
    for caption in row.captions:
        if "\0" in caption:
            sheet.blame(row.row, f"the caption {shown(caption)} of {shown(row.name)} holds a NUL character")
        # Whatever a text's cleaning takes away, it leaves letters and digits; a caption without any has no word.
        if not any(character.isalnum() for character in caption):
            sheet.blame(row.row, f"the caption {shown(caption)} of {shown(row.name)} has no word")


def _check_doubles(sheet: Sheet, rows: list[CaptionedFile]) -> None:
    """Blame names that are equal, or would be on a disk that minds neither case nor Unicode form."""
    alike = defaultdict(list)
    for row in rows:
        alike[_folded(row.name)].append(row)
    for group in alike.values():
        for name, count in Counter(row.name for row in group).items():
            if count > 1:
                numbers = [str(row.row) for row in group if row.name == name]
                sheet.blame(int(numbers[0]), f"{shown(name)} is listed {count} times, in rows {', '.join(numbers)}")
        if len({row.name for row in group}) > 1:
            names = " and ".join(f"{row.name!a} (row {row.row})" for row in group)
            sheet.blame(group[0].row, f"names that differ only in case or Unicode form: {names}")


def _check_presence(sheet: Sheet, rows: list[CaptionedFile], folder: Path, on_disk: set[str]) -> None:
    """Blame a folder without files, or the names that are not in it, with the file that is probably meant."""
    if not on_disk:
        state = "is empty" if folder.is_dir() else "is missing"
        sheet.problems.append(f"{sheet.path.name} is there, but the folder {folder} with its audio {state}")
        return
    absent = [row for row in rows if row.name.strip() and row.name not in on_disk]
    if not absent:
        return
    likely = {_loose(name): name for name in sorted(on_disk) if is_audio(name)}
    for row in absent:
        there = likely.get(_loose(row.name))
        hint = f"; {there!a} is there, but names must be equal byte for byte" if there else ""
        sheet.blame(row.row, f"{shown(row.name)} is not in {folder}{hint}")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _loose(name: str) -> str:
    """What is left of a name without the changes that unpacking, converting and copying make."""
    stem = str(PurePosixPath(unescape(name)).with_suffix("")) if PurePosixPath(name).name else name
    return re.sub(r"[\W_]+", "_", _folded(stem)).strip("_")
