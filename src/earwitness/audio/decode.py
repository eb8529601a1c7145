"""Reads recordings of every kind in ``formats``, any rate, any number of channels, as one float32 channel."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from earwitness.audio.formats import FORMATS
from earwitness.audio.mp4 import Mp4Sound
from earwitness.audio.sound import AudioError, Sound, unreadable

UNKNOWN_FRAMES = 1 << 48  # from here on libsndfile means "not told", and soundfile cannot read on


class SndfileSound(Sound):
    """A wav, flac, ogg or mp3 that libsndfile reads; raises AudioError when it cannot be opened."""

    def __init__(self, path: str | os.PathLike):
        self._path = path
        self._file = open_sound(path)
        self.sample_rate = self._file.samplerate
        self.channels = self._file.channels

    def read(self, frames: int = -1) -> np.ndarray:
        """The next samples as ``Sound`` says."""
        try:
            return self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(self._path, f"is truncated or damaged ({library_message(error)})") from error
        except (ValueError, MemoryError) as error:
            raise AudioError(self._path, f"cannot be decoded ({error})") from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def open_recording(path: str | os.PathLike) -> Sound:
    """Open a recording for reading with the library for its extension; raises AudioError when it cannot be opened."""
    claimed = FORMATS.get(Path(path).suffix.lower())
    return Mp4Sound(path) if claimed == "MP4" else SndfileSound(path)


def open_sound(path: str | os.PathLike) -> soundfile.SoundFile:
    """Open what libsndfile reads; raises AudioError when it cannot be opened."""
    try:
        sound = soundfile.SoundFile(path)
    except soundfile.SoundFileError as error:
        raise AudioError(path, _unopened(path, error)) from error
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
    with open_recording(path) as sound:
        rate = sound.sample_rate
        channels = sound.read()  # [samples, channels]
    if not len(channels):
        raise AudioError(path, "is empty (0 samples)")
    mono = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    if sample_rate is not None and sample_rate != rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def library_message(error: Exception) -> str:
    """What libsndfile says, without the path that stands in the message already."""
    text = getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".")


def _unopened(path: str | os.PathLike, error: soundfile.SoundFileError) -> str:
    """The reason for a file that libsndfile does not open."""
    try:
        # libsndfile calls a folder or an absent file a "system error"; Python's own open says what it is.
        with Path(path).open("rb"):
            return f"is damaged or no audio ({library_message(error)})"
    except OSError as system:
        return unreadable(system)
