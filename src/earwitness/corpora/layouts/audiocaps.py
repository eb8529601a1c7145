"""The AudioCaps layout: ``train.csv``, ``val.csv`` and ``test.csv``, and audio called by the ids of YouTube videos.

The tables are the official ones (audiocap_id, youtube_id, start_time, caption; one row a caption), or name files
(file_name with caption, or with caption_1, caption_2, ...) as those that came with later systems do. The
rows of a video are one clip. Audio may lie anywhere below the root; ``youtube`` knows what it may be called.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import PositiveInt

from earwitness.audio.formats import is_audio
from earwitness.corpora.caption_rows import problem_of_text
from earwitness.corpora.csv_reader import Row, Sheet, read_sheet, shown
from earwitness.corpora.paths import Match, recordings_below
from earwitness.corpora.youtube import OWN_SPLITS, WITHOUT_SPLIT, Wanted, caption_number, cut_of, find, is_youtube_id
from earwitness.errors import CorpusError, listed
from earwitness.fetch.records import FETCHED
from earwitness.fetch.videos import Section, fetch_sections, unavailable
from earwitness.files import provenance, sha256, write_json
from earwitness.options import Changes, RecordingsOptions

if TYPE_CHECKING:  # the configuration reads this module whenever it is checked: pandas waits until a corpus is read
    from earwitness.corpora.tables import Listing

OFFICIAL = ("audiocap_id", "youtube_id", "start_time", "caption")
NAME = "file_name"
PUBLISHED = "https://github.com/cdjkim/audiocaps"
_NUMBERED = re.compile(r"caption_([1-9]\d*)")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


class AudioCapsOptions(RecordingsOptions):
    """A folder with AudioCaps' tables and audio; ``source: youtube`` fetches what audio is missing."""

    layout: Literal["audiocaps"]
    source: Literal["youtube"] | None = None
    workers: Annotated[PositiveInt, Changes("nothing")] = 4  # videos that are fetched at a time


@dataclass
class CaptionedVideo:
    """A clip as its table has it: the row with its beginning, the video, and all of its captions."""

    row: int  # the clip's first row, where none has its beginning
    youtube_id: str
    start: float | None  # seconds; None where a table of file names has none
    name: str  # of the file, empty in an official table
    captions: list[str] = field(default_factory=list)
    caption_ids: list[str] = field(default_factory=list)  # of an official table
    repeated_rows: int = 0  # of a table of file names, with a caption that an earlier row of the clip has


@dataclass
class _Split:
    name: str  # as in the corpus
    sheet: Sheet
    videos: list[CaptionedVideo]
    found: list[Match] = field(default_factory=list)


class AudioCaps:
    """Reads a folder in the AudioCaps layout."""

    makes_audio = False

    def __init__(self, options: AudioCapsOptions):
        self.options = options

    def listing(self, root: Path) -> Listing:
        """The clips of all splits that are there, in the tables' order; their audio is not opened.

        Every offending table, row and value is in the listing's ``problems``. Raises CorpusError when there is no
        table.
        """
        from earwitness.corpora.tables import Listing

        splits, files = self._read(root), recordings_below(root)
        _find(splits, files)
        counts = ("repeated_rows", "rejoined_rows")
        found = Listing([], notes={"tables": {}, "ignored_columns": {}, **{name: {} for name in counts}})
        for split in splits:
            _add(found, split, root)
        named = {number for split in splits for video in split.videos for number in video.caption_ids}
        used = {clip.path for clip in found.clips if clip.path}
        used |= {file for file in files if caption_number(file) in named}  # a clip has one for each caption
        found.notes["unlisted_audio"] = len(files) - len(used)
        return found

    def tables(self, root: Path) -> list[Path]:
        """The tables that are there."""
        folder = self._folder(root)
        return [table for split in OWN_SPLITS if (table := folder / f"{split}.csv").is_file()]

    def fetch(self, root: Path) -> None:
        """Have yt-dlp fetch the clips whose audio is not below the root, as ``{split}/Y{youtube_id}.wav``.

        ``fetched.json`` is written last. Raises CorpusError when the tables cannot be used, and EarwitnessError when
        clips could not be fetched for now; videos that are gone are listed in ``unavailable.json``.
        """

        splits = self._read(root)
        if problems := [problem for split in splits for problem in (*split.sheet.problems, *_without_start(split))]:
            raise CorpusError(listed("The tables of the clips to fetch cannot be used:", problems))
        _find(splits, recordings_below(root))
        missing = [(split, video) for split, video, one in _rows(splits) if one.path is None and not one.problem]
        path = "{}/Y{}.wav"
        sections = [
            Section(v.youtube_id, v.start, path.format(split.name, v.youtube_id))
            for split, v in missing
            if v.start is not None  # such rows are refused above
        ]
        root.mkdir(parents=True, exist_ok=True)
        fetch_sections(root, sections, self.options.workers)
        gone = unavailable(root)
        counts = {
            "clips": sum(len(split.videos) for split in splits),
            "fetched": sum((root / section.path).is_file() for section in sections),
            "unavailable": sum(
                section.youtube_id in gone and not (root / section.path).is_file() for section in sections
            ),
        }
        tables = {split.sheet.path.name: split.sheet.path for split in splits}
        write_json(root / FETCHED, {**counts, "provenance": provenance("fetch youtube", tables)})

    def _folder(self, root: Path) -> Path:
        return Path(self.options.tables).expanduser() if self.options.tables else root

    def _read(self, root: Path) -> list[_Split]:
        tables = self.tables(root)
        if not tables:
            raise CorpusError(_nothing_found(self._folder(root), "tables" if self.options.tables else "audio"))
        return [_Split(table.stem, *read_captions(table)) for table in tables]


def read_captions(path: Path) -> tuple[Sheet, list[CaptionedVideo]]:
    """Read a table of either kind, one clip for each video; a line break inside a caption becomes a blank.

    A caption that is cut in two by a line break without quotation marks, as many in AudioCaps 2.0 by a carriage return,
    is joined again. What is wrong with the table, audio aside, is in the sheet's ``problems``.
    """
    sheet = read_sheet(path, needed=())
    if not sheet.columns:
        return sheet, []
    named = _names_files(sheet)
    captions = _caption_columns(sheet) if named else ["caption"]
    needed = [NAME, *(captions or ["caption"])] if named else OFFICIAL
    if any(column not in sheet.columns for column in needed):
        return read_sheet(path, needed), []
    numbered = [name for name in captions if name != "caption"]
    if named and numbered != [f"caption_{number}" for number in range(1, len(numbered) + 1)]:
        problem = f"the header has {', '.join(numbered)}; a number before the last is missing"
        sheet.problems.append(f"{sheet.path.name}: {problem}")
    _rejoin(sheet)
    rows = [_cells(sheet, row, captions) for row in sheet.rows]
    videos = [video for cells in rows if (video := _named_video(sheet, cells) if named else _video(sheet, cells))]
    _check_doubles(sheet, rows)
    return sheet, _joined(sheet, videos)


def _rejoin(sheet: Sheet) -> None:
    """Give what stands by itself in a row to the caption, in the last column, of the row before, whose rest it is.

    Where the rest holds a delimiter, it is not certain what it is: it is blamed, with the row that it may belong to.
    """
    if sheet.columns[-1] != "caption":
        return
    kept: list[Row] = []
    begins = _names_file if _names_files(sheet) else str.isdecimal
    key = sheet.columns.index(NAME if _names_files(sheet) else "audiocap_id")
    for row in sheet.rows:
        cells = row.cells
        if not kept or key or begins(cells[0]) or cells[-1]:
            kept.append(row)
        elif any(cells[1:]):
            text, before = ",".join(filter(None, cells)), kept[-1]
            what = f"{shown(text)} is no row, but may be the rest of row {before.number} ({shown(before.cells[-1])})"
            sheet.blame(row.number, f"{what}; write them as one caption within quotation marks")
        else:
            *others, caption = kept[-1].cells
            kept[-1] = Row(kept[-1].number, (*others, f"{caption} {cells[0].strip()}"))
    sheet.rejoined = len(sheet.rows) - len(kept)
    sheet.rows = kept


def _names_file(name: str) -> bool:
    return is_audio(name) or cut_of(name) is not None


@dataclass(frozen=True)
class _Cells:
    row: int
    by_column: dict[str, str]
    captions: list[str]


def _names_files(sheet: Sheet) -> bool:
    return NAME in sheet.columns and "youtube_id" not in sheet.columns


def _caption_columns(sheet: Sheet) -> list[str]:
    """The columns of captions in a table of file names, by their numbers."""
    numbers = sorted(int(match[1]) for column in sheet.columns if (match := _NUMBERED.fullmatch(column)))
    return ["caption"] * ("caption" in sheet.columns) + [f"caption_{number}" for number in numbers]


def _cells(sheet: Sheet, row: Row, captions: list[str]) -> _Cells:
    """A row by column, with its captions, each checked; of several columns, an empty one is no caption."""
    cells = dict(zip(sheet.columns, row.cells, strict=True))
    texts = [_LINE_BREAK.sub(" ", text) for column in captions if (text := cells[column])]
    whose = shown(cells.get("youtube_id", cells.get(NAME, "")))
    if not texts:
        sheet.blame(row.number, f"{whose} has no caption")
    for text in texts:
        if problem := problem_of_text(text):
            sheet.blame(row.number, f"the caption {shown(text)} of {whose} {problem}")
    return _Cells(row.number, cells, texts)


def _video(sheet: Sheet, cells: _Cells) -> CaptionedVideo | None:
    """The clip of a row of the official tables; None when its id is none."""
    youtube_id, start = cells.by_column["youtube_id"], _seconds(cells.by_column["start_time"])
    if start is None:
        value = shown(cells.by_column["start_time"])
        sheet.blame(cells.row, f"the start_time {value} of {shown(youtube_id)} is no number of seconds")
    if not is_youtube_id(youtube_id):
        advice = "11 letters, digits, - and _; did a spreadsheet change it?"
        sheet.blame(cells.row, f"the youtube_id {shown(youtube_id)} is none ({advice})")
        return None
    return CaptionedVideo(cells.row, youtube_id, start, "", cells.captions, [cells.by_column["audiocap_id"]])


def _named_video(sheet: Sheet, cells: _Cells) -> CaptionedVideo | None:
    """The clip of a row that names a file; None when the name has no id."""
    name = cells.by_column[NAME]
    cut = cut_of(name)
    if cut is None:
        sheet.blame(cells.row, f"{shown(name)} has no YouTube id; names are like Y{{id}}.wav or {{id}}_30_40.wav")
        return None
    begins = cut.begins()
    start = next(iter(begins.values())) if len(begins) == 1 else None
    return CaptionedVideo(cells.row, cut.youtube_id, start, name.replace("\\", "/").rpartition("/")[2], cells.captions)


def _seconds(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _check_doubles(sheet: Sheet, rows: list[_Cells]) -> None:
    """Blame ids of captions that are in several rows."""
    places = defaultdict(list)
    for cells in rows:
        if caption_id := cells.by_column.get("audiocap_id", ""):
            places[caption_id].append(cells.row)
        elif "audiocap_id" in cells.by_column:
            sheet.blame(cells.row, "the audiocap_id is empty")
    for caption_id, numbers in places.items():
        if len(numbers) > 1:
            what = f"is there {len(numbers)} times, in rows {', '.join(map(str, numbers))}; were two tables joined?"
            sheet.blame(numbers[0], f"the audiocap_id {shown(caption_id)} {what}")


def _joined(sheet: Sheet, videos: list[CaptionedVideo]) -> list[CaptionedVideo]:
    """One clip for each video, with the captions of all its rows; a video that begins in two ways is blamed."""
    first: dict[str, CaptionedVideo] = {}
    for video in videos:
        one = first.setdefault(video.youtube_id, video)
        if one is video:
            continue
        # Official rows have ids, so that equal ones are two captions; without ids, a caption of an earlier row is
        # repeated. Equal captions in the columns of one row count as several in either case.
        names_files = _names_files(sheet)
        new = [text for text in video.captions if not names_files or text not in one.captions]
        one.repeated_rows += len(new) < len(video.captions)
        one.captions.extend(new)
        one.caption_ids.extend(video.caption_ids)
        if one.start is None:
            one.start, one.row = video.start, video.row
        elif video.start not in (None, one.start):
            starts = f"at {video.start:g} s here and at {one.start:g} s in row {one.row}"
            sheet.blame(video.row, f"{shown(video.youtube_id)} begins {starts}; a split has one clip of a video")
    return list(first.values())


def _find(splits: list[_Split], files: set[str]) -> None:
    """Find the recordings of all splits at once, for a file to be no two clips'."""
    rows = [(split, video) for split in splits for video in split.videos]
    wanted = [Wanted(v.youtube_id, split.name, v.start, v.name, tuple(v.caption_ids)) for split, v in rows]
    found = find(wanted, files)
    for (split, _), one in zip(rows, found, strict=True):
        split.found.append(one)


def _rows(splits: list[_Split]) -> Iterator[tuple[_Split, CaptionedVideo, Match]]:
    for split in splits:
        yield from ((split, video, one) for video, one in zip(split.videos, split.found, strict=True))


def _add(found: Listing, split: _Split, root: Path) -> None:
    """Add the content of one split, and what is wrong with its table."""
    from earwitness.corpora.tables import ListedClip

    table, sheet = split.sheet.path, split.sheet
    found.problems.extend(sheet.problems)
    if not sheet.columns:
        return  # not readable as a table: its problems are noted
    if split.videos and not any(one.path or one.problem for one in split.found):
        found.problems.append(f"{table.name} is there, but no recording of it is below {root}; {WITHOUT_SPLIT}")
    found.notes["tables"][table.name] = sha256(table)
    found.notes["repeated_rows"][split.name] = sum(video.repeated_rows for video in split.videos)
    found.notes["rejoined_rows"][split.name] = split.sheet.rejoined
    used = (NAME, "audiocap_id", *_caption_columns(sheet)) if _names_files(sheet) else OFFICIAL
    if ignored := [name for name in sheet.columns if name not in used]:
        found.notes["ignored_columns"][table.name] = ignored
    found.clips.extend(
        ListedClip(
            clip_id=f"{split.name}/{video.youtube_id}",
            split=OWN_SPLITS[split.name],
            path=one.path,
            captions=tuple(video.captions),
            found_by=one.found_by,
            problem=one.problem,
            sources=(("youtube", video.youtube_id),),
        )
        for _, video, one in _rows([split])
    )


def _without_start(split: _Split) -> Iterator[str]:
    if bare := sum(video.start is None for video in split.videos) if "start_time" not in split.sheet.columns else 0:
        yield (
            f"{split.sheet.path.name}: {bare} clips have no beginning in their video; fetching needs the "
            f"official table, with a start_time ({PUBLISHED})"
        )


def _nothing_found(folder: Path, key: str) -> str:
    published = (
        f"The official ones are published at {PUBLISHED} (folder `dataset`; version 2: `dataset2.0`): put them into "
        f"{folder}, or set the entry's `tables` to the folder where they are."
    )
    if not folder.is_dir():
        return f"The data set's folder {folder} does not exist; set the entry's `{key}` to where it is. {published}"
    names = sorted(path.name for path in folder.iterdir())
    has = ", ".join(map(shown, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    wanted = ", ".join(f"{split}.csv" for split in OWN_SPLITS)
    return f"{folder} has no table of AudioCaps. Looked for: {wanted}. It has: {has or 'nothing'}. {published}"
