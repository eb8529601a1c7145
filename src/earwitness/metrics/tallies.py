"""What is counted of each pair of a phrase and a clip, and the metrics that follow from it, in groups.

A tally is made for a number of clips, is shown one pair after the other, and then has the ``statistics`` of its metrics
by clip: the value of a metric is that of its statistic with every clip counted once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

from earwitness.errors import EarwitnessError, listed
from earwitness.metrics import psds, sound_events
from earwitness.metrics.events import (
    DECIMALS,
    Detections,
    detect,
    frame_labels,
    intersections,
    iou,
    smoothed,
    stretched,
    union,
)
from earwitness.metrics.formulas import f1, mean, precision, recall, threshold_f1
from earwitness.metrics.phrases import Pair, is_number
from earwitness.metrics.statistics import Statistic, Sums

GRID = np.arange(1, 100, 2) / 100  # thresholds of Th-AUC (audio_caption_alignment.md, section 12)
INNER = slice(10, 40)  # those from 0.21 to 0.79
BATCH = 256  # curves that sed_scores_eval is given at a time
SCORES: dict[str, Callable] = {"precision": precision, "recall": recall, "f1": f1}


@dataclass(frozen=True)
class Options:
    """How curves become events, and what counts as found; the defaults are those of metrics.md, section 3.7.

    A frame is active from a threshold on in the frame metrics, elsewhere above it. ``minmax`` concerns the frame
    metrics only; ``median_filter`` all; ``merge_gap`` and ``min_length`` all events but those of PSDS. ``e_max`` lists
    false detections per hour: 100 gives ``psds``, any other number ``psds_<number>``.

    Raises EarwitnessError for values out of range, all in one.
    """

    threshold: float = 0.5
    thresholds: tuple[float, ...] = tuple(n / 100 for n in range(1, 100))  # of the frame metrics' curves
    minmax: bool = True  # scale each pair's curve to 0 to 1, as Xie et al. (ICASSP 2022) do
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
    compat: bool = False  # Th-AUC divided as in the published code: 0.98 and 0.967 at best, not 1

    def __post_init__(self) -> None:
        rules: dict[str, tuple[Callable[[float], bool], str]] = {
            "threshold": (lambda _: True, "a finite number"),
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
            name: (is_number(getattr(self, name)) and rule(getattr(self, name)), text)
            for name, (rule, text) in rules.items()
        }
        ascending = all(low < high for low, high in pairwise(self.thresholds))
        met["thresholds"] = (all(map(is_number, self.thresholds)) and ascending, "numbers in ascending order")
        rates = [rate for rate in self.e_max if is_number(rate) and rate > 0]
        met["e_max"] = (len(set(rates)) == len(self.e_max), "false detections per hour above 0, each once")
        met["silent"] = (self.silent in ("drop", "keep"), "drop or keep")
        offenders = [f"{name} is {getattr(self, name)!r}, not {text}" for name, (ok, text) in met.items() if not ok]
        if offenders:
            raise EarwitnessError(listed("The grounding metrics cannot be computed with these options:", offenders))


class Tally(Protocol):
    """A group of metrics; see the module. Making one raises ImportError where its package cannot be loaded."""

    needs_scores: bool  # or events are enough
    silent_too: bool  # whether it counts silent pairs that the others drop
    package: str  # that it needs, empty for none

    def __init__(self, clips: int, hop: float | None, options: Options) -> None: ...

    @staticmethod
    def names(options: Options) -> tuple[str, ...]: ...

    def add(self, pair: Pair) -> None: ...

    def statistics(self) -> dict[str, Statistic]: ...


class Frames:
    """Frame metrics at the threshold and over all thresholds (metrics.md, section 3.1), silent pairs included.

    Labels are those of ``frame_labels``. Beside them stand the values of two systems that hear nothing: one has every
    frame active, one none.
    """

    needs_scores, silent_too, package = True, True, ""

    def __init__(self, clips: int, hop: float | None, options: Options) -> None:
        self.hop, self.options = hop, options
        self.counts = np.zeros((clips, 3))  # active rightly, active, in the reference
        self.frames = np.zeros(clips)
        self.sweep = np.zeros((len(options.thresholds), 2))  # active rightly, active

    @staticmethod
    def names(options: Options) -> tuple[str, ...]:
        return (*(f"frame_{name}" for name in SCORES), "frame_f1_all_active", "frame_f1_all_silent")

    def add(self, pair: Pair) -> None:
        labels = frame_labels(pair.references, self.hop)
        curve = stretched(pair.curve, pair.scores) if self.options.minmax else pair.curve
        # A curve may end within the last frame of a reference: that frame is no miss, further ones are.
        length = max(len(curve), len(labels) - 1)
        curve = np.append(curve, np.full(length - len(curve), -np.inf))
        labels = np.append(labels, np.zeros(max(0, length - len(labels)), dtype=bool))[:length]
        active = curve >= self.options.threshold
        self.counts[pair.clip] += (active & labels).sum(), active.sum(), labels.sum()
        self.frames[pair.clip] += length
        self.sweep += np.stack([self._reached(curve[labels]), self._reached(curve)], axis=1)

    def _reached(self, scores: np.ndarray) -> np.ndarray:
        """The number of scores at or above each of the thresholds."""
        thresholds = np.asarray(self.options.thresholds, dtype=float)
        below = np.bincount(np.searchsorted(thresholds, scores, side="right"), minlength=len(thresholds) + 1)
        return len(scores) - np.cumsum(below)[:-1]

    def statistics(self) -> dict[str, Statistic]:
        reference = self.counts[:, 2]
        all_active = np.stack([reference, self.frames, reference], axis=1)
        return {f"frame_{name}": Sums(name, self.counts) for name in SCORES} | {
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


class Toolkit:
    """Segment- and event-based metrics through sed_eval (metrics.md, sections 3.2 and 3.3), a pair as a file."""

    needs_scores, silent_too, package = False, False, "sed_eval"
    label = "event"
    kinds = ("segment", "event")

    def __init__(self, clips: int, hop: float | None, options: Options) -> None:
        self.segments = sound_events.toolkit("segment", [self.label], time_resolution=options.time_resolution)
        self.events = sound_events.toolkit(
            "event", [self.label], t_collar=options.t_collar, percentage_of_length=options.percentage_of_length
        )
        self.counts = {kind: np.zeros((clips, 6)) for kind in self.kinds}
        self.last = {kind: np.zeros(6) for kind in self.kinds}

    @staticmethod
    def names(options: Options) -> tuple[str, ...]:
        return tuple(f"{kind}_{name}" for kind in Toolkit.kinds for name in (*SCORES, "er"))

    def add(self, pair: Pair) -> None:
        reference, detected = (
            sound_events.events_of(times, self.label) for times in (pair.references, pair.detections)
        )
        self.segments.evaluate(reference, detected, pair.duration)
        self.events.evaluate(reference, detected)
        for kind, metrics in zip(self.kinds, (self.segments, self.events), strict=True):
            totals = sound_events.totals(kind, metrics)
            self.counts[kind][pair.clip] += totals - self.last[kind]
            self.last[kind] = totals

    def statistics(self) -> dict[str, Statistic]:
        statistics: dict[str, Statistic] = {}
        for kind, counts in self.counts.items():
            statistics |= {f"{kind}_{name}": Sums(name, counts[:, :3]) for name in SCORES}
            statistics[f"{kind}_er"] = Sums("error_rate", counts[:, [3, 4, 5, 2]])
        return statistics


class DetectionScore:
    """PSDS of the curves (metrics.md, section 3.4): every score is a threshold, no gap is closed."""

    needs_scores, silent_too, package = True, False, "sed_scores_eval"

    def __init__(self, clips: int, hop: float | None, options: Options) -> None:
        import sed_scores_eval  # noqa: F401 - whether it can be loaded is to be known now

        self.hop, self.options = hop, options
        self.references, self.seconds = np.zeros(clips), np.zeros(clips)
        self.waiting: list[tuple[int, psds.Curve]] = []
        self.changes: list[psds.Changes] = []
        self.clip: list[np.ndarray] = []

    @staticmethod
    def names(options: Options) -> tuple[str, ...]:
        return tuple("psds" if rate == 100 else f"psds_{rate:g}" for rate in options.e_max)

    def add(self, pair: Pair) -> None:
        edges = np.round(np.arange(len(pair.curve) + 1) * self.hop, DECIMALS)
        frames = np.count_nonzero(edges[:-1] < pair.duration)
        edges = np.minimum(edges[: frames + 1], pair.duration)
        references = union(pair.references)
        self.references[pair.clip] += len(references)
        self.seconds[pair.clip] += pair.duration
        self.waiting.append((pair.clip, psds.Curve(pair.curve[:frames], edges, references)))
        if len(self.waiting) == BATCH:
            self._count()

    def _count(self) -> None:
        curves = [curve for _, curve in self.waiting]
        for (clip, _), changes in zip(
            self.waiting, psds.changes(curves, self.options.dtc, self.options.gtc), strict=True
        ):
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
    """Th-AUC over all thresholds and over those in 0.2 to 0.8 (audio_caption_alignment.md, section 12)."""

    needs_scores, silent_too, package = True, False, ""

    def __init__(self, clips: int, hop: float | None, options: Options) -> None:
        self.hop, self.options = hop, options
        self.counts = np.zeros((clips, len(GRID), 4))

    @staticmethod
    def names(options: Options) -> tuple[str, ...]:
        return ("th_auc", "th_auc_02_08")

    def add(self, pair: Pair) -> None:
        found = detections(pair, GRID, self.hop, self.options)
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
    """The mean over pairs of intersection over union (metrics.md, section 3.6) at the threshold."""

    needs_scores, silent_too, package = False, False, ""

    def __init__(self, clips: int, hop: float | None, options: Options) -> None:
        self.sums = np.zeros((clips, 2))  # of the pairs' values, number of pairs

    @staticmethod
    def names(options: Options) -> tuple[str, ...]:
        return ("miou",)

    def add(self, pair: Pair) -> None:
        self.sums[pair.clip] += iou(pair.references, pair.detections), 1

    def statistics(self) -> dict[str, Statistic]:
        return {"miou": Sums("mean", self.sums)}

    def by_clip(self) -> np.ndarray:
        """The mean of each clip's pairs, float64 [clips], NaN for a clip without any."""
        return mean(self.sums)


TALLIES: tuple[type[Tally], ...] = (Frames, Toolkit, DetectionScore, ThresholdArea, Overlap)


def detections(pair: Pair, thresholds: np.ndarray, hop: float | None, options: Options) -> Detections:
    """The events of the pair's curve above each of the thresholds."""
    gaps = {"merge_gap": options.merge_gap, "min_length": options.min_length}
    return detect(pair.curve, thresholds, hop=hop, duration=pair.duration, **gaps)


def prepared(pair: Pair, hop: float | None, options: Options) -> Pair:
    """The pair with its curve smoothed and its detections above the threshold; as it is where events were given."""
    if pair.scores is None:
        return pair
    pair = replace(pair, curve=smoothed(pair.scores, options.median_filter))
    found = detections(pair, np.array([options.threshold]), hop, options)
    return replace(pair, detections=found.times, removed=(pair.removed[0], found.removed))
