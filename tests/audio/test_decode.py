"""Decoding to one channel at the rate asked for, in the formats that libsndfile reads."""

import pickle
import shlex
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from earwitness.audio.check import inspect
from earwitness.audio.decode import AudioError, load, open_recording
from earwitness.audio.sound import BLOCK, mix

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


def test_the_rate_of_the_file_is_kept(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(load(tmp_path / "a.wav", RATE), load(tmp_path / "a.wav", None))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_reads_in_blocks_what_it_reads_whole(tmp_path, suffix):
    """The check reads in blocks; an mp3 decoder that is made to seek between them gives other samples."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (8 * RATE, 2))
    soundfile.write(tmp_path / f"a{suffix}", noise, RATE)
    with open_recording(tmp_path / f"a{suffix}") as sound:
        first, whole = sound.read(1000), sound.read()
        assert len(sound.read()) == len(sound.read(5)) == 0
    with open_recording(tmp_path / f"a{suffix}") as sound:
        blocks = list(sound.blocks())
    assert [len(block) for block in blocks] == [BLOCK, BLOCK, 8 * RATE - 2 * BLOCK]
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate([first, whole]))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_mix_is_the_mean_to_the_bit(channels):
    block = np.random.default_rng(0).standard_normal((1000, channels)).astype(np.float32)
    block[:10], block[10:20] = -0.0, np.float32(1e-45)
    assert mix(block).tobytes() == (block.mean(axis=1) if channels > 1 else block[:, 0]).tobytes()


def test_odd_names(tmp_path):
    for name in (" leading.wav", "it&#39;s.wav", "雨 на крыше.wav"):
        soundfile.write(tmp_path / name, tone(), RATE)
        assert len(load(tmp_path / name, None)) == len(tone())


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "is missing"), (b"", "not audio"), (b"not a sound at all", "not audio")],
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
    with pytest.raises(AudioError, match=r"a\.flac: is truncated or damaged"):
        load(path, None)


@pytest.fixture
def no_pyav(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)


def boxes(path, **sizes):
    """An MP4 file as far as its boxes go."""
    path.write_bytes(
        b"".join(struct.pack(">I4s", size + 8, name.encode()) + bytes(size) for name, size in sizes.items())
    )
    return path


@pytest.mark.usefixtures("no_pyav")
@pytest.mark.parametrize("read", [inspect, lambda path: load(path, None)])
@pytest.mark.parametrize("name", ["a.m4a", "it's rain.mp4", "A.b.M4A"])
def test_without_pyav_says_how_to_convert(tmp_path, read, name):
    path = boxes(tmp_path / name, ftyp=8, mdat=100, moov=8)
    with pytest.raises(AudioError, match="pip install av") as caught:
        read(path)
    command = caught.value.reason.split("`")[1]
    assert shlex.split(command) == ["ffmpeg", "-i", str(path), str(path.with_suffix(".wav"))]


@pytest.mark.usefixtures("no_pyav")
def test_the_command_survives_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = boxes(tmp_path / "-a $HOME; b.m4a", ftyp=8, moov=8).name
    with pytest.raises(AudioError) as caught:
        load(name, None)
    command = caught.value.reason.split("`")[1].replace("ffmpeg", "printf '%s\\n'", 1)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["-i", "./-a $HOME; b.m4a", "./-a $HOME; b.wav"]


@pytest.mark.usefixtures("no_pyav")
@pytest.mark.parametrize(("content", "reason"), [(None, "is missing"), (b"", "0 bytes"), (b"OggS" * 9, "are Ogg")])
def test_what_needs_no_pyav_is_reported_first(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.m4a").write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        inspect(tmp_path / "a.m4a")


@pytest.mark.usefixtures("no_pyav")
@pytest.mark.parametrize("sizes", [{"ftyp": 8, "mdat": 100}, {"ftyp": 8, "moov": 8, "mdat": 100}])
def test_a_truncated_mp4_is_found_without_pyav(tmp_path, sizes):
    path = boxes(tmp_path / "a.m4a", **sizes)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AudioError, match="is truncated"):
        inspect(path)


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(AudioError("a.wav", "is missing")))  # noqa: S301 (our own bytes)
    assert (str(error), error.reason) == ("a.wav: is missing", "is missing")
