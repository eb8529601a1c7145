"""Metrics of audio moment retrieval: when in a recording does a text hold? (docs/moments.md)

Conventions
-----------
A query is a text and a recording (its clip). The references of a query are windows, (start, end) in seconds, in no
order; its predictions are windows with a score, (start, end, score), or without, best first. Nothing is cut at the end
of the recording. Values are shares from 0 to 1.

R1 at 0.5 is the share of queries whose first prediction overlaps some reference with an IoU of at least 0.5. mAP at 0.5
is the mean over queries of the average precision of their first ten predictions, where a prediction is right if a
reference that none before it has taken overlaps it with that IoU; ``map_avg`` is the mean over ``THRESHOLDS``. Each is
also computed over the references of a range of lengths alone (``RANGES``): queries without one are then left out.

Protocols
---------
``lighthouse`` is what its evaluator computes (line/lighthouse at d095eaa, which the baseline of DCASE 2026 task 6 has
too): R1 takes the prediction that is written first, whatever its score, and mAP the first ten as written, sorted by
score. A query without predictions, which stops it, is refused.

``default`` differs only where that is wrong for a user: predictions are sorted by score first, a query without
predictions scores 0, and windows whose end is not after their start are refused. Notes say what the other protocol
gives where that differs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np

from earwitness.errors import EarwitnessError, counted, listed, nearest
from earwitness.metrics import formulas
from earwitness.metrics.arguments import by_name, described, is_named
from earwitness.metrics.catalogue import chosen, of_kind
from earwitness.metrics.statistics import Statistic, mean_of

PROTOCOLS = ("default", "lighthouse")
THRESHOLDS = np.arange(50, 100, 5) / 100  # of IoU
RANGES = {"full": (0, 1500), "short": (0, 10), "middle": (10, 30), "long": (30, 150)}  # s; low excluded, high included
PREDICTIONS = 10  # of a query that count for mAP
LONGEST = 1e9  # s, thirty years: no time is later
BLOCK = 1 << 13  # pairs of prediction and window compared at a time
NAMES = [metric.name for metric in of_kind("moments")]
MAIN = NAMES[:5]  # over all lengths
SETS = {
    "all": NAMES,
    "full": MAIN,
    **{length: [name for name in NAMES if name.endswith(f"_{length}")] for length in list(RANGES)[1:]},
    "r1": [name for name in NAMES if name.startswith("r1")],
    "map": [name for name in NAMES if name.startswith("map")],
}

Windows = Mapping[Any, Sequence]  # query -> (start, end) or (start, end, score) of each window
Named = Callable[[str, Any, int], str]  # "predicted" or "reference", query, index of the window -> its name in messages


@dataclass(frozen=True)
class Range:
    """The scores of the queries that have a reference of some length, in the order of the references.

    Attributes:
        rows: int64 [scored] the queries' places among all.
        iou: float64 [scored] of the first prediction with ``window``: intersection over hull, as lighthouse has it.
        window: int64 [scored] the reference that overlaps the first prediction most: its place among those that count.
        ap: float64 [scored, thresholds] average precision.
    """

    rows: np.ndarray
    iou: np.ndarray
    window: np.ndarray
    ap: np.ndarray

    def items(self, name: str) -> np.ndarray:
        """Each query's part of ``r1_50``, ``map_avg`` ...: float64 [scored]."""
        what, at = name.split("_")[:2]
        if at == "avg":
            return self.ap.mean(axis=1)
        place = (int(at) - 50) // 5
        return (self.iou >= THRESHOLDS[place]).astype(float) if what == "r1" else self.ap[:, place]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one system.

    ``metrics`` gives for each name ``{"value": float}``, or ``{"value": None, "reason": str}`` where no query has a
    reference of the length. ``items`` gives float64 [queries] in the order of ``queries``, NaN for a query that is left
    out; ``by_clip`` the means of each clip's queries, float64 [clips] in the order of ``ids``; ``statistics`` what
    resampling the clips needs. ``ranges`` has the queries' IoU and average precision by the names of ``RANGES``.
    """

    metrics: dict[str, dict]
    queries: list
    clips: list  # [queries] the clip of each
    ranges: dict[str, Range]
    counts: dict[str, int]
    notes: list[str]
    protocol: str

    @cached_property
    def ids(self) -> list:
        """The clips in order."""
        return list(dict.fromkeys(self.clips))

    @cached_property
    def items(self) -> dict[str, np.ndarray]:
        """Each query's part of every metric that has a value."""
        found = {}
        for name in (name for name, entry in self.metrics.items() if entry["value"] is not None):
            scored = self.ranges[_range_of(name)]
            found[name] = np.full(len(self.queries), np.nan)
            found[name][scored.rows] = scored.items(name)
        return found

    @cached_property
    def statistics(self) -> dict[str, Statistic]:
        """What resampling the clips needs: a clip is drawn with all of its queries."""
        place = {clip: number for number, clip in enumerate(self.ids)}
        owner = np.array([place[clip] for clip in self.clips], dtype=np.int64)
        return {name: mean_of(values, owner, len(place)) for name, values in self.items.items()}

    @property
    def by_clip(self) -> dict[str, np.ndarray]:
        """The mean of each clip's queries, NaN for a clip without one."""
        return {name: formulas.mean(statistic.columns) for name, statistic in self.statistics.items()}  # type: ignore[attr-defined]


def iou(windows: Any, others: Any) -> np.ndarray:
    """Intersection over union of pairs of windows, float64 [pairs] from [pairs, 2] and [pairs, 2].

    NaN where the union has no length.

    >>> iou([(0, 10), (0, 10)], [(5, 15), (20, 30)]).round(3).tolist()
    [0.333, 0.0]
    """
    return _iou(*np.asarray(windows, dtype=float).T, *np.asarray(others, dtype=float).T)


def _iou(start: np.ndarray, end: np.ndarray, other_start: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    both = np.maximum(np.minimum(end, other_end) - np.maximum(start, other_start), 0)
    with np.errstate(invalid="ignore"):
        return both / ((end - start) + (other_end - other_start) - both)


def average_precision(predictions: Sequence, references: Sequence) -> np.ndarray:
    """Average precision of one query at each of ``THRESHOLDS``, float64 [thresholds].

    Args:
        predictions: (start, end) of each, best first, or (start, end, score) in any order; those after the tenth do not
            count.
        references: (start, end) of each.

    Raises EarwitnessError for windows that are not two or, with a score, three finite numbers.

    >>> average_precision([(0, 10), (50, 60), (20, 28)], [(0, 10), (20, 30)])[[0, 6, 7]].round(3).tolist()
    [0.833, 0.833, 0.5]
    """
    found, wrong = _flat("predicted", [predictions], [0], _named)
    true, others = _flat("reference", [references], [0], _named)
    if wrong or others:
        raise EarwitnessError(listed("These moments cannot be scored:", [*wrong, *others]))
    ordered = _ordered(found, "default")
    return _average_precision(ordered, _near(ordered, true), np.ones(len(true.times), dtype=bool), true.sizes)[0]


def evaluate(
    predictions: Windows,
    references: Windows,
    *,
    clips: Mapping[Any, Hashable] | None = None,
    protocol: Literal["default", "lighthouse"] | str = "default",
    metrics: str | Iterable[str] | None = None,
    named: Named | None = None,
) -> Evaluation:
    """R1 and mAP of the predicted windows of a set of queries.

    What is given for each query is a mapping, or a list in one order of the queries, which are then named from 0.

    Args:
        predictions: for each query (start, end, score) of its windows, or (start, end), the best first.
        references: for each query (start, end) of the windows where it holds. A query without one that lasts longer
            than 0 and at most 1500 s is left out and counted.
        clips: the clip of each query, which is what is resampled; without it each query is a clip.
        protocol: ``default`` or ``lighthouse``, see the module.
        metrics: names of ``earwitness.metrics.catalogue`` or ``SETS``; None computes all.
        named: how messages name the n-th window of a query, from 0; None names the query.

    Raises EarwitnessError for what ``validate`` refuses, and for unknown metrics.

    >>> predictions = {"a dog barks": [(4, 9, 0.9), (30, 41, 0.4)], "rain": [(0, 60, 0.8)]}
    >>> references = {"a dog barks": [(4, 10), (30, 40)], "rain": [(20, 60)]}
    >>> result = evaluate(predictions, references, metrics=["r1_50", "r1_70", "map_avg"])
    >>> {name: round(entry["value"], 3) for name, entry in result.metrics.items()}
    {'r1_50': 1.0, 'r1_70': 0.5, 'map_avg': 0.575}
    """
    wanted = chosen(metrics, SETS, NAMES)
    found, true, queries = _checked(predictions, references, clips, protocol, named)
    owners = queries if clips is None else [by_name("The clips of the queries", clips)[query] for query in queries]
    lengths = list(dict.fromkeys(["full", *map(_range_of, wanted)]))
    ranges = _ranges(found, true, protocol, lengths)
    if not len(ranges["full"].rows):
        low, high = RANGES["full"]
        text = f"No query has a moment that lasts longer than {low} and at most {high} s: there is nothing to score."
        raise EarwitnessError(text)
    values = {}
    for name in wanted:
        scored, length = ranges[_range_of(name)].items(name), _range_of(name)
        reason = f"no moment lasts longer than {RANGES[length][0]} and at most {RANGES[length][1]} s"
        values[name] = {"value": float(scored.mean())} if len(scored) else {"value": None, "reason": reason}
    counts = _counts(found, true, owners, ranges["full"])
    notes = _notes(found, true, protocol, ranges, [name for name in wanted if name in MAIN], counts)
    return Evaluation(values, queries, owners, ranges, counts, notes, protocol)


def validate(
    predictions: Windows,
    references: Windows,
    *,
    clips: Mapping[Any, Hashable] | None = None,
    protocol: str = "default",
) -> None:
    """Refuse what ``evaluate`` cannot score, all offenders in one EarwitnessError.

    The arguments are the same. Refused are queries of one side alone, windows that are not two or three finite numbers,
    scores in some places only and references with a score; with ``default`` windows whose end is not after their start,
    with ``lighthouse`` queries without predictions, which stop that evaluator.

    >>> validate({"rain": [(0, 60)]}, {"rain": [(20, 60)]})
    >>> validate({"rain": [(60, 0)]}, {"rain": [(20, 60)]})
    Traceback (most recent call last):
    earwitness.errors.EarwitnessError: These moments cannot be scored:
      - predicted window 1 of query 'rain': 60 to 0 s, the end is before the start; swapped, perhaps?
    """
    _checked(predictions, references, clips, protocol, None)


def lighthouse(evaluation: Evaluation, length: str = "full", digits: int | None = 2) -> dict[str, dict[str, float]]:
    """R1 and mAP at every threshold in per cent, as lighthouse's evaluator gives them.

    Args:
        length: one of ``RANGES``, of a metric that was computed.
        digits: decimals, rounded as it prints them; None does not round.

    Returns:
        ``R1`` and ``mAP`` by threshold (``"0.5"``), ``mAP`` with ``average`` too.

    >>> result = evaluate({"rain": [(0, 60)]}, {"rain": [(20, 60), (80, 90)]}, protocol="lighthouse")
    >>> lighthouse(result)["mAP"]["average"], lighthouse(result)["R1"]["0.65"]
    (20.0, 100.0)
    """
    scored = evaluation.ranges[length]
    shares = {"R1": [np.mean(scored.iou >= at) for at in THRESHOLDS], "mAP": scored.ap.mean(axis=0)}
    names = [f"{at:g}" for at in THRESHOLDS]
    found = {name: dict(zip(names, values, strict=True)) for name, values in shares.items()}
    found["mAP"]["average"] = np.mean(shares["mAP"])
    shown = float if digits is None else lambda value: float(f"{value:.{digits}f}")
    return {name: {at: shown(100 * value) for at, value in values.items()} for name, values in found.items()}


def brief(evaluation: Evaluation) -> dict[str, float]:
    """The five figures that lighthouse prints, under its keys, in per cent with two decimals.

    >>> brief(evaluate({"rain": [(0, 60)]}, {"rain": [(20, 60)]}, protocol="lighthouse"))["MR-full-R1@0.5"]
    100.0
    """
    found = lighthouse(evaluation)
    named = {f"R1@{at}": found["R1"][at] for at in ("0.5", "0.7")} | {"mAP": found["mAP"]["average"]}
    named |= {f"mAP@{at}": found["mAP"][at] for at in ("0.5", "0.75")}
    return {f"MR-full-{name}": value for name, value in named.items()}


@dataclass(frozen=True)
class _Flat:
    """Windows of all queries, one query after another."""

    times: np.ndarray  # float64 [windows, 2]
    scores: np.ndarray | None  # float64 [windows], None where there are none: the order counts
    sizes: np.ndarray  # int64 [queries]

    @cached_property
    def query(self) -> np.ndarray:
        """The query of each window."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def first(self) -> np.ndarray:
        """The index of each query's first window."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def place(self) -> np.ndarray:
        """The place of each window among those of its query."""
        return np.arange(len(self.times)) - np.repeat(self.first, self.sizes)

    @cached_property
    def rises(self) -> np.ndarray:
        """The queries whose windows are not written by falling score: int64."""
        if self.scores is None:
            return np.zeros(0, dtype=np.int64)
        rows = np.flatnonzero(self.scores[1:] > self.scores[:-1]) + 1
        return np.unique(self.query[rows[self.place[rows] > 0]])

    def of(self, queries: np.ndarray) -> _Flat:
        """The windows of some queries alone: int64, rising."""
        rows = np.isin(self.query, queries)
        return _Flat(self.times[rows], None if self.scores is None else self.scores[rows], self.sizes[queries])


class _Ordered(NamedTuple):
    """What counts of the predictions: at most ten a query, by query and then by falling score; and the first ones."""

    times: np.ndarray  # float64 [predictions, 2]
    query: np.ndarray  # int64 [predictions]
    first: np.ndarray  # float64 [queries, 2] what R1 takes, NaN without any


def _range_of(name: str) -> str:
    return name.split("_")[2] if name.count("_") == 2 else "full"


def _ordered(found: _Flat, protocol: str) -> _Ordered:
    """The predictions in the order in which a protocol takes them."""
    query, place = found.query, found.place
    rows = np.arange(len(place))
    first = np.full((len(found.sizes), 2), np.nan)
    if protocol == "default" and len(found.rises):
        rows = np.lexsort((-found.scores, query))  # type: ignore[operator]  # stable; ``query`` and ``place`` stay
    first[query[place == 0]] = found.times[rows[place == 0]]
    rows, query = rows[place < PREDICTIONS], query[place < PREDICTIONS]
    if protocol == "lighthouse" and len(found.rises):
        rows = rows[np.lexsort((-found.scores[rows], query))]  # type: ignore[index]
    return _Ordered(found.times[rows], query, first)


def _ranges(found: _Flat, true: _Flat, protocol: str, lengths: Sequence[str]) -> dict[str, Range]:
    """The scores by range of lengths."""
    ordered, query, seconds = _ordered(found, protocol), true.query, true.times[:, 1] - true.times[:, 0]
    near, ranges = _near(ordered, true), {}
    for length in lengths:
        low, high = RANGES[length]
        inside = (seconds > low) & (seconds <= high)
        sizes = np.bincount(query[inside], minlength=len(true.sizes))
        rows = np.flatnonzero(sizes)
        hull, window = _first(ordered.first, sizes, true.times[inside])
        precision = _average_precision(ordered, near, inside, sizes)
        ranges[length] = Range(rows, hull[rows], window[rows], precision[rows])
    return ranges


def _first(first: np.ndarray, sizes: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For the first predictions [queries, 2] intersection over hull with the window that overlaps most, and its place.

    ``sizes`` [queries] are the numbers of the windows [windows, 2]. The earliest of those that overlap alike; 0/0,
    which an inverted prediction may give, is the most, as NumPy's argmax takes it.
    """
    query = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(windows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    overlaps = np.full((len(sizes), sizes.max(initial=1)), -np.inf)
    shares = iou(first[query], windows)
    overlaps[query, place] = np.where(np.isnan(shares), np.inf, shares)
    best = overlaps.argmax(axis=1)
    row = np.minimum(np.cumsum(sizes) - sizes + best, len(windows) - 1)
    start, end = windows[row].T if len(windows) else np.full((2, len(sizes)), np.nan)
    both = np.maximum(np.minimum(first[:, 1], end) - np.maximum(first[:, 0], start), 0)
    hull = np.maximum(first[:, 1], end) - np.minimum(first[:, 0], start)
    return np.divide(both, hull, out=np.zeros_like(both), where=(hull != 0) & ~np.isnan(hull)), best


class _Near(NamedTuple):
    """Pairs of prediction and window whose IoU reaches the least threshold, or is 0/0, which counts as a hit.

    In the order in which the evaluator tries them: by prediction, by falling IoU, the later of equal windows first.
    """

    prediction: np.ndarray  # int64 [pairs] index in ``_Ordered``
    window: np.ndarray  # int64 [pairs] index among the windows of all queries
    fits: np.ndarray  # bool [pairs, thresholds]


def _near(ordered: _Ordered, true: _Flat) -> _Near:
    """All such pairs, whatever the windows' lengths; looked for ``BLOCK`` pairs at a time, which stay in the cache."""
    number = true.sizes[ordered.query]
    before = np.cumsum(number) - number
    cuts = np.searchsorted(before, np.arange(BLOCK, number.sum(), BLOCK))
    (start, end), (true_start, true_end) = np.ascontiguousarray(ordered.times.T), np.ascontiguousarray(true.times.T)
    found = []
    for rows in np.split(np.arange(len(number)), cuts):
        prediction = np.repeat(rows, number[rows])
        window = np.repeat(true.first[ordered.query[rows]] - before[rows], number[rows])
        window += np.arange(len(window)) + before[rows[:1]].sum()
        shares = _iou(start[prediction], end[prediction], true_start[window], true_end[window])
        near = np.flatnonzero(~(shares < THRESHOLDS[0]))
        found.append((prediction[near], window[near], shares[near]))
    prediction, window, shares = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((-window, np.where(np.isnan(shares), -np.inf, -shares), prediction))
    return _Near(prediction[order], window[order], ~(shares[order, None] < THRESHOLDS))


def _average_precision(ordered: _Ordered, near: _Near, inside: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Average precision of every query, float64 [queries, thresholds], 0 for those without a window.

    ``inside`` [windows] says which windows count, ``sizes`` [queries] how many each query has of them. Pairs of the
    same rank and choice are handled at once for all queries and thresholds, as no two of them are of one query.
    """
    precision = np.zeros((len(sizes), len(THRESHOLDS)))
    counts = inside[near.window]
    prediction, window, fits = near.prediction[counts], near.window[counts], near.fits[counts]
    if not len(prediction):
        return precision
    rank = (np.arange(len(ordered.query)) - np.searchsorted(ordered.query, ordered.query))[prediction]
    changes = np.flatnonzero(np.diff(prediction, prepend=-1))
    choice = np.arange(len(prediction)) - np.repeat(changes, np.diff(changes, append=len(prediction)))
    turn = rank * (choice.max() + 1) + choice
    by_turn = np.argsort(turn, kind="stable")
    hits = np.zeros((len(ordered.times), len(THRESHOLDS)), dtype=bool)
    taken = np.zeros((len(inside), len(THRESHOLDS)), dtype=bool)
    for rows in np.split(by_turn, np.flatnonzero(np.diff(turn[by_turn])) + 1):
        these, those = prediction[rows], window[rows]
        new = fits[rows] & ~hits[these] & ~taken[those]
        hits[these] |= new
        taken[those] |= new
    found, row = np.unique(ordered.query[prediction], return_inverse=True)  # the other queries have no hit
    right = np.zeros((PREDICTIONS, len(found), len(THRESHOLDS)))
    right[rank, row] = hits[prediction]
    windows = sizes[found][:, None].astype(float)
    predicted = np.bincount(ordered.query, minlength=len(sizes))[found][:, None]
    recall, highest = np.zeros((2, PREDICTIONS + 1, *right.shape[1:]))
    so_far = np.zeros(right.shape[1:])
    for place in range(PREDICTIONS):
        so_far += right[place]
        recall[place + 1] = so_far / windows
        share = recall[place + 1] * windows
        highest[place] = share / (share + (np.minimum(place + 1, predicted) - so_far))
    total = np.zeros(right.shape[1:])
    for place in reversed(range(PREDICTIONS)):
        np.maximum(highest[place], highest[place + 1], out=highest[place])
        total += (recall[place + 1] - recall[place]) * highest[place]
    precision[found] = total
    return precision


def _checked(
    predictions: Any, references: Any, clips: Any, protocol: str, named: Named | None
) -> tuple[_Flat, _Flat, list]:
    """Predictions and references as arrays, and the queries; EarwitnessError for arguments that cannot be scored."""
    if protocol not in PROTOCOLS:
        raise EarwitnessError(f"The protocol is {protocol!r}; {nearest(str(protocol), PROTOCOLS)}")
    if is_named(predictions) != is_named(references) or (clips is not None and is_named(clips) != is_named(references)):
        raise EarwitnessError("Predictions, references and clips are given by name, or all as lists in one order.")
    found, true = by_name("The predictions", predictions), by_name("The references", references)
    named = named or _named
    offenders = [f"query {query!r} has no predictions, not even an empty list" for query in true if query not in found]
    offenders += [f"query {query!r} has no references" for query in found if query not in true]
    if clips is not None:
        known = by_name("The clips of the queries", clips)
        offenders += [f"query {query!r} has no clip" for query in true if query not in known]
    if not true:
        offenders.append("there is no query")
    if offenders:
        raise EarwitnessError(listed("Predictions and references do not have the same queries:", offenders))
    queries, flat = list(true), []
    for which, given in (("predicted", found), ("reference", true)):
        windows, wrong = _flat(which, [given[query] for query in queries], queries, named)
        offenders += wrong
        if not wrong and protocol == "default":
            offenders += _without_length(which, windows, queries, named)
        flat.append(windows)
    if protocol == "lighthouse" and not offenders:
        what = "has no predictions, which stops lighthouse's evaluator; the default protocol counts it as 0"
        seconds = flat[1].times[:, 1] - flat[1].times[:, 0]
        asked = np.unique(flat[1].query[(seconds > RANGES["full"][0]) & (seconds <= RANGES["full"][1])])
        offenders += [f"query {queries[row]!r} {what}" for row in asked if not flat[0].sizes[row]]
    if offenders:
        raise EarwitnessError(listed("These moments cannot be scored:", offenders))
    return flat[0], flat[1], queries


def _named(which: str, query: Any, number: int) -> str:
    """How messages name a window where the caller has no name for it."""
    return f"{which} window {number + 1} of query {query!r}"


def _flat(which: str, given: list, queries: list, named: Named) -> tuple[_Flat, list[str]]:
    """The windows of all queries as arrays, and what cannot be read."""
    empty = _Flat(np.zeros((0, 2)), None, np.zeros(len(queries), dtype=np.int64))
    try:
        sizes = np.fromiter(map(len, given), dtype=np.int64, count=len(given))
        rows = list(chain.from_iterable(given))
        if not rows:
            return empty, []
        width = len(rows[0]) if len(set(map(len, rows))) == 1 and not {str, dict} & set(map(type, rows)) else 0
        if width == 2 or (width == 3 and which == "predicted"):
            values = np.fromiter(chain.from_iterable(rows), dtype=float, count=width * len(rows)).reshape(-1, width)
            if np.isfinite(values).all() and np.abs(values[:, :2]).max() <= LONGEST:
                return _Flat(values[:, :2], values[:, 2] if width == 3 else None, sizes), []
    except (OverflowError, TypeError, ValueError):
        pass  # each window is looked at
    offenders, widths = [], dict[int, str]()
    for query, windows in zip(queries, given, strict=True):
        if isinstance(windows, str | bytes | Mapping) or not hasattr(windows, "__len__"):
            offenders.append(f"query {query!r}: {described(windows)}; a list of windows is needed")
            continue
        for number, window in enumerate(windows):
            if what := _problem(window, which):
                offenders.append(f"{named(which, query, number)}: {what}")
            else:
                widths.setdefault(len(window), named(which, query, number))
    if len(widths) > 1:
        offenders.append(f"{widths[3]} has a score, {widths[2]} has none: give a score for all windows, or for none")
    return empty, offenders or [f"the {which} windows are not all (start, end) in numbers"]


def _problem(window: Any, which: str) -> str:
    """What is wrong with a window; "" for nothing."""
    most = 3 if which == "predicted" else 2
    if isinstance(window, str | bytes | Mapping) or not hasattr(window, "__len__"):
        return f"{described(window)}; (start, end) in seconds is needed"
    if len(window) < 2 or len(window) > most:
        parts = "(start, end, score)" if most == 3 else "(start, end)"
        return f"{list(window)} has {counted(len(window), 'value')}, not {parts}"
    names = ("start", "end", "score")
    wrong = [
        f"the {name} is {described(value)}, not a finite number"
        for name, value in zip(names, window, strict=False)
        if isinstance(value, bool) or not isinstance(value, Real) or not abs(value) <= sys.float_info.max  # type: ignore[operator]
    ]
    far = [] if wrong else [f"{value:g} s is no time in a recording" for value in window[:2] if abs(value) > LONGEST]
    return "; ".join([*wrong, *far])


def _without_length(which: str, windows: _Flat, queries: list, named: Named) -> list[str]:
    """Windows whose end is not after their start."""
    start, end = windows.times.T
    query, place = windows.query, windows.place
    return [
        f"{named(which, queries[query[row]], int(place[row]))}: {start[row]:g} to {end[row]:g} s, "
        + ("it has no length" if start[row] == end[row] else "the end is before the start; swapped, perhaps?")
        for row in np.flatnonzero(end <= start)
    ]


def _counts(found: _Flat, true: _Flat, owners: list, full: Range) -> dict[str, int]:
    seconds = true.times[:, 1] - true.times[:, 0]
    counts = {"clips": len(set(owners)), "queries": len(full.rows), "moments": len(true.times)}
    counts |= {"queries_without_moments": len(true.sizes) - len(full.rows)}
    counts |= {"moments_over_1500_s": int(np.count_nonzero(seconds > RANGES["full"][1]))}
    counts |= {"moments_without_length": int(np.count_nonzero(seconds <= 0))}
    counts |= {"predictions": len(found.times), "queries_without_predictions": int((found.sizes == 0).sum())}
    counts |= {"predictions_after_the_tenth": int(np.maximum(found.sizes - PREDICTIONS, 0).sum())}
    length = found.times[:, 1] - found.times[:, 0]
    counts |= {"predictions_without_length": int((length == 0).sum()), "predictions_inverted": int((length < 0).sum())}
    kept = ("clips", "queries", "moments", "predictions")
    return {name: number for name, number in counts.items() if number or name in kept}


def _notes(
    found: _Flat, true: _Flat, protocol: str, ranges: Mapping[str, Range], wanted: list[str], counts: Mapping[str, int]
) -> list[str]:
    """What is left out, and the figures of the other protocol where they differ."""
    notes, full = [], ranges["full"]
    if number := counts.get("queries_without_moments"):
        notes.append(f"{counted(number, 'query has', 'queries have')} no moment to find and no part in any metric.")
    if number := counts.get("moments_over_1500_s"):
        notes.append(f"{counted(number, 'moment')} of more than 1500 s do not count, as in lighthouse.")
    if number := len(found.rises):
        other = "default" if protocol == "lighthouse" else "lighthouse"
        figures = _figures(wanted, full, _in_other_order(found, true, other, full))
        ways = {"default": "sorted by score", "lighthouse": "in the order of the file, as lighthouse has them"}
        queries = counted(number, "query", "queries")
        text = f"The predictions of {queries} are not written by falling score. The figures are those of the "
        text += f"predictions {ways[protocol]}; {ways[other]}, they would give"
        notes += [f"{text} {figures}."] if figures else []
    empty = found.sizes[full.rows] == 0
    if number := int(empty.sum()):
        kept = Range(full.rows[~empty], full.iou[~empty], full.window[~empty], full.ap[~empty])
        text = f"{counted(number, 'query has', 'queries have')} no prediction and scores 0."
        means = [name for name in wanted if name.startswith("map")]
        figures = _figures(means, full, kept) if len(kept.rows) else ""
        text += f" Lighthouse's mAP routine leaves them out, which would give {figures}." if figures else ""
        notes.append(text)
    if protocol == "lighthouse" and counts.get("predictions_inverted"):
        number = counts["predictions_inverted"]
        text = f"{counted(number, 'prediction ends', 'predictions end')} before the start: a miss, but one as long as "
        notes.append(text + "a moment (0/0) is a hit for mAP at every threshold. The default protocol refuses them.")
    return notes


def _in_other_order(found: _Flat, true: _Flat, protocol: str, full: Range) -> Range:
    """What another protocol gives: only queries whose predictions are not written by falling score may change."""
    new = _ranges(found.of(found.rises), true.of(found.rises), protocol, ["full"])["full"]
    places = np.searchsorted(full.rows, found.rises[new.rows])
    other = Range(full.rows, full.iou.copy(), full.window.copy(), full.ap.copy())
    other.iou[places], other.window[places], other.ap[places] = new.iou, new.window, new.ap
    return other


def _figures(names: Sequence[str], ours: Range, other: Range) -> str:
    """The metrics that differ, as the other has them."""
    both = [(name, ours.items(name).mean(), other.items(name).mean()) for name in names]
    return ", ".join(f"{name} {theirs:.4f} (not {mine:.4f})" for name, mine, theirs in both if mine != theirs)
