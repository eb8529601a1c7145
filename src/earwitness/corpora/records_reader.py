"""Reads tables of anybody's recordings: csv, json or jsonl, as rows of named columns.

Rows are passed on one by one and never held, so that tables of 400,000 rows (WavCaps) take no memory. Json is a list of
objects, an object that has one such list, or columns (column -> list, or column -> row -> value, as pandas writes it).
The standard library decodes it, a value at a time: the available streaming readers refuse NaN, which many tables have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from earwitness.corpora.csv_reader import Sheet, open_sheet, shown, unreadable_text

CSV = (".csv", ".tsv", ".txt")
JSON = (".json",)
JSON_LINES = (".jsonl", ".ndjson")
EXTENSIONS = (*CSV, *JSON, *JSON_LINES)
PIECE = 1 << 20  # characters read at a time

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_LONGEST_WORD = len("-Infinity")  # that json has beside strings and numbers


class NamedRow(NamedTuple):
    """A row: its number, and a value for each requested column.

    The number is the line it begins on in csv and jsonl; in json that of the object, counted from 1, or the row's key
    in its columns. Values are text in csv, any type in json; None where the value is absent, null or NaN.
    """

    number: int | str
    values: tuple[Any, ...]


class RecordTable:
    """A csv, json or jsonl file. ``columns`` are all of its columns, none when the file cannot be used.

    ``unheaded`` as for ``open_sheet``. ``texts`` is the column of json's texts that stand where objects are expected;
    "" to refuse them.

    ``problems`` has a message for each offender, naming file, row and value, all of them when all rows were read.
    """

    def __init__(
        self, path: Path, unheaded: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda cells: (), texts: str = ""
    ):
        self.path = path
        self.columns: tuple[str, ...] = ()
        self.problems: list[str] = []
        self._rows: Callable[[Sequence[str]], Iterator[NamedRow]] = lambda columns: iter(())
        kind = path.suffix.lower()
        if kind in CSV:
            self._open_csv(unheaded)
        elif kind in EXTENSIONS:
            self._open_json(partial(_json_lines if kind in JSON_LINES else _json_objects, texts=texts))
        else:
            self.problems.append(f"{path.name}: is not a table of a known format; known are {', '.join(EXTENSIONS)}")

    def rows(self, columns: Sequence[str]) -> Iterator[NamedRow]:
        """All rows, once, with the values of the named columns."""
        return self._rows(columns)

    def blame(self, row: int | str, what: str) -> None:
        """Note a problem of one row."""
        self.problems.append(f"{self.path.name}, row {row}: {what}")

    def _open_csv(self, unheaded: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        sheet, records = open_sheet(self.path, unheaded=unheaded)
        self.columns, self.problems = tuple(name for name in sheet.columns if name), sheet.problems

        def rows(columns: Sequence[str]) -> Iterator[NamedRow]:
            places = [sheet.columns.index(name) for name in columns]
            for number, cells in records:
                yield NamedRow(number, tuple(cells[place] for place in places))

        self._rows = rows

    def _open_json(self, read: Callable[[Path, Sheet], Iterator[tuple[int | str, Mapping[str, Any]]]]) -> None:
        """Read the file twice: all its columns are known only at its end."""
        sheet = Sheet(self.path)
        self.problems = sheet.problems
        if problem := unreadable_text(self.path):
            sheet.problems.append(problem)
            return
        names: dict[str, None] = {}
        for _, record in read(self.path, sheet):
            names.update(dict.fromkeys(record))
        self.columns = tuple(names)
        if not names and not sheet.problems:
            sheet.problems.append(f"{self.path.name}: is empty")

        def rows(columns: Sequence[str]) -> Iterator[NamedRow]:
            for number, record in read(self.path, Sheet(self.path)):  # its problems are known from the first time
                values = (record.get(name) for name in columns)
                yield NamedRow(number, tuple(value if is_given(value) else None for value in values))

        self._rows = rows


def is_given(value: Any) -> bool:
    """Whether a json value is neither null nor NaN."""
    return value is not None and value == value


def _json_lines(path: Path, sheet: Sheet, texts: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        lines = ((number, line.strip()) for number, line in enumerate(file, 1) if line.strip())
        for place, (number, line) in enumerate(lines):
            if place == 0 and line.startswith("["):
                sheet.blame(number, "begins with a list; a file that is one list of objects is called .json")
                return
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                sheet.blame(number, f"{shown(line)} is not json ({_reason(error)}); is the line cut off?")
                continue
            if isinstance(record, dict):
                yield number, record
            elif texts and isinstance(record, str):
                yield number, {texts: record}
            else:
                sheet.blame(number, f"{shown(line)} is not an object ({{...}})")


class BrokenJson(Exception):
    """Json that cannot be read on: the line, and what is wrong with it."""


class JsonText:
    """A json file whose values are decoded one by one, with little more than one of them in memory as text."""

    def __init__(self, file: TextIO):
        self._file, self._text, self._at, self._line = file, "", 0, 1

    def next(self) -> str:
        """The next character that is not blank, which stays unread; "" at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches anywhere
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> bool:
        """Skip a character, if it is the next; whether it was."""
        found = self.next() == character
        self._at += found
        return found

    def expect(self, character: str) -> None:
        """Skip a character that has to be the next."""
        if not self.take(character):
            found = f"{self.next()!r}" if self.next() else "the file's end"
            raise self._syntax(f"{character!r} is expected, here is {found}", self._at)

    def value(self) -> Any:
        """The next value, whole."""
        self.next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                may_be_cut = error.msg.startswith("Unterminated") or error.pos + _LONGEST_WORD > len(self._text)
                if may_be_cut and self._more():
                    continue
                raise self._syntax(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:
                raise self._syntax(_reason(error), self._at) from None
            if end + 2 < len(self._text) or not self._more():  # of a number, as much as "e-" may be left behind
                self._at = end
                return value

    def broken(self, what: str, at: int | None = None) -> BrokenJson:
        """What to raise about the character at ``at``, else about the next one."""
        return BrokenJson(self._line + self._text.count("\n", 0, self._at if at is None else at), what)

    def _syntax(self, why: str, at: int) -> BrokenJson:
        return self.broken(f"is not json from here on ({why}); is the file cut off?", at)

    def _more(self) -> bool:
        """Read as much text again as is unread, at least a piece, so that a long value takes few attempts."""
        piece = self._file.read(max(PIECE, len(self._text) - self._at))
        if piece:
            self._line += self._text.count("\n", 0, self._at)
            self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)


def _json_objects(path: Path, sheet: Sheet, texts: str) -> Iterator[tuple[int | str, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        text = JsonText(file)
        try:
            if text.take("["):
                yield from _objects(_elements(text), sheet, texts)
            elif text.take("{"):
                yield from _within_object(text, sheet)
            elif text.next():
                raise text.broken(f"begins with {text.next()!r}; a list of objects ([{{...}}, ...]) is needed")
            if text.next():
                raise text.broken("goes on after its end; a file with one object a line is called .jsonl")
        except BrokenJson as error:
            line, what = error.args
            sheet.problems.append(f"{path.name}, line {line}: {what}")


def _elements(text: JsonText) -> Iterator[Any]:
    """The elements of a list whose bracket was read."""
    if text.take("]"):
        return
    while True:
        yield text.value()
        if text.take("]"):
            return
        text.expect(",")


def members(text: JsonText) -> Iterator[str]:
    """The keys of an object whose brace was read; the caller reads the value of each."""
    if text.take("}"):
        return
    while True:
        if text.next() != '"':
            text.expect('"')
        key = text.value()
        text.expect(":")
        yield key
        if text.take("}"):
            return
        text.expect(",")


def _objects(elements: Iterator[Any], sheet: Sheet, texts: str = "") -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, record in enumerate(elements, 1):
        if isinstance(record, dict):
            yield number, record
        elif texts and isinstance(record, str):
            yield number, {texts: record}
        else:
            sheet.blame(number, f"{shown(str(record))} is not an object ({{...}})")


def _within_object(text: JsonText, sheet: Sheet) -> Iterator[tuple[int | str, Mapping[str, Any]]]:
    """The rows of the one list of objects that an object holds, else those of its columns."""
    lists: list[str] = []
    columns: dict[str, Any] = {}
    for key in members(text):
        if not text.take("["):
            if isinstance(value := text.value(), dict):
                columns[key] = value
        elif text.next() == "{":
            lists.append(key)
            yield from (row for row in _objects(_elements(text), sheet) if len(lists) == 1)
        else:
            columns[key] = list(_elements(text))
    if len(lists) > 1:
        what = f"holds several lists of objects, {', '.join(map(shown, lists))}; keep the one that is meant"
        sheet.problems.append(f"{sheet.path.name}: {what}")
    elif not lists and columns:
        yield from _by_row(columns, sheet)
    elif not lists:
        sheet.problems.append(f"{sheet.path.name}: holds no list of objects ([{{...}}, ...]) and no columns")


def _by_row(columns: dict[str, Any], sheet: Sheet) -> Iterator[tuple[int | str, Mapping[str, Any]]]:
    """Rows of a table by column; those of lists are counted from 1."""
    of_lists = {name: values for name, values in columns.items() if isinstance(values, list)}
    lengths = {name: len(values) for name, values in of_lists.items()}
    if of_lists and len(of_lists) < len(columns):
        one, other = next(iter(of_lists)), next(name for name in columns if name not in of_lists)
        what = f"the column {shown(one)} is a list, the column {shown(other)} an object"
        sheet.problems.append(f"{sheet.path.name}: {what}; all columns must be alike")
    elif len(set(lengths.values())) > 1:
        found = ", ".join(f"{shown(name)} {length}" for name, length in lengths.items())
        sheet.problems.append(f"{sheet.path.name}: its columns have different lengths: {found}")
    elif of_lists:
        for number, values in enumerate(zip(*of_lists.values(), strict=True), 1):
            yield number, dict(zip(of_lists, values, strict=True))
    else:
        for key in dict.fromkeys(key for values in columns.values() for key in values):
            row = int(key) if key.isdecimal() else key
            yield row, {name: values.get(key) for name, values in columns.items()}


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
