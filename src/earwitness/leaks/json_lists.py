"""Id lists in json: lists of ids at any depth, such as those of several sources, or objects with a named key.

Values are decoded one by one, so that a long list is never held. A file with a value a line (jsonl) is read the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from earwitness.audio.formats import EXTENSIONS
from earwitness.corpora.csv_reader import missing_column, shown, some
from earwitness.corpora.records_reader import JSON_LINES, BrokenJson, JsonText, members
from earwitness.errors import CorpusError, sentence
from earwitness.options import IdListOptions

KEYS = 100  # of objects that are remembered for a message


def entries(file: TextIO, path: Path, options: IdListOptions) -> Iterator[tuple[str, str]]:
    """The entries of a json or jsonl file, in order: text, and its side or "".

    Without ``column`` these are the texts and numbers in lists at any depth, with it what objects have under that key:
    a text, a number, or a list of them; ``side`` is a key of the same object.

    Raises CorpusError for broken json, for objects where no key is named, and where no object has such keys.
    """
    reader = _Reader(JsonText(file), path, options)
    try:
        yield from reader.documents()
    except BrokenJson as error:
        line, what = error.args
        raise CorpusError(f"{path}, line {line}: {what} Put the list at this path anew") from error
    except RecursionError as error:
        raise CorpusError(f"{path} is nested too deeply to be a list of ids") from error
    names = [name for name in (options.column, options.side) if name]
    if absent := [name for name in names if name not in reader.named]:
        problems = "; ".join(missing_column(path, name, list(reader.keys)) for name in absent)
        raise CorpusError(f"{sentence(problems)} Correct `column` and `side`, or put the right list at {path}")


class _Reader:
    def __init__(self, text: JsonText, path: Path, options: IdListOptions):
        self._text, self._path, self._options = text, path, options
        self.keys: dict[str, None] = {}  # that objects have
        self.named: set[str] = set()  # of those the options name, the ones found

    def documents(self) -> Iterator[tuple[str, str]]:
        """The entries of all values that the file holds; several, as jsonl has, count as a list."""
        lines = self._path.name.lower().removesuffix(".gz").endswith(JSON_LINES)
        while character := self._text.next():
            yield from self._value(in_list=lines or character != "{")
            lines = True

    def _value(self, in_list: bool, wanted: bool = False) -> Iterator[tuple[str, str]]:
        """The entries of the next value; ``wanted``: it is what the named key has."""
        if self._text.take("["):
            going_on = not self._text.take("]")
            while going_on:
                yield from self._value(True, wanted)
                if going_on := not self._text.take("]"):
                    self._text.expect(",")
        elif self._text.take("{"):
            yield from self._object(in_list, wanted and not in_list)
        else:
            value = self._text.value()
            if wanted or (in_list and self._options.column is None):
                yield _written(value), ""

    def _object(self, in_list: bool, wanted: bool) -> Iterator[tuple[str, str]]:
        column, side = self._options.column, self._options.side
        held: dict[str, Any] = {}
        keys = members(self._text)
        for key in keys:
            if len(self.keys) < KEYS:
                self.keys[key] = None
            self.named |= {key} & {column, side}
            if column is None:
                self._refuse_unnamed(key, keys, in_list)
            if side and key in (column, side):
                held[key] = self._text.value()
            else:
                yield from self._value(False, wanted or key == column)
        if column in held:
            yield from self._with_sides(held[column], held.get(side or "", ""))

    def _with_sides(self, ids: Any, sides: Any) -> Iterator[tuple[str, str]]:
        """Ids with their sides: one, or as many as ids, where both are columns."""
        ids, sides = ([*value.values()] if isinstance(value, dict) else value for value in (ids, sides))
        ids = ids if isinstance(ids, list) else [ids]
        if isinstance(sides, list) and len(sides) != len(ids):
            what = f"{self._options.column!r} has {len(ids)} values and {self._options.side!r} {len(sides)}"
            raise CorpusError(f"{self._path}: {what} in one object. Correct `column` and `side`")
        for id_, side in zip(ids, sides if isinstance(sides, list) else [sides] * len(ids), strict=True):
            yield _written(id_), _written(side).strip()

    def _refuse_unnamed(self, key: str, others: Iterator[str], in_list: bool) -> None:
        """Refuse objects that stand for entries: without a named key, whatever they hold would be taken for ids."""
        if in_list and self._text.next() not in ("[", "{"):
            self._text.value()
            what = f"its entries are objects, with keys such as {some([key, *self._rest(others)])}"
            raise CorpusError(f"{self._path}: {what}. Name the one with the ids with `column`")
        if key.lower().endswith(EXTENSIONS):
            what = f"its ids seem to be the keys of an object, such as {shown(key)}, and only values are read"
            raise CorpusError(f"{self._path}: {what}. Write them as a list ([...]), or one a line in a .txt")

    def _rest(self, keys: Iterator[str]) -> Iterator[str]:
        for key in keys:
            self._text.value()
            yield key


def _written(value: Any) -> str:
    """A text as it is, a number as it is written; "" for anything else, which is no id."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be written
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else ""
