"""Supported audio formats; apart from the code that decodes them, so that importing this is cheap."""

from __future__ import annotations

# By lower-case extension. Raw AAC (.aac) is not supported: it declares no length, so truncation cannot be detected.
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
    """Whether a file name is that of a recording; ``._*``, which macOS leaves beside each file, is not."""
    base = name.rpartition("/")[2]
    stem, _, extension = base.rpartition(".")
    return f".{extension.lower()}" in FORMATS and bool(stem) and not base.startswith("._")
