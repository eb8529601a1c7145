"""Sound events of several classes in files, through sed_eval: ``earwitness score grounding --classes``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earwitness.corpora.csv_reader import shown
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers import ids
from earwitness.evaluation.readers.events import Events, Frames, Placed, refuse_milliseconds, refuse_other_unit
from earwitness.evaluation.readers.tables import refuse
from earwitness.evaluation.scores import Scored
from earwitness.metrics import sound_events
from earwitness.metrics.grounding import BEYOND
from earwitness.metrics.statistics import Statistic, Sums

if TYPE_CHECKING:
    from earwitness.evaluation.readers.grounding import GroundingFiles

PARTS = {"f1": ("f_measure", "f_measure"), "precision": ("f_measure", "precision"), "recall": ("f_measure", "recall")}
PARTS |= {"er": ("error_rate", "error_rate")}
NO_VALUE = "no file has a reference event"
NO_INTERVAL = "a mean over classes, and the counts of single classes are not kept"


@dataclass(frozen=True)
class Evaluation:
    """What ``earwitness.evaluation.scores.write_scores`` reads; no metric is a mean of the files' values."""

    metrics: dict[str, dict]
    ids: list[str]
    statistics: dict[str, Statistic]  # of the metrics over all events; means over classes have none
    by_clip: dict[str, Any] = field(default_factory=dict)


def score(
    found: Frames | Events, references: Events, durations: dict[str, float] | None, files: GroundingFiles
) -> Scored:
    """Segment- and event-based metrics over all events (``segment_f1``) and as means over classes (``_macro``)."""
    if isinstance(found, Frames):
        raise EarwitnessError(f"{found.path.name} has frame scores, from which --classes makes no events: give events.")
    if useless := [f"--{name}" for name in ("silent", "threshold") if getattr(files, name) is not None]:
        raise EarwitnessError(f"--classes does not use {' and '.join(useless)}.")
    refuse(
        [
            f"{events.path.name}, row {event.row}: the event has no label; --classes needs a column event_label"
            for events in (found, references)
            for event in events.events
            if event.times is not None and event.label is None
        ]
    )
    names, known = _files(found, references, durations, files)
    true, estimated = _event_list(references, known), _event_list(found, names)
    if durations is not None and files.durations is not None:
        ends = ((event["filename"], event["offset"]) for event in (*true, *estimated))
        refuse_milliseconds(files.durations, durations, ends)
    clips = list(dict.fromkeys([*(durations or ()), *known.values(), *names.values()]))
    seconds = None if durations is None else {name: durations[name] for name in clips}
    settings = files.settings()
    resolution = {"time_resolution": settings.time_resolution}
    collars: dict[str, Any] = {"t_collar": settings.t_collar, "percentage_of_length": settings.percentage_of_length}
    counts = {
        kind: sound_events.counted(kind, true, estimated, seconds, settings.grid, **options)
        for kind, options in (("segment", resolution), ("event", collars))
    }
    if seconds is None:
        detected, annotated = (
            [Placed(event["filename"], event["offset"], event["where"]) for event in events]
            for events in (estimated, true)
        )
        refuse_other_unit(found.path, references.path, detected, annotated)
    metrics = _metrics({kind: those.results for kind, those in counts.items()})
    statistics = {name: s for kind, those in counts.items() for name, s in _statistics(kind, those, clips).items()}
    inputs: dict[str, Path | None] = {name: getattr(files, name) for name in ("predictions", "references", "durations")}
    counted = [Counter(event["filename"] for event in events) for events in (true, estimated)]
    return Scored(
        Evaluation(metrics, clips, statistics),
        "score grounding",
        {name: path for name, path in inputs.items() if path is not None},
        {"match": files.match, "classes": True, "grid": settings.grid, **resolution, **collars},
        {"files": len(clips), "classes": len({*found.labels, *references.labels})}
        | {"references": len(true), "detections": len(estimated)},
        _notes((*true, *estimated), seconds, metrics, counts, settings.grid),
        {name: [c[clip] for clip in clips] for name, c in zip(("references", "detections"), counted, strict=True)},
        {"classes": _by_class({kind: those.results for kind, those in counts.items()})},
    )


def _files(
    found: Events, references: Events, durations: dict[str, float] | None, files: GroundingFiles
) -> tuple[dict[str, str], dict[str, str]]:
    """The names of the predictions' and of the references' files in the durations, or else in the references."""
    known = references.rows() if durations is None else durations
    other = (files.durations or files.references).name
    hint = "; --durations gives a table of all files" if durations is None else ""
    problems, names, alike = [], [], False
    for events in (found, references):
        rows = events.rows()
        matched = ids.match(rows, known, files.match)
        problems += matched.problems
        problems += [
            f"{events.path.name}, row {rows[name]}: {shown(name)} is not in {other}{matched.hint(name)}{hint}"
            for name in matched.lost
        ]
        names.append(matched.found)
        alike |= bool(matched.alike)
    refuse(problems, ids.ADVICE if alike else "")
    return names[0], names[1]


def _event_list(events: Events, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Events as ``sound_events`` takes them; it refuses offsets that are not after their onsets."""
    return [
        {"filename": names[e.pair], "onset": e.times[0], "offset": e.times[1], "event_label": e.label}
        | {"where": events.where(e)}
        for e in events.events
        if e.times is not None
    ]


def _statistics(kind: str, counted: sound_events.Counted, files: list[str]) -> dict[str, Statistic]:
    """The counts of each file, from which the metrics over all events can be resampled."""
    counts = np.array([counted.by_file.get(file, np.zeros(6)) for file in files]).reshape(-1, 6)
    found: dict[str, Statistic] = {
        f"{kind}_{name}": Sums(name, counts[:, :3]) for name in ("f1", "precision", "recall")
    }
    return {**found, f"{kind}_er": Sums("error_rate", counts[:, [3, 4, 5, 2]])}


def _notes(
    events: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, float] | None,
    metrics: Mapping[str, dict],
    counts: Mapping[str, sound_events.Counted],
    grid: sound_events.Grid,
) -> list[str]:
    """What is not known of the files' ends, or does not fit them, and where the grids differ."""
    notes = []
    if seconds is None:
        notes.append(sound_events.length_note("file", max((event["offset"] for event in events), default=0)))
    elif late := sum(event["offset"] > seconds[event["filename"]] + BEYOND for event in events):
        what = "the segments end with the file, the event metrics take the whole event"
        notes.append(f"{late} of {len(events)} events end after their file: {what}.")
    for kind, counted in counts.items():
        if counted.others:
            others = {name: entry["value"] for name, entry in _metrics({kind: counted.others}).items()}
            notes += sound_events.grid_notes(metrics, others, len(counted.differing), grid)
    return notes


def _metrics(results: Mapping[str, Mapping]) -> dict[str, dict]:
    """The metrics over all events and as means over classes, None with a reason where they have no value."""
    metrics = {}
    for kind, result in results.items():
        for suffix, key in (("", "overall"), ("_macro", "class_wise_average")):
            for name, (group, part) in PARTS.items():
                value = float(result[key][group][part])
                entry: dict[str, Any]
                entry = {"value": value} if math.isfinite(value) else {"value": None, "reason": NO_VALUE}
                if suffix and entry["value"] is not None:
                    entry["ci95_reason"] = NO_INTERVAL
                metrics[f"{kind}_{name}{suffix}"] = entry
    return metrics


def _by_class(results: Mapping[str, Mapping]) -> dict[str, dict[str, float | None]]:
    """F1 and error rate of each class, None where it has no reference event."""
    classes: dict[str, dict[str, float | None]] = {}
    for kind, result in results.items():
        for label, values in result["class_wise"].items():
            for name in ("f1", "er"):
                value = float(values[PARTS[name][0]][PARTS[name][1]])
                classes.setdefault(str(label), {})[f"{kind}_{name}"] = value if math.isfinite(value) else None
    return classes
