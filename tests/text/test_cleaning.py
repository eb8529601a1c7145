"""Captions are cleaned exactly as published (liuxubo717/cl4ac)."""

import pytest

from earwitness.text.cleaning import clean, odd_characters


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


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("\u201cA dog\u2019s bark\u201d \u2014 loud!", "a dog's bark loud"),
        ("'rock \u2018n\u2019 roll', a dogs\u2019 den", "rock n roll a dogs den"),
        ("well\u2010known \u2011 half\u2013open--shut -", "well-known half open shut"),
        ("(rain) [wind] {sea} <unk> \u00absnow\u00bb \u300chail\u300d", "rain wind sea unk snow hail"),
        ("engine,and a horn\u2026then/or", "engine and a horn then or"),
        ("at 3.5 kHz, 1,000 times; 50%", "at 3.5 khz 1,000 times 50"),
        ("cafe\u0301 \u00c9T\u00c9 stra\u00dfe", "caf\u00e9 \u00e9t\u00e9 stra\u00dfe"),
        (
            "\u092c\u093e\u0930\u093f\u0936 \u0939\u094b",
            "\u092c\u093e\u0930\u093f\u0936 \u0939\u094b",
        ),
        ("so\u00adft\u00a0zero\u200bwidth \ufb01re", "soft zero width fire"),
        ("'-' \u2019 \u2014", ""),
    ],
)
def test_words_in_unicode(caption, words):
    assert clean(caption, cleaning="unicode") == words.split()
    assert clean(words, cleaning="unicode") == words.split()
    assert set(odd_characters(words.split())) <= {".", ","}


def test_characters_that_a_cleaning_leaves_in_words():
    words = dict.fromkeys(clean("A dog\u2019s (bark) and a cat's (meow) well-known -") + clean("the 'end"))
    assert odd_characters(words) == {
        "(": (2, "(bark)"),
        ")": (2, "(bark)"),
        "\u2019": (1, "dog\u2019s"),
        "-": (1, "-"),
        "'": (1, "'end"),
    }
