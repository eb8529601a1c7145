"""Checks that a recording is complete and valid before time is spent on it.

libsndfile reads a truncated wav, ogg or mp3 without an error, and FFmpeg some m4a, so the sizes that containers declare
are checked as well as decoding.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from earwitness.audio.decode import open_recording
from earwitness.audio.formats import FORMATS
from earwitness.audio.mp4 import check_boxes
from earwitness.audio.sound import MISSING, AudioError, Sound, unreadable

MAX_CHANNELS = 2
BLOCK = 1 << 16  # samples decoded at a time
BUFFER = 1 << 18  # bytes read at a time: all of a short clip, as every system call makes other threads wait
STREAMED = 0x7FFFF000  # sox, ffmpeg and others write this or more where they do not know a wav's length in advance
OGG_TAIL = 1 << 17  # bytes: two pages of the maximum size
MP3_SLACK = 8192  # samples of encoder delay and padding that a decoder drops


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """Properties of a recording: ``frames`` is the number of samples per channel, ``sha256`` the file's digest."""

    seconds: float
    sample_rate: int  # Hz
    channels: int
    frames: int
    sha256: str
    silent: bool  # every sample is exactly 0


def inspect(path: str | os.PathLike) -> AudioFacts:
    """Decode a recording once, in blocks, and return its properties.

    Raises AudioError when the file is missing, empty, truncated or damaged, when it has more than two channels or
    samples that are not finite, and when its extension is unknown or belongs to another format.
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
            file.seek(0)
            # What a buffered `open` gives has `readinto`, which its declared type lacks.
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except OSError as error:
        raise AudioError(path, unreadable(error)) from error
    with open_recording(path) as sound:
        rate, channels = sound.sample_rate, sound.channels
        if channels > MAX_CHANNELS:
            raise AudioError(path, f"has {channels} channels; only mono and stereo are supported")
        if rate <= 0:
            raise AudioError(path, f"has a sample rate of {rate} Hz")
        frames, silent = _decode(path, sound)
    if not frames:
        hint = " (a wav that was streamed or never finished has length 0 in its header; convert it)"
        raise AudioError(path, "is empty: it has a header but no samples" + (hint if claimed == "WAV" else ""))
    if frames < declared:
        raise AudioError(path, f"is truncated: it has {frames} of {declared} samples")
    return AudioFacts(frames / rate, rate, channels, frames, digest, silent)


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
    file.seek(_after_id3(file))
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


def _after_id3(file: BinaryIO) -> int:
    """Offset of the contents after an ID3v2 tag; 0 without one."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return 10 + size + (10 if head[5] & 0x10 else 0)  # the flag means a footer of the header's length


def _decode(path: Path, sound: Sound) -> tuple[int, bool]:
    """Number of frames and whether all are exactly 0."""
    frames, silent, size = 0, True, BLOCK
    while size == BLOCK:  # a shorter block is the last
        block = sound.read(BLOCK)
        size = len(block)
        finite = np.isfinite(block)
        if not finite.all():
            first = frames + int(np.argmin(finite.all(axis=1)))
            place = f"sample {first}, at {first / sound.sample_rate:.3f} s"
            raise AudioError(path, f"has samples that are NaN or infinite (the first is {place})")
        frames += size
        silent = silent and not block.any()
    return frames, silent


def _declared_by_wav(path: Path, file: BinaryIO, size: int) -> int:
    """0, as the header declares bytes; AudioError when its data chunk is longer than the file."""
    file.seek(0)
    order = ">" if file.read(12)[:4] == b"RIFX" else "<"
    rf64_size = None  # RF64 has 64-bit sizes in a separate chunk
    while len(header := file.read(8)) == 8:
        name, length = header[:4], struct.unpack(order + "I", header[4:])[0]
        if name == b"ds64" and len(sizes := file.read(16)) == 16:
            rf64_size = struct.unpack(order + "QQ", sizes)[1]
            length -= 16
        if name == b"data":
            unknown = STREAMED
            if length == 0xFFFFFFFF and rf64_size is not None:
                length, unknown = rf64_size, 1 << 63
            present = size - file.tell()
            if present < length < unknown:
                raise AudioError(path, f"is truncated: it has {present} of {length} bytes of samples")
            return 0
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0  # the header is cut: the decoder finds no samples either


def _declared_by_flac(path: Path, file: BinaryIO, size: int) -> int:
    """Samples declared in a flac's header, 0 where it has none. Source: RFC 9639, 8.2."""
    file.seek(_after_id3(file))
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


def _declared_by_mp3(path: Path, file: BinaryIO, size: int) -> int:
    """Samples declared in an mp3's Xing or Info header, less ``MP3_SLACK``; AudioError when bytes are missing."""
    start = _after_id3(file)
    file.seek(start)
    frame = file.read(192)
    place = _xing_place(frame)
    if place is None or frame[place : place + 4] not in (b"Xing", b"Info"):
        return 0
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    words = [int.from_bytes(frame[place + 8 + 4 * i : place + 12 + 4 * i], "big") for i in range(2)]
    frames = words.pop(0) if flags & 1 else 0
    declared = words[0] if flags & 2 else 0
    if declared > size - start:
        raise AudioError(path, f"is truncated: it has {size - start} of {declared} bytes of audio")
    return max(0, frames * (1152 if frame[1] & 0x08 else 576) - MP3_SLACK)  # the bit: MPEG-1 rather than 2 or 2.5


def _xing_place(frame: bytes) -> int | None:
    """Offset of a Xing header in an MPEG layer III frame, after the side information; None for other frames."""
    if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    mono, mpeg1 = frame[3] >> 6 == 3, bool(frame[1] & 0x08)
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    return 4 + side + (0 if frame[1] & 0x01 else 2)  # a checksum of two bytes comes first when the bit is 0


# By format, from path, open file and size in bytes: the number of samples that must be present, 0 where the container
# does not declare it. Raises AudioError for a file shorter than declared.
_DECLARED: dict[str, Callable[[Path, BinaryIO, int], int]] = {
    "WAV": _declared_by_wav,
    "FLAC": _declared_by_flac,
    "Ogg": _declared_by_ogg,
    "MP3": _declared_by_mp3,
    "MP4": check_boxes,
}
