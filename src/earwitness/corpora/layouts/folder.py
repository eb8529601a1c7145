"""The folder layout: a user's recordings, with a table of captions (csv, json, jsonl) or without any.

Without a table every recording below the root is a clip without captions. Where the root holds folders named after
splits (``SPLIT_NAMES``) and no recording outside of them, a folder's recordings belong to its split, and a clip is
called by its path; otherwise all belong to the option ``split``.

With a table every row is a clip, or one more caption of it (``caption_rows``). Its recording is looked for everywhere
below the root.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from earwitness.corpora.caption_rows import (
    NAME_COLUMNS,
    CaptionRows,
    ColumnOptions,
    TablePath,
    choose_columns,
    doubtful_splits,
    listed_clips,
    problem_of_name,
    read_rows,
)
from earwitness.corpora.csv_reader import shown
from earwitness.corpora.ids import SPLIT_NAMES
from earwitness.corpora.paths import BY_NAME, Match, match, recordings_below
from earwitness.corpora.records_reader import EXTENSIONS, RecordTable
from earwitness.errors import CorpusError, nearest
from earwitness.files import sha256
from earwitness.options import SPLITS, RecordingsOptions

if TYPE_CHECKING:  # as in the other layouts: the configuration reads this module whenever it is checked
    from earwitness.corpora.tables import Listing


class FolderOptions(RecordingsOptions):
    """A folder of recordings. ``table`` is absolute, or a path from the folder ``tables`` (null: from the root)."""

    layout: Literal["folder"]
    source: None = None  # it is not published
    table: TablePath | None = None  # null: no captions
    columns: ColumnOptions = ColumnOptions()
    split: Literal["development", "validation", "evaluation"] = "evaluation"  # where neither table nor folders give it


class Folder:
    """Reads a folder of a user's recordings."""

    makes_audio = False

    def __init__(self, options: FolderOptions):
        self.options = options

    def listing(self, root: Path) -> Listing:
        """The clips in the table's order, else in that of their splits and names; their audio is not opened.

        Every offending row and value is in the listing's ``problems``. Raises CorpusError when there is nothing to
        list: no folder, no recording where no table is configured, or no table where one is.
        """
        if not root.is_dir():
            raise CorpusError(f"The data set's folder {root} does not exist; set the entry's `audio` to where it is.")
        files = recordings_below(root)
        if self.options.table is None:
            return _without_table(root, files, self.options.split)
        path = self._table(root, self.options.table)
        if not path.is_file():
            raise CorpusError(_no_table(path, self.options.table))
        return _with_table(root, files, path, self.options)

    def tables(self, root: Path) -> list[Path]:
        """The table, if one is configured and there."""
        return (
            [path for path in [self._table(root, self.options.table)] if path.is_file()] if self.options.table else []
        )

    def _table(self, root: Path, table: str) -> Path:
        folder = Path(self.options.tables).expanduser() if self.options.tables else root
        return folder / Path(table).expanduser()


def _no_table(path: Path, table: str) -> str:
    said = f"The data set's table {path} does not exist. `table` is absolute, or a path from the data set's `tables`"
    said += " (without that, from its `audio`)"
    if Path(table).is_file():
        return f"{said}; {Path(table).absolute()} does exist."
    there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    tables = [name for name in there if Path(name).suffix.lower() in EXTENSIONS]
    return f"{said}. Tables in {path.parent}: {nearest(path.name, tables)}"


def _without_table(root: Path, files: set[str], split: str) -> Listing:
    from earwitness.corpora.tables import ListedClip, Listing

    if not files:
        raise CorpusError(f"{root} holds no recording; set the entry's `audio` to the folder that holds them.")
    tops = Counter(file.partition("/")[0] if "/" in file else "" for file in files)
    named = sorted(top for top in tops if top.casefold() in SPLIT_NAMES)
    by_folder = len(named) == len(tops)
    of_folders = {top: SPLIT_NAMES[top.casefold()] for top in named}
    found = Listing([], notes={"splits": of_folders if by_folder else split}, whole_ids=by_folder)
    if by_folder:
        found.problems.extend(doubtful_splits(str(root), named))
    else:
        found.notes["split_by_default"] = split
        if named:
            found.notes["folders_taken_for_no_split"] = {top: tops[top] for top in named}
    tables = {*EXTENSIONS} - {".txt"}
    if unread := sorted(path.name for path in root.iterdir() if path.suffix.lower() in tables):
        found.notes["tables_not_read"] = unread
    for file in sorted(files):
        if problem := problem_of_name(file):
            found.problems.append(f"{root}: {problem}")
            continue
        of_file = SPLIT_NAMES[file.partition("/")[0].casefold()] if by_folder else split
        found.clips.append(ListedClip(file if by_folder else f"{split}/{file}", of_file, file, ()))
    found.clips.sort(key=lambda clip: SPLITS.index(clip.split))
    return found


def _with_table(root: Path, files: set[str], path: Path, options: FolderOptions) -> Listing:
    from earwitness.corpora.tables import Listing

    found = Listing([], notes={"tables": {path.name: sha256(path)}, "unlisted_audio": {}, "ignored_columns": {}})
    table = RecordTable(path)
    found.problems = table.problems
    columns = choose_columns(table, options.columns) if table.columns else None
    if columns is None:
        return found
    found.notes["columns"] = columns._asdict()
    if ignored := [name for name in table.columns if name not in columns.all()]:
        found.notes["ignored_columns"][path.name] = ignored
    if columns.split is None:
        found.notes["split_by_default"] = options.split
    rows = read_rows(table, columns, options.split, root)
    matches = _matched(rows, files)
    if rows.captions and not matches:
        found.problems.append(_none_found(root, files, table, str(columns.name), next(iter(rows.captions))))
    found.clips = listed_clips(rows, matches)
    found.notes["unlisted_audio"][path.name] = len(files.difference(clip.path for clip in found.clips))
    return found


def _split_name(clip_id: str) -> str:
    return clip_id.partition("/")[0]


def _name(clip_id: str) -> str:
    return clip_id.partition("/")[2]


def _matched(rows: CaptionRows, files: set[str]) -> dict[str, Match]:
    """The clips that have a file, or several candidates for one.

    A name with its folder, and one that a single split has, is the file of exactly that path. All others are looked for
    in folders named after the clip's split, then in folders named after none, then among what is left.
    """
    times = Counter(map(_name, rows.captions)) if len(rows.split_names) > 1 else Counter()
    found: dict[str, Match] = {}
    for clip_id in rows.captions:
        name = _name(clip_id)
        if name in files and ("/" in name or times[name] <= 1):
            found[clip_id] = Match(name, BY_NAME)
    if len(found) == len(rows.captions):
        return found
    left = files.difference(one.path for one in found.values())
    for split in SPLITS:
        names = {name for name in rows.split_names if SPLIT_NAMES[name.casefold()] == split}
        waiting = (clip_id for clip_id in rows.captions if _split_name(clip_id) in names)
        left -= _take(found, waiting, {file for file in left if split in _splits_named(file.rpartition("/")[0])})
    left -= _take(found, rows.captions, {file for file in left if not _splits_named(file.rpartition("/")[0])})
    _take(found, rows.captions, left)
    return found


def _take(found: dict[str, Match], clip_ids: Iterable[str], files: set[str]) -> set[str | None]:
    """Match those clips that wait for a file with what there is; returns the files that were taken."""
    if not files:
        return set()
    waiting = defaultdict(list)
    for clip_id in clip_ids:
        if clip_id not in found:
            waiting[_name(clip_id)].append(clip_id)
    taken = set()
    for ids, one in zip(waiting.values(), match(list(waiting), files, any_folder=True), strict=True):
        if one.path is not None or one.problem:
            found.update(dict.fromkeys(ids, one))
            taken.add(one.path)
    return taken


@lru_cache(4096)
def _splits_named(folder: str) -> frozenset[str]:
    """The splits that parts of a path are named after."""
    return frozenset(SPLIT_NAMES[part] for part in folder.casefold().split("/") if part in SPLIT_NAMES)


def _none_found(root: Path, files: set[str], table: RecordTable, column: str, clip_id: str) -> str:
    """The problem of a table none of whose names is a file: the wrong column, or the wrong folder."""
    if not files:
        return (
            f"{table.path.name} is there, but no recording is below {root}; set the entry's `audio` to where they are"
        )
    there = f"no name of the column {column!r} is a recording below {root}"
    shapes = f"names are like {shown(_name(clip_id))}, recordings like {shown(min(files))}"
    others = [name for name in table.columns if name.casefold() in NAME_COLUMNS and name != column]
    advice = f"; the table has {' and '.join(map(repr, others))} too: set `columns: {{file: ...}}`" if others else ""
    return f"{table.path.name}: {there}; {shapes}{advice}"
