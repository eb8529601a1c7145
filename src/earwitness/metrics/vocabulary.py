"""Vocabulary statistics of generated captions against their references (docs/metrics.md, section 1.9)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earwitness.metrics.catalogue import of_kind
from earwitness.metrics.pairs import require_pairs

NAMES = tuple(metric.name for metric in of_kind("captioning") if metric.name.startswith("vocab_"))
NO_CANDIDATES = "no generated caption has a word"
NO_INTERVAL = (
    "a bootstrap resample leaves out about a third of the clips, and with them words: the interval would be biased"
)
NO_REFERENCES = "no reference has a word"


def vocabulary(candidates: Sequence[str], references: Sequence[Sequence[str]], seed: int = 1234) -> dict[str, dict]:
    """Sizes of the vocabularies and their overlap: ``{"value": float}`` by each of ``NAMES``.

    Takes PTB tokens joined by blanks, one candidate and at least one reference an item. ``vocab_candidates`` and
    ``vocab_references`` count distinct words, ``vocab_ratio`` is their quotient. ``vocab_references_avg`` is the mean
    number of distinct words when one reference an item is drawn, as many draws as the largest number of references an
    item has, and ``vocab_ratio_avg`` the quotient to it: what one annotator writes. The draws are those of aac-metrics
    with the same seed. Precision is the share of the candidates' words that a reference has, recall the share of the
    references' words that a candidate has; ``vocab_f1`` and ``vocab_jaccard`` follow.

    A quotient of 0 words is ``{"value": None, "reason": str}``. Raises EarwitnessError for texts that do not pair.

    >>> found = vocabulary(["a dog", "rain"], [["a dog barks"], ["rain falls"]])
    >>> found["vocab_candidates"]["value"], found["vocab_recall"]["value"]
    (3.0, 0.6)
    """
    candidates, references = require_pairs("The vocabulary", candidates, references)
    generated = _words(candidates)
    known = _words([text for texts in references for text in texts])
    both = len(generated & known)
    # aac-metrics draws with torch: a Mersenne Twister's next 32 bits, modulo the number of references. NumPy's older
    # generator gives the same bits.
    sizes = np.array([len(texts) for texts in references])
    bits = np.random.RandomState(seed).randint(0, 2**32, size=(sizes.max(), len(sizes)), dtype=np.uint32)
    draws = [[texts[one] for texts, one in zip(references, row, strict=True)] for row in bits % sizes]
    drawn = float(np.mean([len(_words(draw)) for draw in draws]))
    nothing = f"{NO_CANDIDATES}, and {NO_REFERENCES}"
    quotients = {  # numerator, denominator, and the reason where the denominator is 0
        "vocab_candidates": (len(generated), 1, ""),
        "vocab_references": (len(known), 1, ""),
        "vocab_ratio": (len(generated), len(known), NO_REFERENCES),
        "vocab_references_avg": (drawn, 1, ""),
        "vocab_ratio_avg": (len(generated), drawn, "no reference that was drawn has a word"),
        "vocab_precision": (both, len(generated), NO_CANDIDATES),
        "vocab_recall": (both, len(known), NO_REFERENCES),
        "vocab_f1": (2 * both, len(generated) + len(known), nothing),
        "vocab_jaccard": (both, len(generated | known), nothing),
    }
    return {
        name: {"value": part / whole, "ci95_reason": NO_INTERVAL} if whole else {"value": None, "reason": reason}
        for name, (part, whole, reason) in quotients.items()
    }


def _words(texts: Sequence[str]) -> set[str]:
    return {word for text in texts for word in text.split()}
