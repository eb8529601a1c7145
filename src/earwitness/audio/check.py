"""Says whether a recording is whole and sound, before hours are spent on it.

libsndfile reads a truncated wav, ogg or mp3 without a word, and FFmpeg some m4a, so what the containers promise is
checked beside decoding.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from earwitness.audio.decode import open_recording
from earwitness.audio.formats import FORMATS
from earwitness.audio.mp4 import check_boxes
from earwitness.audio.sound import MISSING, AudioError, Sound, unreadable

MAX_CHANNELS = 2
BLOCK = 1 << 16  # samples decoded at a time
BUFFER = 1 << 18  # bytes read at a time: of a short clip all, as each call to the system makes other threads wait
STREAMED = 0x7FFFF000  # sox, ffmpeg and others put this or more where a wav's length was not known beforehand
OGG_TAIL = 1 << 17  # two of the longest possible pages
MP3_SLACK = 8192  # samples of encoder delay and padding that a decoder leaves out


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What was found in a recording: ``frames`` counts the samples of each channel, ``sha256`` is the file's digest."""

    seconds: float
    sample_rate: int  # Hz
    channels: int
    frames: int
    sha256: str
    silent: bool  # every sample is exactly 0


def inspect(path: str | os.PathLike) -> AudioFacts:
    """Decode a recording once, in blocks, and return what it holds.

    Raises AudioError with a plain reason when it is missing, empty, truncated or damaged, when it has more than two
    channels or samples that are not finite, and when its extension is unknown or belongs to another format.
    """
    path = Path(path)
    try:
        size = _size(path)
        claimed = _claimed(path)
        with path.open("rb", buffering=BUFFER) as file:
            _check_contents(path, file, claimed)
            declared = _PROMISES[claimed](path, file, size)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(path, unreadable(error)) from error
    with open_recording(path) as sound:
        _check_header(path, sound)
        rate, channels = sound.sample_rate, sound.channels
        frames, silent = _decode(path, sound)
    if not frames:
        raise AudioError(path, "is empty: its header is there, but no samples" + _why_no_samples(claimed))
    if frames < declared:
        raise AudioError(path, f"is truncated: {frames} of {declared} samples are there")
    return AudioFacts(frames / rate, rate, channels, frames, digest, silent)


def _size(path: Path) -> int:
    """Bytes of a file; refused when it is absent, empty or none."""
    try:
        found = path.stat()
    except (NotADirectoryError, ValueError) as error:  # below a file, or a name that no file can have
        raise AudioError(path, MISSING) from error
    if not stat.S_ISREG(found.st_mode):
        raise AudioError(path, "is not a file")
    if not found.st_size:
        raise AudioError(path, "is empty (0 bytes)")
    return found.st_size


def _claimed(path: Path) -> str:
    """The format that the extension names."""
    claimed = FORMATS.get(path.suffix.lower())
    if claimed is None:
        raise AudioError(path, f"has the extension {path.suffix!r}; known are {', '.join(FORMATS)}")
    return claimed


def _check_contents(path: Path, file: BinaryIO, claimed: str) -> None:
    found = contents(file)
    if found not in (claimed, None):
        raise AudioError(path, f"is called {path.suffix}, but its contents are {found}; rename or convert it")


def contents(file: BinaryIO) -> str | None:
    """The name of the format that a file's first bytes show, None when they show none."""
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
    """Where the contents begin behind an ID3v2 tag, 0 without one."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return 10 + size + (10 if head[5] & 0x10 else 0)  # the flag tells of a footer as long as the header


def _check_header(path: Path, sound: Sound) -> None:
    if sound.channels > MAX_CHANNELS:
        raise AudioError(path, f"has {sound.channels} channels; mono or stereo is needed")
    if sound.sample_rate <= 0:
        raise AudioError(path, f"has a sample rate of {sound.sample_rate} Hz")


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
            raise AudioError(path, f"holds samples that are not a number or infinite (the first is {place})")
        frames += size
        silent = silent and not block.any()
    return frames, silent


def _why_no_samples(claimed: str) -> str:
    return " (a wav that was streamed or never finished says 0 in its header; convert it)" if claimed == "WAV" else ""


def _wav_promise(path: Path, file: BinaryIO, size: int) -> int:
    """Refuse a wav whose data chunk is longer than the file; nothing is promised in samples."""
    file.seek(0)
    riff = file.read(12)
    order = ">" if riff[:4] == b"RIFX" else "<"
    long_size = None  # RF64 keeps its sizes in a chunk of their own
    while len(header := file.read(8)) == 8:
        name, length = header[:4], struct.unpack(order + "I", header[4:])[0]
        if name == b"ds64" and len(sizes := file.read(16)) == 16:
            long_size = struct.unpack(order + "QQ", sizes)[1]
            length -= 16
        if name == b"data":
            _check_data(path, _data_size(length, long_size), size - file.tell())
            return 0
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0  # a header that breaks off: the decoder finds no samples either


def _data_size(size: int, long_size: int | None) -> int:
    """The declared bytes of a data chunk, 0 where the writer could not know them."""
    if size == 0xFFFFFFFF and long_size is not None:
        return 0 if long_size >= 1 << 63 else long_size
    return 0 if size >= STREAMED else size


def _check_data(path: Path, declared: int, there: int) -> None:
    if declared > there:
        raise AudioError(path, f"is truncated: {max(there, 0)} of {declared} bytes of samples are there")


class _Page(NamedTuple):
    end: int  # within the tail that was looked at
    is_last: bool


def _flac_promise(path: Path, file: BinaryIO, size: int) -> int:
    """The samples that a flac's header tells of, 0 where it does not. Source: RFC 9639, 8.2."""
    file.seek(_after_id3(file))
    header = file.read(26)
    return int.from_bytes(header[18:], "big") & (1 << 36) - 1 if len(header) == 26 else 0


def _ogg_promise(path: Path, file: BinaryIO, size: int) -> int:
    """Refuse an Ogg file that does not end with a whole page marked as the last."""
    file.seek(max(0, size - OGG_TAIL))
    tail = file.read()
    start = len(tail)
    page = None
    while (start := tail.rfind(b"OggS", 0, start)) >= 0:
        page = _page(tail[start:], start)
        # The four letters may stand inside a page by chance; only what ends with the file is taken for the last page.
        if page and page.end == len(tail):
            if page.is_last:
                return 0
            raise AudioError(path, "is truncated: its last page is not marked as the end of the stream")
    raise AudioError(path, "is truncated: it does not end with a whole Ogg page")


def _page(data: bytes, start: int) -> _Page | None:
    """The Ogg page at the beginning of ``data``, which stands at ``start``; None when its header is cut."""
    if len(data) < 27 or len(data) < 27 + data[26]:
        return None
    segments = data[26]
    return _Page(start + 27 + segments + sum(data[27 : 27 + segments]), bool(data[5] & 4))


def _mp3_promise(path: Path, file: BinaryIO, size: int) -> int:
    """The samples that an mp3's Xing or Info header tells of, less what decoders cut; refuse one that lacks bytes."""
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
    there = size - start
    if declared > there:
        raise AudioError(path, f"is truncated: {there} of {declared} bytes of sound are there")
    return max(0, frames * (1152 if frame[1] & 0x08 else 576) - MP3_SLACK)  # the bit is MPEG-1 against 2 and 2.5


def _xing_place(frame: bytes) -> int | None:
    """Where in an MPEG layer III frame a Xing header would stand: behind the side information."""
    if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    mono, mpeg1 = frame[3] >> 6 == 3, bool(frame[1] & 0x08)
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    return 4 + side + (0 if frame[1] & 0x01 else 2)  # a checksum of two bytes stands before it when the bit is 0


# What a container tells beside its samples: refuses a file that is shorter, returns the samples that must be there.
_PROMISES: dict[str, Callable[[Path, BinaryIO, int], int]] = {
    "WAV": _wav_promise,
    "FLAC": _flac_promise,
    "Ogg": _ogg_promise,
    "MP3": _mp3_promise,
    "MP4": check_boxes,
}
