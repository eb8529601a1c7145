"""Our CIDEr-D against pycocoevalcap's, and by hand."""

import json
import math
import random
import time

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics.cider import CiderD
from tests.places import CAPTION_GOLDEN

GOLDEN = CAPTION_GOLDEN / "metrics_caption.json"


def theirs(candidates, references):
    from pycocoevalcap.cider.cider import Cider

    _, scores = Cider().compute_score(dict(enumerate(references)), {i: [text] for i, text in enumerate(candidates)})
    return scores


def text(generator, words="abcdefg"):
    """Few words, so that n-grams repeat within a text and between texts; sometimes none, sometimes unknown ones."""
    length = generator.choice([0, 1, 2, 3, 5, 9, 30])
    return " ".join(generator.choices(words, k=length))


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN.name} is not here: CIDEr-D was not compared with the golden captions")
    items = json.loads(GOLDEN.read_text(encoding="utf-8"))["items"]
    return [item["candidate_tokens"] for item in items], [item["references_tokens"] for item in items]


def test_equal_to_pycocoevalcap_on_golden(golden):
    candidates, references = golden
    scorer = CiderD(references)
    np.testing.assert_allclose(scorer.score(candidates), theirs(candidates, references), rtol=0, atol=1e-9)
    wrong = candidates[1:] + candidates[:1]
    np.testing.assert_allclose(scorer.score(wrong), theirs(wrong, references), rtol=0, atol=1e-9)


def test_repeated_calls_are_much_faster(golden):
    candidates, references = (part * 3 for part in golden)
    scorer = CiderD(references)
    began = time.perf_counter()
    theirs(candidates, references)
    slow = time.perf_counter() - began
    took = []
    for _ in range(5):
        began = time.perf_counter()
        scorer.score(candidates)
        took.append(time.perf_counter() - began)
    assert min(took) < slow / 5  # about 20 on a quiet machine


@pytest.mark.parametrize("items", [1, 2, 3, 25])
def test_equal_to_pycocoevalcap_on_random_strings(items):
    generator = random.Random(items)
    for _ in range(20):
        references = [["a", *(text(generator) for _ in range(generator.randint(0, 4)))] for _ in range(items)]
        candidates = [text(generator, "abcdefgxyz") for _ in range(items)]
        ours = CiderD(references).score(candidates)
        np.testing.assert_allclose(ours, theirs(candidates, references), rtol=0, atol=1e-9)


def test_by_hand():
    # M = 2: every n-gram of one item only weighs ln 2, "a" weighs 0. Of the candidate's words only "dog" counts.
    score = CiderD([["a dog"], ["a cat"]]).score(["dog", "a cat"])
    assert score[0] == pytest.approx(10 / 4 * math.exp(-1 / 72))  # one bigram less than the reference
    assert score[1] == pytest.approx(10 * 2 / 4)  # no n-grams of three or four words


def test_perfect_captions_score_ten():
    references = [["a dog barks at night"], ["the rain falls on leaves"], ["wind blows through bare trees"]]
    assert CiderD(references).score([texts[0] for texts in references]) == pytest.approx([10, 10, 10])


def test_it_is_not_invariant_to_duplication():
    # ln M - ln df of the references' words stays, but the weight ln M of a word that no reference has grows.
    references, candidates = [["a dog barks"], ["a cat"]], ["a dog barks", "a lonely cat"]
    once, twice = CiderD(references).score(candidates), CiderD(references * 2).score(candidates * 2)
    assert once[0] == pytest.approx(twice[0])
    # Only "cat" matches, ln 2 beside an unknown ln 2, later ln 4; there is one bigram more than in the reference.
    assert once[1] == pytest.approx(10 / 4 / math.sqrt(2) * math.exp(-1 / 72))
    assert twice[1] == pytest.approx(10 / 4 / math.sqrt(5) * math.exp(-1 / 72))


def test_one_item_and_empty_texts():
    assert CiderD([["a dog barks"]]).score(["a dog barks"]).tolist() == [0]
    assert CiderD([[""], ["", ""]]).score(["", "a dog"]).tolist() == [0, 0]


def test_constant_is_the_mean_of_the_scores():
    generator = random.Random(0)
    for items in (1, 2, 7):
        scorer = CiderD([["a", *(text(generator) for _ in range(generator.randint(0, 4)))] for _ in range(items)])
        captions = ["", "z z", *(text(generator, "abcxyz") for _ in range(30))]
        expected = [scorer.score([caption] * items).mean() for caption in captions]
        np.testing.assert_allclose(scorer.constant(captions), expected, rtol=0, atol=1e-12)


def test_what_it_refuses():
    for references in ([], [["a"], []]):
        with pytest.raises(EarwitnessError, match="at least one"):
            CiderD(references)
    with pytest.raises(EarwitnessError, match="1 candidates for 2 items"):
        CiderD([["a"], ["b"]]).score(["a"])
