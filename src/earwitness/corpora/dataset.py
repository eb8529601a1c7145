"""A data set's entry in the configuration together with its folder: what is there, and what is still to be brought.

Light to import and, ``clips`` aside, quick to ask, so that the DAG can be built over hundreds of thousands of
recordings: no table is read, no recording is opened.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness import registry
from earwitness.corpora.schemes import scheme_files
from earwitness.corpora.state import audio_state
from earwitness.fetch.records import FETCHED, STATES
from earwitness.options import DatasetOptions, RecordingsOptions

if TYPE_CHECKING:
    from earwitness.corpora.tables import ListedClip
    from earwitness.fetch.records import Record

YOUTUBE = "youtube"  # the source of audio that is fetched clip by clip, for tables that the user brings


class Dataset:
    """A data set: its entry ``options``, and ``root``, which the paths of its clips start from."""

    def __init__(self, name: str, options: DatasetOptions, results: Path = Path("results")):
        self.name, self.options = name, options
        self.synthesised = not isinstance(options, RecordingsOptions)
        self.root = results / name / "audio" if self.synthesised else Path(options.audio).expanduser()

    @cached_property
    def layout(self) -> Any:
        """What reads its folder."""
        return registry.load(registry.LAYOUTS[self.options.layout].implementation)(self.options)

    @cached_property
    def tables(self) -> list[Path]:
        """Its tables that are there."""
        return self.layout.tables(self.root)

    @cached_property
    def clips(self) -> list[ListedClip]:
        """The clips that its tables list, with and without a recording on disk; this reads the tables."""
        return self.layout.listing(self.root).clips if self.tables else []

    @cached_property
    def fetched(self) -> bool:
        """Whether its folder is brought from where it was published.

        A folder with tables that were not fetched is a user's own. Where audio is fetched clip by clip for a user's
        tables, it always is.
        """
        if self.synthesised or self.options.source is None:
            return False
        begun = (self.root / FETCHED).exists() or (self.root / STATES).exists()
        return self.options.source == YOUTUBE or begun or not self.tables

    @property
    def to_be_fetched(self) -> bool:
        """Whether that is still to be done."""
        return self.fetched and not (self.root / FETCHED).is_file()

    @property
    def record(self) -> Record | None:
        """The published record it is fetched from; None where it is not, or is fetched clip by clip."""
        from earwitness.fetch.records import RECORDS

        return RECORDS.get(self.options.source) if self.fetched else None

    @property
    def obtainable(self) -> bool:
        """Whether its recordings are there, or can be made or brought."""
        return self.synthesised or self.fetched or self.root.is_dir()

    def inputs(self) -> list[Path]:
        """The files that its corpus is read from, audio aside; of a fetched folder, the record of what was fetched.

        Raises CorpusError when a list of its split scheme is not there.
        """
        if self.synthesised:
            return [self.root]
        scheme = self.options.split_scheme
        lists = scheme_files(self.options.layout, scheme).values() if scheme else ()
        tables = [self.root / FETCHED] if self.fetched else []
        if not self.fetched or self.options.source == YOUTUBE:
            tables += self.tables
        return [*tables, *lists, *(Path(path).expanduser() for path in self.options.metadata)]

    def audio_state(self) -> str:
        """What changes when a user's recordings do; recordings that the DAG itself brings have their own record."""
        if self.synthesised:
            return "synthesised"
        return "fetched" if self.fetched else audio_state(self.root)
