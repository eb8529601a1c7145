"""Every caption metric on one small corpus, on that corpus in another order and twice over, on perfect captions and on
none, with all values worked out by hand.

METEOR and SPICE run as they are, one JVM for each. What the models of SBERT-sim and FER say is replaced by something
that can be worked out; test_sentences.py and test_fluency.py have the real ones.
"""

import math
from contextlib import ExitStack, nullcontext
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import captions, fluency, java, sentences, spice, vocabulary
from tests.places import JARS

CORPUS = [
    ("a dog barks at night", ["a dog barks at the old gate", "a dog barks in the night"]),
    ("rain falls", ["rain falls on leaves"]),
    ("wind", ["birds sing"]),
]
ORDER = [2, 0, 1]
PERFECT = [(text, [text]) for text in ("a dog barks loudly", "rain falls on leaves", "birds sing in trees")]
CASES = {
    "corpus": CORPUS,
    "permuted": [CORPUS[clip] for clip in ORDER],
    "twice": CORPUS * 2,
    "perfect": PERFECT,
    "perfect twice": PERFECT * 2,
    "empty": [("", references) for _, references in CORPUS],
}
OF_SPICE = ("spice", "spider", "spider_fl.detector")


def bag_of_words(texts, *_):
    """Embeddings of length 1: a number for each word, and one for any text, which is all that an empty text has."""
    words = sorted({word for text in texts for word in text.split()})
    vectors = np.array([[1.0, *(word in text.split() for word in words)] for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def short_is_wrong(texts, *_):
    """Probabilities of a detector that takes captions of less than three words for errors."""
    return np.array([[0.0] * 5 + [0.95 if len(text.split()) < 3 else 0.05] for text in texts])


@pytest.fixture(scope="module")
def evaluations():
    """The evaluation of each case; the captions are tokens already."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as running:
        start = cache(lambda name, *options: running.enter_context(real(name, options)))
        real = java.conversation
        patch.setattr(java, "conversation", lambda name, options: nullcontext(start(name, *options)))
        patch.setattr(java, "ptb_tokenize", list)
        for module, name in ((sentences, "bag"), (fluency, "detector")):
            patch.setattr(module, "find", lambda model: Path(model))
            patch.setattr(module, "label", lambda folder, name=name: name)
        patch.setattr(sentences, "embeddings", bag_of_words)
        patch.setattr(fluency, "probabilities", short_is_wrong)
        parsed = _spice_of_all_cases()
        patch.setattr(spice, "find", _absent if parsed is None else Path)
        patch.setattr(spice, "spice", lambda *_: next(parsed))
        return {name: evaluated(items) for name, items in CASES.items()}


def _absent(_):
    raise EarwitnessError("the jars are not here")


def _spice_of_all_cases():
    """Mean and items of each case in turn, from one run over the items of all; None without the jars."""
    if not JARS.exists():
        return None
    items = [item for case in CASES.values() for item in case]
    _, values = spice.spice(*zip(*items, strict=True), spice.Settings(spice.find(JARS), None, 5))
    parts = np.split(values, np.cumsum([len(case) for case in CASES.values()])[:-1])
    return ((part.mean(), part) for part in parts)


def evaluated(items):
    candidates = {f"clip {number}": candidate for number, (candidate, _) in enumerate(items)}
    references = {f"clip {number}": texts for number, (_, texts) in enumerate(items)}
    return captions.evaluate(candidates, references, captions.Tools(spice="x", similarity="x", fluency="x"))


def cider_d(copies):
    """CIDEr-D of the corpus' items when there are so many copies of it.

    M and every df grow alike, so each n-gram of the references weighs ln 3 as before: one, for short. An n-gram that no
    reference has weighs ln M, and with it grows the norm of the first caption, which has "at night", "barks at night"
    and "dog barks at night".
    """
    unknown = (math.log(3 * copies) / math.log(3)) ** 2
    norms = [math.sqrt(number) for number in (5, 3 + unknown, 2 + unknown, 1 + unknown)]
    return np.array([first_cider_d(norms), second_cider_d(), 0])


def first_cider_d(norms):
    """CIDEr-D of the first caption, the norms of whose n-grams are given in the weight of those it shares.

    It shares 4 of 7 words, 3 of 6 bigrams, 2 of 5 trigrams and 1 of 4 4-grams with the first reference, 4 of 6, 2 of 5,
    1 of 4 and 0 of 3 with the second, and has two bigrams less than the one and one less than the other.
    """
    references = (((4, 7), (3, 6), (2, 5), (1, 4)), 2), (((4, 6), (2, 5), (1, 4), (0, 3)), 1)
    sums = [
        math.exp(-(less**2) / 72)
        * sum(both / norm / math.sqrt(all_) for norm, (both, all_) in zip(norms, shared, strict=True))
        for shared, less in references
    ]
    return 10 / 4 * sum(sums) / 2


def second_cider_d():
    """CIDEr-D of the second caption, which has two bigrams less than its reference, no trigram and no 4-gram."""
    return 10 / 4 * (2 / math.sqrt(2 * 4) + 1 / math.sqrt(1 * 3)) * math.exp(-4 / 72)


def rouge(precision, recall):
    return (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)


def meteor(precision, recall, fragmentation):
    return precision * recall / (0.85 * precision + 0.15 * recall) * (1 - 0.6 * fragmentation**0.2)


# Matches of 8 words, 5 bigrams, 3 trigrams, 2 4-grams: 7, 4, 2, 1; lengths 5 + 2 + 1 against 6 + 4 + 2.
BREVITY = math.exp(1 - 12 / 8)
BLEU = [
    BREVITY * 7 / 8,
    BREVITY * (7 / 8 * 4 / 5) ** (1 / 2),
    BREVITY * (7 / 8 * 4 / 5 * 2 / 3) ** (1 / 3),
    BREVITY * (7 / 8 * 4 / 5 * 2 / 3 * 1 / 2) ** (1 / 4),
]
# By item; where there is no n-gram of some order its precision is 1e-15 / 1e-9.
BLEU_ITEMS = [
    [math.exp(1 - 6 / 5), math.exp(1 - 4 / 2), 0],
    [math.exp(1 - 6 / 5) * (3 / 4) ** (1 / 2), math.exp(1 - 4 / 2), 0],
    [math.exp(1 - 6 / 5) * (3 / 4 * 2 / 3) ** (1 / 3), math.exp(1 - 4 / 2) * 1e-6 ** (1 / 3), 0],
    [math.exp(1 - 6 / 5) * (3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4), math.exp(1 - 4 / 2) * 1e-12 ** (1 / 4), 0],
]

# A content word counts 0.75, a function word (a, at, in, the, on) 0.25. The first caption is matched with its second
# reference: a, dog, barks as they are, "at night" with "in the night" as a paraphrase, which is worth 0.6 of it; all
# words of both are matched in one piece, so nothing is fragmented. Of the second caption two words in one piece match.
MATCHED = np.array([(0.75 * 2.6 + 0.25 * 1.6, 0.75 * 2.6 + 0.25 * 2.2), (1.5, 1.5), (0, 0)])  # in caption, reference
LENGTHS = np.array([(0.75 * 3 + 0.25 * 2, 0.75 * 3 + 0.25 * 3), (1.5, 0.75 * 3 + 0.25), (0.75, 1.5)])

ERRORS = np.array([0, 1, 1])
KEPT = 1 - 0.9 * ERRORS
SPICE = np.array([
    2 * 2 / (3 + 7),  # dog, night of dog, night, (dog, bark at, night); the references' graphs have seven propositions
    2 * 1 / (2 + 3),  # rain of rain, (rain, fall), against rain, leaf, (rain, fall on, leaf)
    0,
])  # fmt: skip
# Shared words and the one for any text; sets of 5 words and 7 or 6, 2 and 4, 1 and 2 words.
SIMILARITY = np.array([(5 / math.sqrt(6 * 8) + 5 / math.sqrt(6 * 7)) / 2, 3 / math.sqrt(3 * 5), 1 / math.sqrt(2 * 3)])


def of_items(copies):
    """The items' values of the corpus of so many copies, one copy of them."""
    spider = (cider_d(copies) + SPICE) / 2
    return {
        **{f"bleu_{order}": values for order, values in enumerate(BLEU_ITEMS, start=1)},
        "rouge_l": [rouge(4 / 5, 4 / 6), rouge(1, 2 / 4), 0],
        "meteor": [meteor(*MATCHED[0] / LENGTHS[0], 0), meteor(*MATCHED[1] / LENGTHS[1], 1 / 2), 0],
        "cider_d": cider_d(copies),
        "spice": SPICE,
        "spider": spider,
        "sbert_sim.bag": SIMILARITY,
        "fer.detector": ERRORS,
        "spider_fl.detector": spider * KEPT,
        "fense.bag.detector": SIMILARITY * KEPT,
    }


# One reference a clip is drawn twice. With the second of the first clip there are 12 words, with the first 13, with
# either for one of two copies 15. Seed 1234 draws the second both times; in the other order either once; of two copies
# the second for both once, then either for one.
DRAWN = {
    case: {"vocab_references_avg": words, "vocab_ratio_avg": 8 / words}
    for case, words in (("corpus", (12 + 12) / 2), ("permuted", (13 + 12) / 2), ("twice", (12 + 15) / 2))
}


def of_corpus(copies):
    """The values of the corpus of so many copies."""
    values = {name: np.mean(items) for name, items in of_items(copies).items()}
    values |= {f"bleu_{order}": value for order, value in enumerate(BLEU, start=1)}
    # One piece counts, of 7 words here and 8 there.
    values["meteor"] = meteor(*MATCHED.sum(axis=0) / LENGTHS.sum(axis=0), 1 / 7.5)
    # a dog barks at night rain falls wind, all but wind among the 15 words of the references.
    values |= dict(zip(vocabulary.NAMES, [8, 15, 8 / 15, 12, 8 / 12, 7 / 8, 7 / 15, 14 / 23, 7 / 16], strict=True))
    if copies == 2:
        values |= DRAWN["twice"]
    return values


VALUES = of_corpus(1)
METRICS = pytest.mark.parametrize("metric", VALUES)


def value(evaluation, metric):
    """The value, if SPICE's jars are here for those that need them."""
    if metric in OF_SPICE and not JARS.exists():
        pytest.skip("the jars in shared/data/spice are not here: SPICE was not computed")
    return evaluation.metrics[metric]["value"]


def near(expected):
    # BLEU's guards against division by zero are 1e-9 and less.
    return pytest.approx(expected, rel=0, abs=1e-8)


def test_every_metric_has_its_value_here(evaluations):
    assert list(evaluations["corpus"].metrics) == list(VALUES)
    assert evaluations["corpus"].items.keys() | set(OF_SPICE) == of_items(1).keys()


@METRICS
def test_worked_out_values(evaluations, metric):
    assert value(evaluations["corpus"], metric) == near(VALUES[metric])
    if metric in of_items(1):
        assert evaluations["corpus"].items[metric] == near(of_items(1)[metric])


@METRICS
def test_the_order_of_clips_does_not_matter(evaluations, metric):
    permuted = evaluations["permuted"]
    expected = DRAWN["permuted"].get(metric, value(evaluations["corpus"], metric))  # what is drawn goes by the place
    assert value(permuted, metric) == pytest.approx(expected, rel=1e-14)
    if metric in permuted.items:
        np.testing.assert_allclose(permuted.items[metric], evaluations["corpus"].items[metric][ORDER], rtol=1e-14)


@METRICS
def test_a_duplicated_corpus(evaluations, metric):
    # All but CIDEr-D, what has it as a part, and what is drawn at random stay as they are.
    assert value(evaluations["twice"], metric) == near(of_corpus(2)[metric])
    if metric in of_items(2):
        assert evaluations["twice"].items[metric] == near(np.tile(of_items(2)[metric], 2))


def test_what_duplication_changes(evaluations):
    changed = {metric for metric in VALUES if of_corpus(2)[metric] != VALUES[metric]}
    assert changed == {"cider_d", "spider", "spider_fl.detector", "vocab_references_avg", "vocab_ratio_avg"}
    # The copies are compared with their own references only, so that perfect captions stay perfect.
    assert evaluations["perfect twice"].metrics["cider_d"]["value"] == pytest.approx(10)


@pytest.mark.parametrize("copies", [1, 2, 3, 50])
def test_the_more_copies_the_lower_cider_d(copies):
    candidates, references = zip(*CORPUS * copies, strict=True)
    mean, items = captions.cider_d(candidates, references)
    assert items == pytest.approx(np.tile(cider_d(copies), copies))
    assert mean == pytest.approx(cider_d(copies).mean())
    assert copies == 1 or mean < cider_d(1).mean() - 0.1


def test_copies_of_some_clips_change_what_they_weigh():
    # With the dog's clip twice, its n-grams weigh ln (4 / 2) in place of ln 3 and the unknown ones ln 4; those of the
    # rain's clip weigh ln 4, which is the same for all that it has.
    candidates, references = zip(*CORPUS, CORPUS[0], strict=True)
    items = captions.cider_d(candidates, references)[1]
    unknown = (math.log(4) / math.log(2)) ** 2
    norms = [math.sqrt(number) for number in (5, 3 + unknown, 2 + unknown, 1 + unknown)]
    assert items == pytest.approx([first_cider_d(norms), second_cider_d(), 0, first_cider_d(norms)])


PERFECT_VALUES = dict.fromkeys(VALUES, 1) | {
    "cider_d": 10,
    "spider": 5.5,
    "spider_fl.detector": 5.5,
    "fer.detector": 0,
    "vocab_candidates": 12,
    "vocab_references": 12,
    "vocab_references_avg": 12,
}


@METRICS
def test_perfect_captions(evaluations, metric):
    for name in ("perfect", "perfect twice"):
        assert value(evaluations[name], metric) == near(PERFECT_VALUES[metric])
        if metric in of_items(1):
            assert evaluations[name].items[metric] == near(np.full(len(CASES[name]), PERFECT_VALUES[metric]))


# No word, no match, and the length 0 against 12 makes BLEU's brevity penalty exp(-inf). A sentence model embeds an
# empty text like any other, and the detector takes it for an error.
NOTHING = np.array([(1 / math.sqrt(8) + 1 / math.sqrt(7)) / 2, 1 / math.sqrt(5), 1 / math.sqrt(3)])
EMPTY_VALUES = dict.fromkeys(VALUES, 0) | {
    "sbert_sim.bag": NOTHING.mean(),
    "fer.detector": 1,
    "fense.bag.detector": NOTHING.mean() / 10,
    "vocab_references": 15,
    "vocab_references_avg": 12,
    "vocab_precision": None,
}


@METRICS
def test_empty_captions(evaluations, metric):
    found = value(evaluations["empty"], metric)
    expected = EMPTY_VALUES[metric]
    assert found is None if expected is None else found == pytest.approx(expected, rel=1e-14, abs=0)
    if metric in ("sbert_sim.bag", "fense.bag.detector"):
        assert evaluations["empty"].items[metric] == pytest.approx(NOTHING * (0.1 if "fense" in metric else 1))
