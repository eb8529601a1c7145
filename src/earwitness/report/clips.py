"""Clips to hear: which ones, and each as sound and spectrogram that fit into a page."""

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

SECONDS = 30.0  # of a clip that are played; the rest is cut
RATES = (16000, 24000)  # at which mp3 is small; narrow recordings take the first
COMPRESSION = 0.8  # about 40 kbit/s
COLUMNS = 400  # of a spectrogram
MELS = 64
RANGE = 70.0  # dB shown below the loudest value
QUIETEST = -30.0  # dB; a clip whose loudest value is lower is shown dark, as it sounds


@dataclass(frozen=True)
class Excerpt:
    """What a page needs to play and show one recording."""

    audio: str  # data URI of an mp3
    picture: str  # data URI of a png that spans the same time
    seconds: float
    cut: bool


def spread(scores: dict[str, float], number: int) -> list[str]:
    """At most ``number`` clip ids at equal distances in the order of their scores, from the best to the worst."""
    ordered = sorted(scores, key=lambda clip_id: (-scores[clip_id], clip_id))
    chosen = np.linspace(0, len(ordered) - 1, min(number, len(ordered))).round().astype(int)
    return [ordered[place] for place in chosen]


def excerpt(path: Path) -> Excerpt:
    """The first seconds of a recording; raises AudioError when it cannot be read."""
    waveform, rate, cut = _beginning(path)
    return Excerpt(
        audio=_data_uri("audio/mpeg", _mp3(waveform, rate)),
        picture=_data_uri("image/png", _png(_levels(waveform, rate))),
        seconds=len(waveform) / rate,
        cut=cut,
    )


def _beginning(path: Path) -> tuple[np.ndarray, int, bool]:
    """The first seconds as float32 [samples] at one of RATES, that rate, and whether anything was cut."""
    with open_recording(path) as sound:
        given = sound.sample_rate
        channels = sound.read(round(SECONDS * given))  # [samples, channels]
        cut = len(sound.read(1)) > 0
    rate = RATES[0] if given <= RATES[0] else RATES[1]
    return soxr.resample(channels.mean(axis=1), given, rate, quality="HQ"), rate, cut


def _mp3(waveform: np.ndarray, rate: int) -> bytes:
    # Not ogg: its streams carry a random serial number, and the page would differ from run to run.
    buffer = io.BytesIO()
    options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate, compression_level=COMPRESSION, **options)
    return buffer.getvalue()


def _levels(waveform: np.ndarray, rate: int) -> np.ndarray:
    """The spectrogram as brightness from 0 to 1, [mels, columns], low bands last."""
    hop = max(64, len(waveform) // COLUMNS)
    options = LogMelOptions(extractor="logmel", sample_rate=rate, hop=hop, mels=MELS, fmax=rate / 2)
    decibels = LogMel(options)(waveform)[: 1 + len(waveform) // hop]  # a clip below one window was padded
    loudest = max(decibels.max(), QUIETEST)
    return np.clip((decibels - loudest) / RANGE + 1, 0, 1).T[::-1]


def _png(levels: np.ndarray) -> bytes:
    """A picture with a palette, a fourth of the size of one in true colour."""
    from matplotlib import colormaps
    from PIL import Image

    picture = Image.fromarray((levels * 255).round().astype(np.uint8))
    picture.putpalette((colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
