"""Sound events of several classes in files, through sed_eval: ``earwitness score grounding --classes``."""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from earwitness.corpora.csv_reader import shown
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers import ids
from earwitness.evaluation.readers.events import Events, Frames, refuse_milliseconds
from earwitness.evaluation.readers.tables import refuse
from earwitness.evaluation.scores import Scored
from earwitness.metrics import sound_events
from earwitness.metrics.grounding import Options, event_based, segment_based
from earwitness.metrics.statistics import Statistic, Sums

PARTS = {"f1": ("f_measure", "f_measure"), "precision": ("f_measure", "precision"), "recall": ("f_measure", "recall")}
PARTS |= {"er": ("error_rate", "error_rate")}
NO_VALUE = "no file has a reference event"
NO_INTERVAL = "the mean over classes: nothing was kept of single classes"


@dataclass(frozen=True)
class Evaluation:
    """What ``earwitness.evaluation.scores.write_scores`` reads; no metric is a mean of the files' values."""

    metrics: dict[str, dict]
    ids: list[str]
    statistics: dict[str, Statistic]  # of the metrics over all events; means over classes have none
    by_clip: dict[str, Any] = field(default_factory=dict)


def score(
    found: Frames | Events,
    references: Events,
    durations: dict[str, float] | None,
    given: Mapping[str, Any],
    options: argparse.Namespace,
) -> Scored:
    """Segment- and event-based metrics over all events (``segment_f1``) and as means over classes (``_macro``)."""
    if isinstance(found, Frames):
        raise EarwitnessError(
            f"{found.path.name} has frame scores; --classes needs events, which it would have to make."
        )
    if useless := sorted(given.keys() & {"threshold", "silent"}):
        raise EarwitnessError(
            f"--{' and --'.join(useless)} {'say' if len(useless) > 1 else 'says'} nothing to --classes."
        )
    refuse([*_unlabelled(found), *_unlabelled(references)])
    files, known = _files(found, references, durations, options)
    true, estimated = _listed(references, known), _listed(found, files)
    if durations is not None:
        ends = ((event["filename"], event["offset"]) for event in (*true, *estimated))
        refuse_milliseconds(options.durations, durations, ends)
    names = list(dict.fromkeys([*(durations or ()), *known.values(), *files.values()]))
    seconds = None if durations is None else {name: durations[name] for name in names}
    chosen = Options(**given)
    resolution = {"time_resolution": chosen.time_resolution}
    collars = {"t_collar": chosen.t_collar, "percentage_of_length": chosen.percentage_of_length}
    results = {
        "segment": segment_based(true, estimated, durations=seconds, **resolution),
        "event": event_based(true, estimated, **collars),
    }
    statistics = {
        name: statistic
        for kind, settings in (("segment", resolution), ("event", collars))
        for name, statistic in _statistics(kind, true, estimated, names, seconds, settings).items()
    }
    read = {"predictions": options.predictions, "references": options.references, "durations": options.durations}
    return Scored(
        Evaluation(_metrics(results), names, statistics),
        "score grounding",
        {name: path for name, path in read.items() if path is not None},
        {"match": options.match, "classes": True, **resolution, **collars},
        {"files": len(names), "classes": len({*found.labels, *references.labels})}
        | {"references": len(true), "detections": len(estimated)},
        [] if durations else ["No durations were given: a file is taken to end with its last event."],
        {"references": _numbers(true, names), "detections": _numbers(estimated, names)},
        {"classes": _by_class(results)},
    )


def _unlabelled(events: Events) -> list[str]:
    return [
        f"{events.path.name}, row {event.row}: the event has no label; --classes needs a column event_label"
        for event in events.events
        if event.times is not None and event.label is None
    ]


def _files(
    found: Events, references: Events, durations: dict[str, float] | None, options: argparse.Namespace
) -> tuple[dict[str, str], dict[str, str]]:
    """The names of the predictions' and of the references' files: those of the durations where these are given."""
    known = references.rows() if durations is None else durations
    other = (options.references if durations is None else options.durations).name
    hint = "; --durations names a table of all files" if durations is None else ""
    problems, names, alike = [], [], False
    for events in (found, references):
        rows = events.rows()
        matched = ids.match(rows, known, options.match)
        problems += matched.problems
        problems += [
            f"{events.path.name}, row {rows[name]}: {shown(name)} is not in {other}{ids.told(name, matched)}{hint}"
            for name in matched.lost
        ]
        names.append(matched.found)
        alike |= bool(matched.alike)
    refuse(problems, advice=ids.ADVICE if alike else "")
    return names[0], names[1]


def _listed(events: Events, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Events as sed_eval takes them; offsets at or before onsets are refused there."""
    return [
        {"filename": names[e.pair], "onset": e.times[0], "offset": e.times[1], "event_label": e.label}
        for e in events.events
        if e.times is not None
    ]


def _numbers(events: list[dict], files: list[str]) -> list[int]:
    """How many events each file has."""
    counted = Counter(event["filename"] for event in events)
    return [counted[file] for file in files]


def _statistics(
    kind: str, true: list[dict], estimated: list[dict], files: list[str], seconds: dict | None, settings: dict
) -> dict[str, Statistic]:
    """What resampling the files needs of the metrics over all events: sed_eval's counts of each file."""
    labels = {name: str(n) for n, name in enumerate(dict.fromkeys(e["event_label"] for e in (*true, *estimated)))}
    sides = [defaultdict(list), defaultdict(list)]
    for side, events in zip(sides, (true, estimated), strict=True):
        for event in events:
            side[event["filename"]].append({**event, "event_label": labels[event["event_label"]]})
    toolkit = sound_events.toolkit(kind, list(labels.values()), **settings)
    totals = [np.zeros(6)]
    for file in files:
        duration = {"evaluated_length_seconds": seconds[file]} if seconds and kind == "segment" else {}
        toolkit.evaluate(sides[0][file], sides[1][file], **duration)
        totals.append(sound_events.totals(kind, toolkit))
    counts = np.diff(totals, axis=0)
    found = {f"{kind}_{name}": Sums(name, counts[:, :3]) for name in ("f1", "precision", "recall")}
    return found | {f"{kind}_er": Sums("error_rate", counts[:, [3, 4, 5, 2]])}


def _metrics(results: Mapping[str, Mapping]) -> dict[str, dict]:
    metrics = {}
    for kind, result in results.items():
        for suffix, key in (("", "overall"), ("_macro", "class_wise_average")):
            for name, (group, part) in PARTS.items():
                value = float(result[key][group][part])
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
