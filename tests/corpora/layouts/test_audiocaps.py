"""The AudioCaps layout: both kinds of tables, audio under all its names, and what is refused with row and value."""

import json
import os
import sys
from collections import Counter

import pytest
from pydantic import ValidationError

from earwitness.corpora.layouts.audiocaps import PUBLISHED, AudioCaps, AudioCapsOptions
from earwitness.corpora.tables import ListedClip
from earwitness.corpora.youtube import WITHOUT_SPLIT
from earwitness.errors import CorpusError, EarwitnessError
from tests.places import shared

HEADER = "audiocap_id,youtube_id,start_time,caption"
A, B, C = "-aaaa_aaaa_", "bbbbbbbbbbb", "Ycccccccccc"


def layout(root, **options):
    return AudioCaps(AudioCapsOptions(layout="audiocaps", audio=str(root), **options))


def listing(root, **options):
    return layout(root, **options).listing(root)


def corpus(root, *files, **tables):
    """Write tables (split -> rows below the official header, or the whole as text) and touch files."""
    for split, rows in tables.items():
        text = rows if isinstance(rows, str) else "\r\n".join([HEADER, *rows, ""])
        (root / f"{split}.csv").write_bytes(text.encode())
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def problems(root, *rows):
    """What is wrong with a corpus of these official rows, whose audio is all there."""
    return listing(corpus(root, f"{A}.wav", f"{B}.wav", train=rows)).problems


def test_the_published_tables(tmp_path):
    found = listing(tmp_path, tables=str(shared("captions", "audiocaps_v1")))
    assert Counter(clip.split for clip in found.clips) == {"development": 49838, "validation": 495, "evaluation": 975}
    rows = Counter()
    for clip in found.clips:
        rows[clip.split] += len(clip.captions)
        assert clip.path is None and not clip.problem
    assert rows == {"development": 49838, "validation": 2475, "evaluation": 4875}
    assert {len(clip.captions) for clip in found.clips if clip.split != "development"} == {5}
    assert len({clip.clip_id for clip in found.clips}) == 51308
    assert not any("\r" in text for clip in found.clips for text in clip.captions)
    assert [problem.split()[0] for problem in found.problems] == ["train.csv", "val.csv", "test.csv"]
    assert all(str(tmp_path) in problem and WITHOUT_SPLIT in problem for problem in found.problems)
    assert set(found.notes["tables"]) == {"train.csv", "val.csv", "test.csv"}


def test_the_soundscapes():
    root = shared("soundscapes")
    found = listing(root, tables=str(root / "audiocaps"))
    assert not found.problems and not found.phrases
    assert Counter(clip.split for clip in found.clips) == {"development": 300, "validation": 60, "evaluation": 100}
    captions = Counter()
    for clip in found.clips:
        captions[clip.split] += len(clip.captions)
        assert (root / clip.path).is_file() and clip.path.startswith(f"{clip.split}/")
        assert clip.found_by == "Y{youtube_id}" and clip.sources == (("youtube", clip.name),)
    assert captions == {"development": 300, "validation": 300, "evaluation": 500}
    assert found.notes["unlisted_audio"] == 0


def test_rows_of_a_video_are_one_clip(tmp_path):
    rows = [f"1,{A},30,Rain falls", f"2,{B},0,A dog", f'3,{A},30,"Rain, then\r\nwind"']
    found = listing(corpus(tmp_path, f"audio/{A}_30.wav", f"Y{B}.flac", "other.wav", test=rows))
    assert found.clips == [
        ListedClip(
            f"test/{A}",
            "evaluation",
            f"audio/{A}_30.wav",
            ("Rain falls", "Rain, then wind"),
            "{youtube_id}_{start}",
            sources=(("youtube", A),),
        ),
        ListedClip(f"test/{B}", "evaluation", f"Y{B}.flac", ("A dog",), "Y{youtube_id}", sources=(("youtube", B),)),
    ]
    assert not found.problems and found.notes["unlisted_audio"] == 1


def test_a_video_in_two_splits(tmp_path):
    tables = {"train": [f"1,{A},30,Rain"], "test": [f"2,{A},60,Wind"]}
    apart = listing(corpus(tmp_path, f"train/Y{A}.wav", f"eval/Y{A}.wav", **tables))
    assert [clip.path for clip in apart.clips] == [f"train/Y{A}.wav", f"eval/Y{A}.wav"]


@pytest.mark.parametrize("file", [f"Y{A}.wav", f"train/{A}_30_40.wav", f"val/Y{A}.wav"])
def test_the_same_clip_in_two_splits_has_one_file(tmp_path, file):
    tables = {"train": [f"1,{A},30,Rain"], "test": [f"2,{A},30,Wind"]}
    found = listing(corpus(tmp_path, file, **tables))
    assert [(clip.path, clip.problem) for clip in found.clips] == [(file, "")] * 2
    assert not found.problems and found.notes["unlisted_audio"] == 0


def test_a_file_that_may_be_two_rows_or_none(tmp_path):
    tables = {"train": [f"1,{A},30,Rain", f"2,{B},30,Dog"], "test": [f"3,{A},60,Wind"]}
    found = listing(corpus(tmp_path, f"Y{A}.wav", f"{B}_40_50.wav", **tables))
    assert [clip.path for clip in found.clips] == [None] * 3
    assert "as well test/" in found.clips[0].problem and "as well train/" in found.clips[2].problem
    assert "begins at 30 s" in found.clips[1].problem
    assert not found.problems  # each is told as the clip's own


def test_a_row_whose_recording_is_missing(tmp_path):
    found = listing(corpus(tmp_path, f"{A}.wav", val=[f"1,{A},30,Rain", f"2,{B},0,Dog"]))
    assert (found.clips[1].path, found.clips[1].problem) == (None, "") and not found.problems


def test_a_split_without_any_recording_is_told_once(tmp_path):
    found = listing(corpus(tmp_path, f"{A}.wav", val=[f"1,{A},30,Rain"], test=[f"2,{B},0,Dog"]))
    (problem,) = found.problems
    assert problem.startswith("test.csv ") and str(tmp_path) in problem
    assert len(found.clips) == 2


@pytest.mark.parametrize("extension", ["ogg", "wav", "mp3", "m4a"])
def test_recordings_called_by_the_numbers_of_their_captions(tmp_path, extension):
    train, test = f"train/11.{extension}", [f"test/{number}.{extension}" for number in (22, 23)]
    rows = [f"21,{B},0,Rain", f"22,{B},0,Rain falls", f"23,{B},0,It rains"]
    found = listing(corpus(tmp_path, train, *test, "test/99.ogg", train=[f"11,{A},30,A dog barks"], test=rows))
    assert [(clip.clip_id, clip.path) for clip in found.clips] == [(f"train/{A}", train), (f"test/{B}", test[0])]
    assert {clip.found_by for clip in found.clips} == {"{audiocap_id}"} and not found.problems
    assert found.notes["unlisted_audio"] == 1
    # A file called after the video wins, and two files of one number are refused.
    found = listing(corpus(tmp_path, f"test/Y{B}.wav", "train/11.flac"))
    assert found.clips[1].path == f"test/Y{B}.wav" and "11.flac" in found.clips[0].problem


def test_captions_that_line_breaks_cut_are_joined(tmp_path):
    """As in train.csv of AudioCaps 2.0: rows split by a carriage return, a line feed and a quoted line break."""
    text = f'{HEADER}\r\n1,{A},30,an engine with muffled\rspeech\n2,{A},30,"heavy wind\r\nand a\nbang"\n'
    text += f"3,{B},0,in water.\n a dog \n"
    found = listing(corpus(tmp_path, f"{A}.wav", f"{B}.wav", train=text))
    captions = ("an engine with muffled speech", "heavy wind and a bang"), ("in water. a dog",)
    assert tuple(clip.captions for clip in found.clips) == captions
    assert found.notes["rejoined_rows"] == {"train": 2} and not found.problems


def test_a_rest_that_may_be_something_else_is_told_with_the_row_before(tmp_path):
    found = listing(corpus(tmp_path, f"{A}.wav", train=[f"1,{A},30,an engine", "speech, and wind"]))
    (problem,) = found.problems
    assert problem.startswith("train.csv, row 3: 'speech, and wind'") and "row 2 ('an engine')" in problem


def test_a_name_without_an_id_is_no_rest_of_a_caption(tmp_path):
    found = listing(corpus(tmp_path, f"{A}.wav", train=f"file_name,caption\n{A}.wav,a dog\nrain.wav,\n"))
    assert any("row 3: 'rain.wav'" in problem for problem in found.problems)


def test_further_columns_are_noted(tmp_path):
    text = f"audiocap_id,youtube_id,start_time,caption,labels\n1,{A},30,Rain,/m/1\n"
    found = listing(corpus(tmp_path, f"{A}.wav", train=text))
    assert found.notes["ignored_columns"] == {"train.csv": ["labels"]} and not found.problems


def test_tables_apart_from_the_audio(tmp_path):
    for name in ("tables", "audio"):
        (tmp_path / name).mkdir()
    corpus(tmp_path / "tables", val=[f"1,{A},30,Rain"])
    corpus(tmp_path / "audio", f"x/Y{A}.wav")
    reader = layout(tmp_path / "audio", tables=str(tmp_path / "tables"))
    assert reader.tables(tmp_path / "audio") == [tmp_path / "tables" / "val.csv"]
    assert reader.listing(tmp_path / "audio").clips[0].path == f"x/Y{A}.wav"


@pytest.mark.parametrize("name", ["Y{}.wav", "{}.wav", "{}_30_40.wav", "Y{}_30000_40000.flac", "clips/{}_30.000.wav"])
def test_tables_that_name_files(tmp_path, name):
    text = f"file_name,caption\n{name.format(A)},Rain falls\n{name.format(A)},Wind\n"
    found = listing(corpus(tmp_path, f"Y{A}.ogg", train=text))
    clip = found.clips[0]
    assert (clip.clip_id, clip.path, clip.captions) == (f"train/{A}", f"Y{A}.ogg", ("Rain falls", "Wind"))
    assert not found.problems and len(found.clips) == 1


def test_tables_that_name_files_with_five_captions(tmp_path):
    text = f"caption_2,file_name,caption_1,caption_3,tags\nb,Y{A}.wav,a,,x\nB,{B}.wav,A,C,x\n"
    found = listing(corpus(tmp_path, f"Y{A}.wav", f"{A}.wav", f"{B}.wav", test=text))
    assert [clip.captions for clip in found.clips] == [("a", "b"), ("A", "B", "C")]
    assert found.clips[0].path == f"Y{A}.wav"  # of the very name
    assert found.notes["ignored_columns"] == {"test.csv": ["tags"]} and not found.problems


@pytest.mark.parametrize("names", [(f"Y{A}.wav", f"{A}_30_40.wav"), (f"{A}_30_40.wav", f"Y{A}.wav")])
def test_where_a_clip_begins_may_stand_in_any_row(tmp_path, names):
    text = "\n".join(["file_name,caption", *(f"{name},Rain {number}" for number, name in enumerate(names)), ""])
    clip = listing(corpus(tmp_path, f"{A}_30.wav", f"{A}_60.wav", train=text)).clips[0]
    assert (clip.path, clip.captions) == (f"{A}_30.wav", ("Rain 0", "Rain 1"))


def test_the_row_that_says_where_a_clip_begins_is_told(tmp_path):
    text = f"file_name,caption\nY{A}.wav,Rain\n{A}_30_40.wav,Wind\n{A}_60_70.wav,Gale\n"
    told = f"train.csv, row 4: '{A}' begins at 60 s here and at 30 s in row 3; a split has one clip of a video"
    assert listing(corpus(tmp_path, f"{A}_30.wav", train=text)).problems == [told]


def test_rows_without_ids_that_repeat_are_one_caption(tmp_path):
    rows = [f"Y{A}.wav,Rain", f"Y{A}.wav,Wind", f"{A}.wav,Rain", f"Y{B}.wav,Rain", f"Y{A}.wav,rain"]
    text = "\n".join(["file_name,caption", *rows, ""])
    found = listing(corpus(tmp_path, f"{A}.wav", f"{B}.wav", train=text, test=[f"1,{B},0,Dog", f"2,{B},0,Dog"]))
    assert [clip.captions for clip in found.clips] == [("Rain", "Wind", "rain"), ("Rain",), ("Dog", "Dog")]
    assert found.notes["repeated_rows"] == {"train": 1, "test": 0} and not found.problems


def test_columns_that_say_the_same_are_as_many_captions(tmp_path):
    text = f"file_name,caption_1,caption_2\n{A}.wav,Rain,Rain\n{A}.wav,Rain,Rain\n"
    found = listing(corpus(tmp_path, f"{A}.wav", train=text))
    assert found.clips[0].captions == ("Rain", "Rain") and found.notes["repeated_rows"] == {"train": 1}


def test_a_named_file_of_another_time(tmp_path):
    text = f"file_name,caption\n{A}_30_40.wav,Rain falls\n"
    clip = listing(corpus(tmp_path, f"{A}_60_70.wav", train=text)).clips[0]
    assert clip.path is None and "begins at 30 s" in clip.problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file_name,caption\nrain.wav,Rain\n", ["train.csv, row 2: 'rain.wav' has no YouTube id"]),
        (f"file_name,caption\n{A}_1_2.wav,Rain\n{A}_3_4.wav,Rain\n", ["row 3: '-aaaa_aaaa_'", " 3 s "]),
        (f"file_name,caption_1,caption_3\n{A}.wav,a,b\n", ["caption_1, caption_3"]),
        (f"file_name,caption_1,caption_2\n{A}.wav,,\nY{B}.wav,a,-\n", ["has no caption", "'-' of 'Ybbb"]),
        (f"file_name,captions\n{A}.wav,Rain\n", ["the column 'caption' is missing", "'captions'"]),
        ("youtube_id,start,caption\nx,1,a\n", ["'audiocap_id' is missing", "'start_time' is missing"]),
        ("name,text\nx,a\n", ["'youtube_id' is missing", "'caption' is missing"]),
        (f"{HEADER}\n", ["train.csv: is empty"]),
        ("", ["train.csv: is empty"]),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, told):
    found = "\n".join(listing(corpus(tmp_path, f"{A}.wav", f"{B}.wav", train=text)).problems)
    assert all(words in found for words in told)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([f"1,{A},30,Rain", f"2,{A},40,Wind"], "row 3: '-aaaa_aaaa_' | 40 s | 30 s | row 2"),
        ([f"1,{A},30,"], "row 2: '-aaaa_aaaa_' has no caption"),
        ([f"1,{A},30,..."], "row 2: | '...' | '-aaaa_aaaa_' | word"),
        ([f"1,{A},30,Rain\0"], "NUL"),
        ([f"1,{A},half,Rain"], "row 2: | start_time 'half' | '-aaaa_aaaa_'"),
        ([f"1,{A},-3,Rain"], "the start_time '-3'"),
        ([f"1,{A},nan,Rain"], "the start_time 'nan'"),
        ([f"1,{A},,Rain"], "the start_time ''"),
        (["1,#NAME?,30,Rain"], "row 2: the youtube_id '#NAME?' is none"),
        (["1,,30,Rain"], "row 2: the youtube_id '' is none"),
        ([f"7,{A},30,Rain", f"7,{B},30,Dog"], "row 2: | audiocap_id '7' | 2 times, in rows 2, 3"),
        ([f",{A},30,Rain"], "row 2: the audiocap_id is empty"),
        ([f"1,{A},30,Rain", HEADER], "row 3: | header"),
        ([f"1,{A},30,Rain, then wind"], "has 5 fields, the header 4"),
    ],
)
def test_rows_that_are_refused(tmp_path, rows, told):
    found = problems(tmp_path, *rows)
    assert len(found) == 1 and found[0].startswith("train.csv, row")
    assert all(fact in found[0] for fact in told.split(" | "))


def test_all_offenders_at_once(tmp_path):
    rows = [f"1,{A},x,Rain", "2,short,30,Rain", f"3,{B},30,?"]
    assert len(problems(tmp_path, *rows)) == 3


def test_no_table(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(CorpusError) as caught:
        listing(tmp_path)
    message = str(caught.value)
    assert "train.csv, val.csv, test.csv" in message and "'readme.txt'" in message
    assert PUBLISHED in message and f"put them into {tmp_path}" in message


@pytest.mark.parametrize(("options", "key"), [({}, "audio"), ({"tables": "nowhere"}, "tables")])
def test_no_folder(tmp_path, options, key):
    with pytest.raises(CorpusError, match=f"nowhere .*`{key}`"):
        listing(tmp_path / "nowhere", **options)
    assert layout(tmp_path / "nowhere", **options).tables(tmp_path / "nowhere") == []


def test_options():
    assert AudioCapsOptions(layout="audiocaps", audio="x").workers == 4
    with pytest.raises(ValidationError):
        AudioCapsOptions(layout="audiocaps", audio="x", source="zenodo")


YT_DLP = """\
#!{python}
import pathlib, sys
address = sys.argv[-1]
if pathlib.Path(__file__).with_name("odd").exists() and "aaaa" in address:
    sys.exit("ERROR: [youtube] -aaaa_aaaa_: ffmpeg exited with code 8")
if "*600.000-610.000" in sys.argv:
    sys.exit(0)
if "ccccccc" in address:
    sys.exit("ERROR: [youtube] Ycccccccccc: Video unavailable")
if pathlib.Path(__file__).with_name("down").exists():
    sys.exit("ERROR: network is unreachable")
pathlib.Path("sound.wav").write_text(address + sys.argv[sys.argv.index("--download-sections") + 1])
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A yt-dlp on PATH to which one video is gone, and none lasts 10 minutes.

    While there is a file "down" beside it, the network is down; while there is one "odd", a video fails oddly.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("yt-dlp", YT_DLP.format(python=sys.executable)), ("ffmpeg", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "tables").mkdir()
    rows = {"train": [f"1,{A},30,Rain", f"2,{B},0,Dog"], "test": [f"3,{C},10,Wind", f"4,{C},10,Gale"]}
    return corpus(tmp_path / "tables", **rows)


def test_fetch(tmp_path, program, tables):
    root = tmp_path / "audio"
    corpus(tmp_path, f"audio/{B}.wav")
    reader = layout(root, tables=str(tables), source="youtube", workers=2)
    reader.fetch(root)
    assert (root / f"train/Y{A}.wav").read_text() == f"https://www.youtube.com/watch?v={A}*30.000-40.000"
    fetched = json.loads((root / "fetched.json").read_text())
    assert {name: fetched[name] for name in ("clips", "fetched", "unavailable")} == {
        "clips": 3,
        "fetched": 1,
        "unavailable": 1,
    }
    assert set(fetched["provenance"]["inputs"]) == {"train.csv", "test.csv"}
    assert json.loads((root / "unavailable.json").read_text())["unavailable"] == {C: "Video unavailable"}
    found = reader.listing(root)
    assert [clip.path for clip in found.clips] == [f"train/Y{A}.wav", f"{B}.wav", None]


def test_fetched_is_written_when_nothing_is_left_to_try(tmp_path, program, tables):
    root = tmp_path / "audio"
    (program / "down").touch()
    reader = layout(root, tables=str(tables), source="youtube")
    with pytest.raises(EarwitnessError, match=r"^2 of 3 clips "):
        reader.fetch(root)
    assert not (root / "fetched.json").exists()
    (program / "down").unlink()
    reader.fetch(root)
    assert (root / "fetched.json").exists() and (root / f"train/Y{B}.wav").exists()


def test_a_video_that_keeps_failing_does_not_keep_the_corpus_from_being_fetched(tmp_path, program, tables):
    root = tmp_path / "audio"
    (program / "odd").touch()
    reader = layout(root, tables=str(tables), source="youtube")
    for _ in range(2):
        with pytest.raises(EarwitnessError, match="ffmpeg exited with code 8"):
            reader.fetch(root)
        assert not (root / "fetched.json").exists()
    reader.fetch(root)
    assert json.loads((root / "fetched.json").read_text())["unavailable"] == 2
    assert not (root / f"train/Y{A}.wav").exists() and (root / f"train/Y{B}.wav").exists()


def test_a_video_that_is_too_short_for_one_of_its_clips(tmp_path, program):
    corpus(tmp_path, train=[f"1,{A},30,Rain"], test=[f"2,{A},600,Wind"])
    layout(tmp_path, source="youtube", workers=1).fetch(tmp_path)
    fetched = json.loads((tmp_path / "fetched.json").read_text())
    assert (fetched["fetched"], fetched["unavailable"]) == (1, 1) and (tmp_path / f"train/Y{A}.wav").exists()


def test_nothing_is_fetched_for_tables_that_cannot_be_used(tmp_path, program):
    corpus(tmp_path, train=[f"1,{A},30,Rain", "2,short,30,Rain"], test=f"file_name,caption\nY{B}.wav,Dog\n")
    with pytest.raises(CorpusError) as caught:
        layout(tmp_path, source="youtube").fetch(tmp_path)
    assert "'short'" in str(caught.value) and "test.csv: 1 clips " in str(caught.value)
    assert not (tmp_path / "train").exists()


def test_fetch_without_tables_says_where_they_are(tmp_path, program):
    with pytest.raises(CorpusError, match=PUBLISHED):
        layout(tmp_path, source="youtube").fetch(tmp_path)
