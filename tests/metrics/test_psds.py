"""PSDS against sed_scores_eval and against counting at every threshold, and its statistic of the clips."""

import time

import numpy as np
import pytest

from earwitness.errors import MismatchError
from earwitness.metrics import grounding, psds

library = pytest.importorskip("sed_scores_eval", reason="sed-scores-eval-np2 is not installed")

HOP = 0.25
HOUR = 3600


def random_case(seed=0, pairs=12, frames=40, levels=8, silent=True):
    """Curves with many scores alike, within pairs and across them, and references off the frame grid."""
    generator = np.random.default_rng(seed)
    curves, references = {}, {}
    for number in range(pairs):
        edges = np.sort(generator.uniform(0, frames * HOP, 2 * generator.integers(0 if silent else 1, 4)))
        references[f"pair {number}"] = [tuple(times) for times in edges.reshape(-1, 2).tolist()]
        inside = np.searchsorted(edges, np.arange(frames) * HOP) % 2
        curves[f"pair {number}"] = (np.repeat(generator.integers(levels, size=frames // 2), 2) + 4 * inside) / levels
    return curves, references


def by_library(curves, references, e_max, pairs=None):
    """The value of sed_scores_eval; ``pairs`` may name a pair several times."""
    pairs = list(curves) if pairs is None else pairs
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    named = {f"{number} {pair}": pair for number, pair in enumerate(pairs)}
    edges = {pair: np.arange(len(curve) + 1) * HOP for pair, curve in curves.items()}
    tables = {name: create_score_dataframe(curves[pair][:, None], edges[pair], ["x"]) for name, pair in named.items()}
    truth = {name: [(*times, "x") for times in references[pair]] for name, pair in named.items()}
    lengths = {name: edges[pair][-1] for name, pair in named.items()}
    options = {"dtc_threshold": 0.5, "gtc_threshold": 0.5, "max_efpr": e_max}
    return library.intersection_based.psds(tables, truth, lengths, **options)[0]


def by_counting(curves, references, e_max):
    """The score by its definition: at every score as a threshold, event by event."""
    hours = sum(len(curve) for curve in curves.values()) * HOP / HOUR
    number = sum(map(len, references.values()))
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate(list(curves.values()))):
        found = false = 0
        for pair, curve in curves.items():
            active = [False, *(curve >= threshold), False]
            starts = [n for n in range(len(curve)) if active[n + 1] and not active[n]]
            stops = [n + 1 for n in range(len(curve)) if active[n + 1] and not active[n + 2]]
            events = [(start * HOP, stop * HOP) for start, stop in zip(starts, stops, strict=True)]
            right = [e for e in events if sum(shared(e, r) for r in references[pair]) >= (e[1] - e[0]) / 2]
            false += len(events) - len(right)
            found += sum(sum(shared(e, r) for e in right) >= (r[1] - r[0]) / 2 for r in references[pair])
        points.append((false / hours, found / number))
    edges = [*sorted({rate for rate, _ in points if rate <= e_max}), e_max]
    best = [max(share for rate, share in points if rate <= edge) for edge in edges[:-1]]
    return sum(share * (b - a) for share, a, b in zip(best, edges[:-1], edges[1:], strict=True)) / e_max


def shared(first, second):
    return max(0, min(first[1], second[1]) - max(first[0], second[0]))


def statistic(curves, references, e_max, clips=None, silent="keep"):
    options = grounding.Options(e_max=(e_max,), silent=silent)
    result = grounding.evaluate(curves, references, hop=HOP, clips=clips, options=options)
    (name,) = [name for name in result.metrics if name.startswith("psds")]
    kept = result.statistics[name]
    assert result.metrics[name]["value"] == kept.values(np.ones((1, kept.clips)))[0]
    return kept


def value(*arguments, **options):
    kept = statistic(*arguments, **options)
    return kept.values(np.ones((1, kept.clips)))[0]


@pytest.mark.parametrize("e_max", [100, 400, 1500, 10000])
@pytest.mark.parametrize("seed", range(4))
def test_the_value_is_the_librarys_and_the_definitions(seed, e_max):
    curves, references = random_case(seed)
    expected = by_library(curves, references, e_max)
    assert value(curves, references, e_max) == pytest.approx(expected, abs=1e-9)
    assert by_counting(curves, references, e_max) == pytest.approx(expected, abs=1e-9)


def test_curves_are_given_to_the_library_in_batches(monkeypatch):
    curves, references = random_case()
    whole = value(curves, references, 1500)
    monkeypatch.setattr("earwitness.metrics.grounding.BATCH", 5)
    assert value(curves, references, 1500) == whole > 0


@pytest.mark.parametrize("block", [1, 1000, 1 << 22])
@pytest.mark.parametrize("e_max", [400, 10000])
def test_a_resample_has_the_value_of_the_duplicated_data(monkeypatch, block, e_max):
    monkeypatch.setattr(psds, "BLOCK", block)
    curves, references = random_case(3)
    clips = {pair: f"clip {number // 2}" for number, pair in enumerate(curves)}
    kept = statistic(curves, references, e_max, clips)
    assert kept.clips == 6
    weights = np.random.default_rng(1).multinomial(6, [1 / 6] * 6, size=25)
    for row, actual in zip(weights, kept.values(weights.astype(float)), strict=True):
        drawn = [pair for number, pair in enumerate(curves) for _ in range(row[number // 2])]
        assert actual == pytest.approx(by_library(curves, references, e_max, drawn), abs=1e-9)


def test_clips_can_be_taken_and_joined():
    curves, references = random_case(5, silent=False)
    kept = statistic(curves, references, 1500)
    some = kept.take(np.array([7, 2, 7]))
    assert some.clips == 3
    names = list(curves)
    expected = by_library(curves, references, 1500, [names[n] for n in (7, 2, 7)])
    assert some.values(np.ones((1, 3)))[0] == pytest.approx(expected, abs=1e-9)
    both = kept.joined(some)
    weights = np.zeros((1, 15))
    weights[0, [3, 13, 14]] = [1, 2, 1]
    expected = by_library(curves, references, 1500, [names[n] for n in (3, 2, 2, 7)])
    assert both.values(weights)[0] == pytest.approx(expected, abs=1e-9)


def test_scores_with_other_limits_are_not_joined():
    curves, references = random_case()
    with pytest.raises(MismatchError, match=r"400 .*100"):
        statistic(curves, references, 400.0).joined(statistic(curves, references, 100.0))


def test_a_resample_without_a_reference_has_no_value():
    curves, references = random_case()
    references["pair 0"] = []
    kept = statistic(curves, references, 1500)
    assert np.isnan(kept.values(np.eye(kept.clips)[:1])).all()


def test_silent_pairs_count_only_where_they_are_kept():
    """Their time lowers the rate of false detections, their detections raise it."""
    curves, references = random_case(6)
    sounding = [pair for pair in curves if references[pair]]
    assert len(sounding) < len(curves)
    dropped = value(curves, references, 1500, silent="drop")
    assert dropped == pytest.approx(by_library(curves, references, 1500, sounding), abs=1e-9)
    assert dropped != value(curves, references, 1500)
    assert statistic(curves, references, 1500, silent="drop").seconds.sum() == len(sounding) * 40 * HOP


def test_a_perfect_system_has_1():
    references = {"a": [(0, 2), (5, 6)], "b": [(1, 10)]}
    times = (np.arange(40) + 0.5) * HOP
    curves = {pair: sum((a < times) & (times < b) for a, b in events) for pair, events in references.items()}
    assert value(curves, references, 100) == 1


@pytest.mark.parametrize(("reference", "expected"), [((0, 4.9), 0), ((0, 5), 1)])
def test_a_constant_curve_finds_what_fills_half_of_its_clip(reference, expected):
    """Its only operating point is the whole clip as one event."""
    assert value({"a": np.zeros(40)}, {"a": [reference]}, 100) == expected


def test_two_detections_may_find_one_reference_together():
    curve = np.array([0.9] * 3 + [0.1] + [0.9] * 4 + [0.0] * 32)  # 0 to 0.75 s and 1 to 2 s
    (changes,) = psds.changes([psds.Activation(curve, np.arange(41) * HOP, np.array([[0.0, 2.0]]))], 0.5, 0.5)
    assert (changes.scores[-1], changes.tp[-1], changes.fp[-1]) == (0.9, 1, 0)


def test_a_worked_value():
    """One false detection in 36 s is a rate of 100 an hour; below it the one found of two references counts."""
    curve = np.zeros(144)
    curve[0:8], curve[20:24], curve[40:48] = 0.9, 0.8, 0.7
    references = {"a": [(0, 2), (10, 12)]}
    assert value({"a": curve}, references, 100) == pytest.approx(0.5)
    assert value({"a": curve}, references, 400) == pytest.approx((100 * 0.5 + 300 * 1) / 400)


@pytest.mark.parametrize("references", [[(0, 3), (2, 4)], [(0, 2), (2, 4)], [(0, 4), (0, 4)]])
def test_references_that_meet_are_one(references):
    curves = {"a": np.array([1.0] * 16 + [0.0] * 24)}
    result = grounding.evaluate(curves, {"a": references}, hop=HOP)
    assert result.metrics["psds"]["value"] == 1
    assert result.counts["references_joined"] == 1
    assert any("joined for PSDS" in note for note in result.notes)
    assert result.statistics["psds"].references.tolist() == [1]


def test_frames_after_the_clips_end_do_not_count():
    curve = np.array([0.0] * 20 + [1.0] * 10 + [0.9] * 10)
    whole = grounding.evaluate({"a": curve[:30]}, {"a": [(5, 7.4)]}, hop=HOP, durations={"a": 7.4})
    cut = grounding.evaluate({"a": curve}, {"a": [(5, 7.4)]}, hop=HOP, durations={"a": 7.4})
    assert whole.metrics["psds"] == cut.metrics["psds"] == {"value": 1.0}
    np.testing.assert_array_equal(whole.statistics["psds"].scores, cut.statistics["psds"].scores)


def test_many_resamples_take_seconds():
    generator = np.random.default_rng(0)
    changes, clips = 46 * 500, 46
    scores = generator.integers(5000, size=changes) / 5000
    clip = np.repeat(np.arange(clips), 500)
    tp, fp = generator.integers(-1, 2, size=(2, changes))
    kept = psds.Psds(scores, tp, abs(fp), clip, np.full(clips, 5.0), np.full(clips, 10.0), 100.0)
    weights = generator.multinomial(clips, [1 / clips] * clips, size=200).astype(float)
    started = time.process_time()
    assert kept.values(weights).shape == (200,)
    assert time.process_time() - started < 5  # 2,000 take about 3 s
