"""Recordings are captioned in parts; those that fail are named, and the others go on."""

import csv
import json
from pathlib import Path

import pytest

from earwitness import serving
from earwitness.audio.sound import AudioError
from earwitness.cli.main import main
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features import workers
from earwitness.files import write_json
from earwitness.serving import captioning, recordings
from earwitness.serving.captioning import Captioned, FileCaptioner, expanded
from tests.serving.conftest import FRONT_END, write_model, write_tone
from tests.serving.fake import Namer

NAMES = ["2.wav", "4.flac", "below/10.ogg", "below/6.wav", "below/8.wav"]


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "results/tones/namer/seed-0", "namer")


@pytest.fixture
def limited(tmp_path):
    """A model that reads 0.15 s."""
    features = {"mel": FRONT_END | {"settings": FRONT_END["settings"] | {"seconds": 0.15}}}
    return write_model(tmp_path / "limited", "namer", features=features)


def test_recordings_of_files_folders_and_patterns_are_captioned_once(tones, model):
    given = [tones / "below/8.wav", tones, tones / "below/../2.wav", f"{tones}/*/*.wav", f"{tones}/*"]
    found = list(serving.caption(given, model))
    bands = {one.path.relative_to(tones).as_posix(): one.caption for one in found}
    assert list(bands) == ["below/8.wav", *NAMES[:-1]]
    assert all(text == f"band {name.rpartition('/')[2].partition('.')[0]}" for name, text in bands.items())
    assert found[0] == Captioned(given[0], pytest.approx(0.1), "band 8", found[0].score) and found[0].score > -20
    assert len(Namer.batches) == 1


def test_results_are_in_order_in_parts_and_processes(tones, model, monkeypatch):
    paths, _ = expanded([tones])
    whole = list(FileCaptioner(model).caption(paths))
    monkeypatch.setattr(captioning, "PART", 2)
    monkeypatch.setattr(recordings, "BLOCK", 1)

    def reversed_here(shards, processes, progress):  # as processes do, of which one is done before the other
        monkeypatch.setattr(workers, "_state", {"extractors": {}, "progress": progress})
        for shard in reversed(list(shards)):
            yield workers._make_one(shard)

    monkeypatch.setattr(recordings, "in_processes", reversed_here)
    assert list(FileCaptioner(model).caption(paths)) == whole
    assert list(FileCaptioner(model, cores=2).caption(paths)) == whole


def test_what_fails_is_named_and_the_others_go_on(tones, limited, tmp_path):
    (tones / "bad.wav").write_bytes(b"no sound")
    write_tone(tones / "low.wav", 0)
    write_tone(tones / "long.wav", 5, seconds=0.3)
    (tmp_path / "empty").mkdir()
    given = [tones, tones / "gone.wav", tmp_path / "empty", "nothing/*.wav"]
    found = list(serving.caption(given, limited))
    failed = {one.path.name: one.reason for one in found if isinstance(one, AudioError)}
    assert list(failed) == ["empty", "*.wav", "bad.wav", "long.wav", "low.wav", "gone.wav"]
    assert "0.15" in failed["long.wav"] and "band 0" in failed["low.wav"] and "second" not in failed["low.wav"]
    assert [one.path.name for one in found if isinstance(one, Captioned)] == [name.split("/")[-1] for name in NAMES]
    assert ["low.wav"] in Namer.batches  # by itself at last


def test_a_recording_that_changes_meanwhile_fails_alone(tones, model, monkeypatch):
    checked = recordings.Features.checked

    def changing(self, root, paths, cores):
        yield from checked(self, root, paths, cores)
        write_tone(tones / "4.flac", 7)

    monkeypatch.setattr(recordings.Features, "checked", changing)
    failed = [one for one in serving.caption([tones], model) if isinstance(one, AudioError)]
    assert [error.path.name for error in failed] == ["4.flac"] and "changed" in failed[0].reason


def test_a_recording_that_cannot_be_decoded_any_more_is_left_out_alone(tones, model, monkeypatch):
    load, path = workers.load, tones / "4.flac"

    def failing(place, rate):
        if place == path:
            raise AudioError(place, "is odd")
        return load(place, rate)

    monkeypatch.setattr(workers, "load", failing)
    failed = [one for one in serving.caption([tones], model) if isinstance(one, AudioError)]
    assert [(error.path, error.reason) for error in failed] == [(path, "is odd")]
    assert len(Namer.batches) == 1 and len(Namer.batches[0]) == 4


@pytest.mark.parametrize("error", [MismatchError("front end"), RuntimeError("CUDA error: unspecified launch failure")])
def test_what_fails_for_all_recordings_is_not_tried_for_each(tones, model, monkeypatch, error):
    tried = []

    def failing(self, clips):
        tried.append(len(clips))
        raise error

    monkeypatch.setattr(Namer, "caption", failing)
    with pytest.raises(type(error), match=str(error)):
        list(serving.caption([tones], model))
    assert tried == [5]


def test_long_recordings_are_cut_where_that_is_asked_for(tones, limited, capsys):
    long = tones / "long.wav"
    write_tone(long, 5, seconds=0.3)
    cut, short = serving.caption([long, tones / "2.wav"], limited, cut=True)
    assert (cut.caption, cut.cut, cut.seconds) == ("band 5", True, pytest.approx(0.3)) and not short.cut
    command = ["caption", str(long), str(tones / "2.wav"), "--model", str(limited)]
    assert main(command) == 1
    told = capsys.readouterr()
    assert "long.wav" in told.err and "--cut" in told.err and "2.wav" in told.out and "long.wav" not in told.out
    assert main([*command, "--cut"]) == 0
    told = capsys.readouterr()
    assert "long.wav" in told.out and "0.15 s" in told.err


@pytest.mark.parametrize("values", [[("band 1", 0.0)], [("band 1", float("nan"))] * 5])
def test_captions_of_a_wrong_number_or_score_are_refused(tones, model, monkeypatch, values):
    monkeypatch.setattr(Namer, "caption", lambda self, clips: values if len(clips) > 1 else values[:0])
    found = list(serving.caption([tones], model))
    assert len(found) == 5 and all("Namer.caption gave 0" in one.reason for one in found)


def test_the_command_prints_lines(tones, model, capsys):
    assert main(["caption", str(tones / "2.wav"), str(tones / "4.flac"), str(tones / "2.wav")]) == 0
    told = capsys.readouterr()
    lines = [line.split("\t") for line in told.out.splitlines()]
    assert [(path, caption) for path, _, caption in lines] == [
        (str(tones / "2.wav"), "band 2"),
        (str(tones / "4.flac"), "band 4"),
    ]
    assert all(float(score) > -20 for _, score, _ in lines) and "a remark" in told.err
    assert main(["caption", str(tones), "--json"]) == 0
    content = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["caption"] for one in content] == ["band 2", "band 4", "band 10", "band 6", "band 8"]
    assert content[0].keys() == {"file", "seconds", "caption", "score"} and content[0]["seconds"] == 0.1


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_the_command_writes_a_table(tones, model, tmp_path, capsys, ending):
    out = tmp_path / f"made/of.{ending}"
    (tones / "bad.wav").write_bytes(b"no sound")
    assert main(["caption", str(tones), "--out", str(out)]) == 1  # for bad.wav
    told = capsys.readouterr()
    assert str(out) in told.out and "band" not in told.out and "bad.wav" in told.err
    with out.open() as file:
        rows = list(csv.DictReader(file)) if ending == "csv" else [json.loads(line) for line in file]
    assert [row["file"] for row in rows] == [str(tones / name) for name in NAMES]
    assert [row["caption"] for row in rows] == ["band 2", "band 4", "band 10", "band 6", "band 8"]
    assert float(rows[0]["score"]) > -20 and [path.name for path in out.parent.iterdir()] == [out.name]


def test_what_cannot_be_done_is_said_before_anything_is_computed(tones, model, tmp_path, capsys):
    other = write_model(tmp_path / "results/tones/bands/seed-0")
    zeroshot = tmp_path / "results/tones/zeroshot/seed-0"
    record = {"system": "zeroshot", "options": {"system": "zeroshot"}, "provenance": {"inputs": {}}}
    write_json(zeroshot / "retrieval/prediction.json", record)
    (tmp_path / "empty").mkdir()
    for words, wanted in (
        ([str(tones), "--out", "x.txt"], ("x.txt", ".csv", ".jsonl")),
        ([str(tones), "--out", str(tmp_path / "results")], ("results",)),
        ([str(tmp_path / "empty"), "none/*.wav"], ("empty", "none/*.wav")),
        ([str(tones), "--model", str(other)], ("seed-0", "bands", "retrieval", "captioning")),
        ([str(tones), "--model", str(zeroshot)], ("seed-0", "zeroshot", "retrieval", "captioning")),
        ([str(tones), "--model", str(tones / "2.wav")], ("2.wav", "is a file")),
        ([str(tones), "--model", "long" * 99], ("longlong",)),
        ([str(tones), "--model", str(tmp_path / "none")], ("none",)),
        ([str(tones), "--model", "x", "--experiment", "namer"], ("--model",)),
        ([str(tones), "--experiment", "bands"], ("bands", "--experiment namer")),
        ([str(tones), "--weights", "gone.pth"], ("gone.pth",)),
    ):
        assert main(["caption", *words]) == 1
        told = capsys.readouterr()
        assert all(word in told.err for word in wanted) and not told.out, told.err
    assert not Namer.batches


def test_a_model_of_imported_features_is_refused(tones, tmp_path):
    features = {"theirs": {"made_by": "external", "settings": {}, "inputs": {}}}
    theirs = write_model(tmp_path / "theirs", "namer", features=features)
    with pytest.raises(EarwitnessError, match="theirs"):
        list(serving.caption([tones], theirs))


def test_a_name_that_looks_like_a_pattern_may_be_a_file(tones):
    odd = (tones / "2.wav").rename(tones / "a[1].wav")
    found, empty = expanded([odd, tones / "b[1].wav"])
    assert found == [odd] and [error.path.name for error in empty] == ["b[1].wav"]


def test_a_name_too_long_for_a_file_is_of_none(tones, model):
    long = tones / f"{'long' * 99}.wav"
    found, empty = expanded([long, f"{long}*"])
    assert found == [long] and [error.path for error in empty] == [Path(f"{long}*")]
    (failed,) = FileCaptioner(model).caption(found)
    assert isinstance(failed, AudioError) and failed.path == long


def test_folders_that_cannot_be_read_fail_by_themselves(tones, model, unreadable, capsys):
    locked = tones / "below"
    unreadable(locked)
    assert main(["caption", str(tones)]) == 1
    told = capsys.readouterr()
    assert f"{locked}: " in told.err and "Permission denied" in told.err and "1 of 3" in told.err
    assert [line.split("\t")[0] for line in told.out.splitlines()] == [str(tones / name) for name in NAMES[:2]]
    found, failed = expanded([locked, tones, f"{tones}/be*"])
    assert found == [tones / name for name in NAMES[:2]]
    assert [(error.path, error.reason) for error in failed] == [(locked, "cannot be read (Permission denied)")]


def test_patterns_reach_any_depth_but_not_behind_links(tones, tmp_path, unreadable):
    (tones / "below/link").symlink_to(tones)
    (tones / "below/.hidden").mkdir()
    write_tone(tones / "below/.hidden/1.wav", 1)
    wav = [tones / name for name in NAMES if name.endswith("wav")]
    for pattern in ("**/*.wav", "**/**/*.wav", "../*/**/**/*.wav"):
        found, failed = expanded([tones / pattern])
        assert sorted(path.resolve() for path in found) == wav and not failed, pattern
    assert expanded([f"{tones}/**/6.wav", f"{tones}/**/be*/**/6.wav"])[0] == [tones / "below/6.wav"] * 2
    assert expanded([f"{tones}/**"])[0] == expanded([tones])[0]
    assert [error.reason for error in expanded([f"{tones}/**/5.wav"])[1]] == ["no recording matches"]
    unreadable(tones / "below")
    found, failed = expanded([f"{tones}/**/*.wav"])
    assert found == [tones / "2.wav"] and [error.path for error in failed] == [tones / "below"]


def test_an_empty_word_is_not_the_working_folder(tones, model, monkeypatch, capsys):
    monkeypatch.chdir(tones)
    assert main(["caption", "2.wav", "", "--model", str(model)]) == 1
    told = capsys.readouterr()
    assert "2 is empty" in told.err and not told.out
    with pytest.raises(EarwitnessError, match="1 is empty"):
        list(serving.caption([""], model))
    for words in (["caption", "2.wav", "--weights", ""], ["caption", "2.wav", "--model="], ["index", ""]):
        with pytest.raises(SystemExit):
            main(words)
        assert "empty" in capsys.readouterr().err
