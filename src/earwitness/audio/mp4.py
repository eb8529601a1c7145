"""Reads m4a and mp4 recordings (AAC, ALAC and whatever else FFmpeg decodes) through PyAV, where it is installed.

What an encoder put before the first sample is left out where the file's edit list tells of it, as nearly all do. What
fills up the last packet, less than one packet of near silence, stays: the durations in the file are rounded to
milliseconds, and cutting there would take samples of the recording too.
"""

from __future__ import annotations

import os
import shlex
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from earwitness.audio.sound import AudioError, Sound, unreadable

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

# PyAV lets go of the interpreter and takes it back for every packet: threads that decode at once hold each other up,
# to half the speed of one after the other.
_TURN = threading.Lock()
_CHECKED = (b"moov", b"mdat", b"moof")  # the boxes that hold the index and the samples


class _Block(NamedTuple):
    samples: np.ndarray  # float32 [samples, channels]
    sample_rate: int  # Hz


class Mp4Sound(Sound):
    """The one sound track of an MP4 file; pictures beside it are passed over.

    Raises AudioError when the file cannot be opened, holds no sound track or more than one, and when PyAV is absent.
    """

    def __init__(self, path: str | os.PathLike):
        library = _library(path)
        self._container = _container(library, path)
        try:
            stream = _stream(path, self._container)
            self._blocks = _blocks(library, path, self._container, stream)
            # Some AAC has twice the rate or channels that its header tells: only the first decoded block knows.
            with _TURN:
                first = next(self._blocks, None)
        except BaseException:
            self._container.close()
            raise
        self.sample_rate = first.sample_rate if first else stream.rate
        self.channels = first.samples.shape[1] if first else stream.channels
        self._left = first.samples if first else np.empty((0, self.channels), dtype=np.float32)

    def read(self, frames: int = -1) -> np.ndarray:
        """The next samples as ``Sound`` says."""
        parts, there = [self._left], len(self._left)
        with _TURN:
            while (frames < 0 or there < frames) and (block := next(self._blocks, None)):
                parts.append(block.samples)
                there += len(block.samples)
        samples = np.concatenate(parts)
        end = there if frames < 0 else frames
        self._left = samples[end:]
        return samples[:end]

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()


def check_boxes(path: Path, file: BinaryIO, size: int) -> int:
    """Refuse an MP4 file that ends inside a box of samples or lacks its index; nothing is promised in samples.

    A fragmented file that ends between two fragments cannot be told from a whole one. Source: ISO/IEC 14496-12, 4.2.
    """
    start, names = 0, set()
    while start + 8 <= size:
        file.seek(start)
        length, name = _box(file.read(16), size - start)
        if length < 8:
            break
        if name in _CHECKED and length > size - start:
            raise AudioError(path, f"is truncated: {size - start} of {length} bytes of its {name.decode()} are there")
        names.add(name)
        start += length
    if b"moov" not in names and names & {b"ftyp", b"mdat"}:
        raise AudioError(path, "is truncated or was never finished: its index (moov) is missing")
    return 0


def _box(header: bytes, left: int) -> tuple[int, bytes]:
    """Length and name of a box; a length of 0 stands for all that is left, 1 for one of 8 bytes behind the name."""
    length, name = struct.unpack(">I4s", header[:8])
    if length == 1 and len(header) == 16:
        length = struct.unpack(">Q", header[8:])[0]
    return length or left, name


def _library(path: str | os.PathLike) -> ModuleType:
    try:
        import av
    except ImportError as error:
        wish = f"convert it (`{_conversion(path)}`) or have it read as it is (`pip install av`)"
        raise AudioError(path, f"cannot be read without PyAV, which is not installed: {wish}") from error
    return av


def _conversion(path: str | os.PathLike, *options: str) -> str:
    """The command, for a shell, that writes a recording's sound beside it as a wav."""
    source = _local(path)
    return shlex.join(["ffmpeg", "-i", source, *options, source.removesuffix(Path(path).suffix) + ".wav"])


def _local(path: str | os.PathLike) -> str:
    """The path as FFmpeg takes it for one: it reads `rain: a.m4a` as an address and `-a.m4a` as an option."""
    return os.fspath(path) if Path(path).is_absolute() else f"./{os.fspath(path)}"


def _container(library: ModuleType, path: str | os.PathLike) -> InputContainer:
    try:
        # FFmpeg's messages do not tell the operating system's reasons apart.
        with Path(path).open("rb"):
            pass
        # With the format given, a playlist under the name of a recording cannot have other files or addresses opened.
        return library.open(_local(path), format="mp4", metadata_errors="ignore")
    except library.FFmpegError as error:
        raise AudioError(path, f"is damaged or no audio ({error.strerror})") from error
    except OSError as error:
        raise AudioError(path, unreadable(error)) from error


def _stream(path: str | os.PathLike, container: InputContainer) -> AudioStream:
    """The only sound track."""
    tracks = container.streams.audio
    if not tracks:
        raise AudioError(path, "holds no sound track")
    if len(tracks) > 1:
        advice = f"take one out, such as the first: `{_conversion(path, '-map', '0:a:0')}`"
        raise AudioError(path, f"holds {len(tracks)} sound tracks where one is needed; {advice}")
    if tracks[0].codec_context is None:
        raise AudioError(path, "is coded in a way that the installed PyAV does not know")
    return tracks[0]


def _blocks(
    library: ModuleType, path: str | os.PathLike, container: InputContainer, stream: AudioStream
) -> Iterator[_Block]:
    """The decoded packets one by one; refused where the rate or the channels change between them."""
    resampler = library.AudioResampler(format="fltp")  # planes of float32, which AAC is decoded to without its help
    first = None
    try:
        for frame in container.decode(stream):
            shape = frame.sample_rate, frame.layout.nb_channels
            first = first or shape
            if shape != first:
                raise AudioError(path, "changes its sample rate or its channels on the way; convert it")
            for part in resampler.resample(frame):
                yield _Block(part.to_ndarray().T, part.sample_rate)
    except library.FFmpegError as error:
        raise AudioError(path, f"is truncated or damaged ({error.strerror})") from error
