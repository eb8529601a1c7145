"""The captions layout: tables of captions without recordings, and the corpus that is made of them."""

import json

import pytest
from pydantic import ValidationError

from earwitness.corpora.dataset import Dataset
from earwitness.corpora.layouts.captions import Captions, CaptionsOptions
from earwitness.corpora.report import read_report, table
from earwitness.corpora.stage import build
from earwitness.corpora.tables import CAPTIONS, CLIPS, SOURCES, clips_of, read_table
from earwitness.errors import CorpusError
from tests.places import shared

CLOTHO = "file_name,caption_1,caption_2\na.wav,rain,it rains\nb.wav,a dog,a dog barks\n"
AUDIOCAPS = "audiocap_id,youtube_id,start_time,caption\n9,aaaaaaaaaaa,0,a cat\n8,bbbbbbbbbbb,10,a bell\n"


def options(tables, **more):
    return CaptionsOptions(layout="captions", tables={split: str(path) for split, path in tables.items()}, **more)


def listing(tmp_path, more=None, **tables):
    """The listing of tables with the given content, by split and name (``development={"t.csv": ...}``)."""
    paths = {}
    for split, content in tables.items():
        ((name, text),) = content.items()
        paths[split] = tmp_path / name
        paths[split].write_text(text, encoding="utf-8")
    return Captions(options(paths, **(more or {}))).listing(tmp_path)


def captions(found):
    return {clip.clip_id: clip.captions for clip in found.clips}


def test_clothos_tables(tmp_path):
    found = listing(tmp_path, development={"dev.csv": CLOTHO}, validation={"val.csv": CLOTHO.replace("a.wav", "c.wav")})
    assert found.problems == [] and not found.recordings
    assert list(found.notes["tables"]) == ["dev.csv", "val.csv"]
    assert captions(found)["development/a.wav"] == ("rain", "it rains")
    assert [clip.split for clip in found.clips] == ["development"] * 2 + ["validation"] * 2
    assert all(clip.path is None and not clip.problem for clip in found.clips)


def test_ids_of_videos_are_sources_and_no_captions(tmp_path):
    found = listing(tmp_path, development={"train.csv": AUDIOCAPS})
    assert captions(found) == {"development/train.csv:2": ("a cat",), "development/train.csv:3": ("a bell",)}
    assert found.clips[0].sources == (("youtube", "aaaaaaaaaaa"),)
    assert found.notes["ignored_columns"] == {"train.csv": ["audiocap_id", "start_time"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.json", '["rain", "a dog"]'),
        ("t.json", '{"captions": ["rain", "a dog"]}'),
        ("t.jsonl", '"rain"\n"a dog"\n'),
        ("t.csv", "caption\nrain\na dog\n"),
    ],
)
def test_lists_of_texts(tmp_path, name, text):
    found = listing(tmp_path, development={name: text})
    assert found.problems == [] and list(captions(found).values()) == [("rain",), ("a dog",)]


def test_a_column_for_the_split_wins(tmp_path):
    text = "file_name,caption,split\na.wav,rain,train\nb.wav,a dog,val\na.wav,it rains,train\n"
    found = listing(tmp_path, development={"t.csv": text})
    assert [(clip.clip_id, clip.split, clip.captions) for clip in found.clips] == [
        ("train/a.wav", "development", ("rain", "it rains")),
        ("val/b.wav", "validation", ("a dog",)),
    ]


def test_clips_of_several_tables(tmp_path):
    text = "file_name,caption,split\na.wav,rain,development\n"
    found = listing(tmp_path, development={"one.csv": text}, validation={"two.csv": text.replace("rain", "drops")})
    assert captions(found) == {"development/a.wav": ("rain", "drops")}
    text = text.replace("development", "train")
    found = listing(tmp_path, development={"one.csv": CLOTHO}, validation={"two.csv": text})
    (told,) = found.problems
    assert "two.csv" in told and "'train'" in told


def test_tables_of_one_name_are_told_apart(tmp_path):
    paths = {"development": tmp_path / "dev/captions.csv", "validation": tmp_path / "val/captions.csv"}
    for path, texts in zip(paths.values(), (["rain", "a dog"], ["drops", "..."]), strict=True):
        path.parent.mkdir()
        path.write_text("caption,split,id_of_it\n" + "".join(f"{text},train,7\n" for text in texts), encoding="utf-8")
    found = Captions(options(paths)).listing(tmp_path)
    assert [clip.captions for clip in found.clips] == [("rain",), ("a dog",), ("drops",), ("...",)]
    assert found.clips[2].clip_id == "train/validation-captions.csv:2"
    names = ["development-captions.csv", "validation-captions.csv"]
    assert list(found.notes["tables"]) == list(found.notes["ignored_columns"]) == names
    (problem,) = found.problems
    assert problem.startswith("validation-captions.csv, row 3") and "'...'" in problem


def test_names_may_be_paths_of_another_machine(tmp_path):
    assert list(captions(listing(tmp_path, development={"t.csv": "file_name,caption\n/data/a.wav,rain\n"}))) == [
        "development/data/a.wav"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file_name,words\na.wav,rain\n", ["t.csv", "captions", "'words'"]),
        ("file_name,caption\na.wav,\nb.wav,rain\n", ["t.csv, row 2", "'a.wav' has no caption"]),
        ("caption\n...\nrain\n", ["t.csv, row 2", "'...'", "no word"]),
        ("file_name,caption\n,rain\n", ["t.csv, row 2", "file name"]),
        ("caption,split\nrain,later\n", ["t.csv, row 2", "'later'"]),
    ],
)
def test_what_is_wrong_with_a_table(tmp_path, text, told):
    (problem,) = listing(tmp_path, development={"t.csv": text}).problems
    assert all(part in problem for part in told), problem


def test_texts_are_no_captions_where_a_table_of_json_has_numbers(tmp_path):
    (problem,) = listing(tmp_path, development={"t.json": '["rain", 3]'}).problems
    assert problem.startswith("t.json, row 2") and "'3'" in problem


def test_columns_that_are_named_and_absent(tmp_path):
    found = listing(tmp_path, {"columns": {"captions": "words"}}, development={"t.csv": CLOTHO})
    (problem,) = found.problems
    assert "t.csv" in problem and "words" in problem


def test_tables_that_are_not_there_are_all_named(tmp_path):
    with pytest.raises(CorpusError) as caught:
        Captions(options({"development": tmp_path / "a.csv", "validation": tmp_path / "b.csv"})).listing(tmp_path)
    assert "a.csv" in str(caught.value) and "b.csv" in str(caught.value)


@pytest.mark.parametrize("tables", [{}, {"train": "t.csv"}, {"development": "t.xlsx"}])
def test_options(tables):
    with pytest.raises(ValidationError):
        options(tables)


def test_a_data_set_of_captions_is_of_files_alone(tmp_path):
    path = tmp_path / "t.csv"
    one = Dataset("text", options({"development": path}))
    assert not one.synthesised and not one.fetched and one.inputs() == [] and one.root == tmp_path
    path.write_text(CLOTHO)
    assert one.obtainable and one.state() == "captions"
    assert Dataset("text", options({"development": path})).inputs() == [path]


def test_the_corpus_has_the_usual_tables(tmp_path):
    (tmp_path / "t.csv").write_text(AUDIOCAPS)
    (tmp_path / "v.json").write_text(json.dumps(["a cat", "a cat"]))
    chosen = options({"development": tmp_path / "t.csv", "evaluation": tmp_path / "v.json"})
    out = tmp_path / "corpus"
    build(Captions(chosen), chosen, tmp_path, out, 1)
    clips = read_table(out / "clips.csv", CLIPS)
    assert list(clips["clip_id"]) == ["t.csv:2", "t.csv:3", "v.json:1", "v.json:2"]
    assert set(clips["path"]) == set(clips["sha256"]) == {""} and set(clips["seconds"]) == {0.0}
    assert list(read_table(out / "captions.csv", CAPTIONS)["text"]) == ["a cat", "a bell", "a cat", "a cat"]
    assert list(read_table(out / "sources.csv", SOURCES)["kind"]) == ["youtube"] * 2
    assert len(clips_of(out / "clips.csv", "evaluation", "this")) == 2
    report = read_report(out / "report.json")
    assert report["clips"]["development"] == {"listed": 2, "found": 2, "missing": 0, "refused": 0, "seconds": 0.0}
    assert report["captions"] == {"development": 2, "evaluation": 2} and report["missing"] == report["short"] == []
    assert report["same_audio"] == {"across_splits": [], "within_a_split": []} and report["sample_rates"] == {}
    assert "Hz" not in table(report)


def test_metadata_say_where_recordings_come_from(tmp_path):
    (tmp_path / "t.csv").write_text(CLOTHO)
    (tmp_path / "meta.csv").write_text("file_name,sound_id\na.wav,17\nb.wav,Not found\n")
    chosen = options({"development": tmp_path / "t.csv"}, metadata=[str(tmp_path / "meta.csv")])
    build(Captions(chosen), chosen, tmp_path, tmp_path / "corpus", 1)
    assert read_table(tmp_path / "corpus/sources.csv", SOURCES).to_numpy().tolist() == [["a.wav", "freesound", "17"]]


def test_clothos_published_captions(tmp_path):
    path = shared("captions", "clotho_v2", "clotho_captions_development.csv")
    chosen = options({"development": path})
    build(Captions(chosen), chosen, path.parent, tmp_path, 1)
    report = read_report(tmp_path / "report.json")
    assert report["clips"]["development"]["found"] == 3839 and report["captions"]["development"] == 19195
    assert len(set(read_table(tmp_path / "captions.csv", CAPTIONS)["text"])) == 19178
