"""The captions any captioner must beat."""

import random
import time

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import baselines as trivial
from earwitness.metrics.cider import CiderD

WORDS = ["a", "the", "dog", "cat", "rain", "wind", "barks", "falls", "blows", "loudly", "twice", "and", "then", "while"]


def sentences(generator, number, words=WORDS):
    return [" ".join(generator.choices(words, k=generator.randint(1, 12))) for _ in range(number)]


def test_best_constant_is_that_of_brute_force():
    generator = random.Random(0)
    for _ in range(5):
        references = [sentences(generator, 5) for _ in range(12)]
        training = sentences(generator, 80)
        scorer = CiderD(references)
        scores = [scorer.score([caption] * 12).mean() for caption in training]
        best = trivial.best_constant(training, references)
        assert best == training[int(np.argmax(scores))]
        assert trivial.constant_score(best, references) == pytest.approx(max(scores), abs=1e-12)


def test_best_constant_of_equals_is_the_first():
    references = [["dog barks"], ["cat purrs"]]
    assert trivial.best_constant(["rain", "cat purrs", "dog barks", "cat purrs"], references) == "cat purrs"


def test_best_constant_of_a_large_corpus_is_quick():
    generator = random.Random(1)
    words = [f"{word}{number}" for number in range(100) for word in WORDS]
    training = sentences(generator, 6000, words)
    references = [sentences(generator, 5, words) for _ in range(260)]
    began = time.perf_counter()
    assert trivial.best_constant(training, references) in training
    assert time.perf_counter() - began < 10


def test_human_bound():
    references = [["a dog barks", "a dog barks", "rain"], ["the wind blows", "wind"]]
    others = CiderD([["a dog barks", "rain"], ["wind"]])
    assert trivial.human_bound(references) == others.score(["a dog barks", "the wind blows"]).mean() > 0
    with pytest.raises(EarwitnessError, match="1 of 2 clips"):
        trivial.human_bound([["a", "b"], ["c"]])
    with pytest.raises(EarwitnessError, match="0 of 0"):
        trivial.human_bound([])


@pytest.mark.parametrize("clips", [2, 3, 4, 57])
def test_shuffled_is_a_derangement(clips):
    candidates = {f"clip {number}": f"caption {number}" for number in range(clips)}
    orders = set()
    for seed in range(20):
        handed = trivial.shuffled(candidates, seed)
        assert handed == trivial.shuffled(candidates, seed)
        assert list(handed) == list(candidates)
        assert sorted(handed.values()) == sorted(candidates.values())
        assert all(handed[clip] != candidates[clip] for clip in candidates)
        orders.add(tuple(handed.values()))
    assert len(orders) >= min(2, clips - 1)


def test_what_is_refused():
    with pytest.raises(EarwitnessError, match="there are 1"):
        trivial.shuffled({"a": "x"}, 0)
    with pytest.raises(EarwitnessError, match="there are none"):
        trivial.best_constant([], [["a"]])
