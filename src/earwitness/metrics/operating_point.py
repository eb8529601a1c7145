"""The operating point of a grounding system: the median filter and thresholds that suit a validation split best."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.metrics.events import cleaned, labelled, scaled, smoothed
from earwitness.metrics.formulas import f1
from earwitness.metrics.grounding import Activations, Events, Options, evaluate, validate


class NothingActive(EarwitnessError):
    """No phrase has a frame that is active in the references, so that no threshold can be chosen."""

    def __init__(self) -> None:
        super().__init__("No phrase has a frame that is active in the references: no threshold can be chosen.")


class OperatingPoint(NamedTuple):
    """Where events begin, from which threshold on frames count as active, and how activations are smoothed before."""

    threshold: float  # of activations as they are
    frame_threshold: float  # of each pair's activation scaled to 0 to 1, as the frame metrics have it
    median_filter: int  # frames


WINDOWS = (0.0, 0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0)  # seconds


def select(
    activations: Activations,
    references: Events,
    *,
    hop: float,
    durations: Mapping[Any, float],
    clips: Mapping[Any, Hashable] | None = None,
    windows: Sequence[float] = WINDOWS,
) -> OperatingPoint:
    """The median filter with the highest PSDS, and at it the thresholds with the highest frame F1, silent pairs too.

    The arguments are those of ``earwitness.metrics.grounding.evaluate``; activations are read several times for each
    window, one pair at a time, and what is kept grows with the frames (four bytes each). Windows are in seconds, and an
    odd number of frames. Of equally good ones the smallest is taken. All thresholds are tried; of equally good ones the
    highest is taken. It lies halfway between the lowest active score and the highest inactive one, so that the frames
    at or above it (frame metrics) are those above it (events).

    Raises NothingActive where no pair has a frame in a reference event, and EarwitnessError for what ``validate``
    refuses, such as NaN.

    >>> activations, references = {"a dog barks": [0.0, 1.0, 0.75, 0.25]}, {"a dog barks": [(1.0, 3.0)]}
    >>> select(activations, references, hop=1.0, durations={"a dog barks": 4.0})
    OperatingPoint(threshold=0.5, frame_threshold=0.5, median_filter=1)
    """
    if not any(map(len, references.values())):
        raise NothingActive
    validate(activations, references, hop=hop, clips=clips, durations=durations)
    times = {
        pair: cleaned(events, durations[pair if clips is None else clips[pair]])[0]
        for pair, events in references.items()
    }
    if not any(map(len, times.values())):
        raise NothingActive
    frames = sorted({frames_of(window, hop) for window in windows})
    best, chosen = -1.0, frames[0]
    for window in frames if len(frames) > 1 else ():
        options = Options(median_filter=window, e_max=(100.0,))
        found = evaluate(
            activations, references, hop=hop, clips=clips, durations=durations, options=options, metrics="psds"
        ).metrics["psds"]["value"]
        if found is not None and found > best:
            best, chosen = found, window
    threshold, scaled_to = (_best(activations, times, hop, chosen, minmax) for minmax in (False, True))
    if threshold is None:
        raise NothingActive
    return OperatingPoint(threshold, 0.5 if scaled_to is None else scaled_to, chosen)  # None: all are constant


def frames_of(seconds: float, hop: float) -> int:
    """The odd number of frames, from 1 on, that is nearest to some seconds.

    >>> frames_of(0.1, hop=0.02)
    5
    """
    return 2 * max(0, round((seconds / hop - 1) / 2)) + 1


def _best(activations: Activations, references: Mapping[Any, np.ndarray], hop: float, window: int, minmax: bool) -> Any:
    """The threshold that gives the highest F1 with a filter, of activations as they are or scaled; None without one."""
    scores, positive, reference = [], [], 0
    for pair, times in references.items():
        given = np.asarray(activations[pair], dtype=np.float32)
        activation = smoothed(given, window)
        if minmax:
            activation = scaled(activation, given).astype(np.float32)
        padded, labels = labelled(activation, times, hop)
        scores.append(activation)
        positive.append(padded[labels].astype(np.float32))
        reference += int(np.count_nonzero(labels))
    every, hits = np.sort(np.concatenate(scores)), np.sort(np.concatenate(positive))
    hits = hits[np.searchsorted(hits, -np.inf, side="right") :]  # beyond an activation's end nothing is active
    every = every[np.searchsorted(every, -np.inf, side="right") :]
    if not len(hits):
        return None
    # The lowest active score is that of a positive frame: without the negatives below it the F1 is higher.
    lowest, first = np.unique(hits, return_index=True)
    active = len(every) - np.searchsorted(every, lowest, side="left")
    values = f1(np.stack([len(hits) - first, active, np.full(len(lowest), reference)], axis=1).astype(float))
    place = len(values) - 1 - int(np.argmax(values[::-1]))
    inactive = len(every) - int(active[place])
    low, high = float(every[inactive - 1]) if inactive else None, float(lowest[place])
    return high - 1e-6 * max(1.0, abs(high)) if low is None else (low + high) / 2
