"""The loudness of clips with phrases: its values, which clips it has, and recordings that changed."""

from itertools import pairwise

import h5py
import librosa
import numpy as np
import pytest
import soundfile

from earwitness.corpora.tables import CAPTIONS, CLIPS, PHRASES, write_rows
from earwitness.errors import CorpusError
from earwitness.evaluation import loudness as module
from earwitness.evaluation.loudness import loudness, read_loudness, write_loudness
from earwitness.files import sha256

RATE = 16000


def burst(seconds=1.0, rate=RATE):
    """Noise, loud from 0.4 to 0.6 s."""
    time = np.arange(round(seconds * rate)) / rate
    level = np.where((time >= 0.4) & (time < 0.6), 0.3, 0.003)
    return (level * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 8000, 44100])
def test_it_is_the_mean_log_mel(rate, monkeypatch):
    wave, window = burst(rate=rate), round(0.04 * rate)
    size = 1 << (window - 1).bit_length()
    sizes = {"n_fft": size, "hop_length": round(0.02 * rate), "win_length": window, "pad_mode": "reflect"}
    mel = librosa.feature.melspectrogram(y=wave, sr=rate, n_mels=64, fmin=12, fmax=min(8000, rate / 2), **sizes)
    whole = loudness(wave, rate)
    assert whole.shape == (51,) and whole.dtype == np.float32
    assert whole == pytest.approx(np.log(mel + 2.22e-16).mean(axis=0), abs=2e-3)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert loudness(wave, rate) == pytest.approx(whole, abs=1e-5)


def test_silence_and_a_clip_shorter_than_a_window():
    assert loudness(np.zeros(RATE, dtype=np.float32), RATE) == pytest.approx(np.full(51, -36.04), abs=0.01)
    assert loudness(burst(0.005), RATE).shape == (1,)


@pytest.fixture
def corpus(tmp_path):
    """A clip with a phrase in each split, one without, and one at a rate of which 20 ms are no whole number."""
    clips, captions, phrases = [], [], []
    for name, split, rate in (
        ("d", "development", RATE), ("v", "validation", RATE), ("e", "evaluation", 11025), ("x", "evaluation", RATE)
    ):  # fmt: skip
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, burst(rate=rate), rate)
        clips.append((name, split, path.name, "name", 1.0, rate, 1, sha256(path)))
        captions.append((f"{name}#1", name, "a dog"))
        phrases += [(f"{name}#1.1", f"{name}#1", "a dog", 0, 2)] if name != "x" else []
    write_rows(tmp_path / "clips.csv", CLIPS, clips)
    write_rows(tmp_path / "captions.csv", CAPTIONS, captions)
    write_rows(tmp_path / "phrases.csv", PHRASES, phrases)
    return tmp_path


def test_clips_with_a_phrase(corpus):
    write_loudness(corpus, corpus, corpus / "loudness.h5", threads=2)
    hop, clips, offsets, values = read_loudness(corpus)
    assert (hop, clips, offsets.tolist()) == (0.02, ["v", "e"], [0, 51, 102])
    for start, stop in pairwise(offsets):
        assert 20 <= np.argmax(values[start:stop]) <= 30  # 0.4 to 0.6 s at either rate


def test_a_corpus_without_phrases_is_empty(corpus):
    write_rows(corpus / "phrases.csv", PHRASES, [])
    write_loudness(corpus, corpus, corpus / "loudness.h5", threads=1)
    with h5py.File(corpus / "loudness.h5") as file:
        assert len(file["clip_ids"]) == len(file["loudness"]) == 0 and file["offsets"][:].tolist() == [0]


def test_recordings_that_changed_are_named(corpus):
    soundfile.write(corpus / "v.wav", burst(0.5), RATE)
    (corpus / "e.wav").unlink()
    with pytest.raises(CorpusError) as told:
        write_loudness(corpus, corpus, corpus / "loudness.h5", threads=1)
    assert "v.wav" in str(told.value) and "e.wav" in str(told.value)
    assert not list(corpus.glob("*.h5")) and not list(corpus.glob(".*"))
