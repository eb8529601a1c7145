"""Reads frame scores of pairs of clip and phrase, and events of pairs or of classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.corpora.csv_reader import shown, some
from earwitness.corpora.records_reader import RecordTable
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers.tables import (
    CLIP_COLUMNS,
    HDF5,
    PHRASE_COLUMNS,
    HeldTable,
    Table,
    find_column,
    hdf_values,
    need_column,
    no_hdf5,
    open_table,
    read_id,
    read_json,
    reading,
    usual,
)

PAIR_COLUMNS = (*PHRASE_COLUMNS, *CLIP_COLUMNS)
ONSETS = ("onset", "start", "begin", "start_time", "onset_seconds")
OFFSETS = ("offset", "end", "stop", "end_time", "offset_seconds")
TEXTS = ("phrase", "text", "query", "caption")
LABELS = ("event_label", "label", "event", "class")
SECONDS = ("seconds", "duration", "duration_seconds", "length")
SCORES = ("score", "scores", "confidence", "probability")
PAIR_IDS = ("phrase_ids", "pair_ids", "phrase_id", "pair_id")


@dataclass(frozen=True)
class Event:
    """An event of a pair or a file, in seconds; without times it says that nothing sounds there."""

    pair: str
    times: tuple[float, float] | None
    label: str | None
    clip: str | None
    row: int | str


@dataclass
class Events:
    """The events of a file; ``by_phrase`` says that its columns name pairs, not only files.

    ``text`` is the column that names pairs together with the file, None where one column names them; ``parts`` are then
    the file and the text of each pair.
    """

    path: Path
    events: list[Event] = field(default_factory=list)
    by_phrase: bool = True
    problems: list[str] = field(default_factory=list)
    text: str | None = None
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The classes there are."""
        return list(dict.fromkeys(event.label for event in self.events if event.label is not None))

    def by_pair(self) -> dict[str, list[tuple[float, float]]]:
        """Onset and offset of the events of each pair, in the order of the file."""
        pairs: dict[str, list] = {}
        for event in self.events:
            pairs.setdefault(event.pair, []).extend([] if event.times is None else [event.times])
        return pairs

    def rows(self) -> dict[str, int | str]:
        """The first row of each pair."""
        rows: dict[str, int | str] = {}
        for event in self.events:
            rows.setdefault(event.pair, event.row)
        return rows

    def clips(self) -> dict[str, str]:
        """The clip of each pair, where a column tells it."""
        return {event.pair: event.clip for event in self.events if event.clip is not None}


class Curves(Mapping):
    """Frame scores by pair, float64 [frames], read when they are asked for."""

    def __init__(self, names: Mapping[str, str], read: Callable[[str], Any]):
        self._names, self._read = dict(names), read

    def __getitem__(self, pair: str) -> np.ndarray:
        return np.asarray(self._read(self._names[pair]), dtype=float)

    def __contains__(self, pair: object) -> bool:
        # Mapping's own asks for the value, which would read the whole curve.
        return pair in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass
class Frames:
    """The frame scores of a file: the pairs, how to read one's curve, and seconds from frame to frame where told."""

    path: Path
    pairs: list[str] = field(default_factory=list)
    read: Callable[[str], Any] = lambda pair: ()
    hop: float | None = None
    clips: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    text: str | None = None  # never a column of its own: as of Events
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)


@contextmanager
def open_predictions(path: Path, by_file: bool = False) -> Iterator[Frames | Events]:
    """The frame scores of a file, which stays open meanwhile, or else its events, which must have no scores.

    ``by_file`` as of ``read_events``.
    """
    kind = path.suffix.lower()
    if kind in HDF5 and path.is_file():
        import h5py

        try:
            file = h5py.File(path, "r")
        except OSError as error:
            yield Frames(path, problems=[no_hdf5(path, error)])
            return
        with reading(path), file:
            yield _hdf(path, file) if "activations" in file else _detected(path, by_file)
    elif kind == ".json" and path.is_file():
        content, problems = read_json(path)
        yield (None if problems else _json_frames(path, content)) or _detected(path, by_file)
    else:
        yield _detected(path, by_file)


def _json_frames(path: Path, content: Any) -> Frames | None:
    """The curves of json, by pair or as ``{"hop": ..., "activations": {...}}``; None where it holds something else."""
    if not isinstance(content, dict):
        return None
    named = content.get("activations")
    curves = named if isinstance(named, dict) else content
    if curves is content and not _are_curves(content):
        return None
    frames = Frames(path, list(curves), curves.__getitem__)
    frames.problems += [f"{path.name}: the scores of {shown(p)} {what}" for p, c in curves.items() if (what := _odd(c))]
    _take_hop(frames, content.get("hop") if curves is named else None)
    return frames


def pair_columns(table: Table, what: str) -> tuple[str | None, str | None]:
    """The column that names pairs or files, and that of the texts which tell the pairs of a file apart, if any."""
    pair = need_column(table, PAIR_COLUMNS, None, what)
    text = None if find_column(table, PHRASE_COLUMNS) else find_column(table, TEXTS)
    return pair, None if pair is None else text


def pair_of(file: str, text: str) -> str:
    """What the pair of a file and a text is called."""
    return f"{file}: {text}"


def read_events(path: Path, by_file: bool = False) -> Events:
    """Events in a table: a pair or a file, onset, offset [, event_label]; or json that maps pairs to their events.

    Where no column names pairs, but one beside the file holds a text (``TEXTS``), a pair is a file and a text, unless
    ``by_file`` passes texts over.
    """
    table = _open(path)
    events = Events(path, problems=table.problems)
    pair, phrase = pair_columns(table, "pairs or files")
    phrase = None if by_file else phrase
    onset = need_column(table, ONSETS, None, "onsets")
    offset = need_column(table, OFFSETS, None, "offsets")
    if table.problems or pair is None or onset is None or offset is None:
        return events
    label, clip = find_column(table, LABELS), find_column(table, CLIP_COLUMNS[:-1])
    events.text, events.by_phrase = phrase, bool(phrase or find_column(table, PHRASE_COLUMNS))
    columns = [pair, onset, offset, label or pair, clip or pair, phrase or pair]
    for row, (name, start, end, text, owner, words) in table.rows(columns):
        if (name := read_id(table, row, name)) is None:
            continue
        if phrase is not None:
            if (words := read_id(table, row, words, phrase)) is None:
                continue
            owner, name = name, pair_of(name, words)
            events.parts[name] = owner, words
        times = _times(table, row, start, end)
        if times is not None or (_blank(start) and _blank(end)):
            text = None if label is None or text is None or not str(text).strip() else str(text)
            if phrase is None:
                owner = read_id(table, row, owner) if clip is not None and events.by_phrase else None
            events.events.append(Event(name, times, text, owner, row))
    return events


def _detected(path: Path, by_file: bool) -> Events:
    """Events that a system found; a problem for a column of scores, which would be lost."""
    events, table = read_events(path, by_file), _open(path)
    column = find_column(table, SCORES)
    if column is None:
        return events
    numbers = sum(_number(value) is not None for _, (value,) in table.rows([column]))
    if numbers:
        what = f"the column {shown(column)} has {numbers} numbers, but events are scored as they are, without scores"
        how = "frame scores come as HDF5 or as json {pair: [scores]}"
        how += "; from an event list leave out what is below your threshold, and this column"
        events.problems.append(f"{path.name}: {what}; {how}")
    return events


def refuse_milliseconds(path: Path, durations: Mapping[str, float], times: Iterable[tuple[str, float]]) -> None:
    """EarwitnessError for durations that seem to be milliseconds; ``times`` are a clip and an offset in seconds each.

    Clips that really last so long beside their events are seldom all there are, and seldom above 1000 seconds.
    """
    ends: dict[str, float] = {}
    for clip, offset in times:
        ends[clip] = max(offset, ends.get(clip, 0))
    known = [(durations[clip], end) for clip, end in ends.items() if end > 0]
    if known and max(told for told, _ in known) >= 1000 and all(told > 100 * end for told, end in known):
        told, end = known[0]
        raise EarwitnessError(
            f"{path.name}: every clip lasts more than 100 times as long as until its last event ends (the first "
            f"{told:g} s and {end:g} s): these are probably milliseconds; durations are told in seconds."
        )


def read_durations(path: Path) -> tuple[dict[str, float], list[str]]:
    """Seconds of each clip, and the problems of the table."""
    table = open_table(path)
    clip = need_column(table, CLIP_COLUMNS, None, "clips")
    seconds = need_column(table, SECONDS, None, "durations")
    found: dict[str, float] = {}
    if table.problems:
        return found, table.problems
    for row, (name, value) in table.rows([clip, seconds]):
        name, number = read_id(table, row, name), _number(value)
        if number is None or number <= 0:
            table.blame(row, f"the duration {shown(str(value))} is no positive number of seconds")
        elif name is not None and found.setdefault(name, number) != number:
            table.blame(row, f"clip {shown(name)} lasts {number:g} s, but {found[name]:g} s in a row above")
    return found, table.problems


def _open(path: Path) -> Table:
    """A table of events; json that maps pairs to lists of (onset, offset) is one too."""
    if path.suffix.lower() == ".json" and path.is_file():
        content, problems = read_json(path)
        if not problems and _has_times(content):
            return RecordTable(path)
        if not problems and isinstance(content, dict) and content and all(map(_is_events, content.values())):
            return HeldTable(path, ((shown(pair), _event(pair, e)) for pair, es in content.items() for e in es or [()]))
    return open_table(path)


def _event(pair: str, times: Iterable[float]) -> dict[str, Any]:
    return {"pair": pair, "onset": None, "offset": None} | dict(zip(("onset", "offset"), times, strict=False))


def _is_events(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(event, list) and len(event) == 2 for event in value)


def _are_curves(content: Mapping[str, Any]) -> bool:
    """Whether each value is a list, some hold numbers, and they are not the columns of a table of events."""
    lists = [value for value in content.values() if isinstance(value, list)]
    numbers = any(isinstance(entry, int | float) for value in lists for entry in value)
    return len(lists) == len(content) and numbers and not _has_times(content)


def _has_times(content: Any) -> bool:
    """Whether json has columns of onsets and of offsets."""
    names = {usual(key) for key in content} if isinstance(content, dict) else set()
    return bool(names & set(ONSETS) and names & set(OFFSETS))


def _odd(curve: Any) -> str:
    """What is wrong with a curve that is no list of numbers."""
    if not isinstance(curve, list):
        return f"are {shown(str(curve))}, no list of numbers"
    odd = [str(value) for value in curve if isinstance(value, bool) or not isinstance(value, int | float)]
    return f"hold what is no number: {some(odd)}" if odd else ""


def _hdf(path: Path, file: Any) -> Frames:
    """``activations`` [frames of all pairs], ``offsets`` [pairs + 1], ``phrase_ids`` [pairs], attribute ``hop``."""
    frames = Frames(path)
    key = next((name for name in PAIR_IDS if name in file), None)
    if absent := [name for name, there in (("offsets", "offsets" in file), ("phrase_ids", key)) if not there]:
        frames.problems.append(
            f"{path.name}: has activations, but no {' and no '.join(absent)}; it has {some(list(file))}"
        )
        return frames
    if odd := [name for name in ("activations", "offsets", key) if getattr(file[name], "ndim", None) != 1]:
        frames.problems.append(f"{path.name}: {' and '.join(odd)} must be flat data sets")
        return frames
    if file["activations"].dtype.kind not in "fiub":
        what = f"activations is of the type {file['activations'].dtype}, not of numbers"
        frames.problems.append(f"{path.name}: {what}")
        return frames
    scores, offsets, pairs = file["activations"], file["offsets"][()], list(map(str, hdf_values(file[key])))
    sound = offsets.dtype.kind in "iu" and len(offsets) == len(pairs) + 1
    if not sound or offsets[0] != 0 or offsets[-1] != len(scores) or (np.diff(offsets) < 0).any():
        what = f"offsets must be {len(pairs) + 1} whole numbers that rise from 0 to the {len(scores)} activations"
        frames.problems.append(f"{path.name}: {what}")
        return frames
    place = {pair: number for number, pair in enumerate(pairs)}
    twice = [pair for number, pair in enumerate(pairs) if place[pair] != number]
    frames.problems += [f"{path.name}: the pair {shown(pair)} stands more than once" for pair in dict.fromkeys(twice)]
    frames.pairs, frames.read = pairs, lambda pair: scores[offsets[place[pair]] : offsets[place[pair] + 1]]
    _take_hop(frames, file.attrs.get("hop", scores.attrs.get("hop")))
    clips = next((file[name] for name in ("clip_ids", "clip_id") if name in file), None)
    if clips is not None and len(clips) != len(pairs):
        frames.problems.append(f"{path.name}: {len(clips)} clip_ids for {len(pairs)} pairs")
    elif clips is not None:
        frames.clips = dict(zip(pairs, map(str, hdf_values(clips)), strict=True))
    return frames


def _take_hop(frames: Frames, hop: Any) -> None:
    """Note the hop that a file tells, or that it is no number."""
    hop = hop.item() if getattr(hop, "size", 0) == 1 else hop
    frames.hop = _number(hop)
    if hop is not None and frames.hop is None:
        frames.problems.append(f"{frames.path.name}: the hop {shown(str(hop))} is no number of seconds")


def _times(table: Table, row: int | str, start: Any, end: Any) -> tuple[float, float] | None:
    """Onset and offset; None and a problem where one is no time, None alone where neither is given."""
    if _blank(start) and _blank(end):
        return None
    values = _number(start), _number(end)
    bad = [
        f"the {what} {shown(str(v))}"
        for what, v, n in zip(("onset", "offset"), (start, end), values, strict=True)
        if n is None
    ]
    if bad:
        told = "are no seconds" if len(bad) > 1 else "is no number of seconds"
        table.blame(row, f"{' and '.join(bad)} {told}")
        return None
    return values[0], values[1]


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
