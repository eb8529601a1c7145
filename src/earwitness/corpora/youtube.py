"""How files of clips cut from YouTube videos are called, and which row of a table such a file belongs to.

AudioCaps and AudioGrounding name clips by the id of a video and the second where the clip begins. Audio in circulation
is called by the id, often with a Y before it, and with or without the times, or by the number of the clip's caption,
once for each of its captions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from earwitness.corpora.paths import Match
from earwitness.fetch.videos import ID

OWN_SPLITS = {"train": "development", "val": "validation", "test": "evaluation"}  # of both corpora, and what they are
WITHOUT_SPLIT = "move the table away to do without this split"

_FOLDERS = {
    "train": {"train", "development"},
    "val": {"val", "validation", "valid"},
    "test": {"test", "evaluation", "eval"},
}
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")  # of "60.000_70.000", ".000" is none
_TIME = r"\d+(?:\.\d+)?"
# An id may hold what separates the times, but its length is fixed: no name can be read in two ways.
_CUT = re.compile(rf"(?P<prefix>Y?)(?P<id>{ID.pattern})(?:_(?P<start>{_TIME})(?:_(?P<end>{_TIME}))?)?")
_MILLISECONDS = 1000  # no clip is this many seconds long, and none as short as this many milliseconds
_TOLERANCE = 1e-3  # seconds


class Cut(NamedTuple):
    """The parts of the name of a clip's file; times as written in it, empty where it has none."""

    youtube_id: str
    prefix: str = ""
    start: str = ""
    end: str = ""

    def begins(self) -> dict[str, float]:
        """The seconds at which the clip may begin, by the unit that the name may have them in; none without a time."""
        if not self.start:
            return {}
        seconds = {"s": float(self.start), "ms": float(self.start) / 1000}
        if "." in self.start + self.end:
            return {"s": seconds["s"]}
        if self.end:
            unit = "ms" if float(self.end) - float(self.start) >= _MILLISECONDS else "s"
            return {unit: seconds[unit]}
        return seconds

    def may_be(self, other: Cut) -> bool:
        """Whether another name may be that of the same clip: of the same video, and not from another second on."""
        ours, theirs = self.begins().values(), other.begins().values()
        near = any(abs(one - two) <= _TOLERANCE for one in ours for two in theirs)
        return self.youtube_id == other.youtube_id and (near or not ours or not theirs)

    def units(self, start: float | None) -> list[str]:
        """The units in which the name's time is ``start``, all of them where that is not known."""
        return [unit for unit, begin in self.begins().items() if start is None or abs(begin - start) <= _TOLERANCE]

    def habit(self, start: float | None) -> str:
        """The naming habit, such as ``Y{youtube_id}`` or ``{youtube_id}_{start}_{end} ms``."""
        times = "".join(f"_{{{name}}}" for name in ("start", "end") if getattr(self, name))
        unit = " ms" if self.units(start) == ["ms"] else ""
        return f"{self.prefix}{{youtube_id}}{times}{unit}"


class Wanted(NamedTuple):
    """A row whose recording is looked for; ``start`` in seconds, None where the table has none."""

    youtube_id: str
    split: str  # as in the corpus
    start: float | None = None
    name: str = ""  # of the file, where the table has one
    caption_ids: tuple[str, ...] = ()  # AudioCaps' numbers of its captions


def cut_of(name: str) -> Cut | None:
    """The parts of a file's name, without folders and extension; None when it has no id."""
    found = _CUT.fullmatch(_stem(name))
    return Cut(found["id"], found["prefix"], found["start"] or "", found["end"] or "") if found else None


def caption_number(name: str) -> str:
    """The number that a file is called by, without folders and extension; "" where it is called otherwise."""
    stem = _stem(name)
    return stem if stem.isdecimal() and stem.isascii() else ""


def _stem(name: str) -> str:
    return _EXTENSION.sub("", name.replace("\\", "/").rpartition("/")[2])


def is_youtube_id(text: str) -> bool:
    """Whether a text has the form of a video's id: 11 letters, digits, ``-`` and ``_``."""
    return bool(ID.fullmatch(text))


def names_split(path: str, split: str) -> bool:
    """Whether a folder on a path, which starts at the root, has a name of the corpus' split."""
    return not _FOLDERS[split].isdisjoint(path.casefold().split("/")[:-1])


def find(wanted: Sequence[Wanted], files: Iterable[str]) -> list[Match]:
    """For each row the file that its recording is in, by the naming habits.

    A file whose name has another time than the row is not the row's. Of several, those in a folder of the row's split
    win, then those of the very name. Several that are left for one row are refused, and so is one for several rows
    (``without_rivals``). A row without such a file has the one that the number of one of its captions names, the first
    that there is.
    """
    cuts, numbers = defaultdict(list), defaultdict(list)
    for file in sorted(files):
        if cut := cut_of(file):
            cuts[cut.youtube_id].append((file, cut))
        elif number := caption_number(file):
            numbers[number].append(file)
    found = [_found(row, cuts[row.youtube_id]) if row.youtube_id in cuts else _numbered(row, numbers) for row in wanted]
    return without_rivals(wanted, found)


def _numbered(row: Wanted, numbers: Mapping[str, Sequence[str]]) -> Match:
    files = next((numbers[one] for one in row.caption_ids if one in numbers), [])
    near = [file for file in files if names_split(file, row.split)] or files
    if len(near) > 1:
        return Match(None, problem=_several(near))
    return Match(near[0], "{audiocap_id}") if near else Match(None)


def _several(files: Iterable[str]) -> str:
    return f"may be {' or '.join(map(repr, files))}; remove or rename the wrong one"


def _found(row: Wanted, candidates: list[tuple[str, Cut]]) -> Match:
    fitting = [(file, cut) for file, cut in candidates if not cut.start or cut.units(row.start)]
    if not fitting:
        names = " and ".join(repr(file) for file, _ in candidates)
        return Match(None, problem=f"begins at {row.start:g} s, and by its name something else is in {names}")
    if len(fitting) > 1:
        fitting = [one for one in fitting if names_split(one[0], row.split)] or fitting
    if len(fitting) > 1 and row.name:
        fitting = [one for one in fitting if one[0].rpartition("/")[2] == row.name] or fitting
    if len(fitting) > 1:
        return Match(None, problem=_several(file for file, _ in fitting))
    file, cut = fitting[0]
    return Match(file, cut.habit(row.start))


def without_rivals(wanted: Sequence[Wanted], found: Sequence[Match]) -> list[Match]:
    """Refuse a file that is several rows', unless it lies in the folder of the split of one of them, and is that one's.

    The same clip listed in several splits may well have one file: it is the same sound.
    """
    kept = list(found)
    takers = defaultdict(list)
    for number, one in enumerate(found):
        if one.path is not None:
            takers[one.path].append(number)
    for path, numbers in takers.items():
        fitting = [number for number in numbers if names_split(path, wanted[number].split)]
        if len(fitting) == 1:
            lost = [
                number
                for number in numbers
                if number not in fitting and _are_rivals(wanted[number], wanted[fitting[0]])
            ]
            for number in lost:
                kept[number] = Match(None)
            numbers = [number for number in numbers if number not in lost]
        for number in numbers:
            rivals = [n for n in numbers if n != number and _are_rivals(wanted[n], wanted[number])]
            if rivals and fitting != [number]:
                kept[number] = Match(None, problem=f"{path!r} may be it, but as well {_rows(wanted, rivals)}")
    return kept


def _are_rivals(one: Wanted, other: Wanted) -> bool:
    """Whether two rows cannot have the same file: they are of one split, or begin at different seconds."""
    if one.start is None or other.start is None:
        return one.split == other.split
    return one.split == other.split or abs(one.start - other.start) > _TOLERANCE


def _rows(wanted: Sequence[Wanted], numbers: list[int]) -> str:
    return " and ".join(f"{wanted[n].split}/{wanted[n].name or wanted[n].youtube_id}" for n in numbers)
