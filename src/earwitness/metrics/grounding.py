"""Metrics of phrase grounding: when does what a phrase names sound? (metrics.md, section 3)

Each pair of a phrase and a clip is a file of its own, all pairs share one class. ``evaluate`` scores the curves that a
system gives each pair, or its events. A pair without a reference event is silent: the frame metrics count it, the
others leave it out by default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from earwitness.metrics.events import union
from earwitness.metrics.phrases import Curves, Events, Pairs, pairs_from, validate
from earwitness.metrics.sound_events import event_based, segment_based
from earwitness.metrics.statistics import Statistic
from earwitness.metrics.tallies import TALLIES, Frames, Options, Overlap, Tally, ThresholdArea, prepared

__all__ = ["MEANS", "Evaluation", "Options", "evaluate", "event_based", "segment_based", "validate"]

MEANS = Overlap.names(Options())  # whose corpus value is the mean of the pairs' values
NO_CURVES = "needs the frames' scores; only events are given"
NO_REFERENCE = "no pair that is scored has a reference event"
NOTHING = "no pair is scored: all are silent, and silent pairs are dropped"


@dataclass(frozen=True)
class Evaluation:
    """The scores of one system.

    ``metrics`` gives for each name ``{"value": float}``, or ``{"value": None, "reason": str}`` where it could not be
    computed. ``by_clip`` gives float64 [clips] in the order of ``ids`` for the names in ``MEANS``, NaN for a clip all
    of whose pairs are dropped; ``statistics`` has what resampling the clips needs, for every metric with a value.
    ``curves`` holds thresholds, precision, recall and F1 of the frames (``frame``) and by the rules of Th-AUC
    (``th_auc``), float64 [thresholds]; ``baselines`` what the frame metrics give to any reference when every frame is
    active, and none.
    """

    metrics: dict[str, dict]
    ids: list
    by_clip: dict[str, np.ndarray]
    statistics: dict[str, Statistic]
    curves: dict[str, dict[str, np.ndarray]]
    baselines: dict[str, dict[str, float | None]]
    counts: dict[str, int]
    notes: list[str]


def evaluate(
    activations: Curves | None,
    references: Events,
    *,
    hop: float | None,
    clips: Mapping[Hashable, Hashable] | None = None,
    durations: Mapping[Hashable, float] | None = None,
    events: Events | None = None,
    options: Options | None = None,
) -> Evaluation:
    """All metrics of the curves of a set of pairs, or of its events alone.

    Args:
        activations: for each pair the scores of its frames [frames], the higher the more likely; read twice, one pair
            at a time. None where only ``events`` are known.
        references: for each pair the (onset, offset) of its events in seconds, none for a silent pair.
        hop: seconds from one frame to the next; may be None with ``events``.
        clips: the clip of each pair, which is what is resampled; without it each pair is a clip of its own.
        durations: seconds of each clip; without it the longest curve of its pairs, or with ``events`` its last offset.
        events: detected (onset, offset) of each pair, in place of ``activations``; taken as they are.

    Events are cut at the clip's end; those whose offset is then at or before their onset are left out and counted. A
    curve that ends more than one frame before a reference event is taken as inactive from there on. A constant
    curve has no active frame where it is scaled to 0 to 1.

    Raises EarwitnessError for what ``validate`` refuses.
    """
    options = options or Options()
    pairs = pairs_from(activations, references, hop=hop, clips=clips, durations=durations, events=events)
    clip_number = len(pairs.ids)
    tallies, metrics = _tallies(clip_number, activations is not None, hop, options)
    counts = _add_all(pairs, tallies, hop, options)
    statistics: dict[str, Statistic] = {}
    by_clip, curves, baselines = {}, {}, {}
    for tally in tallies:
        nothing = counts["pairs"] == counts["pairs_dropped"] and not tally.silent_too
        for name, statistic in tally.statistics().items():
            value = np.nan if nothing else statistic.values(np.ones((1, clip_number)))[0]
            if np.isnan(value):
                metrics[name] = {"value": None, "reason": NOTHING if nothing else NO_REFERENCE}
            else:
                metrics[name], statistics[name] = {"value": float(value)}, statistic
        match tally:
            case Frames():
                curves["frame"], baselines = tally.curves(), tally.baselines()
            case ThresholdArea():
                curves["th_auc"] = tally.curves()
            case Overlap() if not nothing:
                by_clip["miou"] = tally.by_clip()
    notes = _notes(counts, activations is not None, durations is not None, options)
    return Evaluation(metrics, pairs.ids, by_clip, statistics, curves, baselines, counts, notes)


def _tallies(clips: int, scored: bool, hop: float | None, options: Options) -> tuple[list[Tally], dict[str, dict]]:
    """The groups of metrics that can be computed, and all metrics in order, with a reason for those that cannot."""
    tallies: list[Tally] = []
    metrics: dict[str, dict] = {}
    for kind in TALLIES:
        reason = ""
        if kind.needs_scores and not scored:
            reason = NO_CURVES
        else:
            try:
                tallies.append(kind(clips, hop, options))
            except ImportError as error:
                reason = f"{kind.package} is not installed, or cannot be loaded: {error}"
        metrics |= {name: {"value": None, "reason": reason} for name in kind.names(options)}
    return tallies, metrics


def _add_all(pairs: Pairs, tallies: list[Tally], hop: float | None, options: Options) -> dict[str, int]:
    """Show every pair to the tallies that count it; the numbers of pairs and events."""
    counts = Counter(clips=len(pairs.ids))
    for given in pairs:
        pair = prepared(given, hop, options)
        dropped = pair.silent and options.silent == "drop"
        counts.update(
            pairs=1,
            silent_pairs=pair.silent,
            pairs_dropped=dropped,
            references=len(pair.references),
            references_removed=pair.removed[0],
            references_joined=len(pair.references) - len(union(pair.references)),
            detections=len(pair.detections),
            detections_removed=pair.removed[1],
        )
        if pair.scores is not None:
            counts.update(constant_pairs=bool(np.ptp(pair.scores) == 0))
            counts.update(pairs_beyond_0_to_1=bool(pair.scores.min() < 0 or pair.scores.max() > 1))
        for tally in tallies:
            if tally.silent_too or not dropped:
                tally.add(pair)
    return {name: int(number) for name, number in counts.items()}


def _notes(counts: Mapping[str, int], scored: bool, durations: bool, options: Options) -> list[str]:
    pairs = counts["pairs"]
    told = {
        "silent_pairs": "pairs are silent: the frame metrics count them, "
        + ("the others leave them out" if options.silent == "drop" else "and so do the others"),
        "references_removed": "reference events end at or before their onset, or begin after their clip: left out",
        "detections_removed": "detected events end at or before their onset, or begin after their clip: left out",
        "references_joined": "reference events overlap or touch another of their pair: joined for PSDS",
        "constant_pairs": "pairs have a constant curve"
        + (", which has no active frame once it is scaled to 0 to 1" if options.minmax else ""),
        "pairs_beyond_0_to_1": "pairs have scores below 0 or above 1, which the thresholds of Th-AUC do not reach",
    }
    notes = [f"{counts[name]} {text} ({pairs} pairs in all)." for name, text in told.items() if counts.get(name)]
    if not scored and not durations:
        notes.append("No durations were given: a clip is taken to end with its last event.")
    return notes
