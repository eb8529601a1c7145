"""Retrieval metrics against the golden numbers, which are in per cent and from captions in groups of five."""

import numpy as np
import pytest

from earwitness.metrics import retrieval

NAMES = ("r1", "r5", "r10", "r50", "medr", "meanr")


def in_per_cent(evaluation, way, last):
    """The values in the order of the golden arrays, the ranks as they are."""
    values = [evaluation.metrics[f"{way}_{name}"]["value"] for name in (*NAMES, last)]
    return np.array(values) * np.where(np.isin([*NAMES, last], ["medr", "meanr"]), 1, 100)


def grouped(scores, **options):
    clips = scores.shape[1]
    return retrieval.evaluate(scores, np.repeat(np.arange(clips), 5), range(clips), **options)


@pytest.mark.parametrize("ties", retrieval.TIES)
@pytest.mark.parametrize(("key", "seed", "clips"), [("a", 1720, 20), ("big", 1800, 100)])
@pytest.mark.parametrize("way", retrieval.DIRECTIONS)
def test_retrieval_in_context(golden, rnd, key, seed, clips, way, ties):
    expected = golden("metrics_retrieval.npz")
    scores = rnd(seed, 5 * clips, clips) + 2 * np.repeat(np.eye(clips, dtype=np.float32), 5, axis=0)
    if f"{key}_sims" in expected:
        np.testing.assert_array_equal(scores, expected[f"{key}_sims"])
    values = in_per_cent(grouped(scores, ties=ties), way, "gmean")
    np.testing.assert_allclose(values, expected[f"{key}_{way}"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("way", retrieval.DIRECTIONS)
def test_ties_of_the_benchmark(golden, way):
    expected = golden("metrics_retrieval.npz")
    values = in_per_cent(grouped(expected["ties_sims"], ties="benchmark"), way, "gmean")
    np.testing.assert_allclose(values, expected[f"ties_{way}"], rtol=0, atol=1e-3)


def test_ties_by_their_averaged_rank(golden):
    ranks = grouped(golden("metrics_retrieval.npz")["ties_sims"]).ranks["t2a"].values
    values = [100 * np.mean(ranks <= cut) for cut in (1, 5, 10)]
    np.testing.assert_allclose(values, [17.33, 61.33, 92.00], rtol=0, atol=5e-3)  # docs/metrics.md, section 2.1


@pytest.mark.parametrize(("key", "weight"), [("small", 0.8), ("large", 0.35)])
@pytest.mark.parametrize("way", retrieval.DIRECTIONS)
def test_wavcaps(golden, rnd, key, weight, way):
    expected = golden("metrics_retrieval_wavcaps.npz")
    clips, width = expected[f"{key}_size"]
    audio = rnd(1707, clips, width)
    texts = weight * np.repeat(audio, 5, axis=0) + rnd(1708, 5 * clips, width)
    texts, audio = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (texts, audio))
    values = in_per_cent(grouped(texts @ audio.T), way, "map10")
    values[4] = np.floor(values[4])  # the reference floors the median
    np.testing.assert_allclose(values, expected[f"{key}_{way}"], rtol=0, atol=1e-3)
