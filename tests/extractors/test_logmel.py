"""Log-mel frames of clips that are shorter, longer or much shorter than their feature's length."""

import math
import warnings

import librosa
import numpy as np
import pytest
from pydantic import ValidationError

from earwitness.audio.check import LOUDEST
from earwitness.audio.decode import load
from earwitness.extractors.logmel import LogMelOptions, empty_bands
from earwitness.extractors.logmel.spectrogram import LogMel
from earwitness.files import require_match
from tests.places import shared

RATE, FFT, HOP, SECONDS = 8000, 256, 100, 0.5
LMS = {
    "extractor": "logmel",
    "sample_rate": 32000,
    "n_fft": 2048,
    "hop": 1024,
    "mels": 128,
    "fmin": 0.0,
    "fmax": 8000.0,
    "log": "natural",
    "offset": 2.2e-16,
    "average": 10,
}


def extractor(**options):
    sizes = {"sample_rate": RATE, "n_fft": FFT, "hop": HOP, "mels": 16, "fmax": 4000, "seconds": SECONDS}
    return LogMel(LogMelOptions(extractor="logmel", **sizes | options))


def noise(samples):
    return np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)


def filled(extractor, waveform):
    """What the feature's reader gives: the frames, and the fill up to the clip's length."""
    frames = extractor(waveform)
    missing = extractor.frames_per_clip - len(frames)
    assert missing >= 0
    return np.concatenate([frames, np.full((missing, 16), extractor.fill, dtype=np.float32)])


@pytest.mark.parametrize("log, offset", [("db", None), ("natural", None), ("natural", 2.2e-16)])
@pytest.mark.parametrize("samples", [1, 100, 127, 128, 129, 200, 1600, 3500, 3700, 3872, 3873, 3950, 3999, 4000])
def test_a_shorter_clip_is_taken_to_go_on_in_zeros(samples, log, offset):
    """Frame for frame what the clip with its zeros gives, also near the end and for less than one window."""
    short, whole = extractor(log=log, offset=offset), extractor(log=log, offset=offset, seconds=None)
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


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({"n_fft": 512, "mels": 128}, ("15 of 128", "(band 3, 6, 9,", "86.1 Hz", "n_fft to 1024 or mels to 81")),
        ({"n_fft": 16, "mels": 4}, ("1 of 4", "(band 1)", "2756.2 Hz")),
        ({"sample_rate": 8000, "fmin": 0, "fmax": 4000, "n_fft": 128, "mels": 100}, (" of 100", "62.5 Hz")),
    ],
)
def test_bands_without_an_fft_bin_are_refused(changes, numbers):
    with pytest.raises(ValidationError) as caught:
        LogMelOptions(extractor="logmel", **changes)
    assert all(number in str(caught.value) for number in numbers)


@pytest.mark.parametrize("mels", [10, 40, 80, 128, 199])
@pytest.mark.parametrize(("rate", "n_fft"), [(8000, 256), (16000, 400), (32000, 128), (44100, 1024)])
@pytest.mark.parametrize("fmin", [0.0, 20.0, 125.0])
def test_bands_without_an_fft_bin_are_those_that_librosa_leaves_empty(rate, n_fft, mels, fmin):
    with warnings.catch_warnings(action="ignore"):
        filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=mels, fmin=fmin, fmax=4000)
    assert empty_bands(rate, n_fft, mels, fmin, 4000) == np.flatnonzero(filters.max(axis=1) == 0).tolist()


@pytest.mark.parametrize("options", [{}, {"n_fft": 1 << 14, "seconds": 2.0}, {"log": "natural", "offset": 1e-37}])
def test_what_the_check_of_recordings_lets_pass_gives_finite_frames(options):
    loudest = np.full(RATE, LOUDEST, np.float32) * np.cos(np.arange(RATE)).round()
    assert np.isfinite(extractor(**options)(loudest.astype(np.float32))).all()


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


def decaying(seconds, rate):
    """Struck tones over noise and a gap of digital silence: float32 [samples]."""
    generator = np.random.default_rng(1)
    times = np.arange(round(seconds * rate)) / rate
    sound = 0.003 * generator.standard_normal(len(times))
    for start, pitch in zip(generator.uniform(0, seconds, 6), generator.uniform(80, 6000, 6), strict=True):
        after = np.maximum(times - start, 0)
        sound += 0.3 * (times >= start) * np.exp(-5 * after) * np.sin(2 * np.pi * pitch * after)
    sound[int(0.4 * len(sound)) : int(0.5 * len(sound))] = 0
    return np.clip(sound, -1, 1).astype(np.float32)


def by_librosa(waveform, average):
    """lms as the sister project makes it with librosa, and the means of whole blocks: float32 [blocks, 128]."""
    sizes = {"n_fft": 2048, "hop_length": 1024, "n_mels": 128, "fmin": 0, "fmax": 8000}
    power = librosa.feature.melspectrogram(y=waveform, sr=32000, pad_mode="reflect", power=2.0, **sizes)
    levels = np.log(power + 2.2e-16).T
    blocks = len(levels) // average
    return np.stack([levels[average * block : average * (block + 1)].mean(axis=0) for block in range(blocks)])


@pytest.fixture(params=["struck", "soundscapes/evaluation", "clotho_real/evaluation"])
def audio(request):
    """Made-up sound, and the first recording of some folders: float32 [samples] at 32 kHz."""
    if request.param == "struck":
        return decaying(4.03, 32000)
    return load(min(shared(request.param).iterdir()), 32000)


@pytest.mark.parametrize("average", [1, 10, 31])
def test_lms_is_that_of_librosa(audio, average):
    frames, reference = LogMel(LogMelOptions(**LMS | {"average": average}))(audio), by_librosa(audio, average)
    assert frames.shape == reference.shape
    assert frames == pytest.approx(reference, abs=1e-3)


def test_lms_has_a_frame_each_third_of_a_second():
    assert len(LogMel(LogMelOptions(**LMS))(noise(320000))) == 31
    assert LogMel(LogMelOptions(**LMS, seconds=30.0)).frames_per_clip == 93


@pytest.mark.parametrize("samples", [1, 100, 199, 1000, 1999, 2000, 2001, 3500, 3872, 3999])
@pytest.mark.parametrize("options", [{}, {"log": "natural", "offset": 2.2e-16}, {"top_db": 30.0}])
@pytest.mark.parametrize("average", [1, 3, 4, 41])
def test_blocks_are_means_of_the_clip_with_its_zeros(samples, options, average):
    """41 frames a clip: of blocks of 3 there are 13, of 4 there are 10, and the frames left over are dropped."""
    plain, blocks = extractor(**options), extractor(**options, average=average)
    number = 41 // average
    assert blocks.frames_per_clip == number
    means = filled(plain, noise(samples))[: number * average].reshape(number, average, 16).mean(axis=1)
    assert filled(blocks, noise(samples)) == pytest.approx(means, abs=1e-4)


@pytest.mark.parametrize("fill", ["floor", "zero"])
def test_blocks_beyond_the_sound_are_not_stored(fill):
    """The block in which the sound ends holds the log of silence for the rest, whatever stands beyond it."""
    blocks = extractor(average=4, fill=fill)
    frames = blocks(noise(1600))
    assert len(frames) == math.ceil((1600 + FFT / 2) / (4 * HOP))
    assert frames == pytest.approx(extractor(average=4)(noise(1600)))
    assert filled(blocks, noise(1600))[-1] == pytest.approx(-100 if fill == "floor" else 0)


@pytest.mark.parametrize("samples", [1, 899, 900, 901, 1600])
def test_a_clip_shorter_than_a_block_goes_on_in_zeros(samples):
    """Ten frames reach from sample 0 to sample 900."""
    blocks = extractor(seconds=None, average=10)
    extended = np.pad(noise(samples), (0, max(0, 900 - samples)))
    assert blocks.window_seconds == pytest.approx((256 + 900) / RATE)
    assert len(blocks(noise(samples))) == 1
    assert blocks(noise(samples))[0] == pytest.approx(extractor(seconds=None)(extended)[:10].mean(axis=0), abs=1e-4)


def test_a_length_that_holds_no_block_is_refused():
    with pytest.raises(ValidationError, match=r"seconds must hold 42 frames, which `average` needs; it is 0\.5"):
        extractor(average=42)


@pytest.mark.parametrize("log, unit", [("natural", 1), ("db", 10 / math.log(10))])
def test_an_offset_is_added_instead_of_a_floor(log, unit):
    shifted = extractor(log=log, offset=1e-3)
    power = 10 ** (extractor()(noise(2000)) / 10)
    assert shifted.fill == pytest.approx(unit * math.log(1e-3))
    assert shifted(noise(2000)) == pytest.approx(unit * np.log(power + 1e-3), abs=1e-3)
    assert shifted(np.zeros(400, dtype=np.float32)) == pytest.approx(shifted.fill, abs=1e-4)


def test_a_feature_file_from_before_these_options_still_serves():
    settings = LogMelOptions(extractor="logmel").model_dump()
    before = {name: value for name, value in settings.items() if name not in ("offset", "average")}
    assert before != settings
    require_match("f.h5", {"settings": before}, {"settings": settings})
