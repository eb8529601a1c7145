"""The chunks of a wav: whether all of its samples are there, and how they are coded (RFC 2361)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from earwitness.audio.mp3 import after_id3
from earwitness.audio.sound import BUFFER, AudioError, conversion, second_recording

STREAMED = 0x7FFFF000  # sox, ffmpeg and others write this or more where they do not know a wav's length in advance
STRAY = 4096  # bytes behind the last chunk that are passed over: padding, tags of other formats
# Tags of other formats, and chunks without samples, which may be cut off or tell a wrong size.
TAGS = (
    b"ID3",
    b"TAG",
    b"APETAGEX",
    b"LYRICSBEGIN",
    b"LIST",
    b"id3 ",
    b"bext",
    b"iXML",
    b"_PMX",
    b"cue ",
    b"smpl",
    b"<?x",
)
MAGIC = (b"RIFF", b"RIFX", b"RF64")
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
READ = (PCM, 2, FLOAT, 6, 7, 0x11, 0x31, 0x55)  # codings that libsndfile reads: a file of one is damaged or in no order
BITS = {PCM: (8, 16, 24, 32), FLOAT: (32, 64)}
CODINGS = {
    0x10: "OKI ADPCM",
    0x14: "G.723 ADPCM",
    0x17: "Dialogic ADPCM",
    0x20: "Yamaha ADPCM",
    0x22: "TrueSpeech",
    0x38: "NMS ADPCM or AMR",
    0x40: "G.721 ADPCM",
    0x45: "G.726 ADPCM",
    0x50: "MPEG layer I or II",
    0x64: "G.726 ADPCM",
    0x65: "G.722 ADPCM",
    0x69: "Xbox ADPCM",
    0x92: "AC-3 over S/PDIF",
    0xFF: "AAC",
    0x160: "Windows Media Audio",
    0x161: "Windows Media Audio",
    0x162: "Windows Media Audio",
    0x163: "Windows Media Audio",
    0x28F: "G.722 ADPCM",
    0x2000: "AC-3",
    0x2001: "DTS",
    0x5346: "Flash ADPCM",
    0xF1AC: "FLAC",
}
SUBFORMATS = {"af87fba7022dfb42a4d405cd93843bdd": "E-AC-3"}
# The end of a sub-format that begins with one of the numbers above.
USUAL = bytes.fromhex("000000001000800000aa00389b71")


class Chunk(NamedTuple):
    """A chunk of a wav: its content begins at ``start``; ``length`` is None where it was not known in advance."""

    name: bytes
    start: int
    length: int | None


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a wav, as far as there is one behind the other; an ID3v2 tag before it is passed over."""
    begin = after_id3(file)
    file.seek(begin)
    order = ">" if file.read(12)[:4] == b"RIFX" else "<"
    place, large = begin + 12, None
    while (header := _chunk_header(file, place, begin)) is not None:
        name, start, length = header[:4], file.tell(), struct.unpack(order + "I", header[4:])[0]
        if name == b"ds64" and len(sizes := file.read(16)) == 16:
            large = struct.unpack(order + "QQ", sizes)[1]  # RF64 has 64-bit sizes in this chunk
        unknown = name == b"data" and length >= STREAMED
        if unknown and length == 0xFFFFFFFF and large is not None:
            length, unknown = large, large >= 1 << 63
        yield Chunk(name, start, None if unknown else length)
        if unknown:
            return
        place = start + length


def _chunk_header(file: BinaryIO, end: int, begin: int) -> bytes | None:
    """The header of the chunk behind one that ends at ``end``, in a wav from ``begin`` on; None where there is none.

    A chunk of odd length is followed by a byte that fills it up, which some programs forget.
    """
    for place in (end + (end - begin) % 2, end):
        file.seek(place)
        header = file.read(8)
        if len(header) == 8 and header[:4] not in MAGIC and all(32 <= letter < 127 for letter in header[:4]):
            return header
    return None


def check_chunks(path: Path, file: BinaryIO, size: int) -> int:
    """0, as the header declares bytes; AudioError when its data chunk is longer or much shorter than what is there."""
    data, end = None, 0
    for chunk in chunks(file):
        if data is None and chunk.name == b"data":
            if chunk.length is None:
                return 0
            data, present = chunk.length, size - chunk.start
            if present < data:
                raise AudioError(path, f"is truncated: it has {present} of {data} bytes of samples")
        elif data is not None and chunk.start + (chunk.length or 0) > size + 1:
            break  # no chunk, but what stands behind the last one
        end = chunk.start + (chunk.length or 0)
    if not data:
        return 0  # the header is cut or says that there are no samples: the decoder finds none either
    file.seek(end)
    head = file.read(BUFFER)
    if (behind := head.lstrip(b"\0"))[:4] in MAGIC:
        raise second_recording(path, end + len(head) - len(behind), "split it there")
    if behind.startswith(TAGS):
        if (place := _search(file, end, b"WAVEfmt ")) is not None:
            raise second_recording(path, place - 8, "split it there")
    elif size - end > STRAY:
        while head and not head.strip(b"\0"):
            head = file.read(BUFFER)
        if head:
            what = f"declares {data} bytes of samples, but {size - end} more follow that belong to no chunk"
            repair = f"if they are sound, convert it (`{conversion(path, before=('-ignore_length', '1'))}`)"
            raise AudioError(path, f"{what}: the size in its header is wrong, or something was appended; {repair}")
    return 0


def _search(file: BinaryIO, start: int, words: bytes) -> int | None:
    """The first place of some bytes from ``start`` on."""
    file.seek(start)
    kept = b""
    while block := file.read(BUFFER):
        if (found := (kept + block).find(words)) >= 0:
            return file.tell() - len(block) - len(kept) + found
        kept = (kept + block)[1 - len(words) :]
    return None


def coding(path: str | os.PathLike) -> str | None:
    """The name of a wav's coding if it is none of those that libsndfile reads; None for those and for other files."""
    with Path(path).open("rb") as file:
        if file.read(4) not in MAGIC or file.read(8)[4:] != b"WAVE":
            return None
        content = next((file.read(40) for chunk in chunks(file) if chunk.name == b"fmt "), b"")
    if len(content) < 16:
        return None
    tag, bits = struct.unpack("<H", content[:2])[0], struct.unpack("<H", content[14:16])[0]
    if tag == EXTENSIBLE:
        if content[26:40] != USUAL:
            return SUBFORMATS.get(content[24:40].hex(), f"samples of the sub-format {content[24:40].hex()}")
        tag = struct.unpack("<H", content[24:26])[0]
    if tag in BITS and bits not in BITS[tag]:
        return f"{'PCM' if tag == PCM else 'floating-point numbers'} of {bits} bits"
    return None if tag in READ else CODINGS.get(tag, f"samples of the format tag 0x{tag:04X}")
