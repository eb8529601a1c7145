"""Matches the ids of one file with those of another, and suggests what was meant where an id has no match."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from earwitness.corpora.csv_reader import shown
from earwitness.corpora.paths import candidates, stem
from earwitness.corpora.youtube import caption_number, cut_of

MATCHES = ("exact", "stem")
ADVICE = (
    "Ids that differ only in folder, extension, letter case or blanks are matched by --match stem, and so are names of "
    "AudioCaps' recordings (Y{id}, {id}_{start}_{end} ...)."
)


class Matched(NamedTuple):
    """``found`` maps ids of the one file to those of the other; ``lost`` are those without a match.

    ``alike`` maps lost ids to what ``--match stem`` would find; ``problems`` are ids that are ambiguous for it.
    """

    found: dict[str, str]
    lost: list[str]
    alike: dict[str, str]
    problems: list[str]

    @property
    def changed(self) -> int:
        """How many are spelt differently in the other file."""
        return sum(one != other for one, other in self.found.items())

    def hint(self, name: str) -> str:
        """What a message says after an id without a match: the one that was probably meant, or nothing."""
        return f" (did you mean {shown(self.alike[name])}?)" if name in self.alike else ""


def match(
    ids: Iterable[str],
    known: Collection[str],
    how: str = "exact",
    key: Callable[[str], str] = stem,
    numbers: Mapping[str, str] | None = None,
) -> Matched:
    """Find ``ids`` among ``known``: exactly, and with ``how="stem"`` the remaining ones by ``key``.

    Where all that is known are clips of YouTube videos, their usual names are found too (``youtube``), and so are
    recordings called by the ``numbers`` of captions, which map to what is known. ``key`` is another function than
    ``stem`` for ids that are more than the name of a file. Raises ValueError for another ``how``.
    """
    if how not in MATCHES:
        raise ValueError(f"match is {how!r}; it is one of {', '.join(MATCHES)}")
    ids, known = list(dict.fromkeys(ids)), known if isinstance(known, dict | set) else dict.fromkeys(known)
    found = {name: name for name in ids if name in known}
    lost = [name for name in ids if name not in known]
    groups = defaultdict(list)  # known ids that share a key -> the lost ids that share it too
    near = candidates(ids, known, lambda name: (key(name),))
    videos = key is stem and bool(lost) and all(map(cut_of, known))
    for name, others in candidates(ids, known, _video).items() if videos else ():
        cut, number = cut_of(name), caption_number(name)
        if cut and not near[name]:
            near[name] = [other for other in others if (theirs := cut_of(other)) and cut.may_be(theirs)]
        elif numbers and number in numbers and not near[name]:
            near[name] = [numbers[number]]
    for name, others in near.items():
        if others:
            groups[tuple(others)].append(name)
    alike = {names[0]: others[0] for others, names in groups.items() if len(others) == 1}
    if how == "exact":
        return Matched(found, lost, alike, [])
    problems = [
        f"--match stem cannot tell apart {' and '.join(map(shown, [*names, *others]))}"
        for others, names in groups.items()
        if len(names) + len(others) > 2
    ]
    clear = {} if problems else alike
    return Matched(found | clear, [name for name in lost if name not in clear], {}, problems)


def _video(name: str) -> tuple[str, ...]:
    cut = cut_of(name)
    return (cut.youtube_id,) if cut else ()
