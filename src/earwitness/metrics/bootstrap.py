"""Intervals over clips, the summary of several seeds, and the difference between two systems.

Clips are drawn with all that belongs to them, and every metric is computed again on the drawn clips from the statistics
that were kept of each clip (``earwitness.metrics.statistics``). Of several seeds each is computed on the same draw, and
the values are averaged: intervals and p-values reflect the choice of clips, not of training seeds. The same arguments
give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from earwitness.errors import EarwitnessError, MismatchError, joined
from earwitness.metrics.formulas import FORMULAS
from earwitness.metrics.statistics import Statistic, Sums

BLOCK = 1 << 20  # weights held at a time (8 MB)
RESAMPLES = 2000  # of the clips for an interval, and permutations for a p-value
LEVEL = 0.95
UNDEFINED = 0.05  # share of resamples without a value above which there is no interval


class Scores(Protocol):
    """What ``summarise`` reads of one seed; every ``Evaluation`` of ``earwitness.metrics`` has it."""

    @property
    def metrics(self) -> Mapping[str, Mapping]:
        """Name -> {"value": float} or {"value": None, "reason": str}."""

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        """Name -> statistic of the clips, in the order of ``ids``."""

    @property
    def ids(self) -> Sequence[str]:
        """[clips]."""


def value(seeds: Sequence[Statistic]) -> float:
    """A metric of all clips, averaged over the seeds' statistics; NaN where it has no value.

    >>> from earwitness.metrics.statistics import mean_of
    >>> value([mean_of(np.array([1.0, 2.0])), mean_of(np.array([3.0, 4.0]))])
    2.5
    """
    return float(_over_seeds(seeds, np.ones((1, seeds[0].clips)))[0])


def resampled(seeds: Sequence[Statistic], seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """A metric of clips drawn with replacement, averaged over the seeds' statistics: float64 [resamples].

    For equal numbers of clips the draws are the same, whatever the statistic. Memory does not grow with clips times
    resamples.

    >>> from earwitness.metrics.statistics import mean_of
    >>> resampled([mean_of(np.array([1.0, 2.0, 6.0]))], resamples=100).shape
    (100,)
    """
    return _resampled_each([seeds], seed, resamples)[0]


def _resampled_each(systems: Sequence[Sequence[Statistic]], seed: int, resamples: int) -> list[np.ndarray]:
    """As ``resampled`` of each of several systems with equally many clips, whose draws are made once."""
    compute = _values_each([_averaged_first(seeds) for seeds in systems])
    drawn = [compute(weights) for weights in _draws(systems[0][0].clips, seed, resamples)]
    return [np.concatenate(values) for values in zip(*drawn, strict=True)]


def permuted(
    a: Sequence[Statistic], b: Sequence[Statistic], seed: int = 0, permutations: int = RESAMPLES
) -> np.ndarray:
    """The difference b - a after swapping the two systems on half of the clips at random: float64 [permutations].

    Both have the same clips in the same order. Every seed of the one meets every seed of the other, so that swapping
    all clips turns the sign of the difference, whatever the numbers of seeds and their order.

    >>> from earwitness.metrics.statistics import mean_of
    >>> a, b = mean_of(np.array([1.0, 2.0])), mean_of(np.array([2.0, 4.0]))
    >>> sorted(set(permuted([a], [b]).tolist()))
    [-1.5, -0.5, 0.5, 1.5]
    """
    return _permuted_each(a, [b], seed, permutations)[0]


def _permuted_each(
    a: Sequence[Statistic], others: Sequence[Sequence[Statistic]], seed: int, permutations: int
) -> list[np.ndarray]:
    """As ``permuted`` of one system and each of several others, with the same clips swapped for all."""
    a, others = _averaged_first(a), [_averaged_first(b) for b in others]
    of_a = _values_each([[first.joined(second) for first in a for second in b] for b in others])
    of_b = _values_each([[second.joined(first) for first in a for second in b] for b in others])
    generator, swapped = np.random.default_rng([seed, 1]), []
    for rows in _rows(a[0].clips, permutations):
        swap = generator.integers(2, size=(rows, a[0].clips)).astype(float)
        weights = np.concatenate([1 - swap, swap], axis=1)
        swapped.append([b - a for a, b in zip(of_a(weights), of_b(weights), strict=True)])
    return [np.concatenate(found) for found in zip(*swapped, strict=True)]


def interval(values: np.ndarray) -> list[float]:
    """The percentile interval of resampled values [resamples]: [low, high].

    Resamples without a value (no clip with a reference was drawn, say) are left out. Raises EarwitnessError when more
    than one in twenty has none.

    >>> [round(limit, 3) for limit in interval(np.arange(101) / 100)]
    [0.025, 0.975]
    """
    known = np.isfinite(values)
    if known.mean() < 1 - UNDEFINED:
        raise EarwitnessError(f"it has no value in {np.count_nonzero(~known)} of {len(values)} resamples of the clips")
    low, high = np.quantile(values[known], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def p_value(observed: float, differences: np.ndarray) -> float:
    """The two-sided p-value of a difference among those of permutations [permutations], itself counted as one.

    Permutations without a value count as extreme ones, so that they never lower the p-value.

    >>> p_value(2.0, np.array([-2.0, -1.0, 0.5, 1.0]))
    0.4
    """
    limit = abs(observed) - 1e-12 * max(1.0, abs(observed))  # sums in another order differ in their last digits
    extreme = np.count_nonzero(~(np.abs(differences) < limit))
    return float(1 + extreme) / (1 + len(differences))


def difference(a: Sequence[Statistic], b: Sequence[Statistic], seed: int = 0) -> dict[str, Any]:
    """One metric of two systems on the same clips: ``a``, ``b``, ``difference`` (b - a), its ``ci95``, ``p_value``.

    The interval is of the paired bootstrap, the p-value of the permutation test. Both are None with ``reason`` for a
    single clip, and all are where the metric has no value.

    >>> from earwitness.metrics.statistics import mean_of
    >>> found = difference([mean_of(np.array([1.0, 2.0, 3.0]))], [mean_of(np.array([2.0, 3.0, 4.0]))])
    >>> found["difference"], [round(limit, 3) for limit in found["ci95"]], round(found["p_value"], 2)
    (1.0, [1.0, 1.0], 0.27)
    """
    return differences(a, [b], seed)[0]


def differences(
    a: Sequence[Statistic], others: Sequence[Sequence[Statistic]], seed: int = 0, permutations: int = RESAMPLES
) -> list[dict[str, Any]]:
    """As ``difference`` of one system and each of several others on the same clips, whose draws are made once.

    More ``permutations`` give smaller p-values; the smallest one is 1 / (1 + permutations).

    >>> from earwitness.metrics.statistics import mean_of
    >>> a, b = mean_of(np.array([1.0, 2.0, 3.0])), mean_of(np.array([2.0, 3.0, 4.0]))
    >>> [found["difference"] for found in differences([a], [[a], [b]])]
    [0.0, 1.0]
    """
    found = [_values(a, b) for b in others]
    tested = [number for number, entry in enumerate(found) if "reason" not in entry]
    if not tested:
        return found
    first, *drawn = _resampled_each([a, *(others[number] for number in tested)], seed, RESAMPLES)
    swapped = _permuted_each(a, [others[number] for number in tested], seed, permutations)
    for number, draws, permuted_ in zip(tested, drawn, swapped, strict=True):
        entry = found[number]
        try:
            entry["ci95"] = interval(draws - first)
        except EarwitnessError as error:
            entry["reason"] = str(error)
        else:
            entry["p_value"] = p_value(entry["difference"], permuted_)
    return found


def _values(a: Sequence[Statistic], b: Sequence[Statistic]) -> dict[str, Any]:
    """The values of two systems and their difference; with a reason where no test is possible."""
    values = {"a": value(a), "b": value(b)}
    if not np.isfinite(list(values.values())).all():
        missing = [name.upper() for name, found in values.items() if not np.isfinite(found)]
        reason = f"it has no value on these clips for {' and '.join(missing)}"
        known = {name: found if np.isfinite(found) else None for name, found in values.items()}
        return known | {"difference": None, "ci95": None, "p_value": None, "reason": reason}
    found = values | {"difference": values["b"] - values["a"], "ci95": None, "p_value": None}
    return found | ({"reason": "there is only one clip"} if a[0].clips == 1 else {})


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for the number of comparisons after Holm (1979), in the given order.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none is below that of a smaller one, or above 1.
    The chance of one or more false discoveries among all of those below a level is at most this level, whatever the
    comparisons have in common.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors), 1.0)
    return [float(p) for p in corrected]


def summarise(per_seed: Sequence[Scores]) -> dict[str, dict]:
    """The ``metrics`` object of an experiment's metrics.json, from the scores of each of its seeds.

    A metric's ``value`` is the mean over seeds and ``per_seed`` lists them in order. ``ci95`` is its 95 % interval over
    clips, None with ``ci95_reason`` where it cannot be resampled. A metric that any seed lacks is None with that
    seed's ``reason``. What else an entry of the first seed has (``model``, ``note``) is kept.

    Raises MismatchError when the seeds scored other clips, or the same in another order.

    >>> from earwitness.metrics import retrieval
    >>> scored = retrieval.evaluate([[2, 1], [2, 1]], ["a", "b"], ["a", "b"], metrics="t2a_r1")
    >>> summarise([scored])
    {'t2a_r1': {'value': 0.5, 'ci95': [0.0, 1.0], 'per_seed': [0.5]}}
    """
    if not per_seed:
        raise EarwitnessError("There is no seed to summarise.")
    for number, scores in enumerate(per_seed):
        if list(scores.ids) != list(per_seed[0].ids):
            raise MismatchError(_other_clips(number, scores.ids, per_seed[0].ids))
    names = dict.fromkeys(name for scores in per_seed for name in scores.metrics)
    return {name: _summary(name, per_seed) for name in names}


def _summary(name: str, per_seed: Sequence[Scores]) -> dict:
    entries = [scores.metrics.get(name, {"value": None, "reason": "one of the seeds lacks it"}) for scores in per_seed]
    more = {key: value for key, value in entries[0].items() if key not in ("value", "reason")}
    reasons = dict.fromkeys(entry["reason"] for entry in entries if entry["value"] is None)
    if reasons:
        return {"value": None, "reason": joined(reasons), **more}
    values = [float(entry["value"]) for entry in entries]
    return {"value": float(np.mean(values)), **_interval(name, per_seed), "per_seed": values, **more}


def _interval(name: str, per_seed: Sequence[Scores]) -> dict:
    if reason := per_seed[0].metrics[name].get("ci95_reason"):
        return {"ci95": None, "ci95_reason": reason}
    if not all(name in scores.statistics for scores in per_seed):
        return {"ci95": None, "ci95_reason": "nothing was kept of the clips that it could be computed from again"}
    if len(per_seed[0].ids) == 1:
        return {"ci95": None, "ci95_reason": "there is only one clip"}
    try:
        return {"ci95": interval(resampled([scores.statistics[name] for scores in per_seed]))}
    except EarwitnessError as error:
        return {"ci95": None, "ci95_reason": str(error)}


def _over_seeds(seeds: Sequence[Statistic], weights: np.ndarray) -> np.ndarray:
    return np.mean([statistic.values(weights) for statistic in seeds], axis=0)


def _values_each(systems: Sequence[Sequence[Statistic]]) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A function of weights [resamples, clips] that gives the metric of each system, averaged over its seeds.

    Sums of more than two systems are taken together: one product of matrices reads the weights once.
    """
    every = [statistic for seeds in systems for statistic in seeds]
    sums = [statistic for statistic in every if isinstance(statistic, Sums)]
    alike = len({(statistic.formula, statistic.columns.shape) for statistic in sums}) == 1
    if len(systems) < 3 or len(sums) < len(every) or not alike:
        return lambda weights: [_over_seeds(seeds, weights) for seeds in systems]
    formula, columns = FORMULAS[sums[0].formula], np.concatenate([statistic.columns for statistic in sums], axis=1)
    ends = np.cumsum([len(seeds) for seeds in systems])[:-1]

    def values(weights: np.ndarray) -> list[np.ndarray]:
        of_each = np.split(weights @ columns, len(sums), axis=1)
        return [np.mean(found, axis=0) for found in np.split(np.stack([formula(each) for each in of_each]), ends)]

    return values


def _averaged_first(seeds: Sequence[Statistic]) -> Sequence[Statistic]:
    """Means of equally many values each are averaged over seeds before anything is drawn: the same, but cheaper."""
    means = [statistic for statistic in seeds if isinstance(statistic, Sums) and statistic.formula == "mean"]
    if len(means) < len(seeds):
        return seeds
    if any(not np.array_equal(statistic.columns[:, 1], means[0].columns[:, 1]) for statistic in means):
        return seeds
    return [Sums("mean", np.mean([statistic.columns for statistic in means], axis=0))]


def _draws(clips: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each clip was drawn: blocks of float64 [rows, clips]."""
    generator = np.random.default_rng(seed)
    for rows in _rows(clips, resamples):
        drawn = generator.integers(clips, size=(rows, clips)) + clips * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * clips).reshape(rows, clips).astype(float)


def _rows(clips: int, number: int) -> Iterator[int]:
    """How many of ``number`` rows are made at a time."""
    rows = max(1, BLOCK // clips)
    yield from (min(rows, number - start) for start in range(0, number, rows))


def _other_clips(number: int, ids: Sequence[str], first: Sequence[str]) -> str:
    heading = f"The seeds of one experiment must score the same clips in the same order; seed number {number + 1}"
    only, lacking = sorted(set(ids) - set(first)), sorted(set(first) - set(ids))
    if not only and not lacking:
        return f"{heading} has them in another order or another number than the first."
    return (
        f"{heading} has {len(only)} that the first lacks {only[:3]} and lacks {len(lacking)} that it has {lacking[:3]}."
    )
