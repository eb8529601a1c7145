"""A data set's entry in the configuration together with its folder: what is there, and what is still to be fetched.

Light to import and, apart from ``clips``, quick, so that the DAG can be built over hundreds of thousands of
recordings: no table is read, no recording is opened.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness import registry
from earwitness.corpora.schemes import scheme_files
from earwitness.corpora.state import audio_state
from earwitness.errors import CorpusError, listed
from earwitness.fetch.records import FETCHED, STATES
from earwitness.files import read_json, sha256, write_json
from earwitness.options import DatasetOptions, problem_of_path

if TYPE_CHECKING:
    from earwitness.corpora.tables import ListedClip
    from earwitness.fetch.records import Record

YOUTUBE = "youtube"  # the source of audio that is fetched clip by clip, for tables that the user brings


class Dataset:
    """A data set: its entry ``options``, and ``root``, which the paths of its clips start from."""

    def __init__(self, name: str, options: DatasetOptions, results: Path = Path("results")):
        self.name = name
        self.options: Any = options  # of the layout's own model
        self.synthesised = options.folder is None
        root = results / name / "audio" if options.folder is None else Path(options.folder).expanduser()
        self.root = root.resolve() if ".." in root.parts else root  # logs are named after it, and stay in their folder

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
        """Whether its folder is fetched from where it was published.

        A folder with tables that were not fetched belongs to the user. Where audio is fetched clip by clip for a user's
        tables, it always is.
        """
        if self.synthesised or self.options.source is None:
            return False
        begun = (self.root / FETCHED).exists() or any((self.root / STATES).glob("[!.]*.json"))
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
        """Whether its corpus can be made without a download: its recordings are there, or can be synthesised."""
        return self.synthesised or (self.root.is_dir() and not self.to_be_fetched)

    def fetched_for(self) -> list[Path]:
        """The tables that say what is to be fetched, where that is not a published record as a whole."""
        return self.tables if self.options.source == YOUTUBE else []

    def inputs(self) -> list[Path]:
        """The files that its corpus is read from, audio aside; of a fetched folder, the record of what was fetched.

        Raises CorpusError when a list of its split scheme is not there, or a table below a folder of an unusable name.
        """
        if self.synthesised:
            return [self.root]
        scheme = self.options.split_scheme
        lists = scheme_files(self.options.layout, scheme).values() if scheme else ()
        tables = [self.root / FETCHED, *self.fetched_for()] if self.fetched else self.tables
        found = [*tables, *lists, *(Path(path).expanduser() for path in self.options.metadata)]
        if problems := [f"{path}: {problem}" for path in found if (problem := problem_of_path(path))]:
            raise CorpusError(listed(f"Tables of {self.name} cannot be used where they are:", problems))
        return found

    def fetch(self) -> None:
        """Fetch it from where it was published, and note the state of what is there then."""
        self.layout.fetch(self.root)
        record = self.root / FETCHED
        write_json(record, read_json(record) | {"state": self._found()})

    def state(self) -> Any:
        """What changes when recordings do, or the tables of a fetched folder: a user may touch those too.

        As long as a fetched folder is as it was fetched, this is the same as before it was.
        """
        if self.synthesised:
            return "synthesised"
        if not self.options.RECORDINGS:
            return "captions"
        if not self.fetched:
            return audio_state(self.root)
        record = self.root / FETCHED
        if record.is_file() and read_json(record).get("state") not in (None, found := self._found()):
            return found
        return "fetched"

    def _found(self) -> dict[str, Any]:
        tables = {str(path): sha256(path) for path in self.layout.tables(self.root)}
        return {"audio": audio_state(self.root), "tables": {} if self.options.source == YOUTUBE else tables}
