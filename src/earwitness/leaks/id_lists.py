"""Lists of recordings, as data sets and models are published with them: read line by line, ids brought to one form.

A list is a csv with a column that holds the ids, or has one id a line. AudioSet's csv (comment lines, the last of them
the header; blanks behind commas) and VGGSound's (no header: columns are named by their numbers, from 1) are read too.
Lines that begin with ``#`` are comments, except in lists of names, which may begin so.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TextIO

from earwitness.corpora.csv_reader import DELIMITERS, missing_column, shown
from earwitness.corpora.youtube import cut_of, is_youtube_id
from earwitness.errors import CorpusError
from earwitness.options import IdListOptions

COMMENT = "#"
BLOCK = 1 << 16  # characters decoded at a time where the encoding is found out
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_FREESOUND = re.compile(r"0*(\d+)(?:\.0)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"(?:[?&]v=|youtu\.be/|/(?:embed|shorts|live)/)([^?&#/\s]+)")
_TABLES = (".csv", ".tsv")  # what is called so has columns, where lines of other files may be names with commas


class Listed(NamedTuple):
    """One entry of a list: its id in the form that compares, None where the line has none, and its side or ""."""

    id: str | None
    side: str


def comparable(kind: str, value: str) -> str | None:
    """An id in the form in which two of them compare, None where the value is none.

    A name is compared as it is. A YouTube id may be written as ``Y{id}``, ``{id}_{start}`` and ``{id}_{start}_{end}``,
    a Freesound id as a number; both with an extension and behind a folder. Addresses of videos have an id too.
    """
    return _FORMS[kind](value)


def read(path: Path, options: IdListOptions) -> Iterator[Listed]:
    """The entries of one file of a list, in order, one at a time. UTF-8 is tried before ISO-8859-1.

    Raises CorpusError for a file that is absent, cannot be read, or has no such column, and in the end for one more
    than half of whose entries have no id.
    """
    if not path.is_file():
        raise CorpusError(f"the list does not exist; put it at {path}")
    entries, bare, example = 0, 0, ""
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            for value, side in _rows(file, path, options) if options.column else _lines(file, path, options.kind):
                id_ = comparable(options.kind, value)
                entries += 1
                bare += id_ is None
                example = example or (value if id_ is None else "")
                yield Listed(id_, side)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror or error}); put the list at this path") from error
    except csv.Error as error:
        raise CorpusError(f"{path} cannot be read as csv ({error}); put the list at this path anew") from error
    if not entries or 2 * bare > entries:
        raise CorpusError(_useless(path, options, entries, bare, example))


def _useless(path: Path, options: IdListOptions, entries: int, bare: int, example: str) -> str:
    """Why a list whose entries hold hardly any id cannot be used, and the likely mistake."""
    if bare == entries:
        what = f"{path} has no id of the kind {options.kind!r}"
    else:
        what = f"{path} has no id of the kind {options.kind!r} in {bare} of its {entries} entries"
    such = f", but entries such as {shown(example)}" if example else ""
    place = f"is {options.column!r} the right `column`?" if options.column else "is it a table, which needs `column`?"
    return f"{what}{such}; {place} Correct `column` or `kind`, or put the list at this path"


def _youtube(value: str) -> str | None:
    if (address := _ADDRESS.search(value)) and is_youtube_id(address[1]):
        return address[1]
    return cut.youtube_id if (cut := cut_of(value.strip())) else None


def _freesound(value: str) -> str | None:
    stem = _EXTENSION.sub("", value.strip().rpartition("/")[2])
    return found[1] if (found := _FREESOUND.fullmatch(stem)) else None


def _sha256(value: str) -> str | None:
    return found.group() if (found := _SHA256.fullmatch(value.strip().lower())) else None


_FORMS: dict[str, Callable[[str], str | None]] = {
    "name": lambda value: value or None,
    "youtube": _youtube,
    "freesound": _freesound,
    "sha256": _sha256,
}


def _encoding(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            while file.read(BLOCK):
                pass
    except UnicodeDecodeError:
        return "iso-8859-1"  # as Clotho's metadata tables have it; every byte is a character there
    return "utf-8-sig"


def _lines(file: TextIO, path: Path, kind: str) -> Iterator[tuple[str, str]]:
    first = True
    for line in file:
        value = line.rstrip("\r\n")
        if not value.strip() or (kind != "name" and value.startswith(COMMENT)):
            continue
        if first and path.suffix.lower() in _TABLES:
            _refuse_columns(path, value)
        first = False
        yield value, ""


def _refuse_columns(path: Path, line: str) -> None:
    """Refuse a table where one id a line was expected: each of its lines would be taken for one id."""
    if any(delimiter in line for delimiter in DELIMITERS):
        advice = "numbers from 1 for a file without a header; lines that are names with commas belong in a .txt"
        raise CorpusError(
            f"{path.name}: has columns, and none is named; its first line is {shown(line)}. Name the one with the ids "
            f"with `column` ({advice}), or put the right list at {path}"
        )


def _rows(file: TextIO, path: Path, options: IdListOptions) -> Iterator[tuple[str, str]]:
    numbered = all(name.isdecimal() for name in (options.column, options.side) if name)
    comments, first = _head(file, options, numbered)
    # A blank that a name begins with belongs to it; elsewhere it may stand between a comma and a quotation mark.
    form = _form(first or "".join(comments[-1:]), blanks=options.kind == "name")
    first_header = _header(first, form)
    candidates = [first_header, *(header for line in comments for header in _headers(line, form))]
    columns = next((header for header in candidates if options.column in header), first_header)
    places = _numbered(path, first_header, options) if numbered else _places(path, columns, options)
    rows = file if columns is first_header and not numbered else chain([first], file)
    for cells in csv.reader(rows, **form):
        if any(cells):
            id_, side = (cells[place] if place is not None and place < len(cells) else "" for place in places)
            yield id_, side.strip()


def _head(file: TextIO, options: IdListOptions, numbered: bool) -> tuple[list[str], str]:
    """The comment lines that a file begins with, and the first line behind them.

    A name may begin as a comment does: in a list of names they end with the header, and there are none without one.
    """
    comments: list[str] = []
    ended = numbered and options.kind == "name"
    for line in file:
        if line.startswith(COMMENT) and not ended:
            comments.append(line)
            found = any(options.column in header for header in _headers(line, _form(line, blanks=True)))
            ended = found and options.kind == "name"
        elif line.strip():
            return comments, line
    return comments, ""


def _form(line: str, blanks: bool) -> dict:
    """How a file is written as csv, by one of its lines; ``blanks``: whether those behind a comma count."""
    return {"delimiter": max(DELIMITERS, key=line.count), "skipinitialspace": not blanks, "strict": True}


def _headers(comment: str, form: dict) -> Iterator[list[str]]:
    """The columns that a comment line may name, with its mark and without."""
    yield from (_header(line, form) for line in (comment, comment.lstrip(COMMENT)))


def _header(line: str, form: dict) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], **form), [])]
    except csv.Error:  # a comment may be any text
        return []


def _places(path: Path, columns: list[str], options: IdListOptions) -> list[int | None]:
    """Where ids and sides stand in a row."""
    wanted = [options.column, options.side]
    if absent := [name for name in wanted if name and name not in columns]:
        problems = "; ".join(missing_column(path, name, columns) for name in absent)
        numbers = "numbers from 1 for a file without a header"
        raise CorpusError(f"{problems}. Correct `column` and `side` ({numbers}), or put the right list at {path}")
    return [columns.index(name) if name else None for name in wanted]


def _numbered(path: Path, cells: list[str], options: IdListOptions) -> list[int | None]:
    """The same in a file without a header, where the columns are named by their numbers."""
    wanted = [int(name) if name else None for name in (options.column, options.side)]
    if beyond := [str(number) for number in wanted if number is not None and not 0 < number <= len(cells)]:
        columns = f"there is no column {' and '.join(beyond)}; its first line has {len(cells)}, counted from 1"
        raise CorpusError(f"{path.name}: {columns}. Correct `column` and `side`, or put the right list at {path}")
    return [number - 1 if number else None for number in wanted]
