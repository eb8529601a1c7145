"""Retrieval metrics: against sorting each query, on worked examples, at the edges, and what they refuse."""

import re
import subprocess
import sys
import tracemalloc
from itertools import permutations
from math import comb

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from earwitness.errors import EarwitnessError
from earwitness.metrics import retrieval
from tests.places import shared

WAYS = tuple(retrieval.DIRECTIONS)


def value(evaluation, name):
    return evaluation.metrics[name]["value"]


def random_case(seed=0, captions=60, clips=17, ties=True):
    """Scores, clip of each caption (some clips have none), clip names, and a table with one to four relevant clips."""
    generator = np.random.default_rng(seed)
    scores = generator.standard_normal((captions, clips)).astype(np.float32)
    names = [f"clip {number}" for number in range(clips)]
    owner = generator.integers(clips - 2, size=captions)
    table = {
        row: [names[n] for n in {int(owner[row]), *generator.integers(clips - 2, size=3).tolist()}]
        for row in range(captions)
    }
    return np.round(2 * scores) / 2 if ties else scores, [names[n] for n in owner], names, table


def by_sorting(scores, names, table):
    """For each direction the sorted averaged ranks of the relevant items of each query that has any."""
    relevant = np.array([[name in table[row] for name in names] for row in range(len(scores))])
    rows = [np.sort(rankdata(-line)[mask]) for line, mask in zip(scores, relevant, strict=True) if mask.any()]
    columns = [np.sort(rankdata(-line)[mask]) for line, mask in zip(scores.T, relevant.T, strict=True) if mask.any()]
    return {"t2a": rows, "a2t": columns}


def assert_ranks(evaluation, expected):
    for way in WAYS:
        np.testing.assert_array_equal(evaluation.ranks[way].values, np.concatenate(expected[way]))
        assert evaluation.ranks[way].sizes.tolist() == [len(ranks) for ranks in expected[way]]
        best = evaluation.ranks[way].best("benchmark")
        assert best.tolist() == [ranks[0] for ranks in expected[way]]
        assert (evaluation.items[f"{way}_meanr"] <= best + 1e-12).all()


@pytest.mark.parametrize("with_table", [False, True])
@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_ranks_are_those_of_sorting_each_query(monkeypatch, with_table, block):
    monkeypatch.setattr(retrieval, "BLOCK", block)
    monkeypatch.setattr(retrieval, "TILE", 5)
    scores, owners, names, table = random_case()
    own = {row: [clip] for row, clip in enumerate(owners)}
    result = retrieval.evaluate(scores, owners, names, relevant=table if with_table else None)
    assert_ranks(result, by_sorting(scores, names, table if with_table else own))
    assert result.pool == {"t2a": 17, "a2t": 60}
    assert len(result.queries["t2a"]) == len(result.clips["t2a"]) == 60
    assert {"clip 15", "clip 16"} <= set(result.skipped["a2t"])
    assert sorted(result.queries["a2t"] + result.skipped["a2t"]) == sorted(names)


def test_more_captions_than_a_byte_counts():
    scores = np.zeros((700, 3))
    scores[:699, 0] = np.arange(699, 0, -1)  # the last caption, of clip 0, is beaten by the other 699
    result = retrieval.evaluate(scores, [1] * 699 + [0], [0, 1, 2])
    assert result.items["a2t_meanr"].tolist() == [700, 701 / 700]  # of 700 that tie 699 are relevant


@pytest.mark.parametrize("kind", ["function", "h5py", "list", "float16", "float64", "int32", "bool"])
def test_scores_of_any_kind(monkeypatch, tmp_path, kind):
    monkeypatch.setattr(retrieval, "BLOCK", 100)
    scores, owners, names, _ = random_case()
    if kind in ("int32", "bool"):
        scores = (2 * scores).astype(kind)
    expected = by_sorting(scores.astype(float), names, {row: [clip] for row, clip in enumerate(owners)})
    with h5py.File(tmp_path / "scores.h5", "w") as file:
        given = {
            "function": lambda start, stop: scores[start:stop],
            "h5py": file.create_dataset("scores", data=scores),
            "list": scores.tolist(),
        }.get(kind, scores.astype(kind) if "float" in kind else scores)
        assert_ranks(retrieval.evaluate(given, owners, names), expected)


def test_whole_numbers_that_floats_cannot_tell_apart_are_refused():
    scores = np.array([[2**53 + 1, 2**53], [0, 1]])
    with pytest.raises(EarwitnessError, match=rf"captions 0 to 1 .*{2**53 + 1}"):
        retrieval.evaluate(scores, ["a", "b"], ["a", "b"])
    assert value(retrieval.evaluate(scores - 2, ["a", "b"], ["a", "b"]), "t2a_r1") == 1
    least = np.array([[0, -(2**63)], [0, 1]])
    with pytest.raises(EarwitnessError, match=f"{2**63}"):
        retrieval.evaluate(least, ["a", "b"], ["a", "b"])


def test_items_and_corpus_values_belong_together():
    scores, owners, names, table = random_case()
    result = retrieval.evaluate(scores, owners, names, relevant=table)
    assert set(result.items) == set(retrieval.MEANS)
    for name, items in result.items.items():
        assert value(result, name) == pytest.approx(items.mean())
        assert len(items) == len(result.queries[name[:3]])
    assert {name for name in result.metrics if name not in result.items} == {
        f"{way}_{name}" for way in WAYS for name in ("medr", "gmean")
    }
    assert value(result, "t2a_medr") == np.median(result.items["t2a_meanr"])


def test_average_precision_divides_by_the_relevant_and_not_by_those_found():
    ranks = retrieval.Ranks(np.array([1, 3, 11, 12, 13, 2, *range(1, 21)]) - 1, [5, 1, 20])
    for ties in retrieval.TIES:
        mean, items = retrieval.mean_average_precision(ranks, 10, ties)
        assert items == pytest.approx([(1 + 2 / 3) / 5, 1 / 2, 1])  # the last has 20
        assert mean == pytest.approx(items.mean())
        assert retrieval.mean_average_precision(ranks, 2, ties)[1] == pytest.approx([1 / 2, 1 / 2, 1])


def test_average_precision_by_the_number_of_all_relevant_items():
    ranks = retrieval.Ranks(np.array([1, 3, 11, 2, *range(1, 21)]) - 1, [3, 1, 20])
    for ties in retrieval.TIES:
        _, items = retrieval.mean_average_precision(ranks, 10, ties, "relevant")
        assert items == pytest.approx([(1 + 2 / 3) / 3, 1 / 2, 10 / 20])
    with pytest.raises(EarwitnessError, match=r"'found'.*'cut', 'relevant'"):
        retrieval.mean_average_precision(ranks, 10, divisor="found")


def test_a_note_says_what_the_other_divisor_of_average_precision_gives():
    clips = [f"{number}" for number in range(20)]
    table = {0: clips[:12], 1: clips[:2]}
    result = retrieval.evaluate(np.arange(40)[::-1].reshape(2, 20), ["0", "1"], clips, relevant=table)
    assert value(result, "t2a_map10") == value(result, "t2a_map16") == 1
    (note,) = [note for note in result.notes if "DCASE" in note]
    assert note.startswith("t2a_map10: 1 of 2 queries") and note.endswith(f"{(10 / 12 + 1) / 2:.4g}")
    top = retrieval.evaluate_top([clips[:10]] * 2, ["0", "1"], clips=clips, relevant=table)
    assert note in top.notes


def test_audio_to_text_is_text_to_audio_of_the_transposed():
    scores, owners, names, table = random_case()
    result = retrieval.evaluate(scores, owners, names, relevant=table)
    turned = {name: [row for row in table if name in table[row]] for name in names}
    other = retrieval.evaluate(
        scores.T, [0] * len(names), list(range(len(scores))), captions=names, relevant=turned, metrics="t2a"
    )
    for name in retrieval.SETS["t2a"]:
        assert value(other, name) == pytest.approx(value(result, name.replace("t2a", "a2t")), rel=1e-14)


@pytest.mark.parametrize("cut", [1, 5, 10, 16])
def test_average_precision_is_at_most_one_where_many_tie(cut):
    ranks = retrieval.Ranks([0] * 19, [19], 19)
    assert retrieval.mean_average_precision(ranks, cut)[0] == pytest.approx(1)
    mean, _ = retrieval.mean_average_precision(ranks, cut, "benchmark")
    assert mean == pytest.approx(sum(range(1, cut + 1)) / 10 / cut if cut >= 10 else 0)
    assert mean <= 1


def in_all_orders(line, relevant):
    """Means over all orders of a query's items that its scores allow: of the best rank, R@1 to R@5 and AP@2."""
    found = []
    for last in permutations(range(len(line))):
        order = sorted(range(len(line)), key=lambda item: (-line[item], last.index(item)))
        ranks = [order.index(item) + 1 for item in relevant]
        gains = [number / rank for number, rank in enumerate(sorted(ranks), 1) if rank <= 2]
        found.append([min(ranks), *(min(ranks) <= cut for cut in range(1, 6)), sum(gains) / min(len(ranks), 2)])
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    ("line", "relevant"),
    [
        ([1, 1, 0, 0, 0], [0, 1]),  # all that tie is relevant
        ([1, 1, 0, 0, 0], [1]),
        ([1, 1, 1, 1, 0], [0, 3]),
        ([2, 1, 1, 1, 0], [0, 1, 3]),  # two sets with relevant items
        ([2, 1, 1, 1, 0], [2, 4]),
        ([0, 0, 0, 0, 0], [0, 1, 2]),
        ([5, 4, 3, 2, 1], [1, 3]),
        ([np.inf, np.inf, 1, -np.inf, -np.inf], [1, 4]),
    ],
)
def test_ties_are_the_mean_over_all_orders(line, relevant):
    result = retrieval.evaluate([line], ["0"], list("01234"), relevant={0: [str(item) for item in relevant]})
    expected = in_all_orders(line, relevant)
    ranks = result.ranks["t2a"]
    assert retrieval.mean_rank(ranks)[0] == value(result, "t2a_meanr") == pytest.approx(expected[0])
    assert [retrieval.recall(ranks, cut)[0] for cut in range(1, 6)] == pytest.approx(expected[1:6])
    assert retrieval.mean_average_precision(ranks, 2)[0] == pytest.approx(expected[6])
    turned = retrieval.evaluate(
        np.array(line)[:, None], ["a"] * 5, ["a"], relevant={row: ["a"] if row in relevant else [] for row in range(5)}
    )
    for name in retrieval.SETS["t2a"]:
        assert value(turned, f"a2t{name[3:]}") == value(result, name)


def test_a_caption_twice_on_one_clip_loses_nothing():
    scores, owners = [[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.1, 0.7]], list("aabb")
    result = retrieval.evaluate(scores, owners, ["a", "b"])
    assert {name: value(result, name) for name in result.metrics} == dict.fromkeys(result.metrics, 1)
    (note,) = [note for note in result.notes if "'benchmark'" in note]
    assert "a2t_r1 0.5, not 1" in note and "map10" not in note and "t2a_r1" not in note
    published = retrieval.evaluate(scores, owners, ["a", "b"], ties="benchmark")
    assert value(published, "a2t_r1") == 0.5 and any("a2t_r1 1, not 0.5" in note for note in published.notes)
    assert not retrieval.evaluate([[1, 0], [0, 1]], ["a", "b"], ["a", "b"]).notes


def test_an_ideal_system_on_the_real_test_captions_of_audiocaps():
    table = pd.read_csv(shared("captions", "audiocaps_v1", "test.csv"))
    clips = list(dict.fromkeys(table["youtube_id"]))
    texts = sorted(set(table["caption"]))
    belongs = np.zeros((len(texts), len(clips)))
    belongs[[texts.index(text) for text in table["caption"]], [clips.index(clip) for clip in table["youtube_id"]]] = 1
    belongs *= 1 + np.random.default_rng(0).random((len(texts), 1))  # equal texts score alike, others do not
    scores = belongs[[texts.index(text) for text in table["caption"]]]
    once = retrieval.evaluate(scores, list(table["youtube_id"]), clips)
    published = retrieval.evaluate(scores, list(table["youtube_id"]), clips, ties="benchmark")
    # A text that two clips have leaves a chance of one half.
    assert (round(value(once, "a2t_r1"), 3), round(value(published, "a2t_r1"), 3)) == (0.978, 0.945)


@pytest.mark.parametrize("relevant", [None, {0: ["a", "b"], 1: ["a", "b"], 2: ["c"], 3: []}])
def test_boolean_scores_are_ties(relevant):
    scores = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    result = retrieval.evaluate(scores, ["a", "b", "c", "c"], list("abc"), relevant=relevant)
    expected = [1 / 2, 1, 1 / 2, 1 / 3] if relevant is None else [1, 1, 1 / 2]
    assert result.items["t2a_r1"] == pytest.approx(expected)


def test_set_recall_and_recall_by_both_rules():
    ranks = retrieval.Ranks([0, 2, 5, 6, 7, 1], [5, 1], [1, 1, 1, 1, 1, 2])
    assert retrieval.set_recall(ranks, 5)[1].tolist() == [2 / 5, 1]
    ranks = retrieval.Ranks([0, 0, 3, 4, 4, 5], [1] * 6, [1, 2, 3, 1, 2, 1])
    assert ranks.values.tolist() == [1, 1.5, 5, 5, 5.5, 6]
    assert retrieval.recall(ranks, 5)[1] == pytest.approx([1, 1, 2 / 3, 1, 1 / 2, 0])
    assert retrieval.recall(ranks, 5, "benchmark")[1].tolist() == [1, 1, 1, 1, 1, 0]
    assert retrieval.recall(ranks, 1)[1].tolist() == [1, 0.5, 0, 0, 0, 0]
    assert retrieval.recall(ranks, 1, "benchmark")[1].tolist() == [1, 0, 0, 0, 0, 0]


def test_perfect_scores():
    scores = np.repeat(np.eye(60), 2, axis=0)
    owners = np.repeat(range(60), 2)
    result = retrieval.evaluate(scores * np.linspace(1, 2, 120)[:, None], owners, range(60))
    assert {name: value(result, name) for name in result.metrics} == dict.fromkeys(result.metrics, pytest.approx(1))
    # Where a clip's two captions score alike they share the mean of the first two ranks by the benchmark's rule.
    result = retrieval.evaluate(scores, owners, range(60), ties="benchmark")
    assert (value(result, "a2t_meanr"), value(result, "a2t_r1"), value(result, "a2t_r5")) == (1.5, 0, 1)
    assert re.match("audio to text: .*60 of 60 .*ties", result.notes[0])
    result = retrieval.evaluate(scores, owners, range(60))
    assert {name: value(result, name) for name in result.metrics} == dict.fromkeys(result.metrics, pytest.approx(1))


@pytest.mark.parametrize("clips", [1, 2, 9])
def test_constant_scores_give_the_ranks_of_chance(clips):
    result = retrieval.evaluate(np.zeros((3 * clips, clips)), np.repeat(range(clips), 3), range(clips))
    assert value(result, "t2a_meanr") == value(result, "t2a_medr") == (clips + 1) / 2
    assert value(result, "a2t_meanr") == (3 * clips + 1) / 4  # the first of three
    assert value(result, "t2a_r1") == pytest.approx(1 / clips)
    noted = [f"audio to text: {clips} of {clips} queries score all {3 * clips} items alike"]
    noted += [f"text to audio: {3 * clips} of {3 * clips} queries score all"] if clips > 1 else []
    assert all(any(note.startswith(start) for note in result.notes) for start in noted)


def test_one_clip_and_small_pools_are_marked():
    result = retrieval.evaluate([[0.3], [0.7]], ["a", "a"], ["a"])
    assert [value(result, f"t2a_{name}") for name in ("r1", "r50", "medr", "meanr", "gmean", "map10")] == [1] * 6
    assert result.metrics["t2a_r1"]["note"] == "1 for any scores: only 1 items are ranked"
    assert "note" not in result.metrics["a2t_r1"]
    assert "note" in result.metrics["a2t_r5"]
    assert result.notes == []


@pytest.mark.parametrize("ties", retrieval.TIES)
def test_the_order_of_clips_and_captions_does_not_matter(ties):
    scores, owners, names, table = random_case()
    rows, columns = np.random.default_rng(1).permutation(60), np.random.default_rng(2).permutation(17)
    moved = retrieval.evaluate(
        scores[rows][:, columns],
        [owners[row] for row in rows],
        [names[column] for column in columns],
        captions=rows,
        relevant=table,
        ties=ties,
    )
    result = retrieval.evaluate(scores, owners, names, relevant=table, ties=ties)
    for name in result.metrics:
        assert value(moved, name) == pytest.approx(value(result, name), abs=1e-12)
    assert moved.queries["t2a"] == rows.tolist()
    np.testing.assert_array_equal(moved.items["t2a_map16"], result.items["t2a_map16"][rows])


def test_a_duplicated_corpus_scores_otherwise():
    scores, owners, names, _ = random_case(ties=False)
    once = retrieval.evaluate(scores, owners, names)
    twice = retrieval.evaluate(
        np.tile(scores, (2, 2)), [*owners, *(f"{o}'" for o in owners)], [*names, *(f"{n}'" for n in names)]
    )
    # Twice as many are above, and the copy of the relevant clip ties with it.
    assert twice.items["t2a_meanr"].tolist() == (2 * np.tile(once.items["t2a_meanr"], 2) - 0.5).tolist()
    assert twice.items["a2t_meanr"].tolist() == (2 * np.tile(once.items["a2t_meanr"], 2) - 0.5).tolist()


def test_a_table_of_relevant_clips():
    scores = [[3, 2, 1], [3, 2, 1], [1, 2, 3]]
    table = {"x": ["b", "c"], "y": ["a"], "z": []}
    result = retrieval.evaluate(scores, ["b", "a", "c"], ["a", "b", "c"], captions=["x", "y", "z"], relevant=table)
    assert result.items["t2a_meanr"].tolist() == [2, 1]  # x's best is b; z has none
    assert result.items["t2a_map16"] == pytest.approx([(1 / 2 + 2 / 3) / 2, 1])
    assert result.skipped == {"t2a": ["z"], "a2t": []}
    # a: x and y tie at 3, y is relevant; b: all three tie, x is; c: x ties with y behind z.
    assert result.items["a2t_meanr"].tolist() == [1.5, 2, 2.5]  # one relevant item each: the mean of what ties
    assert any(re.match("text to audio: 1 of 3 .*not scored", note) for note in result.notes)
    assert any(note.startswith("1 captions") for note in result.notes)
    alone = retrieval.evaluate(scores, ["b", "a", "c"], ["a", "b", "c"])
    assert "t2a_map16" not in alone.metrics


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("t2a_r5", ["t2a_r5"]),
        (["a2t_gmean", "t2a_medr"], ["t2a_medr", "a2t_gmean"]),
        ("map", ["t2a_map10", "t2a_map16", "a2t_map10", "a2t_map16"]),
        ("dcase", ["t2a_r1", "t2a_r5", "t2a_r10", "t2a_map10"]),
        (["t2a", "rank"], [*retrieval.SETS["t2a"], "a2t_medr", "a2t_meanr"]),
    ],
)
def test_only_what_is_asked_for_is_computed(asked, names):
    scores, owners, clips, table = random_case()
    whole = retrieval.evaluate(scores, owners, clips, relevant=table)
    read = []
    some = retrieval.evaluate(
        lambda start, stop: read.append(start) or scores[start:stop], owners, clips, relevant=table, metrics=asked
    )
    assert some.metrics == {name: whole.metrics[name] for name in names} and list(some.metrics) == names
    assert some.items.keys() == set(names) & set(retrieval.MEANS)
    assert some.statistics.keys() == set(names)
    assert len(read) == (2 if any(name.startswith("a2t") for name in names) else 1)
    if some.ids == whole.ids:
        weights = np.random.default_rng(0).integers(3, size=(4, len(whole.ids))).astype(float)
        for name in names:
            expected = whole.statistics[name].values(weights)
            np.testing.assert_array_equal(some.statistics[name].values(weights), expected)


def test_of_ranked_lists_only_what_is_asked_for():
    ranked = [["a", "b"], ["b", "a"]]
    some = retrieval.evaluate_top(ranked, ["a", "a"], metrics=["t2a_r1", "a2t_r1", "t2a_map16"])
    assert list(some.metrics) == ["t2a_r1", "t2a_map16", "a2t_r1"] and list(some.items) == ["t2a_r1"]
    assert some.metrics["t2a_map16"]["value"] is None
    for function, arguments in ((retrieval.evaluate_top, [ranked]), (retrieval.evaluate, [[[1], [2]]])):
        more = [["a"]] if function is retrieval.evaluate else []
        with pytest.raises(EarwitnessError, match=r"'r1': .*'\w+_r1'"):
            function(*arguments, ["a", "a"], *more, metrics=["r1", "recall"])


def test_no_relevant_item_at_all_is_null_with_its_reason():
    result = retrieval.evaluate([[1, 2]], ["a"], ["a", "b"], relevant={0: []})
    assert result.items == {}
    assert result.metrics["t2a_r1"] == {"value": None, "reason": "no query of text to audio has a relevant item"}
    assert {entry["value"] for entry in result.metrics.values()} == {None}


@pytest.mark.parametrize("with_table", [False, True])
def test_a_top_list_gives_what_the_scores_give(with_table):
    scores, owners, names, table = random_case(ties=False)
    relevant = table if with_table else None
    ranked = [[names[n] for n in np.argsort(-line)[:10]] for line in scores]
    full = retrieval.evaluate(scores, owners, names, relevant=relevant)
    for clips in (names, None):
        top = retrieval.evaluate_top(ranked, owners, clips=clips, relevant=relevant)
        assert set(top.metrics) == set(full.metrics)
        computed = {name for name, entry in top.metrics.items() if entry["value"] is not None}
        assert computed == {f"t2a_{name}" for name in ("r1", "r5", "r10", "gmean", "map10")}
        for name in computed:
            assert value(top, name) == value(full, name)
        for name, parts in (("t2a_r50", "50 best.* 10 "), ("t2a_medr", "all ranks.* 10 "), ("a2t_r1", " 10 ")):
            assert re.search(parts, top.metrics[name]["reason"])
        assert top.pool["t2a"] == (clips and 17)
    complete = [[names[n] for n in np.argsort(-line)] for line in scores]
    top = retrieval.evaluate_top(complete, owners, clips=names, relevant=relevant)
    assert {name: top.metrics[name] for name in retrieval.SETS["t2a"] if name in full.metrics} == {
        name: entry for name, entry in full.metrics.items() if name.startswith("t2a")
    }
    assert top.statistics["t2a_medr"].items.tolist() == full.statistics["t2a_medr"].items.tolist()
    unknown = retrieval.evaluate_top(complete, owners, relevant=relevant).metrics["t2a_medr"]
    assert unknown["value"] is None  # without the table of clips nobody knows that the lists are complete


def test_a_short_top_list_and_one_without_a_hit():
    result = retrieval.evaluate_top([["a", "b", "c"], ["a", "b", "c"]], ["b", "x"])
    assert result.items == {"t2a_r1": pytest.approx([0, 0])}
    assert result.metrics["t2a_r5"]["value"] is None
    assert value(retrieval.evaluate_top([["a"]], ["x"]), "t2a_r1") == 0


@pytest.mark.parametrize(
    ("arguments", "options", "messages"),
    [
        ((np.zeros((2, 3)), ["a", "b", "c"], ["a", "b"]), {}, [r"shape \(2, 3\); .* need \(3, 2\); transposed"]),
        ((np.zeros((3, 5)), ["a"], ["a", "b"]), {}, [r"the scores .*\(3, 5\)"]),
        (([[1], [1, 2]], ["a", "b"], ["a", "b"]), {}, ["not equally long"]),
        ((np.zeros((0, 0)), [], []), {}, ["0 captions and 0 clips"]),
        (
            (np.zeros((2, 2)), ["A.wav", "q"], ["x/a", "b"]),
            {},
            ["clip 'A.wav',.* 2 clips .*'x/a'.*folder", "caption 1 .*clip 'q'"],
        ),
        ((np.zeros((2, 2)), ["a", "b"], ["a", "a"]), {}, ["clip 'a' is there 2 times", "clip 'b', which is not"]),
        ((np.zeros((2, 1)), ["a", "a"], ["a"]), {"captions": ["x", "x"]}, ["caption 'x' is there 2 times.*same text"]),
        ((np.zeros((2, 1)), ["a", "a"], ["a"]), {"captions": ["x"]}, ["1 captions,.* 2$"]),
        (
            (np.zeros((2, 1)), ["a", "a"], ["a"]),
            {"relevant": {0: "a", 7: ["a", "a", "b"]}},
            [
                "one string, 'a'",
                "caption 7, which is not scored",
                "caption 1 .*not in the table",
                "'a' .*more than once .*caption 7",
                "caption 7 .*clip 'b'",
            ],
        ),
        (([["x"]], ["a"], ["a"]), {}, ["not real numbers"]),
        ((lambda start, stop: np.zeros((1, 1)), ["a", "a"], ["a"]), {}, [r"captions 0 to 1 .*\(1, 1\)"]),
        (([[1, np.nan], [1, 2]], ["a", "b"], ["a", "b"]), {}, ["caption 0 .*NaN .*1 of 2 clips$"]),
        (([[np.nan] * 2, [1, 2]], ["a", "b"], ["a", "b"]), {}, ["NaN .*2 of 2 clips; .*length 0"]),
        ((np.full((2, 2), np.nan), ["a", "b"], ["a", "b"]), {}, ["every score is NaN"]),
    ],
)
@pytest.mark.parametrize("function", [retrieval.validate, retrieval.evaluate])
def test_what_is_refused(function, arguments, options, messages):
    for message in messages:
        with pytest.raises(EarwitnessError, match=message):
            function(*arguments, **options)


def test_validate_lets_pass_what_can_be_scored():
    scores, owners, names, table = random_case()
    scores[0, :3] = np.inf, -np.inf, np.inf
    assert retrieval.validate(scores, owners, names, relevant=table) is None


def test_nan_is_named_in_whichever_block(monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", 4)
    scores = np.zeros((6, 2))
    scores[[1, 5], 0] = np.nan
    for function in (retrieval.validate, retrieval.evaluate):
        with pytest.raises(EarwitnessError, match=r"caption 1 has(.|\n)*caption 5 has"):
            function(scores, ["a"] * 6, ["a", "b"])


def test_an_unknown_rule_of_ties_and_a_function_that_changes_its_answers():
    with pytest.raises(EarwitnessError, match=r"ties is 'optimistic'.* 'expected', 'benchmark'"):
        retrieval.evaluate([[1]], ["a"], ["a"], ties="optimistic")
    generator = np.random.default_rng(0)
    with pytest.raises(EarwitnessError, match=r"captions 0 to 1 .*again"):
        retrieval.evaluate(lambda start, stop: generator.random((stop - start, 2)), ["a", "b"], ["a", "b"])


@pytest.mark.parametrize(
    ("ranked", "options", "messages"),
    [
        ([["a"]], {}, ["1 ranked list for 2 captions"]),
        ([["a", "b"], ["a"]], {}, ["caption 1 has 1 ranked clips, .* 2$"]),
        (["ab", ["a", "b"]], {}, ["caption 0 are one string"]),
        (
            [["a", ""], ["a", "a"]],
            {},
            ["rank 2 of caption 0 .*empty", "clip 'a' .*more than once .*caption 1"],
        ),
        ([["a", "c"], ["a", "b"]], {"clips": ["a", "b"]}, ["rank 2 of caption 0 .*'c'"]),
        ([["a", "b"], ["a", "b"]], {"clips": ["a"]}, ["rank 2 of caption 1 .*'b'"]),
        ([["a.wav"], ["b.wav"]], {}, ["'a' .*'a.wav'", "'b' .*'b.wav'"]),
        ([["a"], ["b"]], {"relevant": {0: ["a"]}}, ["caption 1 .*not in the table"]),
    ],
)
def test_top_lists_that_are_refused(ranked, options, messages):
    for message in messages:
        with pytest.raises(EarwitnessError, match=message):
            retrieval.evaluate_top(ranked, ["a", "b"], **options)


def test_memory_is_bounded():
    captions, clips = 20_000, 2_000  # 160 MB of scores

    def scores(start, stop):
        return np.outer(np.arange(start, stop, dtype=np.float32), np.ones(clips, dtype=np.float32))

    owners = np.arange(captions) % clips
    tracemalloc.start()
    try:
        result = retrieval.evaluate(scores, owners, range(clips))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80e6
    # All clips score alike for a caption; of a clip's captions the last one is the highest.
    assert value(result, "t2a_meanr") == (clips + 1) / 2
    assert value(result, "a2t_meanr") == pytest.approx((clips + 1) / 2)


def test_importing_loads_numpy_only():
    code = "import sys, earwitness.metrics.retrieval; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "scipy", "h5py", "pydantic", "librosa"} & set(done.stdout.split())


def test_resamples_go_by_the_rule_of_ties():
    scores, owners = [[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.1, 0.7]], list("aabb")
    for ties, expected in (("expected", 1.0), ("benchmark", 1.25)):
        result = retrieval.evaluate(scores, owners, ["a", "b"], ties=ties)
        assert value(result, "a2t_medr") == expected
        for name, statistic in result.statistics.items():
            assert statistic.values(np.ones((1, 2)))[0] == pytest.approx(value(result, name)), name


def test_tensors_of_any_kind_and_masks():
    import torch

    for scores in (torch.eye(2, requires_grad=True), torch.eye(2).bfloat16(), torch.eye(2, dtype=torch.int8)):
        assert value(retrieval.evaluate(scores, ["a", "b"], ["a", "b"]), "t2a_r1") == 1
    with pytest.raises(EarwitnessError, match="masked"):
        retrieval.evaluate(np.ma.array(np.eye(2), mask=[[1, 0], [0, 0]]), ["a", "b"], ["a", "b"])


def test_a_shuffled_table_without_names_keeps_its_rows():
    table = pd.DataFrame([[0.9, 0.1, 0], [0.1, 0.9, 0], [0, 0.1, 0.9]], columns=list("abc")).iloc[[2, 0, 1]]
    assert value(retrieval.evaluate(table, list("cab"), list("abc")), "t2a_r1") == 1
    named = retrieval.evaluate(table[["c", "a", "b"]], list("abc"), list("abc"), captions=[0, 1, 2])
    assert value(named, "t2a_r1") == 1


# Among few candidates


def several(seed=0, clips=45, captions=3):
    """Scores that find a clip now and then; the last clip has no caption."""
    generator = np.random.default_rng(seed)
    owners = [f"clip {n // captions}" for n in range(captions * (clips - 1))]
    scores = generator.standard_normal((len(owners), clips))
    scores[np.arange(len(owners)), np.arange(len(owners)) // captions] += 1.5
    return scores, owners, [f"clip {n}" for n in range(clips)]


def test_recall_among_few_candidates_is_what_draws_give_on_average():
    scores, owners, clips = several()
    found = retrieval.sampled(scores, owners, clips, candidates=10, repetitions=300)
    assert {name: values.shape for name, values in found.items()} == {
        f"{way}_r{cut}_sampled10": (300, 44) for way in WAYS for cut in (1, 5)
    }
    own = scores[np.arange(len(owners)), np.arange(len(owners)) // 3]
    above = (scores[:, :44] > own[:, None]).sum(axis=1)  # of 43 other clips with a caption, 9 are drawn
    first = [comb(43 - int(number), 9) / comb(43, 9) for number in above]
    by_clip = np.reshape(first, (44, 3)).mean(axis=1)  # each caption as often as the others
    assert found["t2a_r1_sampled10"].mean(axis=0) == pytest.approx(by_clip, abs=0.13)
    assert found["t2a_r1_sampled10"].mean() == pytest.approx(np.mean(first), abs=0.01)
    # A clip's captions against the captions of others: each of these below it with the share of its captions that are.
    share = [
        np.mean(
            [np.mean(scores[n, clip] < scores[own_rows, clip][:, None]) for n in range(len(owners)) if n // 3 != clip]
        )
        for clip, own_rows in ((c, slice(3 * c, 3 * c + 3)) for c in range(44))
    ]
    assert np.corrcoef(found["a2t_r1_sampled10"].mean(axis=0), share)[0, 1] > 0.8


def test_recall_among_few_candidates_in_plain_cases(tmp_path, monkeypatch):
    scores, owners, clips = several()
    perfect = np.array([[float(owner == clip) for clip in clips] for owner in owners])
    assert all((values == 1).all() for values in retrieval.sampled(perfect, owners, clips).values())
    alike = retrieval.sampled(np.zeros_like(scores), owners, clips)
    for name, values in alike.items():
        assert values == pytest.approx(np.full(values.shape, int(name[5]) / 30))
    whole = retrieval.sampled(scores, owners, clips)
    with h5py.File(tmp_path / "similarity.h5", "w") as file:
        file["similarity"] = scores
        monkeypatch.setattr(retrieval, "BLOCK", 200)
        again = retrieval.sampled(file["similarity"], owners, clips)
    assert all((again[name] == whole[name]).all() for name in whole)
    other = retrieval.sampled(scores, owners, clips, seed=1)
    assert any((other[name] != whole[name]).any() for name in whole)


def test_few_candidates_need_more_clips_and_no_nan():
    scores, owners, clips = several(clips=31)
    with pytest.raises(EarwitnessError, match="30 clips with a caption"):
        retrieval.sampled(scores, owners, clips)
    scores, owners, clips = several()
    scores[4, 2] = np.nan
    with pytest.raises(EarwitnessError, match="caption 4"):
        retrieval.sampled(scores, owners, clips)
