"""Segment- and event-based metrics of sound event detection through sed_eval (metrics.md, sections 3.2 and 3.3).

An event is a dictionary with ``filename``, ``onset``, ``offset`` (seconds) and ``event_label``. Where a system finds
nothing, precision is 0, not NaN; where there is no reference, recall, F1 and error rate are NaN, and the class has no
part in the mean of the classes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError, listed

Event = Mapping[str, Any]
COUNTS = ("Ntp", "Nsys", "Nref")
ERRORS = {"segment": ("S", "D", "I"), "event": ("Nsubs", "Nfn", "Nfp")}  # substitutions, deletions, insertions


def segment_based(
    reference: Sequence[Event],
    estimated: Sequence[Event],
    *,
    time_resolution: float = 1.0,
    durations: Mapping[str, float] | None = None,
) -> dict[str, dict]:
    """Metrics over segments of ``time_resolution`` seconds: ``overall``, ``class_wise``, ``class_wise_average``.

    The keys below these are sed_eval's. ``durations`` gives the seconds of each file; without it a file lasts to its
    last event, so that segments at its end where nothing is, and with them ``accuracy``, are not known. A file that is
    named there only has no event. Raises EarwitnessError for events or durations that cannot be scored, all in one.

    >>> reference = [{"filename": "a.wav", "onset": 0.0, "offset": 2.0, "event_label": "dog"}]
    >>> estimated = [{"filename": "a.wav", "onset": 1.0, "offset": 3.0, "event_label": "dog"}]
    >>> found = segment_based(reference, estimated)["overall"]["f_measure"]
    >>> {name: round(value, 3) for name, value in found.items()}
    {'f_measure': 0.5, 'precision': 0.5, 'recall': 0.5}
    """
    metrics, labels = _prepared("segment", reference, estimated, durations, time_resolution=time_resolution)
    for file, (true, found) in _by_file(reference, estimated, labels, durations or {}).items():
        metrics.evaluate(true, found, None if durations is None else durations[file])
    return _results(metrics, labels)


def event_based(
    reference: Sequence[Event],
    estimated: Sequence[Event],
    *,
    t_collar: float = 0.2,
    percentage_of_length: float = 0.2,
    evaluate_onset: bool = True,
    evaluate_offset: bool = True,
    event_matching_type: str = "optimal",
) -> dict[str, dict]:
    """Metrics of whole events: ``overall``, ``class_wise``, ``class_wise_average`` with sed_eval's keys.

    A detection matches a reference of its label if the onsets are at most ``t_collar`` seconds apart and the offsets at
    most that or ``percentage_of_length`` (a fraction) of the reference's length, for which sed_eval's default is 0.5.
    Raises EarwitnessError for events that cannot be scored, all in one.

    >>> reference = [{"filename": "a.wav", "onset": 0.0, "offset": 2.0, "event_label": "dog"}]
    >>> estimated = [{"filename": "a.wav", "onset": 0.1, "offset": 2.3, "event_label": "dog"}]
    >>> round(event_based(reference, estimated)["class_wise"]["dog"]["f_measure"]["f_measure"], 3)
    1.0
    """
    options = {"t_collar": t_collar, "percentage_of_length": percentage_of_length}
    options |= {"evaluate_onset": evaluate_onset, "evaluate_offset": evaluate_offset}
    metrics, labels = _prepared("event", reference, estimated, None, event_matching_type=event_matching_type, **options)
    for true, found in _by_file(reference, estimated, labels, {}).values():
        metrics.evaluate(true, found)
    return _results(metrics, labels)


def toolkit(kind: str, labels: list[str], **options: Any) -> Any:
    """sed_eval's object for the ``kind`` ``segment`` or ``event``, with 0 as the precision of an empty output.

    Raises ImportError where sed_eval is not installed or cannot be loaded.

    >>> toolkit("segment", ["dog"], time_resolution=1).time_resolution
    1.0
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dcase_util, below sed_eval, loads the deprecated pkg_resources
        from sed_eval.sound_event import EventBasedMetrics, SegmentBasedMetrics

    # It insists on the type float, and its label list is its order.
    options = {name: float(value) if type(value) is int else value for name, value in options.items()}
    metrics = {"segment": SegmentBasedMetrics, "event": EventBasedMetrics}[kind](labels, **options)
    metrics.empty_system_output_handling = "zero_score"  # only one of the two offers it in its constructor
    return metrics


def totals(kind: str, metrics: Any) -> np.ndarray:
    """What ``metrics`` counted: true positives, detected, reference, substitutions, deletions, insertions: [6].

    >>> totals("event", toolkit("event", ["dog"])).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    return np.array([metrics.overall[name] for name in (*COUNTS, *ERRORS[kind])], dtype=float)


def events_of(times: np.ndarray, label: str) -> list[dict]:
    """Times [events, 2] as sed_eval takes them.

    >>> events_of(np.array([[0.0, 1.5]]), "dog")
    [{'onset': 0.0, 'offset': 1.5, 'event_label': 'dog'}]
    """
    return [{"onset": onset, "offset": offset, "event_label": label} for onset, offset in times.tolist()]


def _prepared(
    kind: str, reference: Any, estimated: Any, durations: Mapping | None, **options: Any
) -> tuple[Any, dict[Any, str]]:
    """sed_eval's object, and the numbers used in place of the labels, of which it would change and drop some."""
    offenders = _offenders("reference", reference, durations) + _offenders("estimated", estimated, durations)
    for file, seconds in (durations or {}).items():
        if not _is_time(seconds) or seconds == 0:
            offenders.append(f"the duration of {file!r} is {seconds!r}, not a positive number of seconds")
    if offenders:
        raise EarwitnessError(listed("These events cannot be scored:", offenders))
    names = dict.fromkeys(event["event_label"] for event in (*reference, *estimated))
    labels = {name: str(number) for number, name in enumerate(names)}
    try:
        return toolkit(kind, list(labels.values()), **options), labels
    except ValueError as error:
        raise EarwitnessError(f"sed_eval refuses {options}: {error}.") from error


def _offenders(which: str, events: Sequence[Event], durations: Mapping[str, float] | None) -> list[str]:
    offenders = []
    for number, event in enumerate(events, start=1):
        name = f"{which} event {number}"
        lacking = [key for key in ("filename", "onset", "offset", "event_label") if event.get(key) is None]
        if lacking:
            offenders.append(f"{name} has no {', '.join(lacking)}")
            continue
        times = event["onset"], event["offset"]
        if not all(map(_is_time, times)):
            offenders.append(f"{name} lasts from {times[0]!r} to {times[1]!r}, not two times in seconds from 0 on")
        elif times[1] <= times[0]:
            offenders.append(f"{name} ends at {times[1]:g} s, not after its onset at {times[0]:g} s")
        if durations is not None and event["filename"] not in durations:
            offenders.append(f"{name} is in {event['filename']!r}, whose duration is not given")
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
