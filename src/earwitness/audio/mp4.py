"""Decodes m4a and mp4 recordings (AAC, ALAC and whatever else FFmpeg decodes) through PyAV, where it is installed.

The encoder delay before the first sample is dropped where the file's edit list declares it, as nearly all do. The
padding of the last packet, less than one packet of near silence, is kept: the durations in the file are rounded to
milliseconds, so cutting there would remove samples of the recording too.
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

# PyAV releases and takes the interpreter lock for every packet: threads that decode at the same time reach half the
# speed of one after the other.
_DECODING = threading.Lock()
_CHECKED = (b"moov", b"mdat", b"moof")  # the boxes with the index and the samples


class _Block(NamedTuple):
    samples: np.ndarray  # float32 [samples, channels]
    sample_rate: int  # Hz


class Mp4Sound(Sound):
    """The only audio track of an MP4 file; video tracks are ignored.

    Raises AudioError when the file cannot be opened, has no audio track or more than one, or PyAV is not installed.
    """

    def __init__(self, path: str | os.PathLike):
        library = _library(path)
        self._container = _container(library, path)
        try:
            stream = _stream(path, self._container)
            self._blocks = _blocks(library, path, self._container, stream)
            # Some AAC has twice the rate or channels that its header declares: only the first decoded block shows it.
            with _DECODING:
                first = next(self._blocks, None)
        except BaseException:
            self._container.close()
            raise
        self.sample_rate = first.sample_rate if first else stream.rate
        self.channels = first.samples.shape[1] if first else stream.channels
        self._left = first.samples if first else np.empty((0, self.channels), dtype=np.float32)

    def read(self, frames: int = -1) -> np.ndarray:
        """As ``Sound.read``."""
        parts, total = [self._left], len(self._left)
        with _DECODING:
            while (frames < 0 or total < frames) and (block := next(self._blocks, None)):
                parts.append(block.samples)
                total += len(block.samples)
        samples = np.concatenate(parts)
        end = total if frames < 0 else frames
        self._left = samples[end:]
        return samples[:end]

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def check_boxes(path: Path, file: BinaryIO, size: int) -> int:
    """0, as no samples are declared; AudioError when an MP4 file ends inside a box or lacks its index.

    A fragmented file that ends between two fragments looks like a complete one. Source: ISO/IEC 14496-12, 4.2.
    """
    start, names = 0, set()
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length, name = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]  # 64 bits after the name
        length = length or size - start  # 0: up to the end of the file
        if length < 8:
            break
        if name in _CHECKED and length > size - start:
            raise AudioError(path, f"is truncated: it has {size - start} of {length} bytes of its {name.decode()}")
        names.add(name)
        start += length
    if b"moov" not in names and names & {b"ftyp", b"mdat"}:
        raise AudioError(path, "is truncated or was never finished: its index (moov) is missing")
    return 0


def _library(path: str | os.PathLike) -> ModuleType:
    try:
        import av
    except ImportError as error:
        advice = f"convert it (`{_conversion(path)}`) or install PyAV (`pip install av`)"
        raise AudioError(path, f"cannot be read without PyAV, which is not installed: {advice}") from error
    return av


def _conversion(path: str | os.PathLike, *options: str) -> str:
    """The shell command that converts a recording to a wav beside it."""
    source = _local(path)
    return shlex.join(["ffmpeg", "-i", source, *options, source.removesuffix(Path(path).suffix) + ".wav"])


def _local(path: str | os.PathLike) -> str:
    """The path so that FFmpeg takes it for one: it reads `rain: a.m4a` as a URL and `-a.m4a` as an option."""
    return os.fspath(path) if Path(path).is_absolute() else f"./{os.fspath(path)}"


def _container(library: ModuleType, path: str | os.PathLike) -> InputContainer:
    try:
        Path(path).open("rb").close()  # for the operating system's reason, which FFmpeg's messages lack
        # With a fixed format, a playlist named like a recording cannot make FFmpeg open other files or URLs.
        return library.open(_local(path), format="mp4", metadata_errors="ignore")
    except library.FFmpegError as error:
        raise AudioError(path, f"is damaged or not audio ({error.strerror})") from error
    except OSError as error:
        raise AudioError(path, unreadable(error)) from error


def _stream(path: str | os.PathLike, container: InputContainer) -> AudioStream:
    """The only audio track; AudioError where there is none, several, or one of an unknown codec."""
    tracks = container.streams.audio
    if not tracks:
        raise AudioError(path, "has no audio track")
    if len(tracks) > 1:
        advice = f"extract one, for example the first: `{_conversion(path, '-map', '0:a:0')}`"
        raise AudioError(path, f"has {len(tracks)} audio tracks where one is needed; {advice}")
    if tracks[0].codec_context is None:
        raise AudioError(path, "uses a codec that the installed PyAV does not support")
    return tracks[0]


def _blocks(
    library: ModuleType, path: str | os.PathLike, container: InputContainer, stream: AudioStream
) -> Iterator[_Block]:
    """The decoded packets; AudioError where the sample rate or the channels change between them."""
    resampler = library.AudioResampler(format="fltp")  # planar float32, which AAC is decoded to anyway
    first = None
    try:
        for frame in container.decode(stream):
            shape = frame.sample_rate, frame.layout.nb_channels
            first = first or shape
            if shape != first:
                raise AudioError(path, "changes its sample rate or its channels midway; convert it")
            for part in resampler.resample(frame):
                yield _Block(part.to_ndarray().T, part.sample_rate)
    except library.FFmpegError as error:
        raise AudioError(path, f"is truncated or damaged ({error.strerror})") from error
