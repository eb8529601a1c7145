"""The frames of an mp3: what its Xing or Info header declares, and whether it goes on behind that.

Source: ISO/IEC 11172-3, 2.4.2.3; ISO/IEC 13818-3, 2.4.2.3 (half the rates); MPEG 2.5 has a quarter of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from earwitness.audio.sound import AudioError, second_recording

SLACK = 8192  # samples of encoder delay and padding that a decoder drops
FRAMES = 3  # consecutive ones are no chance
REST = 1 << 22  # bytes behind the declared end that are searched, as a tag with a picture may come first
KBIT = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = (44100, 48000, 32000)
_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # of layer III


def after_id3(file: BinaryIO) -> int:
    """Offset of the contents after an ID3v2 tag; 0 without one."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return 10 + size + (10 if head[5] & 0x10 else 0)  # the flag means a footer of the header's length


def check_frames(path: Path, file: BinaryIO, size: int) -> int:
    """Samples declared in an mp3's Xing or Info header, less ``SLACK``; without a header, those of its frames.

    Without one libsndfile takes the first frame's size for that of all, and may stop early. Raises AudioError when
    bytes are missing, and when frames follow the declared ones, at which decoders stop.
    """
    start = after_id3(file)
    file.seek(start)
    frame = file.read(192)
    samples = 1152 if len(frame) > 1 and frame[1] & 0x08 else 576  # the bit: MPEG-1 rather than 2 or 2.5
    place = _xing_place(frame)
    if place is None or frame[place : place + 4] not in (b"Xing", b"Info"):
        file.seek(start)
        return max(0, sum(1 for _ in _lengths(file.read())) * samples - SLACK)
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    words = [int.from_bytes(frame[place + 8 + 4 * i : place + 12 + 4 * i], "big") for i in range(2)]
    frames = words.pop(0) if flags & 1 else 0
    declared = words[0] if flags & 2 else 0
    if declared > size - start:
        raise AudioError(path, f"is truncated: it has {size - start} of {declared} bytes of audio")
    if frames and not declared:
        file.seek(start)
        declared = sum(_lengths(file.read(), frames + 1))  # the header stands in a frame of its own
    if declared and (behind := _further_frames(file, start + declared)) is not None:
        raise second_recording(path, behind)
    return max(0, frames * samples - SLACK)


def _further_frames(file: BinaryIO, end: int) -> int | None:
    """Where frames begin behind the declared end; None where there are none."""
    file.seek(end)
    rest = file.read(REST)
    for found in _SYNC.finditer(rest):
        if len(list(_lengths(rest[found.start() :][:8192], FRAMES))) == FRAMES:
            return end + found.start()
    return None


def _lengths(data: bytes, most: float = math.inf) -> Iterator[int]:
    """Lengths in bytes of the frames of layer III that follow one another from the beginning, at most so many."""
    place = 0
    while most and place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] & 0xE6 == 0xE2:
        version, kbit, rate = data[place + 1] >> 3 & 3, data[place + 2] >> 4, data[place + 2] >> 2 & 3
        if version == 1 or kbit in (0, 15) or rate == 3:
            return
        mpeg1 = version == 3
        hertz = RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
        length = (144 if mpeg1 else 72) * KBIT[mpeg1][kbit] * 1000 // hertz + (data[place + 2] >> 1 & 1)
        yield length
        place, most = place + length, most - 1


def _xing_place(frame: bytes) -> int | None:
    """Offset of a Xing header in an MPEG layer III frame, after the side information; None for other frames."""
    if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    mono, mpeg1 = frame[3] >> 6 == 3, bool(frame[1] & 0x08)
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    return 4 + side + (0 if frame[1] & 0x01 else 2)  # a checksum of two bytes comes first when the bit is 0
