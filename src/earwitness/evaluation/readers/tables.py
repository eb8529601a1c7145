"""Opens the files that people keep captions, queries and events in as tables of rows, whatever their format.

Besides what ``earwitness.corpora.records_reader`` reads (csv, json and jsonl, by row or by column) these are json that
maps a clip to its caption or captions, COCO's json (``images`` and ``annotations``), and HDF5 with a data set for each
column.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Table(Protocol):
    """Rows of named columns; ``problems`` has a message for each offender, all of them when all rows were read."""

    path: Path
    columns: tuple[str, ...]
    problems: list[str]

    def rows(self, columns: Sequence[str]) -> Iterator[NamedRow]: ...

    def blame(self, row: int | str, what: str) -> None: ...


class MemoryTable:
    """A table that is held in memory: (number of the row, its values by column)."""

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


class HdfTable(MemoryTable):
    """An HDF5 file whose data sets [rows] or [rows, values] are the columns; rows are counted from 1."""

    def __init__(self, path: Path):
        super().__init__(path)
        with open_hdf5(path, self.problems) as file:
            if file is not None:
                self.columns = tuple(name for name, data in file.items() if getattr(data, "ndim", 0) in (1, 2))
                if not self.columns:
                    self.problems.append(f"{path.name}: holds no data set of rows")

    def rows(self, columns: Sequence[str]) -> Iterator[NamedRow]:
        """All rows with the values of the named data sets, which must have the same length."""
        with open_hdf5(self.path, self.problems) as file:
            values = {name: hdf_values(file[name]) for name in dict.fromkeys(columns if file else ())}
        if len(set(map(len, values.values()))) > 1:
            lengths = ", ".join(f"{shown(name)} {len(column)}" for name, column in values.items())
            self.problems.append(f"{self.path.name}: its data sets have different lengths: {lengths}")
            return
        for number, row in enumerate(zip(*(values[name] for name in columns if values), strict=True), 1):
            yield NamedRow(number, tuple(value if is_given(value) else None for value in row))


def reason_of(error: Exception) -> str:
    """An error's message, without the path that messages of the operating system repeat."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error)


@contextmanager
def open_hdf5(path: Path, problems: list[str]) -> Iterator[Any]:
    """An HDF5 file, open meanwhile; None and a problem for one that cannot be opened.

    Raises EarwitnessError where a file that could be opened turns out to be damaged when it is read.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        problems.append(f"{path.name}: cannot be read as HDF5 ({reason_of(error)}); is it cut off, or another format?")
        yield None
        return
    with file:
        try:
            yield file
        except OSError as error:
            raise EarwitnessError(
                f"{path.name}: is damaged, it cannot be read to its end ({reason_of(error)})."
            ) from error


def hdf_values(data: Any) -> list:
    """A data set's values as Python objects; EarwitnessError for text that is not UTF-8."""
    import h5py

    try:
        return (data.asstr() if h5py.check_string_dtype(data.dtype) else data)[()].tolist()
    except UnicodeDecodeError as error:
        name = Path(data.file.filename).name
        raise EarwitnessError(f"{name}: the data set {data.name[1:]!r} holds text that is not UTF-8.") from error


def open_table(path: Path, unheaded: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda cells: ()) -> Table:
    """Open a table by its file's extension; one that cannot be used has problems and no rows.

    ``unheaded`` as for ``earwitness.corpora.csv_reader.open_sheet``.
    """
    kind = path.suffix.lower()
    if kind not in EXTENSIONS:
        return MemoryTable(path, problem=unknown_format(EXTENSIONS))
    if problem := "" if path.is_file() else unreadable_text(path):
        return MemoryTable(path, problem=problem.removeprefix(f"{path.name}: "))
    if kind in HDF5:
        return HdfTable(path)
    if kind not in records_reader.JSON:
        return RecordTable(path, unheaded)
    content, problems = read_json(path)
    if problems:
        table = MemoryTable(path)
        table.problems += problems
        return table
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return _coco(path, content)
    if _is_mapping(content):
        return MemoryTable(path, ((shown(key), {"clip_id": key, "caption": value}) for key, value in content.items()))
    return RecordTable(path)


def unknown_format(known: Sequence[str]) -> str:
    """The problem of a file whose extension is none of the known ones."""
    return f"is of an unknown format; known are {', '.join(known)}"


def read_json(path: Path) -> tuple[Any, list[str]]:
    """The content of a json file, and its problems, such as keys that one object has twice.

    The content is None where the file is not json; the problem then names the line.
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
    return content, [
        f"{path.name}: the key {shown(key)} appears {n} times; only one could be read" for key, n in twice.items()
    ]


def _is_mapping(content: Any) -> bool:
    """Whether json maps clips to captions, and is neither a table by column nor an object around a list."""
    if not isinstance(content, dict) or not content:
        return False
    names = (*CLIP_COLUMNS, *PHRASE_COLUMNS)
    by_column = any(usual(key) in names and isinstance(value, list | dict) for key, value in content.items())
    return not by_column and all(_is_captions(key, value) for key, value in content.items())


def _is_captions(key: str, value: Any) -> bool:
    """Whether a value is a caption or a list of captions, those of pycocoevalcap ({"caption": ...}) too."""
    if not isinstance(value, list):
        return not isinstance(value, dict)
    records = [entry for entry in value if isinstance(entry, dict)]
    clips = [str(v) for record in records for name, v in record.items() if usual(name) in CLIP_COLUMNS[:-1]]
    return all("caption" in record for record in records) and all(clip == key for clip in clips)


def _coco(path: Path, content: dict[str, Any]) -> MemoryTable:
    """COCO's annotations, each with the ``file_name`` of its image where there is one."""
    listed: Any = content.get("images")
    images = listed if isinstance(listed, list) else []
    names = {str(image.get("id")): image.get("file_name") for image in images if isinstance(image, dict)}
    problems, records = MemoryTable(path), []
    for number, record in enumerate(content["annotations"], 1):
        if not isinstance(record, dict):
            problems.blame(number, f"{shown(str(record))} is not an object ({{...}})")
        elif images and str(record.get("image_id")) not in names:
            problems.blame(number, f"image_id {shown(str(record.get('image_id')))} is not among the images")
        else:
            name = names.get(str(record.get("image_id")))
            records.append((number, record if name is None else {"file_name": name, **record}))
    table = MemoryTable(path, records, "" if records or problems.problems else "holds no annotation")
    table.problems += problems.problems
    return table


def usual(name: str) -> str:
    """A column's name in the spelling of the lists of usual names."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def find_column(table: Table, names: Sequence[str], given: str | None = None) -> str | None:
    """The column ``given``, else the first usual one; None, and a problem where ``given`` does not exist."""
    if given is not None:
        if given in table.columns:
            return given
        if table.columns:
            table.problems.append(missing_column(table.path, given, table.columns))
        return None
    columns = {usual(column): column for column in reversed(table.columns)}
    return next((columns[name] for name in names if name in columns), None)


def need_column(
    table: Table, names: Sequence[str], given: str | None, what: str, option: str = "", advised: Sequence[str] = ()
) -> str | None:
    """``find_column``, and a problem where there is none.

    ``option`` is the command-line option that names one; ``advised`` are the names to advise, else the first of all.
    """
    column = find_column(table, names, given)
    if column is None and given is None and table.columns:
        advice = f"; name it with {option}" if option else f", such as {', '.join(map(repr, advised or names[:3]))}"
        header = f"the header has {some(table.columns)}"
        table.problems.append(f"{table.path.name}: no column has a usual name for {what}{advice}; {header}")
    return column


def read_id(table: Table, row: int | str, value: Any, what: str = "clip") -> str | None:
    """An id as text, which json may hold as a number; None and a problem where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    missing = value is None or isinstance(value, str)
    table.blame(row, f"the {what} is missing" if missing else f"the {what} {shown(str(value))} is no id")
    return None


def enumerated(rows: Sequence[int | str]) -> str:
    """Rows as a message names them."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    return f"rows {', '.join(map(str, rows[:-1]))} and {rows[-1]}"


def refuse(problems: Sequence[str], advice: str = "") -> None:
    """EarwitnessError that lists the problems, if there are any."""
    if problems:
        raise EarwitnessError(listed("These files cannot be scored:", list(dict.fromkeys(problems)), advice))
