"""What has to be kept of each clip so that a metric can be computed again for any resample of the clips.

A statistic belongs to one metric of one set of scores. ``values`` takes weights, float64 [resamples, clips], which say
how often each clip counts, and gives the metric's value for each resample, float64 [resamples], NaN where it has none.
``take`` keeps some of the clips, in the order of their indices; ``joined`` puts the clips of two statistics of one
metric behind each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from earwitness.errors import MismatchError
from earwitness.metrics.formulas import FORMULAS


class Statistic(Protocol):
    """One metric's statistic; see the module."""

    @property
    def clips(self) -> int: ...

    def values(self, weights: np.ndarray) -> np.ndarray: ...

    def take(self, clips: np.ndarray) -> Self: ...

    def joined(self, other: Self) -> Self: ...


@dataclass(frozen=True)
class Sums:
    """A metric that is a formula of sums over clips: means, BLEU, METEOR, F1, error rates."""

    formula: str  # its name in ``FORMULAS``
    columns: np.ndarray  # float64 [clips, columns]

    @property
    def clips(self) -> int:
        return len(self.columns)

    def values(self, weights: np.ndarray) -> np.ndarray:
        return FORMULAS[self.formula](weights @ self.columns)

    def take(self, clips: np.ndarray) -> Sums:
        return Sums(self.formula, self.columns[clips])

    def joined(self, other: Sums) -> Sums:
        if self.formula != other.formula or self.columns.shape[1] != other.columns.shape[1]:
            raise MismatchError(f"Statistics of {self.formula} and {other.formula} cannot be joined.")
        return Sums(self.formula, np.concatenate([self.columns, other.columns]))


@dataclass(frozen=True)
class Median:
    """The median of some items' values, any number for each clip; between the middle two if their number is even."""

    items: np.ndarray  # float64 [items]
    clip: np.ndarray  # int64 [items] index of the clip
    clips: int

    def values(self, weights: np.ndarray) -> np.ndarray:
        order = np.argsort(self.items, kind="stable")
        items = self.items[order]
        counted = np.cumsum(weights[:, self.clip[order]], axis=1)
        last = counted[:, -1] - 1  # of the resample's items, counted from 0
        middle = [np.argmax(counted > np.floor(place)[:, None], axis=1) for place in (last / 2, (last + 1) / 2)]
        return np.where(last >= 0, (items[middle[0]] + items[middle[1]]) / 2, np.nan)

    def take(self, clips: np.ndarray) -> Median:
        rows, clip = rows_of(clips, self.clip)
        return Median(self.items[rows], clip, len(clips))

    def joined(self, other: Median) -> Median:
        clip = np.concatenate([self.clip, self.clips + other.clip])
        return Median(np.concatenate([self.items, other.items]), clip, self.clips + other.clips)


def rows_of(clips: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that belong to some clips, clip by clip, and for each the number of its clip among ``clips``.

    ``owner`` names the clip of each row.

    >>> rows, clip = rows_of(np.array([2, 0]), owner=np.array([0, 1, 2, 2]))
    >>> rows.tolist(), clip.tolist()
    ([2, 3, 0], [0, 0, 1])
    """
    by_clip = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[by_clip], clips, side="left")
    number = np.searchsorted(owner[by_clip], clips, side="right") - first
    within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    return by_clip[np.repeat(first, number) + within], np.repeat(np.arange(len(clips)), number)


def mean_of(values: np.ndarray, clip: np.ndarray | None = None, clips: int | None = None) -> Sums:
    """The statistic of a mean of items' values, float64 [items]; ``clip`` says whose they are, of ``clips`` clips.

    Without ``clip`` each clip has one value. An item without a value (NaN) is left out of the mean.

    >>> statistic = mean_of(np.array([1.0, 3.0, np.nan]))
    >>> statistic.values(np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0]])).tolist()
    [2.0, 1.0]
    """
    known = np.isfinite(values)
    clip = np.arange(len(values)) if clip is None else clip
    clips = len(values) if clips is None else clips
    number = np.bincount(clip[known], minlength=clips).astype(float)
    return Sums("mean", np.stack([np.bincount(clip[known], values[known], minlength=clips), number], axis=1))
