"""The kinds of recordings that are read; apart from the code that reads them, to be cheap to import."""

from __future__ import annotations

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "Ogg", ".mp3": "MP3"}  # by lower-case extension


def is_audio(name: str) -> bool:
    """Whether a file is a recording by its name; what macOS leaves beside each file is none."""
    own = name.rpartition("/")[2]
    stem, _, kind = own.rpartition(".")
    return f".{kind.lower()}" in FORMATS and bool(stem) and not own.startswith("._")
