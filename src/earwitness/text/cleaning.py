"""Captions to words, exactly as in CL4AC's code (liuxubo717/cl4ac)."""

from __future__ import annotations

import re

MARKS = ',.!?;:"'
_BLANK_BEFORE_MARK = re.compile(rf"\s([{MARKS}](?:\s|$))")


def clean(caption: str, punct_replacement: str = "") -> list[str]:
    """The words of a caption: lower case, without the seven marks ``, . ! ? ; : "``.

    ``punct_replacement`` replaces a mark: "" as published ("engine,and" -> "engineand"), or a blank.
    """
    text = _BLANK_BEFORE_MARK.sub(r"\1", caption.lower())
    text = text.replace("  ", " ")
    for mark in MARKS:
        text = text.replace(mark, punct_replacement)
    return text.split()
