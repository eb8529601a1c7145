"""CIDEr-D with the references' statistics computed once (docs/metrics.md, section 1.5).

A text's n-grams are kept as a table of parallel arrays (text, n-gram, count), so that scores are sums over matching
rows of two tables.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.metrics.arguments import text_list
from earwitness.metrics.pairs import reference_lists

ORDERS = 4  # n-grams of one to four words
SIGMA = 6.0  # width of the penalty on a difference of length, in bigrams


class Table(NamedTuple):
    """The n-grams of some texts, one row for each different n-gram of a text."""

    text: np.ndarray  # index of the text
    gram: np.ndarray  # id of the n-gram
    count: np.ndarray  # type: ignore[assignment]  # tuple.count is not needed; how often the text has it
    order: np.ndarray  # 0 for single words to 3 for 4-grams
    weight: np.ndarray  # count times inverse document frequency
    norms: np.ndarray  # [texts, 4] Euclidean length of the text's weights, for each order
    lengths: np.ndarray  # [texts] number of bigrams: 0 for an empty text and for a single word

    def take(self, rows: np.ndarray) -> Table:
        """The same texts with some of the rows."""
        text, gram, count, order, weight = (column[rows] for column in self[:5])
        return Table(text, gram, count, order, weight, self.norms, self.lengths)


def ngrams(text: str) -> Counter[tuple[str, ...]]:
    """How often each n-gram of one to four words occurs in a tokenised text.

    >>> ngrams("a dog a")
    Counter({('a',): 2, ('dog',): 1, ('a', 'dog'): 1, ('dog', 'a'): 1, ('a', 'dog', 'a'): 1})
    """
    a = text.split()
    b, c, d = a[1:], a[2:], a[3:]
    grams = (zip(*words, strict=False) for words in ((a,), (a, b), (a, b, c), (a, b, c, d)))
    return Counter(chain.from_iterable(grams))


def penalty(difference: np.ndarray) -> np.ndarray:
    """The factor in (0, 1] for a difference of length in bigrams.

    >>> penalty(np.array([0, 6])).round(3).tolist()
    [1.0, 0.607]
    """
    return np.exp(-(difference**2) / (2 * SIGMA**2))


class CiderD:
    """CIDEr-D of candidates against fixed references.

    ``references`` holds the PTB-tokenised references of each item, at least one an item. Document frequencies come
    from these very references, so scores of a subset are not comparable with scores of the whole. With one item every
    weight, and so every score, is 0.

    Raises EarwitnessError when there is no item, or an item without a reference.

    >>> cider = CiderD([["a dog barks at night"], ["the wind"]])
    >>> cider.score(["a dog barks at night", "rain"]).round(3).tolist()
    [10.0, 0.0]
    >>> cider.constant(["the wind", "a dog"]).round(3).tolist()
    [2.5, 1.249]
    """

    def __init__(self, references: Sequence[Sequence[str]]):
        references = reference_lists("CIDEr-D", references)
        if not references or not all(references):
            raise EarwitnessError("CIDEr-D needs at least one item, and at least one reference for each item.")
        flat = [text for item in references for text in item]
        self._sizes = np.array([len(item) for item in references])
        self._item = np.repeat(np.arange(len(references)), self._sizes)  # of each reference
        self._count_documents([ngrams(text) for text in flat])
        table = self._table(flat)
        # What every item has weighs nothing: without it there is no norm of 0 to divide by.
        self._references = table = table.take(table.weight > 0)
        self._share = table.weight / table.norms[table.text, table.order]
        key = self._key(self._item[table.text], table.gram)
        self._sorted = np.argsort(key, kind="stable")
        self._keys = key[self._sorted]

    def score(self, candidates: Sequence[str]) -> np.ndarray:
        """The score in 0 to 10 of one tokenised candidate for each item, in order: float64 [items].

        An empty candidate scores 0. Raises EarwitnessError when the numbers of candidates and items differ.
        """
        items, candidates = len(self._sizes), text_list("CIDEr-D, candidates", candidates)
        if len(candidates) != items:
            raise EarwitnessError(f"CIDEr-D got {len(candidates)} candidates for {items} items.")
        table = self._table(candidates)
        row, other = self._matches(self._key(table.text, table.gram))
        text, references = table.text[row], self._references
        product = np.minimum(table.weight[row], references.weight[other]) * self._share[other]
        product *= penalty(table.lengths[text] - references.lengths[references.text[other]])
        product /= table.norms[text, table.order[row]]
        return 10 * np.bincount(text, product, minlength=items) / (ORDERS * self._sizes)

    def constant(self, captions: Sequence[str]) -> np.ndarray:
        """The mean over all items of the score of each tokenised caption, given to every item: float64 [captions].

        Equal to ``score([caption] * items).mean()``, at a cost that does not grow with captions times items. With
        idf >= 0, min(a, b) of two counts is the sum over t >= 1 of [a >= t][b >= t], so a caption's sum over all
        references is a dot product with one vector for each length of caption.
        """
        references, table = self._references, self._table(text_list("CIDEr-D, captions", captions))
        depth = int(references.count.max(initial=0)) + 1
        theirs, steps = _steps(references, depth)
        known, column = np.unique(steps, return_inverse=True)
        item = self._item[references.text[theirs]]
        value = (self._idf[references.gram] * self._share)[theirs] / self._sizes[item]
        length = references.lengths[references.text[theirs]]
        ours, steps = _steps(table, depth)
        ours, steps = ours[found := np.isin(steps, known)], steps[found]
        place = np.searchsorted(known, steps)
        text = table.text[ours]
        gain = np.zeros(len(ours))
        for candidate in np.unique(table.lengths):
            rows = table.lengths[text] == candidate
            gain[rows] = np.bincount(column, value * penalty(candidate - length), minlength=len(known))[place[rows]]
        gain /= table.norms[text, table.order[ours]]
        return 10 * np.bincount(text, gain, minlength=len(captions)) / (ORDERS * len(self._sizes))

    def _count_documents(self, counts: list[Counter]) -> None:
        """Number the n-grams of the references and weigh them by ln M - ln (items that have them in a reference)."""
        self._ids = {
            gram: number for number, gram in enumerate(dict.fromkeys(gram for text in counts for gram in text))
        }
        gram = np.fromiter((self._ids[gram] for text in counts for gram in text), np.int64)
        item = np.repeat(self._item, [len(text) for text in counts])
        pairs = np.unique(gram * len(self._sizes) + item)
        frequency = np.bincount(pairs // len(self._sizes), minlength=len(self._ids))
        # Four more ids stand for the n-grams that no reference has, one for each order.
        logs = np.log(np.concatenate([frequency, np.ones(ORDERS)]))
        self._idf = math.log(len(self._sizes)) - logs
        self._orders = np.array([len(gram) - 1 for gram in self._ids] + list(range(ORDERS)))

    def _table(self, texts: Sequence[str]) -> Table:
        counts = [ngrams(text) for text in texts]
        unknown = len(self._ids) - 1
        text = np.repeat(np.arange(len(texts)), [len(grams) for grams in counts])
        gram = np.fromiter((self._ids.get(gram, unknown + len(gram)) for grams in counts for gram in grams), np.int64)
        count = np.fromiter((number for grams in counts for number in grams.values()), np.int64)
        order, weight = self._orders[gram], count * self._idf[gram]
        squares = np.bincount(text * ORDERS + order, weight**2, minlength=len(texts) * ORDERS)
        # Of n words a text has n - 1 bigrams; its single words are counted here.
        words = np.bincount(text[order == 0], count[order == 0], minlength=len(texts))
        lengths = np.maximum(words - 1, 0)
        return Table(text, gram, count, order, weight, np.sqrt(squares).reshape(-1, ORDERS), lengths)

    def _key(self, item: np.ndarray, gram: np.ndarray) -> np.ndarray:
        return item * len(self._idf) + gram

    def _matches(self, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of a row of a table with these keys and a row of the references with the same key."""
        first = np.searchsorted(self._keys, key, side="left")
        number = np.searchsorted(self._keys, key, side="right") - first
        row = np.repeat(np.arange(len(key)), number)
        within = np.arange(len(row)) - np.repeat(np.cumsum(number) - number, number)
        return row, self._sorted[first[row] + within]


def _steps(table: Table, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """One row for each t from 1 to the count (below ``depth``): the table's row, and a number for (n-gram, t)."""
    count = np.minimum(table.count, depth - 1)
    row = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, table.gram[row] * depth + step
