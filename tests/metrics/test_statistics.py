"""What is kept of each clip: weighed, taken apart and joined, against the plain computation on repeated clips."""

import numpy as np
import pytest

from earwitness.errors import MismatchError
from earwitness.metrics import formulas
from earwitness.metrics.statistics import Median, Sums, mean_of

CLIP = np.array([2, 0, 2, 1, 4, 4, 4])  # clip 3 has no item
ITEMS = np.array([1.0, 8.0, 3.0, 5.0, 2.0, 2.0, 9.0])
STATISTICS = {"mean": mean_of(ITEMS, CLIP, 5), "median": Median(ITEMS, CLIP, 5)}
PLAIN = {"mean": np.mean, "median": np.median}
WEIGHTS = np.random.default_rng(0).multinomial(5, [0.2] * 5, size=40).astype(float)


def repeated(clips):
    """The items of these clips, one after another."""
    return np.concatenate([ITEMS[clip == CLIP] for clip in clips])


@pytest.mark.parametrize("name", STATISTICS)
def test_weights_count_clips_with_all_their_items(name):
    drawn = [np.repeat(np.arange(5), row.astype(int)) for row in WEIGHTS]
    expected = [PLAIN[name](repeated(clips)) for clips in drawn]
    np.testing.assert_allclose(STATISTICS[name].values(WEIGHTS), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", STATISTICS)
def test_clips_can_be_taken_in_any_order(name):
    some = STATISTICS[name].take(np.array([4, 0, 3]))
    assert some.clips == 3
    weights = np.array([[1.0, 1, 1], [1, 0, 0], [0, 2, 0]])
    expected = [PLAIN[name](repeated(clips)) for clips in ([4, 0], [4], [0])]
    np.testing.assert_allclose(some.values(weights), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", STATISTICS)
def test_two_systems_can_be_joined(name):
    statistic = STATISTICS[name]
    both = statistic.joined(statistic.take(np.array([1, 2])))
    assert both.clips == 7
    weights = np.array([[0.0, 1, 0, 0, 0, 0, 1]])  # clip 1 of the first, clip 2 of the second
    assert both.values(weights) == [PLAIN[name](repeated([1, 2]))]


@pytest.mark.parametrize("name", STATISTICS)
def test_clips_without_an_item_have_no_value(name):
    weights = np.array([[0.0, 0, 0, 3, 0], [1, 0, 0, 0, 0]])
    np.testing.assert_array_equal(STATISTICS[name].values(weights), [np.nan, 8])


def test_items_without_a_value_have_no_part_in_a_mean():
    statistic = mean_of(np.array([1.0, np.nan, 3.0]))
    assert statistic.columns.tolist() == [[1, 1], [0, 0], [3, 1]]
    assert statistic.values(np.ones((1, 3))) == [2]


def test_statistics_of_other_metrics_are_not_joined():
    with pytest.raises(MismatchError, match="mean and bleu_1"):
        Sums("mean", np.ones((1, 2))).joined(Sums("bleu_1", np.ones((1, 10))))


def test_the_geometric_mean_is_of_the_means():
    sums = np.array([[2.0, 4.0, 4.0, 8.0], [0.0, 4.0, 8.0, 8.0], [0.0, 0.0, 0.0, 0.0]])
    expected = [(0.25 * 0.5 * 0.5) ** (1 / 3), 0, np.nan]
    np.testing.assert_allclose(formulas.geometric_mean(sums), expected, rtol=1e-15)


def test_bleu_by_hand():
    # "the dog barks" against "the dog barks loudly": all n-grams match, three words for four.
    sums = np.array([3.0, 2, 1, 0, 3, 2, 1, 0, 3, 4])
    for order in (1, 2, 3):
        assert formulas.bleu(sums, order) == pytest.approx(np.exp(1 - 4 / 3), rel=1e-8)
    assert formulas.bleu(sums, 4) == pytest.approx((1e-15 / 1e-9) ** (1 / 4) * np.exp(1 - 4 / 3), rel=1e-6)


def test_meteor_by_hand():
    # Four content words and a function word in both, of which two content words match exactly, as one chunk.
    sums = np.array([5.0, 5, 1, 1, 2, 2, 0, 0, *[0] * 12, 1, 2, 2])
    share = 0.75 * 2 / (0.75 * 4 + 0.25)
    assert formulas.meteor(sums) == pytest.approx(share * (1 - 0.6 * 0.5**0.2), rel=1e-15)
    assert formulas.meteor(np.zeros(23)) == 0
