"""Intervals, the summary of seeds, and the difference of two systems, where theory or a count says what must come."""

import json
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.metrics import bootstrap
from earwitness.metrics.statistics import Median, Sums, mean_of

F_LIKE = np.array([[8.0, 10], [1, 1], [0, 6], [3, 3]])  # a ratio of sums, which is not the mean of the ratios


@dataclass(frozen=True)
class Scores:
    metrics: dict
    statistics: dict
    ids: list


def scores(values, reason=None):
    meteor = {"value": None, "reason": reason} if reason else {"value": 0.5}
    metrics = {"cider_d": {"value": float(np.mean(values)), "model": "x"}, "vocabulary": {"value": values[0]}}
    ids = [f"clip {number}" for number in range(len(values))]
    return Scores(metrics | {"meteor": meteor}, {"cider_d": mean_of(np.array(values))}, ids)


def test_an_interval_of_a_mean_covers():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        values = generator.gamma(2.0, size=60)
        low, high = bootstrap.interval(bootstrap.resampled([mean_of(values)], resamples=500))
        assert low < values.mean() < high
        covered += low <= 2.0 <= high
    assert covered >= 175  # of 200 intervals at 95 %, some too narrow with so few clips


def test_draws_are_those_of_their_seed():
    statistic = mean_of(np.random.default_rng(2).normal(size=50))
    first, again, other = (bootstrap.resampled([statistic], seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_blocks_change_nothing_and_the_width_is_that_of_theory(monkeypatch):
    values = np.random.default_rng(0).normal(size=1000)
    whole = bootstrap.resampled([mean_of(values)])
    monkeypatch.setattr(bootstrap, "BLOCK", 7000)
    np.testing.assert_allclose(bootstrap.resampled([mean_of(values)]), whole, rtol=0, atol=1e-14)
    low, high = bootstrap.interval(whole)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(1000), rel=0.1)


def test_a_draw_weighs_every_clip_as_often_as_it_was_drawn():
    weights = np.concatenate(list(bootstrap._draws(4, 0, 3000)))
    assert weights.shape == (3000, 4) and (weights.sum(axis=1) == 4).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.06)
    assert weights.var(axis=0) == pytest.approx([0.75] * 4, rel=0.1)  # binomial, 4 draws of 1/4


def test_a_metric_that_is_no_mean_is_computed_again_on_each_draw():
    drawn = np.concatenate(list(bootstrap._draws(4, 0, 2000)))
    expected = (drawn @ F_LIKE[:, 0]) / (drawn @ F_LIKE[:, 1])
    np.testing.assert_allclose(bootstrap.resampled([Sums("mean", F_LIKE)]), expected, rtol=1e-14)


def test_seeds_are_computed_on_the_same_draw_and_averaged():
    medians = [Median(np.array(items), np.arange(5), 5) for items in ([1.0, 5, 2, 8, 3], [9.0, 1, 1, 4, 2])]
    expected = (bootstrap.resampled(medians[:1]) + bootstrap.resampled(medians[1:])) / 2
    np.testing.assert_array_equal(bootstrap.resampled(medians), expected)
    means = [mean_of(np.array([1.0, 2, 6])), mean_of(np.array([3.0, 2, 4]))]
    np.testing.assert_array_equal(bootstrap.resampled(means), bootstrap.resampled([mean_of(np.array([2.0, 2, 5]))]))
    other_counts = [Sums("mean", F_LIKE), Sums("mean", F_LIKE * [1, 2])]  # averaged after, since their counts differ
    expected = (bootstrap.resampled(other_counts[:1]) + bootstrap.resampled(other_counts[1:])) / 2
    np.testing.assert_array_equal(bootstrap.resampled(other_counts), expected)


def test_a_permutation_swaps_whole_clips():
    a, b = np.array([0.0, 1, 5]), np.array([2.0, 2, 1])
    differences = bootstrap.permuted([mean_of(a)], [mean_of(b)], permutations=4000)
    signs = np.array(list(product([1, -1], repeat=3)))
    possible, counts = np.unique((signs * (b - a)).mean(axis=1), return_counts=True)
    found, number = np.unique(differences.round(12), return_counts=True)
    np.testing.assert_allclose(found, possible, atol=1e-11)
    np.testing.assert_allclose(number / 4000, counts / 8, atol=0.03)


def test_p_values_are_uniform_without_a_difference_and_small_with_one():
    generator = np.random.default_rng(5)
    told = []
    for _ in range(150):
        a, b = generator.normal(size=(2, 40))
        differences = bootstrap.permuted([mean_of(a)], [mean_of(b)], permutations=200)
        told.append(bootstrap.p_value(float(np.mean(b - a)), differences))
    assert 0.02 < np.mean(np.array(told) <= 0.05) < 0.09
    found = bootstrap.difference([mean_of(a)], [mean_of(a + generator.normal(0.5, 0.1, size=40))])
    assert found["p_value"] == pytest.approx(1 / 2001)
    assert found["ci95"][0] > 0.4 and found["ci95"][1] < 0.6


def test_the_difference_of_a_system_with_itself_is_nothing():
    statistic = Sums("mean", F_LIKE)
    found = bootstrap.difference([statistic], [statistic])
    assert found == {"a": 0.6, "b": 0.6, "difference": 0.0, "ci95": [0.0, 0.0], "p_value": 1.0}


def test_a_pair_is_compared_on_the_same_draw():
    values = np.random.default_rng(7).normal(size=100) * 10
    found = bootstrap.difference([mean_of(values)], [mean_of(values + 1)])
    assert found["ci95"] == pytest.approx([1, 1])  # each alone varies by about 4


def test_systems_with_other_numbers_of_seeds():
    seeds = [mean_of(np.array(values)) for values in ([0.0, 0, 0, 0], [2.0, 2, 2, 2])]
    one = [mean_of(np.array([1.0, 1, 1, 1]))]
    assert bootstrap.difference(one, seeds) == bootstrap.difference(one, one)
    first, second, single = np.array([1.0, 2, 3]), np.array([3.0, 4, 5]), np.array([9.0, 8, 2])
    statistics = [Median(items, np.arange(3), 3) for items in (first, second, single)]
    expected = {}
    for swap in product([False, True], repeat=3):
        a = [np.median(np.where(swap, single, seed)) for seed in (first, second)]
        b = [np.median(np.where(swap, seed, single)) for seed in (first, second)]
        expected[swap] = np.mean(b) - np.mean(a)
    assert expected[(True,) * 3] == -expected[(False,) * 3]
    found = bootstrap.permuted(statistics[:2], statistics[2:], permutations=200)
    assert set(found) == set(expected.values())
    np.testing.assert_array_equal(bootstrap.permuted(statistics[1::-1], statistics[2:], permutations=200), found)


def test_values_that_are_not_there():
    nothing, one = mean_of(np.array([np.nan, np.nan])), mean_of(np.array([1.0, 2.0]))
    found = bootstrap.difference([nothing], [one])
    assert (found["a"], found["b"], found["difference"]) == (None, 1.5, None)
    assert found["reason"].endswith("for A")
    rare = mean_of(np.array([1.0, np.nan, np.nan]))  # no value in (2/3)^3 of the draws
    found = bootstrap.difference([rare], [rare])
    assert (found["difference"], found["ci95"]) == (0, None)
    assert "it has no value in" in found["reason"] and "of 2000 resamples" in found["reason"]
    single = bootstrap.difference([mean_of(np.array([1.0]))], [mean_of(np.array([2.0]))])
    assert (single["difference"], single["ci95"], single["p_value"]) == (1, None, None)
    assert "one clip" in single["reason"]


def test_permutations_without_a_value_never_make_a_difference_surer():
    assert bootstrap.p_value(1.0, np.array([np.nan, 0.5, 0.2])) == 0.5


def test_summary_of_seeds():
    metrics = bootstrap.summarise([scores([0.0, 1.0, 2.0]), scores([1.0, 2.0, 6.0], "no Java")])
    interval = bootstrap.interval(bootstrap.resampled([mean_of(np.array([0.5, 1.5, 4.0]))]))
    assert metrics["cider_d"] == {"value": 2.0, "ci95": interval, "per_seed": [1.0, 3.0], "model": "x"}
    reason = "nothing was kept of the clips that it could be computed from again"
    assert metrics["vocabulary"] == {"value": 0.5, "ci95": None, "ci95_reason": reason, "per_seed": [0.0, 1.0]}
    assert metrics["meteor"] == {"value": None, "reason": "no Java"}
    json.dumps(metrics, allow_nan=False)


def test_summary_without_an_interval():
    one = bootstrap.summarise([scores([1.0])])["cider_d"]
    assert (one["ci95"], one["ci95_reason"]) == (None, "there is only one clip")
    rare = replace(scores([1.0, 1.0, 1.0]), statistics={"cider_d": mean_of(np.array([1.0, np.nan, np.nan]))})
    assert "resamples of the clips" in bootstrap.summarise([rare])["cider_d"]["ci95_reason"]
    with pytest.raises(EarwitnessError, match="no seed"):
        bootstrap.summarise([])


def test_seeds_that_scored_other_clips_are_refused():
    first, second = scores([1.0, 2.0]), scores([1.0, 2.0])
    with pytest.raises(MismatchError, match="another order"):
        bootstrap.summarise([first, replace(second, ids=second.ids[::-1])])
    with pytest.raises(MismatchError, match=r"seed number 2 .*\['other'\]"):
        bootstrap.summarise([first, replace(second, ids=["clip 0", "other"])])


@pytest.mark.parametrize("kind", ["means", "f1", "medians"])
def test_several_systems_are_compared_as_each_by_itself(kind):
    generator = np.random.default_rng(5)

    def system(seeds):
        if kind == "medians":
            return [Median(generator.normal(size=30), np.arange(30), 30) for _ in range(seeds)]
        if kind == "means":
            return [mean_of(generator.normal(size=30)) for _ in range(seeds)]
        return [Sums("f1", generator.integers(1, 9, size=(30, 3)).astype(float)) for _ in range(seeds)]

    a, *others = (system(seeds) for seeds in (2, 1, 3, 2))
    for found, b in zip(bootstrap.differences(a, others), others, strict=True):
        alone = bootstrap.difference(a, b)
        assert found["difference"] == alone["difference"] and found["p_value"] == alone["p_value"]
        np.testing.assert_allclose(found["ci95"], alone["ci95"], rtol=0, atol=1e-12)
    without = [mean_of(np.full(30, np.nan))]
    first, second = bootstrap.differences(a, [without, others[0]]) if kind == "means" else ({"reason": "x"}, None)
    assert first["reason"] and (second is None or second == bootstrap.difference(a, others[0]))


def test_holm_is_that_of_other_programs():
    """As R's ``p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")``, and a case with equal values."""
    np.testing.assert_allclose(bootstrap.holm([0.01, 0.02, 0.03, 0.04, 0.05]), [0.05, 0.08, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(bootstrap.holm([0.5, 0.01, 0.5, 0.01, 0.9]), [1, 0.05, 1, 0.05, 1])
    assert bootstrap.holm([0.03]) == [0.03] and bootstrap.holm([]) == []


def test_holm_finds_nothing_too_often_where_there_is_nothing():
    generator = np.random.default_rng(6)
    wrong = sum(min(bootstrap.holm(generator.random(20).tolist())) < 0.05 for _ in range(2000))
    assert 0.035 < wrong / 2000 < 0.065
