"""Tells whether the recordings of a data set were changed, without opening one; cheap to import and quick to run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from earwitness.audio.formats import is_audio


def audio_state(root: Path) -> str:
    """Digest over path (from ``root``), size and time of change of every recording below a data set's root.

    Links to files are followed, links to folders only directly below the root, where the splits stand: those are what
    the layouts read. A link that leads nowhere and a folder that may not be read count as absent. Returns "" for a root
    that does not exist.
    """
    if not root.is_dir():
        return ""
    # Digests are added up, so that the order of the disk does not matter and nothing is kept: there may be a million.
    total = 0
    for path, size, changed in _recordings(os.fspath(root), "", follow=True):
        own = hashlib.sha256(os.fsencode(f"{path}\0{size}\0{changed}"))
        total = (total + int.from_bytes(own.digest(), "big")) % (1 << 256)
    return f"{total:064x}"


def _recordings(folder: str, prefix: str, follow: bool) -> Iterator[tuple[str, int, int]]:
    """Path, size in bytes and time of change in nanoseconds of the recordings in a folder and below it."""
    try:
        entries = os.scandir(folder)
    except OSError:
        return
    with entries:
        yield from _entries(entries, prefix, follow)


def _entries(entries: Iterator[os.DirEntry], prefix: str, follow: bool) -> Iterator[tuple[str, int, int]]:
    for entry in entries:
        if entry.is_dir(follow_symlinks=follow):
            yield from _recordings(entry.path, f"{prefix}{entry.name}/", follow=False)
        elif is_audio(entry.name):
            try:
                found = entry.stat()
            except OSError:
                continue
            yield prefix + entry.name, found.st_size, found.st_mtime_ns
