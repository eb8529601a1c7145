"""What lies in a data set's folder, without opening a recording; cheap to import and quick to run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from earwitness.audio.formats import is_audio

Walked = tuple[str, os.DirEntry]


def files_below(folder: str | os.PathLike, refused: Callable[[OSError], Any] | None = None) -> Iterator[Walked]:
    """The files in a folder and below it, as path from the folder and entry; none when it is absent.

    Links are followed, but not back into a folder that is being walked; hidden folders and ``lost+found`` are passed
    over. ``refused`` is called with the error of each folder that cannot be read, the first one included.
    """
    return _walk(os.fspath(folder), "", (), refused)


def _walk(
    folder: str, prefix: str, above: tuple[tuple[int, int], ...], refused: Callable[[OSError], Any] | None
) -> Iterator[Walked]:
    try:
        here = Path(folder).stat()
        if (identity := (here.st_dev, here.st_ino)) in above:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_folder(entry):
                    yield prefix + entry.name, entry
                elif not is_passed_over(entry.name):
                    yield from _walk(entry.path, f"{prefix}{entry.name}/", (*above, identity), refused)
    except (FileNotFoundError, NotADirectoryError):  # absent, or removed meanwhile
        return
    except OSError as error:
        if refused is not None:
            refused(error)


def is_passed_over(name: str) -> bool:
    """Whether a folder of this name is of the system, or hidden, and holds nobody's recordings."""
    return name.startswith(".") or name == "lost+found"


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def audio_state(root: Path) -> str:
    """Digest over path (from ``root``), size and time of change of every recording below a data set's root.

    A link that leads nowhere counts as absent. Returns "" for a root that does not exist.
    """
    if not root.is_dir():
        return ""
    # Digests are added up, so that the order of the disk does not matter and nothing is kept: there may be a million.
    total = 0
    for path, entry in files_below(root):
        if is_audio(entry.name):
            try:
                found = entry.stat()
            except OSError:
                continue
            one = hashlib.sha256(os.fsencode(f"{path}\0{found.st_size}\0{found.st_mtime_ns}"))
            total = (total + int.from_bytes(one.digest(), "big")) % (1 << 256)
    return f"{total:064x}"
