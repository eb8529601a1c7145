"""The path map: which file on disk a row of a table means, under the renamings that corpora go through on their way.

Names are identities and are never changed (corpora.md, "Names used throughout"); this module finds the file a name
stands for, and says how. A file that bears a row's own name is that row's. Any other match must be the only one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from html import unescape
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from earwitness.audio.formats import is_audio
from earwitness.corpora.state import files_below

BY_NAME = "name"
_KNOWN_EXTENSION = re.compile(r"\.(wav|flac|ogg|oga|opus|mp3|m4a|mp4|aac|aiff?|webm|mkv)\s*$", re.IGNORECASE)
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # a control character, or a byte that is not UTF-8


class Match(NamedTuple):
    """The file a name stands for (None: there is none), how it was found, and why several candidates are refused."""

    path: str | None
    found_by: str = ""
    problem: str = ""


class _Name(NamedTuple):
    folder: str
    stem: str
    extension: str


def _on_stem(change: Callable[[str], str]) -> Callable[[_Name], _Name]:
    return lambda name: name._replace(stem=change(name.stem))


# In the order in which they are undone. Odd characters are replaced one by one, so that lengths still tell names apart.
RENAMINGS: dict[str, Callable[[_Name], _Name]] = {
    "html entity": _on_stem(unescape),
    "unicode form": _on_stem(lambda stem: unicodedata.normalize("NFC", stem)),
    "blank": lambda name: name._replace(stem=" ".join(name.stem.split()), extension=name.extension.strip()),
    "odd character": _on_stem(lambda stem: re.sub(r"[^A-Za-z0-9]", "_", stem)),
    "letter case": lambda name: name._replace(stem=name.stem.casefold(), extension=name.extension.casefold()),
    "extension": lambda name: name._replace(extension=""),
    "folder": lambda name: name._replace(folder=""),
}
_CHARACTERS = ("html entity", "unicode form", "blank")  # renamings of what the replacement of odd characters may hit
_ALWAYS = tuple(renaming for renaming in RENAMINGS if renaming != "folder")


def recordings_below(folder: Path) -> set[str]:
    """Paths of all recordings in a folder and below it, from the folder, as the disk has them; none when it is absent.

    Those in formats that are not read are among them, for a row that means one to be told so.
    """
    return {path for path, entry in files_below(folder) if is_audio(entry.name) or _is_other_sound(entry.name)}


def _is_other_sound(name: str) -> bool:
    return bool(_KNOWN_EXTENSION.search(name)) and not name.startswith("._")


def match(names: Sequence[str], files: Iterable[str], any_folder: bool = False) -> list[Match]:
    """For each name the file it stands for.

    Args:
        names: as a table has them, all different; ``/`` between folders.
        files: paths that there are, starting from where the names start.
        any_folder: let a name without its folder stand for a file anywhere below.

    A file of exactly that name is taken, else the only one that differs by known renamings and is no other name's own.
    Several candidates for one name, and one candidate for several names, are refused.
    """
    files = set(files)
    own = files.intersection(names)
    if len(own) == len(names):
        return [Match(name, BY_NAME) for name in names]
    renamings = tuple(RENAMINGS) if any_folder else _ALWAYS
    index = defaultdict(list)
    for file in sorted(files - own):
        for key in keys(file, renamings):
            index[key].append(file)
    found = [Match(name, BY_NAME) if name in own else _renamed(name, index, renamings) for name in names]
    return _without_shared(names, found)


def found_by(name: str, file: str, renamings: Sequence[str] = tuple(RENAMINGS)) -> str:
    """The fewest renamings under which a name and a file are one, such as ``html entity + extension``."""
    if name == file:
        return BY_NAME
    one, other = _split(name), _split(file)
    needed = {"folder"} if one.folder != other.folder else set()
    if one.extension.strip().casefold() != other.extension.strip().casefold():
        needed.add("extension")
    others = [renaming for renaming in renamings if renaming not in needed]
    for size in range(len(others) + 1):
        for more in combinations(others, size):
            chosen = [renaming for renaming in renamings if renaming in needed or renaming in more]
            if undone(name, chosen) == undone(file, chosen):
                return " + ".join(chosen) or "folder"  # the same folder, written otherwise: "./rain.wav"
    raise ValueError(f"{name!r} and {file!r} differ by more than renamings")


def _split(path: str) -> _Name:
    folder, _, name = path.rpartition("/")  # pathlib would take a name such as "a/." apart otherwise
    folder = _plain(folder)
    extension = found.group() if (found := _KNOWN_EXTENSION.search(name)) else ""
    return _Name(folder, name.removesuffix(extension) if extension else name, extension)


@cache
def _plain(folder: str) -> str:
    return "" if str(PurePosixPath(folder)) == "." else str(PurePosixPath(folder))


def undone(path: str, renamings: Iterable[str]) -> _Name:
    """What is left of a path when exactly these renamings are undone, in their order."""
    name = _split(path)
    for renaming in RENAMINGS:
        if renaming in renamings:
            name = RENAMINGS[renaming](name)
    return name


def keys(path: str, renamings: Sequence[str] = tuple(RENAMINGS)) -> set[_Name]:
    """What is left of a path when renamings are undone.

    There are several where odd characters may have been replaced first: an html entity as it stood or as the character
    it means, a blank as one more odd character.
    """
    names = {_split(path)}
    for renaming in _CHARACTERS:
        if renaming in renamings:
            names |= {RENAMINGS[renaming](name) for name in names}
    for renaming in renamings:
        if renaming not in _CHARACTERS:
            names = {RENAMINGS[renaming](name) for name in names}
    return names


def _renamed(name: str, index: dict[_Name, list[str]], renamings: Sequence[str]) -> Match:
    candidates = sorted({file for key in keys(name, renamings) for file in index.get(key, ())})
    if not candidates:
        return Match(None)
    if bad := [file for file in candidates if _UNWRITABLE.search(file)]:
        return Match(None, problem=f"may be {_enumerated(bad, 'or')}, whose name no table can hold; rename the file")
    if len(candidates) > 1:
        return Match(None, problem=f"may be {_enumerated(candidates, 'or')}; remove or rename the wrong one")
    return Match(candidates[0], found_by(name, candidates[0], renamings))


def _without_shared(names: Sequence[str], found: list[Match]) -> list[Match]:
    """Refuse a file that several names were matched with."""
    takers = defaultdict(list)
    for name, one in zip(names, found, strict=True):
        if one.path is not None:
            takers[one.path].append(name)
    shared = {path: names for path, names in takers.items() if len(names) > 1}
    return [
        Match(None, problem=f"{one.path!r} may be it, but as well {_enumerated(others, 'and')}")
        if one.path in shared and (others := [other for other in shared[one.path] if other != name])
        else one
        for name, one in zip(names, found, strict=True)
    ]


def _enumerated(names: Sequence[str], word: str) -> str:
    *first, last = map(repr, names)
    return f"{', '.join(first)} {word} {last}" if first else last
