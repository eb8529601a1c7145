"""Texts to words that have vectors, by the rules of Audio-Text Retrieval in Context (Lou et al., arXiv 2203.13645).

``default``: the words of a text without marks; for each the word as it is written, in lower case, its lemma, its custom
split and, of letters only and three or more, the nearest in spelling; words with an apostrophe or a hyphen also without
the apostrophe, and then part by part. ``reference``, as the published code does: words and marks; for each the lemma,
its custom split, else what is nearest in spelling to it as it is written. So "," and a capital "A" become "i".

Lemmas are simplemma's where the published code has spaCy's, spelling is SymSpell's with its English dictionary: words
within two edits, those with the fewest of them, frequent ones first.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from earwitness.text.cleaning import unicode_words

SHORTEST = 3  # letters of a word whose spelling is corrected
EDITS = 2
_WITH_MARKS = re.compile(r"\w+(?=n['\u2019]t\b)|n['\u2019]t\b|['\u2019]\w+|\w+|\.{2,}|[^\w\s]")

# Of the most frequent words of Clotho's and AudioCaps' captions, those whose lemma simplemma 2.0.0 has wrong.
LEMMAS = {
    **{"singing": "sing", "playing": "play", "growing": "grow", "swinging": "swing", "tinging": "ting"},
    **{"mixes": "mix", "mixed": "mix", "mixing": "mix", "fixing": "fix", "fixed": "fix", "winged": "wing"},
    **{"travelling": "travel", "propeller": "propeller", "weed": "weed"},
}


def tokens_of(text: str, rule: str) -> list[str]:
    """The tokens of a text: words as they are written and, by the rule ``reference``, marks."""
    return _WITH_MARKS.findall(text) if rule == "reference" else unicode_words(text, lower=False)


def trained_as(token: str, rule: str) -> str:
    """The word that a token of a training caption counts as: the first that is looked up, in lower case."""
    return lemma(token) if rule == "reference" else token.lower()


def words_for(token: str, known: Container[str], rule: str, splits: Mapping[str, Sequence[str]]) -> list[str]:
    """The words of ``known`` that stand for a token; none for an unknown one."""
    for words in _candidates(token, rule, splits):
        if found := [word for word in words if word in known]:
            return found
    return [word for part in _parts(token, rule) for word in words_for(part, known, rule, splits)]


def asked_for(token: str, rule: str, splits: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Every word that ``words_for`` may ask for."""
    for words in _candidates(token, rule, splits):
        yield from words
    for part in _parts(token, rule):
        yield from asked_for(part, rule, splits)


def _candidates(token: str, rule: str, splits: Mapping[str, Sequence[str]]) -> Iterator[Sequence[str]]:
    """The words that may stand for a token; the first ones of which any is known are taken."""
    lower = token.lower()
    if rule == "default":
        yield (token,)
        yield (lower,)
        if "'" in lower:
            yield (lower.replace("'", ""),)
    yield (lemma(token),)
    if split := splits.get(lemma(token)) or (splits.get(lower) if rule == "default" else None):
        yield split
    elif rule == "reference":
        yield from ((word,) for word in spelt_like(token))
    elif len(lower) >= SHORTEST and lower.isascii() and lower.isalpha():
        yield from ((word,) for word in spelt_like(lower))


def _parts(token: str, rule: str) -> list[str]:
    parts = [part for part in re.split("['-]", token) if part]
    return parts if rule == "default" and len(parts) > 1 else []


@lru_cache(maxsize=100_000)
def lemma(token: str) -> str:
    """The lemma of an English word: simplemma's, apart from ``LEMMAS`` (findings/simplemma-singing-to-singe.sh).

    >>> lemma("Dogs"), lemma("barking"), lemma("singing"), lemma(",")
    ('dog', 'bark', 'sing', ',')
    """
    from simplemma import lemmatize

    return LEMMAS.get(token.lower()) or lemmatize(token, lang="en")


@lru_cache(maxsize=100_000)
def spelt_like(token: str) -> tuple[str, ...]:
    """The words of SymSpell's English dictionary nearest in spelling, those within two edits.

    >>> spelt_like("barkng")[0], spelt_like(",")
    ('barking', ('a', 'i'))
    """
    from symspellpy import Verbosity

    return tuple(found.term for found in _speller().lookup(token, Verbosity.CLOSEST, max_edit_distance=EDITS))


@cache
def _speller() -> Any:
    """SymSpell with its dictionary of 82,765 words, which takes some seconds and 150 MB: only where it is asked."""
    from symspellpy import SymSpell

    speller = SymSpell(max_dictionary_edit_distance=EDITS, prefix_length=7)
    speller.load_dictionary(str(files("symspellpy") / "frequency_dictionary_en_82_765.txt"), 0, 1)
    return speller
