"""Decodes recordings in every format of ``formats``, with any rate and channel count, to float32 mono."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from earwitness.audio.formats import FORMATS
from earwitness.audio.mp4 import Mp4Sound
from earwitness.audio.sound import AudioError, Sound, conversion, mix, unreadable
from earwitness.audio.wav import coding

UNKNOWN_FRAMES = 1 << 48  # from here on libsndfile means that the length is unknown, and soundfile cannot read on


class _Forwards(soundfile.SoundFile):
    """Read from beginning to end: with files that can be sought in, soundfile seeks after every block.

    An mp3 decoder then begins anew, with other samples than of one read; and some codings cannot be sought in.
    """

    def seekable(self) -> bool:
        return False


class SndfileSound(Sound):
    """A wav, flac, ogg or mp3 read by libsndfile; raises AudioError when it cannot be opened."""

    def __init__(self, path: str | os.PathLike):
        self._path = path
        try:
            self._file = _Forwards(path)
        except soundfile.SoundFileError as error:
            try:  # libsndfile calls a folder or a missing file a "system error"; Python's open says which it is
                Path(path).open("rb").close()
            except OSError as reason:
                raise AudioError(path, unreadable(reason)) from error
            raise AudioError(path, _reason(path, error)) from error
        if self._file.frames >= UNKNOWN_FRAMES:
            self._file.close()
            raise AudioError(path, "does not state its length (a streamed flac); encode it again from a file")
        self._done = 0
        self.sample_rate = self._file.samplerate
        self.channels = self._file.channels

    def read(self, frames: int = -1) -> np.ndarray:
        """As ``Sound.read``."""
        left = self._file.frames - self._done  # beyond it a flac's decoder fails at tags and padding
        wanted = min(frames, left) if frames >= 0 else left
        try:
            samples = self._file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(self._path, f"is truncated or damaged ({library_message(error)})") from error
        except (ValueError, MemoryError) as error:
            raise AudioError(self._path, f"cannot be decoded ({error})") from error
        self._done += len(samples)
        return samples

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _reason(path: str | os.PathLike, error: soundfile.SoundFileError) -> str:
    """Why a file that exists cannot be opened."""
    if (named := coding(path)) is not None:
        return f"holds {named}, a coding that is not read; convert it (`{conversion(path, '-c:a', 'pcm_s16le')}`)"
    message = library_message(error)
    # What libsndfile says of a file in which it finds no MPEG frame.
    return f"is damaged or not audio ({'no audio was found in it' if 'does not exist' in message else message})"


def open_recording(path: str | os.PathLike) -> Sound:
    """Open a recording with the library for its extension; raises AudioError when it cannot be opened."""
    claimed = FORMATS.get(Path(path).suffix.lower())
    return Mp4Sound(path) if claimed == "MP4" else SndfileSound(path)


def load(path: str | os.PathLike, sample_rate: int | None) -> np.ndarray:
    """Decode a whole recording to mono.

    The channels are averaged before resampling (soxr, quality HQ); ``sample_rate`` in Hz, None keeps the file's.
    Returns float32 [samples]. Raises AudioError when the file is missing, empty or cannot be decoded; ``check.inspect``
    is what checks that it is complete and that all samples are finite.
    """
    with open_recording(path) as sound:
        rate = sound.sample_rate
        channels = sound.read()  # [samples, channels]
    if not len(channels):
        raise AudioError(path, "is empty (0 samples)")
    mono = mix(channels)
    if sample_rate is not None and sample_rate != rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def library_message(error: Exception) -> str:
    """libsndfile's message without the path, which AudioError adds."""
    text = getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".")
