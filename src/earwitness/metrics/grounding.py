"""Metrics of phrase grounding: when does what a phrase names sound? (docs/metrics.md, section 3)

Conventions
-----------
A pair is a phrase and a clip; all pairs share one class, and each is scored like a separate file. A system gives a
pair an activation, the scores of its frames [frames], or a list of events, (onset, offset) in seconds; the references
are events. Frame k lasts from k * hop to (k + 1) * hop seconds. A pair without a reference event is silent: the frame
metrics count it, the others leave it out by default. Values are fractions in 0 to 1, but an error rate may exceed 1.

An accumulator adds up what a group of metrics needs of each pair, by clip. The value of a metric is that of its
statistic (``earwitness.metrics.statistics``) with every clip counted once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np

from earwitness.errors import EarwitnessError, counted, listed
from earwitness.metrics import psds, sound_events
from earwitness.metrics.arguments import by_name, described, is_named, numbers
from earwitness.metrics.catalogue import chosen, of_kind
from earwitness.metrics.events import (
    DECIMALS,
    Detections,
    cleaned,
    detect,
    intersections,
    iou,
    labelled,
    scaled,
    smoothed,
    union,
    unit_hint,
)
from earwitness.metrics.formulas import f1, mean, precision, recall, threshold_f1
from earwitness.metrics.sound_events import GRIDS, Grid, event_based, segment_based
from earwitness.metrics.statistics import Statistic, Sums

__all__ = ["MEANS", "SETS", "Evaluation", "Options", "evaluate", "event_based", "segment_based", "validate"]

MEANS = tuple(metric.name for metric in of_kind("grounding") if metric.is_mean)
SETS = ("all", "frame", "segment", "event", "psds", "th_auc")  # of metrics, by how the names begin
NO_SCORES = "needs the frames' scores; only events are given"
NO_REFERENCE = "no pair that is scored has a reference event"
NOTHING = "no pair is scored: all are silent, and silent pairs are dropped"
LABEL = "event"  # of the one class
GRID = np.arange(1, 100, 2) / 100  # thresholds of Th-AUC (docs/metrics.md, section 3.5)
INNER = slice(10, 40)  # those from 0.21 to 0.79
BATCH = 256  # activations passed to sed_scores_eval at a time
SCORES: dict[str, Callable] = {"precision": precision, "recall": recall, "f1": f1}
LONGEST_HOP = 10.0  # seconds; a longer one is taken for milliseconds, or for frames per second
UNLIKE = 1.5  # factor by which frames and clip may differ in length
BEYOND = 0.1  # seconds that an event may end after its clip where no hop is given

Activations = Mapping[Any, Any]  # pair -> array [frames]
Events = Mapping[Any, Sequence]  # pair -> (onset, offset) of each event
Named = Callable[[str, Any, int], str]  # "reference" or "detected", pair, index of its event -> how messages name it


@dataclass(frozen=True)
class Options:
    """How activations become events, and what counts as found; the defaults are those of docs/metrics.md, section 3.7.

    A frame is active from a threshold on in the frame metrics, elsewhere above it. ``minmax`` concerns the frame
    metrics only; ``median_filter`` all but ``frame_f1_best``, which is as published whatever these two are;
    ``merge_gap`` and ``min_length`` all events but those of PSDS. ``e_max`` lists false detections per hour: 100 gives
    ``psds``, any other number ``psds_<number>``.

    Raises EarwitnessError that lists all values out of range.

    >>> Options(e_max=(100, 50)).threshold
    0.5
    """

    threshold: float = 0.5
    frame_threshold: float | None = None  # of the frame metrics; None: `threshold`
    thresholds: tuple[float, ...] = tuple(n / 100 for n in range(1, 100))  # of the frame metrics over thresholds
    minmax: bool = True  # scale each pair's activation to 0 to 1, as Xie et al. (ICASSP 2022) do
    median_filter: int = 1  # frames; 1 is no filter
    merge_gap: float = 0.5  # seconds; 0 closes no gap
    min_length: float = 0.0  # seconds
    t_collar: float = 0.2  # seconds
    percentage_of_length: float = 0.2  # of the reference's length, as a fraction
    time_resolution: float = 1.0  # seconds of a segment
    dtc: float = 0.5  # share of a detection that references have to cover (PSDS, Th-AUC)
    gtc: float = 0.5  # share of a reference that detections have to cover
    e_max: tuple[float, ...] = (100.0, 400.0)
    silent: Literal["drop", "keep"] = "drop"
    grid: Grid = "decimal"  # of segments and collars (``earwitness.metrics.sound_events``); or sed_eval
    compat: bool = False  # Th-AUC divided as in the published code: 0.98 and 0.967 at best, not 1

    def __post_init__(self) -> None:
        for name in ("thresholds", "e_max"):
            numbers(f"{name} of the options", getattr(self, name))
        rules: dict[str, tuple[Callable[[float], bool], str]] = {
            "threshold": (lambda _: True, "a finite number"),
            "frame_threshold": (lambda _: True, "a finite number"),
            "median_filter": (lambda value: value > 0 and value % 2 == 1, "an odd number of frames"),
            "merge_gap": (lambda value: value >= 0, "seconds from 0 on"),
            "min_length": (lambda value: value >= 0, "seconds from 0 on"),
            "t_collar": (lambda value: value > 0, "seconds above 0"),
            "percentage_of_length": (lambda value: 0 <= value <= 1, "a fraction in 0 to 1"),
            "time_resolution": (lambda value: value > 0, "seconds above 0"),
            "dtc": (lambda value: 0 < value <= 1, "a fraction above 0, at most 1"),
            "gtc": (lambda value: 0 < value <= 1, "a fraction above 0, at most 1"),
        }
        met = {
            name: (_is_number(getattr(self, name)) and rule(getattr(self, name)), text)
            for name, (rule, text) in rules.items()
            if name != "frame_threshold" or self.frame_threshold is not None
        }
        ascending = all(low < high for low, high in pairwise(self.thresholds))
        met["thresholds"] = (all(map(_is_number, self.thresholds)) and ascending, "numbers in ascending order")
        rates = [rate for rate in self.e_max if _is_number(rate) and rate > 0]
        met["e_max"] = (len(set(rates)) == len(self.e_max), "false detections per hour above 0, each once")
        met["silent"] = (self.silent in ("drop", "keep"), "drop or keep")
        met["grid"] = (self.grid in GRIDS, " or ".join(GRIDS))
        offenders = [f"{name} is {getattr(self, name)!r}, not {text}" for name, (ok, text) in met.items() if not ok]
        if offenders:
            raise EarwitnessError(listed("The grounding metrics cannot be computed with these options:", offenders))


@dataclass(frozen=True)
class Evaluation:
    """The scores of one system.

    ``metrics`` gives for each name ``{"value": float}``, or ``{"value": None, "reason": str}`` where it could not be
    computed. ``by_clip`` gives float64 [clips] in the order of ``ids`` for the names in ``MEANS``, NaN for a clip all
    of whose pairs are dropped; ``statistics`` has what resampling the clips needs, for every metric with a value.
    ``curves`` holds thresholds, precision, recall and F1 of the frames (``frame``) and by the rules of Th-AUC
    (``th_auc``), float64 [thresholds], where there is a reference event; ``baselines`` the frame metrics with
    every frame active, and with none.
    """

    metrics: dict[str, dict]
    ids: list
    by_clip: dict[str, np.ndarray]
    statistics: dict[str, Statistic]
    curves: dict[str, dict[str, np.ndarray]]
    baselines: dict[str, dict[str, float | None]]
    counts: dict[str, int]
    notes: list[str]


@dataclass(frozen=True)
class Pair:
    """One pair as it is scored; events are cut at the clip's end."""

    clip: int  # index of its clip
    duration: float  # seconds of the clip
    scores: np.ndarray | None  # float64 [frames], None where only events were given
    activation: np.ndarray | None  # float64 [frames] the scores, smoothed
    references: np.ndarray  # float64 [events, 2]
    detections: np.ndarray  # float64 [events, 2]
    removed: tuple[int, int]  # reference events and detections whose offset is at or before their onset

    @property
    def silent(self) -> bool:
        return not len(self.references)


def evaluate(
    activations: Activations | None,
    references: Events,
    *,
    hop: float | None,
    clips: Mapping[Any, Hashable] | None = None,
    durations: Mapping[Any, float] | None = None,
    events: Events | None = None,
    options: Options | None = None,
    metrics: str | Iterable[str] | None = None,
    named: Named | None = None,
) -> Evaluation:
    """Metrics of the activations of a set of pairs, or of its events alone.

    What is given for each pair is a mapping, or a list or array in one order of the pairs, which are then named from 0.

    Args:
        activations: for each pair the scores of its frames [frames], the higher the more likely; read twice, one pair
            at a time. None where only ``events`` are known.
        references: for each pair the (onset, offset) of its events in seconds, none for a silent pair.
        hop: seconds from one frame to the next; may be None with ``events``.
        clips: the clip of each pair, which is what is resampled; without it each pair is a clip.
        durations: seconds of each clip; without it the longest activation of its pairs, or with ``events`` its last
            offset.
        events: detected (onset, offset) of each pair, in place of ``activations``; scored as given.
        metrics: names of ``earwitness.metrics.catalogue`` or ``SETS``; None computes all.
        named: how messages name the n-th reference or detected event of a pair, from 0; None names the pair.

    Events are cut at the clip's end; those whose offset is then at or before their onset are left out and counted.
    After an activation that ends more than one frame before a reference event nothing is active. A constant activation
    has no active frame where it is scaled to 0 to 1.

    Raises EarwitnessError for what ``validate`` refuses, and for unknown metrics.

    >>> activations = {"a dog barks, in yard.wav": [0.1, 0.9, 0.8, 0.2], "rain, in yard.wav": [0.7, 0.6, 0.2, 0.1]}
    >>> references = {"a dog barks, in yard.wav": [(1.0, 3.0)], "rain, in yard.wav": [(0.0, 4.0)]}
    >>> result = evaluate(activations, references, hop=1.0, metrics=["frame_f1", "segment_f1", "miou"])
    >>> {name: round(entry["value"], 3) for name, entry in result.metrics.items()}
    {'frame_f1': 0.8, 'segment_f1': 0.8, 'miou': 0.75}
    """
    if options is not None and not isinstance(options, Options):
        raise EarwitnessError(f"options are {described(options)}; grounding.Options(...) is needed.")
    options = options or Options()
    activations, references, clips, durations, events = _by_pair(activations, references, clips, durations, events)
    names = [name for kind in ACCUMULATORS for name in kind.names(options)]
    sets = {prefix: [name for name in names if name.startswith(prefix)] for prefix in SETS} | {"all": names}
    wanted = chosen(metrics, sets, names)
    lengths = _checked(activations, references, hop, clips, durations, events, named or _named)
    clip_of = {pair: pair if clips is None else clips[pair] for pair in references}
    ids = list(dict.fromkeys(clip_of.values()))
    accumulators, found = _accumulators(wanted, len(ids), activations is not None, hop, options)
    counts = Counter(clips=len(ids))
    for pair in _pairs(activations, references, events, clip_of, lengths, hop, options):
        dropped = pair.silent and options.silent == "drop"
        counts.update(_counted(pair), pairs_dropped=dropped)
        for accumulator in accumulators:
            if accumulator.counts_silent or not dropped:
                accumulator.add(pair)
    statistics: dict[str, Statistic] = {}
    by_clip, curves, baselines = {}, {}, {}
    notes: list[str] = []
    for accumulator in accumulators:
        nothing = counts["pairs"] == counts["pairs_dropped"] and not accumulator.counts_silent
        for name, statistic in accumulator.statistics().items():
            value = np.nan if nothing else statistic.values(np.ones((1, len(ids))))[0]
            if name in wanted and np.isnan(value):
                found[name] = {"value": None, "reason": NOTHING if nothing else NO_REFERENCE}
            elif name in wanted:
                found[name], statistics[name] = {"value": float(value)}, statistic
        match accumulator:
            case Frames():
                curves["frame"], baselines = accumulator.curves(), accumulator.baselines()
            case SegmentBased() if not nothing:
                notes += sound_events.grid_notes(
                    found, accumulator.on_other_grid(), accumulator.differing, options.grid
                )
            case ThresholdArea():
                curves["th_auc"] = accumulator.curves()
            case Overlap() if not nothing:
                by_clip["miou"] = accumulator.by_clip()
    curves = {name: curve for name, curve in curves.items() if not any(np.isnan(v).any() for v in curve.values())}
    totals = {name: int(number) for name, number in counts.items()}
    unknown = activations is None and durations is None
    notes = [*_notes(totals, max(lengths.values()) if unknown else None, options), *notes]
    return Evaluation(found, ids, by_clip, statistics, curves, baselines, totals, notes)


def _accumulators(
    wanted: Sequence[str], clips: int, scored: bool, hop: float | None, options: Options
) -> tuple[list[Accumulator], dict[str, dict]]:
    """The accumulators that can be used, and all wanted metrics in order, with a reason for those without one."""
    accumulators: list[Accumulator] = []
    metrics: dict[str, dict] = {}
    for kind in ACCUMULATORS:
        names, reason = [name for name in kind.names(options) if name in wanted], ""
        if kind.needs_scores and not scored:
            reason = NO_SCORES
        elif names:
            try:
                accumulators.append(kind(clips, hop or 0.0, options))  # 0: only events, which have no frames
            except ImportError as error:
                reason = f"{kind.package} is not installed, or cannot be loaded: {error}"
        metrics |= {name: {"value": None, "reason": reason} for name in names}
    return accumulators, metrics


def _pairs(
    activations: Activations | None,
    references: Events,
    events: Events | None,
    clip_of: Mapping[Any, Hashable],
    durations: Mapping[Any, float],
    hop: float | None,
    options: Options,
) -> Iterator[Pair]:
    """The pairs in the order of ``references``, one at a time."""
    number = {clip: n for n, clip in enumerate(dict.fromkeys(clip_of.values()))}
    for pair, given in references.items():
        duration = float(durations[clip_of[pair]])
        times, removed = cleaned(given, duration)
        scores = activation = None
        if events is not None:
            detections, dropped = cleaned(events[pair], duration)
        elif activations is not None and hop is not None:
            scores = np.asarray(activations[pair], dtype=float)
            activation = smoothed(scores, options.median_filter)
            found = _detect(activation, np.array([options.threshold]), duration, hop, options)
            detections, dropped = found.times, found.removed
        yield Pair(number[clip_of[pair]], duration, scores, activation, times, detections, (removed, dropped))


def _detect(
    activation: np.ndarray, thresholds: np.ndarray, duration: float, hop: float, options: Options
) -> Detections:
    """The events of an activation above each of the thresholds."""
    gaps = {"merge_gap": options.merge_gap, "min_length": options.min_length}
    return detect(activation, thresholds, hop=hop, duration=duration, **gaps)


def _counted(pair: Pair) -> Counter:
    """What ``counts`` has of one pair."""
    counts = Counter(
        pairs=1,
        silent_pairs=pair.silent,
        pairs_dropped=0,
        references=len(pair.references),
        references_removed=pair.removed[0],
        references_joined=len(pair.references) - len(union(pair.references)),
        detections=len(pair.detections),
        detections_removed=pair.removed[1],
    )
    if pair.scores is not None:
        counts["constant_pairs"] = bool(np.ptp(pair.scores) == 0)
        counts["pairs_beyond_0_to_1"] = bool(pair.scores.min() < 0 or pair.scores.max() > 1)
    return counts


def _notes(counts: Mapping[str, int], last: float | None, options: Options) -> list[str]:
    """What a reader should know of silent pairs, removed events and unusual scores.

    ``last`` is the end of the last event where the clips' lengths are not known.
    """
    silent = "the others leave them out" if options.silent == "drop" else "and so do the others"
    scaling = ", without an active frame once it is scaled to 0 to 1" if options.minmax else ""
    late = "with an end at or before the onset, or an onset after the end of the clip: left out"
    texts = {
        "silent_pairs": ("silent pair", f": the frame metrics count them, {silent}"),
        "references_removed": ("reference event", f" {late}"),
        "detections_removed": ("detected event", f" {late}"),
        "references_joined": (
            "reference event",
            " that touch or overlap another of their pair: joined for PSDS",
        ),
        "constant_pairs": ("pair", f" with a constant activation{scaling}"),
        "pairs_beyond_0_to_1": ("pair", " with scores below 0 or above 1, which the thresholds of Th-AUC do not reach"),
    }
    notes = [
        f"{counted(counts[name], one)}{text} ({counted(counts['pairs'], 'pair')} in all)."
        for name, (one, text) in texts.items()
        if counts.get(name)
    ]
    if last is not None:
        notes.append(sound_events.length_note("clip", last))
    return notes


class Accumulator(Protocol):
    """A group of metrics; see the module. The constructor raises ImportError where its package cannot be loaded."""

    needs_scores: bool  # or events are enough
    counts_silent: bool  # whether it counts silent pairs that the others drop
    package: str  # that it needs, empty for none

    def __init__(self, clips: int, hop: float, options: Options) -> None: ...

    @classmethod
    def names(cls, options: Options) -> tuple[str, ...]: ...

    def add(self, pair: Pair) -> None: ...

    def statistics(self) -> dict[str, Statistic]: ...


class Frames:
    """Frame metrics at the threshold and over all thresholds (docs/metrics.md, section 3.1), silent pairs included.

    Labels are those of ``frame_labels``. ``frame_f1_best`` takes the activations as Xie et al. (ICASSP 2022) do: scaled
    and not smoothed. The baselines are a system with every frame active, and one with none.
    """

    needs_scores, counts_silent, package = True, True, ""

    def __init__(self, clips: int, hop: float, options: Options) -> None:
        self.hop, self.options = hop, options
        self.counts = np.zeros((clips, 3))  # true positives, active, in the reference
        self.frames = np.zeros(clips)
        self.sweep = np.zeros((len(options.thresholds), 2))  # true positives, active
        self.published = np.zeros((clips, *self.sweep.shape))  # the same as published, by clip

    @classmethod
    def names(cls, options: Options) -> tuple[str, ...]:
        return (*(f"frame_{name}" for name in (*SCORES, "f1_best", "f1_all_active", "f1_all_silent")),)

    def add(self, pair: Pair) -> None:
        assert pair.activation is not None and pair.scores is not None  # needs_scores
        published = scaled(pair.scores, pair.scores)
        scores = scaled(pair.activation, pair.scores) if self.options.minmax else pair.activation
        scores, labels = labelled(scores, pair.references, self.hop)
        published = np.append(published, np.full(len(scores) - len(published), -np.inf))
        at = self.options.threshold if self.options.frame_threshold is None else self.options.frame_threshold
        active = scores >= at
        self.counts[pair.clip] += (active & labels).sum(), active.sum(), labels.sum()
        self.frames[pair.clip] += len(scores)
        self.sweep += np.stack([self._reached(scores[labels]), self._reached(scores)], axis=1)
        self.published[pair.clip] += np.stack([self._reached(published[labels]), self._reached(published)], axis=1)

    def _reached(self, scores: np.ndarray) -> np.ndarray:
        """The number of scores at or above each of the thresholds."""
        thresholds = np.asarray(self.options.thresholds, dtype=float)
        below = np.bincount(np.searchsorted(thresholds, scores, side="right"), minlength=len(thresholds) + 1)
        return len(scores) - np.cumsum(below)[:-1]

    def statistics(self) -> dict[str, Statistic]:
        reference = self.counts[:, 2]
        all_active = np.stack([reference, self.frames, reference], axis=1)
        return {
            **{f"frame_{name}": Sums(name, self.counts) for name in SCORES},
            "frame_f1_best": Sums("best_f1", np.column_stack([reference, self.published.reshape(len(reference), -1)])),
            "frame_f1_all_active": Sums("f1", all_active),
            "frame_f1_all_silent": Sums("f1", self.counts * [0, 0, 1]),
        }

    def curves(self) -> dict[str, np.ndarray]:
        """Precision, recall and F1 by threshold, float64 [thresholds]."""
        reference = np.full((len(self.sweep), 1), self.counts[:, 2].sum())
        sums = np.concatenate([self.sweep, reference], axis=1)
        values = {name: formula(sums) for name, formula in SCORES.items()}
        return {"thresholds": np.asarray(self.options.thresholds, dtype=float), **values}

    def baselines(self) -> dict[str, dict[str, float | None]]:
        """Precision, recall and F1 with every frame active, and with none; None where there is no reference."""
        frames, reference = self.frames.sum(), self.counts[:, 2].sum()
        baselines = {}
        for name, sums in (("all_active", [reference, frames, reference]), ("all_silent", [0, 0, reference])):
            values = {score: float(formula(np.array(sums))) for score, formula in SCORES.items()}
            baselines[name] = {score: None if math.isnan(value) else value for score, value in values.items()}
        return baselines


class SegmentBased:
    """Segment-based metrics through sed_eval (docs/metrics.md, section 3.2), a pair as a file, on both grids."""

    needs_scores, counts_silent, package = False, False, "sed_eval"
    kind = "segment"

    def __init__(self, clips: int, hop: float, options: Options) -> None:
        grids = options.grid, sound_events.other_grid(options.grid)
        self.toolkit, self.other = (
            sound_events.Toolkit(self.kind, [LABEL], grid, **self.settings(options)) for grid in grids
        )
        self.counts, self.others = np.zeros((2, clips, 6))
        self.differing = 0  # pairs

    @staticmethod
    def settings(options: Options) -> dict[str, float]:
        return {"time_resolution": options.time_resolution}

    @classmethod
    def names(cls, options: Options) -> tuple[str, ...]:
        return tuple(f"{cls.kind}_{name}" for name in (*SCORES, "er"))

    def add(self, pair: Pair) -> None:
        true, found = (sound_events.events_of(times, LABEL) for times in (pair.references, pair.detections))
        counts = other = self.toolkit.add(true, found, pair.duration)
        if self.toolkit.differs:
            other = self.other.add(true, found, pair.duration)
            self.differing += not np.array_equal(counts, other)
        self.counts[pair.clip] += counts
        self.others[pair.clip] += other

    def statistics(self) -> dict[str, Statistic]:
        return self._statistics(self.counts)

    def on_other_grid(self) -> dict[str, float]:
        """The metrics on the grid that is not ``options.grid``; none where that gives the same counts."""
        found = self._statistics(self.others) if self.differing else {}
        return {name: float(statistic.values(np.ones((1, len(self.others))))[0]) for name, statistic in found.items()}

    def _statistics(self, counts: np.ndarray) -> dict[str, Statistic]:
        found: dict[str, Statistic] = {f"{self.kind}_{name}": Sums(name, counts[:, :3]) for name in SCORES}
        return found | {f"{self.kind}_er": Sums("error_rate", counts[:, [3, 4, 5, 2]])}


class EventBased(SegmentBased):
    """Event-based metrics through sed_eval (docs/metrics.md, section 3.3), a pair as a file."""

    kind = "event"

    @staticmethod
    def settings(options: Options) -> dict[str, float]:
        return {"t_collar": options.t_collar, "percentage_of_length": options.percentage_of_length}


class DetectionScore:
    """PSDS of the activations (docs/metrics.md, section 3.4): every score is a threshold, no gap is closed."""

    needs_scores, counts_silent, package = True, False, "sed_scores_eval"

    def __init__(self, clips: int, hop: float, options: Options) -> None:
        import sed_scores_eval  # noqa: F401 - ImportError is raised here, not at the first batch

        self.hop, self.options = hop, options
        self.references, self.seconds = np.zeros(clips), np.zeros(clips)
        self.waiting: list[tuple[int, psds.Activation]] = []
        self.changes: list[psds.Changes] = []
        self.clip: list[np.ndarray] = []

    @classmethod
    def names(cls, options: Options) -> tuple[str, ...]:
        return tuple("psds" if rate == 100 else f"psds_{rate:g}" for rate in options.e_max)

    def add(self, pair: Pair) -> None:
        assert pair.activation is not None  # needs_scores
        edges = np.round(np.arange(len(pair.activation) + 1) * self.hop, DECIMALS)
        frames = np.count_nonzero(edges[:-1] < pair.duration)
        edges = np.minimum(edges[: frames + 1], pair.duration)
        references = union(pair.references)
        self.references[pair.clip] += len(references)
        self.seconds[pair.clip] += pair.duration
        self.waiting.append((pair.clip, psds.Activation(pair.activation[:frames], edges, references)))
        if len(self.waiting) == BATCH:
            self._count()

    def _count(self) -> None:
        activations = [activation for _, activation in self.waiting]
        found = psds.changes(activations, self.options.dtc, self.options.gtc)
        for (clip, _), changes in zip(self.waiting, found, strict=True):
            self.changes.append(changes)
            self.clip.append(np.full(len(changes.scores), clip))
        self.waiting = []

    def statistics(self) -> dict[str, Statistic]:
        if self.waiting:
            self._count()
        empty = psds.Changes(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        scores, tp, fp = (np.concatenate(parts) for parts in zip(empty, *self.changes, strict=True))
        clip = np.concatenate([np.zeros(0, dtype=np.int64), *self.clip])
        first = psds.Psds(scores, tp, fp, clip, self.references, self.seconds, 100.0)
        rates = map(float, self.options.e_max)
        return {name: replace(first, e_max=rate) for name, rate in zip(self.names(self.options), rates, strict=True)}


class ThresholdArea:
    """Th-AUC over all thresholds and over those in 0.2 to 0.8 (docs/metrics.md, section 3.5)."""

    needs_scores, counts_silent, package = True, False, ""

    def __init__(self, clips: int, hop: float, options: Options) -> None:
        self.hop, self.options = hop, options
        self.counts = np.zeros((clips, len(GRID), 4))

    @classmethod
    def names(cls, options: Options) -> tuple[str, ...]:
        return ("th_auc", "th_auc_02_08")

    def add(self, pair: Pair) -> None:
        assert pair.activation is not None  # needs_scores
        found = _detect(pair.activation, GRID, pair.duration, self.hop, self.options)
        self.counts[pair.clip] += intersections(found, pair.references, self.options.dtc, self.options.gtc)

    def statistics(self) -> dict[str, Statistic]:
        formula = "th_auc_compat" if self.options.compat else "th_auc"
        ranges = zip(self.names(self.options), (slice(None), INNER), strict=True)
        return {name: Sums(formula, self.counts[:, part].reshape(len(self.counts), -1)) for name, part in ranges}

    def curves(self) -> dict[str, np.ndarray]:
        """Precision, recall and F1 by threshold, float64 [thresholds]."""
        values = threshold_f1(self.counts.sum(axis=0).reshape(-1))
        return {"thresholds": GRID.copy(), **dict(zip(SCORES, values, strict=True))}


class Overlap:
    """The mean over pairs of intersection over union (docs/metrics.md, section 3.6) at the threshold."""

    needs_scores, counts_silent, package = False, False, ""

    def __init__(self, clips: int, hop: float, options: Options) -> None:
        self.sums = np.zeros((clips, 2))  # of the pairs' values, number of pairs

    @classmethod
    def names(cls, options: Options) -> tuple[str, ...]:
        return ("miou",)

    def add(self, pair: Pair) -> None:
        self.sums[pair.clip] += iou(pair.references, pair.detections), 1

    def statistics(self) -> dict[str, Statistic]:
        return {"miou": Sums("mean", self.sums)}

    def by_clip(self) -> np.ndarray:
        """The mean of each clip's pairs, float64 [clips], NaN for a clip without any."""
        return mean(self.sums)


ACCUMULATORS: tuple[type[Accumulator], ...] = (
    Frames,
    SegmentBased,
    EventBased,
    DetectionScore,
    ThresholdArea,
    Overlap,
)


def validate(
    activations: Activations | None,
    references: Events,
    *,
    hop: float | None,
    clips: Mapping[Any, Hashable] | None = None,
    durations: Mapping[Any, float] | None = None,
    events: Events | None = None,
) -> None:
    """Refuse what ``evaluate`` cannot score, all offenders in one EarwitnessError.

    The arguments are the same; every activation is read once. Events whose offset is at or before their onset are no
    offenders: they are left out and counted.

    >>> validate({"a dog barks": [0.1, 0.9]}, {"a dog barks": [(0.5, 1.0)]}, hop=0.5)
    """
    activations, references, clips, durations, events = _by_pair(activations, references, clips, durations, events)
    _checked(activations, references, hop, clips, durations, events, _named)


def _by_pair(*given: Any) -> tuple:
    """Activations, references, clips, durations and events as mappings: lists and arrays by position, from 0."""
    whats = ("activations", "references", "clips of the pairs", "durations", "detected events")
    found = dict(zip(whats, given, strict=True))
    lists = [what for what in whats if found[what] is not None and not is_named(found[what])]
    named = [what for what in whats if is_named(found[what]) and what != "durations"]
    for what in lists:
        found[what] = by_name(f"The {what}", found[what])
    if lists and named:
        text = f"The {' and '.join(lists)} are lists, the {' and '.join(named)} are by name: give all in one way."
        raise EarwitnessError(text)
    if "durations" in lists and found["clips of the pairs"] is not None:
        raise EarwitnessError("The durations are a list; they are those of clips, which are named: give a mapping.")
    return tuple(None if one is None else by_name(f"The {what}", one) for what, one in found.items())


def _named(which: str, pair: Any, number: int) -> str:
    return f"a {which} event of pair {pair!r}"


def _checked(
    activations: Any, references: Any, hop: float | None, clips: Any, durations: Any, events: Any, named: Named
) -> Mapping[Any, float]:
    """The seconds of each clip; EarwitnessError for arguments that cannot be scored."""
    frames: dict[Hashable, int] = {}
    offenders = _argument_offenders(activations, references, hop, events)
    offenders = offenders or _name_offenders(activations, references, clips, durations, events)
    if not offenders:
        frames, offenders = _frames(activations or {})
    for which, given in (("reference", references), ("detected", events or {})) if not offenders else ():
        offenders += _times(given, which, events is None or durations is not None, named)
    if not offenders:
        clip_of = {pair: pair if clips is None else clips[pair] for pair in references}
        if durations is None:
            durations = _durations(references, events, clip_of, frames, hop)
        offenders = _ends(references, events, clip_of, durations, frames, hop, named)
    if offenders:
        raise EarwitnessError(listed("These phrases cannot be scored:", offenders))
    return durations


def _argument_offenders(activations: Any, references: Any, hop: float | None, events: Any) -> list[str]:
    """What is wrong with the arguments as such."""
    if (activations is None) == (events is None):
        return ["either activations or events are needed, one of them" + ("" if events is None else ", not both")]
    offenders = [] if len(references) else ["there are no pairs"]
    if hop is None and activations is not None:
        offenders.append("hop is not given: how many seconds does a frame of the activations last?")
    elif hop is not None and not (_is_number(hop) and hop > 0):
        offenders.append(f"hop is {hop!r}, not a positive number of seconds per frame")
    elif hop is not None and hop > LONGEST_HOP:
        offenders.append(f"hop is {hop!r} seconds per frame; milliseconds, or frames per second, perhaps")
    return offenders


def _name_offenders(activations: Any, references: Any, clips: Any, durations: Any, events: Any) -> list[str]:
    """Pairs and clips that some arguments name and others lack."""
    given, what = (activations, "activations") if events is None else (events, "detected events")
    offenders = [f"pair {pair!r} has {what} but no references" for pair in given if pair not in references]
    offenders += [f"pair {pair!r} has references but no {what}" for pair in references if pair not in given]
    if offenders:
        advice = "a pair in which nothing sounds, or nothing was detected, has an empty list of events"
        return [*offenders, f"({advice})"]
    if clips is not None:
        offenders += [f"pair {pair!r} has no clip" for pair in references if pair not in clips]
        offenders += [f"pair {pair!r} has a clip but no references" for pair in clips if pair not in references]
    if durations is None or offenders:
        return offenders
    for clip in dict.fromkeys(references if clips is None else (clips[pair] for pair in references)):
        if clip not in durations:
            offenders.append(f"the duration of clip {clip!r} is not given")
        elif not (_is_number(durations[clip]) and durations[clip] > 0):
            offenders.append(f"the duration of clip {clip!r} is {durations[clip]!r}, not a positive number of seconds")
    return offenders


def _frames(activations: Activations) -> tuple[dict[Hashable, int], list[str]]:
    """The number of frames of each pair, and which activations are not finite scores [frames]."""
    frames, offenders = {}, []
    for pair in activations:
        try:
            scores = np.asarray(activations[pair], dtype=float)
        except (TypeError, ValueError):
            offenders.append(f"the activations of pair {pair!r} are not numbers, or their rows differ in length")
            continue
        if scores.ndim != 1:
            offenders.append(f"the activations of pair {pair!r} have the shape {list(scores.shape)}, not [frames]")
        elif not len(scores):
            offenders.append(f"the activations of pair {pair!r} are empty")
        elif number := np.count_nonzero(~np.isfinite(scores)):
            first = int(np.argmax(~np.isfinite(scores)))
            offenders.append(
                f"{number} activations of pair {pair!r} are not finite, the first in frame {first}: {scores[first]}"
            )
        frames[pair] = scores.size
    return frames, offenders


def _times(events: Events, which: str, known: bool, named: Named) -> list[str]:
    """Lists that are no events, and times that are none; unless clips' lengths are ``known``, beyond any recording."""
    offenders = []
    for pair, given in events.items():
        try:
            times = np.asarray(given, dtype=float)
        except (TypeError, ValueError):
            times = None
        if times is None or (times.size and (times.ndim != 2 or times.shape[1] != 2)):
            offenders.append(f"the {which} events of pair {pair!r} are not a list of (onset, offset)")
            continue
        for number, (onset, offset) in enumerate(times.reshape(-1, 2).tolist()):
            last = max(onset, offset)
            if not (math.isfinite(onset) and math.isfinite(offset)):
                offenders.append(f"{named(which, pair, number)} lasts from {onset} to {offset}: not finite")
            elif min(onset, offset) < 0:
                offenders.append(f"{named(which, pair, number)} lasts from {onset:g} to {offset:g} s: negative")
            elif not known and (hint := unit_hint(last, None)):
                offenders.append(f"{named(which, pair, number)} lasts to {last:g} s, more than a day{hint}")
    return offenders


def _durations(
    references: Any, events: Any, clip_of: Any, frames: Mapping[Any, int], hop: Any
) -> dict[Hashable, float]:
    """The longest activation of each clip in seconds, or where there are only events the last offset."""
    durations = dict.fromkeys(clip_of.values(), 0.0)
    for pair, clip in clip_of.items():
        if events is None:
            ends = [frames[pair] * hop]
        else:
            ends = [np.asarray(given, dtype=float).max(initial=0) for given in (references[pair], events[pair])]
        durations[clip] = max(durations[clip], *map(float, ends))
    return durations


def _ends(
    references: Any,
    events: Any,
    clip_of: Any,
    durations: Any,
    frames: Mapping[Any, int],
    hop: Any,
    named: Named,
) -> list[str]:
    """Events that end after their clip, and activations that are much longer or shorter than it."""
    offenders = []
    slack = BEYOND if hop is None else hop
    for pair, clip in clip_of.items():
        duration = float(durations[clip])
        for which, given in (("reference", references), ("detected", events or {})):
            times = np.asarray(given.get(pair, ()), dtype=float).reshape(-1, 2)
            for number, last in enumerate(times.max(axis=1).tolist()):
                if last > duration + slack + 1e-6:
                    offenders.append(
                        f"{named(which, pair, number)} lasts to {last:g} s, its clip only to {duration:g} s"
                        + unit_hint(last, duration)
                    )
        if pair in frames:
            length = frames[pair] * hop
            if length - slack > UNLIKE * duration or UNLIKE * (length + slack) < duration:
                offenders.append(
                    f"the {frames[pair]} frames of pair {pair!r} make {length:g} s with a hop of {hop:g} s, "
                    f"its clip lasts {duration:g} s: is the hop right?"
                )
    return offenders


def _is_number(value: Any) -> bool:
    """Whether ``value`` is a number, and neither NaN nor infinite."""
    return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)
