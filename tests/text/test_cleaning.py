"""Captions are cleaned exactly as published (liuxubo717/cl4ac)."""

import pytest

from earwitness.text.cleaning import clean


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog BARKS", ["a", "dog", "barks"]),
        ("A dog barks.", ["a", "dog", "barks"]),
        ("a dog , a cat .", ["a", "dog", "a", "cat"]),
        ("an engine,and a horn", ["an", "engineand", "a", "horn"]),
        ('He said: "stop!" Did he? Yes; he did', ["he", "said", "stop", "did", "he", "yes", "he", "did"]),
        ("two  blanks   and three", ["two", "blanks", "and", "three"]),
        (" a leading blank", ["a", "leading", "blank"]),
        ("tab\tand\nline", ["tab", "and", "line"]),
        ("well-known dog's (bark) 3 times", ["well-known", "dog's", "(bark)", "3", "times"]),
        ("rain . . . wind", ["rain", "wind"]),
        ("Čaj ÉTÉ", ["čaj", "été"]),
        ("a .b", ["a", "b"]),
        ("...", []),
        ("", []),
    ],
)
def test_words_of_a_caption(caption, words):
    assert clean(caption) == words


def test_marks_may_leave_a_blank_behind():
    assert clean("engine,and a horn.", punct_replacement=" ") == ["engine", "and", "a", "horn"]
