"""The one matcher of names: finds the file or the id that a name stands for, under the renamings that corpora undergo.

Names are identities and are never changed. An exact match always wins; any other
match must be the only one, and says which renamings it took.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from functools import cache
from html import unescape
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from earwitness.audio.formats import EXTENSIONS
from earwitness.corpora.state import files_below
from earwitness.errors import CorpusError, listed

if TYPE_CHECKING:  # layouts read this module whenever the configuration is checked, and numpy is not needed for that
    from earwitness.audio.sound import AudioError

BY_NAME = "name"
SEPARATOR = "separator"  # of folders, as Windows has it
_KNOWN_EXTENSION = re.compile(rf"({'|'.join(map(re.escape, EXTENSIONS))})\s*$", re.IGNORECASE)
_ARRAY_EXTENSION = re.compile(r"\.(npy|h5)\s*$", re.IGNORECASE)
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # a control character, or a byte that is not UTF-8


class Match(NamedTuple):
    """The file a name stands for (None: there is none), how it was found, and why an ambiguous match is refused."""

    path: str | None
    found_by: str = ""
    problem: str = ""


class _Name(NamedTuple):
    folder: str
    stem: str
    extension: str


def _on_stem(change: Callable[[str], str]) -> Callable[[_Name], _Name]:
    return lambda name: name._replace(stem=change(name.stem))


# In the order in which they are undone. Odd characters are replaced one by one, so that names keep their lengths.
RENAMINGS: dict[str, Callable[[_Name], _Name]] = {
    "html entity": _on_stem(unescape),
    "unicode form": _on_stem(lambda stem: unicodedata.normalize("NFC", stem)),
    "blank": lambda name: name._replace(stem=" ".join(name.stem.split()), extension=name.extension.strip()),
    "odd character": _on_stem(lambda stem: re.sub(r"[^A-Za-z0-9]", "_", stem)),
    "letter case": lambda name: name._replace(stem=name.stem.casefold(), extension=name.extension.casefold()),
    "extension": lambda name: name._replace(extension=""),
    "folder": lambda name: name._replace(folder=""),
}
_CHARACTERS = ("html entity", "unicode form", "blank")  # they change characters that may have been replaced as odd
_ALWAYS = tuple(renaming for renaming in RENAMINGS if renaming != "folder")
_OF_IDS = ("unicode form", "blank", "letter case", "extension", "folder")


def recordings_below(folder: Path, refused: list[AudioError] | None = None) -> set[str]:
    """Paths of all recordings below a folder, relative to it, as the disk has them; none when it is absent.

    Formats that cannot be read are included, so that a row that refers to one gets a message that says so.

    Folders that cannot be read are added to ``refused``, with the reason; without it CorpusError lists them.
    """
    from earwitness.audio.sound import AudioError

    errors: list[OSError] = []
    found = {
        path
        for path, entry in files_below(folder, errors.append)
        if _KNOWN_EXTENSION.search(entry.name) and not entry.name.startswith("._")
    }
    unread = [AudioError(Path(error.filename), f"cannot be read ({error.strerror})") for error in errors]
    unread.sort(key=str)
    if refused is not None:
        refused += unread
    elif unread:
        heading = f"Not all folders below {folder} can be read:"
        advice = "Permit their reading (chmod), or move them elsewhere."
        raise CorpusError(listed(heading, list(map(str, unread)), advice))
    return found


def candidates(
    names: Collection[str], known: Iterable[str], keys: Callable[[str], Iterable[Hashable]]
) -> dict[str, list[str]]:
    """For each name that is not known exactly, the known ones that share a key with it, in their order.

    A known one that is exactly one of the names is no candidate for another.
    """
    known = dict.fromkeys(known)
    lost = [name for name in names if name not in known]
    taken = set(names) if lost else ()
    index = defaultdict(list)
    for other in known if lost else ():
        if other not in taken:
            for key in keys(other):
                index[key].append(other)
    return {name: list(dict.fromkeys(other for key in keys(name) for other in index.get(key, ()))) for name in lost}


def stem(name: str) -> str:
    """A clip's name without folder, extension, letter case and surplus blanks, its accents composed.

    The extension is one of a recording, or of an array that was saved for it (.npy, .h5).
    """
    return undone(_ARRAY_EXTENSION.sub("", name.replace("\\", "/")), _OF_IDS).stem


def match(names: Sequence[str], files: Iterable[str], any_folder: bool = False) -> list[Match]:
    """For each name the file it stands for.

    Args:
        names: as a table has them, all different; ``/`` between folders, or ``\\`` as Windows writes them.
        files: paths that exist, relative to the same folder as the names.
        any_folder: a name may stand for a file in any folder.

    An exact match is taken, else the only file that differs by known renamings and is no exact match of another name.
    Several candidates for one name, and one candidate for several names, are refused.
    """
    renamings = tuple(RENAMINGS) if any_folder else _ALWAYS
    files, given = set(files), set(names)
    plain = []
    for name in names:
        changed = name.replace("\\", "/")
        plain.append(name if name in files or changed in given else changed)
    near = candidates(plain, sorted(files), lambda path: keys(path, renamings))
    found = [_chosen(name, sorted(near[name]), renamings) if name in near else Match(name, BY_NAME) for name in plain]
    for place, one in enumerate(found):
        if one.path is not None and plain[place] != names[place]:
            how = SEPARATOR if one.found_by == BY_NAME else f"{SEPARATOR} + {one.found_by}"
            found[place] = one._replace(found_by=how)
    takers = defaultdict(list)
    for name, one in zip(names, found, strict=True):
        takers[one.path].append(name)
    for place, name in enumerate(names):
        path = found[place].path
        if path is not None and (others := [other for other in takers[path] if other != name]):
            found[place] = Match(None, problem=f"{path!r} may be it, but as well {_enumerated(others, 'and')}")
    return found


def from_root(name: str, root: Path | None) -> str:
    """An absolute path inside a folder as a path from there; any other name as it is."""
    if root is not None and name.startswith("/"):
        for folder in (root.absolute(), root.resolve()):
            if PurePosixPath(name).is_relative_to(folder) and ".." not in PurePosixPath(name).parts:
                return PurePosixPath(name).relative_to(folder).as_posix()
    return name


def found_by(name: str, file: str, renamings: Sequence[str] = tuple(RENAMINGS)) -> str:
    """The fewest renamings that make a name and a file equal, such as ``html entity + extension``.

    Raises ValueError for two that differ by more.
    """
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
    """A path with exactly these renamings undone, in the order of ``RENAMINGS``."""
    name = _split(path)
    for renaming in RENAMINGS:
        if renaming in renamings:
            name = RENAMINGS[renaming](name)
    return name


def keys(path: str, renamings: Sequence[str] = tuple(RENAMINGS)) -> set[_Name]:
    """A path with renamings undone: two paths that share a key differ by these renamings alone.

    There are several keys where odd characters may have been replaced first: an html entity as it stood or as the
    character it means, a blank as one more odd character.
    """
    names = {_split(path)}
    for renaming in _CHARACTERS:
        if renaming in renamings:
            names |= {RENAMINGS[renaming](name) for name in names}
    for renaming in renamings:
        if renaming not in _CHARACTERS:
            names = {RENAMINGS[renaming](name) for name in names}
    return names


def _chosen(name: str, candidates: Sequence[str], renamings: Sequence[str]) -> Match:
    """The only candidate; a problem for several, and for one that no table can hold."""
    if not candidates:
        return Match(None)
    if bad := [file for file in candidates if _UNWRITABLE.search(file)]:
        return Match(None, problem=f"may be {_enumerated(bad, 'or')}, whose name no table can hold; rename the file")
    if len(candidates) > 1:
        return Match(None, problem=f"may be {_enumerated(candidates, 'or')}; remove or rename the wrong one")
    return Match(candidates[0], found_by(name, candidates[0], renamings))


def _enumerated(names: Sequence[str], word: str) -> str:
    *first, last = map(repr, names)
    return f"{', '.join(first)} {word} {last}" if first else last
