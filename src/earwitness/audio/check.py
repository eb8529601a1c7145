"""Checks that a recording is complete and valid before time is spent on it.

libsndfile reads a truncated wav, ogg or mp3 without an error, and FFmpeg some m4a, so the sizes that containers declare
are checked as well as decoding.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from earwitness.audio.boxes import check_boxes
from earwitness.audio.decode import open_recording
from earwitness.audio.formats import FORMATS
from earwitness.audio.mp3 import after_id3, check_frames
from earwitness.audio.sound import BUFFER, MISSING, AudioError, Sound, conversion, mix, second_recording, unreadable
from earwitness.audio.wav import check_chunks

MAX_CHANNELS = 2
RATES = (1000, 1_000_000)  # Hz; others are damage, and resampling from them would make nothing or fill the memory
LOUDEST = 2.0**32  # full scale is 1; more than 32-bit numbers give that were never scaled
OGG_TAIL = 1 << 17  # bytes: two pages of the maximum size
CANCELLED = 1e-3  # of the channels' level, that is -60 dB: an average below it is silence beside them
# Where a second stream begins inside a file, by format.
_STREAMS = {"Ogg": re.compile(rb"OggS\0\x02"), "FLAC": re.compile(rb"fLaC[\0\x80]\0\0\x22")}


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """Properties of a recording: ``frames`` is the number of samples per channel, ``sha256`` the file's digest."""

    seconds: float
    sample_rate: int  # Hz
    channels: int
    frames: int
    sha256: str
    silent: bool  # every sample is exactly 0
    antiphase: bool = False  # the two channels cancel each other out: their average is silence


def inspect(path: str | os.PathLike) -> AudioFacts:
    """Decode a recording once, in blocks, and return its properties.

    Raises AudioError when the file is missing, empty, truncated, damaged or several files joined, when it has more than
    two channels or samples that are not finite or beyond ``LOUDEST``, and when its extension is unknown or belongs to
    another format. What passes is read by ``decode.load`` in the same way, and gives finite features.
    """
    path = Path(path)
    try:
        size = _size(path)
        if (claimed := FORMATS.get(path.suffix.lower())) is None:
            raise AudioError(path, f"has the unknown extension {path.suffix!r}; known are {', '.join(FORMATS)}")
        with path.open("rb", buffering=BUFFER) as file:
            if (found := contents(file)) not in (claimed, None):
                raise AudioError(path, f"is named {path.suffix}, but its contents are {found}; rename or convert it")
            declared = _DECLARED[claimed](path, file, size)
            digest = _digest(path, file, claimed)
    except OSError as error:
        raise AudioError(path, unreadable(error)) from error
    with open_recording(path) as sound:
        rate, channels = sound.sample_rate, sound.channels
        if channels > MAX_CHANNELS:
            raise AudioError(path, f"has {channels} channels; only mono and stereo are supported")
        if not RATES[0] <= rate <= RATES[1]:
            raise AudioError(path, f"has a sample rate of {rate} Hz")
        frames, silent, antiphase = _decode(path, sound)
    if not frames:
        hint = " (a wav that was streamed or never finished has length 0 in its header; convert it)"
        raise AudioError(path, "is empty: it has a header but no samples" + (hint if claimed == "WAV" else ""))
    if frames < declared:
        hint = f"; if it plays to its end, convert it (`{conversion(path)}`)" if claimed == "MP3" else ""
        raise AudioError(path, f"is truncated: it has {frames} of {declared} samples{hint}")
    return AudioFacts(frames / rate, rate, channels, frames, digest, silent, antiphase)


def _size(path: Path) -> int:
    """Size in bytes; AudioError when the file is missing, empty or not a regular file."""
    try:
        found = path.stat()
    except (NotADirectoryError, ValueError) as error:  # a path below a file, or an invalid name
        raise AudioError(path, MISSING) from error
    if not stat.S_ISREG(found.st_mode):
        raise AudioError(path, "is not a file")
    if not found.st_size:
        raise AudioError(path, "is empty (0 bytes)")
    return found.st_size


def contents(file: BinaryIO) -> str | None:
    """Format of a file by its first bytes; None when they match none."""
    file.seek(after_id3(file))
    head = file.read(16)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return "WAV"
    for magic, offset, name in _MAGIC:
        if head[offset:].startswith(magic):
            return name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "MP3" if head[1] & 0x06 else "AAC"  # the layer is never 0 in MPEG audio, always in ADTS
    return None


_MAGIC = (
    (b"fLaC", 0, "FLAC"),
    (b"OggS", 0, "Ogg"),
    (b"FORM", 0, "AIFF"),
    (b"caff", 0, "CAF"),
    (b".snd", 0, "AU"),
    (b"RIFF", 0, "RIFF, but not WAVE"),
    (b"riff", 0, "Wave64"),
    (b"ftyp", 4, "MP4"),
    (b"\x1aE\xdf\xa3", 0, "Matroska or WebM"),
    (b"PK\x03\x04", 0, "a zip archive"),
    (b"7z\xbc\xaf", 0, "a 7z archive"),
    (b"<", 0, "a web page or XML"),
)


def _digest(path: Path, file: BinaryIO, claimed: str) -> str:
    """The file's sha256; AudioError when a second stream begins in it, of which libsndfile would read nothing."""
    digest, begins = hashlib.sha256(), _STREAMS.get(claimed)
    start = _first_stream(file) if begins else 0
    file.seek(0)
    place, before = 0, b""
    while block := file.read(BUFFER):
        digest.update(block)
        if begins:
            # What stands across two blocks is found as well.
            for part, offset in ((before[-16:] + block[:16], place - len(before[-16:])), (block, place)):
                if (found := begins.search(part, max(0, start - offset))) is not None:
                    raise second_recording(path, offset + found.start())
            before = block
        place += len(block)
    return digest.hexdigest()


def _first_stream(file: BinaryIO) -> int:
    """Offset behind the beginning of the first stream: flac's mark, or Ogg's first pages, one for each track."""
    place = after_id3(file)
    file.seek(place)
    while (page := file.read(27))[:4] == b"OggS" and len(page) == 27 and page[5] & 2:
        place += 27 + page[26] + sum(file.read(page[26]))
        file.seek(place)
    return place + (page[:4] == b"fLaC")


def _decode(path: Path, sound: Sound) -> tuple[int, bool, bool]:
    """Number of frames, whether all are exactly 0, and whether all of two channels cancel each other out."""
    frames, silent, cancelled = 0, True, sound.channels == 2
    for block in sound.blocks():
        level = max(block.max(), -block.min())
        if not level <= LOUDEST:  # nor NaN
            good = np.abs(block).max(axis=1) <= LOUDEST
            first = frames + int(np.argmin(good))
            what = f"of {level:.3g}, where full scale is 1" if np.isfinite(level) else "that are NaN or infinite"
            raise AudioError(
                path, f"has samples {what} (the first is sample {first}, at {first / sound.sample_rate:.3f} s)"
            )
        cancelled = cancelled and np.abs(mix(block)).max() <= CANCELLED * level
        silent = silent and not level
        frames += len(block)
    return frames, silent, bool(cancelled) and not silent


def _declared_by_flac(path: Path, file: BinaryIO, size: int) -> int:
    """Samples declared in a flac's header, 0 where it has none. Source: RFC 9639, 8.2."""
    file.seek(after_id3(file))
    header = file.read(26)
    return int.from_bytes(header[18:], "big") & (1 << 36) - 1 if len(header) == 26 else 0


def _declared_by_ogg(path: Path, file: BinaryIO, size: int) -> int:
    """0, as Ogg declares no length; AudioError when the file does not end with a complete page marked as the last."""
    file.seek(max(0, size - OGG_TAIL))
    tail = file.read()
    start = len(tail)
    while (start := tail.rfind(b"OggS", 0, start)) >= 0:
        page = tail[start:]
        # The four letters may occur inside a page by chance; only a page that ends with the file counts as the last.
        if len(page) >= 27 and len(page) == 27 + page[26] + sum(page[27 : 27 + page[26]]):
            if page[5] & 4:
                return 0
            raise AudioError(path, "is truncated: its last page is not marked as the end of the stream")
    raise AudioError(path, "is truncated: it does not end with a complete Ogg page")


# By format, from path, open file and size in bytes: the number of samples that must be present, 0 where the container
# does not declare it. Raises AudioError for a file shorter than declared.
_DECLARED: dict[str, Callable[[Path, BinaryIO, int], int]] = {
    "WAV": check_chunks,
    "FLAC": _declared_by_flac,
    "Ogg": _declared_by_ogg,
    "MP3": check_frames,
    "MP4": check_boxes,
}
