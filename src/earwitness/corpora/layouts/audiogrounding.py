"""The AudioGrounding layout: captions whose phrases are marked with the times when they sound.

Label files of four schemas are in circulation: by row or by column, one row
a phrase or phrases nested in captions, under several names of the fields. They are distinguished by their fields, and
all end as the same rows. Files are ``{split}.json``, ``{split}/label.json`` or ``label_{split}.json``, as .jsonl and
.csv too, with split one of train, val and test.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from earwitness.corpora.caption_rows import problem_of_text
from earwitness.corpora.csv_reader import shown
from earwitness.corpora.paths import Match, from_root, match, recordings_below
from earwitness.corpora.records_reader import RecordTable
from earwitness.corpora.youtube import OWN_SPLITS, WITHOUT_SPLIT, Cut, Wanted, cut_of, find, names_split, without_rivals
from earwitness.errors import CorpusError
from earwitness.files import sha256
from earwitness.options import RecordingsOptions

if TYPE_CHECKING:  # the configuration reads this module whenever it is checked: pandas waits until a corpus is read
    from earwitness.corpora.tables import ListedClip, ListedPhrase, Listing

RECORD = "audiogrounding-2"
PUBLISHED = "https://doi.org/10.5281/zenodo.7269161"

# Names of the fields in the schemas, by what they mean; the first that a row has is taken.
FILE = ("filename", "audio_id")
CAPTION = ("tokens", "caption")
PHRASE = ("soundtag", "phrase")
SEGMENTS = ("timestamps", "segments")
START = ("start_word", "start_index")
END = ("end_index",)  # the index of the last word
CAPTION_ID = ("audiocap_id",)
NESTED = "phrases"
_FIELDS = {*FILE, *CAPTION, *PHRASE, *SEGMENTS, *START, *END, *CAPTION_ID, NESTED}
_NEEDED = {"the audio file": FILE, "the caption": CAPTION, "the phrase": PHRASE, "the times it sounds": SEGMENTS}

_KIND = r"\.(?:json|jsonl|csv)"
_NAMED_SPLIT = re.compile(rf"(?:label_)?({'|'.join(OWN_SPLITS)}){_KIND}")
_LABEL = re.compile(rf"label{_KIND}")
_EDGES = re.compile(r"^\W+|\W+$")
_LIST = re.compile(r"""\s*\[\s*(["'\[{]|\]\s*$)""")  # and no caption such as "[barking] a dog"
_NO_SOUND = (0, 0)  # marks a phrase without a located sound

Span = tuple[int, int]  # words of a caption, the end exclusive


class AudioGroundingOptions(RecordingsOptions):
    """A folder with AudioGrounding's labels and audio, of either version."""

    PHRASES = True

    layout: Literal["audiogrounding"]
    source: Literal["audiogrounding-2"] | None = None


class AudioGrounding:
    """Reads a folder in the AudioGrounding layout."""

    makes_audio = False

    def __init__(self, options: AudioGroundingOptions):
        self.options = options

    def listing(self, root: Path) -> Listing:
        """The clips, captions and phrases of all splits that are there, in the tables' order; no audio is opened.

        Every offending file, row and value is in the listing's ``problems``. Raises CorpusError when there is no
        label file.
        """
        from earwitness.corpora.tables import Listing

        folder, files = self._folder(root), recordings_below(root)
        labels = _label_files(folder)
        if not labels:
            raise CorpusError(_nothing_found(folder, "tables" if self.options.tables else "audio"))
        counts = ("sentinels", "repeated_rows", "phrases_found_elsewhere")
        found = Listing([], notes={"tables": {}, "ignored_columns": {}, **{name: {} for name in counts}})
        read = []
        for split, paths in labels.items():
            if len(paths) > 1:
                several = " and ".join(str(path.relative_to(folder)) for path in paths)
                advice = "set the entry's `tables` to the folder of the right one"
                found.problems.append(f"{split}: there are {len(paths)} label files, {several}; {advice}")
                continue
            read.append(_read(LabelFile(paths[0], paths[0].relative_to(folder).as_posix()), split, root))
        for one, places in zip(read, _places_of(read, files), strict=True):
            _add(found, one, places, root)
        found.notes["unlisted_audio"] = len(files) - len({clip.path for clip in found.clips if clip.path})
        return found

    def tables(self, root: Path) -> list[Path]:
        """The label files that are there."""
        return [path for paths in _label_files(self._folder(root)).values() for path in paths]

    def fetch(self, root: Path) -> None:
        """Bring the published record, checked by its digests, into the folder."""
        from earwitness.fetch.records import RECORDS, fetch

        fetch(RECORDS[RECORD], root, self.options.mirror)

    def _folder(self, root: Path) -> Path:
        return Path(self.options.tables).expanduser() if self.options.tables else root


@dataclass
class LabelFile:
    """A label file. ``problems`` holds one message for each offender, naming file, row and value."""

    path: Path
    name: str  # from the folder of the tables
    problems: list[str] = field(default_factory=list)

    def blame(self, where: str, what: str) -> None:
        """Note a problem of one row."""
        self.problems.append(f"{self.name}, {where}: {what}")


class LabelRow(NamedTuple):
    """A phrase of a caption, or a caption without one, in any of the schemas; values as given, None: not given."""

    where: str  # as in messages
    file: Any
    caption_id: Any
    caption: Any
    phrase: Any
    segments: Any
    start: Any
    end: Any  # the last word's index


def read_labels(table: LabelFile) -> tuple[list[LabelRow], list[str]]:
    """The rows of a label file of any schema, and its unknown fields; problems are in the table."""
    flat = [one for where, record in _records(table) for one in _unnested(table, where, record)]
    there = dict.fromkeys(name for _, record, _ in flat for name in record)
    bare = all(NESTED in record and not part for _, record, part in flat)  # captions only, none has a phrase
    for meaning, names in _NEEDED.items() if flat else ():
        if there.keys().isdisjoint(names) and not (bare and names in (PHRASE, SEGMENTS)):
            has = ", ".join(map(shown, there))
            table.problems.append(f"{table.name}: {meaning} is missing, a field {' or '.join(names)}; it has {has}")

    def first(record: dict[str, Any], names: Sequence[str]) -> Any:
        return next((value for name in names if (value := _given(record.get(name))) is not None), None)

    meanings = (FILE, CAPTION_ID, CAPTION, PHRASE, SEGMENTS, START, END)
    rows = [LabelRow(where, *(first(record, names) for names in meanings)) for where, record, _ in flat]
    return rows, [name for name in there if name not in _FIELDS]


def _records(table: LabelFile) -> list[tuple[str, dict[str, Any]]]:
    """The records of a file, whatever it is saved as; of a csv, lists are JSON, and an empty cell is not given."""
    source = RecordTable(table.path)
    rows = source.rows(source.columns) if source.columns else ()
    records = [(f"row {row.number}", dict(zip(source.columns, row.values, strict=True))) for row in rows]
    table.problems.extend(table.name + problem.removeprefix(table.path.name) for problem in source.problems)
    if not records and not table.problems:
        table.problems.append(f"{table.name}: has no rows")
    return [(w, _parsed(table, w, cells)) for w, cells in records] if table.path.suffix == ".csv" else records


def _parsed(table: LabelFile, where: str, cells: dict[str, str]) -> dict[str, Any]:
    """The cells of a csv that are not empty, lists parsed."""
    record: dict[str, Any] = {name: cell or None for name, cell in cells.items()}
    for name in record.keys() & {*CAPTION, *SEGMENTS, NESTED}:
        cell = cells[name]
        if _LIST.match(cell) if name in CAPTION else cell.lstrip().startswith("["):
            try:
                record[name] = json.loads(cell)
            except (ValueError, RecursionError):
                table.blame(where, f"{name} {shown(cell)} is no list in JSON")
                record[name] = None
    return record


def _unnested(
    table: LabelFile, where: str, record: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The phrases of a record, each with the fields of its caption, and alone; one without any where there are none."""
    nested = _given(record.get(NESTED))
    if nested is None or nested == []:
        yield where, record, {}
    elif not isinstance(nested, list):
        table.blame(where, f"{NESTED} {shown(str(nested))} is no list")
    else:
        for number, part in enumerate(nested, 1):
            if isinstance(part, dict):
                yield f"{where}, phrase {number}", {**record, **part}, part
            else:
                table.blame(f"{where}, phrase {number}", f"{shown(str(part))} is no object with fields")


def _given(value: Any) -> Any:
    """A value, or None for the NaN that tables of data frames hold where nothing is given."""
    return None if isinstance(value, float) and math.isnan(value) else value


class _Caption(NamedTuple):
    text: str
    number: int  # among its clip's, from 1


class _Labels:
    """The checked content of one label file."""

    def __init__(self, table: LabelFile, split: str, root: Path):
        self.table, self.split, self.root = table, split, root
        self.clips: dict[str, dict[tuple[str, str], _Caption]] = {}  # captions by their ids, or their texts
        self.phrases: list[ListedPhrase] = []
        self.counts: Counter[str] = Counter()
        self.ignored: list[str] = []  # fields
        self._ids: dict[str, tuple[str, str, str]] = {}  # file, text and row of an audiocap_id
        self._seen: set[str] = set()
        self._taken: dict[tuple[str, str], set[Span]] = defaultdict(set)

    def add(self, row: LabelRow) -> None:
        """Add a row, or note what is wrong with it."""
        file, text, key = self._file(row), self._text(row, "caption", row.caption), self._caption_id(row)
        if file is None or text is None or key == "" or not self._is_same(row, key, file, text):
            return
        captions = self.clips.setdefault(file, {})
        caption = captions.setdefault(("id", key) if key else ("text", text), _Caption(text, len(captions) + 1))
        content = repr((file, caption.number, row[4:]))
        if content in self._seen:
            self.counts["repeated_rows"] += 1
            return
        self._seen.add(content)
        if row.phrase is not None:
            self._add_phrase(row, file, caption)
        elif row.segments is not None:
            self.table.blame(row.where, f"the segments {shown(str(row.segments))} have no phrase")

    def _add_phrase(self, row: LabelRow, file: str, caption: _Caption) -> None:
        from earwitness.corpora.tables import ListedPhrase, caption_id

        phrase, events = self._text(row, "phrase", row.phrase), self._events(row)
        start, last = self._index(row, "start", row.start), self._index(row, "end", row.end)
        if phrase is None:
            return
        name = caption_id(f"{self.split}/{file}", caption.number)
        taken = self._taken[name, phrase] if start is None else ()
        span = locate(caption.text.split(), phrase.split(), start, None if last is None else last + 1, taken)
        if span is None:
            self.table.blame(row.where, f"the phrase {shown(phrase)} is not in its caption {shown(caption.text)}")
            return
        self._taken[name, phrase].add(span)
        moved = (start is not None and start != span[0]) or (last is not None and last + 1 != span[1])
        self.counts["phrases_found_elsewhere"] += moved
        self.phrases.append(ListedPhrase(name, phrase, *span, events))

    def _file(self, row: LabelRow) -> str | None:
        name = from_root(row.file, self.root) if isinstance(row.file, str) else row.file
        if not isinstance(name, str) or not name.strip():
            self.table.blame(row.where, "no audio file is given" if name is None else f"{name!r} is no file's name")
        elif PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            self.table.blame(row.where, f"{shown(name)} leads out of the folder; names are relative to it")
        elif not name.isprintable():
            self.table.blame(row.where, f"{shown(name)} has a control character")
        else:
            return name
        return None

    def _text(self, row: LabelRow, what: str, value: Any) -> str | None:
        """A text of single blanks, from a string or a list of words."""
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            value = " ".join(value)
        if value is None:
            self.table.blame(row.where, f"no {what} is given")
        elif not isinstance(value, str):
            self.table.blame(row.where, f"the {what} {shown(str(value))} is neither a text nor a list of words")
        elif problem := problem_of_text(value):
            self.table.blame(row.where, f"the {what} {shown(value)} {problem}")
        else:
            return " ".join(value.split())
        return None

    def _caption_id(self, row: LabelRow) -> str | None:
        """The audiocap_id, a whole number as digits whatever it is saved as; None: not given, empty: not usable."""
        value = row.caption_id
        if value is None:
            return None
        if isinstance(value, str) and value.strip():
            return value.strip().removesuffix(".0")
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
            return str(int(value))
        self.table.blame(row.where, f"the audiocap_id {shown(str(value))} is none")
        return ""

    def _is_same(self, row: LabelRow, key: str | None, file: str, text: str) -> bool:
        """Whether a caption id means the file and the text that it meant before."""
        if key is None:
            return True
        before_file, before_text, where = self._ids.setdefault(key, (file, text, row.where))
        for what, now, before in (("file", file, before_file), ("caption", text, before_text)):
            if now != before:
                differs = f"has the {what} {shown(now)} here and {shown(before)} in {where}"
                self.table.blame(row.where, f"audiocap_id {key} {differs}")
                return False
        return True

    def _index(self, row: LabelRow, which: str, value: Any) -> int | None:
        """The index of a word; a table with gaps has it as a float, a csv as digits."""
        try:
            number = None if value is None or isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if value is None:
            return None
        if number is not None and number.is_integer():
            return int(number)
        self.table.blame(row.where, f"the {which} {shown(str(value))} is no index of a word")
        return None

    def _events(self, row: LabelRow) -> tuple[tuple[float, float], ...]:
        """The times when a phrase sounds, in order, in seconds."""
        if row.segments is None:
            return ()
        if not isinstance(row.segments, list):
            self.table.blame(row.where, f"the segments {shown(str(row.segments))} are no list of [onset, offset]")
            return ()
        events = []
        for segment in row.segments:
            if wrong := _wrong_segment(segment):
                self.table.blame(row.where, f"the segment {shown(str(segment))} {wrong}")
            elif tuple(segment) == _NO_SOUND:
                self.counts["sentinels"] += 1
            else:
                events.append((float(segment[0]), float(segment[1])))
        return tuple(sorted(events))


def _wrong_segment(segment: Any) -> str:
    """What is wrong with a segment, in words; nothing for one of positive length, and for [0, 0]."""
    if not isinstance(segment, list) or len(segment) != 2:
        return "is no pair of onset and offset"
    if not all(
        isinstance(time, int | float) and not isinstance(time, bool) and math.isfinite(time) for time in segment
    ):
        return "is not made of numbers of seconds"
    onset, offset = segment
    if onset < 0:
        return "begins before the clip"
    return "" if offset > onset or (onset, offset) == _NO_SOUND else "does not end after it begins"


def locate(
    words: Sequence[str], phrase: Sequence[str], start: int | None, end: int | None, taken: Collection[Span] = ()
) -> Span | None:
    """The words of a caption that a phrase is, the end exclusive; None when it is not there.

    The place that the indices give is taken where the phrase is there; else the nearest place to the start given, the
    words compared as they are, or else without letter case and the punctuation at their edges. Without a start, the
    first place that is not ``taken``.
    """
    given = start is not None and end is not None and 0 <= start < end <= len(words)
    if start is not None and end is not None and given and _loose(words[start:end]) == _loose(phrase):
        return start, end
    ways = [_places(words, phrase, exactly) for exactly in (True, False)]
    for places in ways:
        if start is not None and (here := [span for span in places if span[0] == start]):
            return here[0]
    for places in ways:
        if free := [span for span in places if span not in taken] or places:
            return min(free, key=lambda span: abs(span[0] - (start or 0)))
    return None


def _places(words: Sequence[str], phrase: Sequence[str], exactly: bool) -> list[Span]:
    """Where a phrase stands in a caption, leftmost first; words of nothing but punctuation may be skipped."""
    inside = list(enumerate(words)) if exactly else [(at, word) for at, word in enumerate(_bare(words)) if word]
    wanted = list(phrase) if exactly else _loose(phrase)
    places = []
    for first in range(len(inside) - len(wanted) + 1):
        window = inside[first : first + len(wanted)]
        if wanted and [word for _, word in window] == wanted:
            places.append((window[0][0], window[-1][0] + 1))
    return places


def _bare(words: Sequence[str]) -> list[str]:
    return [_EDGES.sub("", word).casefold() for word in words]


def _loose(words: Sequence[str]) -> list[str]:
    return [word for word in _bare(words) if word]


def _read(table: LabelFile, split: str, root: Path) -> _Labels:
    """The content of one label file; what is wrong with it is in the table."""
    rows, ignored = read_labels(table)
    labels = _Labels(table, split, root)
    labels.ignored = ignored
    if any(row.file is not None and row.caption is not None for row in rows):  # else a field is missing
        for row in rows:
            labels.add(row)
    return labels


def _add(found: Listing, labels: _Labels, places: dict[str, Match], root: Path) -> None:
    """Add the content of one label file, and what is wrong with it."""
    table, split = labels.table, labels.split
    clips = _clips(labels, places)
    if clips and not any(clip.path or clip.problem for clip in clips):
        table.problems.append(f"{table.name} is there, but no recording of it is below {root}; {WITHOUT_SPLIT}")
    found.problems.extend(table.problems)
    found.clips.extend(clips)
    found.phrases.extend(labels.phrases)
    found.notes["tables"][table.name] = sha256(table.path)
    if labels.ignored:
        found.notes["ignored_columns"][table.name] = labels.ignored
    for name in ("sentinels", "repeated_rows", "phrases_found_elsewhere"):
        found.notes[name][split] = labels.counts[name]


def _clips(labels: _Labels, places: dict[str, Match]) -> list[ListedClip]:
    from earwitness.corpora.tables import ListedClip

    return [
        ListedClip(
            clip_id=f"{labels.split}/{name}",
            split=OWN_SPLITS[labels.split],
            path=places[name].path,
            captions=tuple(caption.text for caption in captions.values()),
            found_by=places[name].found_by,
            problem=places[name].problem,
            sources=_sources(name),
        )
        for name, captions in labels.clips.items()
    ]


def _sources(name: str) -> tuple[tuple[str, str], ...]:
    """The video of a name; 11 letters alone may be a word, such as "rain_sounds"."""
    cut = cut_of(name)
    return (("youtube", cut.youtube_id),) if cut and (cut.prefix or cut.start) else ()


def _places_of(read: list[_Labels], files: set[str]) -> list[dict[str, Match]]:
    """For each split the file of each of its names, with no file for two clips."""
    places = [_recordings(list(labels.clips), labels.split, files) for labels in read]
    cuts = [(n, name, cut) for n, labels in enumerate(read) for name in labels.clips if (cut := cut_of(name))]
    wanted = [_wanted(name, cut, read[n].split) for n, name, cut in cuts]
    kept = without_rivals(wanted, [places[n][name] for n, name, _ in cuts])
    for (n, name, _), one in zip(cuts, kept, strict=True):
        places[n][name] = one
    return places


def _wanted(name: str, cut: Cut, split: str) -> Wanted:
    return Wanted(cut.youtube_id, split, next(iter(cut.begins().values()), None), name)


def _recordings(names: list[str], split: str, files: set[str]) -> dict[str, Match]:
    """The file of each name: by the name or else the video in the split's folders, and then in all others."""
    found = dict.fromkeys(names, Match(None))
    near = {file for file in files if names_split(file, split)}
    found.update(_by_name(found, near))
    found.update({name: one for name, one in _by_video(found, split, near).items() if one.path})
    found.update(_by_name(found, files - near))
    found.update(_by_video(found, split, files))
    return found


def _by_name(found: dict[str, Match], files: set[str]) -> dict[str, Match]:
    missing = [name for name, one in found.items() if one == Match(None)]
    return dict(zip(missing, match(missing, files, any_folder=True), strict=True))


def _by_video(found: dict[str, Match], split: str, files: set[str]) -> dict[str, Match]:
    cuts = {name: cut for name, one in found.items() if one == Match(None) and (cut := cut_of(name))}
    rest = files - {one.path for one in found.values()}
    return dict(zip(cuts, find([_wanted(name, cut, split) for name, cut in cuts.items()], rest), strict=True))


def _label_files(folder: Path) -> dict[str, list[Path]]:
    """The label files in a folder and below it, by split; links to folders directly in it are followed."""
    tops = [folder, *sorted(path for path in folder.glob("*") if path.is_symlink() and path.is_dir())]
    found = defaultdict(list)
    for top in tops:
        for where, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                named = _NAMED_SPLIT.fullmatch(name)
                parent = Path(where).name if Path(where) != folder and _LABEL.fullmatch(name) else None
                if (split := named[1] if named else parent) in OWN_SPLITS:
                    found[split].append(Path(where, name))
    return {split: found[split] for split in OWN_SPLITS if found[split]}


def _nothing_found(folder: Path, key: str) -> str:
    published = f"Version 2 is published at {PUBLISHED}; `source: {RECORD}` fetches it."
    if not folder.is_dir():
        return f"The data set's folder {folder} does not exist; set the entry's `{key}` to where it is. {published}"
    wanted = "{split}.json, {split}/label.json and label_{split}.json (or .jsonl, .csv) with train, val and test"
    names = sorted(path.name for path in folder.iterdir())
    has = ", ".join(map(shown, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{folder} has no labels of AudioGrounding. Looked for: {wanted}. It has: {has or 'nothing'}. {published}"
