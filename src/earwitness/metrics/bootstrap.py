"""Intervals over clips, and the summary of several seeds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.metrics.captions import MEANS

BLOCK = 1 << 20  # drawn indices held at a time (8 MB)
NOT_A_MEAN = "not a mean of the clips' values: it cannot be resampled from them"


class Scores(Protocol):
    """What ``summarise`` reads of one seed; ``earwitness.metrics.captions.Evaluation`` has it."""

    metrics: Mapping[str, Mapping]  # name -> {"value": float} or {"value": None, "reason": str}
    items: Mapping[str, np.ndarray]  # name -> [clips]
    ids: Sequence[str]  # [clips]


def interval(values: np.ndarray, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> list[float]:
    """Percentile bootstrap interval of the mean of ``values`` [clips], clips drawn with replacement: [low, high].

    The same arguments give the same interval. Memory does not grow with clips times resamples. Raises EarwitnessError
    for no values, and for values that are not finite.
    """
    values = np.asarray(values, dtype=float)
    if not values.size or not np.isfinite(values).all():
        raise EarwitnessError(
            f"An interval needs finite values of at least one clip: {values.size} clips, "
            f"{np.count_nonzero(~np.isfinite(values))} of them without a finite value."
        )
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, BLOCK // values.size)
    for start in range(0, resamples, rows):
        block = means[start : start + rows]
        block[:] = values[generator.integers(values.size, size=(len(block), values.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]


def summarise(per_seed: Sequence[Scores], means: Collection[str] = MEANS) -> dict[str, dict]:
    """The ``metrics`` object of an experiment's metrics.json, from the scores of each of its seeds.

    A metric's ``value`` is the mean over seeds and ``per_seed`` lists them in order. ``ci95`` is the 95 % interval over
    clips of the clips' values averaged over seeds for the metrics that ``means`` names, else None with
    ``ci95_reason``. A metric that any seed lacks is None with that seed's ``reason``.

    Raises MismatchError when the seeds scored other clips, or the same in another order.
    """
    if not per_seed:
        raise EarwitnessError("There is no seed to summarise.")
    for number, scores in enumerate(per_seed):
        if list(scores.ids) != list(per_seed[0].ids):
            raise MismatchError(_other_clips(number, scores.ids, per_seed[0].ids))
    names = dict.fromkeys(name for scores in per_seed for name in scores.metrics)
    return {name: _summary(name, per_seed, name in means) for name in names}


def _summary(name: str, per_seed: Sequence[Scores], is_mean: bool) -> dict:
    entries = [scores.metrics.get(name, {"value": None, "reason": "one of the seeds lacks it"}) for scores in per_seed]
    reasons = dict.fromkeys(entry["reason"] for entry in entries if entry["value"] is None)
    if reasons:
        return {"value": None, "reason": "; ".join(reasons)}
    values = [float(entry["value"]) for entry in entries]
    summary = {"value": float(np.mean(values)), "ci95": None, "per_seed": values}
    if not is_mean:
        return summary | {"ci95_reason": NOT_A_MEAN}
    if not all(name in scores.items for scores in per_seed):
        return summary | {"ci95_reason": "the clips' values are not there"}
    if len(per_seed[0].ids) == 1:
        return summary | {"ci95_reason": "there is only one clip"}
    return summary | {"ci95": interval(np.mean([scores.items[name] for scores in per_seed], axis=0))}


def _other_clips(number: int, ids: Sequence[str], first: Sequence[str]) -> str:
    heading = f"The seeds of one experiment must score the same clips in the same order; seed number {number + 1}"
    only, lacking = sorted(set(ids) - set(first)), sorted(set(first) - set(ids))
    if not only and not lacking:
        return f"{heading} has them in another order or another number than the first."
    return (
        f"{heading} has {len(only)} that the first lacks {only[:3]} and lacks {len(lacking)} that it has {lacking[:3]}."
    )
