"""R1 and mAP of moments: against a plain loop, what is refused and told, and the baselines on CASTELLA."""

import json

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import baselines, bootstrap, moments
from tests.places import shared


def plain_ap(predictions, references):
    """Average precision at each threshold by one loop over predictions and windows, as the page has it."""
    found = []
    for threshold in moments.THRESHOLDS:
        taken, right = set(), []
        for window in predictions[:10]:
            shares = moments.iou([window[:2]] * len(references), references)
            order = sorted(range(len(references)), key=lambda n: (-shares[n], -n))
            best = next((n for n in order if n not in taken and shares[n] >= threshold), None)
            right.append(best is not None)
            taken |= {best} - {None}
        hits = np.cumsum(right)
        precision = hits / np.arange(1, len(hits) + 1)
        highest = np.maximum.accumulate(precision[::-1])[::-1] if right else precision
        found.append(np.sum(np.array(right) * highest) / len(references))
    return found


def drawn(seed, queries=40):
    """Predictions with scores, some of which are equal, and references that may overlap."""
    generator = np.random.default_rng(seed)
    references, predictions = {}, {}
    for query in range(queries):
        starts = generator.integers(0, 60, generator.integers(1, 14))
        references[query] = [
            (int(s), int(e)) for s, e in zip(starts, starts + generator.integers(1, 45, len(starts)), strict=True)
        ]
        near = [references[query][n] for n in generator.integers(0, len(starts), generator.integers(0, 14))]
        windows = [(s + round(generator.normal(), 1) / 2, e + abs(round(generator.normal(), 1)) + 1) for s, e in near]
        predictions[query] = [(s, max(s + 0.1, e), float(generator.integers(0, 5))) for s, e in windows]
    return predictions, references


@pytest.mark.parametrize("seed", range(3))
def test_all_queries_at_once_are_as_one_by_one(seed):
    predictions, references = drawn(seed)
    full = moments.evaluate(predictions, references).ranges["full"]
    ordered = {query: sorted(windows, key=lambda w: -w[2]) for query, windows in predictions.items()}
    expected = [plain_ap(ordered[query], references[query]) for query in references]
    assert full.ap == pytest.approx(np.array(expected), abs=1e-12)
    assert full.ap[3] == pytest.approx(moments.average_precision([w[:2] for w in ordered[3]], references[3]), abs=1e-12)
    first = [max([0.0, *moments.iou([w[:2] for w in ordered[q][:1]] * len(r), r)]) if ordered[q] else 0
             for q, r in references.items()]  # fmt: skip
    assert full.iou == pytest.approx(np.array(first), abs=1e-12)


def test_one_query_with_and_without_scores():
    windows = [(0, 10, 0.8), (20, 30, 0.9)]
    for given in (windows, np.array(windows), [(20, 30), (0, 10)]):
        assert moments.average_precision(given, [(20, 30)]).tolist() == [1.0] * 10
    assert moments.average_precision([(0, 10, 0.9), (20, 30, 0.8)], [(20, 30)]).tolist() == [0.5] * 10
    assert not moments.average_precision([], [(20, 30)]).any() and not moments.average_precision(windows, []).any()
    for found, true in (([(0, 1, 2, 3)], [(0, 1)]), ([(0, 1)], [(0, 1, 2)]), ([0, 1], [(0, 1)])):
        with pytest.raises(EarwitnessError, match="window 1"):
            moments.average_precision(found, true)


def test_scores_in_any_order_give_the_same_by_default():
    predictions, references = drawn(5)
    distinct = {q: [(s, e, n) for n, (s, e, _) in enumerate(windows)] for q, windows in predictions.items()}
    mixed = {q: windows[::2] + windows[1::2] for q, windows in distinct.items()}
    first, second = (moments.evaluate(given, references) for given in (distinct, mixed))
    assert first.metrics == second.metrics
    without = {q: [w[:2] for w in windows[::-1]] for q, windows in distinct.items()}
    assert moments.evaluate(without, references).metrics == first.metrics


def test_lists_arrays_and_mappings():
    expected = moments.evaluate({"a": [(0, 9, 1)], "b": [(5, 9, 1)]}, {"a": [(0, 10)], "b": [(0, 5)]}).metrics
    assert moments.evaluate([[(0, 9, 1)], [(5, 9, 1)]], [[(0, 10)], [(0, 5)]]).metrics == expected
    arrays = [np.array([[0, 9, 1]]), np.array([[5, 9, 1.0]])]
    assert moments.evaluate(arrays, [np.array([[0, 10]]), [[0, 5]]]).metrics == expected
    with pytest.raises(EarwitnessError):
        moments.evaluate({"a": [(0, 9)]}, [[(0, 10)]])


def test_metrics_by_name_and_set():
    given = {"a": [(0, 9)]}, {"a": [(0, 10)]}
    assert list(moments.evaluate(*given, metrics="short").metrics) == moments.SETS["short"]
    assert list(moments.evaluate(*given, metrics=["map_avg", "r1_50"]).metrics) == ["r1_50", "map_avg"]
    with pytest.raises(EarwitnessError, match="r1_5'"):
        moments.evaluate(*given, metrics="r1_5")
    long = moments.evaluate(*given).metrics["r1_50_long"]
    assert long["value"] is None and "150" in long["reason"]


@pytest.mark.parametrize(
    ("predictions", "references", "said"),
    [
        ({"a": []}, {"b": [(0, 1)]}, ["'a'", "'b'"]),
        ({}, {}, ["no query"]),
        ({"a": [(0, 1)]}, {"a": []}, ["1500"]),
        ({"a": [(3, 3)]}, {"a": [(0, 1)]}, ["predicted window 1 of query 'a'", "3 to 3"]),
        ({"a": [(0, 1), (3, 2)]}, {"a": [(5, 1)]}, ["predicted window 2", "3 to 2", "reference window 1", "5 to 1"]),
        ({"a": [(0, 1, 0.5), (0, 1)]}, {"a": [(0, 1)]}, ["window 1", "window 2", "score"]),
        ({"a": [(0, float("nan"))], "b": [(0, "x")]}, {"a": [(0, 1)], "b": [(0, 1)]}, ["'a'", "nan", "'b'", "'x'"]),
        ({"a": [(0,)]}, {"a": [(0, 1, 2)]}, ["predicted window 1", "1 value", "reference window 1", "3 values"]),
        ({"a": [(0, 10**400)], "b": [{0: 1, 2: 3}]}, {"a": [(0, 1)], "b": [(0, 1)]}, ["'a'", "end", "'b'"]),
        ({"a": "0 1"}, {"a": [(0, 1)]}, ["'a'", "'0 1'"]),
        ({"a": [5, 6]}, {"a": [(0, 1)]}, ["window 1", "5 (int)", "window 2"]),
    ],
)
def test_what_cannot_be_scored_is_named_all_at_once(predictions, references, said):
    with pytest.raises(EarwitnessError) as error:
        moments.evaluate(predictions, references)
    assert [word for word in said if word not in str(error.value)] == []
    with pytest.raises(EarwitnessError):
        moments.evaluate({"a": [(0, 1)]}, {"a": [(0, 1)]}, protocol="lighthous")


def test_intervals_draw_recordings_with_all_their_queries():
    predictions, references = drawn(2)
    clips = {query: query // 4 for query in references}
    result = moments.evaluate(predictions, references, clips=clips)
    assert result.ids == list(range(10)) and len(result.by_clip["map_avg"]) == 10
    for name, statistic in result.statistics.items():
        assert statistic.values(np.ones((1, 10)))[0] == pytest.approx(result.metrics[name]["value"], abs=1e-12)
        assert np.nanmean(result.items[name]) == pytest.approx(result.metrics[name]["value"], abs=1e-12)
    low, high = bootstrap.summarise([result])["r1_50"]["ci95"]
    assert low < result.metrics["r1_50"]["value"] < high


def test_notes_tell_the_other_protocol_where_it_differs_and_only_there():
    references = {"a": [(0, 10)], "b": [(0, 10)]}
    sound = {"a": [(0, 10, 0.9), (20, 30, 0.5)], "b": [(0, 10, 1)]}
    for protocol in moments.PROTOCOLS:
        assert moments.evaluate(sound, references, protocol=protocol).notes == []
    other = {**sound, "a": [(20, 30, 0.5), (0, 10, 0.9)]}
    for protocol, ours, theirs in (("default", "1.0000", "0.5000"), ("lighthouse", "0.5000", "1.0000")):
        (note,) = moments.evaluate(other, references, protocol=protocol).notes
        assert f"r1_50 {theirs} (not {ours})" in note and "map" not in note
    harmless = {**sound, "a": [(20, 30, 0.5), (40, 50, 0.9)]}
    assert moments.evaluate(harmless, references).notes == []
    (note,) = moments.evaluate({**sound, "a": []}, references).notes
    assert "map_avg 1.0000 (not 0.5000)" in note and "r1" not in note
    (note,) = moments.evaluate({**sound, "a": [(30, 20, 0.5)]}, references, protocol="lighthouse").notes
    assert "1 prediction" in note


@pytest.mark.parametrize("protocol", moments.PROTOCOLS)
def test_notes_have_the_figures_of_the_other_protocol(protocol):
    predictions, references = drawn(3)
    predictions = {query: windows for query, windows in predictions.items() if windows}
    predictions |= {query: sorted(predictions[query], key=lambda w: -w[2]) for query in list(predictions)[::2]}
    references = {query: references[query] if query % 5 else [] for query in predictions}
    ours = moments.evaluate(predictions, references, protocol=protocol)
    (other,) = {*moments.PROTOCOLS} - {protocol}
    theirs = moments.evaluate(predictions, references, protocol=other)
    (note,) = [note for note in ours.notes if "falling score" in note]
    for name in ("r1_50", "r1_70", "map_50", "map_75", "map_avg"):
        one, two = (result.metrics[name]["value"] for result in (ours, theirs))
        assert (f"{name} {two:.4f} (not {one:.4f})" in note) == (one != two)
    assert "map_avg" in note and "r1_70" in note


def test_a_query_that_holds_nowhere_needs_no_prediction():
    for protocol in moments.PROTOCOLS:
        result = moments.evaluate({"a": [(0, 9)], "b": []}, {"a": [(0, 10)], "b": []}, protocol=protocol)
        assert result.metrics["map_75"]["value"] == 1 and result.counts["queries_without_moments"] == 1
        assert "queries_without_moments" not in moments.evaluate([[(0, 9)]], [[(0, 9)]], protocol=protocol).counts


@pytest.fixture(scope="module")
def castella():
    """The true windows and the seconds of the recording of each query of CASTELLA's test and validation table."""
    found = {}
    for split in ("val", "test"):
        path = shared("captions", "castella", "lighthouse", f"castella_{split}_release.jsonl")
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found[split] = tuple({e["qid"]: e[key] for e in entries} for key in ("relevant_windows", "duration"))
    return found


def rounded(predictions, references):
    found = moments.evaluate(predictions, references, metrics=["r1_50", "r1_70", "map_avg"]).metrics
    return [round(100 * entry["value"], 1) for entry in found.values()]


def test_the_baselines_on_castella(castella):
    """The figures of public evaluations of the same trivial predictors with lighthouse's evaluator."""
    true, seconds = castella["test"]
    assert rounded(baselines.whole_recording(seconds), true) == [4.3, 2.2, 1.7]
    assert rounded(true, true) == [100, 100, 98.8]
    clipped = {q: [[min(s, seconds[q]), min(e, seconds[q])] for s, e in windows] for q, windows in true.items()}
    found = moments.lighthouse(moments.evaluate(clipped, true, protocol="lighthouse"), digits=1)
    assert [found["R1"]["0.5"], found["R1"]["0.7"], found["mAP"]["average"]] == [99.9, 99.7, 98.1]
    random = [rounded(baselines.random_windows(seconds, seed), true) for seed in range(3)]
    assert np.mean(random, axis=0) == pytest.approx([3.6, 1.3, 1.8], abs=1.1)  # twice the binomial standard error
    assert rounded(baselines.ConstantWindow(0.0, 10.0).predictions(seconds), true)[:2] == [7.8, 3.6]


def test_the_best_constant_window_has_no_better_one(castella):
    true, seconds = castella["val"]
    window = baselines.constant_window(true, seconds)
    best = moments.evaluate(window.predictions(seconds), true).metrics["r1_50"]["value"]
    some = [baselines.ConstantWindow(start, start + n, end)
            for start in (0.0, 5.0, 18.0) for n in (5, 10, 30, 60) for end in (False, True)]  # fmt: skip
    for other in some:
        found = moments.evaluate(other.predictions(seconds), true, metrics="r1_50").metrics["r1_50"]["value"]
        assert found <= best
    assert baselines.constant_window({"a": [(45, 60)], "b": [(15, 30)]}, {"a": 60, "b": 30}).from_end
    with pytest.raises(EarwitnessError):
        baselines.constant_window({"a": []})


def test_the_same_seed_draws_the_same_windows():
    seconds = {"a": 10.0, "b": 100.0}
    assert baselines.random_windows(seconds, 1) == baselines.random_windows(seconds, 1)
    assert baselines.random_windows(seconds, 1) != baselines.random_windows(seconds, 2)
