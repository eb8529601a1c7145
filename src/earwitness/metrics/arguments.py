"""The kinds of arguments that metrics take: mappings by name, or lists and arrays in which positions are names."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError, listed


def by_name(what: str, given: Any) -> Mapping:
    """A mapping as it is, a pandas Series by its index, and a list, tuple or array by positions from 0.

    Raises EarwitnessError for anything else.

    >>> by_name("the captions", ["a dog", "rain"])
    {0: 'a dog', 1: 'rain'}
    """
    if isinstance(given, Mapping):
        return given
    if is_named(given):
        found = given.to_dict()
        if len(found) < len(given):
            raise EarwitnessError(f"{what}: the index of the Series names {len(given) - len(found)} items twice.")
        return found
    return dict(enumerate(as_list(what, given)))


def is_named(given: Any) -> bool:
    """Whether items have names: those of a mapping, and of a pandas Series.

    >>> is_named({"a.wav": "a dog"}), is_named(["a dog"])
    (True, False)
    """
    return isinstance(given, Mapping) or (hasattr(given, "to_dict") and getattr(given, "ndim", 0) == 1)


def as_list(what: str, given: Any) -> list:
    """The items of a list, tuple, array or other ordered collection.

    Raises EarwitnessError for anything else: one string, whose items would be its letters, a mapping, a set, a number.

    >>> as_list("the captions", ("a dog", "rain"))
    ['a dog', 'rain']
    """
    kind = type(given).__name__
    if isinstance(given, str | bytes):
        hint = "one string, not a list; put it in brackets"
    elif isinstance(given, Mapping):
        hint = f"a mapping ({kind}), where a list is needed"
    elif isinstance(given, Set) and not hasattr(given, "mapping"):  # a view of a dictionary's keys is in order
        hint = f"a {kind}, which has no order; give a list"
    elif hasattr(given, "columns"):
        hint = f"a {kind}; give one of its columns, or its rows as `.to_dict('records')`"
    elif getattr(given, "ndim", 1) == 0 or not hasattr(given, "__len__"):
        hint = f"{reprlib.repr(given)} ({kind}), not a list"
    else:
        return list(given)
    raise EarwitnessError(f"{what}: {hint}.")


def text_list(what: str, given: Any) -> list[str]:
    """A list of texts; EarwitnessError for anything else, with all items that are no text.

    >>> text_list("the captions", ["a dog", 1])
    Traceback (most recent call last):
    earwitness.errors.EarwitnessError: the captions: these are not text:
      - item 1: 1 (int)
    """
    found = as_list(what, given)
    if offenders := [f"item {n}: {described(text)}" for n, text in enumerate(found) if not isinstance(text, str)]:
        raise EarwitnessError(listed(f"{what}: these are not text:", offenders))
    return found


def numbers(what: str, given: Any) -> np.ndarray:
    """A list of numbers as float64 [items]; EarwitnessError for anything else.

    >>> numbers("the ranks", [1, 3]).tolist()
    [1.0, 3.0]
    """
    try:
        found = np.asarray(as_list(what, given), dtype=float)
    except (TypeError, ValueError) as error:
        raise EarwitnessError(f"{what}: {reprlib.repr(given)} are not numbers ({error}).") from error
    if found.ndim != 1:
        raise EarwitnessError(f"{what}: the shape is {list(found.shape)}, a list of numbers is needed.")
    return found


def described(value: object) -> str:
    """A value that is no text, with its type.

    >>> described(None)
    'None (NoneType); an empty cell of a table, perhaps'
    """
    empty = value is None or (isinstance(value, float) and value != value)
    hint = "; an empty cell of a table, perhaps" if empty else ""
    return f"{reprlib.repr(value)} ({type(value).__name__}){hint}"
