"""Metrics of retrieval, text to audio (``t2a``) and audio to text (``a2t``) (docs/metrics.md, section 2).

Conventions
-----------
``evaluate`` takes scores of captions (rows) against clips (columns), the higher the better; ``evaluate_top`` takes the
best clips of each caption, without scores. In ``t2a`` a caption is a query and the clips are ranked, in ``a2t`` a clip
is a query and the captions are ranked. Ranks start at 1. A query with several relevant items has the rank of the best
of them (docs/metrics.md, section 2.3, A); its average precision counts them all. Shares are fractions, not per cent;
medr and meanr are ranks, and lower is better.

Items that score alike stand in no order. By default (``ties="expected"``) each query's rank, its chance to count for
R@k and its average precision are the exact expectations over all orders of the tied items, so that a clip with the same
caption twice loses nothing; medr is the median of the expected ranks. With ``ties="benchmark"`` tied items share the
mean of their ranks, as in the audio-retrieval benchmark, and R@k cuts these as its code does.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError, counted, listed
from earwitness.metrics import formulas
from earwitness.metrics.arguments import as_list, by_name, is_named, numbers
from earwitness.metrics.catalogue import CUTS, chosen, of_kind
from earwitness.metrics.statistics import Median, Statistic, Sums, mean_of

DIRECTIONS = {"t2a": "text to audio", "a2t": "audio to text"}
TIES = ("expected", "benchmark")
DIVISORS = ("cut", "relevant")  # of average precision
NAMES = [metric.name for metric in of_kind("retrieval")]
MEANS = tuple(metric.name for metric in of_kind("retrieval") if metric.is_mean)
SETS = {
    "all": NAMES,
    **{way: [name for name in NAMES if name.startswith(way)] for way in DIRECTIONS},
    "recall": [f"{way}_r{cut}" for way in DIRECTIONS for cut in CUTS],
    "rank": [f"{way}_{name}" for way in DIRECTIONS for name in ("medr", "meanr")],
    "map": [f"{way}_{name}" for way in DIRECTIONS for name in ("map10", "map16")],
    "dcase": ["t2a_r1", "t2a_r5", "t2a_r10", "t2a_map10"],  # of the DCASE challenge's task on language-based retrieval
}
# The metrics of a direction, and how many ranks each needs; None for all.
NEEDED = {**{f"r{cut}": cut for cut in CUTS}, "medr": None, "meanr": None, "gmean": 10, "map10": 10, "map16": 16}
BLOCK = 1 << 22  # scores read at a time (16 MB in float32)
TILE = 2048  # clips compared at a time, so that the scores stay in the processor's cache
EXACT = 1 << 53  # whole numbers up to it are exact in float64
ROWS = 128  # captions compared at a time; at most 255, so that their count fits into one byte

Ids = Sequence[Hashable]
Scores = (
    Any  # array, h5py data set or nested list [captions, clips], or a function (start, stop) -> array of these rows
)
Relevant = Mapping[Any, Collection[Hashable]]


@dataclass(frozen=True)
class Ranks:
    """Where all relevant items of some queries stand, each query with at least one.

    The arrays hold the first query's relevant items, the best first, then the second's, and so on.

    >>> Ranks(above=[0, 3, 0], sizes=[2, 1], level=[1, 1, 2]).values.tolist()  # the third ties with another item
    [1.0, 4.0, 1.5]
    """

    above: np.ndarray  # float64 [relevant items] number of items that score higher; inf where it is unknown
    sizes: np.ndarray  # int64 [queries] number of relevant items
    level: Any = 1  # int64 [relevant items] number of items that score alike, itself included; or one for all

    def __post_init__(self) -> None:
        object.__setattr__(self, "above", np.asarray(self.above, dtype=float))
        object.__setattr__(self, "sizes", np.asarray(self.sizes, dtype=np.int64))
        object.__setattr__(self, "level", np.broadcast_to(np.asarray(self.level, dtype=np.int64), self.above.shape))

    @property
    def values(self) -> np.ndarray:
        """The mean rank of the items that score alike: float64 [relevant items]."""
        return 1 + self.above + (self.level - 1) / 2

    def best(self, ties: str = "expected") -> np.ndarray:
        """The rank of the best relevant item, float64 [queries]: the expected one, or the mean rank of what ties."""
        if ties == "benchmark":
            return self.values[self._first]
        above, level, relevant = self._best_ties
        return above + (level + 1) / (relevant + 1)

    @cached_property
    def query(self) -> np.ndarray:
        """The index of each relevant item's query: int64 [relevant items]."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def _first(self) -> np.ndarray:
        """The index of each query's first relevant item."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def tied(self) -> tuple[np.ndarray, ...]:
        """The sets of items that score alike and hold a relevant one, in the order of queries and ranks.

        The index of the query; the numbers of items above, of items, of relevant items, and of relevant items above.
        """
        starts = np.union1d(np.flatnonzero(self.above[1:] != self.above[:-1]) + 1, self._first)
        relevant = np.diff(starts, append=len(self.above))
        query = self.query[starts]
        return query, self.above[starts], self.level[starts], relevant, starts - self._first[query]

    @property
    def _best_ties(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the best set of each query the numbers of items above, of items, and of relevant items."""
        _, above, level, relevant, before = self.tied
        return above[before == 0], level[before == 0], relevant[before == 0]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one retrieval; the dictionaries by direction have the keys ``t2a`` and ``a2t``.

    ``metrics`` gives for each name ``{"value": float}``, or ``{"value": None, "reason": str}`` where it could not be
    computed; a ``note`` beside the value says where any scores would give it. ``items`` gives float64 [queries] in
    the order of ``queries[direction]`` for the names in ``MEANS`` (the items of ``meanr`` are the ranks, of which
    ``medr`` is the median); ``clips[direction]`` names the clip that each query belongs to. Queries without a relevant
    item are not scored and listed in ``skipped``. ``pool`` is the number of items a query is compared with, None where
    it is not known. A direction without a metric has no queries and no ``ranks``.
    """

    metrics: dict[str, dict]
    items: dict[str, np.ndarray]
    queries: dict[str, list]
    clips: dict[str, list]
    skipped: dict[str, list]
    pool: dict[str, int | None]
    ranks: dict[str, Ranks]
    notes: list[str]
    ties: str = "expected"
    more: dict[str, np.ndarray] = field(default_factory=dict)  # further metrics by clip, in the order of ``ids``
    shares: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # by direction R@1, 5, 10: [3, queries]

    @cached_property
    def ids(self) -> list:
        """The clips that a scored query belongs to."""
        return list(dict.fromkeys([*self.clips["t2a"], *self.clips["a2t"]]))

    @property
    def by_clip(self) -> dict[str, np.ndarray]:
        """The mean of each clip's queries, float64 [clips] in the order of ``ids``, NaN for a clip without a query."""
        means = {name: mean_of(values, *self._owners(name[:3])) for name, values in self.items.items()}
        return {name: formulas.mean(statistic.columns) for name, statistic in means.items()} | self.more

    @property
    def statistics(self) -> dict[str, Statistic]:
        """What resampling the clips needs, for the computed metrics: a clip is drawn with all of its queries.

        The ranks are those among the whole pool, whichever clips are drawn.
        """
        found: dict[str, Statistic] = {
            name: mean_of(values, *self._owners(name[:3])) for name, values in self.items.items()
        }
        for way, ranks in self.ranks.items():
            if self.metrics.get(f"{way}_medr", {}).get("value") is not None:
                found[f"{way}_medr"] = Median(ranks.best(self.ties), *self._owners(way))
            if way in self.shares:
                shares = [mean_of(share, *self._owners(way)).columns for share in self.shares[way]]
                columns = np.concatenate([*(share[:, :1] for share in shares), shares[0][:, 1:]], axis=1)
                found[f"{way}_gmean"] = Sums("geometric_mean", columns)
        return found | {name: mean_of(values) for name, values in self.more.items()}

    def _owners(self, way: str) -> tuple[np.ndarray, int]:
        """For each query of a direction the index of its clip in ``ids``; and the number of clips."""
        place = {clip: number for number, clip in enumerate(self.ids)}
        return np.array([place[clip] for clip in self.clips[way]], dtype=np.int64), len(self.ids)


@dataclass(frozen=True)
class _Relevance:
    """Which caption belongs with which clip, as pairs in the order of captions."""

    row: np.ndarray  # int64 [pairs] index of the caption
    column: np.ndarray  # int64 [pairs] index of the clip
    captions: list
    clips: list
    owners: list  # [captions] clip that each caption was written for


def recall(ranks: Ranks | Sequence[float], cut: int, ties: str = "expected") -> tuple[float, np.ndarray]:
    """R@k: the share of queries with a relevant item among the first ``cut``, and each query's part, float64 [queries].

    ``ranks`` are those of all relevant items, or the rank of the best of each query where nothing ties. Of t items that
    score alike, r of them relevant, one is among the first m with the probability 1 - C(t - r, m) / C(t, m). With
    ``ties="benchmark"`` a query counts 0 or 1 as in the audio-retrieval benchmark, by the mean rank of what ties, from
    0: it has to be 0 for R@1, below k else.

    >>> recall([1, 3, 12, 7], cut=5)
    (0.5, array([1., 1., 0., 0.]))
    >>> recall(Ranks(above=[0, 0], sizes=[1, 1], level=[1, 2]), cut=1)  # the second ties with one other item
    (0.75, array([1. , 0.5]))
    """
    _check_ties(ties)
    _check_cut(cut)
    ranks = _ranks(ranks)
    if ties == "benchmark":
        best = ranks.best(ties) - 1
        items = (best <= 0 if cut == 1 else best < cut).astype(float)
        return float(items.mean()), items
    above, level, relevant = ranks._best_ties
    reached = np.clip(cut - above, 0, level)
    missed = np.ones(len(above))
    for place in range(int(reached.max(initial=0))):  # the chance that this place, too, has no relevant item
        left = np.maximum(level - place, 1)
        missed *= np.where(place < reached, np.maximum(level - relevant - place, 0) / left, 1)
    return float((1 - missed).mean()), 1 - missed


def median_rank(ranks: Ranks | Sequence[float], ties: str = "expected") -> float:
    """MedR: the median of the queries' best ranks; of an even number the mean of the middle two.

    >>> median_rank([1, 3, 12, 7])
    5.0
    """
    return float(np.median(_ranks(ranks).best(ties)))


def mean_rank(ranks: Ranks | Sequence[float], ties: str = "expected") -> tuple[float, np.ndarray]:
    """MeanR: the mean of the queries' best ranks, and these, float64 [queries].

    >>> mean_rank([1, 3, 12, 7])[0]
    5.75
    """
    items = _ranks(ranks).best(ties)
    return float(items.mean()), items


def geometric_mean(shares: Sequence[float]) -> float:
    """The geometric mean of R@1, R@5 and R@10, 0 if one of them is 0.

    >>> round(geometric_mean([0.1, 0.4, 0.8]), 3)
    0.317
    """
    found = numbers("The shares", shares)
    return float(np.prod(found) ** (1 / len(found)))


def mean_average_precision(
    ranks: Ranks | Sequence[float], cut: int, ties: str = "expected", divisor: str = "cut"
) -> tuple[float, np.ndarray]:
    """mAP@k: the mean, and the average precision of each query, float64 [queries], in 0 to 1.

    The sum of i / rank over the relevant items i = 1, 2, ... up to rank k, divided by the number of all relevant items
    but by k at most (``divisor="cut"``), so that a perfect order gives 1, or by that number whatever k
    (``divisor="relevant"``, as the baseline of DCASE 2025 does); never by the number found. The two differ for queries
    with more than k relevant items (docs/metrics.md, section 2.4). It is the expectation over all orders of tied items.
    With ``ties="benchmark"`` these share their mean rank, and at most k of them count.

    >>> ranks = Ranks(above=[0, 3, 19], sizes=[2, 1])  # of two queries
    >>> mean_average_precision(ranks, cut=10)[1].tolist()
    [0.75, 0.0]
    >>> ranks = Ranks(above=[0, 1, 2, 3], sizes=[4])
    >>> [mean_average_precision(ranks, cut=2, divisor=divisor)[0] for divisor in DIVISORS]
    [1.0, 0.5]
    """
    _check_ties(ties)
    _check_cut(cut)
    if divisor not in DIVISORS:
        raise EarwitnessError(f"divisor is {divisor!r}; it must be one of {', '.join(map(repr, DIVISORS))}.")
    found = _ranks(ranks)
    if ties == "benchmark":
        number = np.arange(1, len(found.query) + 1) - found._first[found.query]
        query, gains = found.query, np.where((found.values <= cut) & (number <= cut), number / found.values, 0)
    else:
        query, above, level, relevant, before = found.tied
        gains = np.zeros(len(query))
        others = (relevant - 1) / np.maximum(level - 1, 1)  # share of relevant items among the others, next to one
        for place in range(1, cut + 1):
            gain = relevant / level * (before + 1 + (place - 1) * others) / (above + place)
            gains += np.where((place <= level) & (above + place <= cut), gain, 0)
    sizes = np.minimum(found.sizes, cut) if divisor == "cut" else found.sizes
    items = np.bincount(query, gains, minlength=len(found.sizes)) / sizes
    return float(items.mean()), items


def set_recall(ranks: Ranks | Sequence[float], cut: int) -> tuple[float, np.ndarray]:
    """R@k as the share of a query's relevant items up to rank k (docs/metrics.md, section 2.3, B): mean, and [queries].

    With five relevant items it is 0.2 at most for k = 1. It is the expectation over all orders of tied items.
    ``evaluate`` reports ``recall`` of the best item instead.

    >>> set_recall(Ranks(above=[0, 3, 19], sizes=[2, 1]), cut=10)[1].tolist()
    [1.0, 0.0]
    """
    _check_cut(cut)
    found = _ranks(ranks)
    within = np.clip((cut - found.above) / found.level, 0, 1)
    items = np.bincount(found.query, within, minlength=len(found.sizes)) / found.sizes
    return float(items.mean()), items


def _ranks(ranks: Ranks | Sequence[float]) -> Ranks:
    """Plain ranks as those of queries with one relevant item, which ties with nothing."""
    if isinstance(ranks, Ranks):
        return ranks
    found = numbers("The ranks", ranks)
    if not len(found) or not (found >= 1).all():
        low = f"; {found[~(found >= 1)][0]:g} is among them" if len(found) else "; there are none"
        raise EarwitnessError(f"The ranks count from 1{low}.")
    return Ranks(found - 1, np.ones(len(found)))


def _check_cut(cut: int) -> None:
    if not isinstance(cut, Integral) or cut < 1:
        raise EarwitnessError(f"cut is {cut!r}: how many of the first items count, from 1, is needed.")


def validate(
    scores: Scores,
    owners: Ids,
    clips: Ids,
    *,
    captions: Ids | None = None,
    relevant: Relevant | None = None,
) -> None:
    """Refuse what ``evaluate`` cannot score, all offenders in one EarwitnessError; the arguments are the same.

    Reads all scores once. Infinite scores are ordered like any other; NaN is refused.

    >>> validate([[0.9, 0.1], [0.2, 0.8]], owners=["dog.wav", "rain.wav"], clips=["dog.wav", "rain.wav"])
    """
    scores, owners, clips, captions, relevant = _in_order(scores, owners, clips, captions, relevant)
    relevance = _relevance(owners, clips, captions, relevant, scores)
    _refuse_nan({s + row: n for s, block in _blocks(scores, relevance) for row, n in _nan(block)}, relevance)


def evaluate(
    scores: Scores,
    owners: Ids | Mapping[Any, Hashable],
    clips: Ids,
    *,
    captions: Ids | None = None,
    relevant: Relevant | Sequence[Collection[Hashable]] | None = None,
    ties: str = "expected",
    metrics: str | Iterable[str] | None = None,
) -> Evaluation:
    """Metrics of both directions, from scores [captions, clips], the higher the better.

    ``scores`` is an array, an h5py data set, or a function (start, stop) that gives these rows as an array; it is read
    in blocks of rows, all of them twice (once without audio to text), and has to give the same both times. ``owners``
    names the clip of each caption in the order of the rows, ``clips`` those of the columns, ``captions`` the rows (from
    0 where not given). A clip may have any number of captions; one without stays in the pool and is no query.
    ``owners`` may be a mapping from captions to clips, ``scores`` one from captions to rows, or to clips with scores.

    ``relevant`` gives for each caption (by its name, or in their order) all clips that are relevant to it, in place of
    its clip alone, and so for each clip all captions it is relevant to. A caption with an empty list is skipped and
    counted. ``ties`` says how items that score alike count (see the module); where that changes a figure, a note gives
    the other rule's. ``metrics`` are names of ``earwitness.metrics.catalogue`` or of ``SETS``; None computes all,
    mAP@16 only with ``relevant``. With one clip every value of text to audio is 1, whatever the scores; with equal
    scores all are those of chance, and a note says so.

    Raises EarwitnessError for what ``validate`` refuses, unknown metrics, and a function that changes its answers.

    >>> scores = [[0.9, 0.1, 0.3], [0.2, 0.4, 0.8], [0.1, 0.2, 0.7]]
    >>> owners, clips = ["dog.wav", "rain.wav", "wind.wav"], ["dog.wav", "rain.wav", "wind.wav"]
    >>> result = evaluate(scores, owners, clips, metrics=["t2a_r1", "t2a_map10", "a2t_medr"])
    >>> {name: round(entry["value"], 3) for name, entry in result.metrics.items()}
    {'t2a_r1': 0.667, 't2a_map10': 0.833, 'a2t_medr': 1.0}
    """
    _check_ties(ties)
    wanted = _wanted(metrics, relevant)
    if scores is None:
        raise EarwitnessError("The scores are None; an array [captions, clips] is needed.")
    scores, owners, clips, captions, table = _in_order(scores, owners, clips, captions, relevant)
    relevance = _relevance(owners, clips, captions, table, scores)
    notes = [] if relevant is None else _relevance_notes(relevance)
    counts = _count(scores, relevance, any(name.startswith("a2t") for name in wanted))
    result = _nothing({"t2a": len(relevance.clips), "a2t": len(relevance.captions)}, notes, ties)
    for way, query, names, owner in (
        ("t2a", relevance.row, relevance.captions, relevance.owners),
        ("a2t", relevance.column, relevance.clips, relevance.clips),
    ):
        if any(name.startswith(way) for name in wanted):
            above, level = counts[way]
            _score(result, way, query, above, level, names, owner, wanted, ties)
            notes += _notes(result, way, ties)
    return result


def evaluate_top(
    ranked: Sequence[Ids] | Mapping[Any, Ids],
    owners: Ids | Mapping[Any, Hashable],
    *,
    clips: Ids | None = None,
    captions: Ids | None = None,
    relevant: Relevant | Sequence[Collection[Hashable]] | None = None,
    metrics: str | Iterable[str] | None = None,
) -> Evaluation:
    """The metrics that the k best clips of each caption give, as in a DCASE submission: R and mAP up to k.

    ``ranked`` lists for each caption, in the order of ``owners``, the clips from the best on, equally many for each.
    ``clips`` are all that could have been ranked, where known: a name that is not among them is then refused.
    ``captions``, ``relevant`` and ``metrics`` are those of ``evaluate``. All that needs more than k ranks, and audio to
    text, is None with its reason; lists of all ``clips`` are complete rankings.

    Raises EarwitnessError for lists that cannot be scored, all offenders in one, and for unknown metrics.

    >>> ranked = [["dog.wav", "rain.wav"], ["wind.wav", "rain.wav"]]
    >>> evaluate_top(ranked, ["dog.wav", "rain.wav"], metrics="t2a_r1").metrics
    {'t2a_r1': {'value': 0.5}}
    """
    wanted = _wanted(metrics, relevant)
    ranked, owners, clips, captions, table = _in_order(ranked, owners, clips, captions, relevant)
    ranked = as_list("The ranked lists", ranked)
    offenders = _list_offenders(ranked, owners, captions, clips) or _strangers(ranked, owners)
    if offenders:
        raise EarwitnessError(listed("These ranked lists cannot be scored:", offenders))
    given = clips is not None
    named = {clip for line in table.values() for clip in _members(line)} if table is not None else set()
    known = (
        list(clips)
        if clips is not None
        else list(dict.fromkeys([*owners, *(c for line in ranked for c in line), *named]))
    )
    relevance = _relevance(owners, known, captions, table)
    place = {clip: number for number, clip in enumerate(known)}
    depth = len(ranked[0])
    found = [{place[clip]: number for number, clip in enumerate(line)} for line in ranked]
    above = [found[row].get(column, np.inf) for row, column in zip(relevance.row, relevance.column, strict=True)]
    result = _nothing({"t2a": len(known) if given else None, "a2t": None}, [])
    counts = np.array(above, dtype=float), np.ones(len(above), dtype=np.int64)
    known_ranks = None if given and depth == len(known) else depth
    _score(result, "t2a", relevance.row, *counts, relevance.captions, relevance.owners, wanted, "expected", known_ranks)
    reason = f"audio to text cannot be computed from the {depth} best clips of each caption"
    result.metrics.update({name: {"value": None, "reason": reason} for name in wanted if name.startswith("a2t")})
    result.notes.extend([] if relevant is None else _relevance_notes(relevance))
    result.notes.extend(_divisor_notes(result, "t2a", "expected"))
    if skipped := len(result.skipped["t2a"]):
        result.notes.append(_skipped_note("t2a", skipped, len(owners)))
    return result


def sampled(
    scores: Scores,
    owners: Ids,
    clips: Ids,
    *,
    candidates: int = 30,
    repetitions: int = 20,
    cuts: Sequence[int] = (1, 5),
    seed: int = 0,
    ties: str = "expected",
) -> dict[str, np.ndarray]:
    """R@k among few candidates, as Xie et al. (ICASSP 2022) report it, by name: float64 [repetitions, clips].

    In each repetition every clip that has a caption is a query once in each direction: with one of its captions, drawn
    at random, and ``candidates`` - 1 other clips, drawn without replacement, each with one of its captions. The clip is
    sought among the clips by its caption, and the caption among the captions by the clip; the columns are these clips
    in the order of ``clips``. ``scores``, ``owners``, ``clips`` and ``ties`` are those of ``evaluate``; the scores are
    read once, in blocks of rows. The same arguments give the same draws.

    Raises EarwitnessError for what ``validate`` refuses, and for fewer than ``candidates`` + 1 clips with a caption:
    the candidates would be the same each time.

    >>> owners = clips = [f"{number}.wav" for number in range(40)]
    >>> found = sampled(np.eye(40), owners, clips)
    >>> {name: (values.shape, float(values.mean())) for name, values in found.items()}["a2t_r5_sampled30"]
    ((20, 40), 1.0)
    """
    _check_ties(ties)
    scores, owners, clips, *_ = _in_order(scores, owners, clips, None, None)
    relevance = _relevance(owners, clips, None, None, scores)
    captions = np.argsort(relevance.column, kind="stable")  # row of the scores, clip by clip
    sizes = np.bincount(relevance.column, minlength=len(relevance.clips))
    queries, first = np.flatnonzero(sizes), (np.cumsum(sizes) - sizes)
    if len(queries) <= candidates:
        few = f"{counted(len(queries), 'clip')} with a caption; more than {candidates} are needed"
        raise EarwitnessError(f"There are no {candidates} candidates to draw: there are {few}.")
    generator = np.random.default_rng(seed)
    shape = (repetitions, len(queries), candidates)
    drawn = np.empty(shape, dtype=np.int64)  # place of the clip among the queries, the own one first
    for repetition in drawn:
        for place, line in enumerate(repetition):
            others = generator.choice(len(queries) - 1, candidates - 1, replace=False)
            line[:] = place, *(others + (others >= place))
    columns = queries[drawn]
    rows = captions[first[columns] + generator.integers(sizes[columns])]
    own = np.broadcast_to(rows[..., :1], shape), np.broadcast_to(columns[..., :1], shape)
    taken = _taken(scores, relevance, np.stack([own[0], rows]), np.stack([columns, own[1]]))
    hits = {}
    for way, values in zip(("t2a", "a2t"), taken.reshape(2, -1, candidates), strict=True):
        above = (values > values[:, :1]).sum(axis=1)
        ranks = Ranks(above, np.ones(len(values)), (values == values[:, :1]).sum(axis=1))
        for cut in cuts:
            hits[f"{way}_r{cut}_sampled{candidates}"] = recall(ranks, cut, ties)[1].reshape(shape[:2])
    return hits


def _wanted(metrics: str | Iterable[str] | None, relevant: Any) -> list[str]:
    wanted = chosen(metrics, SETS, NAMES)
    return [name for name in wanted if metrics is not None or relevant is not None or not name.endswith("map16")]


def _nothing(pool: dict[str, int | None], notes: list[str], ties: str = "expected") -> Evaluation:
    """An evaluation that no direction has been added to."""
    queries, clips, skipped = (dict[str, list]((way, []) for way in DIRECTIONS) for _ in range(3))
    return Evaluation({}, {}, queries, clips, skipped, pool, {}, notes, ties)


def _score(
    result: Evaluation,
    way: str,
    query: np.ndarray,
    above: np.ndarray,
    level: np.ndarray,
    names: list,
    owners: list,
    wanted: Collection[str],
    ties: str,
    depth: int | None = None,
) -> None:
    """Put one direction into ``result``, from the numbers of items ``above`` and ``level`` with the relevant items.

    ``query`` has the query of each relevant item, ``names`` those of the queries, ``owners`` their clips; ``depth`` is
    the number of ranks that are known, None for all.
    """
    sizes = np.bincount(query, minlength=len(names))
    known = np.flatnonzero(sizes)
    order = np.lexsort((above, query))
    ranks = Ranks(above[order], sizes[known], level[order])
    result.ranks[way] = ranks
    result.queries[way], result.clips[way] = [names[n] for n in known], [owners[n] for n in known]
    result.skipped[way] = [names[n] for n in np.flatnonzero(sizes == 0)]
    pool = result.pool[way]
    for name, needed in NEEDED.items():
        key = f"{way}_{name}"
        if key not in wanted:
            continue
        if not len(known):
            result.metrics[key] = {"value": None, "reason": f"no query of {DIRECTIONS[way]} has a relevant item"}
        elif depth is not None and (needed is None or needed > depth):
            lacking = "all ranks" if needed is None else f"the {needed} best"
            reason = f"needs {lacking}; only the {depth} best of each query are known"
            result.metrics[key] = {"value": None, "reason": reason}
        else:
            value, per_query = _metric(ranks, name, ties)
            result.metrics[key] = {"value": value}
            if per_query is not None:
                result.items[key] = per_query
            if name == "gmean":
                result.shares[way] = np.stack([recall(ranks, k, ties)[1] for k in (1, 5, 10)])
            if pool is not None and name[0] == "r" and needed is not None and needed >= pool:
                result.metrics[key]["note"] = f"1 for any scores: only {pool} items are ranked"


def _metric(ranks: Ranks, name: str, ties: str) -> tuple[float, np.ndarray | None]:
    """A metric's value, and that of each query where it is a mean of these."""
    if name == "medr":
        return median_rank(ranks, ties), None
    if name == "meanr":
        return mean_rank(ranks, ties)
    if name == "gmean":
        return geometric_mean([recall(ranks, cut, ties)[0] for cut in (1, 5, 10)]), None
    needed = NEEDED[name]
    assert needed is not None
    return (mean_average_precision if name.startswith("map") else recall)(ranks, needed, ties)


def _count(scores: Scores, relevance: _Relevance, captions_too: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each direction and pair the number of items above the relevant one, and level with it (itself included).

    Captions are ranked, which takes a second reading of the scores, with ``captions_too`` only.
    """
    row, column = relevance.row, relevance.column
    positive = np.empty(len(row), dtype=float)
    above, least = np.zeros(len(row), dtype=np.int64), np.zeros(len(row), dtype=np.int64)
    missing: dict[int, int] = {}
    for start, block in _blocks(scores, relevance):
        missing |= {start + line: number for line, number in _nan(block)}
        pairs = slice(*np.searchsorted(row, [start, start + len(block)]))
        positive[pairs] = relevant = block[row[pairs] - start, column[pairs]]
        above[pairs], least[pairs] = _row_counts(block, row[pairs] - start, relevant)
    _refuse_nan(missing, relevance)
    counts = {"t2a": (above, least - above)}
    return counts | {"a2t": _count_captions(scores, relevance, positive)} if captions_too else counts


def _row_counts(block: np.ndarray, lines: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each value the number of scores in its line of the block that are above it, and at least it."""
    counts = np.empty((2, len(lines)), dtype=np.int64)
    for start in range(0, len(lines), ROWS):
        some = slice(start, start + ROWS)
        rows = slice(lines[start], lines[start] + len(lines[some]))
        consecutive = np.array_equal(lines[some], np.arange(rows.start, rows.stop))  # then nothing is copied
        scores, limits = block[rows if consecutive else lines[some]], values[some, None]
        for count, mask in zip(counts, (scores > limits, scores >= limits), strict=True):
            count[some] = np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)
    return counts[0], counts[1]


def _count_captions(scores: Scores, relevance: _Relevance, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over all captions the number above each pair's score ``positive``, and level with it."""
    row, column = relevance.row, relevance.column
    columns, turns = _turns(column, len(relevance.clips))
    above = [np.zeros(len(turn), dtype=np.int64) for turn in turns]
    least = [np.zeros(len(turn), dtype=np.int64) for turn in turns]
    for start, block in _blocks(scores, relevance):
        pairs = slice(*np.searchsorted(row, [start, start + len(block)]))
        if not np.array_equal(block[row[pairs] - start, column[pairs]], positive[pairs]):
            raise EarwitnessError(
                f"The scores of captions {start} to {start + len(block) - 1} changed when they were read again: "
                "a function that gives scores must give the same each time (dropout left on, perhaps)."
            )
        limits = [positive[turn].astype(block.dtype) for turn in turns]
        _compare(block if columns is None else block[:, columns], limits, above, least)
    totals = np.zeros((2, len(row)), dtype=np.int64)
    for turn, higher, enough in zip(turns, above, least, strict=True):
        totals[:, turn] = higher, enough - higher
    return totals[0], totals[1]


def _turns(column: np.ndarray, clips: int) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """The clips by falling number of relevant captions, and for the first, second, ... caption of each its pair.

    The n-th list is as long as there are clips with n captions, which come first in this order, so that no clip is
    compared more often than it has captions. The order is None where it is that of the columns already.
    """
    sizes = np.bincount(column, minlength=clips)
    order, by_clip = np.argsort(-sizes, kind="stable"), np.argsort(column, kind="stable")
    first = (np.cumsum(sizes) - sizes)[order]
    turns = [by_clip[first[: np.count_nonzero(sizes > turn)] + turn] for turn in range(sizes.max())]
    return None if np.array_equal(order, np.arange(clips)) else order, turns


def _compare(block: np.ndarray, limits: list[np.ndarray], above: list[np.ndarray], least: list[np.ndarray]) -> None:
    """Add to ``above`` and ``least`` how many scores of each column are above its limit, and at least the limit."""
    for left in range(0, len(limits[0]) if limits else 0, TILE):
        for top in range(0, len(block), ROWS):
            tile = block[top : top + ROWS, left : left + TILE]
            for limit, higher, enough in zip(limits, above, least, strict=True):
                part = limit[left : left + TILE]
                if not len(part):
                    break
                scores, here = tile[:, : len(part)], slice(left, left + TILE)
                higher[here] += np.add.reduce((scores > part).view(np.uint8), axis=0, dtype=np.uint8)
                enough[here] += np.add.reduce((scores >= part).view(np.uint8), axis=0, dtype=np.uint8)


def _taken(scores: Scores, relevance: _Relevance, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The scores at rows and columns of one shape, read once."""
    flat, order = np.empty(rows.size), np.argsort(rows, axis=None, kind="stable")
    row, column = rows.ravel()[order], columns.ravel()[order]
    missing: dict[int, int] = {}
    for start, block in _blocks(scores, relevance):
        missing |= {start + line: number for line, number in _nan(block)}
        here = slice(*np.searchsorted(row, [start, start + len(block)]))
        flat[order[here]] = block[row[here] - start, column[here]]
    _refuse_nan(missing, relevance)
    return flat.reshape(rows.shape)


def _blocks(scores: Scores, relevance: _Relevance) -> Iterator[tuple[int, np.ndarray]]:
    """The scores in blocks of rows, float32 or wider, each with the index of its first row."""
    captions, clips = len(relevance.captions), len(relevance.clips)
    if not callable(scores) and not hasattr(scores, "shape"):
        scores = np.asarray(scores)
    rows = max(1, BLOCK // clips)
    for start in range(0, captions, rows):
        stop = min(start + rows, captions)
        given = scores(start, stop) if callable(scores) else scores[start:stop]
        if hasattr(given, "detach"):  # a tensor
            given = given.detach().cpu()
            given = given.float() if given.is_floating_point() and given.element_size() < 4 else given
        if np.ma.is_masked(given):
            raise EarwitnessError(f"The scores of captions {start} to {stop - 1} are masked; every pair needs a score.")
        block = np.asarray(given)
        if block.shape != (stop - start, clips):
            raise EarwitnessError(
                f"The scores of captions {start} to {stop - 1} have the shape {block.shape}; "
                f"{(stop - start, clips)} is needed, a row for each caption and a column for each clip."
            )
        if block.dtype.kind not in "fiub":
            raise EarwitnessError(f"The scores are of the type {block.dtype}, not real numbers.")
        if block.dtype.kind in "iu" and (top := max(-int(block.min()), int(block.max()))) > EXACT:
            raise EarwitnessError(
                f"The scores of captions {start} to {stop - 1} go up to {top} and are whole numbers; above {EXACT} "
                "neighbours become equal as floating-point numbers. Give them divided, or as floats."
            )
        if block.dtype not in (np.float32, np.float64):
            block = block.astype(np.float32 if block.dtype == np.float16 else np.float64)
        yield start, block


def _nan(block: np.ndarray) -> Iterator[tuple[int, int]]:
    """The rows that hold NaN, and how many."""
    if np.isnan(block.min()):
        numbers = np.isnan(block).sum(axis=1)
        yield from ((int(row), int(numbers[row])) for row in np.flatnonzero(numbers))


def _refuse_nan(missing: dict[int, int], relevance: _Relevance) -> None:
    if not missing:
        return
    clips = len(relevance.clips)
    if len(missing) == len(relevance.captions) and set(missing.values()) == {clips}:
        offenders = ["every score is NaN; a training that diverged, perhaps"]
    else:
        offenders = [
            f"caption {relevance.captions[row]!r} has the score NaN for {number} of {clips} clips"
            + ("; an embedding of length 0, perhaps" if number == clips else "")
            for row, number in missing.items()
        ]
    raise EarwitnessError(listed("These scores cannot be ranked:", offenders))


def _relevance(owners: Any, clips: Any, captions: Any, relevant: Any, scores: Scores = None) -> _Relevance:
    """The pairs of captions and clips; EarwitnessError with all offenders but those among the scores' values."""
    names = list(range(len(owners))) if captions is None else captions
    place = {clip: number for number, clip in enumerate(clips)}
    offenders = _name_offenders(names, owners, clips) + _shape_offenders(scores, len(owners), len(clips))
    offenders += _unknown(((f"caption {name!r} is of", clip) for name, clip in zip(names, owners, strict=False)), place)
    if relevant is not None:
        offenders += _table_offenders(relevant, names, place)
    if offenders:
        raise EarwitnessError(listed("This retrieval cannot be scored:", offenders))
    lists = [[clip] for clip in owners] if relevant is None else [relevant[name] for name in names]
    row = np.repeat(np.arange(len(names)), [len(line) for line in lists])
    column = np.array([place[clip] for line in lists for clip in line], dtype=np.int64)
    return _Relevance(row, column, names, clips, owners)


def _in_order(scores: Any, owners: Any, clips: Any, captions: Any, relevant: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The arguments as lists in the order of captions and clips, whatever they are by; relevance by caption."""
    names = None if captions is None else _plain_list("The captions", captions)
    if is_named(owners):
        owners = by_name("The clips of the captions", owners)
        names = list(owners) if names is None else names
        owners = _of_names("the clips of the captions", owners, names)
    owners = _plain_list("The clips of the captions", owners)
    clips = None if clips is None else _plain_list("The clips", clips)
    order = list(range(len(owners))) if names is None else names
    if isinstance(scores, Mapping):
        scores = _of_names("the scores", scores, order)
        if clips is not None and any(isinstance(row, Mapping) for row in scores):
            scores = [
                _of_names(f"the scores of caption {n!r}", row, clips) for n, row in zip(order, scores, strict=True)
            ]
    elif hasattr(scores, "loc") and clips is not None:  # a table of pandas, by its labels where it has them
        columns, rows = list(scores.columns), list(scores.index)
        scores = scores[clips] if sorted(map(repr, columns)) == sorted(map(repr, clips)) else scores
        # Without names of the captions a sorted or shuffled table stays as it is: its numbers are no labels.
        if names is not None and sorted(map(repr, rows)) == sorted(map(repr, names)):
            scores = scores.loc[names]
        scores = scores.to_numpy()
    if relevant is not None and not is_named(relevant):
        lists = as_list("The relevant clips", relevant)
        if len(lists) != len(order):
            raise EarwitnessError(f"Relevant clips are given for {len(lists)} of {counted(len(order), 'caption')}.")
        relevant = dict(zip(order, lists, strict=True))
    return scores, owners, clips, names, None if relevant is None else by_name("The relevant clips", relevant)


def _of_names(what: str, given: Any, names: list) -> list:
    """What a mapping gives for the names, in their order; EarwitnessError for other names than these."""
    if not isinstance(given, Mapping):
        raise EarwitnessError(f"{what[0].upper()}{what[1:]} are {reprlib.repr(given)}, others are by name.")
    known = set(names)
    offenders = [f"{name!r} is not among them" for name in names if name not in given]
    offenders += [f"{name!r} is among them only" for name in given if name not in known]
    if offenders:
        raise EarwitnessError(listed(f"{what[0].upper()}{what[1:]} are by other names than the rest:", offenders))
    return [given[name] for name in names]


def _plain_list(what: str, ids: Ids) -> list:
    """Names as Python's strings and numbers, not NumPy's."""
    names = [name.item() if isinstance(name, np.generic) else name for name in as_list(what, ids)]
    if offenders := [f"item {n}: {name!r}" for n, name in enumerate(names) if not isinstance(name, Hashable)]:
        raise EarwitnessError(listed(f"{what} have items that are no names:", offenders))
    return names


def _name_offenders(names: list, owners: list, clips: list) -> list[str]:
    """Names that are missing or not unique."""
    offenders = []
    if not owners or not clips:
        both = counted(len(owners), "caption"), counted(len(clips), "clip")
        offenders.append(f"there are {both[0]} and {both[1]}; at least one of each is needed")
    if len(names) != len(owners):
        offenders.append(f"there are {len(names)} captions, but the clips of {len(owners)}")
    for what, ids in (("caption", names), ("clip", clips)):
        offenders += [
            f"{what} {name!r} is there {number} times; the {what}s need different names"
            + (" (number them where two have the same text)" if what == "caption" else "")
            for name, number in Counter(ids).items()
            if number > 1
        ]
    return offenders


def _shape_offenders(scores: Scores, captions: int, clips: int) -> list[str]:
    if scores is None or callable(scores):
        return []
    try:
        shape = tuple(scores.shape if hasattr(scores, "shape") else np.asarray(scores).shape)
    except ValueError:
        return ["the rows of the scores are not equally long"]
    if shape == (captions, clips):
        return []
    hint = "; transposed, perhaps" if shape == (clips, captions) else ""
    return [f"the scores have the shape {shape}; {captions} captions and {clips} clips need {(captions, clips)}{hint}"]


def _unknown(named: Iterable[tuple[str, Hashable]], known: Collection[Hashable]) -> list[str]:
    """The pairs (where it is named, clip) whose clip is not among the known ones, as messages."""
    lost = [(where, clip) for where, clip in named if clip not in known]
    alike = {_plain(clip): clip for clip in known} if lost else {}
    offenders = []
    for where, clip in lost:
        other = alike.get(_plain(clip))
        hint = "" if other is None else f" ({other!r} is: the folder, the extension, the case or blanks differ)"
        offenders.append(f"{where} clip {clip!r}, which is not among the {len(known)} clips{hint}")
    return offenders


def _plain(clip: Hashable) -> str:
    """A clip's name without folder, extension of a sound file, case and outer blanks."""
    return re.sub(r"^.*[/\\]|\.(wav|flac|mp3|ogg|m4a|mp4|npy)$", "", str(clip).strip().casefold())


def _table_offenders(relevant: Relevant, names: list, place: dict) -> list[str]:
    """What is wrong with the table of relevant clips."""
    known = set(names)
    offenders = [
        f"the table of relevant clips has caption {n!r}, which is not scored" for n in relevant if n not in known
    ]
    offenders += [
        f"caption {name!r} is not in the table of relevant clips (an empty list there says that it has none)"
        for name in names
        if name not in relevant
    ]
    for name, line in relevant.items():
        if isinstance(line, str) or not isinstance(line, Collection):
            kind = "one string, " if isinstance(line, str) else ""
            offenders.append(f"the relevant clips of caption {name!r} are {kind}{line!r}, not a list of clips")
            continue
        twice = [clip for clip, number in Counter(line).items() if number > 1]
        offenders += [f"clip {clip!r} is more than once among the relevant of caption {name!r}" for clip in twice]
    named = ((f"relevant to caption {name!r} is", clip) for name, line in relevant.items() for clip in _members(line))
    return offenders + _unknown(named, place)


def _members(line: Collection) -> Collection:
    """The clips of a table's entry; one string, which is refused elsewhere, has none."""
    return () if isinstance(line, str) or not isinstance(line, Collection) else line


def _list_offenders(ranked: list, owners: Any, captions: Any, clips: Any) -> list[str]:
    if len(ranked) != len(owners) or not len(ranked):
        both = counted(len(ranked), "ranked list"), counted(len(owners), "caption")
        return [f"there are {both[0]} for {both[1]}; each caption needs one"]
    names = range(len(owners)) if captions is None else captions
    depths = Counter(len(line) for line in ranked if isinstance(line, Collection) and not isinstance(line, str))
    depth = depths.most_common(1)[0][0] if depths else 0
    offenders, known = [], None if clips is None else set(clips)
    for name, line in zip(names, ranked, strict=False):
        try:
            as_list("", line)
        except EarwitnessError as error:
            offenders.append(f"the ranked clips of caption {name!r} are{str(error)[1:].removesuffix('.')}")
            continue
        if len(line) != depth or not len(line):
            offenders.append(f"caption {name!r} has {len(line)} ranked clips, most others have {depth}")
        empty = [rank for rank, clip in enumerate(line, start=1) if clip is None or clip != clip or clip == ""]
        offenders += [f"rank {rank} of caption {name!r} is empty; an empty cell of a table, perhaps" for rank in empty]
        twice = [clip for clip, number in Counter(line).items() if number > 1 and clip != ""]
        offenders += [f"clip {clip!r} is ranked more than once for caption {name!r}" for clip in twice]
    if known is not None:
        ranks = (
            (f"rank {rank} of caption {name!r} is", clip)
            for name, line in zip(names, ranked, strict=False)
            for rank, clip in enumerate(_members(line), start=1)
            if clip != ""
        )
        offenders += _unknown(ranks, known)
    return offenders


def _strangers(ranked: list, owners: Any) -> list[str]:
    """Names that are all unlike those of the captions' clips, which would score 0 without an error."""
    listed_clips = {clip for line in ranked for clip in line}
    if not listed_clips.isdisjoint(owners):
        return []
    alike = {_plain(clip): clip for clip in listed_clips}
    return [
        f"no ranked clip is named like a caption's: {clip!r} is ranked as {alike[_plain(clip)]!r}, perhaps"
        for clip in dict.fromkeys(owners)
        if _plain(clip) in alike
    ]


def _check_ties(ties: str) -> None:
    if ties not in TIES:
        raise EarwitnessError(f"ties is {ties!r}; it must be one of {', '.join(map(repr, TIES))}.")


def _notes(result: Evaluation, way: str, ties: str) -> list[str]:
    """What a reader should know of ties and of queries left out."""
    ranks, pool, direction = result.ranks[way], result.pool[way], DIRECTIONS[way]
    levels, notes = np.maximum.reduceat(ranks.level, ranks._first) if len(ranks.sizes) else np.zeros(0), []
    constant = np.count_nonzero(levels == pool) if pool and pool > 1 else 0
    if constant:
        order = "in any order" if ties == "expected" else f"with the middle rank, {((pool or 0) + 1) / 2:g}"
        notes.append(f"{direction}: {constant} of {len(levels)} queries score all {pool} items alike, {order}")
    if tied := np.count_nonzero(levels > 1) - constant:
        notes.append(f"{direction}: for {tied} of {len(levels)} queries a relevant item ties with another item")
    other = TIES[1 - TIES.index(ties)]
    values = {
        name: (entry["value"], _metric(ranks, name[4:], other)[0])
        for name, entry in result.metrics.items()
        if name.startswith(way) and entry["value"] is not None and (constant or tied)
    }
    changed = [
        f"{name} {theirs:.4g}, not {ours:.4g}"
        for name, (ours, theirs) in values.items()
        if not math.isclose(ours, theirs)
    ]
    if changed:
        notes.append(f"{direction}: ties count by the rule {ties!r}; {other!r} would give {'; '.join(changed)}")
    notes += _divisor_notes(result, way, ties)
    skipped = len(result.skipped[way])
    return notes + ([_skipped_note(way, skipped, len(levels) + skipped)] if skipped else [])


def _divisor_notes(result: Evaluation, way: str, ties: str) -> list[str]:
    """What the other divisor of average precision gives, where a query has more relevant items than the cut."""
    ranks, notes = result.ranks[way], []
    for cut in (10, 16):
        name, several = f"{way}_map{cut}", int(np.count_nonzero(ranks.sizes > cut))
        if several and result.metrics.get(name, {}).get("value") is not None:
            other, _ = mean_average_precision(ranks, cut, ties, "relevant")
            who = f"{several} of {len(ranks.sizes)} queries have more than {cut} relevant items"
            notes.append(f"{name}: {who}; divided by their number, as by DCASE 2025's baseline, it is {other:.4g}")
    return notes


def _skipped_note(way: str, skipped: int, queries: int) -> str:
    return f"{DIRECTIONS[way]}: {skipped} of {queries} queries have no relevant item and are not scored"


def _relevance_notes(relevance: _Relevance) -> list[str]:
    """A table of relevant clips that leaves out the clips of captions is unusual."""
    place = {clip: number for number, clip in enumerate(relevance.clips)}
    pairs = set(zip(relevance.row.tolist(), relevance.column.tolist(), strict=True))
    lost = sum((row, place[clip]) not in pairs for row, clip in enumerate(relevance.owners))
    return [f"{lost} captions lack the clip they were written for among their relevant clips"] if lost else []
