"""Finds the ids of one file in another, and says what the likely mistake is where they are not there."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from earwitness.corpora.csv_reader import shown

MATCHES = ("exact", "stem")
ADVICE = "Ids that differ in folder, extension, letter case or outer blanks only are taken for one by --match stem."

_FOLDER = re.compile(r"^.*[/\\]")
_EXTENSION = re.compile(r"\.(wav|flac|mp3|ogg|opus|m4a|mp4|aac|webm|npy|h5)$")


class Matched(NamedTuple):
    """``found`` gives for ids of the one file those of the other; ``lost`` are those that are not there.

    ``alike`` gives for lost ones what they would be found as by ``--match stem``; ``problems`` are ids that this option
    confuses.
    """

    found: dict[str, str]
    lost: list[str]
    alike: dict[str, str]
    problems: list[str]

    @property
    def changed(self) -> int:
        """How many are spelt otherwise in the other file."""
        return sum(one != other for one, other in self.found.items())


def stem(name: str) -> str:
    """An id without folder, extension of a sound file, letter case and outer blanks, its accents composed."""
    plain = unicodedata.normalize("NFC", name).strip().casefold()
    return _EXTENSION.sub("", _FOLDER.sub("", plain))


def match(
    ids: Iterable[str], known: Collection[str], how: str = "exact", plain: Callable[[str], str] = stem
) -> Matched:
    """Find ``ids`` among ``known``: as they are, and with ``how="stem"`` those left over by their ``plain`` form.

    ``plain`` is another function than ``stem`` for ids that are more than the name of a file.
    """
    ids, known = list(dict.fromkeys(ids)), known if isinstance(known, dict | set) else dict.fromkeys(known)
    found = {name: name for name in ids if name in known}
    lost = [name for name in ids if name not in known]
    if not lost:
        return Matched(found, [], {}, [])
    by_stem, own = defaultdict(list), defaultdict(list)
    for name in known:
        if name not in found:
            by_stem[plain(name)].append(name)
    for name in lost:
        own[plain(name)].append(name)
    one = {name: by_stem[key][0] for key, names in own.items() if len(by_stem[key]) == 1 for name in names[:1]}
    if how == "exact":
        return Matched(found, lost, one, [])
    problems = [
        f"--match stem confuses {' and '.join(map(shown, [*names, *by_stem[key]]))}"
        for key, names in own.items()
        if by_stem[key] and len(names) + len(by_stem[key]) > 2
    ]
    clear = {} if problems else one
    return Matched(found | clear, [name for name in lost if name not in clear], {}, problems)


def told(name: str, matched: Matched) -> str:
    """What to say behind a lost id: the one that is probably meant, or nothing."""
    other = matched.alike.get(name)
    return "" if other is None else f" ({shown(other)} is: the folder, the extension, the case or blanks differ)"
