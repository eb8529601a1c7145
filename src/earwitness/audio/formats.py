"""The kinds of recordings that are read, and those that are only known; cheap to import, unlike the code that reads."""

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
# All extensions of recordings, those that are not read too: the one list for telling a name from its extension.
EXTENSIONS = (*FORMATS, ".aac", ".aif", ".aiff", ".webm", ".mkv")


def is_audio(name: str) -> bool:
    """Whether a file is a recording by its name; what macOS leaves beside each file is none."""
    own = name.rpartition("/")[2]
    stem, _, kind = own.rpartition(".")
    return f".{kind.lower()}" in FORMATS and bool(stem) and not own.startswith("._")
