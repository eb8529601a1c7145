"""Moments that texts name in recordings, from files of any system (``earwitness score moments``).

A query is a row with its windows (lighthouse's jsonl: qid, ``relevant_windows`` or ``pred_relevant_windows``, with a
score or, as the DCASE challenge has it, without), a row for each window (csv: query id, start, end [, score]), an entry
of json that maps ids to windows, or a caption of CASTELLA's json, whose id is ``{yid}_{n}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.corpora.csv_reader import no_rows, shown
from earwitness.corpora.paths import stem
from earwitness.errors import EarwitnessError, counted
from earwitness.evaluation.readers import ids
from earwitness.evaluation.readers.events import OFFSETS, ONSETS, SCORES, SECONDS, TEXTS
from earwitness.evaluation.readers.tables import (
    CLIP_COLUMNS,
    MemoryTable,
    Table,
    find_column,
    need_column,
    open_table,
    read_id,
    read_json,
    refuse,
)
from earwitness.evaluation.scores import Scored
from earwitness.metrics import baselines
from earwitness.metrics import moments as metrics

QUERIES = ("qid", "query_id", "phrase_id", "pair_id", "moment_id", "id")
CLIPS = ("vid", "video_id", "yid", *CLIP_COLUMNS[:-1])
PREDICTED = ("pred_relevant_windows", "predicted_windows", "predictions")
WINDOWS = ("relevant_windows", "windows", "moments", "timestamps")
SUBSET = "--subset ignores queries without predictions (they are counted)."
SPLIT = "Are these predictions of another split, or of another version of the data set?"
FAR = 10  # times a recording's length after which all predictions end if they are in another unit
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True)
class MomentFiles:
    """The files to score, and how to read them; each field is an argument or option of the command line.

    Attributes:
        predictions: windows of each query, best first or with scores (jsonl, json, csv).
        references: the true windows of each query (jsonl, CASTELLA's json, csv).
        training: the true windows of the training split, from which the best constant window is chosen.
        protocol: ``default`` or ``lighthouse`` (``earwitness.metrics.moments``).
        match: how query ids are compared: ``exact``, or ``stem``: without letter case and blanks.
        subset: ignore queries without predictions (they are counted); otherwise they are an error, but for those
            without a moment to find.
    """

    predictions: Path
    references: Path
    training: Path | None = None
    protocol: str = "default"
    match: str = "exact"
    subset: bool = False


@dataclass
class Moments:
    """What a file says of its queries, by id: (start, end [, score]) of their windows, and how messages name these."""

    path: Path
    rows: dict[str, int | str] = field(default_factory=dict)
    windows: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)
    clips: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    clocks: int = 0  # times in minutes and seconds
    without_captions: int = 0  # recordings of CASTELLA's json


def score(files: MomentFiles) -> Scored:
    """Read, match and score.

    Raises EarwitnessError that lists all offenders where files cannot be read or do not fit each other.

    >>> scored = score(MomentFiles(Path("predictions.jsonl"), Path("castella_test_release.jsonl")))  # doctest: +SKIP
    >>> scored.evaluation.metrics["r1_70"]["value"]  # doctest: +SKIP
    """
    found, true = read_moments(files.predictions, predicted=True), read_moments(files.references)
    training = read_moments(files.training) if files.training else None
    read = [found, true, *([training] if training else [])]
    refuse([problem for one in read for problem in one.problems])
    names = _matched(found, true, files)
    queries = list(names if files.subset else true.rows)
    absent = [query for query in queries if query not in names]  # without a moment to find
    windows = {query: found.windows[names[query]] if query in names else [] for query in queries}
    references = {query: true.windows[query] for query in queries}
    clips = {q: true.clips.get(q) or (found.clips.get(names[q]) if q in names else None) or q for q in queries}
    seconds = {query: true.seconds[query] for query in queries if query in true.seconds}
    _refuse_other_unit(found, windows, seconds)

    def named(which: str, query: str, number: int) -> str:
        return found.places[names[query]][number] if which == "predicted" else true.places[query][number]

    evaluation = metrics.evaluate(windows, references, clips=clips, protocol=files.protocol, named=named)
    controls = _controls(references, seconds, training, files.protocol)
    left = len(true.rows) - len(queries)
    counts = {**evaluation.counts, "queries_left_out": left, "recordings_without_captions": true.without_captions}
    notes = [*evaluation.notes, *_notes(read, clips, true, found, names)]
    if absent:
        what = counted(len(absent), "query without a moment to find is", "queries without a moment to find are")
        notes.append(f"{what} not in {files.predictions.name}, such as {shown(absent[0])}: no predictions are needed.")
    for name, values in controls.items():
        notes.append(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
    more: dict[str, Any] = {"baselines": controls}
    if files.protocol == "lighthouse":
        more["lighthouse"] = metrics.brief(evaluation)
        notes.append("As lighthouse prints it: " + ", ".join(f"{key} {n:.2f}" for key, n in more["lighthouse"].items()))
    inputs = {"predictions": files.predictions, "references": files.references, "training": files.training}
    return Scored(
        evaluation,
        "score moments",
        {name: path for name, path in inputs.items() if path is not None},
        {"match": files.match, "subset": files.subset, "protocol": files.protocol},
        {name: number for name, number in counts.items() if number or name in evaluation.counts},
        notes,
        more=more,
    )


def read_moments(path: Path, predicted: bool = False) -> Moments:
    """The windows of each query; ``problems`` has all offenders.

    Windows keep their order. Those that a system ``predicted`` may have a score. Times are seconds, or minutes and
    seconds (``1:05``, ``0:01:05.5``), which are counted.
    """
    moments, rows = Moments(path), None
    if path.suffix.lower() == ".json" and path.is_file():
        content, problems = read_json(path)
        moments.problems += problems
        if problems:
            return moments
        if isinstance(content, list) and content and all(map(_is_castella, content)):
            rows = _castella(moments, content)
        elif _is_mapping(content):
            rows = iter([{"row": shown(query), "query": query, "windows": v} for query, v in content.items()])
    for record in rows if rows is not None else _rows(open_table(path), moments, predicted):
        _add(moments, predicted, **record)
    if not moments.rows and not moments.problems:
        moments.problems.append(no_rows(path) if path.suffix.lower() != ".json" else f"{path.name}: holds no query")
    return moments


def _is_castella(record: Any) -> bool:
    return isinstance(record, dict) and "moments" in record and not any(name in record for name in QUERIES)


def _is_mapping(content: Any) -> bool:
    """Whether json maps the ids of queries to their windows."""
    if not isinstance(content, dict) or any(name in content for name in (*QUERIES, *WINDOWS, *PREDICTED)):
        return False
    lists = [value for value in content.values() if isinstance(value, list)]
    return 0 < len(lists) == len(content) and not any(isinstance(entry, dict) for value in lists for entry in value)


def _castella(moments: Moments, content: list[dict]) -> Iterator[dict[str, Any]]:
    """The captions of CASTELLA's json, numbered from 1 in the order of each recording."""
    table, seen = MemoryTable(moments.path), dict[str, int]()
    for row, record in enumerate(content, 1):
        if (clip := read_id(table, row, record.get("yid", record.get("vid")), "recording (yid)")) is None:
            continue
        if seen.setdefault(clip, row) != row:
            table.blame(row, f"the recording {shown(clip)} is in row {seen[clip]} too")
        captions = record["moments"] if isinstance(record["moments"], list) else [record["moments"]]
        moments.without_captions += not captions
        for number, caption in enumerate(captions, 1):
            if not isinstance(caption, dict) or "timestamps" not in caption:
                table.blame(row, f"caption {number} is {shown(str(caption))}, without timestamps")
                continue
            more = {"clip": clip, "seconds": record.get("duration"), "text": caption.get("local_caption")}
            named = f"{row}, caption {number}"
            yield {"row": named, "query": f"{clip}_{number}", "windows": caption["timestamps"], **more}
    moments.problems += table.problems


def _rows(table: Table, moments: Moments, predicted: bool) -> Iterator[dict[str, Any]]:
    """Queries of a table with all their windows in a row, or with a row for each window."""
    windows = find_column(table, (*PREDICTED, *WINDOWS) if predicted else WINDOWS)
    query = find_column(table, QUERIES)
    if query is None and (text := find_column(table, TEXTS)) and table.columns:
        what = f"no column has the ids of queries ({', '.join(QUERIES[:3])}); texts ({text}) do not tell queries apart"
        table.problems.append(f"{table.path.name}: {what}")
    query = query or (None if table.problems else need_column(table, QUERIES, None, "ids of queries"))
    onset = None if windows else need_column(table, ONSETS, None, "starts of moments")
    offset = None if windows else need_column(table, OFFSETS, None, "ends of moments")
    if table.problems or query is None or (windows is None and (onset is None or offset is None)):
        moments.problems += table.problems
        return
    score = find_column(table, SCORES) if predicted and windows is None else None
    others = [find_column(table, names) for names in (CLIPS, SECONDS, TEXTS)]
    others = [None if name == query else name for name in others]
    columns = [query, windows or onset, offset or query, score or query, *(name or query for name in others)]
    for row, (name, start, end, points, *more) in table.rows([str(column) for column in columns]):
        if (name := read_id(table, row, name, "query")) is None:
            continue
        known = {key: v for key, c, v in zip(("clip", "seconds", "text"), others, more, strict=True) if c}
        if windows is not None:
            yield {"row": row, "query": name, "windows": start, **known}
        else:
            window = [start, end, *([] if score is None or _blank(points) else [points])]
            blank = _blank(start) and _blank(end)  # a query that holds nowhere, or of which nothing was found
            yield {"row": row, "query": name, "windows": [] if blank else [window], "several": True, **known}
    moments.problems += table.problems


def _add(
    moments: Moments,
    predicted: bool,
    row: int | str,
    query: str,
    windows: Any,
    clip: Any = None,
    seconds: Any = None,
    text: Any = None,
    several: bool = False,
) -> None:
    """Note the windows of a row; ``several`` rows may be of one query."""
    where = f"{moments.path.name}, row {row}"
    if query in moments.rows and not several:
        moments.problems.append(f"{where}: the query {shown(query)} is in row {moments.rows[query]} too")
        return
    moments.rows.setdefault(query, row)
    found, places = moments.windows.setdefault(query, []), moments.places.setdefault(query, [])
    if not isinstance(windows, list):
        moments.problems.append(f"{where}: the windows are {shown(str(windows))}, not a list of [start, end]")
        windows = []
    for number, window in enumerate(windows, 1):
        place = f"{where} (query {shown(query)})" if several else f"{where}, window {number} (query {shown(query)})"
        values, problem = _window(moments, window, predicted)
        if problem:
            moments.problems.append(f"{place}: {problem}")
        elif values is not None:
            found.append(values)
            places.append(place)
    if isinstance(text, str):
        moments.texts[query] = text
    named = isinstance(clip, str | int) and not isinstance(clip, bool) and not _blank(clip)
    if named and moments.clips.setdefault(query, str(clip)) != str(clip):
        known = moments.clips[query]
        moments.problems.append(f"{where}: the recording of {shown(query)} is {clip}, in a row above {known}")
    if seconds is not None and not _blank(seconds):
        length, _ = _seconds(seconds)
        if length is None or not 0 < length <= metrics.LONGEST:
            what = f"the duration {shown(str(seconds))} is not a positive number of seconds"
            moments.problems.append(f"{where}: {what}")
        else:
            moments.seconds[query] = length


def _window(moments: Moments, window: Any, predicted: bool) -> tuple[tuple[float, ...] | None, str]:
    """(start, end [, score]), or what is wrong with it."""
    most = 3 if predicted else 2
    if not isinstance(window, list) or len(window) > most:
        return None, f"{shown(str(window))} is not [start, end{', score' if predicted else ''}]"
    if len(window) < 2 or _blank(window[0]) or _blank(window[1]):
        missing = "start" if window and _blank(window[0]) else "end"
        return None, f"the moment {shown(str(window))} has no {missing}"
    values: list[float] = []
    for what, value in zip(("start", "end", "score"), window, strict=False):
        number, clock = _seconds(value)
        if number is None or (clock and what == "score"):
            kind = "a finite number" if what == "score" else "a number of seconds, nor minutes and seconds (1:05)"
            return None, f"the {what} {shown(str(value))} is not {kind}"
        moments.clocks += clock
        values.append(number)
    return tuple(values), ""


def _seconds(value: Any) -> tuple[float | None, bool]:
    """A number of seconds, None for what is none; and whether it was written as minutes and seconds."""
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        sound = seconds < 60 and (clock[1] is None or minutes < 60)
        return (3600 * hours + 60 * minutes + seconds if sound else None), True
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None, False
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None, False
    return (number if math.isfinite(number) else None), False


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan"))


def _matched(found: Moments, true: Moments, files: MomentFiles) -> dict[str, str]:
    """The name in the predictions of each scored query of the references, in their order."""
    matched = ids.match(found.rows, true.rows, files.match, key=lambda name: stem(name))
    theirs = {query: name for name, query in matched.found.items()}
    names = {query: theirs[query] for query in true.rows if query in theirs}
    low, high = metrics.RANGES["full"]
    left = [
        query
        for query in true.rows
        if query not in names and any(low < end - start <= high for start, end in true.windows[query])
    ]
    where, other = found.path.name, true.path.name
    problems = list(matched.problems)
    if not names:
        number = f"{counted(len(found.rows), 'query', 'queries')} of {where}"
        problems.append(f"none of the {number} is among the {len(true.rows)} of {other}")
    problems += [
        f"{where}, row {found.rows[name]}: the query {shown(name)} is not in {other}{matched.hint(name)}"
        for name in matched.lost
    ]
    if left and not files.subset:
        problems += [f"{other}, row {true.rows[query]}: the query {shown(query)} is not in {where}" for query in left]
    for query, name in names.items():
        one, two = found.clips.get(name), true.clips.get(query)
        if one is not None and two is not None and stem(one) != stem(two):
            what = f"the query {shown(name)} is of {shown(one)}, in {other} of {shown(two)}"
            problems.append(f"{where}, row {found.rows[name]}: {what}")
    texts = _other_texts(found, true, names)
    if len(texts) > len(names) / 2:
        query, name = texts[0]
        what = f"{len(texts)} of {len(names)} queries have another text than in {other}; the first, {shown(name)}: "
        problems.append(f"{where}: {what}{shown(found.texts[name])}, {shown(true.texts[query])}")
    advice = [ids.ADVICE] if matched.alike else []
    advice += [SUBSET] if left and not files.subset and names else []
    refuse(problems, " ".join([SPLIT, *advice]))
    return names


def _other_texts(found: Moments, true: Moments, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """The queries, and their names in the predictions, whose texts differ in more than letter case and blanks."""
    both = [(query, name) for query, name in names.items() if query in true.texts and name in found.texts]
    same = {text: " ".join(text.casefold().split()) for texts in (found.texts, true.texts) for text in texts.values()}
    return [pair for pair in both if same[true.texts[pair[0]]] != same[found.texts[pair[1]]]]


def _refuse_other_unit(found: Moments, windows: Mapping[str, list], seconds: Mapping[str, float]) -> None:
    """EarwitnessError where every prediction ends long after its recording."""
    ends = [(q, max(w[1] for w in given), seconds[q]) for q, given in windows.items() if given and q in seconds]
    if ends and len(seconds) == len(windows) and all(end > FAR * length for _, end, length in ends):
        query, end, length = ends[0]
        raise EarwitnessError(
            f"{found.path.name}: the predictions of every query end more than {FAR} times later than the recording, "
            f"those of {shown(query)} at {end:g}, of {length:g} s: milliseconds, frames or samples? Times are seconds."
        )


def _controls(
    references: Mapping[str, list], seconds: Mapping[str, float], training: Moments | None, protocol: str
) -> dict[str, dict[str, float]]:
    """The metrics over all lengths of predictors that hear nothing, and of the references themselves."""
    made: dict[str, Mapping[str, list]] = {}
    if len(seconds) == len(references):
        made["Whole recording"] = baselines.whole_recording(seconds)
        made["Ten random windows"] = baselines.random_windows(seconds)
    if training is not None:
        lengths = training.seconds if len(training.seconds) == len(training.windows) else None
        lengths = lengths if len(seconds) == len(references) else None
        window = baselines.constant_window(training.windows, lengths)
        of = "from the end" if window.from_end else "from the beginning"
        name = f"Constant window ({window.start:g} to {window.end:g} s {of})"
        made[name] = window.predictions(seconds if window.from_end else dict.fromkeys(references, 0.0))
    made["True windows (upper bound)"] = references
    scored = {}
    for name, windows in made.items():
        # Windows of a recording that has none (of no length) are for lighthouse alone; the default would refuse them.
        kept = {query: given for query, given in windows.items() if given or protocol == "default"}
        true = {query: references[query] for query in kept}
        found = metrics.evaluate(kept, true, protocol=protocol, metrics="full").metrics
        scored[name] = {metric: entry["value"] for metric, entry in found.items()}
    return scored


def _notes(
    read: list[Moments], clips: Mapping[str, str], true: Moments, found: Moments, names: Mapping[str, str]
) -> list[str]:
    """What was read in another way than it may have been meant."""
    notes = [
        f"{counted(one.clocks, 'time')} of {one.path.name} (such as 1:05) are read as minutes and seconds."
        for one in read
        if one.clocks
    ]
    if clips and all(clip == query for query, clip in clips.items()):
        notes.append("Recordings are not known (vid): intervals draw queries, not recordings with all their queries.")
    if texts := _other_texts(found, true, names):
        name = texts[0][1]
        what = f"{counted(len(texts), 'query has', 'queries have')} another text in {found.path.name} than in "
        notes.append(f"{what}{true.path.name}, such as {shown(name)}: ids alone are compared.")
    return notes
