"""A folder of tones, and a model in a seed's folder as training leaves it."""

import json
from functools import cache

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from earwitness import registry
from earwitness.extractors.logmel import LogMelOptions
from earwitness.extractors.logmel.spectrogram import LogMel
from earwitness.files import sha256
from tests.serving.fake import BANDS, Bands, Namer

RATE = 8000
OPTIONS = LogMelOptions(extractor="logmel", sample_rate=RATE, n_fft=256, hop=80, mels=BANDS, fmin=50, fmax=4000)
FRONT_END = {"made_by": "logmel", "settings": OPTIONS.settings("frames"), "inputs": {}}


@cache
def frequency_of(band):
    """Hz in the middle of a band."""
    seconds = np.arange(2048) / RATE
    tones = np.arange(100, 3900, 20)
    means = np.stack([LogMel(OPTIONS)(np.sin(2 * np.pi * hz * seconds).astype(np.float32)).mean(0) for hz in tones])
    return tones[means[:, band].argmax()]


def write_tone(path, band, seconds=0.1, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * frequency_of(band) * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, wave, rate)


def write_model(folder, system="bands", scale=1.0, features=None):
    """A seed's folder."""
    folder.mkdir(parents=True)
    save_file({"scale": np.array(scale, dtype=np.float32)}, folder / "model.safetensors")
    content = {
        "schema": 2,
        "system": system,
        "options": {"system": system},
        "weights_sha256": sha256(folder / "model.safetensors"),
        "network": {"features": {"mel": FRONT_END} if features is None else features},
    }
    (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def systems(monkeypatch, tmp_path):
    for name, kind in (("bands", "Bands"), ("no_dual", "NoDual"), ("locator", "Locator"), ("namer", "Namer")):
        entry = registry.Entry(f"tests.serving.fake:{kind}Options", f"tests.serving.fake:{kind}System")
        monkeypatch.setitem(registry.SYSTEMS, name, entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Bands, "embedded", [])
    monkeypatch.setattr(Namer, "batches", [])


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "results/tones/bands/seed-0")


@pytest.fixture
def tones(tmp_path):
    """Recordings of five bands: 2.wav, 3.wav, 4.flac ... in two folders."""
    folder = tmp_path / "tones"
    for band, name in ((2, "2.wav"), (4, "4.flac"), (6, "below/6.wav"), (8, "below/8.wav"), (10, "below/10.ogg")):
        write_tone(folder / name, band)
    (folder / "notes.txt").write_text("no recording")
    return folder
