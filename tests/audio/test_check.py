"""Every way in which a recording can be unusable, on tiny files."""

import shutil
import struct
from itertools import permutations

import numpy as np
import pytest
import soundfile

from earwitness.audio.check import AudioFacts, inspect
from earwitness.audio.decode import AudioError, load
from earwitness.audio.mp3 import SLACK
from earwitness.audio.sound import BLOCK, BUFFER
from earwitness.files import sha256
from tests.places import shared

RATE = 22050
SUFFIXES = [".wav", ".flac", ".ogg", ".mp3"]


def noise(seconds=1.0, channels=1, seed=0):
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (round(seconds * RATE), channels))
    return samples.astype(np.float32)


def write(path, samples=None, **options):
    soundfile.write(path, noise() if samples is None else samples, RATE, **options)
    return path


def cut(path, keep):
    """Keep only the first bytes of a file: a share of them, or all but some."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * keep) if 0 < keep < 1 else int(keep)])
    return path


def refusal(path):
    with pytest.raises(AudioError) as caught:
        inspect(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".WAV"])
def test_good_files(tmp_path, suffix, channels):
    path = write(tmp_path / f"a{suffix}", noise(channels=channels))
    assert inspect(path) == AudioFacts(1.0, RATE, channels, RATE, sha256(path), silent=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_longer_than_one_block(tmp_path, suffix):
    assert inspect(write(tmp_path / f"a{suffix}", noise(7))).frames == 7 * RATE


@pytest.mark.parametrize("suffix", [".ogg", ".oga", ".opus"])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_under_each_of_its_names(tmp_path, suffix, subtype):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, noise(), 48000, format="OGG", subtype=subtype)
    assert inspect(path).sample_rate == 48000
    assert refusal(cut(path, 0.5)).startswith("is truncated")


def test_one_block_exactly(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(2 * BLOCK))
    assert (inspect(path).frames, inspect(path).silent) == (2 * BLOCK, True)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_silence_is_reported_not_refused(tmp_path, suffix):
    assert inspect(write(tmp_path / f"a{suffix}", np.zeros(RATE))).silent
    almost = np.zeros(RATE)
    almost[-1] = 2**-15
    assert not inspect(write(tmp_path / f"b{suffix}", almost)).silent


def test_one_sample_is_enough(tmp_path):
    assert inspect(write(tmp_path / "a.wav", noise()[:1])).frames == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_and_empty(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert refusal(path) == "is missing"
    path.touch()
    assert refusal(path) == "is empty (0 bytes)"


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_header_without_samples(tmp_path, suffix):
    assert refusal(write(tmp_path / f"a{suffix}", np.zeros(0))).startswith("is empty")


def test_a_folder(tmp_path):
    (tmp_path / "a.wav").mkdir()
    assert refusal(tmp_path / "a.wav") == "is not a file"


@pytest.mark.parametrize("name", ["file/a.wav", "a\0.wav", "nowhere/a.wav", "dangling.wav"])
def test_where_no_file_can_be(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "gone.wav")
    assert refusal(tmp_path / name) == "is missing"


def test_the_digest_of_a_file_longer_than_the_buffer(tmp_path):
    path = write(tmp_path / "a.wav", noise(8))
    assert path.stat().st_size > BUFFER
    assert inspect(path).sha256 == sha256(path)


@pytest.mark.parametrize("keep", [0.5, 0.9])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated(tmp_path, suffix, keep):
    assert refusal(cut(write(tmp_path / f"a{suffix}"), keep)).startswith("is truncated")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_byte_short(tmp_path, suffix):
    assert refusal(cut(write(tmp_path / f"a{suffix}"), -1)).startswith("is truncated")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [20, 30, 43])
def test_cut_inside_the_header(tmp_path, suffix, keep):
    assert refusal(cut(write(tmp_path / f"a{suffix}"), keep))


def test_truncated_rf64_and_float(tmp_path):
    assert "264600" in refusal(cut(write(tmp_path / "a.wav", noise(6), format="RF64"), 0.5))
    assert refusal(cut(write(tmp_path / "b.wav", subtype="FLOAT"), 0.5)).startswith("is truncated")


def test_ogg_cut_between_pages(tmp_path):
    path = write(tmp_path / "a.ogg", noise(5))
    last_page = path.read_bytes().rfind(b"OggS")
    assert "end of the stream" in refusal(cut(path, last_page))


def test_stereo_mp3_with_a_tag_is_truncated(tmp_path):
    path = write(tmp_path / "a.mp3", noise(channels=2))
    path.write_bytes(b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + path.read_bytes())
    assert inspect(path).channels == 2
    assert refusal(cut(path, 0.5)).startswith("is truncated")


def test_mp3_that_promises_more_frames(tmp_path):
    path = write(tmp_path / "a.mp3")
    data = bytearray(path.read_bytes())
    place = data.find(b"Xing") if b"Xing" in data else data.find(b"Info")
    data[place + 4 : place + 12] = struct.pack(">II", 1, 10 * RATE // 576)  # frames only, no bytes
    path.write_bytes(data)
    assert f"of {10 * RATE // 576 * 576 - SLACK} samples" in refusal(path)


def wav_with_sizes(path, riff, data_size):
    data = bytearray(write(path, noise()).read_bytes())
    data[4:8], data[40:44] = struct.pack("<I", riff), struct.pack("<I", data_size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36])
def test_streamed_wav(tmp_path, size):
    assert inspect(wav_with_sizes(tmp_path / "a.wav", 0xFFFFFFFF, size)).frames == RATE


def test_wav_that_was_never_finished(tmp_path):
    assert "never finished" in refusal(wav_with_sizes(tmp_path / "a.wav", 0, 0))


def test_wav_with_chunks_around_the_samples(tmp_path):
    data = write(tmp_path / "a.wav").read_bytes()
    odd = b"junk" + struct.pack("<I", 3) + b"abc\0"
    body = data[8:36] + odd + data[36:] + odd
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert inspect(tmp_path / "a.wav").frames == RATE


def test_flac_without_its_length(tmp_path):
    path = write(tmp_path / "a.flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert refusal(path).startswith("does not state its length")


def test_flac_that_promises_more_samples(tmp_path):
    path = write(tmp_path / "a.flac")
    data = bytearray(path.read_bytes())
    data[22:26] = struct.pack(">I", 2 * RATE)
    path.write_bytes(data)
    assert refusal(path).startswith("is truncated")


def test_flac_with_damage_in_the_middle(tmp_path):
    path = write(tmp_path / "a.flac", noise(5))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    assert refusal(path).startswith("is truncated or damaged")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers(tmp_path, value, subtype):
    samples = noise(4, channels=2)
    samples[70_000, 1] = value
    reason = refusal(write(tmp_path / "a.wav", samples, subtype=subtype))
    assert "NaN or infinite" in reason and "sample 70000, at 3.175 s" in reason


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_more_than_two_channels(tmp_path, suffix):
    assert refusal(write(tmp_path / f"a{suffix}", noise(channels=3))).startswith("has 3 channels")


@pytest.mark.parametrize(("claimed", "real"), permutations(SUFFIXES, 2))
def test_an_extension_that_lies(tmp_path, claimed, real):
    names = {".wav": "WAV", ".flac": "FLAC", ".ogg": "Ogg", ".mp3": "MP3"}
    shutil.move(write(tmp_path / f"a{real}"), tmp_path / f"b{claimed}")
    reason = refusal(tmp_path / f"b{claimed}")
    assert claimed in reason and names[real] in reason and "contents" in reason


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "MP4"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc", "AAC"),
        (b"RIFF\x10\0\0\0AVI LIST", "not WAVE"),
        (b"PK\x03\x04" + bytes(30), "zip"),
    ],
)
def test_contents_of_other_kinds(tmp_path, head, named):
    (tmp_path / "a.wav").write_bytes(head)
    reason = refusal(tmp_path / "a.wav")
    assert named in reason and ".wav" in reason


def test_contents_of_no_kind(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"hello" * 100)
    assert "not audio" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.aac", "a.aiff", "a"])
def test_unknown_extension(tmp_path, name):
    write(tmp_path / name, format="WAV")
    reason = refusal(tmp_path / name)
    assert "extension" in reason and ".wav, .flac, .ogg, .oga, .opus, .mp3, .m4a, .mp4" in reason


def joined(path, *parts):
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".opus"])
@pytest.mark.parametrize("second", [1.0, 0.4], ids=["the same", "shorter"])
def test_joined_recordings_are_refused(tmp_path, suffix, second):
    """Of `cat a b` libraries read the first only."""
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    rate = 48000 if options else RATE
    for name, seconds in (("a", 1.0), ("b", second)):
        soundfile.write(tmp_path / f"{name}{suffix}", noise(seconds), rate, **options)
    first, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert inspect(tmp_path / f"a{suffix}").frames == RATE
    reason = refusal(joined(tmp_path / f"ab{suffix}", first, other))
    assert "second recording" in reason and f"byte {len(first)} " in reason


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize(
    "between", [b"", b"TAG" + bytes(125), b"ID3\x04\0\0\0\0\x01\x00" + bytes(128), b"APETAGEX" + bytes(9000)]
)
def test_joined_mp3_with_tags(tmp_path, rate, between):
    soundfile.write(tmp_path / "a.mp3", noise(channels=2), rate)
    data = (tmp_path / "a.mp3").read_bytes()
    assert inspect(joined(tmp_path / "b.mp3", data, between)).frames == RATE
    assert f"byte {len(data + between)} " in refusal(joined(tmp_path / "ab.mp3", data, between, data))


def test_joined_mp3_of_which_only_the_number_of_frames_is_declared(tmp_path):
    data = bytearray(write(tmp_path / "a.mp3").read_bytes())
    place = data.find(b"Xing") if b"Xing" in data else data.find(b"Info")
    frames = data[place + 8 : place + 12]
    data[place + 4 : place + 12] = struct.pack(">I", 1) + frames
    assert inspect(joined(tmp_path / "b.mp3", data)).frames > RATE - SLACK
    assert f"byte {len(data)} " in refusal(joined(tmp_path / "ab.mp3", data, data))


def without_header(path, mode, times=1):
    """A loud recording that ends quietly, without the frame that holds the header, so many times."""
    samples = noise(4)
    samples[RATE:] /= 1e4
    data = write(path, samples, bitrate_mode=mode, compression_level=0.5).read_bytes()
    return joined(path, data[data.find(data[:2], 192) :] * times)


@pytest.mark.parametrize("times", [1, 2])
def test_an_mp3_without_a_header_is_read_whole_or_refused(tmp_path, times):
    """libsndfile takes the size of its first frame for that of all."""
    frames = inspect(without_header(tmp_path / "a.mp3", "CONSTANT", times)).frames
    assert times * 4 * RATE <= frames < times * 4.2 * RATE
    reason = refusal(without_header(tmp_path / "b.mp3", "VARIABLE", times))
    assert times * 4 * RATE - SLACK <= int(reason.split(" of ")[1].split()[0]) < times * 4.2 * RATE
    assert "convert it" in reason


def test_joined_flac_found_across_two_blocks(tmp_path):
    data = write(tmp_path / "a.flac").read_bytes()
    assert data[4] == 0  # more metadata follow the first block
    filler = BUFFER - 5 - len(data) - 4
    padded = data[:42] + b"\x01" + filler.to_bytes(3, "big") + bytes(filler) + data[42:]
    assert inspect(joined(tmp_path / "b.flac", padded)).frames == RATE
    assert f"byte {BUFFER - 5} " in refusal(joined(tmp_path / "ab.flac", padded, data))


@pytest.mark.parametrize("declared", [0.5, 0.01])
def test_wav_with_more_samples_than_its_header_says(tmp_path, declared):
    size = round(declared * 2 * RATE)
    reason = refusal(wav_with_sizes(tmp_path / "a.wav", 2 * RATE + 36, size))
    assert f" {size} bytes" in reason and f" {2 * RATE - size} more" in reason and "-ignore_length" in reason


@pytest.mark.parametrize(
    "behind",
    [
        b"LIST" + struct.pack("<I", 9000) + bytes(range(250)) * 36,
        b"odd " + struct.pack("<I", 9001) + b"x" * 9001,  # not filled up to an even length
        b"ID3\x04\0\0\0\0\x20\x00" + b"x" * 9000,
        bytes(100_000),
        b"x" * 200,
    ],
    ids=["chunk", "odd chunk", "tag", "zeros", "a little"],
)
@pytest.mark.parametrize("odd", [False, True])
def test_what_may_stand_behind_the_samples_of_a_wav(tmp_path, behind, odd):
    data = write(tmp_path / "a.wav", noise()[: RATE - odd], subtype="PCM_U8").read_bytes()
    assert inspect(joined(tmp_path / "b.wav", data, behind)).frames == RATE - odd


def wav_of(path, tag, bits=16, extra=b""):
    """A wav that says it has such a coding."""
    form = struct.pack("<HHIIHH", tag, 1, RATE, 2 * RATE, 2, bits) + extra
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 8000) + b"\x55" * 8000
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


EXTENDED = struct.pack("<HHI", 22, 16, 4)


@pytest.mark.parametrize(
    ("tag", "bits", "extra", "named"),
    [
        (0x2000, 16, b"", "AC-3"),
        (0x20, 4, b"", "Yamaha ADPCM"),
        (0x45, 4, b"", "G.726 ADPCM"),
        (0x1234, 16, b"", "0x1234"),
        (1, 64, b"", "PCM of 64 bits"),
        (0xFFFE, 16, EXTENDED + bytes.fromhex("0020000000001000800000aa00389b71"), "AC-3"),
        (0xFFFE, 16, EXTENDED + bytes(range(16)), bytes(range(16)).hex()),
    ],
)
def test_a_coding_that_is_not_read_is_named(tmp_path, tag, bits, extra, named):
    reason = refusal(wav_of(tmp_path / "a.wav", tag, bits, extra))
    assert named in reason and "damaged" not in reason and str(tmp_path / "a-converted.wav") in reason


@pytest.mark.parametrize("content", [b"hello " * 500, bytes(3000), b"\x01\x02\x03" * 1000])
def test_an_mp3_with_other_contents_exists(tmp_path, content):
    (tmp_path / "a.mp3").write_bytes(content)
    reason = refusal(tmp_path / "a.mp3")
    assert "not audio" in reason and "exist" not in reason


@pytest.mark.parametrize("subtype", sorted({*soundfile.available_subtypes("WAV")} - {"MPEG_LAYER_III"}))  # not written
def test_what_the_check_reads_is_what_extraction_reads(tmp_path, subtype):
    path = write(tmp_path / "a.wav", noise(4), subtype=subtype)
    assert inspect(path).frames == len(load(path, None)) >= 4 * RATE


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("value", [3e37, -3e38, 1e10])
def test_samples_that_no_feature_can_take(tmp_path, value, channels):
    samples = noise(channels=channels)
    samples[700, -1] = value
    reason = refusal(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert f"{abs(value):.3g}" in reason and "sample 700, at 0.032 s" in reason


@pytest.mark.parametrize("rate", [1, 500, 2_000_000_000])
def test_rates_that_no_recording_has(tmp_path, rate):
    data = bytearray(write(tmp_path / "a.wav").read_bytes())
    data[24:28] = struct.pack("<I", rate)
    assert f" {rate} Hz" in refusal(joined(tmp_path / "a.wav", data))


@pytest.mark.parametrize(("suffix", "balance"), [(".wav", -1), (".flac", -1), (".mp3", -1), (".wav", -0.9995)])
def test_channels_that_cancel_each_other_out(tmp_path, suffix, balance):
    samples = noise(4)
    facts = inspect(write(tmp_path / f"a{suffix}", np.hstack([samples, balance * samples])))
    assert facts.antiphase and not facts.silent


def test_channels_that_do_not_cancel_each_other_out(tmp_path):
    samples = noise(4)
    later = np.hstack([samples, -samples])
    later[-100:, 1] = 0
    for number, stereo in enumerate([later, np.hstack([samples, -0.9 * samples]), np.zeros((RATE, 2)), samples]):
        assert not inspect(write(tmp_path / f"{number}.wav", stereo)).antiphase


def test_real_recordings_are_whole():
    for path in sorted(shared("soundscapes", "evaluation").glob("*.ogg"))[:20]:
        facts = inspect(path)
        assert (facts.sample_rate, facts.channels, round(facts.seconds)) == (32000, 1, 10)


ID3 = b"ID3\x04\0\0\0\0\x02\x00" + bytes(256)


@pytest.mark.parametrize("tag", [b"TAG" + bytes(125), bytes(4096)], ids=["ID3v1", "padding"])
@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_tags_and_padding_behind_a_recording_are_passed_over(tmp_path, suffix, tag):
    path = joined(tmp_path / f"b.{suffix}", write(tmp_path / f"a.{suffix}").read_bytes(), tag)
    assert inspect(path).frames == len(load(path, None)) == RATE


@pytest.mark.parametrize("between", [b"", ID3, b"TAG" + bytes(125)], ids=["", "ID3v2", "ID3v1"])
@pytest.mark.parametrize("before", [b"", ID3], ids=["", "ID3v2"])
def test_a_wav_is_held_against_its_header_behind_a_tag_too(tmp_path, before, between):
    wav = write(tmp_path / "a.wav").read_bytes()
    assert inspect(joined(tmp_path / "whole.wav", before, wav)).frames == RATE
    assert "truncated" in refusal(joined(tmp_path / "cut.wav", before, wav[: len(wav) // 2]))
    place = len(before + wav + between)
    assert f"byte {place} " in refusal(joined(tmp_path / "two.wav", before, wav, between, wav))


@pytest.mark.parametrize("size", [9000, 20000], ids=["cut off", "big-endian"])
def test_a_chunk_of_tags_with_a_wrong_size_is_no_sound(tmp_path, size):
    chunk = b"id3 " + struct.pack(">I" if size == 9000 else "<I", size) + b"\x01" * 9000
    assert inspect(joined(tmp_path / "b.wav", write(tmp_path / "a.wav").read_bytes(), chunk)).frames == RATE
