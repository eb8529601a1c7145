"""Captions and references that pair item by item."""

from __future__ import annotations

from typing import Any

from earwitness.errors import EarwitnessError, listed
from earwitness.metrics.arguments import as_list, by_name, described, is_named, text_list


def require_pairs(metric: str, candidates: Any, references: Any) -> tuple[list[str], list[list[str]]]:
    """Candidates and the references of each, from lists and arrays or from mappings with the same names.

    Mappings are put in the order of the references. Refuses what is not one candidate and at least one reference an
    item, and at least one item, all of them texts.

    >>> require_pairs("BLEU", {"b": "rain", "a": "a dog"}, {"a": ("a dog barks",), "b": ["rain falls", "wind"]})
    (['a dog', 'rain'], [['a dog barks'], ['rain falls', 'wind']])
    """
    if is_named(candidates) and is_named(references):
        candidates, references = by_name("", candidates), by_name("", references)
        if names := [name for name in {**references, **candidates} if name not in candidates or name not in references]:
            offenders = [f"{name!r} has no {'references' if name in candidates else 'candidate'}" for name in names]
            raise EarwitnessError(listed(f"{metric} needs candidates and references of the same items:", offenders))
        candidates, references = [candidates[name] for name in references], list(references.values())
    found, lists = text_list(f"{metric}, candidates", candidates), reference_lists(metric, references)
    empty = sum(not item for item in lists)
    if not found or len(found) != len(lists) or empty:
        raise EarwitnessError(
            f"{metric} needs one candidate and at least one reference an item, and at least one item: there are "
            f"{len(found)} candidates, {len(lists)} lists of references, {empty} of them empty."
        )
    return found, lists


def reference_lists(metric: str, references: Any) -> list[list[str]]:
    """The references of each item; EarwitnessError that lists what is no list of texts.

    >>> reference_lists("BLEU", ["a dog barks"])
    Traceback (most recent call last):
    earwitness.errors.EarwitnessError: BLEU needs a list of references for each item:
      - item 0: one string, not a list; put it in brackets
    """
    lists, offenders = [], []
    for number, item in enumerate(as_list(f"{metric}, references", references)):
        try:
            lists.append(as_list("", item))
        except EarwitnessError as error:
            offenders.append(f"item {number}{str(error).removesuffix('.')}")
            continue
        offenders += [
            f"item {number}, reference {place}: {described(text)}, not text"
            for place, text in enumerate(lists[-1])
            if not isinstance(text, str)
        ]
    if offenders:
        raise EarwitnessError(listed(f"{metric} needs a list of references for each item:", offenders))
    return lists
