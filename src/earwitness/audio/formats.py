"""The kinds of recordings that are read; apart from the code that reads them, to be cheap to import."""

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "Ogg", ".mp3": "MP3"}  # by lower-case extension
