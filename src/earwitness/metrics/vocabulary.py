"""Vocabulary statistics of generated captions against their references (metrics.md, section 1.8, "Vocab")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earwitness.metrics.pairs import require_pairs

NAMES = (
    "vocab_candidates",
    "vocab_references",
    "vocab_ratio",
    "vocab_references_avg",
    "vocab_ratio_avg",
    "vocab_precision",
    "vocab_recall",
    "vocab_f1",
    "vocab_jaccard",
)
NO_CANDIDATES = "no generated caption has a word"
NO_INTERVAL = "clips drawn with replacement are fewer different ones, and so have fewer different words"
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
    """
    require_pairs("The vocabulary", candidates, references)
    said = _words(candidates)
    known = _words([text for texts in references for text in texts])
    both, drawn = len(said & known), _drawn(references, seed)
    entries = {
        "vocab_candidates": {"value": float(len(said))},
        "vocab_references": {"value": float(len(known))},
        "vocab_ratio": _quotient(len(said), len(known), NO_REFERENCES),
        "vocab_references_avg": {"value": drawn},
        "vocab_ratio_avg": _quotient(len(said), drawn, "no reference that was drawn has a word"),
        "vocab_precision": _quotient(both, len(said), NO_CANDIDATES),
        "vocab_recall": _quotient(both, len(known), NO_REFERENCES),
        "vocab_f1": _quotient(2 * both, len(said) + len(known), f"{NO_CANDIDATES}, and {NO_REFERENCES}"),
        "vocab_jaccard": _quotient(both, len(said | known), f"{NO_CANDIDATES}, and {NO_REFERENCES}"),
    }
    return _told(entries)


def _words(texts: Sequence[str]) -> set[str]:
    return {word for text in texts for word in text.split()}


def _drawn(references: Sequence[Sequence[str]], seed: int) -> float:
    """Mean number of distinct words of one reference an item.

    aac-metrics draws with torch: a Mersenne Twister's next 32 bits, modulo the number of references. NumPy's older
    generator gives the same bits.
    """
    sizes = np.array([len(texts) for texts in references])
    bits = np.random.RandomState(seed).randint(0, 2**32, size=(sizes.max(), len(sizes)), dtype=np.uint32)
    draws = [[texts[one] for texts, one in zip(references, row, strict=True)] for row in bits % sizes]
    return float(np.mean([len(_words(draw)) for draw in draws]))


def _told(entries: dict[str, dict]) -> dict[str, dict]:
    """The entries with a value, with why they have no interval."""
    told = {"ci95_reason": NO_INTERVAL}
    return {name: entry if entry["value"] is None else entry | told for name, entry in entries.items()}


def _quotient(part: float, whole: float, reason: str) -> dict:
    return {"value": part / whole} if whole else {"value": None, "reason": reason}
