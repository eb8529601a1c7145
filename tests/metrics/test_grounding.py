"""Grounding metrics: worked examples, what each metric gives in the plain cases, each option, and what is refused."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import grounding
from earwitness.metrics.grounding import Options, evaluate

HOP = 0.5
FRAMES = 40
RATES = [f"{kind}_{name}" for kind in ("frame", "segment", "event") for name in ("precision", "recall", "f1")]
AREAS = ["th_auc", "th_auc_02_08"]
PSDS = ["psds", "psds_400"] if find_spec("sed_scores_eval") else []
SCALED = [*RATES, *AREAS, *PSDS, "miou"]  # 1 is perfect


def values(result):
    return {name: metric["value"] for name, metric in result.metrics.items()}


def random_references(seed=0, pairs=9, silent=True):
    """Events on the grid of frames with at least a second between them, by pair."""
    generator = np.random.default_rng(seed)
    references = {}
    for number in range(pairs):
        places = np.sort(
            generator.choice(np.arange(1, FRAMES, 3), 2 * generator.integers(0 if silent else 1, 4), False)
        )
        references[f"pair {number}"] = [tuple(times) for times in (places * HOP).reshape(-1, 2).tolist()]
    return references


def labels(events, frames=FRAMES, hop=HOP):
    times = (np.arange(frames) + 0.5) * hop
    return np.any([(a < times) & (times < b) for a, b in events], axis=0) if len(events) else np.zeros(frames, bool)


def random_case(seed=0, pairs=9, silent=True):
    """Noisy curves that follow the references, three pairs a clip."""
    references = random_references(seed, pairs, silent)
    generator = np.random.default_rng(seed + 100)
    curves = {
        pair: np.round(0.45 * labels(events) + 0.6 * generator.uniform(size=FRAMES), 2)
        for pair, events in references.items()
    }
    return curves, references, {pair: f"clip {number // 3}" for number, pair in enumerate(references)}


def one(curve, events, hop=HOP, durations=None, **options):
    """The evaluation of one pair."""
    durations = None if durations is None else {"a": durations}
    return evaluate({"a": curve}, {"a": events}, hop=hop, durations=durations, options=Options(**options))


def without_psds(monkeypatch):
    """Leave out the slow import in tests that need no PSDS."""
    monkeypatch.setitem(sys.modules, "sed_scores_eval", None)


# The plain cases of every metric


@pytest.mark.parametrize("durations", [None, 20])
def test_a_perfect_system(durations):
    references = random_references(silent=False)
    curves = {pair: labels(events).astype(float) for pair, events in references.items()}
    durations = None if durations is None else dict.fromkeys(references, durations)
    result = evaluate(curves, references, hop=HOP, durations=durations)
    expected = dict.fromkeys(SCALED, 1) | {"segment_er": 0, "event_er": 0, "frame_f1_all_silent": 0}
    actual = values(result)
    assert {name: actual[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert result.by_clip["miou"] == pytest.approx(np.ones(9))


def test_perfect_curves_with_the_published_normalisation():
    result = one(labels([(1, 4)]).astype(float), [(1, 4)], compat=True)
    assert result.metrics["th_auc"]["value"] == pytest.approx(0.98)
    assert result.metrics["th_auc_02_08"]["value"] == pytest.approx(0.58 / 0.6)


def test_an_empty_output():
    references = random_references(silent=False)
    result = evaluate(dict.fromkeys(references, np.zeros(FRAMES)), references, hop=HOP)
    actual = values(result)
    expected = dict.fromkeys([*RATES, *AREAS, "miou"], 0) | {"segment_er": 1, "event_er": 1}
    assert {name: actual[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert result.counts["detections"] == 0 and result.counts["constant_pairs"] == 9


def test_an_output_of_no_events():
    references = random_references(silent=False)
    actual = values(evaluate(None, references, hop=None, events={pair: [] for pair in references}))
    assert {actual[f"{kind}_{name}"] for kind in ("segment", "event") for name in ("precision", "recall", "f1")} == {0}
    assert (actual["segment_er"], actual["event_er"], actual["miou"]) == (pytest.approx(1), pytest.approx(1), 0)


def test_an_output_that_is_always_active():
    references = {"a": [(0, 3)], "b": [(2.2, 4), (6, 10)], "silent": []}
    result = evaluate(dict.fromkeys(references, np.ones(20)), references, hop=HOP, options=Options(minmax=False))
    actual = values(result)
    assert (actual["segment_recall"], actual["segment_precision"]) == (1, 9 / 20)
    share = (6 + 3 + 8) / 60  # of frames in the reference: the one in which an event starts is not
    assert (actual["frame_recall"], actual["frame_precision"]) == (1, pytest.approx(share))
    assert actual["frame_f1"] == actual["frame_f1_all_active"] == pytest.approx(2 * share / (1 + share))
    assert result.baselines == {
        "all_active": {"precision": pytest.approx(share), "recall": 1, "f1": pytest.approx(2 * share / (1 + share))},
        "all_silent": {"precision": 0, "recall": 0, "f1": 0},
    }
    assert actual["miou"] == pytest.approx((0.3 + 0.58) / 2)


def test_the_order_of_pairs_does_not_matter():
    curves, references, clips = random_case()
    expected = evaluate(curves, references, hop=HOP, clips=clips)
    turned = dict(reversed(references.items()))
    actual = evaluate(curves, turned, hop=HOP, clips=clips)
    assert values(actual) == pytest.approx(values(expected), abs=1e-12)
    assert (expected.ids, actual.ids) == (["clip 0", "clip 1", "clip 2"], ["clip 2", "clip 1", "clip 0"])
    assert actual.by_clip["miou"] == pytest.approx(expected.by_clip["miou"][::-1])


def test_a_duplicated_corpus_has_the_same_values():
    """So has PSDS, whose false detections are a rate."""
    curves, references, _ = random_case(2)
    twice = [{f"{pair} {copy}": given[pair] for pair in given for copy in "ab"} for given in (curves, references)]
    once = values(evaluate(curves, references, hop=HOP))
    assert values(evaluate(*twice, hop=HOP)) == pytest.approx(once, abs=1e-12)
    assert all(0 < once[name] < 1 for name in SCALED)


@pytest.mark.parametrize("silent", ["drop", "keep"])
def test_statistics_give_the_values_of_resampled_clips(silent):
    curves, references, clips = random_case(2, pairs=12)
    options = Options(silent=silent)
    whole = evaluate(curves, references, hop=HOP, clips=clips, options=options)
    assert whole.statistics.keys() == whole.metrics.keys()
    for weights in np.random.default_rng(0).multinomial(4, [0.25] * 4, size=6):
        drawn = [(pair, n) for pair in references for n in range(weights[whole.ids.index(clips[pair])])]
        given = [{key: table[key[0]] for key in drawn} for table in (curves, references)]
        again = evaluate(*given, hop=HOP, clips={key: (clips[key[0]], key[1]) for key in drawn}, options=options)
        for name, value in values(again).items():
            assert whole.statistics[name].values(weights[None].astype(float))[0] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("silent", ["drop", "keep"])
def test_pooled_counts_give_sed_evals_own_values(monkeypatch, silent):
    without_psds(monkeypatch)
    generator = np.random.default_rng(5)
    references, events = ({}, {})
    for number in range(20):
        spans = [np.sort(generator.uniform(0, 10, size=(n, 2)), axis=1) for n in generator.integers(0, 5, size=2)]
        near = np.clip(spans[0] + generator.uniform(-0.3, 0.3, size=spans[0].shape), 0, 10)
        references[number], events[number] = spans[0].tolist(), [*spans[1].tolist(), *np.sort(near, axis=1).tolist()]
    result = evaluate(
        None,
        references,
        hop=None,
        events=events,
        durations=dict.fromkeys(references, 10),
        options=Options(silent=silent),
    )
    kept = [pair for pair in references if references[pair] or silent == "keep"]
    assert len(kept) < 20 or silent == "keep"
    lists = [
        [{"filename": str(p), "onset": a, "offset": b, "event_label": "x"} for p in kept for a, b in given[p]]
        for given in (references, events)
    ]
    for kind, function, more in (
        ("segment", grounding.segment_based, {"durations": {str(pair): 10 for pair in kept}}),
        ("event", grounding.event_based, {}),
    ):
        overall = function(*lists, **more)["overall"]
        expected = [*(overall["f_measure"][name] for name in ("precision", "recall", "f_measure"))]
        expected.append(overall["error_rate"]["error_rate"])
        actual = [result.metrics[f"{kind}_{name}"]["value"] for name in ("precision", "recall", "f1", "er")]
        assert actual == pytest.approx(expected, abs=1e-12)


# Worked examples


def test_two_detections_of_one_reference():
    result = evaluate(None, {"a": [(0, 2)]}, hop=None, events={"a": [(0, 1), (1, 2)]})
    actual = values(result)
    assert (actual["event_f1"], actual["event_er"]) == (0, pytest.approx(3))
    assert (actual["segment_f1"], actual["miou"]) == (1, 1)


@pytest.mark.parametrize(("offset", "matches"), [(8.1, 1), (7.9, 0)])
def test_the_offset_of_an_event(offset, matches):
    result = evaluate(None, {"a": [(0, 10)]}, hop=None, events={"a": [(0, offset)]})
    assert result.metrics["event_f1"]["value"] == matches


def test_frame_metrics_over_thresholds():
    result = one([0, 1, 2, 4], [(1, 3)], hop=1)  # scaled: 0, 0.25, 0.5, 1
    assert [result.metrics[f"frame_{name}"]["value"] for name in ("precision", "recall", "f1")] == [0.5, 0.5, 0.5]
    curve = result.curves["frame"]
    assert curve["thresholds"] == pytest.approx(np.arange(1, 100) / 100, abs=0)
    assert curve["precision"][[0, 24, 25, 49, 50]] == pytest.approx([2 / 3, 2 / 3, 0.5, 0.5, 0])
    assert curve["recall"][[0, 24, 25, 49, 50]] == pytest.approx([1, 1, 0.5, 0.5, 0])
    assert curve["f1"][[24, 49, 50]] == pytest.approx([0.8, 0.5, 0])


def test_curves_of_the_frame_metrics_are_those_of_each_threshold():
    curves, references, _ = random_case(3)
    frame = evaluate(curves, references, hop=HOP).curves["frame"]
    for place in (5, 40, 49, 77):
        single = evaluate(curves, references, hop=HOP, options=Options(threshold=frame["thresholds"][place]))
        for name in ("precision", "recall", "f1"):
            assert frame[name][place] == single.metrics[f"frame_{name}"]["value"]


def test_the_best_f1_over_thresholds_is_that_of_the_published_way():
    curves, references, clips = random_case(3)
    published = evaluate(curves, references, hop=HOP, clips=clips)
    best = published.metrics["frame_f1_best"]["value"]
    assert best == published.curves["frame"]["f1"].max()
    other = evaluate(curves, references, hop=HOP, clips=clips, options=Options(minmax=False, median_filter=5))
    assert other.metrics["frame_f1_best"]["value"] == best != other.curves["frame"]["f1"].max()
    assert one([1, 1], [], hop=1).metrics["frame_f1_best"]["value"] is None


def test_th_auc():
    """Up to 0.29 half of the detections are right, then all up to 0.59, then there is none."""
    result = one([0.6] * 4 + [0] * 4 + [0.3, 0], [(0, 4)], hop=1)
    assert result.curves["th_auc"]["f1"] == pytest.approx([2 / 3] * 15 + [1] * 15 + [0] * 20)
    assert result.curves["th_auc"]["precision"] == pytest.approx([1 / 2] * 15 + [1] * 15 + [0] * 20)
    assert result.metrics["th_auc"]["value"] == pytest.approx((15 * 2 / 3 + 15 - 1 / 3) / 49)
    assert result.metrics["th_auc_02_08"]["value"] == pytest.approx((5 * 2 / 3 + 15 - 1 / 3) / 29)


@pytest.mark.parametrize(
    ("active", "reference", "precision", "recall"),
    [
        ([0, 2], (0, 10), 0, 0),  # both detections are right, but do not cover half of the reference
        ([0, 1, 2, 5, 6], (0, 10), 1, 1),
        (range(10), (0, 4), 0, 0),  # the reference is covered, but is less than half of the detection
        (range(8), (0, 4), 1, 1),
        ([3], (4, 6), 0, 0),  # they touch
    ],
)
def test_intersections_of_th_auc(active, reference, precision, recall):
    curve = np.zeros(12)
    curve[list(active)] = 1
    points = one(curve, [reference], hop=1).curves["th_auc"]
    assert (points["precision"][25], points["recall"][25]) == (precision, recall)


@pytest.mark.parametrize(("share", "recall"), [({}, 1), ({"dtc": 0.6}, 0), ({"gtc": 0.9}, 1)])
def test_the_shares_that_have_to_be_covered(share, recall):
    curve = np.array([1.0] * 8 + [0] * 2)
    assert one(curve, [(0, 4)], hop=1, **share).curves["th_auc"]["recall"][25] == recall
    assert one(curve[::2], [(0, 5)], hop=1, gtc=0.9).curves["th_auc"]["recall"][25] == 0


@pytest.mark.parametrize(
    ("references", "detections", "expected"),
    [
        ([(0, 4), (6, 8)], [(2, 7)], 3 / 8),
        ([(0, 4), (2, 6)], [(0, 6)], 1),
        ([(0, 4)], [(5, 6), (7, 8)], 0),
        ([(0, 4)], [], 0),
        ([], [(0, 4)], 0),
        ([], [], 1),
    ],
)
def test_miou(references, detections, expected):
    options = Options(silent="keep")
    result = evaluate(None, {"a": references}, hop=None, events={"a": detections}, options=options)
    assert result.metrics["miou"]["value"] == pytest.approx(expected)
    assert result.by_clip["miou"] == pytest.approx([expected])


def test_miou_of_a_clip_is_the_mean_of_its_pairs():
    references = {"a": [(0, 4)], "b": [(0, 4)], "c": [(0, 4)], "d": []}
    events = {"a": [(0, 4)], "b": [(0, 1)], "c": [(0, 2)], "d": []}
    clips = {"a": "x", "b": "y", "c": "y", "d": "z"}
    result = evaluate(None, references, hop=None, events=events, clips=clips)
    assert result.metrics["miou"]["value"] == pytest.approx(1.75 / 3)
    np.testing.assert_allclose(result.by_clip["miou"], [1, 0.375, np.nan])


# Each option


@pytest.mark.parametrize(("threshold", "found"), [(0.3, 2), (0.59, 1), (0.6, 0)])
def test_an_event_is_above_the_threshold(threshold, found):
    result = one([0.6, 0.6, 0, 0, 0.4, 0], [(0, 2)], hop=1, threshold=threshold)
    assert result.counts["detections"] == found


def test_a_frame_is_active_from_the_threshold_on():
    result = one([0, 0.5, 1], [(1, 3)], hop=1)
    assert result.metrics["frame_recall"]["value"] == 1


@pytest.mark.parametrize(("hop", "gap", "joined"), [(0.04, 13, 1), (0.04, 14, 2), (0.02, 25, 1), (0.02, 26, 2)])
def test_gaps_are_closed(hop, gap, joined):
    curve = np.concatenate([np.ones(50), np.zeros(gap), np.ones(50)])
    assert one(curve, [(0, 1)], hop=hop).counts["detections"] == joined
    assert one(curve, [(0, 1)], hop=hop, merge_gap=0).counts["detections"] == 2


def test_gaps_are_closed_before_short_events_are_left_out():
    curve = np.concatenate([np.ones(2), np.zeros(1), np.ones(2), np.zeros(5), np.ones(3)])
    assert one(curve, [(0, 1)], hop=0.5, min_length=2).counts["detections"] == 1
    assert one(curve, [(0, 1)], hop=0.5, min_length=2, merge_gap=0).counts["detections"] == 0
    assert one(curve, [(0, 1)], hop=0.1, min_length=0.3, merge_gap=0).counts["detections"] == 1  # 3 * 0.1 is not 0.3


def test_the_median_filter_removes_what_is_short():
    curve = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0], dtype=float)
    plain = one(curve, [(0, 5)], hop=1, merge_gap=0)
    smooth = one(curve, [(0, 5)], hop=1, merge_gap=0, median_filter=3)
    assert (plain.counts["detections"], smooth.counts["detections"]) == (3, 1)
    assert plain.metrics["event_f1"]["value"] == pytest.approx(0.5)  # 0 to 4 s is near enough
    assert smooth.metrics["event_f1"]["value"] == smooth.metrics["miou"]["value"] == 1
    assert (plain.metrics["frame_f1"]["value"], smooth.metrics["frame_f1"]["value"]) == (pytest.approx(8 / 11), 1)


def test_the_median_filter_is_mirrored_at_the_ends():
    assert one([1, 0, 1, 1, 1], [(0, 5)], hop=1, median_filter=3, merge_gap=0).counts["detections"] == 1


def test_scaling_concerns_the_frame_metrics_only():
    curve = [0.0, 0.1, 0.4, 0.4]
    scaled, plain = (one(curve, [(2, 4)], hop=1, minmax=minmax) for minmax in (True, False))
    assert (scaled.metrics["frame_f1"]["value"], plain.metrics["frame_f1"]["value"]) == (1, 0)
    assert scaled.counts["detections"] == plain.counts["detections"] == 0


@pytest.mark.parametrize(("minmax", "recall"), [(True, 0), (False, 1)])
def test_a_constant_curve_has_no_active_frame_when_scaled(minmax, recall):
    result = one(np.full(4, 0.7), [(0, 4)], hop=1, minmax=minmax)
    assert result.metrics["frame_recall"]["value"] == recall
    assert result.metrics["miou"]["value"] == 1
    assert [note for note in result.notes if "constant" in note]


def test_the_collar_and_the_segments():
    events = {"a": [(0.25, 4)]}
    references = {"a": [(0, 4)]}
    names = ("event_f1", "segment_f1")
    for options, expected in (
        ({}, [0, 1]),
        ({"t_collar": 0.35}, [1, 1]),
        ({"time_resolution": 0.1}, [0, 2 * 38 / 78]),
        ({"time_resolution": 2}, [0, 1]),
    ):
        result = evaluate(None, references, hop=None, events=events, options=Options(**options))
        assert [result.metrics[name]["value"] for name in names] == pytest.approx(expected)
    late = {"a": [(0, 3.3)]}
    for share, expected in ((0.2, 1), (0.1, 0)):
        options = Options(percentage_of_length=share)
        assert (
            evaluate(None, references, hop=None, events=late, options=options).metrics["event_f1"]["value"] == expected
        )


def test_silent_pairs_are_dropped_or_kept():
    curves = {"a": [0, 0, 1, 1.0], "silent": [1, 1, 0, 0.0], "quiet": [0, 0, 0.1, 0.0]}
    references = {"a": [(2, 4)], "silent": [], "quiet": []}
    dropped = evaluate(curves, references, hop=1)
    kept = evaluate(curves, references, hop=1, options=Options(silent="keep"))
    assert (dropped.counts["silent_pairs"], dropped.counts["pairs_dropped"]) == (2, 2)
    assert (kept.counts["silent_pairs"], kept.counts["pairs_dropped"]) == (2, 0)
    assert dropped.metrics["frame_precision"] == kept.metrics["frame_precision"] == {"value": 2 / 5}
    for name, with_silent in (("event_precision", 1 / 2), ("segment_precision", 2 / 4), ("miou", 2 / 3)):
        assert dropped.metrics[name]["value"] == 1
        assert kept.metrics[name]["value"] == pytest.approx(with_silent)
    assert (dropped.metrics["event_er"]["value"], kept.metrics["event_er"]["value"]) == (0, pytest.approx(1))
    assert kept.metrics["th_auc"]["value"] < dropped.metrics["th_auc"]["value"] == pytest.approx(1)


@pytest.mark.skipif(not PSDS, reason="sed-scores-eval-np2 is not installed")
def test_the_limits_of_psds():
    result = one(labels([(1, 4)]).astype(float), [(1, 4)], e_max=(50, 100, 0.5))
    assert [name for name in result.metrics if "psds" in name] == ["psds_50", "psds", "psds_0.5"]


# At the edges


def test_one_frame():
    actual = values(one([0.7], [(0, 1)], hop=1))
    expected = dict.fromkeys([*RATES[3:], *PSDS, "miou", "frame_f1_all_active"], 1) | {"frame_f1": 0}
    assert {name: actual[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("silent", ["drop", "keep"])
def test_no_reference_at_all(silent):
    result = one([0.1, 0.9, 0.1], [], hop=1, silent=silent)
    known = {"frame_precision": 0.0}
    if silent == "keep":
        known |= {"segment_precision": 0.0, "event_precision": 0.0, "miou": 0.0}
    assert {name: value for name, value in values(result).items() if value is not None} == known
    reasons = {name: metric["reason"] for name, metric in result.metrics.items() if metric["value"] is None}
    assert reasons["frame_f1"] == grounding.NO_REFERENCE
    assert reasons["event_f1"] == (grounding.NOTHING if silent == "drop" else grounding.NO_REFERENCE)
    assert result.statistics.keys() == known.keys()
    assert ("miou" in result.by_clip) == (silent == "keep")
    assert result.baselines["all_active"] == {"precision": 0, "recall": None, "f1": None}


def test_nothing_anywhere():
    result = evaluate(None, {"a": []}, hop=None, events={"a": []}, options=Options(silent="keep"))
    actual = values(result)
    assert (actual["miou"], actual["event_precision"], actual["event_recall"]) == (1, 0, None)


def test_events_without_curves():
    result = evaluate(None, {"a": [(0, 2), (3, 4)]}, hop=None, events={"a": [(0, 2), (3, 4)]})
    for name in ("frame_f1", "psds", "th_auc"):
        assert result.metrics[name] == {"value": None, "reason": grounding.NO_SCORES}
    assert result.counts["detections"] == 2  # the gap is not closed
    assert result.metrics["event_f1"]["value"] == 1
    assert len(result.notes) == 1 and "durations" in result.notes[0]
    assert result.curves == result.baselines == {}


def test_events_without_length_are_left_out_and_counted():
    references = {"a": [(0, 0), (0, 2), (3, 1), (10, 10.05)]}
    events = {"a": [(0, 2), (5, 5)]}
    result = evaluate(None, references, hop=None, events=events, durations={"a": 10})
    assert (result.counts["references"], result.counts["references_removed"]) == (1, 3)
    assert (result.counts["detections"], result.counts["detections_removed"]) == (1, 1)
    assert result.metrics["event_f1"]["value"] == 1
    assert len(result.notes) == 2


def test_events_are_cut_at_the_clips_end():
    result = one(np.r_[np.zeros(15), np.ones(5)], [(7.5, 9.9)], durations=9.7)
    assert result.metrics["miou"]["value"] == result.metrics["segment_f1"]["value"] == 1


def test_a_curve_that_ends_too_early_misses_what_follows():
    early = one(np.r_[0, np.ones(15)], [(0.5, 10)], durations=10)
    assert early.metrics["frame_recall"]["value"] == pytest.approx(15 / 18)  # 19 frames but the last one
    enough = one(np.r_[0, np.ones(18)], [(0.5, 10)], durations=10)
    assert enough.metrics["frame_recall"]["value"] == 1


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("miou", ["miou"]),
        (["event", "frame_f1"], ["frame_f1", *(f"event_{name}" for name in ("precision", "recall", "f1", "er"))]),
        (["psds", "th_auc"], ["psds", "psds_50", "th_auc", "th_auc_02_08"]),
        ({"psds_50"}, ["psds_50"]),
    ],
)
def test_only_what_is_asked_for_is_computed(monkeypatch, asked, names):
    options, real, used = Options(e_max=(100, 50)), grounding._accumulators, []

    def spied(*arguments):
        used.extend(real(*arguments)[0])
        return used, real(*arguments)[1]

    monkeypatch.setattr(grounding, "_accumulators", spied)
    if not PSDS and any("psds" in name for name in names):
        pytest.skip("sed-scores-eval-np2 is not installed")
    curves, references, clips = random_case()
    some = evaluate(curves, references, hop=HOP, clips=clips, options=options, metrics=asked)
    assert list(some.metrics) == names and some.statistics.keys() == set(names)
    assert used and all(set(accumulator.names(options)) & set(names) for accumulator in used)
    assert ("miou" in some.by_clip, "frame" in some.curves) == ("miou" in names, "frame_f1" in names)
    monkeypatch.undo()
    whole = evaluate(curves, references, hop=HOP, clips=clips, options=options)
    assert some.metrics == {name: whole.metrics[name] for name in names} and some.counts == whole.counts


def test_metrics_that_are_not_known_are_refused():
    with pytest.raises(EarwitnessError) as refused:
        evaluate({"a": [0, 1.0]}, {"a": [(1, 2)]}, hop=1, metrics=["frame", "psds_50", "miuo"])
    message = str(refused.value)
    assert len(message.splitlines()) == 3 and "'psds_50'" in message and "'miuo'" in message and "'miou'" in message


def test_a_package_that_is_missing_is_a_reason(monkeypatch):
    for name in ("sed_scores_eval", "sed_eval", "sed_eval.sound_event"):
        monkeypatch.setitem(sys.modules, name, None)
    result = one([0, 0, 1, 1.0], [(2, 4)], hop=1)
    missing = {name: metric["reason"] for name, metric in result.metrics.items() if metric["value"] is None}
    assert len(missing) == 10
    assert missing["psds"].startswith("sed_scores_eval is not installed")
    assert missing["segment_er"].startswith("sed_eval is not installed")
    assert result.metrics["th_auc"]["value"] == result.metrics["frame_f1"]["value"] == pytest.approx(1)


def test_scores_that_the_thresholds_do_not_reach_are_told_of():
    assert not one([0, 1.0], [(1, 2)], hop=1).notes
    assert "below 0 or above 1" in one([-3, 2.0], [(1, 2)], hop=1).notes[0]


def test_curves_may_be_read_one_at_a_time():
    class Curves(dict):
        read = 0

        def __getitem__(self, pair):
            self.read += 1
            return super().__getitem__(pair)

    curves, references, clips = random_case()
    lazy = Curves(curves)
    result = evaluate(lazy, references, hop=HOP, clips=clips)
    assert lazy.read == 2 * len(curves)
    assert result.metrics == evaluate(curves, references, hop=HOP, clips=clips).metrics


# What is refused

GOOD = {"activations": {"a": [0.0, 1.0, 0.0, 0.0]}, "references": {"a": [(1, 2)]}, "hop": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"events": {"a": []}}, "activations or events.*not both"),
        ({"activations": None}, "activations or events"),
        ({"activations": {}, "references": {}}, "there are no pairs"),
        ({"hop": None}, "hop is not given"),
        ({"hop": 0}, "hop is 0,"),
        ({"hop": float("nan")}, "hop is nan,"),
        ({"hop": 20}, "hop is 20 .*milliseconds"),
        ({"activations": {"b": [1.0]}}, "pair 'b' .*no references"),
        ({"references": {"a": [], "b": []}}, "pair 'b' .*no activations"),
        ({"activations": None, "events": {}}, "pair 'a' .*no detected events"),
        ({"clips": {}}, "pair 'a' has no clip"),
        ({"clips": {"a": "x", "b": "x"}}, "pair 'b' .*no references"),
        ({"durations": {}}, "duration of clip 'a' .*not given"),
        ({"durations": {"a": -4}}, "duration of clip 'a' is -4"),
        ({"activations": {"a": []}}, "pair 'a' .*empty"),
        ({"activations": {"a": [[0.0], [1.0]]}}, r"pair 'a' .*\[2, 1\]"),
        ({"activations": {"a": ["x"]}}, "pair 'a' .*not numbers"),
        ({"activations": {"a": [0, np.nan, np.inf, 1]}}, "2 .*pair 'a' .*not finite.* frame 1: nan"),
        ({"references": {"a": [(1, 2, 3)]}}, "reference events of pair 'a' .*list"),
        ({"references": {"a": [1, 2]}}, "reference events of pair 'a' .*list"),
        ({"references": {"a": [(-1, 2)]}}, "reference event of pair 'a' .*-1 to 2 s"),
        ({"references": {"a": [(1, np.nan)]}}, "1.0 to nan"),
        ({"references": {"a": [(1, 9)]}}, "reference event of pair 'a' .*9 s.* 4 s$"),
        ({"references": {"a": [(100, 2500)]}}, "2500 s.* 4 s.*milliseconds"),
        ({"durations": {"a": 40}}, "4 frames of pair 'a' .*hop of 1 s.* 40 s"),
        ({"durations": {"a": 1.5}, "references": {"a": []}}, "4 s .*hop of 1 s.* 1.5 s"),
        (
            {"activations": None, "events": {"a": [(0, 5)]}, "hop": None, "durations": {"a": 4}},
            "detected event of pair 'a' .*5 s",
        ),
        (
            {"activations": None, "events": {"a": [(0, 5), (0, 90_000)]}, "hop": None},
            "detected event of pair 'a' .*90000 s, more than a day; .*milliseconds",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(change, message):
    arguments = GOOD | change
    for function in (grounding.validate, evaluate):
        with pytest.raises(EarwitnessError, match=message):
            function(**arguments)


def test_what_can_be_scored_is_not_refused():
    grounding.validate(**GOOD, durations={"a": 3.5, "not scored": 1}, clips=None)
    grounding.validate(**GOOD | {"references": {"a": [(1, 5), (0, 0)]}})  # one frame after the end


def test_all_offenders_are_named():
    curves = {"a": [np.nan], "b": [], "c": [1.0], "d": [[1.0]]}
    with pytest.raises(EarwitnessError) as refused:
        grounding.validate(curves, dict.fromkeys(curves, ()), hop=1)
    assert len(str(refused.value).splitlines()) == 4


def test_options_out_of_range_are_all_named():
    with pytest.raises(EarwitnessError) as refused:
        Options(
            threshold=np.nan, thresholds=(0.5, 0.5), median_filter=2, merge_gap=-1, min_length=None, t_collar=0,
            percentage_of_length=20, time_resolution=0, dtc=0, gtc=1.1, e_max=(100, 100), silent="omit",
            grid="binary",
        )  # fmt: skip
    assert len(str(refused.value).splitlines()) == 14
    assert "percentage_of_length is 20," in str(refused.value)


def test_importing_loads_numpy_only():
    import subprocess

    code = "import sys, earwitness.metrics.grounding; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "pandas", "scipy", "h5py", "pydantic", "sed_eval", "dcase_util", "sed_scores_eval", "matplotlib"}
    assert not heavy & set(done.stdout.split())


def test_notes_count_in_the_singular():
    result = evaluate({"p": [0.1, 0.9], "q": [0.2, 0.8]}, {"p": [(0, 1)], "q": []}, hop=1.0, metrics="miou")
    assert any(note.startswith("1 silent pair:") and "(2 pairs in all)" in note for note in result.notes)
