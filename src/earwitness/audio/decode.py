"""Reads recordings: wav, flac, ogg and mp3, any rate, any number of channels, as one float32 channel."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from earwitness.errors import CorpusError

MISSING = "is missing"
UNKNOWN_FRAMES = 1 << 48  # from here on libsndfile means "not told", and soundfile cannot read on


class AudioError(CorpusError):
    """A recording that cannot be used: ``path`` names it, ``reason`` says why in plain words."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(path, reason)  # both in args, so that the error survives the way between processes
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def open_sound(path: str | os.PathLike) -> soundfile.SoundFile:
    """Open a recording for reading; raises AudioError when it cannot be opened."""
    try:
        # libsndfile calls a folder or an absent file a "system error"; Python's own open says what it is.
        with Path(path).open("rb"):
            pass
        sound = soundfile.SoundFile(path)
    except OSError as error:
        raise AudioError(path, MISSING if isinstance(error, FileNotFoundError) else unreadable(error)) from error
    except soundfile.SoundFileError as error:
        raise AudioError(path, f"is damaged or no audio ({library_message(error)})") from error
    if sound.frames >= UNKNOWN_FRAMES:
        sound.close()
        raise AudioError(path, "does not tell its length (a flac that was streamed); encode it again from a file")
    return sound


def load(path: str | os.PathLike, sample_rate: int | None) -> np.ndarray:
    """Decode a whole recording to mono.

    The channels are averaged before resampling (soxr, quality HQ); ``sample_rate`` in Hz, None keeps the file's own.
    Returns float32 [samples]. Raises AudioError when the file is missing, empty or cannot be decoded; whether it is
    whole and holds only finite samples is ``check.inspect``'s matter.
    """
    with open_sound(path) as sound:
        rate = sound.samplerate
        try:
            channels = sound.read(dtype="float32", always_2d=True)  # [samples, channels]
        except (soundfile.SoundFileError, ValueError, MemoryError) as error:
            raise AudioError(path, f"cannot be decoded ({library_message(error)})") from error
    if not len(channels):
        raise AudioError(path, "is empty (0 samples)")
    mono = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    if sample_rate is not None and sample_rate != rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def unreadable(error: OSError) -> str:
    """The reason for a file that the operating system does not hand out."""
    return f"cannot be read ({error.strerror or error})"


def library_message(error: Exception) -> str:
    """What libsndfile says, without the path that stands in the message already."""
    text = getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".")
