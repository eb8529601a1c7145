"""Numbered notes below a table: why values are missing, each reason once; and text with code in it as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

_CODE = re.compile(r"`([^`\n]+)`")
_NOTE = re.compile("\ue000(\\d+)\ue000")  # the place of a reason within another one; a character for private use


def code(text: str) -> Markup:
    """Text as HTML, with what stands between backticks as code.

    >>> code("Run `make <it>`.")
    Markup('Run <code>make &lt;it&gt;</code>.')
    """
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


class Notes:
    """Distinct reasons for missing values, with the labels of the metrics that lack a value for them."""

    def __init__(self) -> None:
        self._labels: dict[str, dict[str, None]] = {}

    def number(self, reason: str, label: str) -> int:
        """The number of a reason, from 1; a new reason is added."""
        self._labels.setdefault(reason, {})[label] = None
        return list(self._labels).index(reason) + 1

    def lines(self, key: str) -> list[Markup]:
        """The notes in order as HTML; a reason that another one contains is told once, and referred to.

        Args:
            key: what the ids of the notes begin with: ``{key}-reason-{number}``.
        """
        return [
            escape(f"{', '.join(labels)}: ") + _linked(_without_others(reason, self._labels), key)
            for reason, labels in self._labels.items()
        ]


def _without_others(reason: str, reasons: Iterable[str]) -> str:
    """A reason in which the other reasons that it contains are replaced by their numbers, the longest first."""
    numbered = sorted(enumerate(reasons, start=1), key=lambda entry: -len(entry[1]))
    for number, other in numbered:
        if other and other != reason:
            reason = reason.replace(other, f"\ue000{number}\ue000")
    return reason


def _linked(text: str, key: str) -> Markup:
    return Markup(_NOTE.sub(rf'see <a href="#{escape(key)}-reason-\1">note \1</a>', str(code(text))))
