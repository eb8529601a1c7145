"""The polyphonic sound detection score (docs/metrics.md, section 3.4) of one pooled class, over all operating points.

sed_scores_eval gives how the counts of one pair change with the threshold (``changes``). From these ``Psds`` computes
that package's curve and the area under it, for many resamples of the clips at once. Cross-triggers and the penalty for
instability across classes do not occur with one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from earwitness.errors import MismatchError
from earwitness.metrics.statistics import rows_of

HOUR = 3600.0  # seconds of the unit of time that e_max is given by
BLOCK = 1 << 22  # weighted changes held at a time (32 MB)
CLASS = "event"
EPS = 1e-12  # a rate that is e_max but for rounding counts as e_max


class Activation(NamedTuple):
    """The activation and the references of one pair."""

    scores: np.ndarray  # float64 [frames]
    edges: np.ndarray  # float64 [frames + 1] seconds, onset of each frame and the end of the last
    references: np.ndarray  # float64 [events, 2] seconds, events that neither overlap nor touch


class Changes(NamedTuple):
    """How a pair's counts change as the threshold falls below each of some scores."""

    scores: np.ndarray  # float64 [changes]
    tp: np.ndarray  # int64 [changes] more references found, fewer where negative
    fp: np.ndarray  # int64 [changes] more false detections


@dataclass(frozen=True)
class Psds:
    """The statistic (``earwitness.metrics.statistics``) of the score up to ``e_max`` false detections per hour."""

    scores: np.ndarray  # float64 [changes] of all pairs
    tp: np.ndarray  # int64 [changes]
    fp: np.ndarray  # int64 [changes]
    clip: np.ndarray  # int64 [changes] index of the clip
    references: np.ndarray  # float64 [clips] number of reference events
    seconds: np.ndarray  # float64 [clips] summed over the clip's pairs
    e_max: float

    @property
    def clips(self) -> int:
        return len(self.references)

    def values(self, weights: np.ndarray) -> np.ndarray:
        """Weights have to be whole numbers; a resample without a reference event is NaN.

        The time grows with the changes of all pairs times the resamples.
        """
        clip, tp, fp, last = self._falling
        values = np.full(len(weights), np.nan)
        scored = np.flatnonzero(weights @ self.references)
        rows = max(1, BLOCK // max(1, len(clip)))
        for start in range(0, len(scored), rows):
            block = scored[start : start + rows]
            # Rows that lie in memory one after another: sums along them are six times as fast as across.
            drawn = np.take(weights[block].astype(np.int32), clip, axis=1)
            found = np.take(np.cumsum(drawn * tp, axis=1, dtype=np.int32), last, axis=1)
            false = np.take(np.cumsum(drawn * fp, axis=1, dtype=np.int32), last, axis=1)
            area = _area(found, false, weights[block] @ self.seconds, self.e_max)
            values[block] = area / (weights[block] @ self.references) / self.e_max
        return values

    @cached_property
    def _falling(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Clip, tp and fp of the changes by falling score, and the places of the last change at each score."""
        order = np.argsort(-self.scores, kind="stable")
        last = np.flatnonzero(np.diff(self.scores[order], append=-np.inf))
        return self.clip[order], self.tp[order].astype(np.int32), self.fp[order].astype(np.int32), last

    def take(self, clips: np.ndarray) -> Psds:
        kept, clip = rows_of(clips, self.clip)
        changes = (self.scores[kept], self.tp[kept], self.fp[kept], clip)
        return Psds(*changes, self.references[clips], self.seconds[clips], self.e_max)

    def joined(self, other: Psds) -> Psds:
        if self.e_max != other.e_max:
            raise MismatchError(
                f"PSDS up to {self.e_max:g} and up to {other.e_max:g} false detections per hour cannot be joined."
            )
        return Psds(
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.tp, other.tp]),
            np.concatenate([self.fp, other.fp]),
            np.concatenate([self.clip, self.clips + other.clip]),
            np.concatenate([self.references, other.references]),
            np.concatenate([self.seconds, other.seconds]),
            self.e_max,
        )


def _area(found: np.ndarray, false: np.ndarray, seconds: np.ndarray, e_max: float) -> np.ndarray:
    """Area under the most references found with at most so many false detections per hour, up to ``e_max``: [rows].

    Steps, not lines, and from no detection at all on: ``found`` and ``false`` [rows, points] may come in any order.
    """
    place = np.flatnonzero(false <= np.floor(e_max * seconds / HOUR * (1 + EPS))[:, None])
    row, false = place // false.shape[1], false.reshape(-1)[place].astype(np.int64)
    steps = false.max(initial=0) + 1
    best = np.zeros((len(seconds), steps))
    np.maximum.at(best.reshape(-1), row * steps + false, found.reshape(-1)[place])
    edges = np.minimum(np.arange(steps + 1) / seconds[:, None] * HOUR, e_max)
    edges[:, -1] = e_max
    return (np.maximum.accumulate(best, axis=1) * np.diff(edges, axis=1)).sum(axis=1)


def changes(activations: Sequence[Activation], dtc: float, gtc: float) -> Iterator[Changes]:
    """The changes of each pair, by sed_scores_eval; ImportError where it is not installed.

    >>> pair = Activation(np.array([0.9, 0.2]), np.array([0.0, 1.0, 2.0]), np.array([[0.0, 1.0]]))
    >>> [values.tolist() for values in next(changes([pair], dtc=0.5, gtc=0.5))]
    [[0.9], [1], [0]]
    """
    from sed_scores_eval.base_modules.scores import create_score_dataframe
    from sed_scores_eval.intersection_based.intermediate_statistics import intermediate_statistics_deltas

    # The package refuses a set without a reference, as these pairs may be: one more pair has one.
    activations = [*activations, Activation(np.zeros(1), np.array([0.0, 1.0]), np.array([[0.0, 1.0]]))]
    deltas = intermediate_statistics_deltas(
        {n: create_score_dataframe(c.scores[:, None], c.edges, [CLASS]) for n, c in enumerate(activations)},
        {n: [(*times, CLASS) for times in c.references.tolist()] for n, c in enumerate(activations)},
        dtc_threshold=dtc,
        gtc_threshold=gtc,
    )
    for number in range(len(activations) - 1):
        scores, counts = deltas[number][CLASS]
        yield Changes(scores, counts["tps"].astype(np.int64), counts["fps"].astype(np.int64))
