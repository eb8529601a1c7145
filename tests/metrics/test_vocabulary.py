"""Vocabulary statistics: worked by hand, and the draws of aac-metrics."""

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics.vocabulary import NAMES, vocabulary

CANDIDATES = ["a dog barks", "a bell", ""]
REFERENCES = [["a dog barks loudly", "one dog"], ["the bell rings"], ["rain", "wind", "rain and wind"]]


def values(*arguments, **options):
    return {name: entry["value"] for name, entry in vocabulary(*arguments, **options).items()}


def test_worked_by_hand():
    # said: a dog barks bell. known: a dog barks loudly one the bell rings rain wind and. In both: all four said.
    assert list(vocabulary(CANDIDATES, REFERENCES)) == list(NAMES)
    found = values(CANDIDATES, REFERENCES)
    averages = {name: found.pop(name) for name in ("vocab_references_avg", "vocab_ratio_avg")}
    assert found == {
        "vocab_candidates": 4,
        "vocab_references": 11,
        "vocab_ratio": 4 / 11,
        "vocab_precision": 1,
        "vocab_recall": 4 / 11,
        "vocab_f1": pytest.approx(2 * (4 / 11) / (1 + 4 / 11)),
        "vocab_jaccard": 4 / 11,
    }
    assert averages["vocab_ratio_avg"] == 4 / averages["vocab_references_avg"]


def test_a_word_of_no_reference_lowers_precision():
    found = values(["a cat purrs"], [["a dog barks", "the dog"]])
    overlap = [found[f"vocab_{name}"] for name in ("precision", "recall", "f1", "jaccard")]
    assert overlap == [pytest.approx(share) for share in (1 / 3, 1 / 4, 2 / 7, 1 / 6)]


@pytest.mark.parametrize("seed", [1234, 0, 77])
def test_the_draws_are_those_of_aac_metrics(seed):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(seed)
    references = [[f"w{item} v{number}" for number in range(1 + item % 5)] for item in range(40)]
    sizes = []
    for _ in range(5):  # the largest number of references
        drawn = [texts[int(torch.randint(0, len(texts), (), generator=generator))] for texts in references]
        sizes.append(len({word for text in drawn for word in text.split()}))
    assert len(set(sizes)) > 1 or seed != 1234
    assert values(["a"] * 40, references, seed=seed)["vocab_references_avg"] == np.mean(sizes)


def test_one_reference_an_item_has_nothing_to_draw():
    found = values(["a dog", "rain"], [["a dog barks"], ["rain falls"]])
    assert found["vocab_references_avg"] == found["vocab_references"] == 5


def test_a_duplicated_corpus_changes_nothing_but_the_draws():
    once, twice = values(CANDIDATES, REFERENCES), values(CANDIDATES * 2, REFERENCES * 2)
    drawn = {"vocab_references_avg", "vocab_ratio_avg"}  # an item's copy draws for itself
    assert {name for name in NAMES if once[name] != twice[name]} <= drawn
    assert once["vocab_references_avg"] <= twice["vocab_references_avg"] <= once["vocab_references"]


def test_perfect_and_permuted():
    found = values(["rain falls", "a dog"], [["rain falls"], ["a dog"]])
    assert {found[f"vocab_{name}"] for name in ("ratio", "ratio_avg", "precision", "recall", "f1", "jaccard")} == {1}
    order = [2, 0, 1]
    once, permuted = (
        values([CANDIDATES[item] for item in items], [REFERENCES[item] for item in items])
        for items in ([0, 1, 2], order)
    )
    assert {name for name in NAMES if once[name] != permuted[name]} <= {"vocab_references_avg", "vocab_ratio_avg"}


def test_empty_candidates():
    found = vocabulary(["", " "], [["rain"], ["wind"]])
    assert found["vocab_precision"] == {"value": None, "reason": "no generated caption has a word"}
    zeros = {name for name, entry in found.items() if entry["value"] == 0}
    assert zeros == {f"vocab_{name}" for name in ("candidates", "ratio", "ratio_avg", "recall", "f1", "jaccard")}


def test_no_word_anywhere():
    found = vocabulary([""], [["", " "]])
    counts = {"vocab_candidates", "vocab_references", "vocab_references_avg"}
    assert {name for name, entry in found.items() if entry["value"] is not None} == counts
    assert all(entry["reason"] for name, entry in found.items() if name not in counts)


@pytest.mark.parametrize(("candidates", "references"), [([], []), (["a"], []), (["a", "b"], [["a"], []])])
def test_what_does_not_pair_is_refused(candidates, references):
    with pytest.raises(EarwitnessError, match="at least one"):
        vocabulary(candidates, references)
