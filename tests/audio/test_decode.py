"""Decoding to one channel at the rate asked for, in all four formats."""

import pickle

import numpy as np
import pytest
import soundfile

from earwitness.audio.decode import AudioError, load

RATE = 22050


def tone(seconds=0.5, rate=RATE, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(("suffix", "error"), [(".wav", 1e-4), (".flac", 1e-4), (".ogg", 0.05), (".mp3", 0.05)])
def test_reads_every_format(tmp_path, suffix, error):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, tone(), RATE)
    samples = load(path, None)
    assert samples.dtype == np.float32 and samples.shape == (len(tone()),)
    assert np.abs(samples - tone()).max() < error


def test_averages_the_channels(tmp_path):
    left, right = tone(hertz=300), tone(hertz=500)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(load(tmp_path / "a.wav", None), (left + right) / 2, atol=1e-6)


def test_channels_are_averaged_before_resampling(tmp_path):
    stereo = np.stack([tone(), -tone()], 1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype="FLOAT")
    assert not load(tmp_path / "a.wav", 16000).any()


@pytest.mark.parametrize("rate", [16000, 44100])
def test_resamples(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="FLOAT")
    samples = load(tmp_path / "a.wav", rate)
    assert samples.shape == (rate // 2,) and samples.flags.c_contiguous
    inside = slice(rate // 10, -rate // 10)
    assert np.abs(samples - tone(rate=rate))[inside].max() < 1e-3


def test_own_rate_is_left_alone(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(load(tmp_path / "a.wav", RATE), load(tmp_path / "a.wav", None))


def test_odd_names(tmp_path):
    for name in (" leading.wav", "it&#39;s.wav", "雨 на крыше.wav"):
        soundfile.write(tmp_path / name, tone(), RATE)
        assert len(load(tmp_path / name, None)) == len(tone())


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "is missing"), (b"", "no audio"), (b"not a sound at all", "no audio")],
)
def test_names_what_cannot_be_read(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=reason) as caught:
        load(path, None)
    assert str(path) in str(caught.value)


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    with pytest.raises(AudioError, match="0 samples"):
        load(tmp_path / "a.wav", None)


def test_a_folder(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(AudioError, match="directory"):
        load(tmp_path / "a.wav", None)


def test_damaged_flac(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, RATE), RATE)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(AudioError, match=r"a\.flac: cannot be decoded"):
        load(path, None)


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(AudioError("a.wav", "is missing")))  # noqa: S301 (our own bytes)
    assert (str(error), error.reason) == ("a.wav: is missing", "is missing")
