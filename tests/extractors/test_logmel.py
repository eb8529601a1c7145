"""Log-mel frames of clips that are shorter, longer or much shorter than their feature's length."""

import math

import librosa
import numpy as np
import pytest

from earwitness.extractors.logmel import LogMel, LogMelOptions

RATE, FFT, HOP, SECONDS = 8000, 256, 100, 0.5


def extractor(**options):
    sizes = {"sample_rate": RATE, "n_fft": FFT, "hop": HOP, "mels": 16, "fmax": 4000, "seconds": SECONDS}
    return LogMel(LogMelOptions(extractor="logmel", **sizes | options))


def noise(samples):
    return np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)


def filled(extractor, waveform):
    """What the feature's reader gives: the frames, and the fill up to the clip's length."""
    frames = extractor(waveform)
    missing = extractor.frames_per_clip - len(frames)
    return np.concatenate([frames, np.full((missing, 16), extractor.fill, dtype=np.float32)])


@pytest.mark.parametrize("log", ["db", "natural"])
@pytest.mark.parametrize("samples", [1, 100, 127, 128, 129, 200, 1600, 3500, 3700, 3872, 3873, 3950, 3999, 4000])
def test_a_shorter_clip_is_taken_to_go_on_in_zeros(samples, log):
    """Frame for frame what the clip with its zeros gives, also near the end and for less than one window."""
    short, whole = extractor(log=log), extractor(log=log, seconds=None)
    extended = np.pad(noise(samples), (0, 4000 - samples))
    assert short.frames_per_clip == 41
    assert filled(short, noise(samples)) == pytest.approx(whole(extended), abs=1e-4)


@pytest.mark.parametrize("samples", [100, 1600, 2000])
def test_frames_beyond_the_sound_are_not_stored(samples):
    """The last frame stored is the last whose window reaches into the sound."""
    frames = extractor()(noise(samples))
    assert len(frames) == math.ceil((samples + FFT / 2) / HOP)


def test_a_longer_clip_is_cut():
    assert extractor()(noise(5000)) == pytest.approx(extractor()(noise(5000)[:4000]))
    assert len(extractor()(noise(5000))) == 41


@pytest.mark.parametrize(("seconds", "answer"), [(0.4, False), (0.5, False), (0.51, False), (0.52, True), (9, True)])
def test_one_hop_more_than_the_length_is_not_too_long(seconds, answer):
    assert extractor().too_long(seconds) is answer
    assert not extractor(seconds=None).too_long(seconds)


def test_without_a_length_clips_keep_their_own():
    free = extractor(seconds=None)
    assert free.frames_per_clip is None
    assert len(free(noise(1600))) == 17
    assert len(free(noise(10))) == 2  # brought to what reflection needs


def test_silence_lies_at_the_floor():
    for log, floor in [("db", -100.0), ("natural", math.log(1e-10))]:
        frames = extractor(log=log)(np.zeros(400, dtype=np.float32))
        assert extractor(log=log).fill == pytest.approx(floor)
        assert frames == pytest.approx(np.full_like(frames, floor))
    assert extractor(fill="zero").fill == 0.0


def test_natural_logarithm_and_decibels_differ_by_a_factor():
    natural, decibels = extractor(log="natural")(noise(4000)), extractor()(noise(4000))
    assert natural * 10 / math.log(10) == pytest.approx(decibels, abs=1e-3)


def test_top_db_caps_below_the_loudest_value_of_the_clip_silence_included():
    plain, capped = extractor()(noise(2000)), extractor(top_db=20)(noise(2000))
    assert len(capped) == 41
    assert capped[: len(plain)] == pytest.approx(np.maximum(plain, plain.max() - 20), abs=1e-4)
    assert capped[len(plain) :] == pytest.approx(plain.max() - 20, abs=1e-4)


def test_a_tone_stands_in_its_band():
    times = np.arange(4000) / RATE
    frames = extractor()(np.sin(2 * np.pi * 1000 * times).astype(np.float32))
    mels = librosa.mel_frequencies(18, fmin=50, fmax=4000)[1:-1]
    assert abs(mels[frames[20].argmax()] - 1000) == np.abs(mels - 1000).min()


@pytest.mark.parametrize("mels", [16, 40])
def test_frames_are_plain_float32_rows(mels):
    frames = extractor(mels=mels)(noise(4000))
    assert frames.dtype == np.float32 and frames.shape == (41, mels) and frames.flags["C_CONTIGUOUS"]
