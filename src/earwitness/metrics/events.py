"""Activations, the events they make above a threshold, and how far events overlap (docs/metrics.md, section 3).

An activation is the scores of a pair's frames [frames], events are float64 [events, 2] with onset and offset. Times are
seconds; an event ends before its offset. Frame k lasts from k * hop to (k + 1) * hop. Several thresholds are handled at
once: ``Detections`` has the threshold of each event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DECIMALS = 9  # of times, so that 35 * 0.02 is 0.7
STEPS = 6  # decimals of times in steps of a grid, so that 0.3 s is 3 steps of 0.1 s
MUCH = 3  # times a clip's length from which an event's times are taken for another unit
LONGEST = 86400.0  # seconds of a recording, where its length is not known: a day
TOLERANCE = 1e-9  # seconds by which an overlap may miss its share: half of 0.3 - 0.1 is not half of 0.2


@dataclass(frozen=True)
class Detections:
    """Events of one pair, by threshold and then by onset."""

    row: np.ndarray  # int64 [events] index of the threshold
    times: np.ndarray  # float64 [events, 2] onset and offset
    rows: int  # number of thresholds
    removed: int = 0  # events that began after the clip's end


def cleaned(events: Sequence, duration: float) -> tuple[np.ndarray, int]:
    """Events cut at the clip's end, float64 [events, 2], and the number of those removed: offset at or before onset.

    >>> times, removed = cleaned([(0, 2), (9, 12), (3, 3)], duration=10)
    >>> times.tolist(), removed
    ([[0.0, 2.0], [9.0, 10.0]], 1)
    """
    times = np.round(np.asarray(events, dtype=float).reshape(-1, 2), DECIMALS)
    times = np.minimum(times, [np.inf, duration])
    sound = times[:, 1] > times[:, 0]
    return times[sound], int(np.count_nonzero(~sound))


def smoothed(scores: np.ndarray, window: int) -> np.ndarray:
    """An activation after a median filter over ``window`` frames, an odd number; it is mirrored at its ends.

    >>> smoothed(np.array([1.0, 0.0, 1.0, 1.0]), window=3).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if window == 1:
        return scores
    from scipy.ndimage import median_filter

    # Mirrored here: scipy gives wrong values where it mirrors an array several times over.
    padded = np.pad(scores, window // 2, mode="symmetric")
    return median_filter(padded, size=window, mode="reflect")[window // 2 : window // 2 + len(scores)]


def scaled(scores: np.ndarray, like: np.ndarray) -> np.ndarray:
    """An activation scaled so that the minimum and maximum of ``like`` become 0 and 1; -inf where these are equal.

    >>> scaled(np.array([0.2, 0.3]), like=np.array([0.1, 0.5])).round(3).tolist()
    [0.25, 0.5]
    """
    low, high = like.min(), like.max()
    return (scores - low) / (high - low) if high > low else np.full(len(scores), -np.inf)


def in_steps(times: np.ndarray, step: float) -> np.ndarray:
    """Times in steps of a grid, whole where they are so but for rounding.

    >>> in_steps(np.array([0.3, 0.35]), 0.1).tolist()
    [3.0, 3.5]
    """
    return np.round(times / step, STEPS)


def unit_hint(last: float, duration: float | None) -> str:
    """Which unit the times of an event that ends at ``last`` probably have, "" if seconds; its clip has ``duration``.

    Where that is None a time beyond ``LONGEST`` is no second.

    >>> unit_hint(9000, duration=10), unit_hint(9000, duration=None)
    ('; milliseconds, perhaps', '')
    """
    if last <= (LONGEST if duration is None else MUCH * duration):
        return ""
    if duration is None:
        return "; samples or milliseconds, perhaps"
    return f"; {'milliseconds' if last <= 1000 * (duration + 1) else 'samples'}, perhaps"


def frame_labels(references: np.ndarray, hop: float) -> np.ndarray:
    """Frames k with ceil(onset / hop) <= k < ceil(offset / hop) of any event: bool [frames to the last].

    >>> frame_labels(np.array([[0.5, 1.2]]), hop=0.5).tolist()
    [False, True, True]
    """
    places = np.ceil(in_steps(references, hop)).astype(int)
    labels = np.zeros(places.max(initial=0), dtype=bool)
    for start, stop in places:
        labels[start:stop] = True
    return labels


def labelled(scores: np.ndarray, references: np.ndarray, hop: float) -> tuple[np.ndarray, np.ndarray]:
    """An activation with the labels of its frames; where these go on, it has -inf: nothing is active there.

    An activation may end within the last frame of a reference: that frame is no miss, further ones are.

    >>> scores, labels = labelled(np.array([0.1, 0.9]), np.array([[1.0, 4.0]]), hop=1.0)
    >>> scores.tolist(), labels.tolist()
    ([0.1, 0.9, -inf], [False, True, True])
    """
    labels = frame_labels(references, hop)
    length = max(len(scores), len(labels) - 1)
    scores = np.append(scores, np.full(length - len(scores), -np.inf))
    return scores, np.append(labels, np.zeros(max(0, length - len(labels)), dtype=bool))[:length]


def detect(
    scores: np.ndarray, thresholds: np.ndarray, *, hop: float, duration: float, merge_gap: float, min_length: float
) -> Detections:
    """The events of an activation above each threshold, cut at the clip's end.

    Gaps of at most ceil(merge_gap / hop) frames are closed, as in the grounding literature's code, which with a hop of
    0.04 s and 0.5 s is 13 frames, 0.52 s; then events shorter than ``min_length`` are left out.

    >>> scores = np.array([0.9, 0.2, 0.8, 0.1])
    >>> detect(scores, np.array([0.5]), hop=1, duration=4, merge_gap=0, min_length=0).times.tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    row, start, end = _regions(scores > np.asarray(thresholds)[:, None])
    row, start, end = _joined(row, start, end, int(np.ceil(round(merge_gap / hop, 6))))
    long = (end - start) * hop >= min_length - TOLERANCE
    times = np.round(np.stack([start, end], axis=1)[long] * hop, DECIMALS)
    times = np.minimum(times, [np.inf, duration])
    sound = times[:, 1] > times[:, 0]
    return Detections(row[long][sound], times[sound], len(thresholds), int(np.count_nonzero(~sound)))


def _regions(active: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first frame and frame after the last of each run of active frames, from bool [rows, frames]."""
    padded = np.zeros((len(active), active.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = active
    steps = np.diff(padded, axis=1)
    row, start = np.nonzero(steps == 1)
    return row, start, np.nonzero(steps == -1)[1]


def _joined(row: np.ndarray, start: np.ndarray, end: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not len(row):
        return row, start, end
    apart = (row[1:] != row[:-1]) | (start[1:] - end[:-1] > gap)
    first, last = np.append(True, apart), np.append(apart, True)
    return row[first], start[first], end[last]


def union(events: np.ndarray) -> np.ndarray:
    """The same stretch of time as ``events`` [events, 2] in events that neither overlap nor touch, by onset.

    >>> union(np.array([[2.0, 4.0], [0.0, 1.0], [3.0, 5.0]])).tolist()
    [[0.0, 1.0], [2.0, 5.0]]
    """
    times = events[np.argsort(events[:, 0], kind="stable")]
    ends = np.maximum.accumulate(times[:, 1])
    if not len(times):
        return times
    apart = times[1:, 0] > ends[:-1]
    return np.stack([times[np.append(True, apart), 0], ends[np.append(apart, True)]], axis=1)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Seconds that each event of ``first`` [n, 2] shares with each of ``second`` [m, 2]: float64 [n, m].

    >>> overlaps(np.array([[0.0, 3.0]]), np.array([[2.0, 4.0], [5.0, 6.0]])).tolist()
    [[1.0, 0.0]]
    """
    onset = np.maximum(first[:, None, 0], second[None, :, 0])
    return np.maximum(np.minimum(first[:, None, 1], second[None, :, 1]) - onset, 0)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two sets of events as stretches of time; 1 if both are empty, 0 if one is.

    >>> iou(np.array([[0.0, 4.0]]), np.array([[2.0, 6.0]])) == 2 / 6
    True
    """
    first, second = union(first), union(second)
    if not len(first) or not len(second):
        return float(len(first) == len(second))
    shared = overlaps(first, second).sum()
    return float(shared / (np.diff(first).sum() + np.diff(second).sum() - shared))


def intersections(detections: Detections, references: np.ndarray, dtc: float, gtc: float) -> np.ndarray:
    """Hits by the grounding literature's intersection rules (docs/metrics.md, section 3.5).

    int64 [thresholds, 4]: references hit, references, detections hit, detections. A reference is hit if the detections
    of which references cover at least ``dtc`` cover at least ``gtc`` of it. A detection is hit if the references of
    which all detections together cover at least ``gtc`` cover at least ``dtc`` of it. Only for references are these
    the rules of PSDS.

    >>> detections = Detections(row=np.array([0, 0]), times=np.array([[0.0, 3.0], [8.0, 9.0]]), rows=1)
    >>> intersections(detections, np.array([[1.0, 4.0]]), dtc=0.5, gtc=0.5).tolist()
    [[1, 1, 1, 2]]
    """
    row, rows = detections.row, detections.rows
    shared = overlaps(detections.times, references)
    needed = dtc * np.diff(detections.times)[:, 0] - TOLERANCE
    wanted = gtc * np.diff(references)[:, 0] - TOLERANCE
    found = _by_row(shared * (shared.sum(axis=1) >= needed)[:, None], row, rows) >= wanted
    covered = _by_row(shared, row, rows) >= wanted
    hit = (shared * covered[row]).sum(axis=1) >= needed
    return np.stack(
        [
            found.sum(axis=1),
            np.full(rows, len(references)),
            np.bincount(row[hit], minlength=rows),
            np.bincount(row, minlength=rows),
        ],
        axis=1,
    )


def _by_row(values: np.ndarray, row: np.ndarray, rows: int) -> np.ndarray:
    """Sums of ``values`` [events, columns] by threshold: float64 [rows, columns]."""
    sums = np.zeros((rows, values.shape[1]))
    np.add.at(sums, row, values)
    return sums
