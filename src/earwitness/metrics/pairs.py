"""Captions and references that pair item by item."""

from __future__ import annotations

from collections.abc import Sequence

from earwitness.errors import EarwitnessError


def require_pairs(metric: str, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuse what is not one candidate and at least one reference an item, and at least one item."""
    empty = sum(not len(texts) for texts in references)
    if not len(candidates) or len(candidates) != len(references) or empty:
        raise EarwitnessError(
            f"{metric} needs one candidate and at least one reference an item, and at least one item: there are "
            f"{len(candidates)} candidates, {len(references)} lists of references, {empty} of them empty."
        )
