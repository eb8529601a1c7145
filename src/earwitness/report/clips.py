"""Clips to play on the page: their selection, and audio and spectrogram as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from earwitness.audio.decode import open_recording
from earwitness.extractors.logmel import LogMelOptions
from earwitness.extractors.logmel.spectrogram import LogMel

SECONDS = 30.0  # usual maximum length of an excerpt
RATES = (16000, 24000)  # Hz, for small mp3 files; the first for recordings of at most 16 kHz
COMPRESSION = 0.8  # about 40 kbit/s
COLUMNS = 400  # of the spectrogram
MELS = 64
RANGE = 70.0  # dB shown below the loudest value
QUIETEST = -30.0  # dB; the reference level of quieter clips, so that they look dark


@dataclass(frozen=True)
class Excerpt:
    """One recording for the page."""

    audio: str  # data URI of an mp3
    picture: str  # data URI of a png of the spectrogram
    seconds: float
    cut: bool  # whether the recording is longer


def spread(scores: dict[str, float], number: int) -> list[str]:
    """At most ``number`` clip ids, evenly spaced in the ranking by score, from best to worst."""
    ordered = sorted(scores, key=lambda clip_id: (-scores[clip_id], clip_id))
    chosen = np.linspace(0, len(ordered) - 1, min(number, len(ordered))).round().astype(int)
    return [ordered[place] for place in chosen]


def excerpt(path: Path, seconds: float = SECONDS) -> Excerpt:
    """The beginning of a recording (at most ``seconds``). Raises AudioError if it cannot be read."""
    waveform, rate, cut = _beginning(path, seconds)
    return Excerpt(
        audio=data_uri("audio/mpeg", _mp3(waveform, rate)),
        picture=data_uri("image/png", png(_levels(waveform, rate))),
        seconds=len(waveform) / rate,
        cut=cut,
    )


def _beginning(path: Path, seconds: float) -> tuple[np.ndarray, int, bool]:
    """Mono float32 [samples] at one of RATES, that rate (Hz), and whether the recording is longer."""
    with open_recording(path) as sound:
        given = sound.sample_rate
        channels = sound.read(round(seconds * given))  # [samples, channels]
        cut = len(sound.read(1)) > 0
    rate = RATES[0] if given <= RATES[0] else RATES[1]
    return soxr.resample(channels.mean(axis=1), given, rate, quality="HQ"), rate, cut


def _mp3(waveform: np.ndarray, rate: int) -> bytes:
    # Not ogg: its streams have a random serial number, so the page would differ between runs.
    buffer = io.BytesIO()
    options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate, compression_level=COMPRESSION, **options)
    return buffer.getvalue()


def _levels(waveform: np.ndarray, rate: int) -> np.ndarray:
    """The log-mel spectrogram scaled to 0 .. 1, [mels, columns], low bands last."""
    hop = max(64, len(waveform) // COLUMNS)
    options = LogMelOptions(extractor="logmel", sample_rate=rate, hop=hop, mels=MELS, fmax=rate / 2)
    decibels = LogMel(options)(waveform)[: 1 + len(waveform) // hop]  # clips shorter than a window are padded
    loudest = max(decibels.max(), QUIETEST)
    return np.clip((decibels - loudest) / RANGE + 1, 0, 1).T[::-1]


def png(levels: np.ndarray) -> bytes:
    """Levels [rows, columns] from 0 to 1 as a png with a palette, a quarter of the size of true colour."""
    from matplotlib import colormaps
    from PIL import Image

    picture = Image.fromarray((levels * 255).round().astype(np.uint8))
    picture.putpalette((colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """A file of a media type as an address that holds its content."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
