"""Lists of recordings, as data sets and models are published with them: read line by line, ids brought to one form.

A list is a csv with a column that holds the ids, has one id a line, or is json or jsonl (``json_lists``); each may be
compressed with gzip. AudioSet's csv (comment lines, the last of them the header; blanks behind commas) and VGGSound's
(no header: columns are named by their numbers, from 1) are read too. Lines that begin with ``#`` are comments, except
in lists of names, which may begin so.

A list that was misread looks like one without leaks. One of which most entries cannot be ids of its kind is refused.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TextIO

from earwitness.corpora.csv_reader import DELIMITERS, missing_column, shown
from earwitness.corpora.records_reader import JSON, JSON_LINES
from earwitness.corpora.youtube import cut_of, is_youtube_id
from earwitness.errors import CorpusError, sentence
from earwitness.leaks import json_lists
from earwitness.options import IdListOptions

COMMENT = "#"
BLOCK = 1 << 16  # characters decoded at a time where the encoding is found out
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_FREESOUND = re.compile(r"0*(\d+)(?:\.0)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"(?:[?&]v=|youtu\.be/|/(?:embed|shorts|live)/)([^?&#/\s]+)")
_TABLES = (".csv", ".tsv")  # what is called so has columns, where lines of other files may be names with commas
_JSON_TEXT = re.compile(
    r'\s*(?:\{\s*"|\[[ \t\r]*(?:["\[{\n]|\d+\s*,))'
)  # a name may begin with a bracket, "[1] rain.wav"
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # characters that no text has

# What hardly is the name of a recording. One without extension may be any words, and is shorter than most captions.
_NO_NAME = re.compile(r"[-+]?\d*\.\d+|.*[\t\n\r].*", re.DOTALL)  # seconds, rows
_ROW = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}[\"']?[,;]")  # an extension, and then a cell
_SPLITS = {"train", "training", "dev", "development", "val", "valid", "validation", "test", "eval", "evaluation"}
_WORDS = 6  # of 6,974 recordings of Clotho 6 % have more in their names, of captions of AudioCaps 66 %
_LONGEST = 255  # bytes of a file's name
_REPEATED = 30  # ids are not listed this many times each on average, sides and times are
_VALUES = 1000  # that are remembered, to find out


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

    Raises CorpusError for a file that is absent, cannot be read, is no list, or has no such column, and in the end for
    one more than half of whose entries cannot be ids of its kind, or whose values are a few that repeat.
    """
    if not path.is_file():
        raise CorpusError(f"the list does not exist; put it at {path}")
    entries, bare, example = 0, 0, ""
    values: set[str] = set()
    try:
        with _opened(path) as file:
            for value, side in _entries(file, path, options):
                id_ = comparable(options.kind, value)
                entries += 1
                if id_ is None or not _may_be(options.kind, value):
                    bare += 1
                    example = example or value
                if len(values) < _VALUES:
                    values.add(value)
                yield Listed(id_, side)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorpusError(f"{path} is damaged ({error}); put the list at this path anew") from error
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror or error}); put the list at this path") from error
    except csv.Error as error:
        raise CorpusError(f"{path} cannot be read as csv ({error}); put the list at this path anew") from error
    if not entries or 2 * bare > entries:
        raise CorpusError(_useless(path, options, entries, bare, example))
    few = len(values) < _VALUES and len(values) * _REPEATED < entries and options.kind != "sha256"
    if few and not any(map(_EXTENSION.search, values)):
        what = f"{path} has only {len(values)} different values in {entries} entries, such as {shown(min(values))}"
        raise CorpusError(f"{what}; {_advice(options)}")


def _useless(path: Path, options: IdListOptions, entries: int, bare: int, example: str) -> str:
    """Why a list whose entries hold hardly any id cannot be used, and the likely mistake."""
    if bare == entries:
        what = f"{path} has no id of the kind {options.kind!r}"
    else:
        what = f"{path} has no id of the kind {options.kind!r} in {bare} of its {entries} entries"
    such = f", but entries such as {shown(example)}" if example else ""
    return f"{what}{such}; {_advice(options)}"


def _advice(options: IdListOptions) -> str:
    place = f"is {options.column!r} the right `column`?" if options.column else "is it a table, which needs `column`?"
    return f"{place} Correct `column` or `kind`, or put the list at this path"


def _may_be(kind: str, value: str) -> bool:
    """Whether a text with the form of an id may well be one; only names and YouTube ids could be many other things."""
    if kind not in ("name", "youtube"):
        return True
    name = value.strip().replace("\\", "/").rpartition("/")[2]
    if value.strip().casefold() in _SPLITS or (kind == "name" and (not name or _NO_NAME.fullmatch(value.strip()))):
        return False
    if kind == "youtube" or _EXTENSION.search(name):
        return len(name.encode()) <= _LONGEST and not _ROW.search(name)
    return len(name.split()) <= _WORDS and not _ROW.search(name) and not name.endswith((".", "!", "?"))


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


def _opened(path: Path) -> TextIO:
    """A list as text, unpacked; refused where it is none."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"  # whatever it is called

    def text(encoding: str) -> TextIO:
        return (
            gzip.open(path, "rt", encoding=encoding, newline="") if packed else path.open(encoding=encoding, newline="")
        )

    encoding = "utf-8-sig"
    try:
        with text(encoding) as file:
            while file.read(BLOCK):
                pass
    except UnicodeDecodeError:
        encoding = "iso-8859-1"  # as Clotho's metadata tables have it; every byte is a character there
    file = text(encoding)
    start = file.read(BLOCK)
    file.seek(0)
    form = "csv, json, jsonl, or text with an id a line, each also as .gz"
    if _BINARY.search(start):
        what = "is no text (a table of another format, or UTF-16?)"
    elif start.lstrip().startswith("<"):
        what = "is a web page, or XML"
    elif not _is_json(path) and _JSON_TEXT.match(start):
        what = "looks like json by its first characters; call it .json, or .jsonl with a value a line"
    else:
        return file
    file.close()
    raise CorpusError(f"{path} {what}. A list is {form}; put the right one there")


def _is_json(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith((*JSON, *JSON_LINES))


def _entries(file: TextIO, path: Path, options: IdListOptions) -> Iterator[tuple[str, str]]:
    """The entries of a list by its form: text, and its side or ""."""
    if _is_json(path):
        return json_lists.entries(file, path, options)
    return _rows(file, path, options) if options.column else _lines(file, path, options.kind)


def _lines(file: TextIO, path: Path, kind: str) -> Iterator[tuple[str, str]]:
    first = True
    for line in file:
        value = line.rstrip("\r\n")
        if not value.strip() or (kind != "name" and value.startswith(COMMENT)):
            continue
        if first and path.name.lower().removesuffix(".gz").endswith(_TABLES):
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
        raise CorpusError(
            f"{sentence(problems)} Correct `column` and `side` ({numbers}), or put the right list at {path}"
        )
    return [columns.index(name) if name else None for name in wanted]


def _numbered(path: Path, cells: list[str], options: IdListOptions) -> list[int | None]:
    """The same in a file without a header, where the columns are named by their numbers."""
    wanted = [int(name) if name else None for name in (options.column, options.side)]
    if beyond := [str(number) for number in wanted if number is not None and not 0 < number <= len(cells)]:
        columns = f"there is no column {' and '.join(beyond)}; its first line has {len(cells)}, counted from 1"
        raise CorpusError(f"{path.name}: {columns}. Correct `column` and `side`, or put the right list at {path}")
    return [number - 1 if number else None for number in wanted]
