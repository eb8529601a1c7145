"""The ordered vocabulary and the ids of captions."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from earwitness import registry
from earwitness.errors import EarwitnessError, listed
from earwitness.files import read_json, require_match, write_json
from earwitness.options import CleaningOptions
from earwitness.text.cleaning import clean

PAD, UNK, SOS, EOS = RESERVED = "<pad>", "<unk>", "<sos>", "<eos>"


class Special(NamedTuple):
    """The special tokens of a vocabulary."""

    pad: str
    unk: str
    sos: str
    eos: str


@dataclass(frozen=True)
class Vocabulary:
    """Words and their ids, in order of first occurrence in the training captions, after the special tokens.

    Attributes:
        tokens: id -> token.
        max_words: number of words of the longest training caption.
        options: the text entry of the configuration.
    """

    tokens: tuple[str, ...]
    max_words: int
    options: Any  # of a kind of text; here CleaningOptions

    @classmethod
    def of(cls, sentences: Sequence[Sequence[str]], options: CleaningOptions) -> Vocabulary:
        """The vocabulary of cleaned training captions; ``sentences_of`` has refused reserved words in them."""
        specials = (SOS, EOS) if options.pad_is_eos else (PAD, UNK, SOS, EOS)
        words = dict.fromkeys(word for sentence in sentences for word in sentence)
        return cls((*specials, *words), max(map(len, sentences)), options)

    @classmethod
    def read(cls, path: str | Path, expected: dict[str, Any] | None = None) -> Self:
        """Read ``vocabulary.json``. Raises MismatchError if its provenance differs from ``expected``."""
        content = read_json(path)
        require_match(path, content["provenance"], expected or {})
        return cls.of_content(content)

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of ``content``."""
        kind = registry.load(registry.TEXTS[content["options"]["kind"]].options)
        return cls(tuple(content["tokens"]), content["max_words"], kind.model_validate(content["options"]))

    def content(self) -> dict[str, Any]:
        """Tokens in order, length of the longest training caption and the text entry, as JSON content."""
        return {"tokens": list(self.tokens), "max_words": self.max_words, "options": self.options.model_dump()}

    @property
    def special(self) -> Special:
        """The special tokens, whether the vocabulary has all of them or not."""
        return Special(*RESERVED)

    def write(self, path: str | Path, provenance: dict[str, Any], counts: dict[str, Any]) -> None:
        """Write ``vocabulary.json``: ``content()`` with counts and provenance."""
        write_json(path, {**self.content(), "counts": counts, "provenance": provenance})

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token -> id."""
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def _words(self) -> dict[str, int]:
        """The ids of words: what is written as a special token in a caption is unknown."""
        return {token: number for token, number in self.ids.items() if token not in self.special}

    @property
    def sos(self) -> int:
        """Id that starts every caption."""
        return self.ids[self.special.sos]

    @property
    def eos(self) -> int:
        """Id that ends every caption."""
        return self.ids[self.special.eos]

    @property
    def pad(self) -> int:
        """Id of padding: ``<pad>``, or ``<eos>`` as published (``pad_is_eos``)."""
        return self.ids.get(self.special.pad, self.eos)

    @property
    def never_generated(self) -> list[int]:
        """Ids that decoding must not generate."""
        return [self.ids[token] for token in (PAD, UNK) if token in self.ids]

    def clean(self, caption: str) -> list[str]:
        """The words of a caption, cleaned as the training captions."""
        return clean(caption, self.options.punct_replacement, self.options.cleaning)

    def encode(self, caption: str, max_words: int | None = None) -> list[int]:
        """Ids of ``<sos> words <eos>``, truncated to ``max_words`` words.

        Unknown words become ``<unk>``, or are omitted with ``pad_is_eos``; ``vocabulary.json`` counts such captions.
        """
        known = (self._words.get(word, self.ids.get(self.special.unk)) for word in self.clean(caption)[:max_words])
        return [self.sos, *(number for number in known if number is not None), self.eos]

    def decode(self, ids: Iterable[int]) -> str:
        """The words up to the first ``<eos>``, without special tokens, joined by blanks."""
        words = []
        for number in ids:
            if number == self.eos:
                break
            words.append(self.tokens[number])
        return self.joined([word for word in words if word not in self.special])

    def joined(self, words: Sequence[str]) -> str:
        """The words as text."""
        return " ".join(words)

    def count(self, captions: Sequence[str]) -> dict[str, int]:
        """The number of captions, of those with unknown words, and of those longer than any training caption."""
        cleaned = [self.clean(caption) for caption in captions]
        return {
            "captions": len(cleaned),
            "with_unknown_words": sum(any(word not in self._words for word in words) for words in cleaned),
            "longer_than_training": sum(len(words) > self.max_words for words in cleaned),
        }


def sentences_of(
    captions: Sequence[str],
    options: CleaningOptions,
    place: Callable[[int], str] = "caption {}".format,
) -> list[list[str]]:
    """Cleaned training captions.

    Raises EarwitnessError that lists all captions without words, and those with reserved words; ``place`` says where
    the caption of a number, from 0, stands.
    """
    # Interned: there may be a million captions of a few thousand words.
    cleaned = (clean(caption, options.punct_replacement, options.cleaning) for caption in captions)
    sentences = [list(map(sys.intern, words)) for words in cleaned]
    problems = []
    for number, words in enumerate(sentences):
        reserved = [word for word in words if word in RESERVED]
        if not words or reserved:
            what = f"has the reserved words {', '.join(reserved)}" if reserved else "has no word after cleaning"
            problems.append(f"{place(number)}: {captions[number]!r} {what}")
    if problems:
        raise EarwitnessError(listed("Training captions that cannot be used:", problems))
    return sentences


def frequencies(sentences: Sequence[Sequence[str]], vocabulary: Vocabulary) -> dict[str, int]:
    """Frequencies of tokens in ``<sos> words <eos>`` of the training captions, in the vocabulary's order."""
    counts = Counter(word for sentence in sentences for word in sentence)
    counts[SOS] = counts[EOS] = len(sentences)
    return {token: counts[token] for token in vocabulary.tokens if counts[token]}


def padded(rows: Sequence[Sequence[int]], pad: int, length: int | None = None) -> np.ndarray:
    """Rows of ids as int64 [rows, length], padded with ``pad``; ``length`` defaults to the longest row."""
    array = np.full((len(rows), length or max(map(len, rows))), pad, dtype=np.int64)
    for number, row in enumerate(rows):
        array[number, : len(row)] = row
    return array
