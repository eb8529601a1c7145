"""Reads ranked lists: the best clips of each query, without scores, as in a submission to DCASE's task 6b.

There a row has the ``caption`` and ``fname_1`` to ``fname_10``; a query may also be an id, or the clip that it was
written for. Json has a list for each query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.corpora.csv_reader import open_sheet, shown
from earwitness.corpora.records_reader import CSV
from earwitness.evaluation.readers.tables import CLIP_COLUMNS, Table, find_column, read_id, usual

QUERY_COLUMNS = ("caption_id", "query_id", "caption", "query", "text")
LIST_COLUMNS = ("ranked", "retrieved", "fnames", "file_names")

_NUMBERED = re.compile(r"(?:fname|file_?name|rank|top|retrieved)_?(\d+)")


@dataclass(frozen=True)
class RankedList:
    """The clips of one query, best first, and its row."""

    query: str
    clips: list[str]
    row: int | str


@dataclass
class Ranked:
    """The lists of a file; ``by_clip`` says that queries are named by the clip they were written for."""

    path: Path
    lists: list[RankedList] = field(default_factory=list)
    by_clip: bool = False
    problems: list[str] = field(default_factory=list)


def is_ranked(columns: tuple[str, ...]) -> bool:
    """Whether a table's columns are those of ranked lists."""
    return any(_NUMBERED.fullmatch(usual(name)) or usual(name) in LIST_COLUMNS for name in columns)


def is_mapping(content: Any) -> bool:
    """Whether json maps queries to lists of clips."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(v, list) and v and all(isinstance(name, str) for name in v) for v in content.values())
    )


def from_json(path: Path, content: Mapping[str, list[str]]) -> Ranked:
    """The lists of json that maps queries to clips."""
    return Ranked(path, [RankedList(query, list(clips), shown(query)) for query, clips in content.items()])


def read_ranked(table: Table) -> Ranked:
    """The lists of a table whose columns ``is_ranked``."""
    ranked = Ranked(table.path, problems=table.problems)
    numbered = _numbered(table)
    columns = [numbered[number] for number in sorted(numbered)] or list(
        filter(None, [find_column(table, LIST_COLUMNS)])
    )
    query = find_column(table, QUERY_COLUMNS)
    if query is None and (query := find_column(table, CLIP_COLUMNS)) is not None:
        ranked.by_clip = True
    if query is None and table.path.suffix.lower() in CSV and open_sheet(table.path)[0].columns[:1] == ("",):
        query = ""  # the column of an index that pandas wrote
    if query is None:
        what = f"no column names the query; call it {', '.join(QUERY_COLUMNS[:-1])} or {QUERY_COLUMNS[-1]}"
        table.problems.append(f"{table.path.name}: {what}")
    if table.problems or query is None:
        return ranked
    for row, (name, *values) in table.rows([query, *columns]):
        clips = [value for cell in values for value in (cell if isinstance(cell, list) else [cell])]
        clips = [read_id(table, row, clip, f"clip of rank {rank}") for rank, clip in enumerate(clips, 1)]
        name = read_id(table, row, name, "query")
        if name is not None and None not in clips:
            ranked.lists.append(RankedList(name, clips, row))
    return ranked


def _numbered(table: Table) -> dict[int, str]:
    """The columns by rank; a problem for two of the same rank, and for a missing rank."""
    numbered: dict[int, str] = {}
    for name in table.columns:
        found = _NUMBERED.fullmatch(usual(name))
        if found and (other := numbered.setdefault(int(found[1]), name)) != name:
            table.problems.append(f"{table.path.name}: the columns {shown(other)} and {shown(name)} have the same rank")
    first = min(1, *numbered) if numbered else 1
    absent = [str(rank) for rank in range(first, max(numbered, default=0)) if rank not in numbered]
    if absent:
        what = f"the ranks go up to {shown(numbered[max(numbered)])}, but {', '.join(absent)} is missing"
        table.problems.append(f"{table.path.name}: {what}")
    return numbered
