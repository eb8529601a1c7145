"""Paired differences between the rows of a table, and which row is clear of all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from earwitness.evaluation.compare import paired_difference
from earwitness.evaluation.interface import Baseline, Kind
from earwitness.metrics.catalogue import Metric
from earwitness.report.interface import Experiment

CLEAR = 0.05  # the p-value below which a difference between two rows is clear


class Differences:
    """The rows of a section compared with each other over the same clips; each pair is computed once."""

    def __init__(self, kind: Kind, found: Sequence[Experiment], baselines: Sequence[Baseline] = ()):
        self._kind, self._found = kind, found
        self._floors = [baseline for baseline in baselines if baseline.name in kind.floors]
        self._known: dict[tuple[str, int, int], dict[str, Any] | None] = {}

    def to_first(self, metric: str, row: int) -> dict[str, Any] | None:
        """As ``bootstrap.difference`` of the first row and another; None where it is unknown, and for the first row."""
        return self._between(metric, 0, row) if row else None

    def clear_best(self, metric: Metric) -> int | None:
        """The row that is better than every other one with p < ``CLEAR``, and than baselines that ignore the audio.

        None where there is no such row, a single value, or no direction.
        """
        values = {row: e.metric(metric.name)["value"] for row, e in enumerate(self._found)}
        known = {row: value for row, value in values.items() if value is not None}
        if len(known) < 2 or metric.higher_is_better is None:
            return None
        sign = 1 if metric.higher_is_better else -1
        best = max(known, key=lambda row: sign * known[row])
        floors = [floor.metrics.get(metric.name, {}).get("value") for floor in self._floors]
        if any(floor is not None and sign * known[best] <= sign * floor for floor in floors):
            return None
        return best if all(self._is_clear(metric.name, best, row) for row in known if row != best) else None

    def _is_clear(self, metric: str, row: int, other: int) -> bool:
        found = self._between(metric, *sorted((row, other)))
        return found is not None and found["p_value"] is not None and found["p_value"] < CLEAR

    def _between(self, metric: str, row: int, other: int) -> dict[str, Any] | None:
        key = (metric, row, other)
        if key not in self._known:
            a, b = (self._found[place].scores.get(self._kind.name) for place in (row, other))
            self._known[key] = None if a is None or b is None else paired_difference(metric, a, b)
        return self._known[key]
