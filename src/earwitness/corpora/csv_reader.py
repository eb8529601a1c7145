"""Reads csv tables as people save them, and collects what is wrong with them.

A byte-order mark, any line ends, a comma, semicolon or tab between the fields, and quoted line breaks are all accepted.
Cells are passed on as they are: never stripped, unescaped or otherwise changed.
"""

from __future__ import annotations

import codecs
import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from earwitness.errors import nearest

DELIMITERS = ",;\t"
SHOWN_CHARACTERS = 60  # of a value in a message
SHOWN_COLUMNS = 20  # of a table in a message
PIECE = 1 << 20  # bytes read at a time


class Row(NamedTuple):
    """One record: the line it begins on, counted from 1 as in an editor, and a cell for each column."""

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
    """A value for a message: quoted, odd characters escaped, cut when it is long."""
    return repr(value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "…")


def some(columns: Sequence[str]) -> str:
    """Columns for a message: quoted, only the first ones when there are very many."""
    more = f" and {len(columns) - SHOWN_COLUMNS} more" if len(columns) > SHOWN_COLUMNS else ""
    return ", ".join(map(shown, columns[:SHOWN_COLUMNS])) + more


def read_sheet(path: Path, needed: Sequence[str]) -> Sheet:
    """Read a csv whose header must have the columns ``needed``.

    Rows without content are skipped, rows shorter than the header filled with empty cells. Anything else that is wrong
    is in ``problems``; a table without a usable header has neither columns nor rows.
    """
    sheet, rows = open_sheet(path, needed)
    sheet.rows.extend(rows)
    return sheet


def open_sheet(
    path: Path,
    needed: Sequence[str] = (),
    otherwise: str | None = None,
    unheaded: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda cells: (),
) -> tuple[Sheet, Iterator[Row]]:
    """Like ``read_sheet`` for tables too long for memory: the header is read now, the rows as they are iterated.

    ``otherwise`` is the encoding of a table that is not UTF-8; None refuses such a table. ``unheaded`` names the
    columns of a table that has no header from the cells of its first row; it gives none for a header. The sheet's
    ``rows`` stay empty; its ``problems`` are complete after the last row.
    """
    sheet = Sheet(path)
    encoding = "utf-8-sig"
    if problem := unreadable_text(path):
        if otherwise is None or not path.is_file():
            sheet.problems.append(problem)
            return sheet, iter(())
        encoding = otherwise
    records = _records(sheet, encoding)
    header = next(records, None)
    if header is None:
        if not sheet.problems:
            sheet.problems.append(f"{path.name}: is empty")
        return sheet, iter(())
    if names := unheaded(header.cells):
        records = itertools.chain([header], records)
    sheet.columns = names or tuple(name.strip() for name in header.cells)
    sheet.problems += [missing_column(path, name, sheet.columns) for name in needed if name not in sheet.columns]
    twice = sorted({name for name in sheet.columns if name and sheet.columns.count(name) > 1})
    sheet.problems += [f"{path.name}: the column {name!r} stands more than once in the header" for name in twice]
    if sheet.problems:
        sheet.columns = ()
        return sheet, iter(())
    return sheet, _rows(sheet, records)


def unreadable_text(path: Path) -> str:
    """Why a file cannot be read as UTF-8, naming file, row and bytes; "" when it can. Reads it once, piece by piece."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, raw = 1, b""
    try:
        with path.open("rb") as file:
            while True:
                piece = file.read(PIECE)
                raw = decoder.getstate()[0] + piece
                decoder.decode(piece, final=not piece)
                if not piece:
                    return ""
                line += piece.count(b"\n")
    except OSError as error:
        return f"{path.name}: cannot be read ({error.strerror or error})"
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        found = raw[raw.rfind(b"\n", 0, error.start) + 1 :].split(b"\n", 1)[0][:SHOWN_CHARACTERS]
        what = f"is not UTF-8 (byte 0x{raw[error.start]:02x} in {str(found)[1:]}); save the table as UTF-8"
        return f"{path.name}, row {line}: {what}"


def missing_column(path: Path, name: str, columns: Sequence[str]) -> str:
    """The problem of a table that lacks a column: what it has instead, and which of that was probably meant."""
    hint = nearest(name, columns)
    near = f"; {hint}" if hint.startswith("did") else ""
    return f"{path.name}: the column {name!r} is missing; the header has {some(columns)}{near}"


def no_rows(path: Path) -> str:
    """The problem of a table that has a header only."""
    return f"{path.name}: is empty, it has a header and no rows"


def _rows(sheet: Sheet, records: Iterator[Row]) -> Iterator[Row]:
    """The records below the header with a cell for each column; a problem when there are none at all."""
    width, rows = len(sheet.columns), 0
    for number, cells in records:
        if len(cells) > width:
            advice = "a field that holds the delimiter needs quotation marks"
            sheet.blame(number, f"{shown(cells[0])} has {len(cells)} fields, the header {width}; {advice}")
        elif tuple(cell.strip() for cell in cells) == sheet.columns:
            sheet.blame(number, f"the header stands here again, as if {shown(cells[0])} were data")
        else:
            rows += 1
            yield Row(number, cells + ("",) * (width - len(cells)))
    if not rows and not sheet.problems:
        sheet.problems.append(no_rows(sheet.path))


def _records(sheet: Sheet, encoding: str) -> Iterator[Row]:
    """All records with content; stops with a problem where the quoting is broken.

    The delimiter is the one that occurs most in the header, which has no free text.
    """
    number = 1
    with sheet.path.open(encoding=encoding, newline="") as file:
        header = next((line for line in file if line.strip()), "")
        delimiter = max(DELIMITERS, key=header.lstrip().count)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if any(cells):
                    yield Row(number, tuple(cells))
                number = reader.line_num + 1
        except csv.Error as error:
            advice = "a quotation mark inside a field must be doubled, and one at its beginning closed"
            sheet.blame(number, f"cannot be read on from here ({error}); {advice}")
