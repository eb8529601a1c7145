"""Opens the files that people keep captions, queries and events in as tables of rows, whatever kind they are.

Beside what ``earwitness.corpora.records_reader`` reads (csv, json and jsonl, by row or by column) there are json that
maps a clip to its caption or captions, COCO's json (``images`` and ``annotations``), and HDF5 with one data set a
column.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from earwitness.corpora import records_reader
from earwitness.corpora.csv_reader import missing_column, shown, some, unreadable_text
from earwitness.corpora.records_reader import NamedRow, RecordTable, is_given
from earwitness.errors import EarwitnessError, listed
from earwitness.evaluation.scores import CLIP_COLUMNS

HDF5 = (".h5", ".hdf5", ".hdf")
EXTENSIONS = (*records_reader.EXTENSIONS, *HDF5)
PHRASE_COLUMNS = ("phrase_id", "pair_id", "pair", "query_id")

_BLANK = re.compile(r"[\s-]+")


class Table(Protocol):
    """Rows of named columns; ``problems`` holds one message for each offender, all of them when all rows were read."""

    path: Path
    columns: tuple[str, ...]
    problems: list[str]

    def rows(self, columns: Sequence[str]) -> Iterator[NamedRow]: ...

    def blame(self, row: int | str, what: str) -> None: ...


class HeldTable:
    """A table that is held: (number of the row, its values by column)."""

    def __init__(self, path: Path, records: Iterable[tuple[int | str, dict[str, Any]]] = (), problem: str = ""):
        self.path = path
        self.records = list(records)
        self.columns = tuple(dict.fromkeys(name for _, record in self.records for name in record))
        self.problems = [f"{path.name}: {problem}"] if problem else []

    def rows(self, columns: Sequence[str]) -> Iterator[NamedRow]:
        """All rows with the values of the named columns, None where nothing is given."""
        for number, record in self.records:
            values = (record.get(name) for name in columns)
            yield NamedRow(number, tuple(value if is_given(value) else None for value in values))

    def blame(self, row: int | str, what: str) -> None:
        """Note a problem of one row."""
        self.problems.append(f"{self.path.name}, row {row}: {what}")


class HdfTable(HeldTable):
    """An HDF5 file whose data sets [rows] or [rows, values] are the columns; rows are counted from 1."""

    def __init__(self, path: Path):
        import h5py

        super().__init__(path)
        try:
            with h5py.File(path, "r") as file:
                self.columns = tuple(
                    name for name, data in file.items() if isinstance(data, h5py.Dataset) and data.ndim in (1, 2)
                )
        except OSError as error:
            self.problems.append(no_hdf5(path, error))
        else:
            if not self.columns:
                self.problems.append(f"{path.name}: holds no data set of rows")

    def rows(self, columns: Sequence[str]) -> Iterator[NamedRow]:
        """All rows with the values of the named data sets, which must be equally long."""
        import h5py

        with reading(self.path), h5py.File(self.path, "r") as file:
            found = {name: hdf_values(file[name]) for name in dict.fromkeys(columns)}
        if len({len(values) for values in found.values()}) > 1:
            told = ", ".join(f"{shown(name)} {len(values)}" for name, values in found.items())
            self.problems.append(f"{self.path.name}: its data sets are not equally long: {told}")
            return
        for number, values in enumerate(zip(*(found[name] for name in columns), strict=True), 1):
            yield NamedRow(number, tuple(value if is_given(value) else None for value in values))


def reason_of(error: Exception) -> str:
    """What an error says, without the path that the operating system's own repeat."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error)


def no_hdf5(path: Path, error: OSError) -> str:
    """The problem of a file that cannot be opened as HDF5."""
    return f"{path.name}: cannot be read as HDF5 ({reason_of(error)}); is it cut off, or another kind?"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """EarwitnessError for an HDF5 file that could be opened and turns out to be damaged where it is read."""
    try:
        yield
    except OSError as error:
        raise EarwitnessError(f"{path.name}: is damaged, it cannot be read to its end ({reason_of(error)}).") from error


def hdf_values(data: Any) -> list:
    """A data set's values as Python's own; EarwitnessError for text that is not UTF-8."""
    import h5py

    try:
        return (data.asstr() if h5py.check_string_dtype(data.dtype) else data)[()].tolist()
    except UnicodeDecodeError as error:
        name = Path(data.file.filename).name
        raise EarwitnessError(f"{name}: the data set {data.name[1:]!r} holds text that is not UTF-8.") from error


def open_table(path: Path) -> Table:
    """Open a table by what its file is called; one that cannot be used has problems and no rows."""
    kind = path.suffix.lower()
    if kind not in EXTENSIONS:
        return HeldTable(path, problem=f"is of a kind that is not read; known are {', '.join(EXTENSIONS)}")
    if problem := "" if path.is_file() else unreadable_text(path):
        return HeldTable(path, problem=problem.removeprefix(f"{path.name}: "))
    if kind in HDF5:
        return HdfTable(path)
    return _open_json(path) if kind in records_reader.JSON else RecordTable(path)


def read_json(path: Path) -> tuple[Any, list[str]]:
    """The content of anybody's json, and its problems: among them keys that one object has twice.

    Content that is no json at all is None, and the problem says on which line it ends to be one.
    """
    if problem := unreadable_text(path):
        return None, [problem]
    twice: Counter = Counter()

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            twice.update({key: number for key, number in Counter(key for key, _ in pairs).items() if number > 1})
        return content

    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        what = f"is not json from here on ({error.msg}); is the file cut off?"
        return None, [f"{path.name}, line {error.lineno}: {what}"]
    except (ValueError, RecursionError) as error:
        return None, [f"{path.name}: is not json that can be read ({error})"]
    told = [f"{path.name}: the key {shown(key)} stands {n} times; only one could be read" for key, n in twice.items()]
    return content, told


def _open_json(path: Path) -> Table:
    content, problems = read_json(path)
    if problems:
        table: Table = HeldTable(path)
        table.problems.extend(problems)
        return table
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return _coco(path, content)
    if _is_mapping(content):
        return HeldTable(path, ((shown(key), {"clip_id": key, "caption": value}) for key, value in content.items()))
    return RecordTable(path)


def _is_mapping(content: Any) -> bool:
    """Whether json maps clips to what is said of them, and is no table by column and no object around a list."""
    if not isinstance(content, dict) or not content:
        return False
    names = (*CLIP_COLUMNS, *PHRASE_COLUMNS)
    by_column = any(usual(key) in names and isinstance(value, list | dict) for key, value in content.items())
    return not by_column and all(_says_captions(key, value) for key, value in content.items())


def _says_captions(key: str, value: Any) -> bool:
    """Whether a value is a caption or a list of captions, those of pycocoevalcap ({"caption": ...}) too."""
    if not isinstance(value, list):
        return not isinstance(value, dict)
    records = [entry for entry in value if isinstance(entry, dict)]
    own = [str(v) for record in records for name, v in record.items() if usual(name) in CLIP_COLUMNS[:-1]]
    return all("caption" in record for record in records) and all(clip == key for clip in own)


def _coco(path: Path, content: dict[str, Any]) -> HeldTable:
    """COCO's annotations, each with the ``file_name`` of its image where that is told."""
    images = content.get("images") if isinstance(content.get("images"), list) else []
    names = {str(image.get("id")): image.get("file_name") for image in images if isinstance(image, dict)}
    table, records = HeldTable(path), []
    for number, record in enumerate(content["annotations"], 1):
        if not isinstance(record, dict):
            table.blame(number, f"{shown(str(record))} is not an object ({{...}})")
        elif images and str(record.get("image_id")) not in names:
            table.blame(number, f"image_id {shown(str(record.get('image_id')))} is not among the images")
        else:
            name = names.get(str(record.get("image_id")))
            records.append((number, record if name is None else {"file_name": name, **record}))
    held = HeldTable(path, records, "" if records or table.problems else "holds no annotation")
    held.problems.extend(table.problems)
    return held


def usual(name: str) -> str:
    """A column's name as those in the lists of usual ones stand."""
    return _BLANK.sub("_", name.strip().casefold())


def find_column(table: Table, names: Sequence[str], given: str | None = None) -> str | None:
    """The column that was named, else the first usual one there is; None and a problem for a named one that is not."""
    if given is not None:
        if given in table.columns:
            return given
        if table.columns:
            table.problems.append(missing_column(table.path, given, table.columns))
        return None
    there: dict[str, str] = {}
    for column in table.columns:
        there.setdefault(usual(column), column)
    return next((there[name] for name in names if name in there), None)


def need_column(table: Table, names: Sequence[str], given: str | None, what: str, option: str = "") -> str | None:
    """``find_column``, and a problem where there is none; ``option`` is that of the command line that names one."""
    column = find_column(table, names, given)
    if column is None and given is None and table.columns:
        advice = f"; name it with {option}" if option else f"; such as {', '.join(map(repr, names[:3]))}"
        has = f"the header has {some(table.columns)}"
        table.problems.append(f"{table.path.name}: no column is called as those of {what} usually are{advice}; {has}")
    return column


def read_id(table: Table, row: int | str, value: Any, what: str = "clip") -> str | None:
    """An id as text, which json may hold as a number; None and a problem where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    missing = value is None or value == "" or (isinstance(value, str) and not value.strip())
    table.blame(row, f"the {what} is missing" if missing else f"the {what} {shown(str(value))} is no id")
    return None


def enumerated(rows: Sequence[int | str]) -> str:
    """Rows as a message names them."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    return f"rows {', '.join(map(str, rows[:-1]))} and {rows[-1]}"


def refuse(problems: Sequence[str], heading: str = "These files cannot be scored:", advice: str = "") -> None:
    """EarwitnessError that lists the problems, if there are any."""
    if problems:
        raise EarwitnessError(listed(heading, list(dict.fromkeys(problems)), advice))
