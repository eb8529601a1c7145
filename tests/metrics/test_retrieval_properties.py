"""Every retrieval metric in both directions with all values worked out by hand: known ranks, perfect scores, another
order, a corpus twice over, and scores or lists that tell nothing."""

from math import comb

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import retrieval

WAYS = tuple(retrieval.DIRECTIONS)
NAMES = ("r1", "r5", "r10", "r50", "medr", "meanr", "gmean", "map10", "map16")
RANKS = [1, 1, 2, 3, 5, 6, 8, 10, 12, 51, *[52] * 20, *[55] * 30]  # of the 60 queries among 60 items
CLIPS = [f"clip {number}" for number in range(len(RANKS))]
EACH = pytest.mark.parametrize(("way", "metric"), [(way, name) for way in WAYS for name in NAMES])


def scores_of(ranks):
    """Scores [queries, items] without ties that give the item of the query's own number the wanted rank."""
    items = len(ranks)
    scores = np.empty((items, items))
    for number, rank in enumerate(ranks):
        others = [item for item in np.roll(np.arange(items), number) if item != number]
        scores[number, np.insert(others, rank - 1, number)] = -np.arange(items)
    return scores


def evaluated(way, scores, names=CLIPS, **options):
    """One caption a clip, which alone is relevant; rows are the queries of the direction that is looked at."""
    options.setdefault("relevant", {row: [clip] for row, clip in enumerate(names)})
    return retrieval.evaluate(scores if way == "t2a" else scores.T, names, names, **options)


def value(evaluation, way, metric):
    return evaluation.metrics[f"{way}_{metric}"]["value"]


VALUES = {
    "r1": 2 / 60,
    "r5": 5 / 60,
    "r10": 8 / 60,
    "r50": 9 / 60,
    "medr": (52 + 55) / 2,
    "meanr": (1 + 1 + 2 + 3 + 5 + 6 + 8 + 10 + 12 + 51 + 20 * 52 + 30 * 55) / 60,
    "gmean": (2 / 60 * 5 / 60 * 8 / 60) ** (1 / 3),
    "map10": (1 + 1 + 1 / 2 + 1 / 3 + 1 / 5 + 1 / 6 + 1 / 8 + 1 / 10) / 60,
    "map16": (1 + 1 + 1 / 2 + 1 / 3 + 1 / 5 + 1 / 6 + 1 / 8 + 1 / 10 + 1 / 12) / 60,
}


@EACH
def test_worked_out_values(way, metric):
    result = evaluated(way, scores_of(RANKS))
    assert value(result, way, metric) == pytest.approx(VALUES[metric], rel=1e-14)
    assert result.ranks[way].values.tolist() == RANKS


def test_every_metric_has_its_value_here():
    assert evaluated("t2a", scores_of(RANKS)).metrics.keys() == {f"{way}_{name}" for way in WAYS for name in NAMES}


@EACH
@pytest.mark.parametrize("ties", retrieval.TIES)
def test_perfect_scores(way, metric, ties):
    assert value(evaluated(way, scores_of([1] * 60), ties=ties), way, metric) == pytest.approx(1, rel=1e-14)


@EACH
def test_the_order_of_queries_and_items_does_not_matter(way, metric):
    order = np.random.default_rng(0).permutation(60)
    moved = evaluated(way, scores_of(RANKS)[order][:, order], [CLIPS[number] for number in order])
    assert value(moved, way, metric) == pytest.approx(VALUES[metric], rel=1e-14)
    if f"{way}_{metric}" in moved.items:
        expected = evaluated(way, scores_of(RANKS)).items[f"{way}_{metric}"][order]
        assert moved.items[f"{way}_{metric}"].tolist() == expected.tolist()


# Twice as many items are above the relevant one, and its copy, which stands for another clip, ties with it: either is
# first, so that the rank r becomes 2 r - 1 or 2 r, each with a chance of one half.
TWICE = {
    "r1": (1 + 1) / 2 / 60,
    "r5": (1 + 1 + 1 + 1 / 2) / 60,  # 3 becomes 5 or 6
    "r10": 5 / 60,  # 1, 1, 2, 3, 5; 6 becomes 11 or 12
    "r50": 9 / 60,
    "medr": 2 * 53.5 - 0.5,
    "meanr": 2 * VALUES["meanr"] - 0.5,
    "gmean": (1 / 60 * 3.5 / 60 * 5 / 60) ** (1 / 3),
    "map10": (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6 + 1 / 9 + 1 / 10 + (1 + 1 / 2)) / 2 / 60,
    "map16": (2 * (1 + 1 / 2) + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6 + 1 / 9 + 1 / 10 + 1 / 11 + 1 / 12 + 1 / 15 + 1 / 16)
    / 2
    / 60,
}
# By the benchmark's rule both have the rank 2 r - 1/2, and 5.5 is among the first 5, since 4.5, from 0, is below 5.
TWICE_BENCHMARK = TWICE | {
    "r1": 0,
    "r5": 4 / 60,  # 1.5, 1.5, 3.5, 5.5
    "r10": 5 / 60,  # and 9.5
    "gmean": 0,
    "map10": (2 / 1.5 + 1 / 3.5 + 1 / 5.5 + 1 / 9.5) / 60,
    "map16": (2 / 1.5 + 1 / 3.5 + 1 / 5.5 + 1 / 9.5 + 1 / 11.5 + 1 / 15.5) / 60,
}


@EACH
@pytest.mark.parametrize(("ties", "expected"), [("expected", TWICE), ("benchmark", TWICE_BENCHMARK)])
def test_a_duplicated_corpus_scores_otherwise(way, metric, ties, expected):
    result = evaluated(way, np.tile(scores_of(RANKS), (2, 2)), CLIPS + [f"{clip}'" for clip in CLIPS], ties=ties)
    assert value(result, way, metric) == pytest.approx(expected[metric], rel=1e-14)
    assert result.ranks[way].values.tolist() == [2 * rank - 0.5 for rank in RANKS] * 2


@EACH
@pytest.mark.parametrize("ties", retrieval.TIES)
def test_copies_that_are_relevant_to_each_other_stay_perfect(way, metric, ties):
    names = CLIPS + [f"{clip}'" for clip in CLIPS]
    table = {row: [clip, f"{clip}'"] for row, clip in enumerate(CLIPS)}
    table |= {row + 60: clips for row, clips in table.items()}
    result = evaluated(way, np.tile(scores_of([1] * 60), (2, 2)), names, relevant=table, ties=ties)
    expected = dict.fromkeys(NAMES, 1)
    if ties == "benchmark":  # both have the rank 1.5: (1 / 1.5 + 2 / 1.5) / 2 = 1
        expected |= {"r1": 0, "gmean": 0, "medr": 1.5, "meanr": 1.5}
    assert value(result, way, metric) == pytest.approx(expected[metric], rel=1e-14)


@EACH
@pytest.mark.parametrize("ties", retrieval.TIES)
@pytest.mark.parametrize("items", [9, 15, 20, 31, 60])
def test_scores_that_tell_nothing_give_chance(way, metric, ties, items):
    result = evaluated(way, np.zeros((items, items)), CLIPS[:items], ties=ties)
    rank = (items + 1) / 2
    expected = {f"r{cut}": min(cut, items) / items for cut in retrieval.CUTS} | {"medr": rank, "meanr": rank}
    expected |= {f"map{cut}": sum(1 / place for place in range(1, min(cut, items) + 1)) / items for cut in (10, 16)}
    if ties == "benchmark":
        expected |= {f"r{cut}": float(rank - 1 < cut and cut > 1) for cut in retrieval.CUTS}
        expected |= {f"map{cut}": 1 / rank if rank <= cut else 0 for cut in (10, 16)}
    expected["gmean"] = (expected["r1"] * expected["r5"] * expected["r10"]) ** (1 / 3)
    assert value(result, way, metric) == pytest.approx(expected[metric], rel=1e-13)


# Audio to text with several captions a clip


def captions_of_clips(places, captions):
    """Scores [captions, clips]: the captions of clip i, (0 to n - 1) + n i, have its ``places`` among ``captions``."""
    scores = np.empty((captions, len(places)))
    for clip, ranks in enumerate(places):
        own = list(range(clip * len(ranks), (clip + 1) * len(ranks)))
        order = [caption for caption in range(captions) if caption not in own]
        for rank, caption in sorted(zip(ranks, own, strict=True)):
            order.insert(rank - 1, caption)
        scores[order, clip] = -np.arange(captions)
    return scores


PLACES = [[1, 2, 3, 4, 5], [3, 1, 11, 12, 16], [7, 60, 6, 59, 58], *[[56, 57, 58, 59, 60]] * 9]
SEVERAL = {
    "r1": 2 / 12,
    "r5": 2 / 12,
    "r10": 3 / 12,
    "r50": 3 / 12,
    "medr": 56,
    "meanr": (1 + 1 + 6 + 9 * 56) / 12,
    "gmean": (2 / 12 * 2 / 12 * 3 / 12) ** (1 / 3),
    "map10": (1 + (1 + 2 / 3) / 5 + (1 / 6 + 2 / 7) / 5) / 12,
    "map16": (1 + (1 + 2 / 3 + 3 / 11 + 4 / 12 + 5 / 16) / 5 + (1 / 6 + 2 / 7) / 5) / 12,
}


def evaluated_captions(scores, copies=1):
    clips = [f"clip {number}" for number in range(12 * copies)]
    owners = np.repeat(clips, 5).tolist()
    return retrieval.evaluate(scores, owners, clips, relevant={row: [clip] for row, clip in enumerate(owners)})


@pytest.mark.parametrize("metric", NAMES)
def test_five_captions_a_clip(metric):
    result = evaluated_captions(captions_of_clips(PLACES, 60))
    assert value(result, "a2t", metric) == pytest.approx(SEVERAL[metric], rel=1e-14)


def twice(places, cut):
    """The expected average precision when each rank r becomes 2 r - 1 or 2 r."""
    chances = [(number, 2 * rank - half) for number, rank in enumerate(sorted(places), 1) for half in (0, 1)]
    return sum(number / rank for number, rank in chances if rank <= cut) / 2 / 5


SEVERAL_TWICE = {
    "r1": 2 / 2 / 12,
    "r5": 2 / 12,
    "r10": 2 / 12,
    "r50": 3 / 12,
    "medr": 111.5,
    "meanr": 2 * SEVERAL["meanr"] - 0.5,
    "gmean": (1 / 12 * 2 / 12 * 2 / 12) ** (1 / 3),
    "map10": sum(twice(places, 10) for places in PLACES) / 12,
    "map16": sum(twice(places, 16) for places in PLACES) / 12,
}


@pytest.mark.parametrize("metric", NAMES)
def test_five_captions_a_clip_twice_over(metric):
    result = evaluated_captions(np.tile(captions_of_clips(PLACES, 60), (2, 2)), copies=2)
    assert value(result, "a2t", metric) == pytest.approx(SEVERAL_TWICE[metric], rel=1e-14)


def test_perfect_scores_of_five_captions_and_scores_that_tell_nothing():
    perfect = evaluated_captions(captions_of_clips([[1, 2, 3, 4, 5]] * 12, 60))
    assert [value(perfect, "a2t", metric) for metric in NAMES] == pytest.approx([1] * len(NAMES))
    nothing = evaluated_captions(np.zeros((60, 12)))
    # The best of five among 60 in random order; a place has one of them with 5 / 60, and then 4 / 59 of those above it.
    assert [value(nothing, "a2t", metric) for metric in ("meanr", "medr")] == pytest.approx([61 / 6] * 2)
    for cut in retrieval.CUTS:
        assert value(nothing, "a2t", f"r{cut}") == pytest.approx(1 - comb(55, cut) / comb(60, cut))
    for cut in (10, 16):
        expected = sum(5 / 60 * (1 + (place - 1) * 4 / 59) / place for place in range(1, cut + 1)) / 5
        assert value(nothing, "a2t", f"map{cut}") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("above", "level", "expected"),
    [
        ([0, 1, 2, 3, 4], 1, {1: 0.2, 5: 1, 10: 1}),  # perfect
        ([0, 2, 10, 11, 15], 1, {1: 0.2, 5: 0.4, 10: 0.4, 16: 1}),
        ([0, 2, 4, 6, 8], 2, {1: 0.1, 5: 0.5, 10: 1}),  # perfect, the corpus twice over
        ([0] * 5, 60, {1: 1 / 60, 10: 1 / 6, 50: 5 / 6}),  # scores that tell nothing
    ],
)
def test_set_recall(above, level, expected):
    for copies in (1, 2):
        given = retrieval.Ranks(above * copies, [5] * copies, level)
        assert {cut: retrieval.set_recall(given, cut)[0] for cut in expected} == pytest.approx(expected)


# Lists of the best clips


def top_lists(ranks, depth=16):
    return [[CLIPS[item] for item in np.argsort(-line)[:depth]] for line in scores_of(ranks)]


def evaluated_top(lists, owners=CLIPS, clips=CLIPS):
    return retrieval.evaluate_top(lists, owners, clips=clips, relevant={row: [clip] for row, clip in enumerate(owners)})


@pytest.mark.parametrize("metric", ["r1", "r5", "r10", "gmean", "map10", "map16"])
def test_top_lists(metric):
    order = np.random.default_rng(0).permutation(60)
    lists = top_lists(RANKS)
    known = {
        "as it is": (evaluated_top(lists), VALUES[metric]),
        "permuted": (
            evaluated_top([lists[number] for number in order], [CLIPS[number] for number in order]),
            VALUES[metric],
        ),
        "perfect": (evaluated_top(top_lists([1] * 60)), 1),
        # Copies of queries that rank the same clips.
        "queries twice": (evaluated_top(lists * 2, CLIPS * 2), VALUES[metric]),
        "no hit": (evaluated_top(top_lists([17] * 60)), 0),
    }
    for case, (result, expected) in known.items():
        assert value(result, "t2a", metric) == pytest.approx(expected, rel=1e-14), case


def test_empty_lists_are_no_zeros():
    with pytest.raises(EarwitnessError, match="caption 'a' has 0"):
        retrieval.evaluate_top([[], []], ["x", "y"], captions=["a", "b"])
