"""Captions to words: exactly as in CL4AC's code (liuxubo717/cl4ac), or whatever marks people write."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

MARKS = ',.!?;:"'
APOSTROPHES = "'\u2019\u2018\u201b\u02bc\u02b9\u2032`\u00b4"
HYPHENS = "-\u2010\u2011"
_BLANK_BEFORE_MARK = re.compile(rf"\s([{MARKS}](?:\s|$))")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[.,:](?=\d)")
_UNIFIED = str.maketrans(dict.fromkeys(APOSTROPHES, "'") | dict.fromkeys(HYPHENS, "-"))
_AT_AN_EDGE = re.compile(r"(?<![^\s'-])['-]+|['-]+(?![^\s'-])")


def clean(caption: str, punct_replacement: str = "", cleaning: str = "cl4ac") -> list[str]:
    """The words of a caption, in lower case.

    ``cl4ac`` takes away the seven marks ``, . ! ? ; : "``; ``punct_replacement`` replaces a mark: "" as published
    ("engine,and" -> "engineand"), or a blank. ``unicode`` leaves letters with their accents and digits, apostrophes
    and hyphens within words, each written in one way, and marks between digits; all else parts words.
    """
    if cleaning == "unicode":
        return unicode_words(caption, lower=True)
    text = _BLANK_BEFORE_MARK.sub(r"\1", caption.lower())
    text = text.replace("  ", " ")
    for mark in MARKS:
        text = text.replace(mark, punct_replacement)
    return text.split()


def unicode_words(caption: str, lower: bool) -> list[str]:
    """The words of a caption as ``clean`` with ``unicode`` gives them, in lower case or as they are written."""
    caption = caption.translate(_UNIFIED)  # first: to compatibility, some accents that stand alone are a blank and more
    text = unicodedata.normalize("NFKC", caption)
    text = (text.lower() if lower else text).translate(_UNIFIED)
    kept = {found.start() for found in _BETWEEN_DIGITS.finditer(text)}
    text = "".join(character if place in kept else _part(character) for place, character in enumerate(text))
    return _AT_AN_EDGE.sub(" ", text).split()


def _part(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] in "LNM" or character in "'-":
        return character
    return "" if category == "Cf" and character != "\u200b" else " "  # what cannot be seen parts no words


def odd_characters(words: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Characters within words that belong to none, with the number of these words and one of them; frequent first.

    Letters, accents and digits belong to words, and so do ``'`` and ``-`` between others.
    """
    count: Counter[str] = Counter()
    example: dict[str, str] = {}
    for word in words:
        odd = {c for c in word if c not in "'-" and unicodedata.category(c)[0] not in "LNM"}
        for character in sorted(odd | {word[0], word[-1]} & {"'", "-"}):
            count[character] += 1
            example.setdefault(character, word)
    return {character: (number, example[character]) for character, number in count.most_common()}
