"""Reads frame scores of pairs of clip and phrase, and events of pairs or of classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from earwitness.corpora.csv_reader import no_rows, shown, some
from earwitness.corpora.records_reader import RecordTable
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers.tables import (
    CLIP_COLUMNS,
    HDF5,
    PHRASE_COLUMNS,
    MemoryTable,
    Table,
    find_column,
    hdf_values,
    need_column,
    open_hdf5,
    open_table,
    read_id,
    read_json,
    usual,
)

PAIR_COLUMNS = (*PHRASE_COLUMNS, *CLIP_COLUMNS)
FILE_COLUMNS = (*CLIP_COLUMNS, *PHRASE_COLUMNS)
ADVISED = {False: ("phrase_id", "pair_id", "filename"), True: ("filename", "file_name", "clip_id")}  # by file or not
ONSETS = ("onset", "start", "begin", "start_time", "onset_seconds")
OFFSETS = ("offset", "end", "stop", "end_time", "offset_seconds")
TEXTS = ("phrase", "text", "query", "caption")
LABELS = ("event_label", "label", "event", "class")
SECONDS = ("seconds", "duration", "duration_seconds", "length")
SCORES = ("score", "scores", "confidence", "probability")
FILES = 3  # whose times all differ, from which that is no chance
PAIR_IDS = ("phrase_ids", "pair_ids", "phrase_id", "pair_id")


@dataclass(frozen=True)
class Event:
    """An event of a pair or a file, in seconds; without times it says that the pair is silent."""

    pair: str
    times: tuple[float, float] | None
    label: str | None
    clip: str | None
    row: int | str


class Placed(NamedTuple):
    """The end of an event of a file or pair, in seconds, and how messages name the event."""

    file: str
    offset: float
    where: str


@dataclass
class Events:
    """The events of a file; ``by_phrase`` says that its columns name pairs of clip and phrase, not only files.

    ``text`` is the column that names pairs together with the file, None where one column names them; ``parts`` are the
    file and the text of each pair then.
    """

    path: Path
    events: list[Event] = field(default_factory=list)
    by_phrase: bool = True
    problems: list[str] = field(default_factory=list)
    text: str | None = None
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The classes of the events; a row without times, which says that a file is silent, has none."""
        return list(dict.fromkeys(e.label for e in self.events if e.label is not None and e.times is not None))

    def where(self, event: Event) -> str:
        """How messages name an event."""
        return f"{self.path.name}, row {event.row}: the event of {shown(event.pair)}"

    def by_pair(self) -> dict[str, list[tuple[float, float]]]:
        """Onset and offset of the events of each pair, in the order of the file."""
        pairs: dict[str, list] = {}
        for event in self.events:
            pairs.setdefault(event.pair, []).extend([] if event.times is None else [event.times])
        return pairs

    def placed(self) -> dict[str, list[str]]:
        """How messages name the events of ``by_pair``."""
        pairs: dict[str, list[str]] = {}
        for event in self.events:
            pairs.setdefault(event.pair, []).extend([] if event.times is None else [self.where(event)])
        return pairs

    def rows(self) -> dict[str, int | str]:
        """The first row of each pair."""
        rows: dict[str, int | str] = {}
        for event in self.events:
            rows.setdefault(event.pair, event.row)
        return rows

    def clips(self) -> dict[str, str]:
        """The clip of each pair, where a column names it."""
        return {event.pair: event.clip for event in self.events if event.clip is not None}


class Activations(Mapping):
    """Frame scores by pair, float64 [frames], read when they are accessed."""

    def __init__(self, names: Mapping[str, str], read: Callable[[str], Any]):
        self._names, self._read = dict(names), read

    def __getitem__(self, pair: str) -> np.ndarray:
        return np.asarray(self._read(self._names[pair]), dtype=float)

    def __contains__(self, pair: object) -> bool:
        # Mapping's default gets the value, which would read all frames.
        return pair in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass
class Frames:
    """The frame scores of a file: the pairs, how to read one's scores, and the seconds between frames if known."""

    path: Path
    pairs: list[str] = field(default_factory=list)
    read: Callable[[str], Any] = lambda pair: ()
    hop: float | None = None
    clips: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    text: None = None  # as of Events: frame scores are never named by two columns
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)


@contextmanager
def open_predictions(path: Path, by_file: bool = False) -> Iterator[Frames | Events]:
    """The frame scores of a file, which stays open meanwhile, or else its events, which must not have scores.

    ``by_file`` as for ``read_events``.
    """
    kind, frames = path.suffix.lower(), None
    if kind in HDF5 and path.is_file():
        problems: list[str] = []
        with open_hdf5(path, problems) as file:
            if file is None:
                yield Frames(path, problems=problems)
                return
            if "activations" in file:
                yield _hdf(path, file)
                return
    elif kind == ".json" and path.is_file():
        content, problems = read_json(path)
        frames = None if problems else _json_frames(path, content)
    yield frames or read_events(path, by_file, predicted=True)


def _json_frames(path: Path, content: Any) -> Frames | None:
    """The frame scores of json, by pair or as ``{"hop": ..., "activations": {...}}``; None where it has none."""
    if not isinstance(content, dict):
        return None
    nested = isinstance(content.get("activations"), dict)
    scores = content["activations"] if nested else content
    if not nested:
        lists = [value for value in content.values() if isinstance(value, list)]
        numbers = any(isinstance(entry, int | float) for value in lists for entry in value)
        if len(lists) < len(content) or not numbers or _has_times(content):  # a table of events by column, perhaps
            return None
    frames = Frames(path, list(scores), scores.__getitem__)
    for pair, values in scores.items():
        if not isinstance(values, list):
            frames.problems.append(f"{path.name}: the scores of {shown(pair)} are {shown(str(values))}, no list")
        elif odd := [str(v) for v in values if isinstance(v, bool) or not isinstance(v, int | float)]:
            frames.problems.append(f"{path.name}: the scores of {shown(pair)} are not all numbers: {some(odd)}")
    _set_hop(frames, content.get("hop") if nested else None)
    return frames


def pair_columns(table: Table, what: str, by_file: bool = False) -> tuple[str | None, str | None]:
    """The column that names pairs or files, and the column of the texts that tell the pairs of a file apart, if any.

    ``by_file`` looks for files first and ignores texts.
    """
    names = FILE_COLUMNS if by_file else PAIR_COLUMNS
    pair = need_column(table, names, None, what, advised=ADVISED[by_file])
    text = None if by_file or find_column(table, PHRASE_COLUMNS) else find_column(table, TEXTS)
    return pair, None if pair is None else text


def pair_of(file: str, text: str) -> str:
    """The name of the pair of a file and a text."""
    return f"{file}: {text}"


def read_events(path: Path, by_file: bool = False, predicted: bool = False) -> Events:
    """Events in a table: a pair or a file, onset, offset [, event_label]; or json that maps pairs to their events.

    Where no column names pairs, but one beside the file holds a text (``TEXTS``), a pair is a file and a text, unless
    ``by_file`` ignores texts. Those that a system ``predicted`` may be none at all, and must not have scores, which
    would be lost. Rows without a header are read as ``_unheaded`` says.
    """
    table = _open(path, predicted)
    events = Events(path, problems=table.problems)
    pair, phrase = pair_columns(table, "files" if by_file else "pairs or files", by_file)
    onset = need_column(table, ONSETS, None, "onsets")
    offset = need_column(table, OFFSETS, None, "offsets")
    if table.problems or pair is None or onset is None or offset is None:
        return events
    label, clip = find_column(table, LABELS), find_column(table, CLIP_COLUMNS[:-1])
    scores = find_column(table, SCORES) if predicted else None
    scored = 0
    events.text, events.by_phrase = phrase, bool(phrase or find_column(table, PHRASE_COLUMNS))
    columns = [pair, onset, offset, label or pair, clip or pair, phrase or pair, scores or pair]
    for row, (name, start, end, text, owner, words, value) in table.rows(columns):
        scored += scores is not None and _number(value) is not None
        if (name := read_id(table, row, name)) is None:
            continue
        if phrase is not None:
            if (words := read_id(table, row, words, phrase)) is None:
                continue
            owner, name = name, pair_of(name, words)
            events.parts[name] = owner, words
        times = _times(table, row, start, end)
        if times is not None or (_blank(start) and _blank(end)):
            text = None if label is None or _blank(text) else str(text)
            if phrase is None:
                owner = read_id(table, row, owner) if clip is not None and events.by_phrase else None
            events.events.append(Event(name, times, text, owner, row))
    if predicted and events.problems == [no_rows(path)]:
        events.problems.clear()
    if scored:
        events.problems.append(
            f"{path.name}: the column {shown(str(scores))} has {scored} numbers, but events are scored without scores; "
            "give frame scores as HDF5 or as json {pair: [scores]}, or leave out this column and the events below your "
            "threshold"
        )
    return events


def refuse_milliseconds(path: Path, durations: Mapping[str, float], times: Iterable[tuple[str, float]]) -> None:
    """EarwitnessError for durations that seem to be milliseconds; ``times`` are pairs of clip and offset in seconds.

    Clips may last that long beside their events, but seldom all of them, and seldom above 1000 seconds.
    """
    ends: dict[str, float] = {}
    for clip, offset in times:
        ends[clip] = max(offset, ends.get(clip, 0))
    known = [(durations[clip], end) for clip, end in ends.items() if end > 0]
    if known and max(seconds for seconds, _ in known) >= 1000 and all(seconds > 100 * end for seconds, end in known):
        seconds, end = known[0]
        raise EarwitnessError(
            f"{path.name}: every duration is more than 100 times the end of the clip's last event (the first: "
            f"{seconds:g} s and {end:g} s). These are probably milliseconds; durations are in seconds."
        )


def refuse_other_unit(found: Path, references: Path, detected: Iterable[Placed], true: Iterable[Placed]) -> None:
    """EarwitnessError where all files' detections end more than 100 times later than their references, or earlier.

    Fewer than ``FILES`` files with both may be so by chance, and times below 1000 s need not be milliseconds.
    """
    last: tuple[dict[str, Placed], dict[str, Placed]] = ({}, {})
    for latest, events in zip(last, (detected, true), strict=True):
        for event in events:
            latest[event.file] = max(event, latest.get(event.file, event), key=lambda event: event.offset)
    both = [(event, last[1][file]) for file, event in last[0].items() if file in last[1]]
    for pairs, other in ((both, references), ([pair[::-1] for pair in both], found)):
        apart = len(pairs) >= FILES and all(late.offset > 100 * early.offset for late, early in pairs)
        if apart and max(late.offset for late, _ in pairs) >= 1000:
            late, early = pairs[0]
            raise EarwitnessError(
                f"{late.where} ends at {late.offset:g} s, the last one of {shown(late.file)} in {other.name} at "
                f"{early.offset:g} s, and all {len(pairs)} that both tables have are as far apart: milliseconds or "
                "samples, perhaps? Times are in seconds; if these are, give --durations."
            )


def read_durations(path: Path) -> tuple[dict[str, float], list[str]]:
    """Seconds of each clip, and the problems of the table."""
    table = open_table(path, lambda row: ("filename", "seconds") if len(row) == 2 and _number(row[1]) else ())
    clip = need_column(table, CLIP_COLUMNS, None, "clips", advised=ADVISED[True])
    seconds = need_column(table, SECONDS, None, "durations")
    found: dict[str, float] = {}
    if table.problems:
        return found, table.problems
    assert clip is not None and seconds is not None  # or it is a problem
    for row, (name, value) in table.rows([clip, seconds]):
        name, number = read_id(table, row, name), _number(value)
        if number is None or number <= 0:
            table.blame(row, f"the duration {shown(str(value))} is not a positive number of seconds")
        elif name is not None and found.setdefault(name, number) != number:
            table.blame(row, f"clip {shown(name)} lasts {number:g} s, but {found[name]:g} s in a row above")
    return found, table.problems


def _open(path: Path, predicted: bool) -> Table:
    """A table of events; json that maps pairs to lists of (onset, offset) is one too, without any if ``predicted``."""
    if path.suffix.lower() == ".json" and path.is_file():
        content, problems = read_json(path)
        columns = content.values() if isinstance(content, dict) and _has_times(content) else ()
        if predicted and not problems and (content in ([], {}) or (columns and not any(columns))):
            return MemoryTable(path)
        if not problems and _has_times(content):
            return RecordTable(path)
        if not problems and isinstance(content, dict) and content and all(map(_is_events, content.values())):
            rows = ((pair, *times) for pair, events in content.items() for times in events or [(None, None)])
            return MemoryTable(path, ((shown(p), {"pair": p, "onset": on, "offset": off}) for p, on, off in rows))
    return open_table(path, _unheaded)


def _unheaded(cells: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a list of events whose first row is no header; none for one that is.

    They are file, onset, offset, label, as sed_eval writes them, perhaps with a scene before the onset; further numbers
    are scores.
    """
    times = [_number(cell) is not None or _blank(cell) for cell in cells]
    first = next((place for place in (1, 2) if times[place : place + 2] == [True, True]), None)
    if first is None or {usual(cell) for cell in cells} & {*ONSETS, *OFFSETS, *PAIR_COLUMNS}:
        return ()
    names = ["filename", *(["scene"] if first == 2 else []), "onset", "offset"]
    for place in range(len(names), len(cells)):
        value = _number(cells[place])
        label = place == first + 2 and (value is None or cells[place].strip().isdecimal())
        names.append("event_label" if label else "score" if value is not None else f"column {place + 1}")
    return tuple(names)


def _is_events(value: Any) -> bool:
    """Whether a value is a list of (onset, offset)."""
    return isinstance(value, list) and all(isinstance(event, list) and len(event) == 2 for event in value)


def _has_times(content: Any) -> bool:
    """Whether json has columns of onsets and of offsets."""
    names = {usual(key) for key in content} if isinstance(content, dict) else set()
    return bool(names & set(ONSETS) and names & set(OFFSETS))


def _hdf(path: Path, file: Any) -> Frames:
    """``activations`` [frames of all pairs], ``offsets`` [pairs + 1], ``phrase_ids`` [pairs], attribute ``hop``."""
    frames, where = Frames(path), path.name
    key = next((name for name in PAIR_IDS if name in file), None)
    if absent := [name for name, there in (("offsets", "offsets" in file), ("phrase_ids", key)) if not there]:
        frames.problems.append(f"{where}: has activations, but no {' and no '.join(absent)}; it has {some(list(file))}")
        return frames
    if odd := [name for name in ("activations", "offsets", str(key)) if getattr(file[name], "ndim", None) != 1]:
        frames.problems.append(f"{where}: {' and '.join(odd)} must be one-dimensional data sets")
        return frames
    scores = file["activations"]
    if scores.dtype.kind not in "fiub":
        frames.problems.append(f"{where}: activations has the type {scores.dtype}, not numbers")
        return frames
    offsets, pairs = file["offsets"][()], list(map(str, hdf_values(file[key])))
    sound = offsets.dtype.kind in "iu" and len(offsets) == len(pairs) + 1
    if not sound or offsets[0] != 0 or offsets[-1] != len(scores) or (np.diff(offsets) < 0).any():
        what = f"offsets must be {len(pairs) + 1} integers that rise from 0 to the {len(scores)} activations"
        frames.problems.append(f"{where}: {what}")
        return frames
    place = {pair: number for number, pair in enumerate(pairs)}
    twice = [pair for number, pair in enumerate(pairs) if place[pair] != number]
    frames.problems += [f"{where}: the pair {shown(pair)} appears more than once" for pair in dict.fromkeys(twice)]
    frames.pairs, frames.read = pairs, lambda pair: scores[offsets[place[pair]] : offsets[place[pair] + 1]]
    _set_hop(frames, file.attrs.get("hop", scores.attrs.get("hop")))
    clips = next((file[name] for name in ("clip_ids", "clip_id") if name in file), None)
    if clips is not None and len(clips) != len(pairs):
        frames.problems.append(f"{where}: {len(clips)} clip_ids for {len(pairs)} pairs")
    elif clips is not None:
        frames.clips = dict(zip(pairs, map(str, hdf_values(clips)), strict=True))
    return frames


def _set_hop(frames: Frames, hop: Any) -> None:
    """Take the hop that a file gives; a problem where it is not a number."""
    hop = hop.item() if getattr(hop, "size", 0) == 1 else hop
    frames.hop = _number(hop)
    if hop is not None and frames.hop is None:
        frames.problems.append(f"{frames.path.name}: the hop {shown(str(hop))} is not a number of seconds")


def _times(table: Table, row: int | str, start: Any, end: Any) -> tuple[float, float] | None:
    """Onset and offset; None and a problem where one is not a time, only None where neither is given."""
    if _blank(start) and _blank(end):
        return None
    onset, offset = _number(start), _number(end)
    for what, value, number in zip(("onset", "offset"), (start, end), (onset, offset), strict=True):
        if number is None:
            table.blame(row, f"the {what} {shown(str(value))} is not a number of seconds")
    return None if onset is None or offset is None else (onset, offset)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan"))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
