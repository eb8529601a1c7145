"""The captions layout: tables of captions (csv, json, jsonl) without recordings, for what learns from text alone.

A row is a clip, or one more caption of it, as in the folder layout; where no column names recordings, each row is a
clip. Json may also be a list of texts. A table's rows are of the split that its entry names, or its own column. Tables
of one name, in several folders, are told apart by the entry's splits (``validation-captions.csv``).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from earwitness.corpora.caption_rows import (
    CaptionRows,
    ColumnOptions,
    TablePath,
    choose_columns,
    listed_clips,
    read_rows,
)
from earwitness.corpora.records_reader import RecordTable
from earwitness.errors import CorpusError, listed
from earwitness.files import sha256
from earwitness.options import DatasetOptions, FilePath

if TYPE_CHECKING:  # as in the other layouts: the configuration reads this module whenever it is checked
    from earwitness.corpora.tables import Listing


class CaptionsOptions(DatasetOptions):
    """Tables of captions by split. Paths are absolute or relative to the working directory."""

    RECORDINGS = False
    source: ClassVar[None] = None  # nothing is fetched
    split_scheme: ClassVar[None] = None

    layout: Literal["captions"]
    tables: Annotated[dict[Literal["development", "validation", "evaluation"], TablePath], Field(min_length=1)]
    columns: ColumnOptions = ColumnOptions()
    metadata: list[FilePath] = []  # csv tables with the sources of recordings (file_name, freesound_id ...)

    @property
    def folder(self) -> str | None:
        """That of the first table."""
        return str(Path(next(iter(self.tables.values()))).parent)


class Captions:
    """Reads tables of captions."""

    makes_audio = False

    def __init__(self, options: CaptionsOptions):
        self.options = options

    def listing(self, root: Path) -> Listing:
        """The clips in the order of the tables; those of one split and name, in several tables too, are one.

        Every offending row and value is in the listing's ``problems``. Raises CorpusError when a table is not there.
        """
        from earwitness.corpora.tables import Listing

        tables = {split: Path(path).expanduser() for split, path in self.options.tables.items()}
        if absent := [f"{split}: {path}" for split, path in tables.items() if not path.is_file()]:
            raise CorpusError(listed("Tables of captions do not exist; correct the entry's `tables`:", absent))
        several = Counter(path.name for path in tables.values())
        prefix = {split: f"{split}-" if several[path.name] > 1 else "" for split, path in tables.items()}
        names = {split: f"{prefix[split]}{path.name}" for split, path in tables.items()}
        digests = {names[split]: sha256(path) for split, path in tables.items()}
        found = Listing([], notes={"tables": digests, "ignored_columns": {}}, recordings=False)
        rows = CaptionRows()
        for split, path in tables.items():
            table = RecordTable(path, texts="caption")
            columns = choose_columns(table, self.options.columns, recordings=False) if table.columns else None
            if columns is not None:
                read_rows(table, columns, split, Path("/"), rows, names[split])  # recordings may have been anywhere
                if ignored := [name for name in table.columns if name not in columns.all()]:
                    found.notes["ignored_columns"][names[split]] = ignored
            found.problems += [f"{prefix[split]}{problem}" for problem in table.problems]  # which begin with its name
        found.clips = listed_clips(rows, {})
        return found

    def tables(self, root: Path) -> list[Path]:
        """The tables that are there."""
        paths = (Path(path).expanduser() for path in self.options.tables.values())
        return [path for path in paths if path.is_file()]
