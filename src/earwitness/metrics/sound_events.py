"""Segment- and event-based metrics of sound event detection through sed_eval (docs/metrics.md, sections 3.2 and 3.3).

An event is a dictionary with ``filename``, ``onset``, ``offset`` (seconds) and ``event_label``, and may have ``where``,
by which messages name it. In place of a list of these, a mapping may give (onset, offset, event_label) of each file.
Where a system finds nothing, precision is 0, not NaN; where there is no reference, recall, F1 and error rate are NaN,
and the class has no part in the mean of the classes.

Times are decimal: 0.3 s is three segments of 0.1 s, and 4.3 s is 0.2 s from 4.1 s. In binary neither holds exactly
(0.3 / 0.1 is below 3, 4.3 - 4.1 above 0.2), and sed_eval takes the binary digits as they are: an event then has a
segment too many, or misses its collar. The grid ``decimal`` compares times to a millionth of a segment or collar,
``sed_eval`` as the package does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np

from earwitness.errors import EarwitnessError, listed
from earwitness.metrics.arguments import as_list, by_name, described, is_named
from earwitness.metrics.events import in_steps, unit_hint

Event = Mapping[str, Any]
Grid = Literal["decimal", "sed_eval"]
GRIDS: tuple[Grid, ...] = ("decimal", "sed_eval")
COUNTS = ("Ntp", "Nsys", "Nref")
ERRORS = {"segment": ("S", "D", "I"), "event": ("Nsubs", "Nfn", "Nfp")}  # substitutions, deletions, insertions
HOUR = 3600.0  # seconds
FAR = 100  # times a file's length that no event lasts, but one in another unit; detections may run past a short file
SLACK = 5e-7  # of a collar: the rounding of ``in_steps``


@dataclass(frozen=True)
class Counted:
    """The metrics of a set of files, and what they were computed from.

    ``results`` has ``overall``, ``class_wise`` and ``class_wise_average`` with sed_eval's keys; ``by_file`` what
    ``Toolkit.add`` gave for each file. ``others`` are the results on the other grid, None where that gives the same;
    ``differing`` are the files in which it does not.
    """

    results: dict[str, dict]
    by_file: dict[Any, np.ndarray]
    others: dict[str, dict] | None
    differing: list


def segment_based(
    reference: Sequence[Event],
    estimated: Sequence[Event],
    *,
    time_resolution: float = 1.0,
    durations: Mapping[str, float] | None = None,
    grid: Grid = "decimal",
) -> dict[str, dict]:
    """Metrics over segments of ``time_resolution`` seconds: ``overall``, ``class_wise``, ``class_wise_average``.

    The keys below these are sed_eval's. ``durations`` gives the seconds of each file; without it a file lasts to its
    last event, so that segments at its end where nothing is, and with them ``accuracy``, are not known. A file that is
    named there only has no event. ``grid`` is explained in the module. Raises EarwitnessError for events or durations
    that cannot be scored, all in one.

    >>> reference = [{"filename": "a.wav", "onset": 0.0, "offset": 2.0, "event_label": "dog"}]
    >>> estimated = [{"filename": "a.wav", "onset": 1.0, "offset": 3.0, "event_label": "dog"}]
    >>> found = segment_based(reference, estimated)["overall"]["f_measure"]
    >>> {name: round(value, 3) for name, value in found.items()}
    {'f_measure': 0.5, 'precision': 0.5, 'recall': 0.5}
    """
    return counted("segment", reference, estimated, durations, grid, time_resolution=time_resolution).results


def event_based(
    reference: Sequence[Event],
    estimated: Sequence[Event],
    *,
    t_collar: float = 0.2,
    percentage_of_length: float = 0.2,
    evaluate_onset: bool = True,
    evaluate_offset: bool = True,
    event_matching_type: str = "optimal",
    grid: Grid = "decimal",
) -> dict[str, dict]:
    """Metrics of whole events: ``overall``, ``class_wise``, ``class_wise_average`` with sed_eval's keys.

    A detection matches a reference of its label if the onsets are at most ``t_collar`` seconds apart and the offsets at
    most that or ``percentage_of_length`` (a fraction) of the reference's length, for which sed_eval's default is 0.5.
    ``grid`` is explained in the module. Raises EarwitnessError for events that cannot be scored, all in one.

    >>> reference = [{"filename": "a.wav", "onset": 0.0, "offset": 2.0, "event_label": "dog"}]
    >>> estimated = [{"filename": "a.wav", "onset": 0.1, "offset": 2.3, "event_label": "dog"}]
    >>> round(event_based(reference, estimated)["class_wise"]["dog"]["f_measure"]["f_measure"], 3)
    1.0
    """
    options: dict[str, Any] = {"t_collar": t_collar, "percentage_of_length": percentage_of_length}
    options |= {"evaluate_onset": evaluate_onset, "evaluate_offset": evaluate_offset}
    options |= {"event_matching_type": event_matching_type}
    return counted("event", reference, estimated, None, grid, **options).results


def counted(
    kind: str,
    reference: Sequence[Event],
    estimated: Sequence[Event],
    durations: Mapping[str, float] | None,
    grid: Grid,
    **options: Any,
) -> Counted:
    """The metrics of the ``kind`` ``segment`` or ``event`` with the counts of each file.

    Raises EarwitnessError for events or durations that cannot be scored, all in one.

    >>> events = [{"filename": "a.wav", "onset": 0.0, "offset": 0.3, "event_label": "dog"}]
    >>> counted("segment", events, events, {"a.wav": 1.0}, "decimal", time_resolution=0.1).by_file["a.wav"].tolist()
    [3.0, 3.0, 3.0, 0.0, 0.0, 0.0]
    """
    if durations is not None and not is_named(durations):
        raise EarwitnessError(f"The durations are {described(durations)}; the seconds of each file by name are needed.")
    durations = None if durations is None else by_name("The durations", durations)
    reference, estimated = _listed("reference", reference), _listed("estimated", estimated)
    offenders = _offenders("reference", reference, durations) + _offenders("estimated", estimated, durations)
    for file, seconds in (durations or {}).items():
        if not _is_time(seconds) or seconds == 0:
            offenders.append(f"the duration of {file!r} is {seconds!r}, not a positive number of seconds")
    if grid not in GRIDS:
        offenders.append(f"grid is {grid!r}, not {' or '.join(GRIDS)}")
    if offenders:
        raise EarwitnessError(listed("These events cannot be scored:", offenders))
    # Numbers in place of the labels, of which sed_eval would change and drop some.
    names = dict.fromkeys(event["event_label"] for event in (*reference, *estimated))
    labels = {name: str(number) for number, name in enumerate(names)}
    seconds_of = durations if kind == "segment" and durations else {}
    files = _by_file(reference, estimated, labels, seconds_of)
    try:
        toolkit = Toolkit(kind, list(labels.values()), grid, **options)
    except ValueError as error:
        raise EarwitnessError(f"sed_eval refuses {options}: {error}.") from error
    by_file, differing, others = {}, [], None
    for file, (true, found) in files.items():
        by_file[file] = toolkit.add(true, found, seconds_of.get(file))
        differing += [file] if toolkit.differs else []
    if differing:
        other = Toolkit(kind, list(labels.values()), other_grid(grid), **options)
        counts = {file: other.add(true, found, seconds_of.get(file)) for file, (true, found) in files.items()}
        # Classes may differ where their sums do not.
        differing = [file for file in differing if not np.array_equal(counts[file], by_file[file])] or differing
        others = _results(other.metrics, labels)
    return Counted(_results(toolkit.metrics, labels), by_file, others, differing)


def other_grid(grid: Grid) -> Grid:
    """The grid that ``grid`` is not.

    >>> other_grid("decimal")
    'sed_eval'
    """
    return GRIDS[1 - GRIDS.index(grid)]


class Toolkit:
    """sed_eval's object (``metrics``) for the ``kind`` ``segment`` or ``event``, which is given one file at a time.

    Segments are counted here, as sed_eval does it, but as stretches in which nothing changes: the package holds every
    segment up to the last. Raises ImportError where it is not installed or cannot be loaded, ValueError for options
    that it refuses.

    >>> toolkit = Toolkit("segment", ["dog"], time_resolution=1)
    >>> toolkit.add(events_of(np.array([[0.0, 2.0]]), "dog"), events_of(np.array([[1.0, 3.0]]), "dog")).tolist()
    [1.0, 2.0, 2.0, 0.0, 1.0, 1.0]
    """

    def __init__(self, kind: str, labels: list[str], grid: Grid = "decimal", **options: Any):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dcase_util, below sed_eval, loads the deprecated pkg_resources
            from sed_eval.sound_event import EventBasedMetrics, SegmentBasedMetrics

        # It insists on the type float, and its label list is its order.
        options = {n: float(v) if isinstance(v, Real) and not isinstance(v, bool) else v for n, v in options.items()}
        if wrong := [f"{n} is {v}" for n, v in options.items() if isinstance(v, float) and not math.isfinite(v)]:
            raise ValueError(f"{' and '.join(wrong)}, not a finite number")
        metrics = {"segment": SegmentBasedMetrics, "event": EventBasedMetrics}[kind](labels, **options)
        metrics.empty_system_output_handling = "zero_score"  # only one of the two offers it in its constructor
        self.metrics, self.kind, self.grid = metrics, kind, grid
        self.differs = False  # whether the other grid may count the last file otherwise
        if kind == "event":
            metrics.validate_onset, metrics.validate_offset = self._onset_fits, self._offset_fits

    def add(self, true: list[dict], found: list[dict], seconds: float | None = None) -> np.ndarray:
        """Add the events of a file, which lasts for ``seconds``, and give its counts, float64 [6].

        These are true positives, detected, in the reference, substitutions, deletions and insertions.
        """
        names, before, self.differs = (*COUNTS, *ERRORS[self.kind]), dict(self.metrics.overall), False
        if self.kind == "segment":
            self._add_segments((true, found), seconds)
        else:
            self.metrics.evaluate(true, found)
        return np.array([self.metrics.overall[name] - before[name] for name in names], dtype=float)

    def _add_segments(self, sides: tuple[list[dict], list[dict]], seconds: float | None) -> None:
        labels, step = self.metrics.event_label_list, self.metrics.time_resolution
        index = {label: number for number, label in enumerate(labels)}
        rows = [(n, index[e["event_label"]], e["onset"], e["offset"]) for n, side in enumerate(sides) for e in side]
        events = np.array(rows, dtype=float).reshape(-1, 4)
        end = events[:, 3].max(initial=0) if seconds is None else seconds
        times = np.concatenate([events[:, 2:], [[0.0, end]]])
        decimal, binary = (
            np.stack([np.floor(steps[:, 0]), np.ceil(steps[:, 1])], axis=1)
            for steps in (in_steps(times, step), times / step)
        )
        self.differs = not np.array_equal(decimal, binary)
        places = decimal if self.grid == "decimal" else binary
        places = np.minimum(places, places[-1, 1])
        edges = np.unique(places)
        changes = np.zeros((2, len(labels), len(edges)), dtype=int)
        side, label = events[:, :2].astype(int).T
        for column, change in enumerate((1, -1)):
            np.add.at(changes, (side, label, np.searchsorted(edges, places[:-1, column])), change)
        true, found = np.cumsum(changes, axis=2)[:, :, :-1] > 0  # [classes, stretches between edges]
        lengths = np.diff(edges)
        active = {"Ntp": true & found, "Ntn": ~true & ~found, "Nfp": found & ~true, "Nfn": true & ~found}
        for name, stretches in (active | {"Nref": true, "Nsys": found}).items():
            for label_, count in zip(labels, (stretches @ lengths).tolist(), strict=True):
                self.metrics.class_wise[label_][name] += count
                self.metrics.overall[name] += count
        more = found.sum(axis=0) - true.sum(axis=0)
        wrong = np.minimum(found.sum(axis=0), true.sum(axis=0)) - active["Ntp"].sum(axis=0)
        for name, number in (("S", wrong), ("D", np.maximum(-more, 0)), ("I", np.maximum(more, 0))):
            self.metrics.overall[name] += float(number @ lengths)

    def _onset_fits(self, reference_event: Any, estimated_event: Any, t_collar: float) -> bool:
        return self._fits(reference_event["onset"] - estimated_event["onset"], t_collar)

    def _offset_fits(
        self, reference_event: Any, estimated_event: Any, t_collar: float, percentage_of_length: float
    ) -> bool:
        length = reference_event["offset"] - reference_event["onset"]
        apart = reference_event["offset"] - estimated_event["offset"]
        return self._fits(apart, max(t_collar, percentage_of_length * length))

    def _fits(self, apart: float, allowed: float) -> bool:
        """Whether two times fit; sed_eval asks this in place of its own comparison."""
        binary, decimal = abs(apart) <= allowed, abs(apart) <= allowed * (1 + SLACK)
        self.differs |= binary != decimal
        return decimal if self.grid == "decimal" else binary


def events_of(times: np.ndarray, label: str) -> list[dict]:
    """Times [events, 2] as sed_eval takes them.

    >>> events_of(np.array([[0.0, 1.5]]), "dog")
    [{'onset': 0.0, 'offset': 1.5, 'event_label': 'dog'}]
    """
    return [{"onset": onset, "offset": offset, "event_label": label} for onset, offset in times.tolist()]


def grid_notes(metrics: Mapping[str, Mapping], others: Mapping[str, float], files: int, grid: Grid) -> list[str]:
    """Where the grids differ: ``others`` are values on the one that is not ``grid``, in which ``files`` differ.

    >>> grid_notes({"event_f1": {"value": 1.0}}, {"event_f1": 0.5}, 1, "decimal")
    ["sed_eval's grid counts 1 file or pair otherwise, by binary digits of decimal times: event_f1 0.5, here 1"]
    """
    values = {name: metrics[name]["value"] for name in others if name in metrics}
    differ = [
        f"{name} {others[name]:.6g}, here {value:.6g}"
        for name, value in values.items()
        if value is not None and not math.isclose(value, others[name], abs_tol=1e-12)
    ]
    if not differ:
        return []
    many = f"{files} file or pair" if files == 1 else f"{files} files or pairs"
    if grid == "decimal":
        what = f"sed_eval's grid counts {many} otherwise, by binary digits of decimal times"
    else:
        what = f"The decimal grid counts {many} otherwise, where sed_eval goes by binary digits of decimal times"
    return [f"{what}: {'; '.join(differ)}"]


def length_note(what: str, last: float) -> str:
    """That files or clips (``what``) have no durations; asks for the unit where the last event ends after an hour.

    >>> length_note("file", 10.0)
    'No durations were given: a file is taken to end with its last event.'
    """
    note = f"No durations were given: a {what} is taken to end with its last event."
    return note if last <= HOUR else f"{note} The latest ends at {last:g} s: are the times really seconds?"


def _listed(which: str, events: Any) -> list:
    """Events in one list; a mapping has those of each file, as (onset, offset, event_label) or as dictionaries."""
    if not is_named(events):
        return as_list(f"The {which} events", events)
    found = []
    for file, those in by_name("", events).items():
        for event in as_list(f"The {which} events of {file!r}", those):
            if not isinstance(event, Mapping) and isinstance(event, Sequence) and len(event) == 3:
                event = dict(zip(("onset", "offset", "event_label"), event, strict=True))
            found.append({**event, "filename": file} if isinstance(event, Mapping) else event)
    return found


def _offenders(which: str, events: Sequence[Event], durations: Mapping[str, float] | None) -> list[str]:
    lengths: dict[Any, float] = {
        file: FAR * seconds for file, seconds in (durations or {}).items() if _is_time(seconds)
    }
    far = any(
        _is_time(event.get("offset")) and event["offset"] > lengths.get(event.get("filename"), math.inf)
        for event in events
        if isinstance(event, Mapping)
    )
    offenders = []
    for number, event in enumerate(events, start=1):
        if not isinstance(event, Mapping):
            keys = "filename, onset, offset and event_label"
            offenders.append(f"{which} event {number} is {described(event)}, not a dictionary with {keys}")
            continue
        name = event.get("where") or f"{which} event {number}"
        lacking = [key for key in ("filename", "onset", "offset", "event_label") if event.get(key) is None]
        if lacking:
            offenders.append(f"{name} has no {', '.join(lacking)}")
            continue
        onset, offset, seconds = event["onset"], event["offset"], (durations or {}).get(event["filename"])
        if not (_is_time(onset) and _is_time(offset)):
            offenders.append(f"{name} lasts from {onset!r} to {offset!r}, not two times in seconds from 0 on")
        elif offset <= onset:
            offenders.append(f"{name} ends at {offset:g} s, not after its onset at {onset:g} s")
        elif durations is not None and seconds is None:
            offenders.append(f"{name} is in {event['filename']!r}, whose duration is not given")
        elif (far or seconds is None) and (hint := unit_hint(offset, seconds if _is_time(seconds) else None)):
            length = "more than a day" if seconds is None else f"its file only to {seconds:g} s"
            offenders.append(f"{name} lasts to {offset:g} s, {length}{hint}")
    return offenders


def _is_time(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value) and float(value) >= 0


def _by_file(reference: Any, estimated: Any, labels: Mapping, more: Iterable[str]) -> dict[str, tuple[list, list]]:
    """Reference and estimated events of each file, in the order of the files' names."""
    files = {event["filename"] for event in (*reference, *estimated)} | set(more)
    events: dict[Any, tuple[list, list]] = {file: ([], []) for file in sorted(files, key=str)}
    for side, those in enumerate((reference, estimated)):
        for event in those:
            times = {"onset": float(event["onset"]), "offset": float(event["offset"])}
            events[event["filename"]][side].append({**times, "event_label": labels[event["event_label"]]})
    return events


def _results(metrics: Any, labels: Mapping[Any, str]) -> dict[str, dict]:
    """sed_eval's results under the labels as given; without a reference an error rate is NaN, not a huge number."""
    overall = metrics.results_overall_metrics()
    by_class = metrics.results_class_wise_metrics()
    class_wise = {name: by_class[number] for name, number in labels.items()}
    for results, count in [(overall, metrics.overall["Nref"]), *((c, c["count"]["Nref"]) for c in class_wise.values())]:
        if not count:
            results["error_rate"] = dict.fromkeys(results["error_rate"], math.nan)
    return {"overall": overall, "class_wise": class_wise, "class_wise_average": _average(list(class_wise.values()))}


def _average(classes: list[dict]) -> dict[str, dict]:
    """The mean over classes of each value, of those classes that have one; NaN where none has."""
    averages = {}
    for group in ("f_measure", "error_rate", "accuracy"):
        names = classes[0][group] if classes else ()
        values = {name: np.array([results[group][name] for results in classes]) for name in names}
        known = {name: value[np.isfinite(value)] for name, value in values.items()}
        averages[group] = {name: float(value.mean()) if len(value) else math.nan for name, value in known.items()}
    return averages
