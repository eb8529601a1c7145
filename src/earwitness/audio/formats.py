"""The kinds of recordings that are read; apart from the code that reads them, to be cheap to import."""

from __future__ import annotations

# By lower-case extension. Raw AAC (.aac) is left out: it tells no length, so that a cut one would pass for whole.
FORMATS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "Ogg",
    ".oga": "Ogg",
    ".opus": "Ogg",
    ".mp3": "MP3",
    ".m4a": "MP4",
    ".mp4": "MP4",
}


def is_audio(name: str) -> bool:
    """Whether a file is a recording by its name; what macOS leaves beside each file is none."""
    own = name.rpartition("/")[2]
    stem, _, kind = own.rpartition(".")
    return f".{kind.lower()}" in FORMATS and bool(stem) and not own.startswith("._")
