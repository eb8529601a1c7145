"""The interface of an open recording, whichever library decodes it, and the error for one that cannot be used."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Self

import numpy as np

from earwitness.errors import CorpusError

MISSING = "is missing"


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

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unreadable(error: OSError) -> str:
    """The reason of an AudioError for a file that the operating system does not open."""
    return MISSING if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror or error})"
