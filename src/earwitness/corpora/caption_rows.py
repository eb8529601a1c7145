"""Reads the rows of a user's table: recording, captions, split, and ids of the origin.

The columns are those that the options name, else the first of those that are usual.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, StringConstraints

from earwitness.corpora.csv_reader import half_character, missing_column, shown, some
from earwitness.corpora.ids import SPLIT_NAMES
from earwitness.corpora.metadata import UNKNOWN
from earwitness.corpora.paths import Match, from_root
from earwitness.corpora.records_reader import EXTENSIONS, RecordTable, is_given
from earwitness.corpora.tables import LONGEST, ListedClip
from earwitness.options import FilePath, Options

# In the order in which they are looked for; lower-cased, with _ for blanks and hyphens.
NAME_COLUMNS = (
    *("file_name", "filename", "file", "audio_file", "audio_filepath", "audio_path", "audio"),
    *("path", "wav", "id"),
)
CAPTION_COLUMNS = ("captions", "caption", "text")
SOURCE_COLUMNS = {"youtube_id": "youtube", "freesound_id": "freesound"}

_NUMBERED = re.compile(r"captions?_?(\d+)")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LIST_AS_TEXT = re.compile(r"\[\s*['\"].*\]", re.DOTALL)


def _known_extension(path: str) -> str:
    if Path(path).suffix.lower() not in EXTENSIONS:
        raise ValueError(f"a table is a file that ends in one of {', '.join(EXTENSIONS)}")
    return path


TablePath = Annotated[FilePath, AfterValidator(_known_extension)]
Column = Annotated[str, StringConstraints(min_length=1)]
Source = tuple[str, str]


class ColumnOptions(Options):
    """Which columns of the table to read; null: found by their names."""

    file: Column | None = None
    captions: Column | Annotated[list[Column], Field(min_length=1)] | None = None
    split: Column | None = None
    youtube_id: Column | None = None
    freesound_id: Column | None = None


class Columns(NamedTuple):
    """The columns that are read; ``sources`` are pairs of the kind of an id and its column.

    ``name`` is None for a table of captions alone, each row of which is a clip.
    """

    name: str | None
    captions: tuple[str, ...]
    split: str | None
    sources: tuple[tuple[str, str], ...]

    def all(self) -> list[str]:
        """In the order in which the values of a row are read."""
        split = [self.split] if self.split else []
        return [self.name or self.captions[0], *self.captions, *split, *(column for _, column in self.sources)]


@dataclass
class CaptionRows:
    """What the rows of a table come to, by clip id in their order: as little as possible of what may be 400,000."""

    captions: dict[str, list[str]] = field(default_factory=dict)
    sources: dict[str, dict[Source, None]] = field(default_factory=dict)
    split_names: dict[str, None] = field(default_factory=dict)


def choose_columns(table: RecordTable, options: ColumnOptions, recordings: bool = True) -> Columns | None:
    """The columns to read; None and a problem when they do not identify clips.

    ``recordings``: a column of file names is needed; else one of captions is.
    """
    configured = [options.captions] if isinstance(options.captions, str) else options.captions
    given = [options.file, options.split, options.youtube_id, options.freesound_id, *(configured or [])]
    absent = [name for name in dict.fromkeys(given) if name is not None and name not in table.columns]
    table.problems.extend(missing_column(table.path, name, table.columns) for name in absent)
    usual = _by_usual_name(table.columns)
    name = options.file or next((usual[name] for name in NAME_COLUMNS if name in usual), None)
    if name is None and recordings:
        what = "no column is called as those of file names usually are; set `columns: {file: ...}` to one of"
        table.problems.append(f"{table.path.name}: {what} {some(table.columns)}")
    split = options.split or usual.get("split")
    if (name is None and recordings) or name in absent or split in absent:
        return None
    captions = _caption_columns(table, usual) if configured is None else configured
    read = tuple(column for column in captions if column not in absent)
    if not read and not recordings:
        what = "no column is called as those of captions usually are; set `columns: {captions: ...}` to one of"
        table.problems.extend([] if captions else [f"{table.path.name}: {what} {some(table.columns)}"])
        return None
    sources = {
        kind: getattr(options, usual_name) or usual.get(usual_name) for usual_name, kind in SOURCE_COLUMNS.items()
    }
    known = [(kind, column) for kind, column in sources.items() if column is not None and column not in absent]
    return Columns(name, read, split, tuple(known))


def read_rows(
    table: RecordTable,
    columns: Columns,
    split: str,
    root: Path | None = None,
    rows: CaptionRows | None = None,
    called: str | None = None,
) -> CaptionRows:
    """All rows of the table, those of one name and split as one clip; what is wrong is added to the table's problems.

    ``split`` is that of a table without a column for it. Absolute paths below ``root`` are names from there.
    ``rows`` are those of other tables, to which these are added. Clips without a name are called by the number of their
    row and ``called``, by default the table's name.
    """
    rows = CaptionRows() if rows is None else rows
    refused, behind = defaultdict(list), 1 + len(columns.captions)
    for number, values in table.rows(columns.all()):
        split_name = _split_name(values[behind]) if columns.split else split
        given = row_name(called or table.path.name, number) if columns.name is None else values[0]
        name = _name(table, number, given, root)
        texts = _captions(table, number, name, values[1:behind])
        sources = _sources(table, number, columns, values[-len(columns.sources) :] if columns.sources else ())
        if split_name.casefold() not in SPLIT_NAMES:
            refused[split_name].append(number)
        elif name is not None:
            clip_id = f"{split_name}/{name}"
            rows.split_names[split_name] = None
            rows.captions.setdefault(clip_id, []).extend(texts)
            if sources:
                rows.sources.setdefault(clip_id, {}).update(dict.fromkeys(sources))
    for split_name, numbers in refused.items():
        where = f"rows {_enumerated(numbers)}" if len(numbers) > 1 else f"row {numbers[0]}"
        problem = f"the {columns.split} is {shown(split_name)}; known are {', '.join(SPLIT_NAMES)}"
        table.problems.append(f"{table.path.name}, {where}: {problem}")
    table.problems.extend(doubtful_splits(table.path.name, rows.split_names))
    return rows


def listed_clips(rows: CaptionRows, matches: Mapping[str, Match]) -> list[ListedClip]:
    """The clips of rows, with the files that they were matched with, if any."""
    clips = []
    for clip_id, texts in rows.captions.items():
        path, found_by, problem = matches.get(clip_id, Match(None))
        split, sources = SPLIT_NAMES[clip_id.partition("/")[0].casefold()], tuple(rows.sources.get(clip_id, ()))
        clips.append(ListedClip(clip_id, split, path, tuple(texts), found_by, problem, sources))
    return clips


def row_name(table: str, number: int | str) -> str:
    """The name of a clip whose row names no recording."""
    return f"{table}:{number}"


def is_row(name: str) -> bool:
    """Whether a clip's name is a ``row_name``.

    >>> is_row("captions.csv:12"), is_row("12.wav")
    (True, False)
    """
    return re.search(r"\.(csv|tsv|txt|jsonl?)(\.gz)?:\d+$", name, re.IGNORECASE) is not None


def problem_of_name(name: str) -> str:
    """Why a file's name from the root cannot be used; "" when it can."""
    if not name.strip():
        return f"the file name is {shown(name)}"
    if name.startswith("/") or (".." in name and ".." in PurePosixPath(name.replace("\\", "/")).parts):
        return f"{shown(name)} leads out of the data set's folder; names are paths in it"
    if _UNPRINTABLE.search(name):
        why = "a control character or a byte that is not UTF-8; is a quotation mark misplaced, or the file misnamed?"
        return f"{shown(name)} holds {why}"
    return ""


def doubtful_splits(where: str, split_names: Iterable[str]) -> list[str]:
    """Splits that may be one: several spellings of one, whose clips nothing else would distinguish, and ``dev``.

    ``dev`` means development where there is no other split to train on, and mostly validation where there is one.
    """
    spellings = defaultdict(list)
    for split_name in split_names:
        spellings["dev" if split_name.casefold() == "dev" else SPLIT_NAMES[split_name.casefold()]].append(split_name)
    problems = []
    if spellings["dev"] and spellings["development"]:
        what = f"the split {shown(spellings['dev'][0])} is used beside {shown(spellings['development'][0])}"
        problems.append(f"{where}: {what}; call it validation or development, whichever is meant")
    for split, several in spellings.items():
        if len(several) > 1:
            what = f"{' and '.join(map(shown, several))} would both be the {split} split"
            problems.append(f"{where}: {what}; write them alike")
    return problems


def _by_usual_name(columns: Iterable[str]) -> dict[str, str]:
    """The columns by what they are called but for case, blanks and hyphens; the first of those that are alike."""
    usual: dict[str, str] = {}
    for column in columns:
        usual.setdefault(re.sub(r"[\s-]+", "_", column.strip().casefold()), column)
    return usual


def _caption_columns(table: RecordTable, usual: Mapping[str, str]) -> list[str]:
    """Numbered ones in order; a number left out is a problem. Without any, the first usual one."""
    numbered: dict[int, str] = {}
    for name, column in usual.items():
        found = _NUMBERED.fullmatch(name)
        if found and (other := numbered.setdefault(int(found[1]), column)) != column:
            what = f"the columns {shown(other)} and {shown(column)} have one number"
            table.problems.append(f"{table.path.name}: {what}; rename one, or set `columns: {{captions: [...]}}`")
    if not numbered:
        return [usual[name] for name in CAPTION_COLUMNS if name in usual][:1]
    numbers = sorted(numbered)
    first, last = min(numbers[0], 1), numbers[-1]
    if last - first + 1 > len(numbers):
        gap = next(number for number in range(first, last) if number not in numbered)
        what = f"the captions go up to {shown(numbered[last])}, but number {gap} is missing"
        table.problems.append(f"{table.path.name}: {what}; name those that are meant in `columns: {{captions: [...]}}`")
    return [numbered[number] for number in numbers]


def _split_name(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _name(table: RecordTable, number: int | str, value: Any, root: Path | None) -> str | None:
    """The name a row gives its recording, byte for byte; None and a problem where it is none."""
    if isinstance(value, str):
        value = from_root(value, root)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # WavCaps and others call files by the number of the recording
    if value is None:
        problem = "the file name is missing"
    elif not isinstance(value, str):
        problem = f"the file name {shown(str(value))} is no text"
    else:
        problem = problem_of_name(value)
    if problem:
        table.blame(number, problem)
    return None if problem else value


def _captions(table: RecordTable, number: int | str, name: str | None, values: Sequence[Any]) -> list[str]:
    """The captions of a row, on one line each; a problem for each that is none, and where there is none at all."""
    texts = []
    for value in _flat(values):
        if problem := _problem_of_caption(value):
            table.blame(number, f"the caption {shown(str(value))} of {shown(name or '')} {problem}")
        texts.append(_LINE_BREAK.sub(" ", str(value)))
    if values and not texts and name:
        table.blame(number, f"{shown(name)} has no caption")
    return texts


def _problem_of_caption(value: Any) -> str:
    if not isinstance(value, str):
        return "is no text"
    if _LIST_AS_TEXT.fullmatch(value):
        return "is a list printed as text; write json, or one caption a column"
    return problem_of_text(value)


def problem_of_text(text: str) -> str:
    """Why a text cannot be a caption; "" when it can."""
    if "\0" in text or half_character(text):
        return "has a NUL character or half a character"
    if len(text) > LONGEST:
        return f"has {len(text)} characters, more than the {LONGEST} of the longest; is a quotation mark misplaced?"
    # Whatever a text's cleaning takes away, it leaves letters and digits; a caption without any has no word.
    return "" if any(character.isalnum() for character in text) else "has no word"


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """What is given, lists opened, those too that stand as json in a cell."""
    for value in values:
        if isinstance(value, str) and _LIST_AS_TEXT.fullmatch(value):
            try:
                value = json.loads(value)
            except ValueError:
                yield value
                continue
        if isinstance(value, list):
            yield from _flat(value)
        elif is_given(value) and value != "":
            yield value


def _sources(table: RecordTable, number: int | str, columns: Columns, values: Sequence[Any]) -> list[Source]:
    """The ids that a row gives; placeholders for an unknown one are skipped, as in ``metadata``."""
    sources = []
    for (kind, column), value in zip(columns.sources, values, strict=True):
        text = "" if value is None else str(value).strip()
        if kind == "freesound":
            text = text.removesuffix(".0")  # as pandas writes a column with gaps
        if text.lower() in UNKNOWN:
            continue
        if kind == "freesound" and not text.isdecimal():
            table.blame(number, f"the {column} {shown(text)} is no number")
        elif not isinstance(value, str | int | float) or _UNPRINTABLE.search(text):
            table.blame(number, f"the {column} {shown(text)} is no id")
        else:
            sources.append((kind, text))
    return sources


def _enumerated(numbers: Sequence[int | str]) -> str:
    """Numbers as they come, a run of them by its ends."""
    runs: list[list[int | str]] = []
    for number in numbers:
        if runs and isinstance(number, int) and runs[-1][-1] == number - 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs)
