"""The corpus stage: tables, report and refusals, on sounds of a fraction of a second."""

import csv
import hashlib
import json
import os
import re
import threading
from errno import ENOSPC

import numpy as np
import pytest
import soundfile

from earwitness.audio.decode import load
from earwitness.corpora import stage
from earwitness.corpora.dataset import Dataset
from earwitness.corpora.layouts.audiogrounding import AudioGroundingOptions
from earwitness.corpora.layouts.clotho import Clotho, ClothoOptions
from earwitness.corpora.layouts.folder import Folder, FolderOptions
from earwitness.corpora.report import table
from earwitness.corpora.stage import build
from earwitness.corpora.tables import (
    CAPTIONS,
    CLIPS,
    EVENTS,
    LONGEST,
    PHRASES,
    SOURCES,
    ListedClip,
    ListedPhrase,
    Listing,
    read_table,
)
from earwitness.errors import CorpusError, EarwitnessError
from earwitness.evaluation.readers.texts import read_references
from tests.places import shared

RATE = 8000
FILES = ["captions.csv", "clips.csv", "events.csv", "phrases.csv", "report.json", "sources.csv"]


def write(path, seconds=0.25, value=None, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))
    soundfile.write(path, samples if value is None else np.full_like(samples, value), rate, subtype="FLOAT")


def corpus(root, captions):
    """A folder in the Clotho layout: split -> clip -> its captions."""
    for split, clips in captions.items():
        for name in clips:
            write(root / split / f"{name}.wav")
        with (root / f"clotho_captions_{split}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file_name", "caption_1", "caption_2"])
            rows.writerows([f"{name}.wav", *texts] for name, texts in clips.items())
    return root


@pytest.fixture
def root(tmp_path):
    development = {" a": ["Rain falls.", "A dog's bark"], "b": ["NA"]}
    return corpus(
        tmp_path / "data",
        {
            "development": development,
            "validation": {"c": ["The rain falls", "a dog"]},
            "evaluation": {"d": ["Wind, wind and RAIN", "rain"], "e": ["well-known bark"]},
        },
    )


def run(root, out, workers=2, **settings):
    options = ClothoOptions(layout="clotho", audio="data", **settings)
    build(Clotho(options), options, root, out, workers)
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def refused(root, out, **options):
    with pytest.raises(CorpusError) as caught:
        run(root, out, **options)
    assert not out.exists() or not list(out.iterdir())
    return str(caught.value)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_tables(root, tmp_path):
    run(root, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    clips = read_table(tmp_path / "out" / "clips.csv", CLIPS)
    names = [" a", "b", "c", "d", "e"]
    assert list(clips["clip_id"]) == [f"{name}.wav" for name in names]
    first = clips.iloc[0].to_dict()
    digest = hashlib.sha256((root / "development" / " a.wav").read_bytes()).hexdigest()
    assert first == {
        "clip_id": " a.wav",
        "split": "development",
        "path": "development/ a.wav",
        "found_by": "name",
        "seconds": 0.25,
        "sample_rate": RATE,
        "channels": 1,
        "sha256": digest,
    }
    captions = read_table(tmp_path / "out" / "captions.csv", CAPTIONS)
    assert captions.values.tolist()[:3] == [
        [" a.wav#1", " a.wav", "Rain falls."],
        [" a.wav#2", " a.wav", "A dog's bark"],
        ["b.wav#1", "b.wav", "NA"],
    ]
    assert read_table(tmp_path / "out" / "phrases.csv", PHRASES).empty
    assert read_table(tmp_path / "out" / "events.csv", EVENTS).empty


def test_report(root, tmp_path, capfd):
    write(root / "development" / "b.wav", value=0, rate=16000)
    write(root / "evaluation" / "e.wav", seconds=0.02)
    report = run(root, tmp_path / "out")
    assert report["schema"] == 2
    assert report["clips"]["development"] == {"listed": 2, "found": 2, "missing": 0, "refused": 0, "seconds": 0.5}
    assert report["captions"] == {"development": 3, "validation": 2, "evaluation": 3}
    assert (report["refused"], report["silent"], report["short"]) == ([], ["b.wav"], ["e.wav"])
    # development has: rain falls a dog's bark na
    assert report["unseen_words"] == {
        "validation": {"captions": 2, "words": 2},  # the, dog
        "evaluation": {"captions": 2, "words": 3},  # wind, and, well-known
    }
    assert report["sample_rates"] == {"8000": 4, "16000": 1}
    ids = b" a.wav\nb.wav"
    assert report["ids_sha256"]["development"] == hashlib.sha256(ids).hexdigest()
    assert report["notes"]["unlisted_audio"] == {"development": 0, "validation": 0, "evaluation": 0}
    assert report["provenance"]["made_by"] == "corpus"
    settings = report["provenance"]["settings"]
    assert (settings["layout"], settings["audio"], settings["on_bad_audio"]) == ("clotho", "data", "fail")
    assert not {"experiments", "overrides", "audit"} & set(settings)
    said = capfd.readouterr()
    assert said.out == "" and "Checking audio" in said.err
    assert table(report) in said.err


def test_channels_that_cancel_each_other_out_are_counted(root, tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    soundfile.write(root / "development" / "b.wav", np.stack([sound, -sound], 1), RATE)
    report = run(root, tmp_path / "out")
    assert (report["antiphase"], report["silent"]) == (["b.wav"], [])
    assert "cancel each other out: 1" in table(report)
    assert "cancel" not in table(report | {"antiphase": []}) and table(
        {k: report[k] for k in report if k != "antiphase"}
    )


def test_what_only_extraction_would_find_is_left_out_and_counted(root, tmp_path):
    """Recordings whose features would not be finite, or that are read in part; and codings that both read."""
    write(root / "development" / "b.wav", value=3e37)
    path = root / "evaluation" / "d.wav"
    path.write_bytes(2 * path.read_bytes())
    soundfile.write(root / "evaluation" / "e.wav", np.zeros(RATE), RATE, subtype="GSM610")
    report = run(root, tmp_path / "out", on_bad_audio="skip")
    assert [entry["clip_id"] for entry in report["refused"]] == ["b.wav", "d.wav"]
    read = read_table(tmp_path / "out" / "clips.csv", CLIPS).set_index("clip_id")["seconds"]["e.wav"]
    assert len(load(root / "evaluation" / "e.wav", None)) / RATE == read


@pytest.mark.parametrize(("seconds", "short"), [(1023 / 44100, True), (1024 / 44100, False)])
def test_short_is_less_than_one_window(root, tmp_path, seconds, short):
    write(root / "development" / "b.wav", seconds=seconds, rate=44100)
    assert bool(run(root, tmp_path / "out")["short"]) is short


def test_without_development_no_words_are_unseen(tmp_path):
    report = run(corpus(tmp_path / "data", {"evaluation": {"a": ["Rain"]}}), tmp_path / "out")
    assert "unseen_words" not in report and list(report["clips"]) == ["evaluation"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_all_formats(tmp_path, suffix):
    root = tmp_path / "data"
    (root / "evaluation").mkdir(parents=True)
    soundfile.write(root / "evaluation" / f"a{suffix}", np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2)), RATE)
    (root / "clotho_captions_evaluation.csv").write_text(f"file_name,caption_1\na{suffix},Rain\n")
    run(root, tmp_path / "out")
    clip = read_table(tmp_path / "out" / "clips.csv", CLIPS).iloc[0]
    assert (clip["seconds"], clip["channels"]) == (1.0, 2)


def test_workers_and_repeats_change_nothing(root, tmp_path):
    for name, workers in (("one", 1), ("three", 3), ("again", 3)):
        run(root, tmp_path / name, workers=workers)
    for file in FILES:
        assert len({(tmp_path / name / file).read_bytes() for name in ("one", "three", "again")}) == 1


def test_bad_audio_is_refused_all_at_once(root, tmp_path):
    truncate(root / "development" / "b.wav")
    write(root / "evaluation" / "d.wav", value=np.nan)
    message = refused(root, tmp_path / "out")
    assert "2 of 5 recordings" in message and "on_bad_audio: skip" in message
    assert f"{root / 'development' / 'b.wav'}: is truncated" in message
    assert f"{root / 'evaluation' / 'd.wav'}: " in message and "NaN" in message


def test_bad_audio_is_skipped_and_counted(root, tmp_path):
    truncate(root / "development" / "b.wav")
    (root / "evaluation" / "d.wav").write_bytes(b"")
    report = run(root, tmp_path / "out", on_bad_audio="skip")
    assert report["clips"]["development"] == {"listed": 2, "found": 2, "missing": 0, "refused": 1, "seconds": 0.25}
    assert [entry["clip_id"] for entry in report["refused"]] == ["b.wav", "d.wav"]
    assert report["refused"][1]["reason"] == "is empty (0 bytes)"
    assert report["captions"] == {"development": 2, "validation": 2, "evaluation": 1}
    assert report["ids_sha256"]["development"] == hashlib.sha256(b" a.wav").hexdigest()
    assert len(read_table(tmp_path / "out" / "clips.csv", CLIPS)) == 3
    captions = read_table(tmp_path / "out" / "captions.csv", CAPTIONS)
    assert not set(captions["clip_id"]) & {"b.wav", "d.wav"}


def test_a_link_that_leads_nowhere_is_missing_audio(root, tmp_path):
    (root / "development" / "b.wav").unlink()
    (root / "development" / "b.wav").symlink_to(tmp_path / "nowhere.wav")
    assert "b.wav: is missing" in refused(root, tmp_path / "out")
    report = run(root, tmp_path / "out", on_bad_audio="skip")
    assert report["clips"]["development"] == {"listed": 2, "found": 1, "missing": 1, "refused": 0, "seconds": 0.25}
    assert (report["missing"], report["refused"]) == (["b.wav"], [])


def test_a_split_without_any_good_clip_is_refused(root, tmp_path):
    truncate(root / "validation" / "c.wav")
    message = refused(root, tmp_path / "out", on_bad_audio="skip")
    assert "validation" in message.splitlines()[0] and "no clip" in message and "c.wav: is truncated" in message


def test_a_bad_table_is_refused_before_anything_is_written(root, tmp_path):
    with (root / "clotho_captions_validation.csv").open("a") as file:
        file.write("c.wav,again\n")
    assert "clotho_captions_validation.csv, row 2: 'c.wav' is listed 2 times" in refused(root, tmp_path / "out")


def spoil(root):
    """A caption for absent audio, a name listed twice, a truncated recording and an empty one."""
    with (root / "clotho_captions_development.csv").open("a") as file:
        file.write("gone.wav,Rain\nb.wav,again\n")
    truncate(root / "development" / "b.wav")
    (root / "evaluation" / "d.wav").write_bytes(b"")


def test_bad_tables_and_bad_audio_are_refused_in_one_message(root, tmp_path):
    spoil(root)
    message = refused(root, tmp_path / "out").splitlines()
    gone = f"  - 'development/gone.wav' (below {root}): is missing"
    assert message[0] == f"The data set in {root} cannot be used:"
    assert message[1] == "  - clotho_captions_development.csv, row 3: 'b.wav' is listed 2 times, in rows 3, 5"
    assert message[2].startswith("3 of 6 recordings ") and message[3] == gone
    assert message[4].startswith(f"  - {root / 'development' / 'b.wav'}: is truncated")
    assert message[5] == f"  - {root / 'evaluation' / 'd.wav'}: is empty (0 bytes)"
    assert "on_bad_audio: skip" in message[6] and len(message) == 7


def test_bad_tables_are_refused_where_bad_audio_is_skipped(root, tmp_path):
    spoil(root)
    message = refused(root, tmp_path / "out", on_bad_audio="skip")
    assert "'b.wav' is listed 2 times" in message and "gone.wav" not in message
    assert "truncated" not in message and "d.wav" not in message


class Annotated:
    """A layout with phrases and events; each clip's one phrase has the events given."""

    def __init__(self, events):
        self.events = events

    def listing(self, root):
        clips = [ListedClip(f"development/{n}.wav", "development", f"{n}.wav", ("a dog", "rain")) for n in self.events]
        phrases = [ListedPhrase(f"development/{n}.wav#1", "a dog", 0, 2, times) for n, times in self.events.items()]
        return Listing(clips, phrases)


def annotated(tmp_path, events, on_bad_audio="skip"):
    options = ClothoOptions(layout="clotho", audio=".", on_bad_audio=on_bad_audio)
    build(Annotated(events), options, tmp_path, tmp_path / "out", 1)
    tables = [read_table(tmp_path / "out" / f"{n}.csv", c) for n, c in (("phrases", PHRASES), ("events", EVENTS))]
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    return *(table.to_numpy(dtype=object).tolist() for table in tables), report


def test_phrases_and_events_go_with_their_clips(tmp_path):
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", value=np.inf)
    times = ((0.0, 0.1), (0.2, 0.25))
    phrases, events, report = annotated(tmp_path, {"a": times, "b": times})
    assert phrases == [["a.wav#1.1", "a.wav#1", "a dog", 0, 2]]
    assert events == [["a.wav#1.1", *pair] for pair in times]
    assert report["phrases"] == {"development": {"phrases": 1, "without_event": 0, "events": 2}}


def test_events_are_cut_a_little_beyond_the_end_and_counted(tmp_path):
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav")
    write(tmp_path / "c.wav")
    events = {"a": ((0.1, 0.26), (0.2, 0.349)), "b": ((0.25, 0.3),), "c": ((0.1, 0.25),)}
    _, events, report = annotated(tmp_path, events)
    a, c = ("a.wav#1.1", "c.wav#1.1")
    assert events == [[a, 0.1, 0.25], [a, 0.2, 0.25], [c, 0.1, 0.25]]
    assert report["events_fitted"] == {"cut": 2, "beyond_the_end": 1}
    assert report["phrases"]["development"] == {"phrases": 3, "without_event": 1, "events": 3}


def test_events_far_beyond_the_end_are_refused(tmp_path):
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav")
    events = {"a": ((0.1, 0.36),), "b": ((0.1, 0.2),)}
    with pytest.raises(CorpusError, match=r"a\.wav: .*0\.250 s .*'a dog' .*0\.36 s"):
        annotated(tmp_path, events, on_bad_audio="fail")
    _, kept, report = annotated(tmp_path, events)
    assert kept == [["b.wav#1.1", 0.1, 0.2]]
    assert [refused["clip_id"] for refused in report["refused"]] == ["a.wav"]


def test_renamed_files_are_found_and_counted(root, tmp_path):
    (root / "development" / "b.wav").rename(root / "development" / "B.wav")
    (root / "evaluation" / "d.wav").rename(root / "evaluation" / " d.wav")
    report = run(root, tmp_path / "out")
    assert report["found_by"]["development"] == {"name": 1, "letter case": 1}
    assert report["found_by"]["evaluation"] == {"blank": 1, "name": 1}
    clips = read_table(tmp_path / "out" / "clips.csv", CLIPS)
    assert clips["path"].tolist()[1] == "development/B.wav" and clips["clip_id"].tolist()[1] == "b.wav"
    assert "letter case (1)" in table(report)


def test_two_candidates_are_refused_by_choice(root, tmp_path):
    (root / "development" / "b.wav").rename(root / "development" / "b.flac")
    (root / "development" / "b.mp3").touch()
    assert "'development/b.wav' (below" in (message := refused(root, tmp_path / "out"))
    assert "'b.flac' or 'b.mp3'" in message
    report = run(root, tmp_path / "out", on_bad_audio="skip")
    assert report["clips"]["development"] == {"listed": 2, "found": 2, "missing": 0, "refused": 1, "seconds": 0.25}


def test_a_split_that_is_missing_as_a_whole_takes_one_line(root, tmp_path):
    for name in ("d.wav", "e.wav"):
        (root / "evaluation" / name).unlink()
    (root / "development" / "b.wav").unlink()
    message = refused(root, tmp_path / "out").splitlines()
    assert any(line.startswith("3 of 5 recordings ") for line in message)
    assert any(line.startswith(f"  - all 2 clips of evaluation (below {root})") for line in message)
    assert f"  - 'development/b.wav' (below {root}): is missing" in message
    assert not any("evaluation/d.wav" in line for line in message)


def test_the_same_audio_twice_is_counted(root, tmp_path):
    sound = (root / "development" / "b.wav").read_bytes()
    for path in ("development/ a.wav", "evaluation/d.wav"):
        (root / path).write_bytes(sound)
    write(root / "evaluation" / "e.wav", value=0.1)
    write(root / "validation" / "c.wav", value=0.2)
    report = run(root, tmp_path / "out")
    group = [" a.wav", "b.wav", "d.wav"]
    assert report["same_audio"] == {"across_splits": [group], "within_a_split": []}
    assert "two splits, the same byte for byte: 1" in table(report)


def test_repeated_captions_are_kept_and_counted(tmp_path):
    root = corpus(tmp_path / "data", {"evaluation": {"a": ["Rain", "Rain"], "b": ["Rain", "rain"]}})
    report = run(root, tmp_path / "out")
    assert report["repeated_captions"] == {"evaluation": 1} and report["captions"] == {"evaluation": 4}
    assert re.search(r"captions [^\n]*: 1$", table(report), re.MULTILINE)


def test_words_and_hours(root, tmp_path):
    report = run(root, tmp_path / "out")
    assert report["words"]["development"] == {"words": 6, "distinct": 6, "mean_per_caption": 2.0}
    lines = table(report).splitlines()
    assert lines[0].split() == [
        "split",
        *["listed", "found", "missing", "refused", "used", "hours", "captions", "words"],
    ]
    assert lines[1].split() == ["development", "2", "2", "0", "0", "2", "0.00", "3", "6"]


def test_metadata_of_the_entry_become_sources(root, tmp_path):
    (tmp_path / "where.csv").write_text("file_name,freesound_id,youtube_id\nb.wav,12,\ne.wav,,abcdefghijk\n")
    options = ClothoOptions(layout="clotho", audio="data", metadata=[str(tmp_path / "where.csv")])
    build(Clotho(options), options, root, tmp_path / "out", 1)
    sources = read_table(tmp_path / "out" / "sources.csv", SOURCES).values.tolist()
    assert sources == [["b.wav", "freesound", "12"], ["e.wav", "youtube", "abcdefghijk"]]
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["sources"] == {"freesound": 1, "youtube": 1} and list(report["notes"]["metadata"]) == ["where.csv"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,freesound_id\nb.wav,1\n", r"where\.csv: the column 'file_name' is missing"),
        ("file_name,keywords\nb.wav,rain\n", "sound_id, freesound_id, youtube_id"),
        ("file_name,freesound_id\nz.wav,12\n", r"where\.csv.*'z\.wav'"),
        ("file_name,freesound_id\nB.wav,12\nb .wav,13\n", r"where\.csv: 'b\.wav' may be 'B\.wav' or 'b \.wav'"),
        ('file_name,freesound_id\nb.wav,"12\nd.wav,13\n', r"where\.csv, row 2"),
        ("freesound_id,file_name\n77\n12,b.wav\n", None),
        ("file_name,freesound_id\nb.wav,x12\n", "where.csv, row 2: the freesound_id 'x12' is no number"),
        (None, "cannot be read"),
    ],
)
def test_bad_metadata_are_refused(root, tmp_path, text, said):
    if text is not None:
        (tmp_path / "where.csv").write_text(text)
    options = ClothoOptions(layout="clotho", audio="data", metadata=[str(tmp_path / "where.csv")])
    if said is None:  # a row without a name is no clip's
        return build(Clotho(options), options, root, tmp_path / "out", 1)
    with pytest.raises(CorpusError, match=said):
        build(Clotho(options), options, root, tmp_path / "out", 1)


@pytest.mark.parametrize("written_before", range(6))
def test_a_full_disk_leaves_nothing(root, tmp_path, monkeypatch, written_before):
    left, replace = [written_before], os.replace

    def full(*args):
        if not left[0]:
            raise OSError(ENOSPC, "No space left on device")
        left[0] -= 1
        return replace(*args)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EarwitnessError, match="disk is full"):
        run(root, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_interrupt_ends_at_once(root, tmp_path, monkeypatch):
    begun, go_on = [], threading.Event()
    clips = [ListedClip(f"development/{n}", "development", f"{n}", ("rain",)) for n in range(1000)]

    class Bar(stage.tqdm):
        def update(self, count=1):
            go_on.set()
            raise KeyboardInterrupt

    def slow(clip, root):
        begun.append(clip)
        if len(begun) > 2 * stage.CHUNK:
            go_on.wait(5)
        return clip, "is bad"

    monkeypatch.setattr(stage, "tqdm", Bar)
    monkeypatch.setattr(stage, "_inspect", slow)
    monkeypatch.setattr(Clotho, "listing", lambda self, root: Listing(clips))
    with pytest.raises(KeyboardInterrupt):
        run(root, tmp_path / "out")
    assert len(begun) < 500 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "clips", "captions"),
    [
        ("soundscapes", {"development": 300, "validation": 60, "evaluation": 100}, (1500, 300, 500)),
        ("clotho_real", {"evaluation": 25}, (125,)),
    ],
)
def test_the_real_folders(tmp_path, name, clips, captions):
    report = run(shared(name), tmp_path / "out")
    assert {split: counts["found"] for split, counts in report["clips"].items()} == clips
    assert report["captions"] == dict(zip(clips, captions, strict=True))
    assert len(read_table(tmp_path / "out" / "clips.csv", CLIPS)) == sum(clips.values())


def test_a_name_in_two_splits_keeps_its_split_whatever_a_scheme_leaves_out(tmp_path, monkeypatch):
    texts = ["rain", "a dog"]
    root = corpus(tmp_path / "data", {"development": {"a": texts, "b": texts}, "evaluation": {"b": texts, "c": texts}})
    run(root, tmp_path / "whole")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resources" / "splits").mkdir(parents=True)
    for split, name in (("development", "a.wav"), ("validation", "b.wav")):
        (tmp_path / "resources" / "splits" / f"clotho_v1-benchmark_{split}.txt").write_text(f"{name}\n")
    run(root, tmp_path / "part", split_scheme="v1-benchmark")
    names = [list(read_table(tmp_path / out / "clips.csv", CLIPS)["clip_id"]) for out in ("whole", "part")]
    assert names == [["a.wav", "development/b.wav", "evaluation/b.wav", "c.wav"]] * 2


def test_a_clip_is_called_as_in_its_table_by_a_colleague_too(tmp_path):
    write(tmp_path / "data" / "Y.ogg.wav")
    table = tmp_path / "data" / "captions.csv"
    table.write_text("file_name,caption,split\nY.ogg.wav,a dog barks,test\n")
    options = FolderOptions(layout="folder", audio=".", table="captions.csv")
    build(Folder(options), options, tmp_path / "data", tmp_path / "out", 1)
    ours = read_references(tmp_path / "out" / "captions.csv")
    assert ours.by_clip().keys() == read_references(table).by_clip().keys() == {"Y.ogg.wav"}


def test_clip_lengths_and_what_is_far_from_the_usual(root, tmp_path):
    report = run(root, tmp_path / "out")
    write(root / "evaluation" / "d.wav", seconds=2.0)
    far = run(root, tmp_path / "far")
    assert report["lengths"]["seconds"]["development"] == {"shortest": 0.25, "median": 0.25, "longest": 0.25}
    assert far["lengths"]["seconds"]["evaluation"]["longest"] == 2.0 and far["lengths"]["usual"] == 0.25
    assert {"clip_id": "d.wav", "seconds": 2.0} in far["lengths"]["unusual"]
    assert "'d.wav' (2.00 s)" in table(far) and "'d.wav'" not in table(report)


def test_the_longest_caption_can_be_read_again(tmp_path):
    root = corpus(tmp_path / "data", {"development": {"a": ["x" + '"' * (LONGEST - 1), "é" * LONGEST]}})
    run(root, tmp_path / "out")
    assert len(read_table(tmp_path / "out" / "captions.csv", CAPTIONS)) == 2


def test_a_table_below_a_folder_that_no_rule_can_read_is_told(tmp_path):
    (tmp_path / "v {1}").mkdir()
    (tmp_path / "v {1}" / "train.json").write_text("[]")
    options = AudioGroundingOptions(layout="audiogrounding", audio=str(tmp_path))
    with pytest.raises(CorpusError, match=r"train\.json: \{1\}"):
        Dataset("mine", options).inputs()
