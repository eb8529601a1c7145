"""m4a and mp4: what is decoded, and every way in which one can be unusable."""

import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest

from earwitness.audio.check import inspect
from earwitness.audio.decode import AudioError, load, open_recording
from earwitness.audio.sound import BLOCK
from earwitness.files import sha256

av = pytest.importorskip("av", reason="PyAV, which reads m4a, is not installed")

RATE = 22050
PACKET = 1024  # samples that AAC codes together
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 6: "5.1"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def tone(seconds=1.0, channels=1, hertz=440.0, rate=RATE):
    """[samples, channels]"""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


@contextmanager
def file_with_tracks(path, number, channels=1, codec="aac", rate=RATE, **options):
    with av.open(str(path), "w", format="mp4", options=options) as container:
        yield container, [container.add_stream(codec, rate=rate, layout=LAYOUTS[channels]) for _ in range(number)]


def add(container, track, samples, start=0, rate=RATE):
    """Encode samples into a track, the first of them at ``start``, and finish it."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=LAYOUTS[samples.shape[1]])
    frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
    packets = [packet for part in (frame, None) for packet in track.encode(part)]
    container.mux(packets)


def write(path, samples=None, **options):
    samples = tone() if samples is None else samples
    with file_with_tracks(path, 1, samples.shape[1], **options) as (container, tracks):
        add(container, tracks[0], samples, rate=options.get("rate", RATE))
    return path


def write_video(path, with_sound):
    """A film of five black pictures."""
    with file_with_tracks(path, int(with_sound)) as (container, tracks):
        film = container.add_stream("mpeg4", rate=10)
        film.width, film.height, film.pix_fmt = 32, 32, "yuv420p"
        for number in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            picture.pts = number
            container.mux(film.encode(picture))
        container.mux(film.encode(None))
        for track in tracks:
            add(container, track, tone())
    return path


def replaced(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


def refusal(path):
    with pytest.raises(AudioError) as caught:
        inspect(path)
    return caught.value.reason


def loudest_hertz(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * rate / len(samples)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", [".m4a", ".mp4", ".M4A"])
def test_good_files(tmp_path, suffix, channels):
    path = write(tmp_path / f"a{suffix}", tone(channels=channels))
    facts = inspect(path)
    assert (facts.sample_rate, facts.channels, facts.sha256, facts.silent) == (RATE, channels, sha256(path), False)
    assert facts.frames == RATE and facts.seconds == 1


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_sounds_as_it_was(tmp_path, rate):
    samples = load(write(tmp_path / "a.m4a", tone(rate=rate), rate=rate), None)
    assert samples.dtype == np.float32 and samples.flags.c_contiguous and samples.ndim == 1
    assert loudest_hertz(samples[:rate], rate) == pytest.approx(440, abs=1)


def test_the_encoders_delay_is_left_out(tmp_path):
    samples = load(write(tmp_path / "a.m4a"), None)
    inside = slice(PACKET, RATE - PACKET)  # the ends are less exact
    assert np.abs(samples[:RATE] - tone()[:, 0])[inside].max() < 0.02


def edited(path, duration=None, start=None, clock=None, whole_last=False):
    """An m4a with other numbers in its edit list, its film's clock, and a last packet that is called whole."""
    data = bytearray(path.read_bytes())
    edit, film, times = (data.find(name) for name in (b"elst", b"mvhd", b"stts"))
    assert data[edit + 4] == data[film + 4] == 0 and data[edit + 8 : edit + 12] == b"\0\0\0\1"
    last = times + 12 + 8 * (int.from_bytes(data[times + 8 : times + 12], "big") - 1)
    for place, value in ((edit + 12, duration), (edit + 16, start), (film + 16, clock), (last + 4, whole_last or None)):
        if value is not None:
            data[place : place + 4] = struct.pack(">I", PACKET if value is True else value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("samples", [PACKET, PACKET + 1, 22050, 22051, 22527, 22528, 22529, 44117])
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_as_long_as_what_was_encoded(tmp_path, samples, rate):
    path = write(tmp_path / "a.m4a", tone(2)[:1].repeat(samples, axis=0), rate=rate)
    assert inspect(path).frames == len(load(path, None)) == samples


@pytest.mark.parametrize("start", [1000, 1024, 2112])
def test_an_exact_edit_list_ends_within_a_packet(tmp_path, start):
    """As Apple's encoder writes it: the last packet is whole, and the film's clock is the sound's."""
    path = edited(write(tmp_path / "a.m4a"), 20000, start, RATE, whole_last=True)
    assert inspect(path).frames == len(load(path, None)) == 20000


def test_an_edit_list_cuts_the_end(tmp_path):
    assert inspect(edited(write(tmp_path / "a.m4a"), 500)).frames == RATE // 2  # milliseconds


@pytest.mark.parametrize("clock", [600, 1000])
def test_an_edit_list_that_rounds_takes_nothing_away(tmp_path, clock):
    path = write(tmp_path / "a.m4a", tone(2)[: RATE + 20])
    assert inspect(edited(path, clock, clock=clock)).frames == RATE + 20


def test_two_joined_films_are_refused(tmp_path):
    data = write(tmp_path / "a.m4a").read_bytes()
    (tmp_path / "b.m4a").write_bytes(2 * data)
    place = len(data) + data.rfind(b"moov") - 4
    assert "second recording" in refusal(tmp_path / "b.m4a") and f"byte {place} " in refusal(tmp_path / "b.m4a")


def test_without_an_edit_list_the_delay_stays(tmp_path):
    assert inspect(write(tmp_path / "a.m4a", use_editlist="0")).frames - RATE == PACKET


def test_resamples(tmp_path):
    samples = load(write(tmp_path / "a.m4a"), 16000)
    assert loudest_hertz(samples[:16000], 16000) == pytest.approx(440, abs=1)


def test_averages_the_channels(tmp_path):
    stereo = tone(channels=2) * np.float32([1, -1])
    assert np.abs(load(write(tmp_path / "a.m4a", stereo, codec="alac"), None)).max() < 1e-6


@pytest.mark.parametrize("channels", [1, 2])
def test_alac_is_exact(tmp_path, channels):
    samples = tone(channels=channels)
    path = write(tmp_path / "a.m4a", samples, codec="alac")
    with open_recording(path) as sound:
        np.testing.assert_allclose(sound.read(), samples, atol=1e-6)
    assert inspect(path).frames == RATE


@pytest.mark.parametrize("options", [{"movflags": "faststart"}, FRAGMENTED])
def test_other_orders_of_boxes(tmp_path, options):
    assert inspect(write(tmp_path / "a.m4a", **options)).seconds == pytest.approx(1, abs=2 * PACKET / RATE)


def test_reads_in_blocks_what_it_reads_whole(tmp_path):
    path = write(tmp_path / "a.m4a", tone(4, channels=2))
    with open_recording(path) as sound:
        whole = sound.read()
        assert sound.read().shape == sound.read(5).shape == (0, 2)
    with open_recording(path) as sound:
        blocks = [sound.read(frames) for frames in (0, 1, 1000, 3000, BLOCK, BLOCK)]
    assert [len(block) for block in blocks[:4]] == [0, 1, 1000, 3000]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert inspect(path).frames == len(whole) > BLOCK


def test_threads_do_not_mix_recordings(tmp_path):
    paths = [write(tmp_path / f"{number}.m4a", tone(hertz=440 * number)) for number in range(1, 9)]
    alone = [load(path, None) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: load(path, None), paths))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_silence_is_reported_not_refused(tmp_path):
    assert inspect(write(tmp_path / "a.m4a", np.zeros((RATE, 1), np.float32))).silent


def test_a_late_start_is_no_truncation(tmp_path):
    with file_with_tracks(tmp_path / "a.m4a", 1) as (container, tracks):
        add(container, tracks[0], tone(), start=RATE)
    assert inspect(tmp_path / "a.m4a").seconds == pytest.approx(1, abs=2 * PACKET / RATE)


def test_pictures_beside_the_sound_are_passed_over(tmp_path):
    assert inspect(write_video(tmp_path / "a.mp4", with_sound=True)).frames == RATE


@pytest.mark.parametrize("name", ["rain: 50%d.m4a", "-i.m4a", "concat:a.m4a", "雨 it's.m4a"])
def test_odd_names(tmp_path, monkeypatch, name):
    write(tmp_path / "a.m4a").rename(tmp_path / name)
    assert len(load(tmp_path / name, None)) >= RATE
    monkeypatch.chdir(tmp_path)
    assert inspect(name).sample_rate == RATE


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}])
@pytest.mark.parametrize("keep", [-1, -100, 2000, 5000])
def test_truncated(tmp_path, options, keep):
    path = cut(write(tmp_path / "a.m4a", **options), keep)
    assert refusal(path).startswith("is truncated")


def test_truncated_says_how_far(tmp_path):
    path = write(tmp_path / "a.m4a", movflags="faststart")
    samples = path.read_bytes().rfind(b"mdat") - 4
    whole = path.stat().st_size - samples
    assert f" {whole - 500} of {whole} bytes of its mdat" in refusal(cut(path, -500))


def test_cut_between_the_samples_and_the_index(tmp_path):
    path = write(tmp_path / "a.m4a")
    assert "index (moov) is missing" in refusal(cut(path, path.read_bytes().rfind(b"moov") - 4))


@pytest.mark.parametrize("keep", [4, 20, 30])
def test_cut_inside_the_header(tmp_path, keep):
    path = cut(write(tmp_path / "a.m4a"), keep)
    assert refusal(path)
    with pytest.raises(AudioError, match="damaged"):
        load(path, None)


def test_fragments_are_truncated(tmp_path):
    assert "bytes of its mdat" in refusal(cut(write(tmp_path / "a.m4a", **FRAGMENTED), 5000))


def test_samples_longer_than_32_bits_can_tell(tmp_path):
    path = write(tmp_path / "a.m4a")
    data = path.read_bytes()
    start = data.find(b"mdat") - 4
    length = struct.unpack(">I", data[start : start + 4])[0]
    assert data[start - 8 : start - 4] == struct.pack(">I", 8)  # the empty box that is there to be taken for this
    long = struct.pack(">I4sQ", 1, b"mdat", length + 8)
    path.write_bytes(data[: start - 8] + long + data[start + 8 :])
    assert inspect(path).sample_rate == RATE
    path.write_bytes(data[: start - 8] + struct.pack(">I4sQ", 1, b"mdat", 1 << 40) + data[start + 8 :])
    assert f"of {1 << 40} bytes of its mdat" in refusal(path)


def test_a_last_box_without_length_and_what_stands_behind_the_last(tmp_path):
    path = write(tmp_path / "a.m4a", movflags="faststart")
    data = path.read_bytes()
    start = data.rfind(b"mdat") - 4
    path.write_bytes(data[:start] + bytes(4) + data[start + 4 :])
    assert inspect(path).sample_rate == RATE
    for junk in (b"TAG" + bytes(125), b"\0\0\0\3junk", b"abc"):
        path.write_bytes(data + junk)
        assert inspect(path).sample_rate == RATE


def test_damage_in_the_middle(tmp_path):
    path = write(tmp_path / "a.m4a")
    data = bytearray(path.read_bytes())
    data[3000:4000] = bytes(1000)
    path.write_bytes(data)
    assert refusal(path).startswith("is truncated or damaged (")
    with pytest.raises(AudioError, match="is truncated or damaged"):
        load(path, None)


def test_samples_that_are_no_numbers(tmp_path):
    samples = tone()
    samples[1000] = np.nan
    path = tmp_path / "a.mp4"
    with file_with_tracks(path, 1, codec="pcm_f32le") as (container, tracks):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="flt", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux([packet for part in (frame, None) for packet in tracks[0].encode(part)])
    assert "sample 1000, at 0.045 s" in refusal(path)


@pytest.mark.parametrize("channels", [3, 6])
def test_more_than_two_channels(tmp_path, channels):
    assert refusal(write(tmp_path / "a.m4a", tone(channels=channels))).startswith(f"has {channels} channels")


def test_eight_channels_are_refused_before_they_are_read(tmp_path):
    """PyAV 18.1 counts nine of them, and reads what lies behind the eighth."""
    path = replaced(write(tmp_path / "a.m4a"), b"\x13\x88\x56\xe5", b"\x13\xb8\x56\xe5")  # channels in AAC's header
    assert refusal(path).startswith("has 8 channels")


def test_no_sound_track(tmp_path):
    assert refusal(write_video(tmp_path / "a.mp4", with_sound=False)) == "has no audio track"


def test_two_sound_tracks(tmp_path):
    path = tmp_path / "a.m4a"
    with file_with_tracks(path, 2) as (container, tracks):
        for track in tracks:
            add(container, track, tone())
    reason = refusal(path)
    assert reason.startswith("has 2 audio tracks")
    assert f"ffmpeg -i {path} -map 0:a:0 {path.with_suffix('.wav')}" in reason


def test_a_code_that_is_not_known(tmp_path):
    path = replaced(write(tmp_path / "a.m4a", movflags="faststart"), b"esds", b"free")
    assert "codec" in refusal(replaced(path, b"mp4a\0", b"zzzz\0"))


def test_channels_that_change(tmp_path):
    path = tmp_path / "a.m4a"
    with file_with_tracks(path, 1) as (container, (track,)):
        other = av.CodecContext.create("aac", "w")
        other.rate, other.layout, other.format = RATE, "stereo", "fltp"
        add(container, track, tone())
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(channels=2).T), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 30 * PACKET, Fraction(1, RATE)
        for packet in [*other.encode(frame), *other.encode(None)]:
            packet.stream = track
            container.mux(packet)
    assert "changes its sample rate" in refusal(path)


def test_a_header_without_samples(tmp_path):
    path = write(tmp_path / "a.m4a", **FRAGMENTED)
    cut(path, path.read_bytes().find(b"moof") - 4)
    assert refusal(path).startswith("is empty")
    with pytest.raises(AudioError, match="0 samples"):
        load(path, None)


@pytest.mark.parametrize("content", [b"", b"hello" * 100, None])
def test_what_is_no_recording(tmp_path, content):
    path = tmp_path / "a.m4a"
    if content is not None:
        path.write_bytes(content)
    expected = {None: "is missing", b"": "is empty (0 bytes)"}.get(content, "not audio")
    assert expected in refusal(path)
    with pytest.raises(AudioError, match="is missing" if content is None else "not audio"):
        load(path, None)


def test_a_folder(tmp_path):
    (tmp_path / "a.m4a").mkdir()
    assert refusal(tmp_path / "a.m4a") == "is not a file"
    with pytest.raises(AudioError, match="directory"):
        load(tmp_path / "a.m4a", None)


def test_an_extension_that_lies(tmp_path):
    write(tmp_path / "a.m4a").rename(tmp_path / "a.wav")
    reason = refusal(tmp_path / "a.wav")
    assert ".wav" in reason and "contents are MP4" in reason
    (tmp_path / "b.m4a").write_bytes(b"\xff\xf1\x50\x80\x02\x1f\xfc")
    reason = refusal(tmp_path / "b.m4a")
    assert ".m4a" in reason and "contents are AAC" in reason


@pytest.mark.parametrize("playlist", ["#EXTM3U\n#EXTINF:1,\n{}\n", "ffconcat version 1.0\nfile '{}'\n"])
def test_a_playlist_opens_no_other_file(tmp_path, playlist):
    other = write(tmp_path / "other.m4a")
    (tmp_path / "a.m4a").write_text(playlist.format(other))
    with pytest.raises(AudioError, match="not audio"):
        load(tmp_path / "a.m4a", None)
