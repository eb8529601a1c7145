"""The interface of an open recording, whichever library decodes it, and the error for one that cannot be used."""

from __future__ import annotations

import os
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from earwitness.errors import CorpusError

MISSING = "is missing"
BLOCK = 1 << 16  # samples decoded at a time
BUFFER = 1 << 18  # bytes read at a time: all of a short clip, as every system call makes other threads wait


class AudioError(CorpusError):
    """A recording that cannot be used: ``path`` names it, ``reason`` says why."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(path, reason)  # both in args, so that the error can be pickled
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Sound(ABC):
    """A recording open for reading, used in a ``with`` statement."""

    sample_rate: int  # Hz
    channels: int

    @abstractmethod
    def read(self, frames: int = -1) -> np.ndarray:
        """The next ``frames`` samples of each channel, by default all that remain: float32 [samples, channels].

        Fewer are returned only at the end. Raises AudioError when they cannot be decoded.
        """

    def blocks(self) -> Iterator[np.ndarray]:
        """All that remains, in blocks of ``BLOCK`` samples, the last of them shorter: float32 [samples, channels]."""
        size = BLOCK
        while size == BLOCK:
            block = self.read(BLOCK)
            if size := len(block):
                yield block

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mix(block: np.ndarray) -> np.ndarray:
    """The average of the channels: [samples, channels] -> [samples]; what every feature is computed from."""
    if block.shape[1] == 1:
        return block[:, 0]
    # As `mean(axis=1)` to the bit, many times as fast; the 0 makes a negative zero positive.
    return (block[:, 0] + block[:, 1]) / 2 + 0 if block.shape[1] == 2 else block.mean(axis=1)


def unreadable(error: OSError) -> str:
    """The reason of an AudioError for a file that the operating system does not open."""
    return MISSING if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror or error})"


def second_recording(path: str | os.PathLike, place: int, advice: str | None = None) -> AudioError:
    """The error for a file that is two or more joined, of which libraries read the first only and do not say so."""
    advice = advice or f"convert the whole (`{conversion(path)}`), or split it there"
    return AudioError(path, f"holds a second recording from byte {place} on, which would not be heard: {advice}")


def conversion(path: str | os.PathLike, *options: str, before: Sequence[str] = ()) -> str:
    """The shell command that converts a recording to a wav beside it; ``before`` are options of how it is read."""
    source, suffix = local(path), Path(path).suffix
    target = source.removesuffix(suffix) + ("-converted.wav" if suffix.lower() == ".wav" else ".wav")
    return shlex.join(["ffmpeg", *before, "-i", source, *options, target])


def local(path: str | os.PathLike) -> str:
    """The path so that FFmpeg takes it for one: it reads `rain: a.m4a` as a URL and `-a.m4a` as an option."""
    return os.fspath(path) if Path(path).is_absolute() else f"./{os.fspath(path)}"
