"""The boxes of an MP4 file: whether all are there, and which part of its track is heard. Source: ISO/IEC 14496-12."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

from earwitness.audio.sound import AudioError, second_recording

CHECKED = (b"moov", b"mdat", b"moof")  # the boxes with the index and the samples
PLAIN = (b"mp4a", b"alac")  # codings whose delay nothing but the edit list declares


class Box(NamedTuple):
    """A box: it begins at ``place``, its content at ``start``, and the next box at ``end``."""

    name: bytes
    place: int
    start: int
    end: int


class Edit(NamedTuple):
    """The part of a track that is heard, by the track's clock: ``end`` is rounded to ``tick``; None: up to the end."""

    start: int
    end: Fraction | None
    tick: Fraction


def boxes(file: BinaryIO, place: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, the last of which may claim to end later (4.2)."""
    while place + 8 <= end:
        file.seek(place)
        header = file.read(16)
        if len(header) < 8:  # the box around claims to end beyond the file
            return
        length, name = struct.unpack(">I4s", header[:8])
        start = place + 8
        if length == 1 and len(header) == 16:
            start, length = place + 16, struct.unpack(">Q", header[8:])[0]  # 64 bits after the name
        length = length or end - place  # 0: up to the end of the file
        if length < 8:
            return
        yield Box(name, place, start, place + length)
        place += length


def check_boxes(path: Path, file: BinaryIO, size: int) -> int:
    """0, as no samples are declared; AudioError when an MP4 file ends inside a box, lacks its index or has two.

    A fragmented file that ends between two fragments looks like a complete one.
    """
    names = set()
    for box in boxes(file, 0, size):
        if box.name in CHECKED and box.end > size:
            what = f"{size - box.place} of {box.end - box.place} bytes of its {box.name.decode()}"
            raise AudioError(path, f"is truncated: it has {what}")
        if box.name == b"moov" and box.name in names:
            raise second_recording(path, box.place, "split it there")
        names.add(box.name)
    if b"moov" not in names and names & {b"ftyp", b"mdat"}:
        raise AudioError(path, "is truncated or was never finished: its index (moov) is missing")
    return 0


def edit_of(path: str | os.PathLike) -> Edit | None:
    """The edit list of the first audio track; None where it has none, or one in several parts, or another coding.

    An edit list rounds to a clock of its own, such as milliseconds (8.2.2, 8.6.6).
    """
    with Path(path).open("rb") as file:
        film = _inside(file, Box(b"", 0, 0, Path(path).stat().st_size)).get(b"moov")
        headers = _inside(file, film) if film else {}
        for track in boxes(file, film.start, film.end) if film else ():
            found = headers | _below(file, track) if track.name == b"trak" else {}
            if b"hdlr" in found and _number(file, found[b"hdlr"], 8).to_bytes(4, "big") == b"soun":
                return _edit(file, found)
    return None


def _edit(file: BinaryIO, found: dict[bytes, Box]) -> Edit | None:
    """The edit of a track, from its boxes and those of the film."""
    if not {b"elst", b"mvhd", b"mdhd", b"stsd"} <= found.keys():
        return None
    film, clock = (
        _number(file, box, 20 if _number(file, box, 0, 1) else 12) for box in (found[b"mvhd"], found[b"mdhd"])
    )
    size = 8 if _number(file, found[b"elst"], 0, 1) else 4
    parts = []
    for place in range(8, 8 + (2 * size + 4) * min(3, _number(file, found[b"elst"], 4)), 2 * size + 4):
        duration, start = (_number(file, found[b"elst"], place + offset, size) for offset in (0, size))
        if start < 1 << 8 * size - 1:  # else -1: silence before the sound
            parts.append((duration, start))
    if len(parts) != 1 or not film or not clock or _number(file, found[b"stsd"], 12).to_bytes(4, "big") not in PLAIN:
        return None
    (duration, start), tick = parts[0], Fraction(clock, film)
    return Edit(start, start + duration * tick if duration else None, tick)


def _below(file: BinaryIO, track: Box) -> dict[bytes, Box]:
    """The boxes in a track that matter here, by name, at whatever depth."""
    found = _inside(file, track)
    for name in (b"mdia", b"edts", b"minf", b"stbl"):
        if name in found:
            found |= _inside(file, found[name])
    return found


def _inside(file: BinaryIO, box: Box) -> dict[bytes, Box]:
    return {part.name: part for part in boxes(file, box.start, box.end)}


def _number(file: BinaryIO, box: Box, offset: int, size: int = 4) -> int:
    file.seek(box.start + offset)
    return int.from_bytes(file.read(size), "big")
