"""Reads the csv tables that corpora come with, as people save them, and collects what is wrong with them.

A byte-order mark, any line ends, a comma, semicolon or tab between the fields, and quoted line breaks are all fine.
Cells are handed on as they stand: never stripped, unescaped or otherwise changed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from earwitness.errors import nearest

DELIMITERS = ",;\t"
SHOWN_CHARACTERS = 60  # of a value in a message


class Row(NamedTuple):
    """One record: the line it begins on, counted from 1 as an editor does, and as many cells as there are columns."""

    number: int
    cells: tuple[str, ...]


@dataclass
class Sheet:
    """A table as read. ``problems`` holds one message for each offender, naming file, row and value."""

    path: Path
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def blame(self, row: int, what: str) -> None:
        """Note a problem of one row."""
        self.problems.append(f"{self.path.name}, row {row}: {what}")


def shown(value: str) -> str:
    """A value as it stands in a message: quoted, with its odd characters escaped, cut when it is long."""
    return repr(value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "…")


def read_sheet(path: Path, needed: Sequence[str]) -> Sheet:
    """Read a csv whose header must hold the columns ``needed``.

    Rows without any content are passed over, rows shorter than the header filled up with empty cells. Whatever else is
    wrong stands in ``problems``; a table without a usable header has neither columns nor rows.
    """
    sheet = Sheet(path)
    text = _text(sheet)
    if text is None:
        return sheet
    records = _records(sheet, text)
    header = next(records, None)
    if header is None:
        if not sheet.problems:
            sheet.problems.append(f"{path.name}: is empty")
        return sheet
    sheet.columns = tuple(name.strip() for name in header.cells)
    if not _check_header(sheet, needed):
        sheet.columns = ()
        return sheet
    sheet.rows.extend(row for record in records if (row := _row(sheet, record)))
    if not sheet.rows and not sheet.problems:
        sheet.problems.append(f"{path.name}: is empty, it has a header and no rows")
    return sheet


def _text(sheet: Sheet) -> str | None:
    try:
        raw = sheet.path.read_bytes()
    except OSError as error:
        sheet.problems.append(f"{sheet.path.name}: cannot be read ({error.strerror or error})")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + (len(raw) - len(error.object))  # the codec counts from behind the byte-order mark
        found = raw[raw.rfind(b"\n", 0, start) + 1 :].split(b"\n", 1)[0][:SHOWN_CHARACTERS]
        what = f"is not UTF-8 (byte 0x{raw[start]:02x} in {str(found)[1:]}); save the table as UTF-8"
        sheet.blame(raw.count(b"\n", 0, start) + 1, what)
        return None


def _records(sheet: Sheet, text: str) -> Iterator[Row]:
    """All records with content; stops with a problem where the quoting is broken."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    number = 1
    try:
        for cells in reader:
            if any(cells):
                yield Row(number, tuple(cells))
            number = reader.line_num + 1
    except csv.Error as error:
        advice = "a quotation mark inside a field must be doubled, and one at its beginning closed"
        sheet.blame(number, f"cannot be read on from here ({error}); {advice}")


def _delimiter(text: str) -> str:
    """The one that the header is most split by: it holds no free text."""
    header = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    return max(DELIMITERS, key=header.count)


def _check_header(sheet: Sheet, needed: Sequence[str]) -> bool:
    for name in needed:
        if name not in sheet.columns:
            has = ", ".join(map(shown, sheet.columns))
            hint = nearest(name, sheet.columns)
            near = f"; {hint}" if hint.startswith("did") else ""
            sheet.problems.append(f"{sheet.path.name}: the column {name!r} is missing; the header has {has}{near}")
    for name in sorted({name for name in sheet.columns if name and sheet.columns.count(name) > 1}):
        sheet.problems.append(f"{sheet.path.name}: the column {name!r} stands more than once in the header")
    return not sheet.problems


def _row(sheet: Sheet, record: Row) -> Row | None:
    """A record with as many cells as there are columns, or None and a problem."""
    number, cells = record
    width = len(sheet.columns)
    if len(cells) > width:
        advice = "a field that holds the delimiter needs quotation marks"
        sheet.blame(number, f"{shown(cells[0])} has {len(cells)} fields, the header {width}; {advice}")
        return None
    if tuple(cell.strip() for cell in cells) == sheet.columns:
        sheet.blame(number, f"the header stands here again, as if {shown(cells[0])} were data")
        return None
    return Row(number, cells + ("",) * (width - len(cells)))
