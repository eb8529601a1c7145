"""Texts become words by the documented rules, and by those of the published code with their side effects."""

import pytest

from earwitness.text.tokens import spelt_like, tokens_of, words_for

SPLITS = {"roundtable": ["round", "table"]}


def found(text, known, rule="default"):
    return [words_for(token, known, rule, SPLITS) for token in tokens_of(text, rule)]


@pytest.mark.parametrize(
    ("token", "known", "words"),
    [
        ("Dogs", {"Dogs", "dogs", "dog"}, ["Dogs"]),
        ("Dogs", {"dogs", "dog"}, ["dogs"]),
        ("Dogs", {"dog"}, ["dog"]),
        ("roundtables", {"round", "table"}, ["round", "table"]),
        ("barkng", {"barking"}, ["barking"]),
        ("xq", {"a", "i"}, []),  # two letters are not corrected
        ("10", {"of", "to", "a"}, []),
        ("dog's", {"dogs"}, ["dogs"]),
        ("high-pitched", {"high", "pitched"}, ["high", "pitched"]),
        ("high-pitched", {"high-pitched", "high"}, ["high-pitched"]),
    ],
)
def test_default_rule(token, known, words):
    assert found(token, known) == [words]


def test_marks_are_no_words():
    assert found('"A dog, barking..." - 3.5!', {"a", "i", "dog", "barking"}) == [["a"], ["dog"], ["barking"], []]


def test_reference_takes_the_lemma_first_and_replaces_marks():
    known = {"dogs", "dog", "bark", "barking", "i", "to"}
    assert found("Dogs barking, A 10!", known, "reference") == [["dog"], ["bark"], ["i"], ["i"], ["to"], ["i"]]
    assert found("a", known, "reference") == [[]] and found("roundtable", {"table"}, "reference") == [["table"]]


def test_side_effects_of_spelling_are_those_of_the_published_code():
    for token in (",", ".", "!", '"', "A"):
        assert spelt_like(token) == ("a", "i")
    assert len(spelt_like("10")) == 38 and spelt_like("10")[:4] == ("of", "to", "a", "in")
    assert spelt_like("-PRON-") == ()
