"""Decodes m4a and mp4 recordings (AAC, ALAC and whatever else FFmpeg decodes) through PyAV, where it is installed.

The encoder delay before the first sample is dropped where the file's edit list declares it, as nearly all do. The sound
ends where its last packet ends, by whose duration it is exact; or where the edit list ends, if that is earlier by more
than its rounding, usually to milliseconds. FFmpeg takes that rounding for the end, and then decodes whole packets.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from earwitness.audio.boxes import Edit, edit_of
from earwitness.audio.sound import AudioError, Sound, conversion, local, unreadable

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

# PyAV releases and takes the interpreter lock for every packet: threads that decode at the same time reach half the
# speed of one after the other.
_DECODING = threading.Lock()
PLANES = 8  # channels from which on PyAV may read behind the last one


class _Block(NamedTuple):
    samples: np.ndarray  # float32 [samples, channels]
    sample_rate: int  # Hz
    start: int | None  # by the track's clock


class Mp4Sound(Sound):
    """The only audio track of an MP4 file; video tracks are ignored.

    Raises AudioError when the file cannot be opened, has no audio track or more than one, or PyAV is not installed.
    """

    def __init__(self, path: str | os.PathLike):
        library = _library(path)
        self._container, edit = _container(library, path)
        try:
            stream = _stream(path, self._container)
            self._blocks = _blocks(library, path, self._container, stream, edit)
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


def _library(path: str | os.PathLike) -> ModuleType:
    try:
        import av
    except ImportError as error:
        advice = f"convert it (`{conversion(path)}`) or install PyAV (`pip install av`)"
        raise AudioError(path, f"cannot be read without PyAV, which is not installed: {advice}") from error
    return av


def _container(library: ModuleType, path: str | os.PathLike) -> tuple[InputContainer, Edit | None]:
    """The open file, and its edit list where that is followed here rather than by FFmpeg."""
    try:
        edit = edit_of(path)  # gives the operating system's reason too, which FFmpeg's messages lack
        options = {} if edit is None else {"ignore_editlist": "1"}
        # With a fixed format, a playlist named like a recording cannot make FFmpeg open other files or URLs.
        return library.open(local(path), format="mp4", options=options, metadata_errors="ignore"), edit
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
        advice = f"extract one, for example the first: `{conversion(path, '-map', '0:a:0')}`"
        raise AudioError(path, f"has {len(tracks)} audio tracks where one is needed; {advice}")
    if tracks[0].codec_context is None:
        raise AudioError(path, "uses a codec that the installed PyAV does not support")
    return tracks[0]


def _blocks(
    library: ModuleType, path: str | os.PathLike, container: InputContainer, stream: AudioStream, edit: Edit | None
) -> Iterator[_Block]:
    """The decoded packets, from the beginning of the sound to its end.

    Raises AudioError where the sample rate or the channels change.
    """
    resampler = library.AudioResampler(format="fltp")  # planar float32, which AAC is decoded to anyway
    clock, shape, held = stream.time_base or Fraction(1, stream.rate), None, None
    end: int | Fraction | None = None  # of the last packet
    try:
        for packet in container.demux(stream):
            if packet.pts is not None and not packet.is_discard:
                end = packet.pts + packet.duration if packet.duration else None
            if edit and edit.end is not None and end is not None and end - edit.end > edit.tick:
                end = edit.end
                if packet.pts is not None and packet.pts >= end:
                    break
            for frame in packet.decode():
                shape = shape or (frame.sample_rate, frame.layout.nb_channels)
                if shape != (frame.sample_rate, frame.layout.nb_channels):
                    raise AudioError(path, "changes its sample rate or its channels midway; convert it")
                if shape[1] >= PLANES:
                    raise AudioError(path, f"has {shape[1]} channels; only mono and stereo are supported")
                for part in resampler.resample(frame):
                    if held is not None:
                        yield held
                    held = _Block(part.to_ndarray().T, part.sample_rate, frame.pts)
                    if edit and held.start is not None and held.start < edit.start:
                        early = round((edit.start - held.start) * clock * held.sample_rate)
                        rest = held.samples[early:]
                        held = held._replace(samples=rest, start=edit.start) if len(rest) else None
    except library.FFmpegError as error:
        raise AudioError(path, f"is truncated or damaged ({error.strerror})") from error
    if held is not None and held.start is not None and end is not None:
        kept = max(0, round((end - held.start) * clock * held.sample_rate))
        held = held._replace(samples=held.samples[:kept])
    if held is not None:
        yield held
